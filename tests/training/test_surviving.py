"""Runs that end before their end: signals, damage, no room, no memory, broken data."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest

from keras_focusseg import data, files, optimizers, training
from keras_focusseg.training import checkpoints, checks, failures
from keras_focusseg.training.checkpoints import Position, SaveEvery, newest_checkpoint
from keras_focusseg.training.run_folder import RunFolder
from tests.training.small import RECIPE

IS_TORCH = keras.backend.backend() == "torch"


def train(folder: Path, resume: bool = False, **changes: Any) -> Path:
    return training.train(RECIPE.replace(**changes), run_folder=folder, resume=resume, verbose=0)


def names(run: Path) -> list[str]:
    return [path.name for _, path in checkpoints.checkpoints(run)]


def numbers(run: Path) -> dict[str, bytes]:
    """All that the last checkpoint of a run holds, and the log."""
    found = {"log": (run / "log.csv").read_bytes()}

    def keep(name: str, thing: Any) -> None:
        if isinstance(thing, h5py.Dataset):
            found[name] = thing[()].tobytes()

    with h5py.File(newest_checkpoint(run) / "training.weights.h5") as file:
        file.visititems(keep)
    return found


def at(name: str, place: tuple[int, int], action: Callable[[], object]) -> Any:
    """A method of `RunFolder` that first does something, where (epoch, batch) is that place."""
    original = getattr(RunFolder, name)

    def method(self: RunFolder, batch: int, logs: Any = None) -> None:
        if (self.epoch, batch) == place:
            action()
        original(self, batch, logs)

    return method


def send(number: int) -> Callable[[], object]:
    return lambda: os.kill(os.getpid(), number)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two epochs that nothing disturbed."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    train(folder)
    return folder


@pytest.mark.each_backend
def test_signals_save_and_the_run_goes_on_as_if_none_had_come(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGTERM between two executions and inside a sum of gradients, Ctrl-C in a validation."""

    def accumulating(recipe: training.Recipe, steps: int) -> optimizers.AdamW:
        return optimizers.AdamW(0.03, ema=0.9, gradient_accumulation_steps=3)

    monkeypatch.setattr("keras_focusseg.training.fit.make_optimizer", accumulating)
    options = {"steps_per_execution": 1 if IS_TORCH else 2}
    train(tmp_path / "whole", **options)
    cut = tmp_path / "cut"
    before = signal.getsignal(signal.SIGTERM)
    with monkeypatch.context() as patch:
        name = "on_train_batch_begin"
        patch.setattr(RunFolder, name, at(name, (0, 2), send(signal.SIGTERM)))
        with pytest.raises(training.TrainingStopped, match="SIGTERM at step 2 of epoch 1, which"
                           ) as stopped:  # fmt: skip
            train(cut, **options)
    assert stopped.value.exit_code == 143 and names(cut) == ["epoch_0000_step_000002"]
    assert signal.getsignal(signal.SIGTERM) is before
    with monkeypatch.context() as patch:
        name = "on_test_batch_begin"
        patch.setattr(RunFolder, name, at(name, (1, 0), send(signal.SIGINT)))
        with pytest.raises(
            training.TrainingStopped, match="Ctrl-C at step 4 of epoch 2"
        ) as stopped:
            train(cut, resume=True, **options)
    assert stopped.value.exit_code == 130
    assert names(cut) == ["epoch_0001", "epoch_0001_step_000004"]
    train(cut, resume=True, **options)
    assert numbers(cut) == numbers(tmp_path / "whole")


def test_a_run_that_ended_before_its_first_checkpoint_starts_again(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which is also a second run of the same command: it ends the same."""

    class Killed(Exception):
        pass

    def die(*_: Any) -> None:
        raise Killed

    run = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(RunFolder, "_write_checkpoint", die)
        with pytest.raises(Killed):
            train(run)
    assert (run / "best" / "preset.json").is_file() and not (run / "checkpoints").exists()
    (run / f"{files.TEMPORARY}half.json").write_text("{")
    with pytest.raises(ValueError, match="holds a run already. Give --resume"):
        train(run)
    train(run, resume=True)
    assert numbers(run) == numbers(whole)
    assert not list(run.glob(f"{files.TEMPORARY}*"))


def cut_off(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 1)


def change_a_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 1
    path.write_bytes(bytes(content))


@pytest.mark.parametrize("damage", [cut_off, change_a_byte])
def test_a_damaged_checkpoint_is_passed_over(
    whole: Path, tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    run = shutil.copytree(whole, tmp_path / "run")
    assert names(run) == ["epoch_0001", "epoch_0002"]
    damage(run / "checkpoints" / "epoch_0002" / "training.weights.h5")
    with pytest.warns(UserWarning, match="h5 is damaged: .* The run goes on from epoch_0001"):
        train(run, resume=True)
    assert numbers(run) == numbers(whole) and names(run) == ["epoch_0001", "epoch_0002"]


def test_data_that_changed_since_a_checkpoint_inside_an_epoch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "on_train_batch_begin"
    monkeypatch.setattr(RunFolder, name, at(name, (0, 1), send(signal.SIGTERM)))
    with pytest.raises(training.TrainingStopped):
        train(tmp_path)
    folder = RunFolder(tmp_path, lambda epoch, value: None)
    folder.set_model(keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)]))
    monkeypatch.setattr(keras.Sequential, "load_weights", lambda *_: None)
    with pytest.raises(ValueError, match="an epoch had 4 steps and has 5 now"):
        folder.restore(5)


def test_training_ends_early_and_stays_ended(tmp_path: Path) -> None:
    train(tmp_path, epochs=9, patience=1, learning_rate=30.0)
    log = np.genfromtxt(tmp_path / "log.csv", delimiter=",", names=True)
    values = np.atleast_1d(log["val_mean_iou"])
    assert 1 < len(values) < 9
    assert values[-1] <= values[-2] and (np.diff(values[:-1]) > 0).all()
    before = numbers(tmp_path)
    train(tmp_path, resume=True, epochs=9, patience=1, learning_rate=30.0)
    assert numbers(tmp_path) == before


def test_patience_begins_with_the_first_validation(tmp_path: Path) -> None:
    train(tmp_path, epochs=3, patience=1, validate_every=2)
    log = np.genfromtxt(tmp_path / "log.csv", delimiter=",", names=True)
    assert log["epoch"].tolist() == [1, 2, 3]


def test_no_room_for_a_checkpoint_leaves_the_one_before(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path, lambda epoch, value: None)
    model = keras.Sequential([keras.Input((500,)), keras.layers.Dense(500)])
    folder.set_model(model)
    folder._write_checkpoint(Position(1))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, limits[1]))
    try:
        with pytest.raises(OSError, match="epoch_0002 could not be written .*go on with --resume"):
            folder._write_checkpoint(Position(2))
        with pytest.raises(ValueError, match="process may write 0.5 MB at most: raise the limit"):
            files.check_space(tmp_path, 1, 1_000_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["epoch_0001"]
    checkpoints.check_whole(tmp_path / "checkpoints" / "epoch_0001")


@pytest.fixture
def small_disk(tmp_path: Path) -> Any:
    """A disk of 64 kB, where mounting one is possible."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("cannot mount a small disk")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_small_disk_is_told_before_training(small_disk: Path) -> None:
    with pytest.raises(ValueError, match=r"needs up to 0.\d MB, and its disk has 0.1 MB of room"):
        train(small_disk / "run")
    assert not (small_disk / "run" / "recipe.json").exists()


def test_the_estimate_holds(whole: Path) -> None:
    model = training.build_model(RECIPE, data.SyntheticStreets(1, size=(64, 64)))
    model.compile(training.make_optimizer(RECIPE, 4))
    model.optimizer.build(model.trainable_variables)
    found = {}

    def keep(folder: Path, needed: int, largest: int) -> None:
        found["largest"] = largest

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "check_space", keep)
        checkpoints.check_space(whole, model)
    size = sum(path.stat().st_size for path in newest_checkpoint(whole).iterdir())
    assert 0.5 * found["largest"] < size < found["largest"]


def test_a_broken_image_inside_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load, broken = data.SyntheticStreets.load, []

    def load_or_fail(self: data.SyntheticStreets, index: int) -> Any:
        if broken and self.split == "train" and index == 3:
            raise data.DataError("value 77 is no class", file="left_0003.png", fix="Repair it.")
        return load(self, index)

    monkeypatch.setattr(data.SyntheticStreets, "load", load_or_fail)
    name = "on_test_begin"
    original = RunFolder.on_test_begin

    def breaks(self: RunFolder, logs: Any = None) -> None:
        broken.append(True)
        original(self, logs)

    monkeypatch.setattr(RunFolder, name, breaks)
    message = "left_0003.png: value 77 is no class. Repair it. .*epoch_0001 is kept. Mend that"
    with pytest.raises(data.DataError, match=message):
        train(tmp_path, cache=None)
    assert names(tmp_path) == ["epoch_0001"]


class ResourceExhaustedError(Exception):
    """Called as TensorFlow calls it."""


def test_no_memory_is_told_with_what_would_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def exhausted() -> None:
        raise ResourceExhaustedError("OOM when allocating tensor")

    name = "on_train_batch_begin"
    monkeypatch.setattr(RunFolder, name, at(name, (0, 0), exhausted))
    message = r"step of 2 images of 32x32. By its .*Try batch_size=1, or precision='mixed_bfloat16'"
    with pytest.raises(failures.OutOfMemory, match=message):
        train(tmp_path)


def test_what_is_out_of_memory() -> None:
    assert failures.is_out_of_memory(MemoryError())
    assert failures.is_out_of_memory(RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating"))
    assert failures.is_out_of_memory(RuntimeError("DefaultCPUAllocator: can't allocate memory"))
    assert not failures.is_out_of_memory(ValueError("Out of memory"))
    assert not failures.is_out_of_memory(RuntimeError("shapes differ"))


def test_the_share_of_a_batch_that_fits() -> None:
    assert failures.fitting(8_000, 1_000, 8, None) == 0.5
    assert failures.fitting(8_000, 1_000, 8, 6_000) == pytest.approx(0.55)
    assert (
        int(8 * failures.fitting(8_000, 1_000, 8, 10**9)) == 7
    )  # it did not fit, whatever is said
    assert failures.fitting(8_000, 10_000, 8, 6_000) == 0


def test_classes_that_no_image_shows() -> None:
    source = data.SyntheticStreets(1, size=(64, 64))
    counts = np.ones((1, source.label_space.num_classes + 1), "int64")
    checks.warn_of_absent_classes(source, counts, shown=False)
    counts[:, 2] = 0
    message = f"No image of .* train shows {source.label_space.classes[2]}: the network cannot"
    with pytest.warns(UserWarning, match=message):
        checks.warn_of_absent_classes(source, counts, shown=False)


def test_when_a_checkpoint_is_due(monkeypatch: pytest.MonkeyPatch) -> None:
    by_steps = SaveEvery.from_text("500")
    by_steps.saved(90)
    assert [step for step in (91, 499, 500, 501) if by_steps.is_due(step)] == [500, 501]
    by_steps.saved(500)
    assert not by_steps.is_due(999) and by_steps.is_due(1000)
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    by_time = SaveEvery.from_text("1.5 min")
    now[0] = 89.0
    assert not by_time.is_due(10**6)
    now[0] = 90.0
    assert by_time.is_due(1)
    assert not SaveEvery.from_text(None).is_due(10**9)
    for wrong in ("0", "ten", "5 s", "-3", 0, True, 2.5):
        with pytest.raises(
            ValueError, match="number of steps, such as 500, or minutes, such as '10"
        ):
            SaveEvery.from_text(wrong)
