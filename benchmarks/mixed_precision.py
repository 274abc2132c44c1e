"""Whether the mixed policies train as float32 does: loss curves of 200 steps.

    KERAS_BACKEND=tensorflow python benchmarks/mixed_precision.py
    KERAS_BACKEND=torch python benchmarks/mixed_precision.py --networks FoRNet

The same whole runs of `training.train` as in `benchmarks/equal_training.py` (its small networks,
its pictures with uneven shares of ignored pixels, averages, clipping; `mixed_float16` scales its
loss), but 50 epochs of four steps. A NaN in a step would end a run with `TrainingDiverged`; weights
and averages of the last checkpoint have to be finite too. Curves are smoothed over 20 steps:
`start_loss` and `end_loss` are the means of the first and last 20, `largest_gap` is the largest
difference from float32's smoothed curve, relative to that.

Writes the rows of its backend and networks into `benchmarks/results/mixed_precision.csv`.
"""

from __future__ import annotations

import argparse
import csv
import json
import tempfile
from pathlib import Path
from typing import Any

import equal_training
import keras
import numpy as np
from result_tables import write_rows

from keras_focusseg import backbones, training
from keras_focusseg.training.checkpoints import newest_checkpoint

RESULTS = Path(__file__).resolve().parent / "results" / "mixed_precision.csv"
NETWORKS = ("FoRNet", "SERNetFormer", "SCRNet")
POLICIES = ("float32", "mixed_bfloat16", "mixed_float16")
COLUMNS = ("backend", "network", "policy", "steps", "start_loss", "end_loss", "largest_gap")
STEPS = 200
STEPS_AN_EPOCH = 4
SMOOTHED_EPOCHS = 5


def curve(network: str, policy: str, work: Path) -> np.ndarray:
    """Smoothed loss of a run, whose weights stayed finite."""
    recipe = equal_training.recipe(network, work).replace(
        precision=policy,
        epochs=STEPS // STEPS_AN_EPOCH,
        validate_every=STEPS // STEPS_AN_EPOCH,
        cache="memory",
    )
    run = work / f"{network} {policy}"
    keras.backend.clear_session()
    training.train(recipe, work, run, verbose=0)
    checkpoint = newest_checkpoint(run)
    assert checkpoint is not None
    for name, values in equal_training.numbers(checkpoint / "training.weights.h5").items():
        if not np.isfinite(values).all():
            raise SystemExit(f"{network} under {policy}: {name} is not finite.")
    history = json.loads((checkpoint / "state.json").read_text())["history"]
    loss = [row["loss"] for row in history]
    return np.convolve(loss, np.full(SMOOTHED_EPOCHS, 1 / SMOOTHED_EPOCHS), "valid")


def main() -> None:
    """Trains under each policy and writes the rows."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=NETWORKS)
    given = parser.parse_args()
    backend = keras.backend.backend()
    backbones._CONSTRUCTORS["four_convolutions"] = equal_training.pyramid
    rows: list[dict[str, Any]] = list(csv.DictReader(RESULTS.open())) if RESULTS.is_file() else []
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        equal_training.write_pictures(work, same_size=True)
        for network in given.networks:
            curves = {policy: curve(network, policy, work) for policy in POLICIES}
            gaps = {
                policy: np.abs(found / curves["float32"] - 1).max()
                for policy, found in curves.items()
            }
            rows = [row for row in rows if (row["backend"], row["network"]) != (backend, network)]
            for policy, found in curves.items():
                values = f"{found[0]:.4f}", f"{found[-1]:.4f}", f"{gaps[policy]:.4f}"
                row = (backend, network, policy, STEPS, *values)
                rows.append(dict(zip(COLUMNS, row, strict=True)))
                print(*row, flush=True)
            write_rows(RESULTS, COLUMNS, rows)


if __name__ == "__main__":
    main()
