"""Whole runs on a few small scenes: what they write, how they resume, what they refuse."""

import csv
import json
import math
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest

from keras_focusseg import backbones, data, label_spaces, optimizers, presets, training
from keras_focusseg.training.checkpoints import Position, checkpoints, newest_checkpoint
from keras_focusseg.training.checks import check_run_folder, check_same_classes
from keras_focusseg.training.fit import _calibration_images
from keras_focusseg.training.run_folder import RunFolder, locked
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
    assert [path.name for _, path in checkpoints(tmp_path / "cut")] == ["epoch_0001", "epoch_0002"]
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


NETWORKS = {
    "FoRNet": RECIPE.network_config,
    "SCRNet": {
        "backbone": "tiny",
        "filters": 8,
        "context_filters": 8,
        "embedding_filters": 8,
        "context": "none",
        "upsampling": "bilinear",
        "contrast_warmup": 1,
        "max_samples": 16,
        "max_views": 5,
    },
    "SERNetFormer": {
        "backbone": "tiny",
        "attention_boosting": False,
        "bridge_filters": 8,
        "skip_filters": 4,
        "decoder_filters": 8,
    },
}


@pytest.mark.parametrize(
    "network",
    # SCRNet on each backend: it alone keeps a count and random draws beside its weights.
    ["FoRNet", pytest.param("SCRNet", marks=pytest.mark.each_backend), "SERNetFormer"],
)
def test_a_resumed_run_is_the_uninterrupted_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, network: str
) -> None:
    """To the bit, from the middle of an epoch."""
    recipe = RECIPE.replace(network=network, network_config=NETWORKS[network], epochs=2)
    recipe = recipe.replace(save_every=1)
    write = RunFolder._write_checkpoint

    def copied(self: RunFolder, position: Position, *counts: object) -> None:
        write(self, position, *counts)
        if position == Position(0, 1):
            shutil.copytree(tmp_path / "whole", tmp_path / "cut")

    with monkeypatch.context() as patch:
        patch.setattr(RunFolder, "_write_checkpoint", copied)
        training.train(recipe, run_folder=tmp_path / "whole", verbose=0)
    assert not (tmp_path / "cut" / "log.csv").exists()  # as if killed right after the checkpoint
    training.train(recipe, run_folder=tmp_path / "cut", resume=True, verbose=0)
    assert rows(tmp_path / "cut") == rows(tmp_path / "whole")
    assert_same_checkpoint(tmp_path / "cut", tmp_path / "whole")


def assert_same_checkpoint(run: Path, other_run: Path) -> None:
    """To the bit: weights, averages, the optimizer and every random generator."""
    one, other = (newest_checkpoint(each) / "training.weights.h5" for each in (run, other_run))
    with h5py.File(one) as weights, h5py.File(other) as other_weights:
        assert_same(weights, other_weights)


def assert_same(one: h5py.Group, other: h5py.Group) -> None:
    assert set(one) == set(other)
    for name in one:
        if isinstance(one[name], h5py.Group):
            assert_same(one[name], other[name])
        else:
            np.testing.assert_array_equal(one[name], other[name], err_msg=one[name].name)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of one epoch."""
    folder = tmp_path_factory.mktemp("finished") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(backbones._CONSTRUCTORS, "tiny", lambda **options: tiny_backbone())
        training.train(RECIPE.replace(epochs=1), run_folder=folder, verbose=0)
    return folder


def damaged(file: str, change: Callable[[Path], object]) -> Callable[[Path], object]:
    return lambda run: change(run / file)


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(bytes(content))


EPOCH = "checkpoints/epoch_0001"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (damaged(f"{EPOCH}/training.weights.h5", flip_a_bit), "weights.h5 is damaged"),
        (damaged(f"{EPOCH}/training.weights.h5", Path.unlink), "weights.h5 is missing"),
        (damaged(f"{EPOCH}/state.json", flip_a_bit), "state.json is damaged"),
        (damaged(f"{EPOCH}/state.json", Path.unlink), "state.json is missing.*there is SHA256SUMS"),
        (damaged(f"{EPOCH}/SHA256SUMS", Path.unlink), "SHA256SUMS is missing"),
        (damaged(f"{EPOCH}/SHA256SUMS", lambda p: p.write_bytes(b"\xff")), "is damaged"),
        (damaged(EPOCH, shutil.rmtree), "nothing to resume: .* there is best, checkpoints, log"),
        (damaged("checkpoints", shutil.rmtree), "nothing to resume: .* there is best, log.csv"),
        (damaged("recipe.json", Path.unlink), "recipe.json cannot be read: No such file"),
        (damaged("recipe.json", lambda p: p.write_text("")), "recipe.json is not JSON"),
        (damaged("recipe.json", lambda p: p.write_text("[1]")), "recipe.json holds no recipe"),
        (damaged("recipe.json", lambda p: p.write_text("[" * 10**5)), "recipe.json is not a file"),
        (damaged("best/preset.json", Path.unlink), "best is not there"),
        (damaged("best/tiny.safetensors", flip_a_bit), "best cannot be used.*SHA-256"),
        (damaged("best/tiny.safetensors", Path.unlink), "best cannot be used.*are missing"),
    ],
)
def test_a_damaged_run_is_refused_and_left_as_it_is(
    finished: Path, tmp_path: Path, change: Callable[[Path], object], message: str
) -> None:
    run = shutil.copytree(finished, tmp_path / "run")
    change(run)
    before = {path: path.stat().st_mtime_ns for path in (run / "checkpoints").rglob("*.h5")}
    with pytest.raises(ValueError, match=message):
        training.train(RECIPE.replace(epochs=1), run_folder=run, resume=True, verbose=0)
    after = {path: path.stat().st_mtime_ns for path in (run / "checkpoints").rglob("*.h5")}
    assert after == before


def test_a_missing_or_mistyped_folder_is_not_resumed(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="nothing to resume: .*There is no folder .*mistyped"):
        training.train(RECIPE, run_folder=tmp_path / "mistyped", resume=True, verbose=0)
    assert not list(tmp_path.iterdir())
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="file is a file; name a folder"):
        training.train(RECIPE, run_folder=tmp_path / "file", verbose=0)


@pytest.mark.parametrize("name", ["best", "checkpoints", "tensorboard", "recipe.json", "log.csv"])
def test_what_stands_in_the_way_is_told_before(tmp_path: Path, name: str) -> None:
    if "." in name:
        (tmp_path / name).mkdir()
    else:
        (tmp_path / name).write_text("")
    with pytest.raises(ValueError, match=f"{name} is a (file|folder); name a"):
        training.train(RECIPE, run_folder=tmp_path, verbose=0)


def test_how_steps_are_run_may_differ_on_other_devices(finished: Path) -> None:
    recipe = RECIPE.replace(epochs=1)
    check_run_folder(recipe.replace(steps_per_execution=2, jit_compile=False), finished, True)
    with pytest.raises(ValueError, match="another recipe: precision differ"):
        check_run_folder(recipe.replace(precision="mixed_bfloat16"), finished, True)


def test_nothing_of_another_run_is_written_over(finished: Path, tmp_path: Path) -> None:
    run = shutil.copytree(finished, tmp_path / "run")
    shutil.rmtree(run / "checkpoints")
    with pytest.raises(ValueError, match=r"holds best and log\.csv of a run, and no checkpoint"):
        training.train(RECIPE, run_folder=run, verbose=0)


def test_an_older_epoch_folder_of_somebody_else_stays(finished: Path, tmp_path: Path) -> None:
    run = shutil.copytree(finished, tmp_path / "run")
    (run / "checkpoints" / "epoch_0000_by_hand").mkdir()
    folder = RunFolder(run, lambda epoch, value: None)
    folder.set_model(keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)]))
    folder._kept = [run / "checkpoints" / "epoch_0001"]
    folder._write_checkpoint(Position(2))
    folder._write_checkpoint(Position(3))
    left = sorted(path.name for path in (run / "checkpoints").iterdir())
    assert left == ["epoch_0000_by_hand", "epoch_0002", "epoch_0003"]


def test_two_runs_in_one_folder(tmp_path: Path) -> None:
    with locked(tmp_path / "run"):
        with pytest.raises(ValueError, match="is in use: another process trains in it"):
            training.train(RECIPE, run_folder=tmp_path / "run", verbose=0)
        assert (tmp_path / "run" / ".lock").is_file()
    assert not (tmp_path / "run").exists()  # nothing was written


def test_a_full_disk_is_told_and_leaves_the_last_epoch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = RunFolder(tmp_path, lambda epoch, value: None)
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    folder.set_model(model)
    folder._write_checkpoint(Position(1))

    def full(path: Path) -> None:
        Path(path).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(model, "save_weights", full)
    with pytest.raises(OSError, match="epoch_0002 could not be written .*go on with --resume"):
        folder._write_checkpoint(Position(2))
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["epoch_0001"]


def test_what_is_not_finite_comes_back_from_a_checkpoint(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path, lambda epoch, value: None)
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    folder.set_model(model)
    folder.history = [{"epoch": 1, "val_mean_iou": math.nan}]
    folder._write_checkpoint(Position(1))
    text = newest_checkpoint(tmp_path).joinpath("state.json").read_text()
    assert "NaN" not in text and "Infinity" not in text
    again = RunFolder(tmp_path, lambda epoch, value: None)
    again.set_model(model)
    assert again.restore(2) == Position(1) and again.best == -math.inf
    again.write_log()
    assert rows(tmp_path) == [{"epoch": "1", "val_mean_iou": "nan"}]


def test_a_network_that_is_not_there_or_is_asked_wrongly(tmp_path: Path) -> None:
    for name in ("ForNet", "AdamW", "Segmenter", "__name__"):
        with pytest.raises(ValueError, match=f"no network '{name}'; there are FoRNet, SCRNet, SER"):
            training.train(RECIPE.replace(network=name), run_folder=tmp_path / "run")
    with pytest.raises(ValueError, match="FoRNet cannot be built from network_config: .*'width'"):
        training.train(
            RECIPE.replace(network_config={"width": 3}), run_folder=tmp_path / "run", verbose=0
        )
    assert not list(tmp_path.iterdir())


def test_who_reads_and_augments(tmp_path: Path) -> None:
    """Processes do not see what this one keeps in memory."""
    recipe = RECIPE.replace(cache="memory", workers=3, worker_processes=True)
    with pytest.raises(ValueError, match="worker_processes=True .* Give cache=None"):
        training.train(recipe, run_folder=tmp_path / "run", verbose=0)


def test_too_few_images_for_a_batch() -> None:
    with pytest.raises(ValueError, match="has 4 images, fewer than one batch of 9"):
        training.train(RECIPE.replace(batch_size=9), run_folder="unused")
    assert not Path("unused").exists()


def test_both_splits_need_the_same_classes() -> None:
    train, val = data.SyntheticStreets(1), data.SyntheticStreets(1, split="val")
    check_same_classes(train, val)
    names = train.label_space.classes
    val.label_space = label_spaces.from_names([*names[1:], names[0]])
    with pytest.raises(ValueError, match="val has Building.* class k is not the other's"):
        check_same_classes(train, val)


def test_a_recipe_says_optimizer_and_schedule() -> None:
    adamw = training.make_optimizer(RECIPE.replace(head_learning_rate_factor=10.0), 2)
    assert type(adamw) is optimizers.AdamW
    assert (adamw.weight_decay, adamw.head_learning_rate_factor) == (0.05, 10.0)
    assert (adamw.beta_1, adamw.beta_2, adamw.global_clipnorm) == (0.9, 0.999, 1.0)

    changes = {"momentum": 0.8, "weight_decay": 5e-4, "clip_norm": 0.0, "step_epochs": 3}
    recipe = RECIPE.replace(optimizer="sgd", schedule="step", warmup_start=0.5, **changes)
    sgd = training.make_optimizer(recipe, steps_per_epoch=2)
    assert type(sgd) is optimizers.SGD
    assert (sgd.momentum, sgd.nesterov, sgd.weight_decay) == (0.8, False, 5e-4)
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
    new += ("precision", "steps_per_execution", "jit_compile", "patience", "save_every")
    new += ("workers", "worker_processes")
    old = {name: value for name, value in plain.items() if name not in new}
    assert set(stored) == set(plain) == set(old) | set(new)
    old["augment"] = {"crop_size": [64, 64]}  # arguments of `Augment`, as they stood there
    (tmp_path / "recipe.json").write_text(json.dumps(old))
    check_run_folder(RECIPE, tmp_path, resume=True)
    with pytest.raises(ValueError, match="steps differ.*was None and is 4 now"):
        check_run_folder(RECIPE.replace(steps=4), tmp_path, resume=True)


def test_a_run_with_steps_and_samples_by_class(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = [{"step": "ScaleCrop", "size": [64, 64]}, {"step": "Flip"}, {"step": "ClassMix"}]
    recipe = RECIPE.replace(augment={"steps": steps}, class_uniform=0.5, epochs=2, workers=1)
    seen = []
    batches = data.batches

    def spy(*arguments: object, **options: object) -> object:
        seen.append((arguments[2:], options.get("class_uniform"), options.get("workers")))
        return batches(*arguments, **options)

    monkeypatch.setattr(data, "batches", spy)
    best = training.train(recipe, run_folder=tmp_path / "run")
    assert "Counted the classes in 4 masks." in capsys.readouterr().out
    policy = data.Compose([data.ScaleCrop((64, 64)), data.Flip(), data.ClassMix()])
    assert seen == [((), None, 1), ((policy,), 0.5, 1)]
    stored = presets.record(best).recipe
    assert stored["class_uniform"] == 0.5 and data.augmentation(stored["augment"]) == policy
    changed = recipe.replace(workers=2, save_every=5)  # who reads, and what is kept meanwhile
    training.train(changed, run_folder=tmp_path / "run", resume=True, verbose=0)
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


def test_a_preset_of_other_classes_starts_with_a_new_classifier(tmp_path: Path) -> None:
    """Also where there are as many: class k is another one there, and so are the weights of k."""
    source = data.open_source("synthetic_streets", None, "train", count=2, size=(64, 64))
    config = {**RECIPE.network_config, "class_weights": [2.0] + [1.0] * 10}
    model = training.build_model(RECIPE.replace(network_config=config), source)
    others = label_spaces.from_names([f"mine {k}" for k in range(11)])
    for space in (source.label_space, others):
        folder = tmp_path / space.name
        presets.save(model, folder, name="made", label_space=space)
        again = training.build_model(RECIPE.replace(pretrained=str(folder)), source)
        kernels = [each.get_layer("classifier").get_weights()[0] for each in (model, again)]
        kept = space == source.label_space
        assert np.array_equal(*kernels) == kept
        assert (again.cross_entropy.class_weights is not None) == kept
        assert again.label_space == source.label_space


def test_what_a_run_does_not_start_from(tmp_path: Path) -> None:
    """Before data are read: none are named here that are there."""
    source = data.open_source("synthetic_streets", None, "train", count=2, size=(64, 64))
    model = training.build_model(RECIPE, source)
    folder = tmp_path / "made"
    presets.save(model, folder, name="made", label_space=source.label_space)
    recipe = RECIPE.replace(dataset="folder", dataset_options={}, pretrained=str(folder))
    other = {**RECIPE.network_config, "filters": 16, "dice_weight": 0.5}
    for changes, message in (
        ({"network": "SCRNet"}, "made' is a FoRNet, and network is 'SCRNet'"),
        ({"network_config": other}, "filters, dice_weight, for example filters is 8 there and 16"),
        ({"pretrained": "fornet_resnet101_cityscapes"}, "No public weights exist for 'fornet_res"),
        ({"teacher": "fornet_resnet101_cityscapes"}, "No public weights exist for 'fornet_res"),
    ):
        with pytest.raises(ValueError, match=message):
            training.train(recipe.replace(**changes), tmp_path / "absent", tmp_path / "run")
    with pytest.raises(data.DataError):
        training.train(recipe, tmp_path / "absent", tmp_path / "run")
