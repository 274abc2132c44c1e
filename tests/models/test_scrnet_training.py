"""SCRNet learns, its contrastive loss sets in on time. Items: section 6 of its specification."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest

from keras_focusseg import backbones, data, models, training
from keras_focusseg.training.checkpoints import newest_checkpoint
from tests.models import tiny
from tests.models.test_fornet_training import drawings
from tests.models.test_scrnet import network
from tests.testers import gradient, to_numpy


def test_overfits_drawings_and_repeats_itself():
    """Item 22: above 95 % mIoU with both terms on; the same seed gives the same curve."""
    images, labels = drawings()
    steps = [np.concatenate([data] * 100) for data in (images, labels)]
    curves = []
    for epochs in (1, 0):
        keras.utils.set_random_seed(3)
        model = network(
            backbone=tiny.backbone(16, (4, 2, 2, 2)), filters=24, dropout=0.0, max_views=20
        )
        model.compile(keras.optimizers.Adam(1e-2))
        first = model.train_on_batch(*(data[:2] for data in steps), return_dict=True)
        second = model.train_on_batch(*(data[:2] for data in steps), return_dict=True)
        curves.append((first["loss"], second["loss"], second["contrast"]))
        if epochs:
            model.fit(*steps, batch_size=2, epochs=epochs, shuffle=False, verbose=0)
            after = model.evaluate(images, labels, verbose=0, return_dict=True)
            assert after["mean_iou"] > 0.95
            assert after["contrast"] < 0.5 * first["contrast"]
    np.testing.assert_allclose(*curves, rtol=1e-4)


@pytest.mark.each_backend
def test_the_contrastive_term_is_zero_during_warm_up():
    """Item 16: steps of training count, validation does not; the same weights before and after."""
    model = network(contrast_warmup=3, context="none", upsampling="bilinear")
    model.compile(keras.optimizers.SGD(0.0))
    images, masks = tiny.images(32, 64, batch=1), tiny.masks(32, 64, batch=1)
    logs = [model.train_on_batch(images, masks, return_dict=True) for _ in range(5)]
    contrast = [log["contrast"] for log in logs]
    assert contrast[:3] == [0, 0, 0] and min(contrast[3:]) > 0
    expected = logs[4]["cross_entropy"] + 0.1 * contrast[4]
    assert logs[4]["loss"] == pytest.approx(expected, rel=1e-4)
    assert model.test_on_batch(images, masks, return_dict=True)["contrast"] > 0
    assert int(to_numpy(model.steps)) == 5


def test_accumulated_gradients_count_as_one_step():
    model = network(contrast_warmup=2)
    model.compile(keras.optimizers.SGD(0.0, gradient_accumulation_steps=2))
    images, masks = tiny.images(32, 64, batch=1), tiny.masks(32, 64, batch=1)
    found = [model.train_on_batch(images, masks, return_dict=True)["contrast"] for _ in range(5)]
    assert found[:4] == [0, 0, 0, 0] and found[4] > 0


def test_the_warm_up_goes_on_after_a_resumed_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Two steps an epoch, a warm-up of three: off in the first epoch, on in the resumed second."""
    monkeypatch.setitem(
        backbones._CONSTRUCTORS, "tiny", lambda **options: tiny.backbone(8, (4, 2, 2, 2))
    )
    recipe = training.Recipe(
        name="tiny",
        network="SCRNet",
        network_config={
            "backbone": "tiny",
            "filters": 8,
            "context_filters": 8,
            "embedding_filters": 8,
            "contrast_warmup": 3,
            "max_views": 5,
        },
        dataset="synthetic_streets",
        dataset_options={"size": (64, 64)},
        train_options={"count": 4},
        val_options={"count": 1},
        augment=data.Augment((64, 64)).to_config(),
        batch_size=2,
        epochs=2,
        ema=0.0,
    )

    class Killed(Exception):
        """Stands for a power cut."""

    def die(self: keras.callbacks.Callback, epoch: int, logs: dict | None = None) -> None:
        if epoch == 1:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(training.StopOnNaN, "on_epoch_begin", die)
        with pytest.raises(Killed):
            training.train(recipe, run_folder=tmp_path / "run", verbose=0)
    assert newest_checkpoint(tmp_path / "run").name == "epoch_0001"
    training.train(recipe, run_folder=tmp_path / "run", resume=True, verbose=0)
    lines = (tmp_path / "run" / "log.csv").read_text().splitlines()
    column = lines[0].split(",").index("contrast")
    first, second = (float(line.split(",")[column]) for line in lines[1:])
    assert first == 0 and second > 0


def test_ignored_pixels_and_an_empty_batch_cost_nothing():
    """Item 15: whatever labels stand for nothing change no term; all ignored gives 0."""
    model = network()
    images, masks = tiny.images(32, 64), tiny.masks(32, 64)
    outputs = tiny.outputs(model, images)
    model.compile()

    def terms(masks: np.ndarray) -> dict[str, float]:
        model.anchor_seed.state.assign(np.zeros(2, "uint32"))
        return {name: float(v) for name, v in to_numpy(model.loss_terms(masks, outputs)).items()}

    expected, other = terms(masks), masks.copy()
    other[masks == 255] = 77
    assert terms(other) == expected
    nothing = np.full_like(masks, 255)
    assert terms(nothing) == {"cross_entropy": 0.0, "contrast": 0.0}
    slope = gradient(
        lambda z: model.loss_terms(nothing, {**outputs, "embedding": z})["contrast"],
        outputs["embedding"],
    )
    assert not slope.any()


def test_a_decoder_without_active_channels_trains_on():
    """Embeddings of length 0 have no direction: their gradient is 0, not NaN."""
    model = network()
    norm = model.get_layer("smooth").norm
    norm.gamma.assign(np.zeros(16))
    norm.beta.assign(-np.ones(16))
    model.compile()
    images, masks = tiny.images(32, 64), tiny.masks(32, 64)
    outputs = tiny.outputs(model, images)
    assert not outputs["embedding"].any()
    model.train_on_batch(images, masks)
    assert all(np.isfinite(weight).all() for weight in model.get_weights())


def test_default_width_follows_the_backbone():
    """Choice 8: 128 for ResNet-18, 256 for ResNet-50."""
    for name, width in (("resnet18", 128), ("resnet50", 256)):
        model = models.SCRNet(2, name, contrast_weight=0.0, context="none", upsampling="bilinear")
        assert model.get_layer("smooth").filters == width


@pytest.mark.each_backend
@pytest.mark.parametrize("name", ["model.keras", "model.weights.h5"])
def test_files_hold_the_state_of_every_random_generator(tmp_path: Path, name: str) -> None:
    """Of the dropout and of the anchors: otherwise a loaded network repeats its first draws."""
    model = network()
    states = model._random_states()
    assert len(states) == 2
    for number, state in enumerate(states):
        state.assign(np.asarray([11, 5 + number], keras.backend.standardize_dtype(state.dtype)))
    if name.endswith(".keras"):
        model.save(tmp_path / name)
        again = keras.models.load_model(tmp_path / name)
    else:
        model.save_weights(tmp_path / name)
        again = network()
        again.load_weights(tmp_path / name)
    for found, expected in zip(again._random_states(), states, strict=True):
        np.testing.assert_array_equal(to_numpy(found), to_numpy(expected))


def test_weights_without_random_states_still_load(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(models.Segmenter, "_random_states", lambda self: [])
        network().save_weights(tmp_path / "old.weights.h5")
    network().load_weights(tmp_path / "old.weights.h5")
