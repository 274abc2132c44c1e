"""A run that is killed again and again, beside the same run left alone: do they end the same?

    KERAS_BACKEND=tensorflow python benchmarks/killed_runs.py --kills 20

The network is small, and has all that a checkpoint must keep: batch norms, dropout, AdamW with
averages. Each try is a process of its own, killed by SIGKILL: in a step, while a checkpoint or the
log is written, or in a validation, at a random one of them and a random time within it. Then the
run is resumed, and killed again. At the end weights, averages, optimizer, random generators and
the kept best weights have to be those of the other run to the bit, and `log.csv` the same text.

Writes `benchmarks/results/killed_runs.csv`: a row a kill, with the result where the run then came
to its end, in place of the rows of the same backend.
"""

from __future__ import annotations

import csv
import mmap
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import keras
import typer
from result_tables import write_rows

from keras_focusseg import data, losses, models, presets, training
from keras_focusseg.training import run_folder
from keras_focusseg.training.checkpoints import newest_checkpoint

RESULTS = Path(__file__).parent / "results" / "killed_runs.csv"
COLUMNS = (
    "backend",
    "kill",
    "moment",
    "newest_checkpoint",
    "same_weights",
    "same_best",
    "same_log",
)
PHASES = ("start", "step", "checkpoint", "log", "validation")
SLOWEST_SECONDS = 600  # that a try may take until it is where it is to be killed
LONGEST_DELAY_SECONDS = 0.05  # within a phase


@keras.saving.register_keras_serializable(package="killed_runs")
class Small(models.Segmenter):
    """Two convolutions, a batch norm and a dropout."""

    def __init__(self, num_classes: int, dtype: Any = None) -> None:
        images = keras.Input((None, None, 3))
        x = keras.layers.Rescaling(1 / 127.5, -1.0)(images)
        x = keras.layers.Conv2D(8, 3, padding="same", use_bias=False)(x)
        x = keras.layers.Activation("relu")(keras.layers.BatchNormalization(momentum=0.9)(x))
        x = keras.layers.Dropout(0.2)(x)
        logits = keras.layers.Conv2D(num_classes, 1, dtype="float32", name="classifier")(x)
        super().__init__(images, {"logits": logits}, signals={}, num_classes=num_classes)
        self.cross_entropy = losses.CrossEntropy(ignore_class=255)

    def loss_terms(self, y: Any, y_pred: Any, sample_weight: Any = None) -> dict[str, Any]:
        """The cross-entropy alone."""
        return {"cross_entropy": self.cross_entropy(y, y_pred["logits"])}

    def loss_term_weights(self) -> dict[str, float]:
        """One."""
        return {"cross_entropy": 1.0}


RECIPE = training.Recipe(
    name="killed",
    network="killed_runs>Small",
    dataset="synthetic_streets",
    dataset_options={"size": (64, 64)},
    train_options={"count": 20},
    val_options={"count": 4},
    augment=data.Augment((32, 48)).to_config(),
    batch_size=2,
    epochs=4,
    learning_rate=1e-2,
    ema=0.9,
    save_every=3,
)


class Whereabouts:
    """What a child process is doing, in memory that it shares with its parent."""

    def __init__(self) -> None:
        self._shared = mmap.mmap(-1, 2)

    def enter(self, phase: str) -> None:
        """Says what comes now."""
        self._shared[0] = PHASES.index(phase)
        self._shared[1] = (self._shared[1] + 1) % 256

    def __call__(self) -> tuple[str, int]:
        """What is going on, and how often that has changed."""
        return PHASES[self._shared[0]], self._shared[1]

    def during(self, phase: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, which says that it runs, and where it was when it is done."""

        def noted(*args: Any, **kwargs: Any) -> Any:
            before, _ = self()
            self.enter(phase)
            result = function(*args, **kwargs)
            self.enter(before)
            return result

        return noted

    def after(self, phase: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, which says what comes after it."""

        def noted(*args: Any, **kwargs: Any) -> Any:
            result = function(*args, **kwargs)
            self.enter(phase)
            return result

        return noted

    def watch(self) -> None:
        """Follows the run folder of this process."""
        of_run = run_folder.RunFolder
        for note, name, phase in (
            (self.during, "_write_checkpoint", "checkpoint"),
            (self.during, "write_log", "log"),
            (self.after, "on_train_batch_begin", "step"),
            (self.after, "on_test_batch_begin", "validation"),
        ):
            setattr(of_run, name, note(phase, getattr(of_run, name)))


def started(recipe: training.Recipe, folder: Path, where: Whereabouts) -> int:
    """Starts or resumes the run in a process of its own; its number."""
    where.enter("start")
    child = os.fork()  # nothing has started the backend yet: it starts in the child
    if child:
        return child
    where.watch()
    code = 1
    try:
        resumed = (folder / "recipe.json").is_file()
        training.train(recipe, run_folder=folder, resume=resumed, verbose=0)
        code = 0
    except Exception:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(code)  # none of what the parent has registered for its own end


def ended(child: int) -> bool:
    """Whether a process has ended, which must have gone well."""
    found, status = os.waitpid(child, os.WNOHANG)
    if found and status:
        raise RuntimeError(f"A try failed by itself, with status {status}.")
    return bool(found)


def killed(child: int, where: Whereabouts, chance: random.Random) -> str | None:
    """Kills a process at a random moment; what it was doing, or None if it ended before."""
    phase = chance.choices(PHASES[1:], weights=(4, 3, 1, 2))[0]
    passed, last = chance.randrange(4 if phase == "step" else 2), -1
    give_up = time.monotonic() + SLOWEST_SECONDS
    while True:
        if ended(child):
            return None
        now, count = where()
        if now == phase and count != last:
            if passed == 0:
                break
            passed, last = passed - 1, count
        if time.monotonic() > give_up:
            raise TimeoutError(f"No {phase} within {SLOWEST_SECONDS} seconds.")
        time.sleep(0.0005)
    time.sleep(chance.uniform(0, LONGEST_DELAY_SECONDS))
    moment, _ = where()
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    return moment if os.WIFSIGNALED(status) else None


def same_best(one: Path, other: Path) -> bool:
    """Whether two runs kept the same weights as their best."""
    digests = [presets.record(folder / "best").weights["sha256"] for folder in (one, other)]
    return digests[0] == digests[1]


def same_weights(one: Path, other: Path) -> bool:
    """Whether the last checkpoints of two runs hold the same numbers under the same names."""
    return weights(one) == weights(other)


def weights(run: Path) -> dict[str, bytes]:
    """All arrays of the last checkpoint; the file itself also holds the times of writing."""
    import h5py

    found: dict[str, bytes] = {}

    def keep(name: str, thing: Any) -> None:
        if isinstance(thing, h5py.Dataset):
            found[name] = thing[()].tobytes()

    checkpoint = newest_checkpoint(run)
    assert checkpoint is not None
    with h5py.File(checkpoint / "training.weights.h5") as file:
        file.visititems(keep)
    return found


def main(
    kills: Annotated[int, typer.Option(help="How often the run is killed.")] = 20,
    epochs: Annotated[int, typer.Option(help="Of the run.")] = RECIPE.epochs,
    seed: Annotated[int, typer.Option(help="Of the moments.")] = 0,
    output: Annotated[Path, typer.Option(help="File to write.")] = RESULTS,
) -> None:
    """Kills a run so many times and compares how it ends."""
    chance, where, recipe = random.Random(seed), Whereabouts(), RECIPE.replace(epochs=epochs)
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as temporary:
        whole, cut = Path(temporary, "whole"), Path(temporary, "cut")
        child = started(recipe, whole, where)
        while not ended(child):
            time.sleep(0.05)
        while len(rows) < kills:
            moment = killed(started(recipe, cut, where), where, chance)
            if moment is None:  # it came to its end: what is left to kill is another run
                check(whole, cut, rows)
                shutil.rmtree(cut)
                continue
            newest = newest_checkpoint(cut)
            rows.append({"kill": len(rows) + 1, "moment": moment})
            rows[-1]["newest_checkpoint"] = newest.name if newest else "none"
            print(rows[-1], flush=True)
        child = started(recipe, cut, where)
        while not ended(child):
            time.sleep(0.05)
        check(whole, cut, rows)
    for row in rows:
        row["backend"] = keras.backend.backend()
    before = list(csv.DictReader(output.open())) if output.is_file() else []
    before = [row for row in before if row["backend"] != keras.backend.backend()]
    write_rows(output, COLUMNS, [*before, *rows])


def check(whole: Path, cut: Path, rows: list[dict[str, Any]]) -> None:
    """Notes, in the row of the last kill, whether the run that was killed ended as the other."""
    found = {
        "same_weights": same_weights(whole, cut),
        "same_best": same_best(whole, cut),
        "same_log": (whole / "log.csv").read_bytes() == (cut / "log.csv").read_bytes(),
    }
    print(found, flush=True)
    if rows:
        rows[-1].update(found)
    if not all(found.values()):
        raise SystemExit(f"After {len(rows)} kills the run ended otherwise: {found}")


if __name__ == "__main__":
    typer.run(main)
