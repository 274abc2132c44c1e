"""Recipes on one GPU or TPU: time of a step, memory, and how long the device waits.

    KERAS_BACKEND=jax python benchmarks/accelerators.py \
        recipes/fornet_mobilenet_edgetpu_camvid.py --data-root CamVid --precision mixed_bfloat16 \
        --set batch_size=8

The recipe's network, losses, teachers, optimizer with averages and augmented data are built as
`focusseg train` builds them and trained by `fit` under the callbacks of a run. The first epoch,
which compiles, is not timed; whole epochs after it are, until `--steps` steps or `--seconds` have
passed. Then the compiled step alone is called in a loop on one batch that stays on the device:

- `step_ms`, `images_per_second`: of `fit`, from the data's files in memory to the weights.
- `resident_step_ms`: of that loop, so what feeding and callbacks cost is the difference.
- `busy`: mean of what `nvidia-smi` says during the timed epochs, the share of time in which at
  least one kernel ran. The rest is the share in which the device waited, for data or for the host.
- `peak_gib`: most memory that the backend's allocator gave out, compilation included.

With `--turn FILE`, several processes may compile at once and are timed one after another: a process
waits for the lock of that file before what is timed. `--beside` notes in the row what else the
machine did. Adds its row to `benchmarks/results/accelerators.csv`, in place of that of the same
case.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import fcntl
import shutil
import subprocess
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import IO, Any

import keras
import numpy as np
from result_tables import write_rows
from train_step import bare

from keras_focusseg import data, training
from keras_focusseg.training.callbacks import RunCallbacks
from keras_focusseg.training.distribution import device_names
from keras_focusseg.training.fit import build_model, make_optimizer
from keras_focusseg.training.overrides import override
from keras_focusseg.training.report import Speed
from keras_focusseg.training.trainee import with_helpers

RESULTS = Path(__file__).resolve().parent / "results" / "accelerators.csv"
CASE = ("device", "backend", "recipe", "precision")
MEASURES = (
    "network",
    "height",
    "width",
    "batch",
    "steps",
    "first_epoch_s",
    "step_ms",
    "images_per_second",
    "resident_step_ms",
    "busy",
    "peak_gib",
    "beside",
    "software",
)
RESIDENT_STEPS = 10


class Timed(keras.callbacks.Callback):
    """Times the epochs after the first, when it is this process's turn.

    Args:
        turn: File whose lock says so; None: it always is.
        steps: Steps after which the epoch is the last.
        seconds: Seconds after which it is.
    """

    def __init__(self, turn: Path | None, steps: int, seconds: float) -> None:
        super().__init__()
        self.turn, self.wanted, self.limit = turn, steps, seconds
        self.first, self.steps, self.seconds, self.busy = 0.0, 0, 0.0, ""
        self._lock: IO[str] | None = None
        self._watch: subprocess.Popen[str] | None = None
        self._start = time.perf_counter()

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Waits for the turn before the second epoch."""
        if epoch != 1:
            return
        self.first = time.perf_counter() - self._start
        print(f"ready after {self.first:.1f} s", flush=True)
        if self.turn is not None:
            self._lock = open(self.turn, "a")
            fcntl.flock(self._lock, fcntl.LOCK_EX)
        self._watch = watch_device()
        self._start = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Looks at the clock; Keras has waited for the device, for the logs of the epoch."""
        if epoch == 0:
            return
        self.steps = epoch * self.params["steps"]
        self.seconds = time.perf_counter() - self._start
        if self.steps >= self.wanted or self.seconds >= self.limit:
            self.model.stop_training = True
            self.busy = mean_busy(self._watch)


def watch_device() -> subprocess.Popen[str] | None:
    """Starts to note how busy the GPU is, five times a second; None without `nvidia-smi`."""
    if shutil.which("nvidia-smi") is None:
        return None
    query = ["--query-gpu=utilization.gpu", "--format=csv,noheader,nounits", "-lms", "200"]
    return subprocess.Popen(["nvidia-smi", *query], stdout=subprocess.PIPE, text=True)


def mean_busy(watch: subprocess.Popen[str] | None) -> str:
    """Ends the notes; their mean share, or nothing where there are none."""
    if watch is None:
        return ""
    watch.terminate()
    noted = [int(line) for line in watch.communicate()[0].split() if line.isdigit()]
    return f"{np.mean(noted) / 100:.2f}" if noted else ""


def peak_gib() -> float:
    """The most GiB that the allocator of the accelerator has given out; 0 without one."""
    found = 0
    if keras.backend.backend() == "jax":
        import jax

        found = (jax.local_devices()[0].memory_stats() or {}).get("peak_bytes_in_use", 0)
    elif keras.backend.backend() == "torch":
        import torch

        found = torch.cuda.max_memory_allocated() if torch.cuda.is_available() else 0
    else:
        import tensorflow as tf

        if tf.config.list_logical_devices("GPU"):
            found = tf.config.experimental.get_memory_info("GPU:0")["peak"]
    return found / 2**30


def software() -> str:
    """Versions of Keras and the backend."""
    backend = keras.backend.backend()
    return f"keras {keras.__version__}, {backend} {__import__(backend).__version__}"


@contextlib.contextmanager
def run_callbacks(model: Any, timed: Timed, batch: int, steps: int) -> Iterator[RunCallbacks]:
    """The callbacks that look at each step of a run, and the clock."""
    listeners: list[keras.callbacks.Callback] = [training.StopOnNaN(), Speed(batch), timed]
    callbacks = RunCallbacks(listeners, add_history=True, model=model, epochs=10**6, steps=steps)
    with callbacks.run():
        yield callbacks


def measured(recipe: training.Recipe, root: Path | None, timed: Timed) -> dict[str, Any]:
    """Trains by a recipe until enough was timed; what was measured."""
    keras.utils.set_random_seed(recipe.seed)
    source = data.Cached(
        data.open_source(
            recipe.dataset,
            root,
            recipe.train_split,
            **recipe.dataset_options,
            **recipe.train_options,
        )
    )
    steps = len(source) // recipe.batch_size
    feed = data.batches(
        source,
        recipe.batch_size,
        data.augmentation(recipe.augment),
        shuffle=True,
        seed=recipe.seed,
        drop_remainder=True,
        class_uniform=recipe.class_uniform,
        workers=recipe.workers,
    )
    model = with_helpers(recipe, build_model(recipe, source), source)
    model.compile(
        make_optimizer(recipe, steps),
        jit_compile=recipe.jit_compile,
        steps_per_execution=recipe.steps_per_execution,
    )
    with run_callbacks(model, timed, recipe.batch_size, steps) as callbacks:
        model.fit(feed, epochs=10**6, callbacks=callbacks, shuffle=False)
    peak = peak_gib()  # the loop below holds copies
    images, masks = (np.concatenate([part] * RESIDENT_STEPS) for part in next(iter(feed)))
    loop = partial(bare, model, images, masks, recipe.batch_size)
    resident = np.median([loop()[0] for _ in range(4)])  # seconds a step
    return {
        "device": device_names()[0],
        "backend": keras.backend.backend(),
        "recipe": recipe.name,
        "precision": recipe.precision,
        "network": recipe.network,
        "height": images.shape[1],
        "width": images.shape[2],
        "batch": recipe.batch_size,
        "steps": timed.steps,
        "first_epoch_s": f"{timed.first:.0f}",
        "step_ms": f"{1e3 * timed.seconds / timed.steps:.1f}",
        "images_per_second": f"{recipe.batch_size * timed.steps / timed.seconds:.0f}",
        "resident_step_ms": f"{1e3 * resident:.1f}",
        "busy": timed.busy,
        "peak_gib": f"{peak:.2f}",
        "software": software(),
    }


def main() -> None:
    """Measures one recipe and adds its row to the results."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--data-root", type=Path, help="folder of the recipe's dataset")
    parser.add_argument("--precision", default="float32")
    parser.add_argument("--set", nargs="+", default=(), help="FIELD=VALUE, as for focusseg train")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--turn", type=Path, help="file whose lock lets one process be timed")
    parser.add_argument("--beside", default="", help="what else the machine does meanwhile")
    parser.add_argument("--results", type=Path, default=RESULTS)
    given = parser.parse_args()
    recipe = override(training.load_recipe(given.recipe), given.set)
    recipe = recipe.replace(precision=given.precision)
    row = measured(recipe, given.data_root, Timed(given.turn, given.steps, given.seconds))
    row = {name: str(value) for name, value in {**row, "beside": given.beside}.items()}
    rows = list(csv.DictReader(given.results.open())) if given.results.is_file() else []
    rows = [each for each in rows if [each[c] for c in CASE] != [row[c] for c in CASE]]
    rows = sorted([*rows, row], key=lambda each: [each[c] for c in CASE])
    write_rows(given.results, [*CASE, *MEASURES], rows)
    print(row)


if __name__ == "__main__":
    main()
