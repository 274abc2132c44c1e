"""The moving average that the optimizers keep: the recurrence, statistics, saving, wrapping."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from keras_focusseg import models, optimizers
from tests.models import tiny


@keras.saving.register_keras_serializable(package="test_averages")
class Small(models.Segmenter):
    """One convolution, a batch norm with fast statistics, a classifier."""

    def __init__(self, num_classes: int = 3, name: str = "small") -> None:
        images = keras.Input((None, None, 3))
        x = keras.layers.Conv2D(4, 3, padding="same", use_bias=False)(images / 255)
        x = keras.layers.BatchNormalization(momentum=0.5)(x)
        logits = keras.layers.Conv2D(num_classes, 1)(x)
        super().__init__(images, {"logits": logits}, signals={}, num_classes=num_classes, name=name)

    def get_config(self) -> dict[str, Any]:
        return {"num_classes": self.num_classes, "name": self.name}


IMAGES = tiny.images(16, 16, 12)
MASKS = tiny.masks(16, 16, 12, num_classes=3)
LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=255)


class Steps(keras.callbacks.Callback):
    """Keeps all weights after each step."""

    def __init__(self) -> None:
        super().__init__()
        self.steps: list[list[np.ndarray]] = []

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        if hasattr(self.model, "jax_state_sync"):
            self.model.jax_state_sync()
        self.steps.append([w.copy() for w in self.model.get_weights()])


def fit(model: keras.Model, **options: Any) -> None:
    model.fit(IMAGES, MASKS, batch_size=2, verbose=0, shuffle=False, **options)


def trained(optimizer: Any) -> tuple[keras.Model, list[list[np.ndarray]]]:
    model, steps = Small(), Steps()
    start = model.get_weights()
    model.compile(optimizer, loss=LOSS, metrics=[])
    fit(model, callbacks=[steps])
    return model, [start, *steps.steps]


def averaged(model: keras.Model) -> list[np.ndarray]:
    own = optimizers.own_optimizer(model.optimizer)
    assert own is not None
    own.swap_averages()
    found = [w.copy() for w in model.get_weights()]
    own.swap_averages()
    return found


def recurrence(steps: list[list[np.ndarray]], momentum: float) -> list[np.ndarray]:
    expected = steps[0]
    for t, weights in enumerate(steps[1:], start=1):
        keep = min(momentum, (1 + t) / (10 + t))
        expected = [keep * a + (1 - keep) * w for a, w in zip(expected, weights, strict=True)]
    return expected


def close(found: list[np.ndarray], expected: list[np.ndarray], tolerance: float = 1e-5) -> None:
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, atol=tolerance)


@pytest.mark.parametrize(
    "optimizer",
    [
        optimizers.AdamW(0.01, ema=0.4),
        optimizers.SGD(0.05, weight_decay=0.0, ema=0.4),
        keras.optimizers.LossScaleOptimizer(optimizers.AdamW(0.01, ema=0.4), initial_scale=8.0),
    ],
    ids=["adamw", "sgd", "loss-scaled"],
)
def test_the_recurrence_over_weights_and_statistics(optimizer: Any):
    model, steps = trained(optimizer)
    before = model.get_weights()
    found = averaged(model)
    close(found, recurrence(steps, 0.4))
    for index, weight in enumerate(model.weights):
        assert np.abs(found[index] - before[index]).max() > 1e-5, weight.path
    close(model.get_weights(), before, 0.0)  # swapped back


def test_accumulated_gradients_make_one_step():
    optimizer = optimizers.SGD(0.05, momentum=0.0, ema=0.9, gradient_accumulation_steps=3)
    model, steps = trained(optimizer)
    close(averaged(model), recurrence([steps[0], steps[3], steps[6]], 0.9))
    assert int(keras.ops.convert_to_numpy(optimizer.iterations)) == 2


@pytest.mark.skipif(keras.backend.backend() == "torch", reason="Keras has one step a call there")
def test_several_steps_in_one_call():
    _, steps = trained(optimizers.SGD(0.05, ema=0.9))
    model = Small()
    model.set_weights(steps[0])
    model.compile(optimizers.SGD(0.05, ema=0.9), loss=LOSS, metrics=[], steps_per_execution=4)
    fit(model)  # 6 steps: 4 and 2
    close(averaged(model), recurrence(steps, 0.9))


def test_a_saved_run_goes_on_as_if_uncut(tmp_path: Path):
    model, _ = trained(optimizers.AdamW(0.01, ema=0.9))
    model.save(tmp_path / "model.keras")
    model.save_weights(tmp_path / "model.weights.h5")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    again = Small()
    again.compile(optimizers.AdamW(0.01, ema=0.9), loss=LOSS, metrics=[])
    again.optimizer.build(again.trainable_variables)
    again.load_weights(tmp_path / "model.weights.h5")
    for one in (model, loaded, again):
        fit(one)
    for one in (loaded, again):
        close(averaged(one), averaged(model))


def test_averages_start_from_the_weights_at_the_first_step(tmp_path: Path):
    """Weights may be loaded after the optimizer was built, and a file may hold no averages."""
    model = Small()
    model.compile(optimizers.SGD(0.0, ema=0.9), loss=LOSS, metrics=[])
    model.save(tmp_path / "untrained.keras")
    loaded = keras.saving.load_model(tmp_path / "untrained.keras")
    late = Small()
    late.compile(optimizers.SGD(0.0, ema=0.9), loss=LOSS, metrics=[])
    late.optimizer.build(late.trainable_variables)
    late.set_weights(model.get_weights())
    for one in (loaded, late):
        fit(one)
        kernels = [i for i, w in enumerate(one.weights) if w.name == "kernel"]
        close([averaged(one)[i] for i in kernels], [model.get_weights()[i] for i in kernels])


def test_what_cannot_be_averaged_is_refused():
    with pytest.raises(ValueError, match=r"ema must be in \[0, 1\), got 1"):
        optimizers.AdamW(0.1, ema=1.0)
    optimizer = optimizers.SGD(0.1, ema=0.9)
    model = Small()
    optimizer.build(model.trainable_variables)
    with pytest.raises(ValueError, match="compile the network with it before it is built"):
        model.compile(optimizer, loss=LOSS)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="builds while it traces")
def test_a_plain_model_has_to_build_first():
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    x, y = np.ones((4, 3), "float32"), np.ones((4, 1), "float32")
    model.compile(optimizers.SGD(0.1, ema=0.9), loss="mse")
    with pytest.raises(ValueError, match="must be built before the step is traced"):
        model.fit(x, y, verbose=0)
    model.compile(optimizers.SGD(0.1, ema=0.9), loss="mse")
    model.optimizer.build(model.trainable_variables)
    model.fit(x, y, verbose=0)
