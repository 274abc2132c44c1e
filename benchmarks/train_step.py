"""What `fit` with averaged weights and our callbacks adds to a bare loop over the compiled step.

    KERAS_BACKEND=tensorflow python benchmarks/train_step.py
    KERAS_BACKEND=torch python benchmarks/train_step.py --network SCRNet --size 96 128

Measured in turns in one process: the compiled step of plain AdamW called in a loop; the same of
AdamW with `ema=0.999`; `fit` of the first; `fit` of the second, under the callbacks of a run of
`training.train`; the loop again, of a network compiled without the counts of mean IoU. The networks
are those of presets on MobileNetV2. Machines differ and are shared: the ratios, medians of those of
each round to the loop in it, say more than the seconds, and those of the processor's time, of all
threads, more than those of the clock's. `spread` is where the middle half of the rounds' processor
ratios lies. What differs by little is told apart by two cases alone (`--cases "bare loop without
counts" --steps 4 --rounds 60`), since a machine's pace drifts in seconds. A turn has so many
`steps`, which also bear what `fit` does once an epoch. `peak_mb` is what the process held at most,
less what it held before the first of its `networks` was built: "fit" and the loop share one, and so
do both cases with averages.

Writes its rows into `benchmarks/results/train_step.csv`, in place of those of the same case.
"""

from __future__ import annotations

import argparse
import csv
import os
import resource
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
from result_tables import write_rows

from keras_focusseg import optimizers, presets, training
from keras_focusseg.training.callbacks import RunCallbacks
from keras_focusseg.training.report import Speed
from keras_focusseg.training.watchdog import Watchdog

RESULTS = Path(__file__).resolve().parent / "results" / "train_step.csv"
CASE = ("version", "backend", "network", "case", "height", "width", "batch")
TIMES = ("ms", "ratio", "processor_ms", "processor_ratio", "spread")
MEASURES = (*TIMES, "steps", "rounds", "peak_mb", "networks", "cores")
PRESETS = {
    "FoRNet": "fornet_mobilenet_v2_synthetic_streets",
    "SCRNet": "scrnet_mobilenet_v2_camvid",
    "SERNetFormer": "sernet_former_mobilenet_v2_camvid",
}


# The networks, and which of them each case is of.
NETWORKS: dict[str, dict[str, Any]] = {
    "plain": {},
    "averaged": {"ema": 0.999},
    "uncounted": {"metrics": []},
}
CASES = {
    "bare loop": "plain",
    "bare loop, averages": "averaged",
    "fit": "plain",
    "fit, averages and callbacks": "averaged",
    "bare loop without counts": "uncounted",
}


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


def network(preset: str, ema: float = 0.0, metrics: Any = "auto") -> Any:
    """A network compiled as `training.train` does."""
    model = presets.load(preset, load_weights=False)
    optimizer = optimizers.AdamW(2e-4, weight_decay=0.05, global_clipnorm=1.0, ema=ema)
    model.compile(optimizer, metrics=metrics)
    return model


class FolderOfSteps(training.RunFolder):
    """Looks in each step whether a checkpoint is due, and writes none after the epoch."""

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Nothing."""


def fit(model: Any, images: np.ndarray, masks: np.ndarray, batch: int, ours: bool) -> np.ndarray:
    """Seconds of a step of `fit`; `ours` for the callbacks of `training.train`."""
    clock, steps = EpochTime(), len(images) // batch
    given = {"batch_size": batch, "shuffle": False, "verbose": 0}
    if ours:
        with tempfile.TemporaryDirectory() as folder:
            listeners = [
                clock,  # looks before the others when an epoch ends
                Watchdog(process=0, processes=1),
                training.StopOnNaN(),
                Speed(batch),
                FolderOfSteps(Path(folder), lambda *_: None),
                training.ValidateAverages(),
            ]
            callbacks = RunCallbacks(
                listeners, add_history=True, model=model, epochs=1, steps=steps
            )
            with callbacks.run():
                model.fit(images, masks, callbacks=callbacks, **given)
    else:
        model.fit(images, masks, callbacks=[clock], **given)
    spent: np.ndarray = clock.seconds / steps
    return spent


def peak_bytes() -> int:
    """The most memory that this process has held."""
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


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


def measured(
    case: str, model: Any, images: np.ndarray, masks: np.ndarray, batch: int
) -> np.ndarray:
    """Seconds of a step of a case."""
    if case.startswith("bare loop"):
        return bare(model, images, masks, batch)
    return fit(model, images, masks, batch, ours=case != "fit")


def main() -> None:
    """Measures in turns and adds the medians to the results."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--version", default="present", help="name of what is measured")
    parser.add_argument("--network", choices=PRESETS, default="FoRNet")
    parser.add_argument("--size", type=int, nargs=2, default=(64, 96), help="height and width")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument(
        "--cases", nargs="+", choices=CASES, help="beside the bare loop; by default all"
    )
    given = parser.parse_args()
    rng = np.random.default_rng(0)
    count = given.batch * given.steps
    images = rng.integers(0, 256, (count, *given.size, 3)).astype("uint8")
    masks = rng.integers(0, 11, (count, *given.size)).astype("int32")
    before = peak_bytes()
    names = ["bare loop", *(given.cases or list(CASES)[1:])]
    kinds = {CASES[name] for name in names}
    models = {kind: network(PRESETS[given.network], **NETWORKS[kind]) for kind in kinds}
    data = (images, masks, given.batch)
    cases = {name: partial(measured, name, models[CASES[name]], *data) for name in names}
    for kind, model in models.items():  # compiles; the loops call what `fit` compiled
        fit(model, *data, ours=kind == "averaged")
    bare(models["plain"], *data)
    seconds: dict[str, list[np.ndarray]] = {name: [] for name in cases}
    for number in range(given.rounds):  # forth and back, for what drifts
        for name in list(cases)[:: -1 if number % 2 else 1]:
            seconds[name].append(cases[name]())
            print(f"round {number + 1}: {name} {1e3 * seconds[name][-1]} ms", flush=True)
    peak = peak_bytes() - before
    rows = list(csv.DictReader(RESULTS.open())) if RESULTS.is_file() else []
    for name, values in seconds.items():
        case = (given.version, keras.backend.backend(), given.network, name)
        row = dict(zip(CASE, map(str, (*case, *given.size, given.batch)), strict=True))
        ratios = np.divide(values, seconds["bare loop"])
        low, high = np.quantile(ratios[:, 1], (0.25, 0.75))
        row["spread"] = f"{low:.3f} to {high:.3f}"
        for column, ms, ratio in zip(
            ("", "processor_"),
            1e3 * np.median(values, axis=0),
            np.median(ratios, axis=0),
            strict=True,
        ):
            row[f"{column}ms"], row[f"{column}ratio"] = f"{ms:.1f}", f"{ratio:.3f}"
        row |= {"steps": str(given.steps), "rounds": str(given.rounds)}
        row |= {"peak_mb": f"{peak / 1e6:.0f}", "networks": str(len(models))}
        row["cores"] = str(len(os.sched_getaffinity(0)))
        same = [each for each in rows if [each[c] for c in CASE] == [row[c] for c in CASE]]
        if same:
            same[0].update(row)
        else:
            rows.append(row)
    write_rows(RESULTS, [*CASE, *MEASURES], rows)
    print(RESULTS.read_text())


if __name__ == "__main__":
    main()
