"""What strategies add to a step: one, two and four virtual devices on the cores of one machine.

    KERAS_BACKEND=tensorflow python benchmarks/strategy_overhead.py
    KERAS_BACKEND=torch python benchmarks/strategy_overhead.py --devices 2

The compact FoR-Net takes steps of one global batch in `fit`, under `mirrored`, `data_parallel` or
`ranks`, and on one device without a strategy. No device here is more than a share of the same
cores, so no step can be shorter: this is no measure of how training speeds up. What a step takes
more of the processor's time, of all threads and processes, is what the strategy costs: smaller
convolutions, sums between replicas, work that is done once for each of them.

Each case is a process (each rank one) that compiles, and then takes its steps when it is its turn.
`ratio` is the median over the rounds of the processor time of a step, relative to that without a
strategy in the same round; `spread` is where the middle half of the rounds lies.

Writes the rows of its backend into `benchmarks/results/strategy_overhead.csv`.
"""

from __future__ import annotations

import argparse
import csv
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import equal_training
import numpy as np
from result_tables import write_rows

HERE = Path(__file__).resolve()
RESULTS = HERE.parent / "results" / "strategy_overhead.csv"
MEASURES = ("processor_ms", "ratio", "spread", "cores")
COLUMNS = ("backend", "strategy", "devices", "height", "width", "batch", *MEASURES)
ENGINES = {"tensorflow": "mirrored", "jax": "data_parallel", "torch": "ranks"}
ALONE = ("none", 1)
TOLD = "a step took "


def child(strategy: str, size: tuple[int, int], batch: int, steps: int) -> None:
    """Takes steps whenever it is asked to, and says what processor time a step took."""
    devices = int(os.environ["DEVICES_OF_PROCESS"])
    if os.environ["KERAS_BACKEND"] == "tensorflow" and devices > 1:
        import tensorflow as tf

        cpu = tf.config.list_physical_devices("CPU")[0]
        parts = [tf.config.LogicalDeviceConfiguration()] * devices
        tf.config.set_logical_device_configuration(cpu, parts)
    import train_step

    from keras_focusseg import training

    spread = training.distribution(strategy)
    own = batch // spread.processes
    rng = np.random.default_rng(spread.process)
    images = rng.integers(0, 256, (steps * own, *size, 3)).astype("uint8")
    masks = rng.integers(0, 11, (steps * own, *size)).astype("int32")
    with spread.scope():
        model = train_step.network(train_step.PRESETS["FoRNet"], ema=0.999)
        while True:
            _, seconds = train_step.fit(model, images, masks, own, ours=True)
            print(f"{TOLD}{seconds}", flush=True)
            if not sys.stdin.readline():
                return


def started(backend: str, strategy: str, devices: int, given: argparse.Namespace) -> list[Any]:
    """The processes of a case, once they have compiled and taken their first steps."""
    port = equal_training.free_ports(1)[0]
    processes = devices if strategy == "ranks" else 1
    command = [sys.executable, str(HERE), "--child", strategy, "--batch", str(given.batch)]
    command += ["--size", *map(str, given.size), "--steps", str(given.steps)]
    found = []
    for number in range(processes):
        described = equal_training.variables(strategy, processes, devices, number, [port])
        if strategy == "ranks":
            described |= {"RANK": str(number), "WORLD_SIZE": str(processes)}
            described |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
        process = subprocess.Popen(
            command,
            env={**os.environ, "KERAS_BACKEND": backend, **described},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        found.append(process)
    taken(found)
    return found


def taken(processes: list[Any]) -> float:
    """Processor seconds of a step, of all processes of a case, once they have said it."""
    total = 0.0
    for process in processes:
        line = process.stdout.readline()
        while line and not line.startswith(TOLD):
            line = process.stdout.readline()
        if not line:
            raise SystemExit(f"A process ended with code {process.wait()}.")
        total += float(line.removeprefix(TOLD))
    return total


def turn(processes: list[Any]) -> float:
    """Lets a case take its steps; processor seconds of one of them."""
    for process in processes:
        process.stdin.write("\n")
        process.stdin.flush()
    return taken(processes)


def main() -> None:
    """Measures in turns and writes the medians."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--devices", nargs="+", type=int, default=[2, 4])
    parser.add_argument("--size", type=int, nargs=2, default=(64, 96), help="height and width")
    parser.add_argument("--batch", type=int, default=8, help="of all devices together")
    parser.add_argument("--steps", type=int, default=10, help="of a turn")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        child(given.child, tuple(given.size), given.batch, given.steps)
        return
    equal_training.set_environment()
    os.environ["XLA_FLAGS"] = ""  # compiled as runs are
    backend = os.environ["KERAS_BACKEND"]
    names = [ALONE, *((ENGINES[backend], devices) for devices in given.devices)]
    cases = {case: started(backend, *case, given) for case in names}
    seconds: dict[tuple[str, int], list[float]] = {case: [] for case in names}
    for _ in range(given.rounds):
        for case, processes in cases.items():
            seconds[case].append(turn(processes))
            print(*case, f"{1e3 * seconds[case][-1]:.0f} ms", flush=True)
    for processes in cases.values():
        for process in processes:
            process.communicate()  # no line to its input: it ends
    rows = list(csv.DictReader(RESULTS.open())) if RESULTS.is_file() else []
    rows = [row for row in rows if row["backend"] != backend]
    for case, values in seconds.items():
        low, ratio, high = np.quantile(np.divide(values, seconds[ALONE]), (0.25, 0.5, 0.75))
        figures = (f"{1e3 * np.median(values):.0f}", f"{ratio:.2f}", f"{low:.2f} to {high:.2f}")
        row = (backend, *case, *given.size, given.batch, *figures, len(os.sched_getaffinity(0)))
        rows.append(dict(zip(COLUMNS, map(str, row), strict=True)))
    write_rows(RESULTS, COLUMNS, rows)
    print(RESULTS.read_text())


if __name__ == "__main__":
    main()
