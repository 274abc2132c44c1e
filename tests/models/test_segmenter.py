"""What a Keras user types: compile, fit, evaluate, predict, save, clone, presets; and mistakes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from keras_focusseg import label_spaces, layers, losses, metrics, models, optimizers, presets
from tests.models import tiny
from tests.testers import check_config_round_trip, randomize_weights, tiny_fornet, to_numpy

LOGS = {"loss", "cross_entropy", "dice", "selector", "mean_iou"}


def network(**options: Any) -> models.FoRNet:
    """FoR-Net with one branch: what is asked here is the same for any network."""
    one_branch = {"kernel_sizes": (3,), "dilation_rates": (1,), "ratios": (0.3,)}
    return tiny_fornet(4, **{**one_branch, **options})


def assert_loss_is_sum_of_terms(logs: Mapping[str, float]) -> None:
    total = logs["cross_entropy"] + logs["dice"] + 0.5 * logs["selector"]
    assert logs["loss"] == pytest.approx(total, rel=1e-5)


def batch(height: int = 32, width: int = 48, size: int = 2) -> tuple[np.ndarray, np.ndarray]:
    return tiny.images(height, width, size), tiny.masks(height, width, size)


@pytest.fixture(scope="module")
def model() -> models.FoRNet:
    """One network for all tests that compile it as they like and rely on no weights."""
    return network()


# Training


def test_fit_without_arguments_and_its_logs():
    model = network()
    model.compile()
    assert isinstance(model.optimizer, optimizers.AdamW)
    images, labels = batch(size=4)
    before = keras.ops.convert_to_numpy(model.get_layer("classifier").kernel).copy()
    stop = keras.callbacks.EarlyStopping(monitor="val_mean_iou", patience=9)  # knows the direction
    history = model.fit(
        images,
        labels,
        batch_size=2,
        epochs=2,
        validation_data=(images, labels),
        callbacks=[stop],
        verbose=0,
    ).history
    assert stop.monitor_op is keras.ops.greater
    assert set(history) == LOGS | {f"val_{name}" for name in LOGS}
    for epoch in range(2):
        assert_loss_is_sum_of_terms({name: history[name][epoch] for name in LOGS})
    # Four small steps need not lower the loss; the overfit test shows that it learns.
    after = keras.ops.convert_to_numpy(model.get_layer("classifier").kernel)
    assert (after != before).any()

    scores = model.evaluate(images, labels, batch_size=2, verbose=0, return_dict=True)
    for name in LOGS:
        assert scores[name] == pytest.approx(history[f"val_{name}"][-1], rel=1e-5)
    metric = metrics.MeanIoU(4)
    metric.update_state(labels, model.predict(images, verbose=0))
    assert scores["mean_iou"] == pytest.approx(float(metric.result()), rel=1e-5)


@pytest.mark.backend_free
def test_masks_may_have_a_channel_and_any_integer_dtype(model: models.FoRNet):
    model.compile()
    images, labels = batch()
    found = []
    for masks in (labels, labels[..., None], labels.astype("int32"), labels.astype("int64")):
        model.reset_metrics()
        found.append(model.test_on_batch(images, masks, return_dict=True))
    for other in found[1:]:
        assert other == pytest.approx(found[0])


@pytest.mark.skipif(keras.backend.backend() == "jax", reason="JAX compiles for each shape anyway")
def test_masks_and_weights_may_change_their_rank(model: models.FoRNet):
    """From one call to the next; on TensorFlow one function for both would know no shape."""
    model.compile("sgd")
    images, labels = batch()
    rows = np.ones(2, "float32")
    pixels = np.ones(labels.shape, "float32")
    for masks, weights in ((labels, rows), (labels[..., None], pixels), (labels, pixels)):
        model.fit(images, masks, sample_weight=weights, verbose=0)
        scores = model.evaluate(images, masks, sample_weight=weights, verbose=0, return_dict=True)
        assert np.isfinite(scores["loss"])


def test_float_masks_must_hold_whole_numbers(model: models.FoRNet):
    """Blended ids, of masks resized with interpolation, spoil the logs in place of the weights."""
    model.compile()
    images, labels = batch()
    expected = model.test_on_batch(images, labels, return_dict=True)
    whole = labels.astype("float32")
    model.reset_metrics()
    assert model.test_on_batch(images, whole, return_dict=True) == pytest.approx(expected)
    whole[0, 9, 9] = 0.5
    if keras.backend.backend() == "torch":  # eager: the loss sees the array and can refuse it
        with pytest.raises(ValueError, match="values such as 0.5"):
            model.test_on_batch(images, whole, return_dict=True)
        return
    blended = model.test_on_batch(images, whole, return_dict=True)
    assert np.isnan([blended[name] for name in LOGS]).all()


def mean_logit(labels: Any, logits: Any) -> Any:
    """A loss and a metric of a user's own: (B, H, W)."""
    return keras.ops.mean(logits, axis=-1)


def once(value: Any) -> Any:
    """A parameter that one backend is enough for."""
    return pytest.param(value, marks=pytest.mark.backend_free)


OWN = {
    "object": keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=255),
    "name": "sparse_categorical_crossentropy",
    "class name": "SparseCategoricalCrossentropy",
    "by output": {"logits": losses.CrossEntropy()},
    "in a list": [losses.CrossEntropy()],
}


@pytest.mark.parametrize("form", ["object", *(once(form) for form in OWN if form != "object")])
def test_own_losses_are_of_masks_and_logits(model: models.FoRNet, form: str, tmp_path: Path):
    """In every form that Keras takes: all of these mean the same; a `.keras` file keeps them."""
    model.compile("adam", loss=OWN[form], metrics=["accuracy", mean_logit])
    assert isinstance(model.optimizer, keras.optimizers.Adam)
    images, labels = batch()
    logits = model.predict(images, verbose=0)
    scores = model.test_on_batch(images, labels, return_dict=True)
    assert set(scores) == {"loss", "accuracy", "mean_logit"}
    assert scores["accuracy"] == pytest.approx((logits.argmax(-1) == labels).mean(), abs=1e-6)
    assert scores["mean_logit"] == pytest.approx(logits.mean(), abs=1e-5)
    expected = float(to_numpy(losses.CrossEntropy()(labels, logits)))
    assert scores["loss"] == pytest.approx(expected, rel=1e-5)

    model.compile("adam", loss=OWN[form], metrics={"logits": metrics.MeanIoU(4, name="iou")})
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    found = loaded.test_on_batch(images, labels, return_dict=True)
    assert set(found) == {"loss", "iou"}
    assert found["loss"] == pytest.approx(expected, rel=1e-5)


def test_a_function_as_loss_and_one_hot_masks(model: models.FoRNet):
    images, labels = batch()
    logits = model.predict(images, verbose=0)
    model.compile("sgd", loss=mean_logit, metrics=None)
    scores = model.test_on_batch(images, labels, return_dict=True)
    assert set(scores) == {"loss"}
    assert scores["loss"] == pytest.approx(logits.mean(), abs=1e-5)
    model.compile("sgd", loss=lambda y, logits: mean_logit(y, logits), metrics=None)
    assert model.test_on_batch(images, labels) == pytest.approx(logits.mean(), abs=1e-5)

    model.compile("sgd", loss="categorical_crossentropy", metrics="mean_squared_error")
    one_hot = np.eye(4, dtype="float32")[labels % 4]
    scores = model.test_on_batch(images, one_hot, return_dict=True)
    expected = keras.losses.CategoricalCrossentropy(from_logits=True)(one_hot, logits)
    assert scores["loss"] == pytest.approx(float(to_numpy(expected)), rel=1e-4)
    assert scores["mean_squared_error"] == pytest.approx(((one_hot - logits) ** 2).mean(), rel=1e-4)


@pytest.mark.backend_free
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"loss": keras.losses.SparseCategoricalCrossentropy()}, "use the loss with from_logits"),
        ({"loss": keras.losses.binary_crossentropy}, "gives logits: use the loss with from_logits"),
        ({"loss": {"masks": "mse"}}, r"of the logits alone, got losses of \['masks'\]"),
        ({"loss": ["mse", "mae"]}, "one loss, got a list of 2"),
        ({"metrics": {"masks": ["mse"]}}, r"metrics of the logits alone, got some of \['masks'\]"),
        (
            {"metrics": ["sparse_categorical_crossentropy"]},
            "SparseCategoricalCrossentropy.from_log",
        ),
        ({"metrics": keras.metrics.CategoricalCrossentropy()}, "use keras.metrics.CategoricalCros"),
        (
            {"metrics": keras.metrics.MeanIoU(4)},
            "MeanIoU with sparse_y_pred=False and ignore_class",
        ),
        ({"weighted_metrics": [keras.metrics.MeanIoU(4)]}, "MeanIoU with sparse_y_pred=False"),
        ({"loss_weights": [1.0]}, "compile takes no loss_weights"),
    ],
)
def test_arguments_of_compile_without_meaning_are_told(
    model: models.FoRNet, arguments: dict[str, Any], message: str
):
    with pytest.raises(ValueError, match=message):
        model.compile(**arguments)


def test_metrics_of_keras_that_take_logits(model: models.FoRNet):
    images, labels = batch()
    classes = labels % 4
    of_logits = [
        keras.metrics.SparseCategoricalCrossentropy(from_logits=True, name="entropy"),
        keras.metrics.MeanIoU(4, ignore_class=255, sparse_y_pred=False, name="iou"),
    ]
    model.compile("adam", loss=losses.CrossEntropy(), metrics=of_logits)
    scores = model.test_on_batch(images, classes, return_dict=True)
    assert scores["entropy"] == pytest.approx(scores["loss"], rel=1e-5)
    model.compile("adam", loss=losses.CrossEntropy(), metrics=[metrics.MeanIoU(4, name="iou")])
    ours = model.test_on_batch(images, classes, return_dict=True)
    assert scores["iou"] == pytest.approx(ours["iou"], rel=1e-5)


def test_sample_weights_weigh_the_loss_and_not_the_metrics(model: models.FoRNet):
    model.compile()
    images, labels = batch()

    def scores(*data: Any, **kwargs: Any) -> dict[str, float]:
        model.reset_metrics()
        found: dict[str, float] = model.test_on_batch(*data, return_dict=True, **kwargs)
        return found

    alone, both = scores(images[:1], labels[:1]), scores(images, labels)
    weighted = scores(images, labels, sample_weight=np.array([1.0, 0.0], "float32"))
    for name in ("cross_entropy", "dice"):
        assert weighted[name] == pytest.approx(alone[name], rel=1e-5)
    for name in ("selector", "mean_iou"):
        assert weighted[name] == pytest.approx(both[name], rel=1e-5)
    model.compile("adam", loss=OWN["name"])
    alone = scores(images[:1], labels[:1])
    weighted = scores(images, labels, sample_weight=np.array([2.0, 0.0], "float32"))
    share = (labels[0] != 255).sum() / (labels != 255).sum()
    assert weighted["loss"] == pytest.approx(2 * share * alone["loss"], rel=1e-5)


def sizes() -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for height, width, size in [(32, 48, 2), (33, 47, 1)]:
        yield batch(height, width, size)


def test_batches_of_different_sizes(model: models.FoRNet):
    """With TensorFlow as a `tf.data.Dataset` of unknown sizes: one trace serves all.

    Terms are shown as the loss is: as means over images, of which the last batch has fewer.
    """
    model.compile()
    if keras.backend.backend() != "tensorflow":
        logs = [model.train_on_batch(*pair, return_dict=True) for pair in sizes()]
        assert all(np.isfinite(value) for log in logs for value in log.values())
    else:
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
        for kind in ("", "val_"):
            assert_loss_is_sum_of_terms({name: history[f"{kind}{name}"][-1] for name in LOGS})
    for use in (model.predict_on_batch, lambda x: model.train_on_batch(x, x[..., 0])):
        with pytest.raises(ValueError, match="too small: the width is 8"):
            use(np.zeros((1, 32, 8, 3), "float32"))  # told after any number of sizes


def test_a_frozen_backbone_stays(model: models.FoRNet):
    """Weights and batch-norm statistics, while the rest learns."""
    model.backbone.trainable = False
    model.compile()
    before = model.backbone.get_weights()
    kernel = model.get_layer("classifier").get_weights()[0]
    model.train_on_batch(*batch())
    for old, new in zip(before, model.backbone.get_weights(), strict=True):
        np.testing.assert_array_equal(new, old)
    assert (model.get_layer("classifier").get_weights()[0] != kernel).any()
    model.backbone.trainable = True


# The look at the first batch


class Feed(keras.utils.PyDataset):
    """Two equal batches."""

    def __init__(self, *pair: np.ndarray) -> None:
        super().__init__()
        self.pair = pair

    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: int) -> tuple[np.ndarray, ...]:
        return self.pair


def generator(*pair: np.ndarray) -> Iterator[tuple[np.ndarray, ...]]:
    yield from (pair, pair)


def tensorflow_data(*pair: np.ndarray) -> Any:
    tf = pytest.importorskip("tensorflow")
    return tf.data.Dataset.from_tensors(pair).repeat(2)


FORMS: dict[str, Callable[..., tuple[Any, ...]]] = {
    "arrays": lambda *pair: pair,
    "PyDataset": lambda *pair: (Feed(*pair),),
    "generator": lambda *pair: (generator(*pair),),
    "tf.data": lambda *pair: (tensorflow_data(*pair),),
}


@pytest.mark.parametrize("form", [once("arrays"), "PyDataset", once("generator"), "tf.data"])
def test_a_wrong_first_batch_is_told(model: models.FoRNet, form: str):
    """By `fit`, its validation data, `evaluate` and `predict`, before a step is made."""
    model.compile("sgd")
    images, labels = batch()
    data = FORMS[form]
    small = images / 255
    for use in (model.fit, model.evaluate):
        with pytest.raises(ValueError, match="hold values .* expected RGB in 0..255. Multiply by"):
            use(*data(small, labels), verbose=0)
        with pytest.raises(ValueError, match="No pixel of the first masks is a class: they hold 7"):
            use(*data(images, np.full_like(labels, 77)), verbose=0)
    with pytest.raises(ValueError, match="Leave out the normalisation"):
        model.predict(data((images - 120) / 60, labels)[0], verbose=0)
    validation = data(small, labels)
    with pytest.raises(ValueError, match="Multiply by 255"):
        model.fit(
            images,
            labels,
            validation_data=validation if form == "arrays" else validation[0],
            verbose=0,
        )
    history = model.fit(*data(images, labels), verbose=0)
    assert len(history.history["loss"]) == 1  # nothing of a generator was lost
    if form == "generator":
        assert history.params["steps"] is None


@pytest.mark.backend_free
def test_other_mistakes_with_data_are_told(model: models.FoRNet):
    model.compile("sgd")
    images, labels = batch()
    for use in (model.fit, model.train_on_batch):
        with pytest.raises(ValueError, match=r"class_weights=\) or to the loss"):
            use(images, labels, class_weight={0: 1.0})
        with pytest.raises(ValueError, match=r"batches must be \(images, integer masks\)"):
            use(images)
    halves = np.where(labels == 0, 255, 0).astype("uint8")
    with pytest.warns(UserWarning, match="0 and 255 alone.*masks // 255"):
        model.evaluate(images, halves, verbose=0)
    with pytest.warns(UserWarning, match=r"masks hold 7 beside class ids 0\.\.3.*num_classes="):
        model.evaluate(images, np.where(labels == 0, 7, 1), verbose=0)
    with pytest.raises(ValueError, match="masks hold 0.5; expected class ids"):
        model.fit(images, labels + 0.5, verbose=0)
    for use in (lambda x: model.fit(x, labels), model.predict, lambda x: model.evaluate((x, 0))):
        with pytest.raises(ValueError, match=r"came as a (list|tuple) of 2; .* numpy\.stack"):
            use(list(images[:2]))
    dicts = [{"image": images, "mask": labels}]  # as of tensorflow_datasets
    for use in (model.fit, model.evaluate, model.predict):
        with pytest.raises(ValueError, match=r"came as dicts of image, mask; expected tuples"):
            use(batch for batch in dicts)
    for use in (model.train_on_batch, lambda x, y: model.fit(x, y), lambda x, _: model.predict(x)):
        with pytest.raises(ValueError, match=r"got \(2, 3, 32, 48\). Channels come last"):
            use(images.transpose(0, 3, 1, 2), labels)
    deep = images.astype("uint16") * 257
    for use in (lambda x: model.fit(x, labels), lambda x: model.evaluate(x, labels)):
        for wrong in (deep, deep.astype("float32"), deep.astype("int32") - 70000):
            with pytest.raises(ValueError, match="hold values .* expected RGB in 0..255"):
                use(wrong)
    for predict in (model.predict, model.predict_on_batch, model.predict_labels, model.inspect):
        with pytest.raises(ValueError, match="those of 16 bits divided by 257"):
            predict(deep)
    with pytest.raises(ValueError, match="masks came as a list of 2"):
        model.fit(images, list(labels))
    model.evaluate(np.zeros_like(images), labels, verbose=0)  # black pictures are pictures


# Files


def test_a_saved_network_goes_on_training(tmp_path: Path):
    model = network()
    model.compile()
    images, labels = batch()
    model.fit(images, labels, epochs=2, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert isinstance(loaded.optimizer, optimizers.AdamW)
    assert_same_optimizer(loaded, model)
    logs = [m.fit(images, labels, verbose=0).history for m in (model, loaded)]
    assert set(logs[1]) == LOGS
    for name, (value,) in logs[1].items():
        assert value == pytest.approx(logs[0][name][0], rel=1e-5)
    after = [m.get_layer("classifier").get_weights()[0] for m in (model, loaded)]
    np.testing.assert_allclose(after[1], after[0], atol=1e-6)


def assert_same_optimizer(found: models.FoRNet, expected: models.FoRNet) -> None:
    pairs = zip(found.optimizer.variables, expected.optimizer.variables, strict=True)
    for a, b in pairs:
        np.testing.assert_array_equal(to_numpy(a.value), to_numpy(b.value), err_msg=a.path)


@pytest.mark.backend_free
@pytest.mark.parametrize("part", ["layers", "backbone", "all"])
def test_a_saved_network_stays_frozen(part: str, tmp_path: Path):
    """Or the optimizer's variables would not fit, and its state be lost."""
    model = network(backbone="mobilenet_v2" if part == "backbone" else tiny.backbone(4))
    frozen = {
        "layers": [model.backbone.layers[2], model.get_layer("classifier")],
        "backbone": [model.backbone],
        "all": [model],
    }[part]
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


@pytest.mark.backend_free
def test_files_of_weights_and_files_that_cannot_be(tmp_path: Path):
    model, other = network(), network()
    randomize_weights(model)
    model.save_weights(tmp_path / "model.weights.h5")
    other.load_weights(tmp_path / "model.weights.h5")
    for a, b in zip(model.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    with pytest.raises(ValueError, match=r"Save the network as a .keras file"):
        model.save(tmp_path / "model.h5")
    assert not (tmp_path / "model.h5").exists()


@pytest.mark.backend_free
def test_config_of_a_backbone_given_as_a_model():
    model = network(backbone=tiny.backbone(6))
    copy = check_config_round_trip(model)
    again = models.FoRNet.from_config(model.get_config())  # a config can be used twice
    images = tiny.images(32, 48)
    expected = model.predict(images, verbose=0)
    for other in (copy, again):
        other.set_weights(model.get_weights())
        np.testing.assert_allclose(other.predict(images, verbose=0), expected, atol=1e-6)


@pytest.mark.backend_free
def test_a_clone_of_a_compiled_network():
    """It is a plain functional model with new weights, which takes a loss of its own."""
    model = network()
    model.compile()
    clone = keras.models.clone_model(model)
    assert [w.shape for w in clone.weights] == [w.shape for w in model.weights]
    clone.set_weights(model.get_weights())
    images, labels = batch()
    expected = model.predict(images, verbose=0)
    np.testing.assert_allclose(clone.predict(images, verbose=0)["logits"], expected, atol=1e-6)
    clone.compile("sgd", loss={"logits": losses.CrossEntropy()}, metrics=[])
    assert np.isfinite(clone.train_on_batch(images, labels))


@keras.saving.register_keras_serializable(package="tests")
class Narrow(models.FoRNet):
    """A network of a user's own, with arguments of its own."""

    def __init__(self, num_classes: int, width: int = 8, **kwargs: Any) -> None:
        kwargs = {"low_level_filters": 4, "backbone": tiny.backbone(4), **kwargs}
        super().__init__(num_classes, filters=width, **kwargs)


@pytest.mark.backend_free
def test_subclasses_keep_their_own_arguments():
    model = Narrow(3, width=6, neck="fpn", name="mine")
    config = model.get_config()
    assert config == {"num_classes": 3, "width": 6, "neck": "fpn", "name": "mine"}
    copy = check_config_round_trip(model)
    assert [w.shape for w in copy.weights] == [w.shape for w in model.weights]


# Classes and presets


@pytest.mark.backend_free
def test_the_label_space_must_fit():
    model = network()
    assert model.label_space is None and "label_space" not in model.get_config()
    model.label_space = space = label_spaces.from_names(["a", "b", "c", "d"])
    assert models.FoRNet.from_config(model.get_config()).label_space == space
    with pytest.raises(ValueError, match="network has 4 classes, label space 'custom' has 2"):
        model.label_space = label_spaces.from_names(["a", "b"])


@pytest.mark.backend_free
def test_presets_as_keras_hub_has_them(tmp_path: Path):
    assert set(models.SCRNet.presets) == set(presets.names("scrnet*"))
    assert models.SCRNet.presets["scrnet_mscan_s_cityscapes"].network == "SCRNet"
    assert set(models.Segmenter.presets) == set(presets.names())
    model = network(dtype="mixed_bfloat16")
    randomize_weights(model)
    record = model.save_to_preset(tmp_path / "mine")
    assert record.name == "mine" and record.network == "FoRNet"
    assert record.classes().classes == ("class 0", "class 1", "class 2", "class 3")
    images = tiny.images(32, 48)
    expected = model.predict(images, verbose=0)
    for kind in (models.FoRNet, models.Segmenter):
        found = kind.from_preset(tmp_path / "mine", name="second")
        assert type(found) is models.FoRNet and found.name == "second"
        assert found.dtype_policy.name == "mixed_bfloat16"
        np.testing.assert_array_equal(found.predict(images, verbose=0), expected)
    assert models.FoRNet.from_preset(tmp_path / "mine", dtype="float32").dtype_policy.name == (
        "float32"
    )
    with pytest.raises(ValueError, match="is a preset of FoRNet, not of SCRNet: open it with FoRN"):
        models.SCRNet.from_preset(tmp_path / "mine")


@pytest.mark.backend_free
def test_networks_of_others_are_found_by_their_registered_name(tmp_path: Path):
    Narrow(3).save_to_preset(tmp_path / "narrow")
    assert presets.record(tmp_path / "narrow").network == "tests>Narrow"
    assert type(presets.load(tmp_path / "narrow")) is Narrow
    for name in ("AdamW", "ResNet", "FoRNett", "tests>Wide"):
        with pytest.raises(ValueError, match=f"no network '{name}'; there are FoRNet, SCRNet, SER"):
            presets.network_class(name)


@pytest.mark.backend_free
def test_two_presets_in_one_functional_model():
    images = keras.Input((None, None, 3))
    name = "fornet_mobilenet_v2_synthetic_streets"
    both = [presets.load(name, load_weights=False, name=n)(images) for n in ("first", "second")]
    logits = layers.ResizeLike()(both[0]["logits"], images) + both[1]["logits"]
    names = {layer.name for layer in keras.Model(images, logits).layers}
    assert {"first", "second"} <= names


# Signals


def test_inspect():
    model = network()
    images = tiny.images(64, 96)
    signals = model.inspect(images.round().astype("uint8"))
    grid, fine = (2, 8, 12), (2, 16, 24)
    assert {name: value.shape for name, value in signals.items()} == {
        "importance": (*grid, 1),
        "features": (*grid, 8),
        "context_features": (*grid, 8),
        "region0": (*grid, 8),
        "aggregated": (*grid, 8),
        "decoded": (*fine, 4),
        "logits": (2, 64, 96, 4),
        "selector_logits": (*grid, 1),
        "masks": (*grid, 1),
    }
    assert all(isinstance(value, np.ndarray) for value in signals.values())
    importance = 1 / (1 + np.exp(-signals["selector_logits"]))
    np.testing.assert_allclose(signals["importance"], importance, atol=1e-6)
    for name, value in tiny.outputs(model, images.round()).items():
        np.testing.assert_allclose(signals[name], value, atol=1e-5)
    before = signals["logits"]
    randomize_weights(model)  # followed, and no compile needed
    after = model.inspect(images.round())["logits"]
    assert np.abs(after - before).max() > 1e-3
    np.testing.assert_allclose(after, model.predict(images.round(), verbose=0), atol=1e-5)
