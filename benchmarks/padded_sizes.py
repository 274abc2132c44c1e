"""What `pad_to_multiple` of `segment` changes in the results; what each new size costs.

    KERAS_BACKEND=torch python benchmarks/padded_sizes.py labels --data-root CamVid
    KERAS_BACKEND=jax python benchmarks/padded_sizes.py seconds --data-root CamVid
    KERAS_BACKEND=jax python benchmarks/padded_sizes.py memory

All take frames of CamVid's val split, each cut to a size drawn at random, but for `memory`.

`labels`, of 200 to 360 rows and 240 to 480 columns: compares the labels of padded pictures with the
exact ones, and the mIoU of both with the masks, for each multiple.
`seconds`, of 96 to 192 rows and 128 to 256 columns: segments the pictures with the smallest preset,
as they are and filled up to multiples of 64, each in a process of its own, and then all again.
Takes the processor time of both rounds, and what the process holds in memory before and after them.
`memory`: segments noise of 30 sizes with a FoR-Net of few filters on five convolutions, keeping the
functions of as many sizes as the library does, and of all of them; each in a process of its own.

Each writes `results/padded_sizes_WHAT.csv`. Processor time is that of all threads; memory is what
is resident (Linux). Both are of one run on a shared machine.
"""

from __future__ import annotations

import argparse
import csv
import multiprocessing
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
from rich.progress import track

from keras_focusseg import data, inference, metrics, models, presets
from keras_focusseg.models import predictors

RESULTS = Path(__file__).resolve().parent / "results"
PRESETS = (
    "fornet_mobilenet_v2_camvid",
    "scrnet_mobilenet_v2_camvid",
    "sernet_former_mobilenet_v2_camvid",
)
SMALLEST_PRESET = "fornet_mobilenet_edgetpu_small_camvid"
MULTIPLES = (32, 64, 128)
HEADS = {
    "labels": ["preset", "multiple", "frames", "labels_changed_percent", "miou", "miou_padded"],
    "seconds": [
        *("preset", "backend", "multiple", "pictures", "sizes", "seconds_first_round"),
        *("seconds_second_round", "resident_mb_before", "resident_mb_after"),
    ],
    "memory": ["backend", "sizes", "sizes_kept", "resident_mb_before", "resident_mb_after"],
}
Sizes = tuple[tuple[int, int], tuple[int, int]]
"""Rows and columns, each from the first number to below the second."""


def cut_samples(source: data.Source, count: int, sizes: Sizes) -> Iterator[data.Sample]:
    """So many samples, evenly taken from all, the upper left of each in a size of its own."""
    rng = np.random.default_rng(0)
    for index in np.linspace(0, len(source) - 1, count).astype(int):
        image, mask, name = source.load(int(index))
        height, width = (rng.integers(*side) for side in sizes)
        yield data.Sample(image[:height, :width], mask[:height, :width], name)


def label_rows(samples: list[data.Sample]) -> Iterator[list[object]]:
    """For each preset and multiple: share of labels that change, and both mIoU."""
    for name in PRESETS:
        model = presets.load(name)
        matrices = {m: metrics.ConfusionMatrix(model.num_classes, 255) for m in (1, *MULTIPLES)}
        changed = dict.fromkeys(MULTIPLES, 0)
        for image, mask, _ in track(samples, description=name):
            for multiple, matrix in matrices.items():
                labels = next(inference.segment(model, image, pad_to_multiple=multiple)).labels
                matrix.update(mask, labels)
                if multiple == 1:
                    exact = labels
                else:
                    changed[multiple] += int((labels != exact).sum())
        pixels = sum(mask.size for _, mask, _ in samples)
        for multiple in MULTIPLES:
            both = [100 * float(metrics.mean_iou(matrices[m].matrix)) for m in (1, multiple)]
            share = 100 * changed[multiple] / pixels
            yield [name, multiple, len(samples), f"{share:.2f}", *(f"{iou:.2f}" for iou in both)]


def second_rows(samples: list[data.Sample]) -> Iterator[list[object]]:
    """For multiples of 64, and none: what two rounds over all pictures take."""
    images = [sample.image for sample in samples]
    for multiple in (1, 64):
        yield _alone(_two_rounds, images, multiple)


def _two_rounds(images: list[np.ndarray], multiple: int) -> list[object]:
    model = presets.load(SMALLEST_PRESET)
    before, seconds = resident_mb(), []
    for number in ("first", "second"):
        start = time.process_time()
        for image in track(images, description=f"multiples of {multiple}, {number} round"):
            next(inference.segment(model, image, pad_to_multiple=multiple))
        seconds.append(f"{time.process_time() - start:.1f}")
    sizes = model.labels_model.sizes_met
    row = [SMALLEST_PRESET, keras.backend.backend(), multiple, len(images), sizes, *seconds]
    return [*row, f"{before:.0f}", f"{resident_mb():.0f}"]


def memory_rows(count: int) -> Iterator[list[object]]:
    """For the sizes that the library keeps, and for all: what so many sizes leave in memory."""
    for kept in (predictors.SIZES, count):
        yield _alone(_many_sizes, count, kept)


def _many_sizes(count: int, kept: int) -> list[object]:
    predictors.SIZES = kept
    model, rng = tiny_network(), np.random.default_rng(0)
    before = resident_mb()
    for index in track(range(count), description=f"functions of {kept} sizes kept"):
        image = rng.integers(0, 256, (64 + 8 * index, 96, 3), "uint8")
        next(inference.segment(model, image, pad_to_multiple=1))
    return [keras.backend.backend(), count, kept, f"{before:.0f}", f"{resident_mb():.0f}"]


def tiny_network() -> models.FoRNet:
    """FoR-Net with 8 filters on a pyramid of five convolutions."""
    x = images = keras.Input((None, None, 3))
    pyramid = {}
    for level in range(1, 6):
        x = keras.layers.Conv2D(8, 3, strides=1 if level > 3 else 2, padding="same")(x)
        pyramid[f"P{level}"] = x
    del pyramid["P1"]
    backbone = keras.Model(images, pyramid)
    return models.FoRNet(num_classes=3, backbone=backbone, filters=8, low_level_filters=4)


def resident_mb() -> float:
    """Memory of this process that is resident, in MB (10^6 bytes)."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def _alone(measure: Callable[..., list[object]], *arguments: Any) -> list[object]:
    """What a function gives in a new process, so that nothing was compiled before."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(measure, arguments)


def main() -> None:
    """Measures one of the three and writes its table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=HEADS)
    parser.add_argument("--data-root", help="Folder of CamVid; not for memory.")
    parser.add_argument("--frames", type=int, help="Pictures; 30, for seconds 8, by default.")
    arguments = parser.parse_args()
    if arguments.what == "memory":
        rows = memory_rows(arguments.frames or 30)
    else:
        if arguments.data_root is None:
            parser.error("--data-root is needed")
        source = data.open_source("camvid", arguments.data_root, "val")
        if arguments.what == "labels":
            large = (200, 361), (240, 481)
            rows = label_rows(list(cut_samples(source, arguments.frames or 30, large)))
        else:
            small = (96, 193), (128, 257)
            rows = second_rows(list(cut_samples(source, arguments.frames or 8, small)))
    path = RESULTS / f"padded_sizes_{arguments.what}.csv"
    with open(path, "w", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(HEADS[arguments.what])
        for row in rows:
            table.writerow(row)
            file.flush()
    print(path.read_text())


if __name__ == "__main__":
    main()
