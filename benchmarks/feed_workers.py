"""Images per second of a feed with threads and with processes, beside Grain on the same plan.

    KERAS_BACKEND=numpy python benchmarks/feed_workers.py --camvid CamVid

Every row reads the same PNG files, decodes, checks and augments them by the full policy of
`input_pipeline.py`, and collects batches. One pass warms up, since processes import the library
first; its time is in the column `first_pass_seconds`. The second pass is what is measured, all rows
in turns. Grain is `pip install grain`; the library does not use it.

Writes `benchmarks/results/feed_workers.csv`.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from input_pipeline import BATCH, Repeated, full_policy, write, write_scenes

from keras_focusseg import data
from keras_focusseg.data.feeds.plan import Plan

COUNTS = (1, 2, 4, 8)
ROUNDS = 3
READS = 96
SIZE = (360, 480)
Passes = Callable[[], Iterable[Any]]
"""Gives one pass of batches with each call."""


def ours(source: data.Source, count: int, processes: bool) -> Passes:
    """`PyDatasetFeed` with so many workers."""
    feed = data.batches(
        source,
        BATCH,
        full_policy(SIZE),
        shuffle=True,
        feed="pydataset",
        workers=count,
        processes=processes,
    )
    return lambda: feed


class Samples:
    """The samples of an epoch as Grain wants them."""

    def __init__(self, plan: Plan) -> None:
        self._plan, self._order = plan, plan.order(0)

    def __len__(self) -> int:
        return len(self._order)

    def __getitem__(self, position: int) -> tuple[np.ndarray, np.ndarray]:
        return self._plan.sample(0, int(self._order[position]), SIZE)


def grain(source: data.Source, count: int, processes: bool) -> Passes:
    """Grain's own iterators over the same samples, in threads or processes."""
    import grain

    plan = Plan(source, BATCH, full_policy(SIZE), shuffle=True)
    dataset = grain.MapDataset.source(Samples(plan))
    if processes:
        from absl import flags

        flags.FLAGS.mark_as_parsed()  # its worker processes ask for flags of the command line
        options = grain.MultiprocessingOptions(num_workers=count)
        batches = dataset.batch(BATCH).to_iter_dataset(grain.ReadOptions(num_threads=1))
        return lambda: batches.mp_prefetch(options)
    options = grain.ReadOptions(num_threads=count, prefetch_buffer_size=2 * BATCH)
    return lambda: dataset.to_iter_dataset(options).batch(BATCH)


def seconds(batches: Iterable[Any]) -> float:
    """How long a pass takes."""
    start = time.perf_counter()
    for _ in batches:
        pass
    return time.perf_counter() - start


def main(
    camvid: Annotated[
        Path | None, typer.Option(help="CamVid at 480x360, in place of scenes.")
    ] = None,
    with_grain: Annotated[bool, typer.Option(help="Measure Grain as well.")] = True,
) -> None:
    """Measures in turns and writes the medians."""
    with tempfile.TemporaryDirectory() as folder:
        files = data.CamVid(camvid, "train") if camvid else write_scenes(Path(folder), SIZE, 48)
        source = Repeated(files, READS)
        todo = [("PyDatasetFeed", ours, COUNTS)] + [("Grain", grain, (2,))] * with_grain
        rows = {
            (name, kind, count): partial(make, source, count, kind == "processes")
            for name, make, counts in todo
            for kind in ("threads", "processes")
            for count in counts
        }
        first: dict[Any, list[float]] = {key: [] for key in rows}
        second: dict[Any, list[float]] = {key: [] for key in rows}
        for number in range(ROUNDS):
            for key, make in rows.items():
                passes = make()
                first[key].append(seconds(passes()))
                second[key].append(READS / seconds(passes()))
                print(number, *key, f"{first[key][-1]:.1f} s, {second[key][-1]:.1f}/s", flush=True)
    write(
        "feed_workers.csv",
        ["feed", "workers", "count", "images_per_second", "first_pass_seconds", "cores"],
        [
            [*key, f"{statistics.median(second[key]):.1f}", f"{statistics.median(first[key]):.1f}"]
            + [os.cpu_count()]
            for key in rows
        ],
    )


if __name__ == "__main__":
    typer.run(main)
