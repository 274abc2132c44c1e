"""Whether networks train on many devices as on one: curves and weights, engine by engine.

    python benchmarks/equal_training.py
    python benchmarks/equal_training.py --only torch
    python benchmarks/equal_training.py --only jax --devices 2x4 --work runs/equal

Every case is a whole run of `training.train` in processes of its own: five epochs of four steps on
16 images whose shares of ignored pixels are 0, 30, 90 and 100 %, so that the part of one replica
may hold none that counts; validation of three images, one by one, by averaged weights (of three
sizes, but on JAX, which compiles for each). The networks are the library's, on a backbone of four
convolutions; the devices are logical CPUs and processes of this machine. Compared with the same run
on one device:

- `log_difference`: the largest relative difference of a loss or a term in the log of an epoch, in
  training and validation; `mean_iou_difference` is absolute;
- `weight_difference`: of the weights after the last step, as one vector, relative to how far one
  device moved them; `statistics_difference`: the same of the batch-norm statistics;
  `state_difference`: of the optimizer's slots and averaged weights, relative to their length.

The row `none, another last bit` is one device again, from weights that differ by their last bit. It
says how far two orders of a sum drift apart in so many steps, for the network in which they drift
farthest. A case is `equal` if no difference in the log exceeds 1e-4, and none of weights,
statistics and state 1e-3 (AdamW makes a whole step of a gradient that is all rounding), or ten
times those of this row. `resumed` says where a run went on after two epochs, for the first engine
of a backend. Dropout is off, because replicas draw their own. On TensorFlow one device is also
compiled by XLA (`none, jit_compile=True`), the validation of each size of images too.

Writes `benchmarks/results/equal_training.csv`. On a busy machine run a backend at a time, or one of
its engines (`--devices` has processes and devices of all of them): other rows stay, and runs that
are in the folder `--work` are not made again.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from result_tables import write_rows

HERE = Path(__file__).resolve()
RESULTS = HERE.parent / "results" / "equal_training.csv"
MEASURES = ("log", "mean_iou", "weight", "statistics", "state")
DIFFERENCES = tuple(f"{name}_difference" for name in MEASURES)
CASE = ("backend", "engine", "processes", "devices", "resumed", "network")
LIMITS = {name: 1e-4 if name == "log_difference" else 1e-3 for name in DIFFERENCES}
EPOCHS, BATCH, CUT = 5, 4, 2
SIDE = 48
VOID = (0.0, 0.3, 0.9, 1.0)  # share of ignored pixels
NETWORKS: dict[str, tuple[str, dict[str, Any]]] = {
    "FoRNet": (
        "FoRNet",
        {"kernel_sizes": (1, 3), "dilation_rates": (1, 2), "ratios": (0.3, 0.5), "filters": 8},
    ),
    "SERNetFormer": (
        "SERNetFormer",
        {
            "attention_boosting": False,
            "bridge_filters": 8,
            "bridge_dilation_rates": (1, 2),
            "skip_filters": 8,
            "decoder_filters": 8,
        },
    ),
    "SCRNet without contrast": ("SCRNet", {"contrast_weight": 0.0}),
    "SCRNet": ("SCRNet", {"contrast_warmup": 0, "max_samples": 64, "max_views": 5}),
}
SCRNET = {"filters": 8, "context_filters": 8, "embedding_filters": 8, "dropout": 0.0}
CHAOTIC = "SCRNet without contrast"
# Contrast is that of each replica but on JAX.
CASES = {
    "torch": ["FoRNet", "SERNetFormer", CHAOTIC],
    "tensorflow": ["FoRNet", "SERNetFormer", CHAOTIC],
    "jax": list(NETWORKS),
}
RESUMED = "FoRNet"  # the network whose run is cut and goes on elsewhere
NOISE = "another last bit"
XLA = "none, jit_compile=True"
STATISTICS = re.compile("norm.*/vars/[23]$")  # mean and variance, in a file of Keras
# Engine, processes, devices.
ENGINES: dict[str, list[tuple[str, int, int]]] = {
    "torch": [("ranks", 2, 2), ("ranks", 4, 4)],
    "tensorflow": [
        ("mirrored", 1, 4),
        ("multi_worker", 2, 2),
        ("mirrored", 1, 2),
        ("multi_worker", 2, 4),
        (XLA, 1, 1),
    ],
    "jax": [
        ("data_parallel", 1, 4),
        ("data_parallel", 2, 2),
        ("data_parallel", 1, 2),
        ("data_parallel", 2, 4),
    ],
}


# What a child runs ---------------------------------------------------------------------------


def pyramid(**_: Any) -> Any:
    """Four convolutions at strides 4, 8, 8, 8; biases would be moved by rounding alone."""
    import keras

    images = keras.Input((None, None, 3))
    x = keras.layers.Rescaling(1 / 127.5, offset=-1.0)(images)
    features = {}
    for level, stride in {"P2": 4, "P3": 2, "P4": 1, "P5": 1}.items():
        x = keras.layers.Conv2D(8, 3, strides=stride, padding="same", use_bias=False)(x)
        x = keras.layers.BatchNormalization(momentum=0.9)(x)
        features[level] = x = keras.layers.ReLU()(x)
    return keras.Model(images, features)


def recipe(name: str, root: Path) -> Any:
    """Five epochs of four steps on the pictures of `write_pictures`."""
    from keras_focusseg import training

    network, options = NETWORKS[name]
    return training.Recipe(
        name="equal",
        network=network,
        network_config={
            "backbone": "four_convolutions",
            **(SCRNET if network == "SCRNet" else {}),
            **options,
        },
        dataset="folder",
        augment={"steps": [{"step": "ScaleCrop", "size": [SIDE, SIDE]}, {"step": "Flip"}]},
        batch_size=BATCH,
        val_batch_size=1,
        epochs=EPOCHS,
        warmup_steps=4,
        learning_rate=1e-3,
        ema=0.9,
    )


def child(strategy: str, work: Path, folder: Path, networks: list[str], resumed: list[str]) -> None:
    """Trains networks into `folder`, and goes on with runs that were cut elsewhere."""
    devices = int(os.environ.get("DEVICES_OF_PROCESS", "1"))
    if os.environ["KERAS_BACKEND"] == "tensorflow" and devices > 1:
        import tensorflow as tf

        cpu = tf.config.list_physical_devices("CPU")[0]
        parts = [tf.config.LogicalDeviceConfiguration()] * devices
        tf.config.set_logical_device_configuration(cpu, parts)
    from keras_focusseg import backbones, training

    backbones._CONSTRUCTORS["four_convolutions"] = pyramid
    end = training.RunFolder.on_epoch_end

    def on_epoch_end(self: Any, epoch: int, logs: Any = None) -> None:
        end(self, epoch, logs)
        if self.spread.is_chief and epoch + 1 == CUT and self.folder.name == RESUMED:
            shutil.copytree(self.folder, folder / "cut", ignore=shutil.ignore_patterns(".lock"))

    training.RunFolder.on_epoch_end = on_epoch_end
    build = training.fit.build_model
    for name in networks:
        training.fit.build_model = partial(built, build, folder, name)
        of_run = recipe(name, work).replace(jit_compile=True if folder.name == XLA else "auto")
        training.train(of_run, work, folder / name, verbose=0, strategy=strategy)
    for run in resumed:
        training.train(recipe(RESUMED, work), work, run, True, verbose=0, strategy=strategy)


def built(build: Any, folder: Path, name: str, *arguments: Any, **options: Any) -> Any:
    """The network of a run, which is noted or changed before it is trained."""
    model = build(*arguments, **options)
    if folder.name == NOISE:
        change_last_bit(model)
    if folder.name == "none":
        model.save_weights(folder / f"{name}.weights.h5")
    return model


def change_last_bit(model: Any) -> None:
    """Moves each weight to the next larger or smaller number."""
    from keras import ops

    rng = np.random.default_rng(0)
    for weight in model.trainable_weights:
        value = ops.convert_to_numpy(weight)
        weight.assign(np.nextafter(value, rng.choice(np.float32([-9, 9]), value.shape)))


# What the parent does ------------------------------------------------------------------------


def write_pictures(root: Path, same_size: bool) -> None:
    """Coloured squares and their classes; some masks are ignored in part, or whole."""
    from PIL import Image

    rng = np.random.default_rng(0)
    for split, count in (("train", 16), ("val", 3)):
        for kind in ("images", "masks"):
            (root / kind / split).mkdir(parents=True)
        for i in range(count):
            side = SIDE + (0 if split == "train" or same_size else 16 * i)
            mask = rng.integers(0, 4, (side // 8, side // 8)).repeat(8, 0).repeat(8, 1)
            image = 50.0 * mask[..., None] + rng.normal(0, 20, (side, side, 3)) + 30
            void = VOID[i // 4] if split == "train" else VOID[i]
            mask[: round(void * side)] = 255
            for kind, array in (("images", image.clip(0, 255)), ("masks", mask)):
                Image.fromarray(array.astype("uint8")).save(root / kind / split / f"{i:02d}.png")
    (root / "masks" / "classes.txt").write_text("one\ntwo\nthree\nfour\n")


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens to."""
    probes = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports


def variables(engine: str, processes: int, devices: int, process: int, ports: list[int]) -> dict:
    """What the environment says to each process of an engine; torchrun says it itself."""
    own = devices // processes
    found = {"DEVICES_OF_PROCESS": str(own)}
    if engine == "multi_worker":
        workers = [f"127.0.0.1:{port}" for port in ports]
        task = {"type": "worker", "index": process}
        found["TF_CONFIG"] = json.dumps({"cluster": {"worker": workers}, "task": task})
    if engine == "data_parallel":
        found["XLA_FLAGS"] = (
            f"{os.environ['XLA_FLAGS']} --xla_force_host_platform_device_count={own}"
        )
        if processes > 1:
            found["KERAS_DISTRIBUTION_JOB_ADDRESSES"] = f"127.0.0.1:{ports[0]}"
            found["KERAS_DISTRIBUTION_NUM_PROCESSES"] = str(processes)
            found["KERAS_DISTRIBUTION_PROCESS_ID"] = str(process)
    return found


def run(backend: str, engine: str, processes: int, devices: int, arguments: dict[str, Any]) -> None:
    """Runs `child` in the processes of an engine until all have ended."""
    start = time.perf_counter()
    ports = free_ports(max(processes, 1))
    command = [sys.executable]
    count = processes
    if engine == "ranks":
        command += ["-m", "torch.distributed.run", "--nproc-per-node", str(processes)]
        command += ["--master-port", str(ports[0])]
        count = 1
    strategy = engine.partition(",")[0]
    command += [str(HERE), "--child", json.dumps({"strategy": strategy, **arguments}, default=str)]
    children = [
        subprocess.Popen(
            command,
            env={
                **os.environ,
                "KERAS_BACKEND": backend,
                **variables(engine, processes, devices, process, ports),
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for process in range(count)
    ]
    said = [each.communicate()[0] for each in children]
    if any(each.returncode for each in children):
        raise SystemExit("\n".join(said)[-6000:])
    seconds = time.perf_counter() - start
    print(f"{backend} {engine} {processes}x{devices // processes}: {seconds:.0f} s", flush=True)


def numbers(path: Path) -> dict[str, np.ndarray]:
    """All arrays of floating-point numbers in a file of Keras, by name."""
    import h5py

    found: dict[str, np.ndarray] = {}

    def take(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and item.dtype.kind == "f":
            found[name] = np.asarray(item).ravel()

    with h5py.File(path) as file:
        file.visititems(take)
    return found


def together(arrays: dict[str, np.ndarray], names: list[str]) -> np.ndarray:
    """Some arrays as one vector."""
    return np.concatenate([arrays[name] for name in names])


def distance(found: np.ndarray, expected: np.ndarray, origin: np.ndarray | float = 0.0) -> float:
    """Length of the difference, relative to that of `expected` from the origin."""
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected - origin))


def differences(found: Path, expected: Path) -> dict[str, float]:
    """How far a run is from the same on one device, beside which lie the weights of its start."""
    before = numbers(expected.parent / f"{expected.name}.weights.h5")
    ours, theirs = (max((run / "checkpoints").iterdir()) for run in (found, expected))
    ours_logs, theirs_logs = (
        json.loads((each / "state.json").read_text())["history"] for each in (ours, theirs)
    )
    ours, theirs = (numbers(each / "training.weights.h5") for each in (ours, theirs))
    statistics = sorted(name for name in before if STATISTICS.search(name))
    weights = sorted(set(before) - set(statistics))
    state = sorted((name for name in theirs if name.startswith("optimizer/")), key=place)
    state = state[: -len(statistics)]  # without the averages of the statistics, which come last
    relative = {"log_difference": 0.0, "mean_iou_difference": 0.0}
    for row, other in zip(ours_logs, theirs_logs, strict=True):
        for name, value in other.items():
            absolute = abs(row[name] - value)
            if name.endswith("mean_iou"):
                kind = "mean_iou_difference"
            else:
                kind, absolute = "log_difference", absolute / max(abs(value), 1e-3)
            relative[kind] = max(relative[kind], absolute)
    parts: dict[str, tuple[np.ndarray, ...]] = {
        "weight": tuple(together(arrays, weights) for arrays in (ours, theirs, before)),
        "statistics": tuple(together(arrays, statistics) for arrays in (ours, theirs, before)),
        "state": tuple(together(arrays, state) for arrays in (ours, theirs)),
    }
    return relative | {f"{name}_difference": distance(*part) for name, part in parts.items()}


def place(name: str) -> int:
    """The number of a variable among those of its owner: 12 for `optimizer/vars/12`."""
    return int(name.rsplit("/", 1)[1])


def verdict(row: dict[str, Any], noise: dict[str, float]) -> str:
    """`equal`, or what differs."""
    names = [name for name in DIFFERENCES if name != "mean_iou_difference"]
    far = [name for name in names if row[name] > max(LIMITS[name], 10 * noise.get(name, 0.0))]
    return (
        f"differs: {', '.join(name.removesuffix('_difference') for name in far)}"
        if far
        else "equal"
    )


def compare(
    backend: str, engines: list[tuple[str, int, int]], work: Path
) -> Iterator[dict[str, Any]]:
    """The cases of some engines one by one, with their differences from one device."""
    one, changed = work / backend / "none", work / backend / NOISE
    everything = {"work": work / backend, "networks": CASES[backend], "resumed": []}
    if not changed.exists():
        write_pictures(work / backend, same_size=backend == "jax")
        run(backend, "none", 1, 1, {**everything, "folder": one})
        run(backend, "none", 1, 1, {**everything, "folder": changed, "networks": [CHAOTIC]})
    noise = {CHAOTIC: differences(changed / CHAOTIC, one / CHAOTIC)}

    def row(case: tuple[Any, ...], resumed: str, name: str, folder: Path) -> dict[str, Any]:
        found = differences(folder, one / name)
        values = (backend, *case, resumed, name)
        return {
            **dict(zip(CASE, values, strict=True)),
            **found,
            "verdict": verdict(found, noise.get(name, {})),
        }

    yield row((f"none, {NOISE}", 1, 1), "", CHAOTIC, changed / CHAOTIC)
    for engine, processes, devices in engines:
        folder = work / backend / (XLA if engine == XLA else f"{engine}_{processes}_{devices}")
        case = (engine, processes, devices)
        away = folder / "from one device"
        if case == ENGINES[backend][0]:
            shutil.copytree(one / "cut", away)
        resumed = [away] if away.exists() else []
        networks = [name for name in CASES[backend] if not (folder / name).exists()]
        arguments = {**everything, "networks": networks, "resumed": resumed}
        run(backend, *case, {**arguments, "folder": folder})
        for name in CASES[backend]:
            yield row(case, "", name, folder / name)
        for each in resumed:
            yield row(case, each.name, RESUMED, each)
            home = Path(shutil.copytree(folder / "cut", folder / "on one device"))
            arguments = {**everything, "networks": [], "resumed": [home], "folder": one}
            run(backend, "none", 1, 1, arguments)
            yield row(case, home.name, RESUMED, home)


def write(rows: list[dict[str, Any]], new: dict[str, Any]) -> None:
    """Writes the table with a new row, in place of that of the same case, or at its end."""
    cases = [[str(row[name]) for name in CASE] for row in rows]
    case = [str(new[name]) for name in CASE]
    if case in cases:
        rows[cases.index(case)] = new
    else:
        rows.append(new)
        rows.sort(key=lambda row: list(ENGINES).index(row["backend"]))
    told = [row | {name: f"{float(row[name]):.1e}" for name in DIFFERENCES} for row in rows]
    write_rows(RESULTS, [*CASE, *DIFFERENCES, "verdict"], told)


def set_environment() -> None:
    """What the processes of all cases inherit."""
    environment = {
        "PYTHONPATH": str(HERE.parents[1]),
        "OMP_NUM_THREADS": "1",
        "CUDA_VISIBLE_DEVICES": "",
        "TF_CPP_MIN_LOG_LEVEL": "3",
        # Compiles fast, and computes the same on any number of devices.
        "XLA_FLAGS": "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true",
    }
    os.environ.update(environment)


def main() -> None:
    """Runs cases and writes their rows into the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--only", choices=list(ENGINES), help="one backend")
    parser.add_argument("--devices", help="processes x devices, such as 2x4: these engines alone")
    parser.add_argument("--work", type=Path, help="folder to leave the runs in")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        arguments = json.loads(given.child)
        paths = {name: Path(arguments.pop(name)) for name in ("work", "folder")}
        child(**paths, **arguments)
        return
    set_environment()
    rows = list(csv.DictReader(RESULTS.open())) if RESULTS.is_file() else []
    with tempfile.TemporaryDirectory() as temporary:
        for backend in [given.only] if given.only else ENGINES:
            engines = [
                each for each in ENGINES[backend] if given.devices in (None, f"{each[1]}x{each[2]}")
            ]
            for row in compare(backend, engines, given.work or Path(temporary)):
                write(rows, row)
    print(RESULTS.read_text())


if __name__ == "__main__":
    main()
