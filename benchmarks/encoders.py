"""Which encoder a CPU runs fastest for what it computes: milliseconds an image and a GMAC.

    OMP_NUM_THREADS=1 TF_NUM_INTRAOP_THREADS=1 python benchmarks/encoders.py

Every encoder at 480x360, one image, random weights, inference. What is timed is the processor time
of the process, in turns, so that other work on the machine counts as little as it can; the median
of the rounds is told. Writes `benchmarks/results/encoders.csv`.
"""

from __future__ import annotations

import csv
import statistics
import time
from pathlib import Path
from typing import Any

import keras
import numpy as np
from rich.progress import track

from keras_focusseg import backbones, inference

HEIGHT, WIDTH = 360, 480
ROUNDS = 9
RESULTS = Path(__file__).resolve().parent / "results" / "encoders.csv"
ENCODERS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("mobilenet_v2", {"output_stride": 32}),
    ("mobilenet_edgetpu", {"features": "stages", "output_stride": 32}),
    ("mobilenet_edgetpu", {"features": "stages", "output_stride": 16}),
    ("mobilenet_edgetpu", {"features": "wide", "output_stride": 16}),
    ("efficientnet_lite0", {"output_stride": 32}),
    ("efficientnet_lite1", {"output_stride": 32}),
    ("efficientnet_lite2", {"output_stride": 32}),
    ("resnet18", {"output_stride": 32}),
    ("van_b0", {}),
    ("mscan_t", {}),
)


def processor_seconds(model: keras.Model, images: np.ndarray) -> float:
    """Processor time of one forward pass, of all threads together."""
    start = time.process_time()
    model.predict_on_batch(images)
    return time.process_time() - start


def main() -> None:
    """Measures in turns and writes the medians."""
    images = np.random.default_rng(0).uniform(0, 255, (1, HEIGHT, WIDTH, 3)).astype("float32")
    names = [" ".join([name, *(f"{k}={v}" for k, v in o.items())]) for name, o in ENCODERS]
    models = [backbones.build(name, **options) for name, options in ENCODERS]
    for model in models:  # compiles
        model.predict_on_batch(images)
        model.predict_on_batch(images)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for _ in track(range(ROUNDS), description="rounds"):
        for name, model in zip(names, models, strict=True):
            seconds[name].append(processor_seconds(model, images))
    rows = []
    for name, model in zip(names, models, strict=True):
        cost = inference.profile(model, size=(HEIGHT, WIDTH), outputs=None, runs=0)
        gmacs, milliseconds = cost.macs / 1e9, 1000 * statistics.median(seconds[name])
        rows.append(
            [
                name,
                cost.trainable,
                f"{gmacs:.2f}",
                f"{milliseconds:.0f}",
                f"{milliseconds / gmacs:.0f}",
                keras.backend.backend(),
            ]
        )
    RESULTS.parent.mkdir(exist_ok=True)
    with open(RESULTS, "w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["encoder", "parameters", "gmacs", "cpu_ms", "cpu_ms_per_gmac", "backend"])
        writer.writerows(rows)
    print(RESULTS.read_text())


if __name__ == "__main__":
    main()
