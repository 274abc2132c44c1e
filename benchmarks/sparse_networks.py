"""Time of whole FoR-Nets, dense and on the chosen cells alone, against K.

    KERAS_BACKEND=tensorflow python benchmarks/sparse_networks.py    # and jax, torch
    KERAS_BACKEND=tensorflow python benchmarks/sparse_networks.py --onnx
    KERAS_BACKEND=tensorflow python benchmarks/sparse_networks.py --networks resnet101 --rounds 1
    KERAS_BACKEND=tensorflow python benchmarks/sparse_networks.py --networks resnet101 --rounds 1 \
        --factors 1 --size 256x512 --dtype float64    # is the difference rounding?

`predict` of one image before and after `sparse_inference()`, or both forms as ONNX files in ONNX
Runtime, in turns in one process, with the network's own shares of the cells times each factor. One
thread. `compact` is the preset on MobileNet-EdgeTPU at 360x480, `resnet101` the published network
at 1024x2048, with random weights. `ms` are medians of processor time, which does not count what
else the machine does.

Adds its rows to `benchmarks/results/sparse_networks.csv`, in place of those of the same network,
backend and factor.
"""

from __future__ import annotations

import argparse
import csv
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

for variable in ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"):
    os.environ[variable] = "1"  # before the backend is imported

import keras  # noqa: E402
import numpy as np  # noqa: E402
from peer_worker import onnx_session  # noqa: E402
from result_tables import write_rows  # noqa: E402

from keras_focusseg import export, models, presets  # noqa: E402

RESULTS = Path(__file__).resolve().parent / "results" / "sparse_networks.csv"
KEY = ("network", "backend", "factor", "dtype", "image")
COLUMNS = (
    *KEY,
    "ratios",
    "dense_ms",
    "sparse_ms",
    "ratio",
    "largest_difference",
    "largest_logit",
    "rounds",
)
SIZES = {"compact": (360, 480), "resnet101": (1024, 2048)}
FACTORS = (0.25, 0.5, 1.0, 1.5)
Run = Callable[[np.ndarray], np.ndarray]


def network(name: str, factor: float, dtype: str) -> models.FoRNet:
    """The network, its branches on so many times the cells that they see."""
    if name == "resnet101":
        keras.utils.set_random_seed(0)
        model = models.FoRNet(dtype=dtype)
    else:
        model = presets.load("fornet_mobilenet_edgetpu_camvid", dtype=dtype)
    config = model.get_config()
    if factor == 1.0:
        return model
    ratios = [round(factor * ratio, 4) for ratio in config["ratios"]]
    other = models.FoRNet.from_config({**config, "ratios": ratios})
    other.set_weights(model.get_weights())
    return other


def predictors(model: models.FoRNet, size: tuple[int, int], on_onnx: bool) -> list[Run]:
    """What runs the dense and the sparse form."""
    runs = []
    for sparse in (False, True):
        model.sparse_inference(sparse)
        if on_onnx:
            with tempfile.TemporaryDirectory() as folder:
                export.export(model, f"{folder}/network.onnx", "onnx", size)
                runs.append(session(f"{folder}/network.onnx"))
        else:
            runs.append(model.logits_model.predict_on_batch)
    return runs


def session(path: str) -> Run:
    """A file in ONNX Runtime, on one thread."""
    runtime = onnx_session(path, threads=1)
    name = runtime.get_inputs()[0].name
    return lambda image: runtime.run(None, {name: image})[0]


def timed(run: Run, image: np.ndarray) -> tuple[float, np.ndarray]:
    """Processor milliseconds of a run, and its logits."""
    start = time.process_time()
    logits = run(image)
    return 1e3 * (time.process_time() - start), logits


def measured(
    name: str, factor: float, dtype: str, size: tuple[int, int], on_onnx: bool, rounds: int
) -> dict[str, str]:
    """A row of the table, without the backend."""
    model = network(name, factor, dtype)
    height, width = size
    image = np.random.default_rng(0).uniform(0, 255, (1, height, width, 3)).astype("float32")
    runs = predictors(model, (height, width), on_onnx)
    logits = [run(image) for run in runs]  # compiles them
    times = [[timed(run, image)[0] for run in runs] for _ in range(rounds)]
    dense, sparse = (statistics.median(column) for column in zip(*times, strict=True))
    return {
        "network": name,
        "factor": f"{factor:g}",
        "dtype": dtype,
        "ratios": " ".join(f"{ratio:g}" for ratio in model.get_config()["ratios"]),
        "image": f"{height}x{width}",
        "dense_ms": f"{dense:.0f}",
        "sparse_ms": f"{sparse:.0f}",
        "ratio": f"{sparse / dense:.2f}",
        "largest_difference": f"{np.abs(np.subtract(*logits)).max():.1g}",
        "largest_logit": f"{np.abs(logits[0]).max():.0f}",
        "rounds": str(rounds),
    }


def main() -> None:
    """Measures what is asked for and writes its rows."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--networks", nargs="+", choices=SIZES, default=["compact"])
    parser.add_argument("--factors", nargs="+", type=float, default=FACTORS)
    parser.add_argument("--onnx", action="store_true", help="as ONNX files in ONNX Runtime")
    parser.add_argument("--dtype", choices=("float32", "float64"), default="float32")
    parser.add_argument("--size", help="HEIGHTxWIDTH, in place of that of the network")
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    backend = "onnxruntime" if given.onnx else keras.backend.backend()
    rows = list(csv.DictReader(RESULTS.open())) if RESULTS.is_file() else []
    for name in given.networks:
        height, width = map(int, given.size.split("x")) if given.size else SIZES[name]
        for factor in given.factors:
            case = (name, factor, given.dtype, (height, width))
            row = measured(*case, given.onnx, given.rounds) | {"backend": backend}
            print(row, flush=True)
            rows = [old for old in rows if any(old[column] != row[column] for column in KEY)]
            rows = sorted([*rows, row], key=lambda row: [row[column] for column in KEY])
            write_rows(RESULTS, COLUMNS, rows)


if __name__ == "__main__":
    main()
