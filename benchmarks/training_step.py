"""Time of a training step of the compact FoR-Net at 480x360, beside its bare backbone.

    python benchmarks/training_step.py

Machines differ and are shared: the ratio of the two, measured in turns in one process, says more
than the seconds. Writes `benchmarks/results/training_step.csv`.
"""

from __future__ import annotations

import csv
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
from rich.progress import track

from keras_focusseg import models, presets

BATCH, HEIGHT, WIDTH, CLASSES = 4, 360, 480, 11
ROUNDS = 7
RESULTS = Path(__file__).resolve().parent / "results" / "training_step.csv"


def compact() -> keras.Model:
    """The network of the shipped presets, compiled as `compile()` does."""
    model = presets.load("fornet_mobilenet_v2_synthetic_streets", load_weights=False)
    model.compile()
    return model


def backbone_alone() -> keras.Model:
    """MobileNetV2 with a 1x1 classifier on its last map: the least that a segmenter costs."""
    backbone = models.FoRNet(CLASSES, "mobilenet_v2", output_stride=32, neck="fpn").backbone
    images = keras.Input((None, None, 3))
    logits = keras.layers.Conv2D(CLASSES, 1)(backbone(images)["P5"])
    model = keras.Model(images, keras.layers.UpSampling2D(32)(logits))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", loss)
    return model


def timed(step: Callable[[], object]) -> float:
    """Seconds of one call."""
    start = time.perf_counter()
    step()
    return time.perf_counter() - start


def main() -> None:
    """Measures in turns and writes the medians."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (BATCH, HEIGHT, WIDTH, 3)).astype("uint8")
    masks = rng.integers(0, CLASSES, (BATCH, HEIGHT, WIDTH)).astype("int32")
    padded = rng.integers(0, 256, (BATCH, 384, WIDTH, 3)).astype("uint8")
    padded_masks = np.zeros((BATCH, 384, WIDTH), "int32")
    network, bare = compact(), backbone_alone()
    steps = {
        "fornet_mobilenet_v2 (compact)": lambda: network.train_on_batch(images, masks),
        "mobilenet_v2 with a 1x1 classifier, 480x384": lambda: bare.train_on_batch(
            padded, padded_masks
        ),
    }
    for step in steps.values():  # compiles
        step()
        step()
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for _ in track(range(ROUNDS), description="rounds"):
        for name, step in steps.items():
            seconds[name].append(timed(step) / BATCH)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    least = min(medians.values())
    RESULTS.parent.mkdir(exist_ok=True)
    with open(RESULTS, "w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["network", "seconds_per_image", "ratio", "batch", "backend", "cores"])
        for name, value in medians.items():
            writer.writerow(
                [
                    name,
                    f"{value:.3f}",
                    f"{value / least:.2f}",
                    BATCH,
                    keras.backend.backend(),
                    os.cpu_count(),
                ]
            )
    print(RESULTS.read_text())


if __name__ == "__main__":
    main()
