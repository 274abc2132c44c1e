"""What every network does: any image size, training on masks, files, signals, errors."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from keras_focusseg import losses, metrics, models, optimizers
from tests.models import tiny
from tests.testers import check_config_round_trip, randomize_weights, to_numpy

LOGS = {"loss", "cross_entropy", "dice", "selector", "mean_iou"}


def batch(height: int = 32, width: int = 48, size: int = 2) -> tuple[np.ndarray, np.ndarray]:
    return tiny.images(height, width, size), tiny.masks(height, width, size)


# Images


@pytest.mark.parametrize(("height", "width"), [(97, 131), (16, 17)])
def test_any_size_and_a_batch_of_one(height: int, width: int):
    model = models.FoRNet(3, "resnet18", filters=8, low_level_filters=4)
    outputs = model.predict(tiny.images(height, width, batch=1), verbose=0)
    grid = (-(-height // 8), -(-width // 8))
    assert outputs["logits"].shape == (1, height, width, 3)
    assert outputs["selector_logits"].shape == (1, *grid, 1)
    assert np.isfinite(outputs["logits"]).all()
    cells = grid[0] * grid[1]
    expected = [max(1, round(ratio * cells)) for ratio in (0.1, 0.2, 0.3, 0.4)]
    assert outputs["masks"].sum(axis=(1, 2)).tolist() == [expected]


def test_images_may_be_uint8():
    model = tiny.network()
    pixels = tiny.images().round().astype("uint8")
    expected = model.predict(pixels.astype("float32"), verbose=0)
    found = model.predict(pixels, verbose=0)
    called = to_numpy(model(pixels))
    for name in expected:
        np.testing.assert_array_equal(found[name], expected[name])
        np.testing.assert_allclose(called[name], expected[name], atol=1e-5)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((1, 1, 1000, 3), "Images of 1x1000 .* are too small: the height is 1, at least 16"),
        ((1, 64, 15, 3), "Images of 64x15 .* are too small: the width is 15, at least 16"),
        ((1, 64, 64, 4), r"Expected images of shape \(batch, height, width, 3\), got"),
        ((1, 64, 64, 1), r"Expected images of shape \(batch, height, width, 3\), got"),
        ((64, 64, 3), r"For one image add the batch axis: images\[None\]"),
    ],
)
def test_images_that_cannot_be_segmented_are_told(shape: tuple[int, ...], message: str):
    model = tiny.network()
    images = np.zeros(shape, "float32")
    for use in (model, model.inspect, model.predict_on_batch):
        with pytest.raises(ValueError, match=message):
            use(images)


# Training


def test_fit_without_arguments_and_its_logs():
    model = tiny.network()
    model.compile()
    assert isinstance(model.optimizer, optimizers.AdamW)
    images, labels = batch(size=4)
    before = keras.ops.convert_to_numpy(model.get_layer("classifier").kernel).copy()
    history = model.fit(
        images, labels, batch_size=2, epochs=2, validation_data=(images, labels), verbose=0
    ).history
    assert set(history) == LOGS | {f"val_{name}" for name in LOGS}
    for epoch in range(2):
        parts = [history[name][epoch] for name in ("cross_entropy", "dice", "selector")]
        total = parts[0] + parts[1] + 0.5 * parts[2]
        assert history["loss"][epoch] == pytest.approx(total, rel=1e-5)
    # Four small steps need not lower the loss; the overfit test shows that it learns.
    after = keras.ops.convert_to_numpy(model.get_layer("classifier").kernel)
    assert (after != before).any()

    scores = model.evaluate(images, labels, batch_size=2, verbose=0, return_dict=True)
    for name in LOGS:
        assert scores[name] == pytest.approx(history[f"val_{name}"][-1], rel=1e-5)
    logits = model.predict(images, verbose=0)["logits"]
    metric = metrics.MeanIoU(4)
    metric.update_state(labels, logits)
    assert scores["mean_iou"] == pytest.approx(float(metric.result()), rel=1e-5)


def test_masks_may_have_a_channel_and_any_integer_dtype():
    model = tiny.network()
    images, labels = batch()
    found = []
    for masks in (labels, labels[..., None], labels.astype("int32"), labels.astype("int64")):
        model.compile()
        found.append(model.test_on_batch(images, masks, return_dict=True))
    for other in found[1:]:
        assert other == pytest.approx(found[0])


def test_a_batch_of_ignored_pixels_trains_to_nothing():
    model = tiny.network()
    model.compile()
    images, labels = batch()
    logs = model.train_on_batch(images, np.full_like(labels, 255), return_dict=True)
    assert (logs["loss"], logs["cross_entropy"], logs["dice"], logs["selector"]) == (0, 0, 0, 0)
    assert np.isnan(logs["mean_iou"])  # no pixel, no score
    assert all(np.isfinite(weight).all() for weight in model.get_weights())


def test_float_masks_must_hold_whole_numbers():
    """Blended ids, of masks resized with interpolation, spoil the logs in place of the weights."""
    model = tiny.network()
    model.compile()
    images, labels = batch()
    expected = model.test_on_batch(images, labels, return_dict=True)
    whole = labels.astype("float32")
    assert model.test_on_batch(images, whole, return_dict=True) == pytest.approx(expected)
    whole[0, 9, 9] = 0.5
    if keras.backend.backend() == "torch":  # eager: the loss sees the array and can refuse it
        with pytest.raises(ValueError, match="values such as 0.5"):
            model.test_on_batch(images, whole, return_dict=True)
        return
    blended = model.test_on_batch(images, whole, return_dict=True)
    assert np.isnan([blended[name] for name in LOGS]).all()


def test_keras_loss_and_metrics():
    model = tiny.network()
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=255)
    model.compile("adam", loss=loss, metrics=["accuracy"])
    assert isinstance(model.optimizer, keras.optimizers.Adam)
    images, labels = batch()
    logits = model.predict(images, verbose=0)["logits"]
    scores = model.evaluate(images, labels, verbose=0, return_dict=True)
    assert set(scores) == {"loss", "accuracy"}
    assert scores["accuracy"] == pytest.approx((logits.argmax(-1) == labels).mean(), abs=1e-6)
    expected = float(to_numpy(losses.CrossEntropy()(labels, logits)))
    assert scores["loss"] == pytest.approx(expected, rel=1e-5)
    first = model.train_on_batch(images, labels, return_dict=True)["loss"]
    for _ in range(3):
        last = model.train_on_batch(images, labels, return_dict=True)["loss"]
    assert last < first


def test_own_loss_and_own_metric_functions():
    """Ours and a plain function are called with masks and logits."""

    def mean_logit(labels: Any, logits: Any) -> Any:
        return keras.ops.mean(logits, axis=-1)  # (B, H, W)

    model = tiny.network()
    model.compile("sgd", loss=losses.Dice(), metrics=[mean_logit])
    images, labels = batch()
    logits = model.predict(images, verbose=0)["logits"]
    scores = model.test_on_batch(images, labels, return_dict=True)
    assert scores["mean_logit"] == pytest.approx(logits.mean(), abs=1e-5)
    expected = float(to_numpy(losses.Dice()(labels, logits)))
    assert scores["loss"] == pytest.approx(expected, rel=1e-5)

    model.compile("sgd", loss=mean_logit, metrics=[])
    scores = model.test_on_batch(images, labels, return_dict=True)
    assert set(scores) == {"loss"}
    assert scores["loss"] == pytest.approx(logits.mean(), abs=1e-5)


def test_a_loss_by_name(tmp_path: Path):
    model = tiny.network()
    model.compile("sgd", loss="kl_divergence", metrics=["mean_squared_error"])
    images, labels = batch()
    one_hot = np.eye(4, dtype="float32")[labels % 4]
    scores = model.test_on_batch(images, one_hot, return_dict=True)
    logits = model.predict(images, verbose=0)["logits"]
    expected = keras.losses.KLDivergence()(one_hot, logits)
    assert scores["loss"] == pytest.approx(float(to_numpy(expected)), rel=1e-4)
    assert scores["mean_squared_error"] == pytest.approx(((one_hot - logits) ** 2).mean(), rel=1e-4)

    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    found = loaded.test_on_batch(images, one_hot, return_dict=True)
    assert found == pytest.approx(scores, rel=1e-5)


@pytest.mark.parametrize("metrics", ["accuracy", keras.metrics.SparseCategoricalAccuracy()])
def test_one_metric_without_a_list(metrics: Any):
    model = tiny.network()
    model.compile(metrics=metrics)
    scores = model.test_on_batch(*batch(), return_dict=True)
    name = metrics if isinstance(metrics, str) else metrics.name
    assert set(scores) == {name} | LOGS - {"mean_iou"}


@pytest.mark.parametrize("name", ["loss_weights", "weighted_metrics"])
def test_arguments_of_compile_without_meaning_are_told(name: str):
    with pytest.raises(ValueError, match=f"compile takes no {name}"):
        tiny.network().compile(**{name: [1.0]})


def test_sample_weights_weigh_the_loss_and_not_the_metrics():
    model = tiny.network()
    model.compile()
    images, labels = batch()
    alone = model.test_on_batch(images[:1], labels[:1], return_dict=True)
    both = model.test_on_batch(images, labels, return_dict=True)
    weighted = model.test_on_batch(
        images, labels, sample_weight=np.array([1.0, 0.0], "float32"), return_dict=True
    )
    for name in ("cross_entropy", "dice"):
        assert weighted[name] == pytest.approx(alone[name], rel=1e-5)
    for name in ("selector", "mean_iou"):
        assert weighted[name] == pytest.approx(both[name], rel=1e-5)


def sizes() -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for height, width, size in [(32, 48, 2), (40, 24, 1), (33, 47, 3)]:
        yield batch(height, width, size)


def test_batches_of_different_sizes():
    """With TensorFlow as a `tf.data.Dataset` of unknown sizes: one trace serves all."""
    model = tiny.network()
    model.compile()
    if keras.backend.backend() != "tensorflow":
        logs = [model.train_on_batch(*pair, return_dict=True) for pair in sizes()]
        assert all(np.isfinite(value) for log in logs for value in log.values())
        return
    import tensorflow as tf

    data = tf.data.Dataset.from_generator(
        sizes,
        output_signature=(
            tf.TensorSpec((None, None, None, 3), tf.float32),
            tf.TensorSpec((None, None, None), tf.uint8),
        ),
    )
    history = model.fit(data, epochs=2, validation_data=data, verbose=0).history
    assert set(history) == LOGS | {f"val_{name}" for name in LOGS}
    assert np.isfinite([history[name] for name in history]).all()


def test_a_frozen_backbone_stays():
    """Weights and batch-norm statistics, while the rest learns."""
    model = tiny.network()
    model.backbone.trainable = False
    model.compile()
    before = model.backbone.get_weights()
    kernel = model.get_layer("branch0").get_weights()[0]
    model.fit(*batch(), epochs=1, verbose=0)
    for old, new in zip(before, model.backbone.get_weights(), strict=True):
        np.testing.assert_array_equal(new, old)
    assert (model.get_layer("branch0").get_weights()[0] != kernel).any()


# Files and configs


def assert_same_optimizer(found: models.FoRNet, expected: models.FoRNet) -> None:
    pairs = zip(found.optimizer.variables, expected.optimizer.variables, strict=True)
    for a, b in pairs:
        np.testing.assert_array_equal(to_numpy(a.value), to_numpy(b.value), err_msg=a.path)


def test_a_saved_network_goes_on_training(tmp_path: Path):
    model = tiny.network()
    model.compile()
    images, labels = batch()
    model.fit(images, labels, epochs=2, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")

    assert type(loaded) is models.FoRNet
    assert loaded.get_config().keys() == model.get_config().keys()
    assert isinstance(loaded.optimizer, optimizers.AdamW)
    assert_same_optimizer(loaded, model)
    expected = model.predict(images, verbose=0)
    for name, value in loaded.predict(images, verbose=0).items():
        np.testing.assert_array_equal(value, expected[name])
    logs = [m.train_on_batch(images, labels, return_dict=True) for m in (model, loaded)]
    assert set(logs[1]) == LOGS
    assert logs[1] == pytest.approx(logs[0], rel=1e-5)
    after = [m.get_layer("classifier").get_weights()[0] for m in (model, loaded)]
    np.testing.assert_allclose(after[1], after[0], atol=1e-6)


@pytest.mark.parametrize("kind", ["name", "model"])
def test_a_saved_network_stays_frozen(kind: str, tmp_path: Path):
    """Or the optimizer's variables would not fit, and its state be lost."""
    backbone = "mobilenet_v2" if kind == "name" else tiny.backbone()
    model = tiny.network(backbone=backbone)
    frozen = [model.backbone.layers[2], model.get_layer("transition")]
    for layer in frozen:
        layer.trainable = False
    model.compile()
    model.optimizer.build(model.trainable_variables)
    for index, variable in enumerate(model.optimizer.variables):
        variable.assign(np.full(variable.shape, index))
    model.save(tmp_path / "frozen.keras")
    loaded = keras.saving.load_model(tmp_path / "frozen.keras")
    found = [variable.path for variable in loaded.trainable_variables]
    assert found == [variable.path for variable in model.trainable_variables]
    assert_same_optimizer(loaded, model)

    model.trainable = True
    model.backbone.trainable = False
    model.compile()
    model.save(tmp_path / "frozen.keras")
    loaded = keras.saving.load_model(tmp_path / "frozen.keras")
    assert not loaded.backbone.trainable_variables
    assert len(loaded.trainable_variables) == len(model.trainable_variables)


def test_a_network_compiled_with_other_parts_is_loaded_with_them(tmp_path: Path):
    model = tiny.network()
    loss = losses.Tversky(alpha=0.4, beta=0.6)
    model.compile("sgd", loss=loss, metrics=["accuracy", metrics.MeanIoU(4, name="iou")])
    images, labels = batch()
    expected = model.test_on_batch(images, labels, return_dict=True)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert isinstance(loaded.optimizer, keras.optimizers.SGD)
    found = loaded.test_on_batch(images, labels, return_dict=True)
    assert set(found) == {"loss", "accuracy", "iou"}
    assert found == pytest.approx(expected, rel=1e-5)


def test_weights_files(tmp_path: Path):
    model, other = tiny.network(), tiny.network()
    randomize_weights(model)
    model.save_weights(tmp_path / "model.weights.h5")
    other.load_weights(tmp_path / "model.weights.h5")
    for a, b in zip(model.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_config_round_trip():
    options = {
        "output_stride": 16,
        "neck": "fpn",
        "filters": 12,
        "selector_filters": 5,
        "context_filters": 0,
        "low_level_filters": 7,
        "decoder_filters": 9,
        "kernel_sizes": [1, 5],
        "dilation_rates": [1, 2],
        "ratios": [0.2, 0.5],
        "dice_weight": 0.5,
        "selector_weight": 0.25,
        "boundary_band": 1,
        "boundary_decay": 0.25,
        "class_weights": [1.0, 2.0, 3.0],
        "ignore_class": None,
        "name": "other",
    }
    model = models.FoRNet(3, "mobilenet_v2", **options)
    config = model.get_config()
    assert config == {"num_classes": 3, "backbone": "mobilenet_v2", **options}
    copy = check_config_round_trip(model)
    assert [w.shape for w in copy.weights] == [w.shape for w in model.weights]
    assert copy.name == "other"


def test_config_of_a_backbone_given_as_a_model():
    model = tiny.network(backbone=tiny.backbone(6))
    copy = check_config_round_trip(model)
    copy.set_weights(model.get_weights())
    images = tiny.images(32, 48)
    expected = model.predict(images, verbose=0)
    for name, value in copy.predict(images, verbose=0).items():
        np.testing.assert_array_equal(value, expected[name])


def test_a_config_can_be_used_twice():
    config = tiny.network().get_config()
    first, second = (models.FoRNet.from_config(config) for _ in range(2))
    assert [w.shape for w in first.weights] == [w.shape for w in second.weights]


# Signals


def test_inspect():
    model = tiny.network()
    images = tiny.images(64, 96)
    signals = model.inspect(images.round().astype("uint8"))
    grid, fine = (2, 8, 12), (2, 16, 24)
    assert {name: value.shape for name, value in signals.items()} == {
        "importance": (*grid, 1),
        "features": (*grid, 16),
        "context_features": (*grid, 16),
        **{f"region{i}": (*grid, 16) for i in range(4)},
        "aggregated": (*grid, 16),
        "decoded": (*fine, 4),
        "logits": (2, 64, 96, 4),
        "selector_logits": (*grid, 1),
        "masks": (*grid, 4),
    }
    assert all(isinstance(value, np.ndarray) for value in signals.values())
    importance = 1 / (1 + np.exp(-signals["selector_logits"]))
    np.testing.assert_allclose(signals["importance"], importance, atol=1e-6)
    outputs = model.predict(images.round(), verbose=0)
    for name, value in outputs.items():
        np.testing.assert_allclose(signals[name], value, atol=1e-5)


def test_inspect_follows_the_weights_and_needs_no_compile():
    model = tiny.network()
    images = tiny.images(32, 48)
    before = model.inspect(images)["logits"]
    randomize_weights(model)
    after = model.inspect(images)["logits"]
    assert np.abs(after - before).max() > 1e-3
    np.testing.assert_allclose(after, model.predict(images, verbose=0)["logits"], atol=1e-5)
    assert model.inspect(images[:1, :16])["logits"].shape == (1, 16, 48, 4)
