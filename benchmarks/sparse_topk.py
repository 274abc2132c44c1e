"""Time of a FoR-Net branch on all cells and on the chosen ones alone, against K.

    KERAS_BACKEND=tensorflow python benchmarks/sparse_topk.py    # and jax, torch
    KERAS_BACKEND=tensorflow python benchmarks/sparse_topk.py --onnx

`ConvNormAct` of masked maps beside `SelectedConvNormAct`, on the maps of the compact networks at
360x480 and of ResNet-101 at 512x1024, compiled as `predict` runs them, or as ONNX files in ONNX
Runtime. Both are measured in turns in one process, wall and processor time: the ratio says more
than the milliseconds. Replaces the rows of this backend, or of ONNX Runtime, in
`benchmarks/results/sparse_topk.csv`. Rows of the form "segments" are of an earlier one, which
summed the products by `segment_sum`.
"""

from __future__ import annotations

import argparse
import csv
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops
from peer_worker import onnx_session

from keras_focusseg import files
from keras_focusseg.layers import ConvNormAct, RankedCells, SelectedConvNormAct, TopKMasks

MAPS = ((45, 60, 96, 4), (64, 128, 256, 16))  # height, width, channels, dilation of the 7x7
BRANCHES = ((1, 0.1), (3, 0.2), (5, 0.3), (7, 0.4))
OTHER_RATIOS = (0.1, 0.2, 0.6)  # of the 7x7
ROUNDS = 3
RESULTS = Path(__file__).resolve().parent / "results" / "sparse_topk.csv"
FORM = "gathers"
COLUMNS = [
    "backend",
    "form",
    "cells",
    "channels",
    "kernel",
    "ratio",
    "dense_ms",
    "sparse_ms",
    "dense_cpu_ms",
    "sparse_cpu_ms",
    "cpu_ratio",
    "largest_difference",
]


def timed(run: Callable[[], Any]) -> tuple[float, float, np.ndarray]:
    """Wall and processor seconds of a run, and its result."""
    wall, cpu = time.perf_counter(), time.process_time()
    result = run()
    return time.perf_counter() - wall, time.process_time() - cpu, result


def predictor(inputs: list[Any], outputs: Any, arrays: list[np.ndarray]) -> Callable[[], Any]:
    """`predict` of a model, compiled."""
    model = keras.Model(inputs, outputs)
    model.predict_on_batch(arrays)
    return lambda: model.predict_on_batch(arrays)


def session(inputs: list[Any], outputs: Any, arrays: list[np.ndarray]) -> Callable[[], Any]:
    """A model in ONNX Runtime, on one thread."""
    model = keras.Model(inputs, outputs)
    signature = [keras.InputSpec("float32", array.shape) for array in arrays]
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/branch.onnx"
        model.export(path, format="onnx", input_signature=[signature], verbose=False)
        runtime = onnx_session(path, threads=1)
    given = {value.name: array for value, array in zip(runtime.get_inputs(), arrays, strict=True)}
    runtime.run(None, given)
    return lambda: runtime.run(None, given)[0]


def measure(
    compiled: Callable[..., Callable[[], Any]],
    shape: tuple[int, int, int],
    kernel: int,
    rate: int,
    ratio: float,
) -> list[Any]:
    """One row of the table, without the backend."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(1, *shape)).astype("float32")
    scores = rng.normal(size=(1, *shape[:2], 1)).astype("float32")
    inputs = [keras.Input((None, None, shape[2])), keras.Input((None, None, 1))]
    layer = ConvNormAct(shape[2], kernel, rate)
    dense = layer(ops.multiply(inputs[0], TopKMasks((ratio,))(inputs[1])))
    sparse = SelectedConvNormAct(layer, ratio)(inputs[0], RankedCells()(inputs[1]))
    runs = [compiled(inputs, outputs, [x, scores]) for outputs in (dense, sparse)]
    rows = [[timed(run) for run in runs] for _ in range(ROUNDS)]
    difference = float(np.abs(np.subtract(*(result for _, _, result in rows[0]))).max())
    wall, cpu = (
        [1000 * statistics.median(row[form][which] for row in rows) for form in (0, 1)]
        for which in (0, 1)
    )
    return [
        *(f"{value:.1f}" for value in (*wall, *cpu)),
        f"{cpu[1] / cpu[0]:.2f}",
        f"{difference:.1g}",
    ]


def main() -> None:
    """Measures this backend, or ONNX Runtime, and writes its rows."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--onnx", action="store_true", help="as ONNX files in ONNX Runtime")
    on_onnx = parser.parse_args().onnx
    backend = "onnxruntime" if on_onnx else keras.backend.backend()
    rows = []
    for height, width, channels, dilation in MAPS:
        for kernel, ratio in (*BRANCHES, *((7, ratio) for ratio in OTHER_RATIOS)):
            rate = dilation if kernel == 7 else 1
            shape = (height, width, channels)
            measured = measure(session if on_onnx else predictor, shape, kernel, rate, ratio)
            rows.append([backend, FORM, f"{height}x{width}", channels, kernel, ratio, *measured])
            print(*rows[-1], flush=True)
    old = []
    if RESULTS.exists():
        with open(RESULTS, newline="", encoding="utf-8") as file:
            old = [row for row in list(csv.reader(file))[1:] if row[:2] != [backend, FORM]]
    with files.written(RESULTS) as temporary:
        with open(temporary, "w", newline="", encoding="utf-8") as file:
            csv.writer(file, lineterminator="\n").writerows([COLUMNS, *sorted(old + rows, key=str)])


if __name__ == "__main__":
    main()
