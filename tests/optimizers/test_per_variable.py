"""AdamW and SGD: which variables decay, how fast each learns, also after loading."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from keras_focusseg import losses, models
from keras_focusseg.optimizers import SGD, AdamW, per_variable
from tests.models import tiny
from tests.testers import check_config_round_trip, to_numpy

RATES = [0.1, 0.03]  # of two steps


def variables() -> list[keras.Variable]:
    """Kernel, bias, gamma and beta of a backbone, then of a head; all are 1."""
    x = keras.Input((4, 4, 3))
    y = keras.layers.Conv2D(2, 3, name="conv")(x)
    y = keras.layers.BatchNormalization(name="norm")(y)
    y = keras.layers.Conv2D(2, 2, name="head_conv")(y)
    y = keras.layers.BatchNormalization(name="head_norm")(y)
    found = keras.Model(x, y).trainable_variables
    for variable in found:
        variable.assign(np.ones(variable.shape, "float32"))
    return found


def decayed(optimizer: Any) -> set[str]:
    """Paths of the variables that shrink at a step of gradients of zero."""
    found = variables()
    optimizer.apply([keras.ops.zeros(variable.shape) for variable in found], found)
    return {variable.path for variable in found if (to_numpy(variable.value) < 1).all()}


@pytest.mark.parametrize("kind", [AdamW, SGD])
def test_decay_spares_biases_and_norms_also_when_reloaded(kind: Any):
    optimizer = kind(0.1, weight_decay=0.5, global_clipnorm=1.0)
    copy = check_config_round_trip(optimizer)
    assert (copy.weight_decay, copy.global_clipnorm) == (0.5, 1.0)
    for found in (optimizer, copy):
        assert decayed(found) == {"conv/kernel", "head_conv/kernel"}


def test_further_variables_can_be_spared():
    by_name, by_variable = AdamW(0.1, weight_decay=0.5), SGD(0.1, weight_decay=0.5)
    by_name.exclude_from_weight_decay(var_names=["kernel"])
    assert decayed(by_name) == set()
    found = variables()
    by_variable.exclude_from_weight_decay(var_list=found[:1])
    by_variable.apply([keras.ops.zeros(variable.shape) for variable in found], found)
    shrunk = {variable.path for variable in found if (to_numpy(variable.value) < 1).all()}
    assert shrunk == {"head_conv/kernel"}
    with pytest.raises(ValueError, match="before the optimizer is built"):
        by_variable.exclude_from_weight_decay(var_names=["kernel"])


def adamw_by_hand(factor: float, decay: float, gradients: list[float]) -> float:
    """One weight that starts at 1, Algorithm 2 of arXiv 1711.05101."""
    weight, m, v = 1.0, 0.0, 0.0
    for step, (base, gradient) in enumerate(zip(RATES, gradients, strict=True), start=1):
        rate = base * factor
        m, v = 0.9 * m + 0.1 * gradient, 0.999 * v + 0.001 * gradient**2
        weight -= rate * decay * weight
        weight -= rate * (m / (1 - 0.9**step)) / np.sqrt(v / (1 - 0.999**step))
    return weight


def sgd_by_hand(factor: float, decay: float, gradients: list[float]) -> float:
    weight, velocity = 1.0, 0.0
    for base, gradient in zip(RATES, gradients, strict=True):
        velocity = 0.9 * velocity - base * factor * (gradient + decay * weight)
        weight += velocity
    return weight


@pytest.mark.parametrize(("kind", "by_hand"), [(AdamW, adamw_by_hand), (SGD, sgd_by_hand)])
def test_two_steps_are_those_computed_by_hand(kind: Any, by_hand: Any):
    schedule = keras.optimizers.schedules.ExponentialDecay(0.1, 1, 0.3, staircase=True)
    optimizer = kind(schedule, weight_decay=0.2, head_learning_rate_factor=10.0)
    optimizer = keras.optimizers.deserialize(keras.optimizers.serialize(optimizer))
    found = variables()
    optimizer.set_backbone(found[:4])
    for gradient in (0.5, -0.3):
        gradients = [keras.ops.full(variable.shape, gradient) for variable in found]
        optimizer.apply(gradients, found)
    for index, variable in enumerate(found):
        factor = 1.0 if index < 4 else 10.0
        decay = 0.2 if variable.name == "kernel" else 0.0
        expected = by_hand(factor, decay, [0.5, -0.3])
        np.testing.assert_allclose(
            to_numpy(variable.value), expected, atol=3e-5, err_msg=variable.path
        )


@keras.saving.register_keras_serializable(package="test_optimizer")
class TwoConvolutions(models.Segmenter):
    """The smallest network: one convolution is the backbone, another the head."""

    def __init__(self, num_classes: int = 3) -> None:
        images = keras.Input((None, None, 3))
        features = keras.layers.Conv2D(4, 3, padding="same", name="stem")(images / 255)
        backbone = keras.Model(images, features, name="backbone")
        logits = keras.layers.Conv2D(num_classes, 1, name="classifier")(backbone(images))
        super().__init__(images, {"logits": logits}, signals={}, num_classes=num_classes)
        self.backbone = backbone

    def get_config(self) -> dict[str, Any]:
        return {"num_classes": self.num_classes}


def test_the_head_learns_faster_inside_fit_and_after_loading(tmp_path: Path):
    images, masks = tiny.images(16, 16, 2), tiny.masks(16, 16, 2, num_classes=3)
    start = TwoConvolutions().get_weights()
    moved = []
    for factor in (1.0, 4.0):
        model = TwoConvolutions()
        model.set_weights(start)
        optimizer = SGD(0.01, momentum=0.9, weight_decay=0.1, head_learning_rate_factor=factor)
        model.compile(optimizer, loss=losses.CrossEntropy(), metrics=[])
        model.fit(images, masks, batch_size=2, verbose=0)
        moved.append([b - a for a, b in zip(start, model.get_weights(), strict=True)])
    for variable, plain, fast in zip(model.weights, *moved, strict=True):
        factor = 1.0 if "stem" in variable.path else 4.0
        assert np.abs(plain).max() > 1e-5, variable.path
        np.testing.assert_allclose(fast, factor * plain, rtol=1e-3, atol=1e-7)

    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    for one in (model, loaded):
        one.fit(images, masks, batch_size=2, verbose=0)
    for found, expected in zip(loaded.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-6)


def test_a_wrapped_optimizer_is_told_the_backbone_and_a_stray_one_complains():
    model = TwoConvolutions()
    inner = AdamW(1e-3, head_learning_rate_factor=10.0)
    model.compile(keras.optimizers.LossScaleOptimizer(inner), loss=losses.CrossEntropy())
    model.optimizer.build(model.trainable_variables)
    assert inner.built
    with pytest.raises(ValueError, match="does not know the backbone"):
        AdamW(1e-3, head_learning_rate_factor=10.0).build(model.trainable_variables)
    with pytest.raises(ValueError, match="must be above 0, got 0"):
        SGD(1e-3, head_learning_rate_factor=0.0)


def test_pytorch_updates_all_variables_of_a_rate_at_once():
    """Keras hands out another class there, from which ours have to inherit."""
    assert per_variable.FUSED == (keras.backend.backend() == "torch")
    assert hasattr(keras.optimizers.SGD(0.1), "_parallel_update_step") == per_variable.FUSED


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="is TensorFlow's strategy")
def test_under_a_mirrored_strategy():
    """There the step is given copies of variables, of TensorFlow's own type."""
    import tensorflow as tf

    strategy = tf.distribute.MirroredStrategy(["CPU:0"])
    with strategy.scope():
        found = variables()
        optimizer = SGD(0.1, momentum=0.0, weight_decay=0.2, head_learning_rate_factor=10.0)
        optimizer.set_backbone(found[:4])
        optimizer.build(found)
        gradients = [keras.ops.ones(variable.shape) for variable in found]
        strategy.run(tf.function(lambda: optimizer.apply(gradients, found)))
    assert "Mirrored" in type(found[0].value).__name__
    for index, variable in enumerate(found):
        gradient = 1.2 if variable.name == "kernel" else 1.0
        expected = 1 - 0.1 * (1.0 if index < 4 else 10.0) * gradient
        np.testing.assert_allclose(to_numpy(variable.value), expected, rtol=1e-5)
