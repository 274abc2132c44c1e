"""The losses as a user meets them: compile, fit, save, wrong input."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from keras_focusseg import losses
from tests.losses.cases import CASES
from tests.testers import check_config_round_trip

BUILT = {name: case.build(3) for name, case in CASES.items()}


# One head for each, so that one compiled training step covers all of them.
TRAINED = {
    "cross_entropy": losses.CrossEntropy(label_smoothing=0.1, class_weights=[1.0, 2.0, 1.0]),
    "ohem": losses.CrossEntropy(ohem_threshold=0.7, ohem_min_kept=0.3),
    "dice": losses.Dice(),
    "tversky": losses.Tversky(gamma=0.75),
    "focal": losses.Focal(),
    "lovasz": losses.Lovasz(),
    "lovasz_all_per_image": losses.Lovasz(classes="all", per_image=True),
    "boundary": losses.BoundaryTargetBCE(num_classes=3, stride=2),
}


def small_net(heads):
    """Three convolutions; the last is the head, at half the size for the boundary."""
    images = keras.Input((None, None, 3))
    x = keras.layers.Conv2D(8, 3, padding="same", activation="relu")(images)
    x = keras.layers.Conv2D(8, 3, padding="same", activation="relu")(x)
    outputs = {}
    for name in heads:
        channels, stride = (1, 2) if name == "boundary" else (3, 1)
        head = keras.layers.Conv2D(channels, 3, stride, padding="same", name=name)
        outputs[name] = head(x)
    return keras.Model(images, outputs)


class TwoSizes(keras.utils.PyDataset):
    """Batches of alternating size, of images whose colour is their class."""

    def __init__(self, heads):
        super().__init__()
        self.heads = heads

    def __len__(self):
        return 4

    def __getitem__(self, index):
        batch, height, width = [(2, 8, 10), (3, 11, 7)][index % 2]
        rng = np.random.default_rng(index)
        masks = rng.integers(0, 3, (batch, height, 1)).repeat(width, axis=2)
        images = np.eye(3, dtype="float32")[masks]
        masks[:, :2, :3] = 255
        return images, {name: masks.astype("uint8") for name in self.heads}


def test_fit_save_and_load_with_every_loss(tmp_path):
    model = small_net(TRAINED)
    model.compile(keras.optimizers.Adam(0.02), loss=dict(TRAINED))
    data = TwoSizes(TRAINED)
    history = model.fit(data, epochs=5, verbose=0).history
    for name in TRAINED:
        values = history[f"{name}_loss"]
        assert np.isfinite(values).all() and values[-1] < values[0], name

    images, masks = data[0]
    evaluated = model.evaluate(images, masks, verbose=0, return_dict=True)
    for name, logits in model.predict(images, verbose=0).items():
        direct = float(keras.ops.convert_to_numpy(TRAINED[name](masks[name], logits)))
        assert evaluated[f"{name}_loss"] == pytest.approx(direct, rel=1e-4), name

    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.loss["lovasz_all_per_image"].classes == "all"
    again = loaded.evaluate(images, masks, verbose=0, return_dict=True)
    assert again == pytest.approx(evaluated, rel=1e-5)


def test_sample_weights_reach_the_loss_in_evaluate():
    model = small_net(["cross_entropy"])
    loss = losses.CrossEntropy()
    model.compile("sgd", loss={"cross_entropy": loss})
    images, masks = TwoSizes(["cross_entropy"])[0]
    masks = masks["cross_entropy"]
    weights = np.zeros(masks.shape, "float32")
    weights[0] = 1.0
    value = model.evaluate(images, masks, sample_weight=weights, verbose=0)
    logits = model.predict(images, verbose=0)["cross_entropy"]
    direct = float(keras.ops.convert_to_numpy(loss(masks[:1], logits[:1])))
    assert value == pytest.approx(direct, rel=1e-5)


def test_every_loss_survives_serialisation():
    rng = np.random.default_rng(0)
    for name, loss in BUILT.items():
        copy = check_config_round_trip(loss)
        assert copy.get_config() == loss.get_config()
        again = keras.losses.deserialize(keras.losses.serialize(loss))
        assert again.get_config() == loss.get_config(), name
        assert again.ignore_class == 3
        for key, value in loss.get_config().items():
            assert getattr(again, key) == value
        logits = rng.normal(size=CASES[name].logits_shape()).astype("float32")
        masks = rng.integers(0, 4, (2, 5, 7))
        assert float(again(masks, logits)) == float(loss(masks, logits))


@pytest.mark.parametrize("loss", [losses.CrossEntropy(), losses.BoundaryTargetBCE(3, stride=1)])
def test_wrong_masks_are_refused_with_what_arrived(loss):
    name = type(loss).__name__
    channels = 1 if name == "BoundaryTargetBCE" else 3
    logits = np.zeros((2, 4, 6, channels), "float32")
    with pytest.raises(ValueError, match=rf"{name}.*float32.*1\.5.*nearest"):
        loss(np.full((2, 4, 6), 1.5, "float32"), logits)
    with pytest.raises(ValueError, match=rf"{name}.*\(2, 4, 6, 3\).*[Oo]ne-hot"):
        loss(np.zeros((2, 4, 6, 3), "int32"), logits)
    with pytest.raises(ValueError, match=rf"{name}.*\(2, 4, 5\).*\(2, 4, 6, {channels}\)"):
        loss(np.zeros((2, 4, 5), "int32"), logits)
    with pytest.raises(ValueError, match=rf"{name}.*\(4, 6\)"):
        loss(np.zeros((4, 6), "int32"), logits)
    with pytest.raises(ValueError, match=rf"{name}.*sample_weight.*\(3,\).*\(2, 4, 6\)"):
        loss(np.zeros((2, 4, 6), "int32"), logits, np.ones(3, "float32"))
    with pytest.raises(ValueError, match=rf"{name}.*sample_weight.*\(2, 6\)"):
        loss(np.zeros((2, 4, 6), "int32"), logits, np.ones((2, 6), "float32"))


@pytest.mark.parametrize("loss", [losses.CrossEntropy(), losses.BoundaryTargetBCE(3, stride=1)])
def test_float_masks_count_only_if_whole(loss):
    rng = np.random.default_rng(0)
    channels = 1 if isinstance(loss, losses.BoundaryTargetBCE) else 3
    logits = rng.normal(size=(2, 4, 6, channels)).astype("float32")
    masks = rng.integers(0, 3, (2, 4, 6))
    expected = float(keras.ops.convert_to_numpy(loss(masks, logits)))
    for whole in (masks.astype("float64"), keras.ops.convert_to_tensor(masks, dtype="float32")):
        assert float(keras.ops.convert_to_numpy(loss(whole, logits))) == expected
    # A tensor may be part of a graph, where no value is known and nothing can be raised.
    blended = keras.ops.convert_to_tensor(masks + 0.25, dtype="float32")
    assert np.isnan(keras.ops.convert_to_numpy(loss(blended, logits)))


def test_logits_of_one_class_and_of_a_wrong_rank_are_refused():
    with pytest.raises(ValueError, match=r"at least 2 classes.*\(1, 2, 2, 1\)"):
        losses.Dice()(np.zeros((1, 2, 2), "int32"), np.zeros((1, 2, 2, 1), "float32"))
    with pytest.raises(ValueError, match=r"\(1, 2, 2\).*\(1, 2, 2\)"):
        losses.Dice()(np.zeros((1, 2, 2), "int32"), np.zeros((1, 2, 2), "float32"))


@pytest.mark.backend_free
@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: losses.CrossEntropy(label_smoothing=1.0), "label_smoothing"),
        (lambda: losses.CrossEntropy(ohem_threshold=0.0), "ohem_threshold"),
        (lambda: losses.CrossEntropy(ohem_min_kept=0.0), "ohem_min_kept"),
        (lambda: losses.CrossEntropy(class_weights=[1.0, -1.0]), "class_weights"),
        (lambda: losses.Focal(class_weights=[1.0, float("nan")]), "class_weights"),
        (lambda: losses.Focal(gamma=-1), "gamma"),
        (lambda: losses.Dice(smooth=0), "smooth"),
        (lambda: losses.Tversky(gamma=0), "gamma"),
        (lambda: losses.Lovasz(classes="some"), "classes"),
        (lambda: losses.boundary_target(np.zeros((1, 2, 2), "int32"), 0, 2), "stride"),
    ],
)
def test_arguments_out_of_range_are_refused(build, message):
    with pytest.raises(ValueError, match=message):
        build()


@pytest.mark.backend_free
def test_class_weights_of_another_number_are_refused():
    for loss in (losses.CrossEntropy(class_weights=[1, 2]), losses.Focal(class_weights=[1, 2])):
        with pytest.raises(ValueError, match="2 class_weights for logits with 3 classes"):
            loss(np.zeros((1, 2, 2), "int32"), np.zeros((1, 2, 2, 3), "float32"))


@pytest.mark.parametrize("name", ["cross_entropy", "ohem", "dice", "tversky", "focal"])
def test_sample_weights_that_are_nan_are_not_hidden(name):
    """A loss of 0 would pass for one of masks without a valid pixel."""
    masks = np.random.default_rng(0).integers(0, 3, (2, 4, 6))
    logits = np.zeros((2, 4, 6, 3), "float32")
    weights = np.full(2, np.nan, "float32")
    assert np.isnan(keras.ops.convert_to_numpy(TRAINED[name](masks, logits, weights)))
