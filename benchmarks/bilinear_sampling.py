"""Time of `layers.sample_bilinear` beside Keras' `map_coordinates`, for a (2, 64, 128, 64) map.

    KERAS_BACKEND=tensorflow python benchmarks/bilinear_sampling.py    # and jax, torch

Forward, and forward with the gradients in the map and in the coordinates; compiled as `fit` runs it
(TensorFlow graph, JAX jit, PyTorch eager). On PyTorch also its own `grid_sample`. The samplers are
measured in turns in one process: the ratio says more than the seconds. Replaces the rows of this
backend in `benchmarks/results/bilinear_sampling.csv`.
"""

from __future__ import annotations

import csv
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops
from rich.progress import track

from keras_focusseg import files
from keras_focusseg.layers import sample_bilinear

SHAPE = (2, 64, 128, 64)
ROUNDS = 7
RESULTS = Path(__file__).resolve().parent / "results" / "bilinear_sampling.csv"
COLUMNS = ["backend", "pass", "sampler", "milliseconds", "ratio", "cores"]


def ours(x: Any, points: Any) -> Any:
    """Four takes on the flattened map."""
    return sample_bilinear(x, points)


def keras_map_coordinates(x: Any, points: Any) -> Any:
    """Keras' operation, one call for the whole batch with coordinates for every channel."""
    batch, height, width, channels = SHAPE

    def everywhere(values: Any) -> Any:
        return ops.broadcast_to(values, SHAPE)

    where = ops.stack(
        [
            everywhere(ops.reshape(ops.arange(batch, dtype="float32"), (-1, 1, 1, 1))),
            everywhere(points[..., 1:2]),
            everywhere(points[..., 0:1]),
            everywhere(ops.reshape(ops.arange(channels, dtype="float32"), (1, 1, 1, -1))),
        ]
    )
    return ops.image.map_coordinates(x, where, order=1, fill_mode="nearest")


def keras_map_coordinates_by_image(x: Any, points: Any) -> Any:
    """Keras' operation, one call an image: fewer axes to interpolate."""
    _, height, width, channels = SHAPE
    images = []
    for b in range(SHAPE[0]):
        rows = ops.broadcast_to(points[b, ..., 1:2], (height, width, channels))
        columns = ops.broadcast_to(points[b, ..., 0:1], (height, width, channels))
        plane = ops.broadcast_to(ops.arange(channels, dtype="float32"), (height, width, channels))
        where = ops.stack([rows, columns, plane])
        images.append(ops.image.map_coordinates(x[b], where, order=1, fill_mode="nearest"))
    return ops.stack(images)


def torch_grid_sample(x: Any, points: Any) -> Any:
    """PyTorch's operation, for comparison; its [-1, 1] coordinates lose digits."""
    import torch

    scale = torch.tensor([SHAPE[2] - 1, SHAPE[1] - 1], dtype=torch.float32)
    grid = 2.0 * points / scale - 1.0
    y = torch.nn.functional.grid_sample(
        x.permute(0, 3, 1, 2), grid, align_corners=True, padding_mode="border"
    )
    return y.permute(0, 2, 3, 1)


def compiled(sampler: Callable, gradients: bool) -> Callable[[np.ndarray, np.ndarray], Any]:
    """The sampler, or its gradients, as `fit` would run it; waits for the result."""
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        @tf.function
        def run(x: Any, points: Any) -> Any:
            if not gradients:
                return sampler(x, points)
            with tf.GradientTape() as tape:
                tape.watch([x, points])
                value = tf.reduce_sum(sampler(x, points) ** 2)
            return [tf.convert_to_tensor(g) for g in tape.gradient(value, [x, points])]

        return lambda x, p: tf.nest.map_structure(lambda t: t.numpy(), run(tf.constant(x), p))
    if backend == "jax":
        import jax

        def total(x: Any, points: Any) -> Any:
            return (sampler(x, points) ** 2).sum()

        function = jax.jit(jax.grad(total, argnums=(0, 1)) if gradients else sampler)
        return lambda x, points: jax.block_until_ready(function(x, points))
    import torch

    def call(x: np.ndarray, points: np.ndarray) -> Any:
        tensors = torch.from_numpy(x), torch.from_numpy(points)
        if not gradients:
            with torch.no_grad():
                return sampler(*tensors)
        for tensor in tensors:
            tensor.requires_grad_()
        return torch.autograd.grad((sampler(*tensors) ** 2).sum(), tensors)

    return call


def main() -> None:
    """Measures in turns and writes the medians."""
    backend = keras.backend.backend()
    rng = np.random.default_rng(0)
    x = rng.normal(size=SHAPE).astype("float32")
    columns, rows = np.meshgrid(np.arange(SHAPE[2]), np.arange(SHAPE[1]))
    points = np.stack([columns, rows], -1) + rng.normal(0, 2, (SHAPE[0], *SHAPE[1:3], 2))
    points = points.astype("float32")
    samplers: dict[str, Callable] = {
        "sample_bilinear": ours,
        "map_coordinates, whole batch": keras_map_coordinates,
        "map_coordinates, image by image": keras_map_coordinates_by_image,
    }
    if backend == "torch":
        samplers["torch grid_sample"] = torch_grid_sample
    rows_out = []
    for gradients in (False, True):
        runs = {name: compiled(sampler, gradients) for name, sampler in samplers.items()}
        for run in runs.values():  # compiles
            run(x, points)
        seconds: dict[str, list[float]] = {name: [] for name in runs}
        title = "forward and gradients" if gradients else "forward"
        for _ in track(range(ROUNDS), description=title):
            for name, run in runs.items():
                start = time.perf_counter()
                run(x, points)
                seconds[name].append(time.perf_counter() - start)
        medians = {name: statistics.median(values) for name, values in seconds.items()}
        for name, value in medians.items():
            ratio = value / medians["sample_bilinear"]
            rows_out.append(
                [backend, title, name, f"{1000 * value:.1f}", f"{ratio:.2f}", os.cpu_count()]
            )
    RESULTS.parent.mkdir(exist_ok=True)
    kept = []
    if RESULTS.is_file():
        with open(RESULTS, newline="") as file:
            kept = [row for row in csv.reader(file) if row[0] not in ("backend", backend)]
    with files.written(RESULTS) as temporary, open(temporary, "w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([COLUMNS, *sorted(kept + rows_out)])
    print(RESULTS.read_text())


if __name__ == "__main__":
    main()
