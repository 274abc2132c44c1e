"""Whole runs on a few small scenes: what they write, how they resume, what they refuse."""

import csv
import json
import warnings
from pathlib import Path

import keras
import numpy as np
import pytest

from keras_focusseg import backbones, data, label_spaces, optimizers, presets, training
from keras_focusseg.training.fit import _calibration_images, _check_run_folder, _check_same_classes
from keras_focusseg.training.run_folder import RunFolder, newest_checkpoint
from tests.testers import tiny_backbone

RECIPE = training.Recipe(
    name="tiny",
    network="FoRNet",
    network_config={
        "backbone": "tiny",
        "filters": 8,
        "low_level_filters": 4,
        "kernel_sizes": (1,),
        "dilation_rates": (1,),
        "ratios": (0.3,),
    },
    dataset="synthetic_streets",
    dataset_options={"size": (64, 64)},
    train_options={"count": 4},
    val_options={"count": 2},
    augment=data.Augment((64, 64)).to_config(),
    batch_size=2,
    epochs=3,
    learning_rate=1e-3,
    warmup_steps=1,
    ema=0.9,
)


@pytest.fixture(autouse=True)
def tiny_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Recipes name their backbone; one of five convolutions keeps the runs short."""
    monkeypatch.setitem(backbones._CONSTRUCTORS, "tiny", lambda **options: tiny_backbone())


def rows(folder: Path) -> list[dict[str, str]]:
    with open(folder / "log.csv") as file:
        return list(csv.DictReader(file))


class Killed(Exception):
    """Stands for a power cut."""


def kill_after_checkpoint(monkeypatch: pytest.MonkeyPatch, epochs: int) -> None:
    """Ends the run inside the epoch after the given one, past its first step."""
    original = training.StopOnNaN.on_train_batch_end

    def die(self: keras.callbacks.Callback, batch: int, logs: dict | None = None) -> None:
        original(self, batch, logs)
        if (self.epoch, batch) == (epochs, 0):
            raise Killed

    monkeypatch.setattr(training.StopOnNaN, "on_train_batch_end", die)


def test_a_killed_run_resumes_to_the_same_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    best = training.train(RECIPE, run_folder=tmp_path / "whole", verbose=0)
    whole = rows(tmp_path / "whole")
    assert [row["epoch"] for row in whole] == ["1", "2", "3"]
    assert {"loss", "cross_entropy", "dice", "selector", "mean_iou", "val_mean_iou"} <= set(
        whole[0]
    )
    assert list((tmp_path / "whole" / "tensorboard").iterdir())
    value = max(float(row["val_mean_iou"]) for row in whole)
    assert f"{value:.4f}" in presets.record(best).training["monitor"]

    with monkeypatch.context() as patch:
        kill_after_checkpoint(patch, epochs=2)
        with pytest.raises(Killed):
            training.train(RECIPE, run_folder=tmp_path / "cut", verbose=0)
    assert newest_checkpoint(tmp_path / "cut").name == "epoch_0002"
    with pytest.raises(ValueError, match="holds a run already. Give --resume"):
        training.train(RECIPE, run_folder=tmp_path / "cut", verbose=0)
    with pytest.raises(ValueError, match="learning_rate differ.*was 0.001 and is 0.5"):
        training.train(
            RECIPE.replace(learning_rate=0.5), run_folder=tmp_path / "cut", resume=True, verbose=0
        )
    training.train(RECIPE, run_folder=tmp_path / "cut", resume=True, verbose=0)
    resumed = rows(tmp_path / "cut")
    assert [row["epoch"] for row in resumed] == ["1", "2", "3"]
    for name in ("loss", "val_loss", "val_mean_iou", "learning_rate"):
        found, expected = float(resumed[-1][name]), float(whole[-1][name])
        np.testing.assert_allclose(found, expected, rtol=2e-2, err_msg=name)
    assert not (tmp_path / "cut" / "checkpoints" / "unfinished").exists()


def test_kept_weights_are_the_averaged_ones(tmp_path: Path) -> None:
    best = training.train(RECIPE.replace(epochs=1), run_folder=tmp_path / "run", verbose=0)
    checkpoint = newest_checkpoint(tmp_path / "run")
    model = presets.load(best)
    kept = [w.copy() for w in model.get_weights()]
    model.compile(training.make_optimizer(RECIPE.replace(epochs=1), 2))
    model.optimizer.build(model.trainable_variables)
    model.load_weights(checkpoint / "training.weights.h5")
    assert max(np.abs(a - b).max() for a, b in zip(model.get_weights(), kept, strict=True)) > 1e-4
    model.optimizer.swap_averages()
    for found, expected in zip(model.get_weights(), kept, strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-6)


def test_a_broken_checkpoint_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "checkpoints" / "epoch_0001"
    folder.mkdir(parents=True)
    (folder / "state.json").write_text("{}")
    run = RunFolder(tmp_path, lambda epoch, value: None)
    run.set_model(keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)]))
    with pytest.raises(ValueError, match="epoch_0001 cannot be resumed from"):
        run.restore()


def test_too_few_images_for_a_batch() -> None:
    with pytest.raises(ValueError, match="has 4 images, fewer than one batch of 9"):
        training.train(RECIPE.replace(batch_size=9), run_folder="unused")
    assert not Path("unused").exists()


def test_both_splits_need_the_same_classes() -> None:
    train, val = data.SyntheticStreets(1), data.SyntheticStreets(1, split="val")
    _check_same_classes(train, val)
    names = train.label_space.classes
    val.label_space = label_spaces.from_names([*names[1:], names[0]])
    with pytest.raises(ValueError, match="val has Building.* class k is not the other's"):
        _check_same_classes(train, val)


def test_a_recipe_says_optimizer_and_schedule() -> None:
    adamw = training.make_optimizer(RECIPE.replace(head_learning_rate_factor=10.0), 2)
    assert type(adamw) is optimizers.AdamW
    assert (adamw.kernel_decay, adamw.head_learning_rate_factor) == (0.05, 10.0)
    assert (adamw.beta_1, adamw.beta_2, adamw.global_clipnorm) == (0.9, 0.999, 1.0)

    changes = {"momentum": 0.8, "weight_decay": 5e-4, "clip_norm": 0.0, "step_epochs": 3}
    recipe = RECIPE.replace(optimizer="sgd", schedule="step", warmup_start=0.5, **changes)
    sgd = training.make_optimizer(recipe, steps_per_epoch=2)
    assert type(sgd) is optimizers.SGD
    assert (sgd.momentum, sgd.nesterov, sgd.kernel_decay) == (0.8, False, 5e-4)
    assert sgd.global_clipnorm is None
    rates = []
    for step in (0, 1, 5, 6, 12):
        sgd.iterations.assign(step)
        rates.append(float(keras.ops.convert_to_numpy(sgd.learning_rate)))
    np.testing.assert_allclose(rates, [5e-4, 1e-3, 1e-3, 3e-4, 9e-5], rtol=1e-5)


def test_steps_take_the_place_of_epochs() -> None:
    recipe = RECIPE.replace(steps=5)
    assert [recipe.num_epochs(n) for n in (1, 2, 5, 92)] == [5, 3, 1, 1]
    assert (
        training.make_optimizer(recipe, 2).get_config()["learning_rate"]["config"]["total_steps"]
        == 6
    )
    assert recipe.replace(epochs=4).num_epochs(2) == 4


def test_a_run_by_published_settings_and_its_resumption(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    changes = {"steps": 4, "optimizer": "sgd", "head_learning_rate_factor": 4.0, "ema": 0.0}
    recipe = RECIPE.replace(schedule="step", step_epochs=1, cache=None, **changes)
    recipe = recipe.replace(validate_every=5)  # the last epoch is validated all the same
    recipe = recipe.replace(class_weights="median_frequency")
    best = training.train(recipe, run_folder=tmp_path)
    assert "Counted the classes in 4 masks." in capsys.readouterr().out
    found = [float(row["learning_rate"]) for row in rows(tmp_path)]
    np.testing.assert_allclose(found, [3e-4, 9e-5], rtol=1e-3)  # after the epoch's last step
    source = data.open_source("synthetic_streets", None, "train", count=4, size=(64, 64))
    weights = presets.record(best).config["class_weights"]
    np.testing.assert_allclose(weights, data.class_weights(source))
    assert len(set(weights)) > 3
    with warnings.catch_warnings():  # that the optimizer's state did not fit
        warnings.filterwarnings("error", "Skipping variable loading")
        assert training.train(recipe, run_folder=tmp_path, resume=True, verbose=0) == best

    # A folder that an earlier version wrote, before recipes had these values.
    stored = json.loads((tmp_path / "recipe.json").read_text())
    plain = RECIPE.to_config()
    new = ("steps", "optimizer", "momentum", "head_learning_rate_factor", "schedule", "cache")
    new += ("warmup_start", "step_epochs", "step_factor", "class_weights", "class_uniform")
    new += ("precision", "steps_per_execution", "jit_compile")
    old = {name: value for name, value in plain.items() if name not in new}
    assert set(stored) == set(plain) == set(old) | set(new)
    old["augment"] = {"crop_size": [64, 64]}  # arguments of `Augment`, as they stood there
    (tmp_path / "recipe.json").write_text(json.dumps(old))
    _check_run_folder(RECIPE, tmp_path, resume=True)
    with pytest.raises(ValueError, match="steps differ.*was None and is 4 now"):
        _check_run_folder(RECIPE.replace(steps=4), tmp_path, resume=True)


def test_a_run_with_steps_and_samples_by_class(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = [{"step": "ScaleCrop", "size": [64, 64]}, {"step": "Flip"}, {"step": "ClassMix"}]
    recipe = RECIPE.replace(augment={"steps": steps}, class_uniform=0.5, epochs=2)
    seen = []
    batches = data.batches

    def spy(*arguments: object, **options: object) -> object:
        seen.append((arguments[2:], options.get("class_uniform")))
        return batches(*arguments, **options)

    monkeypatch.setattr(data, "batches", spy)
    best = training.train(recipe, run_folder=tmp_path / "run")
    assert "Counted the classes in 4 masks." in capsys.readouterr().out
    policy = data.Compose([data.ScaleCrop((64, 64)), data.Flip(), data.ClassMix()])
    assert seen == [((policy,), 0.5), ((), None)]
    stored = presets.record(best).recipe
    assert stored["class_uniform"] == 0.5 and data.augmentation(stored["augment"]) == policy
    training.train(recipe, run_folder=tmp_path / "run", resume=True, verbose=0)
    with pytest.raises(ValueError, match="augment, class_uniform differ"):
        training.train(RECIPE.replace(epochs=2), run_folder=tmp_path / "run", resume=True)

    # Statistics of images are measured at the scale of the images.
    source = data.open_source("synthetic_streets", None, "train", count=4, size=(64, 64))
    images = _calibration_images(recipe, source)
    assert images.shape == (4, 64, 64, 3) and (images != 0).any()
    assert [step.scale for step in seen[-1][0][0].steps[:1]] == [(1.0, 1.0)]


def test_frozen_backbone_norms_stay_as_they_are(tmp_path: Path) -> None:
    source = data.open_source("synthetic_streets", None, "train", count=2, size=(64, 64))
    config = {**RECIPE.network_config, "backbone": "mobilenet_v2", "neck": "fpn"}
    recipe = RECIPE.replace(freeze_backbone_norm=True, network_config=config)
    model = training.build_model(recipe, source)
    presets.save(model, tmp_path, name="made", label_space=source.label_space)
    again = training.build_model(recipe.replace(pretrained=str(tmp_path)), source)
    for one in (model, again):
        norms = [
            layer
            for layer in one.backbone.layers
            if isinstance(layer, keras.layers.BatchNormalization)
        ]
        assert norms and not any(layer.trainable for layer in norms)
        assert one.get_layer("transition").norm.trainable
