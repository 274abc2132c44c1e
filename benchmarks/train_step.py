"""What `fit` with averaged weights and our callbacks adds to a bare loop over the compiled step.

    KERAS_BACKEND=tensorflow python benchmarks/train_step.py

Measured in turns in one process: the compiled step of plain AdamW called in a loop; `fit` of the
same; `fit` of AdamW with `ema=0.999`, under the callbacks of `training.train` that act in the steps
of a run. The network is the compact FoR-Net of the shipped presets. Machines differ and are shared:
the ratios say more than the seconds, and those of the processor's time, of all threads, more than
those of the clock's. Adds rows to `benchmarks/results/train_step.csv`.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import os
import time
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_focusseg import optimizers, presets, training

RESULTS = Path(__file__).resolve().parent / "results" / "train_step.csv"
COLUMNS = ("version", "backend", "case", "height", "width", "batch")
MEASURES = ("ms", "ratio", "processor_ms", "processor_ratio", "cores")


def clocks() -> np.ndarray:
    """Seconds of the clock, and of the processor for this process."""
    return np.array([time.perf_counter(), time.process_time()])


class EpochTime(keras.callbacks.Callback):
    """Seconds from the first step of an epoch to the end of the last."""

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Looks at the clocks."""
        self.start = clocks()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Looks at them again."""
        self.seconds = clocks() - self.start


def network(ema: float) -> Any:
    """The compact FoR-Net, compiled as `training.train` does."""
    model = presets.load("fornet_mobilenet_v2_synthetic_streets", load_weights=False)
    options = {"ema": ema} if ema else {}
    model.compile(optimizers.AdamW(2e-4, weight_decay=0.05, global_clipnorm=1.0, **options))
    return model


def callbacks() -> list[keras.callbacks.Callback]:
    """Those of `training.train` that act in a step."""
    return [training.StopOnNaN(), training.ValidateAverages()]


def fit(model: Any, images: np.ndarray, masks: np.ndarray, batch: int, ours: bool) -> np.ndarray:
    """Seconds of a step of `fit`."""
    clock = EpochTime()
    extra = callbacks() if ours else []
    model.fit(images, masks, batch_size=batch, shuffle=False, verbose=0, callbacks=[*extra, clock])
    spent: np.ndarray = clock.seconds / (len(images) // batch)
    return spent


def bare(model: Any, images: np.ndarray, masks: np.ndarray, batch: int) -> np.ndarray:
    """Seconds of a step in a loop over the compiled step of a model that `fit` has trained."""
    steps = len(images) // batch
    x, y = (keras.ops.convert_to_tensor(values[:batch]) for values in (images, masks))
    step = model.train_function
    if keras.backend.backend() == "jax":
        kinds = ("trainable", "non_trainable", "optimizer", "metrics")
        state = model._get_jax_state(**{f"{kind}_variables": True for kind in kinds})
        state = keras.tree.map_structure(keras.ops.copy, state)  # the step takes them over
        start = clocks()
        for _ in range(steps):
            logs, state = step(state, iter([(x, y)]))
    elif keras.backend.backend() == "torch":
        model.train()
        start = clocks()
        for _ in range(steps):
            logs = step([(x, y)])
    else:
        import tensorflow as tf

        batches = iter(tf.data.Dataset.from_tensors((x, y)).repeat())
        start = clocks()
        for _ in range(steps):
            logs = step(batches)
    float(logs["loss"])  # waits for the last step
    spent: np.ndarray = (clocks() - start) / steps
    return spent


def main() -> None:
    """Measures in turns and adds the medians to the results."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--version", default="present", help="name of what is measured")
    parser.add_argument("--size", type=int, nargs=2, default=(64, 96), help="height and width")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=7)
    given = parser.parse_args()
    rng = np.random.default_rng(0)
    count = given.batch * given.steps
    images = rng.integers(0, 256, (count, *given.size, 3)).astype("uint8")
    masks = rng.integers(0, 11, (count, *given.size)).astype("int32")
    plain, averaged = network(0.0), network(0.999)
    cases = {
        "bare loop": lambda: bare(plain, images, masks, given.batch),
        "fit": lambda: fit(plain, images, masks, given.batch, ours=False),
        "fit, averages and callbacks": lambda: fit(averaged, images, masks, given.batch, ours=True),
    }
    for case in reversed(cases.values()):  # compiles; the bare loop calls what `fit` compiled
        case()
    seconds: dict[str, list[np.ndarray]] = {name: [] for name in cases}
    for number, (name, case) in itertools.product(range(given.rounds), cases.items()):
        seconds[name].append(case())
        print(f"round {number + 1}: {name} {1e3 * seconds[name][-1]} ms", flush=True)
    new = not RESULTS.is_file()
    with open(RESULTS, "a", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        if new:
            writer.writerow([*COLUMNS, *MEASURES])
        for name, values in seconds.items():
            row = [given.version, keras.backend.backend(), name, *given.size, given.batch]
            ms = 1e3 * np.median(values, axis=0)
            ratios = np.median(np.divide(values, seconds["bare loop"]), axis=0)
            for one, ratio in zip(ms, ratios, strict=True):
                row += [f"{one:.1f}", f"{ratio:.3f}"]
            writer.writerow([*row, os.cpu_count()])
    print(RESULTS.read_text())


if __name__ == "__main__":
    main()
