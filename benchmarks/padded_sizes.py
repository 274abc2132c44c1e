"""What `pad_to_multiple` of `segment` changes in the results, and what it saves in compiling.

    KERAS_BACKEND=torch python benchmarks/padded_sizes.py labels --data-root CamVid
    KERAS_BACKEND=jax python benchmarks/padded_sizes.py seconds --data-root CamVid

Frames of CamVid's val split, each cut to a size drawn at random: 200 to 360 rows and 240 to 480
columns. `labels` compares the labels of padded pictures with the exact ones, and the mIoU of both
with the masks, for each multiple; it writes `results/padded_sizes_labels.csv`. `seconds` segments
such pictures with a network that has compiled nothing, counts the sizes that were compiled and
takes the processor time of the process; it writes `results/padded_sizes_seconds.csv`.
"""

from __future__ import annotations

import argparse
import csv
import time
from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np
from rich.progress import track

from keras_focusseg import data, inference, metrics, presets

RESULTS = Path(__file__).resolve().parent / "results"
PRESETS = (
    "fornet_mobilenet_v2_camvid",
    "scrnet_mobilenet_v2_camvid",
    "sernet_former_mobilenet_v2_camvid",
)
MULTIPLES = (32, 64, 128)


def cut_samples(source: data.Source, count: int) -> Iterator[data.Sample]:
    """So many samples, evenly taken from all, the upper left of each in a size of its own."""
    rng = np.random.default_rng(0)
    for index in np.linspace(0, len(source) - 1, count).astype(int):
        image, mask, name = source.load(int(index))
        height, width = rng.integers(200, 361), rng.integers(240, 481)
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
    """For the larger multiples, and none: sizes compiled, processor seconds of all pictures."""
    for multiple in (1, *MULTIPLES[1:]):
        model = presets.load(PRESETS[0])
        start = time.process_time()
        for image, _, _ in track(samples, description=f"multiples of {multiple}"):
            next(inference.segment(model, image, pad_to_multiple=multiple))
        seconds = time.process_time() - start
        sizes = model.labels_model.sizes_met
        yield [PRESETS[0], keras.backend.backend(), multiple, len(samples), sizes, f"{seconds:.0f}"]


def main() -> None:
    """Measures one of the two and writes its table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("labels", "seconds"))
    parser.add_argument("--data-root", required=True, help="Folder of CamVid.")
    parser.add_argument("--frames", type=int, default=30)
    arguments = parser.parse_args()
    source = data.open_source("camvid", arguments.data_root, "val")
    samples = list(cut_samples(source, arguments.frames))
    if arguments.what == "labels":
        head = ["preset", "multiple", "frames", "labels_changed_percent", "miou", "miou_padded"]
        rows = label_rows(samples)
    else:
        head = ["preset", "backend", "multiple", "pictures", "sizes_compiled", "processor_seconds"]
        rows = second_rows(samples)
    path = RESULTS / f"padded_sizes_{arguments.what}.csv"
    with open(path, "w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([head, *rows])
    print(path.read_text())


if __name__ == "__main__":
    main()
