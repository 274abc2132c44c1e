"""Images per second of a feed with threads and with processes, beside Grain on the same plan.

    KERAS_BACKEND=numpy python benchmarks/feed_workers.py --camvid CamVid

Every row takes the same decoded frames from memory, augments them by the policy of the CamVid
recipe of the compact FoR-Net (crops of 240x320) and collects batches: what a recipe with
`cache="memory"` does in each epoch but the first. Worker processes have copies of the frames. One
pass warms up, since processes import the library first; its time is in the column
`first_pass_seconds`. Then all rows take their turns, and the median pass counts. Grain is
`pip install grain`; the library does not use it.

Writes `benchmarks/results/feed_workers.csv`.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from input_pipeline import BATCH, Repeated, write, write_scenes

from keras_focusseg import data, training
from keras_focusseg.data.feeds.plan import Plan

RECIPE = Path(__file__).resolve().parents[1] / "recipes" / "fornet_mobilenet_v2_camvid.py"
POLICY = data.augmentation(training.load_recipe(RECIPE).augment)
COUNTS = (1, 2, 4, 8)
ROUNDS = 5
FRAMES = 48
READS = 480
SIZE = (360, 480)
Passes = Callable[[], Iterable[Any]]
"""Gives one pass of batches with each call."""


class InMemory(Repeated):
    """The first frames of a source, decoded, round and round; a copy of it holds them too."""

    def __init__(self, source: data.Source, frames: int, length: int) -> None:
        super().__init__(source, length)
        self._frames = [source.load(index) for index in range(frames)]

    def load(self, index: int) -> data.Sample:
        """Frame `index`, counted round and round."""
        return self._frames[index % len(self._frames)]


def ours(source: data.Source, count: int, processes: bool) -> Passes:
    """`PyDatasetFeed` with so many workers."""
    feed = data.batches(
        source,
        BATCH,
        POLICY,
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
        return self._plan.sample(0, int(self._order[position]), POLICY.crop_size)


def grain(source: data.Source, count: int, processes: bool) -> Passes:
    """Grain's own iterators over the same samples, in threads or processes."""
    import grain

    plan = Plan(source, BATCH, POLICY, shuffle=True)
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
        files = data.CamVid(camvid, "train") if camvid else write_scenes(Path(folder), SIZE, FRAMES)
        source = InMemory(files, FRAMES, READS)
    todo = [("PyDatasetFeed", ours, COUNTS)] + [("Grain", grain, (2,))] * with_grain
    rows = {
        (name, kind, count): make(source, count, kind == "processes")
        for name, make, counts in todo
        for kind in ("threads", "processes")
        for count in counts
    }
    first: dict[Any, float] = {}
    rates: dict[Any, list[float]] = {key: [] for key in rows}
    for key, passes in rows.items():
        first[key] = seconds(passes())
        print(*key, f"{first[key]:.1f} s", flush=True)
    for number in range(ROUNDS):
        for key, passes in rows.items():
            rates[key].append(READS / seconds(passes()))
            print(number, *key, f"{rates[key][-1]:.1f}/s", flush=True)
    write(
        "feed_workers.csv",
        ["feed", "workers", "count", "images_per_second", "first_pass_seconds", "cores"],
        [
            [*key, f"{statistics.median(rates[key]):.1f}", f"{first[key]:.1f}"] + [os.cpu_count()]
            for key in rows
        ],
    )


if __name__ == "__main__":
    typer.run(main)
