"""The operators that cost most in a pass or a training step of our networks.

    KERAS_BACKEND=torch python benchmarks/operators.py
    KERAS_BACKEND=tensorflow python benchmarks/operators.py --networks SCRNet --modes training
    KERAS_BACKEND=jax python benchmarks/operators.py --networks FoR-Net SCRNet

One image of 480x360, one thread, by the profiler of the backend, as `peers.py` runs it. `ms` is the
time of one run inside the operators of one name, without those that they call, and `share` its part
of that of the run. `(none)` is what a run without the profiler takes beyond the sum of its
operators: Python, on PyTorch and JAX. Profilers take time themselves: the shares say more than the
times. Profiles of TensorFlow are read by JAX, which must be installed beside it. On JAX an operator
is what XLA made of several: it is called by the costliest kind of operation in it (`KINDS`),
"elementwise" where there is none of them.

Adds its rows to `benchmarks/results/operators.csv`, in place of those of the same networks.
"""

from __future__ import annotations

import argparse
import collections
import csv
import os
import re
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

for variable in ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"):
    os.environ[variable] = "1"  # before the backend is imported
HLO = tempfile.TemporaryDirectory()  # what XLA makes of passes and steps on JAX
os.environ["JAX_ENABLE_COMPILATION_CACHE"] = "false"  # what it holds is not written there
os.environ["XLA_FLAGS"] = " ".join(
    [
        os.environ.get("XLA_FLAGS", ""),
        f"--xla_dump_to={HLO.name} --xla_dump_hlo_as_text --xla_dump_hlo_module_re=_step",
    ]
)
if hasattr(os, "sched_setaffinity"):  # JAX has as many threads as processors
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:1])

import keras  # noqa: E402
from peer_worker import WARM_UP_RUNS, Run, keras_run  # noqa: E402
from peers import OURS  # noqa: E402
from result_tables import write_rows  # noqa: E402

RESULTS = Path(__file__).resolve().parent / "results" / "operators.csv"
CASE = ("backend", "mode", "network")
COLUMNS = (*CASE, "operator", "calls", "ms", "share")
RUNS = 3
TIMED = 7  # runs without the profiler
SHOWN = 8  # operators of each case
KINDS = (
    "convolution", "dot", "scatter", "gather", "sort", "reduce-window", "reduce",
    "rng-bit-generator",
)  # fmt: skip

Costs = list[tuple[str, int, float]]
"""Operators, their calls and their milliseconds in one run."""


def of_torch(run: Run) -> Costs:
    """By PyTorch's profiler."""
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CPU]) as found:
        for _ in range(RUNS):
            run()
    return [
        (event.key, event.count // RUNS, event.self_cpu_time_total / 1e3 / RUNS)
        for event in found.key_averages()
    ]


def of_tensorflow(run: Run) -> Costs:
    """By TensorFlow's profiler: the operations of the graph."""
    import tensorflow as tf
    from jax.profiler import ProfileData

    with tempfile.TemporaryDirectory() as folder:
        tf.profiler.experimental.start(folder)
        for _ in range(RUNS):
            run()
        tf.profiler.experimental.stop()
        (path,) = Path(folder).rglob("*.xplane.pb")
        data = ProfileData.from_file(str(path))
    spent: collections.Counter[str] = collections.Counter()
    calls: collections.Counter[str] = collections.Counter()
    for plane in data.planes:
        for line in plane.lines:
            add_own_times(list(line.events), spent, calls)
    return [(name, calls[name] // RUNS, ns / 1e6 / RUNS) for name, ns in spent.items()]


def of_jax(run: Run) -> Costs:
    """By JAX' profiler: what XLA joined, by the costliest kind of operation in it."""
    import jax
    from jax.profiler import ProfileData

    options = jax.profiler.ProfileOptions()
    options.python_tracer_level = 0
    with tempfile.TemporaryDirectory() as folder:
        jax.profiler.start_trace(folder, profiler_options=options)
        for _ in range(RUNS):
            run()
        jax.profiler.stop_trace()
        (path,) = Path(folder).rglob("*.xplane.pb")
        data = ProfileData.from_file(str(path))
    kinds = kinds_of(Path(HLO.name))
    spent: collections.Counter[str] = collections.Counter()
    calls: collections.Counter[str] = collections.Counter()
    for plane in data.planes:
        for line in plane.lines:
            for event in line.events:
                found = dict(event.stats)
                if not str(found.get("hlo_module")).endswith("_step"):
                    continue
                kind = kinds[found["hlo_op"]]
                spent[kind] += event.duration_ns
                calls[kind] += 1
    return [(name, calls[name] // RUNS, ns / 1e6 / RUNS) for name, ns in spent.items()]


def kinds_of(folder: Path) -> dict[str, str]:
    """The costliest kind of operation in each instruction of what XLA compiled last."""
    text = max(folder.glob("*.cpu_after_optimizations.txt")).read_text()  # they are numbered
    computation = ""
    held: dict[str, set[str]] = collections.defaultdict(set)  # kinds by computation
    called: dict[str, tuple[str, str]] = {}  # an instruction's own kind, and what it calls
    for line in text.splitlines():
        if opened := re.match(r"(?:ENTRY )?%?(\S+) \(.*\{$", line):
            computation = opened[1]
        elif found := re.match(r"\s+(?:ROOT )?%?(\S+) = .*? ([a-z][\w-]*)\(", line):
            held[computation].add(found[2])
            calls = re.search(r"calls=%?([\w.-]+)", line)
            called[found[1]] = (found[2], calls[1] if calls else "")
    return {
        name: next((kind for kind in KINDS if kind in {own, *held[inner]}), "elementwise")
        for name, (own, inner) in called.items()
    }


def seconds(run: Run) -> float:
    """What a run takes on the clock."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def add_own_times(events: list[Any], spent: Any, calls: Any) -> None:
    """Adds the nanoseconds of a thread's operations, without those inside them.

    Operations are called `name:type`; neither the function that holds them all nor what else a
    thread does is counted.
    """
    outer: list[tuple[str, float]] = []  # those that are not over yet: name and end
    for event in sorted(events, key=lambda event: (event.start_ns, -event.duration_ns)):
        if ":" not in event.name or "::" in event.name or "__inference" in event.name:
            continue
        while outer and outer[-1][1] <= event.start_ns:
            outer.pop()
        if outer:
            spent[outer[-1][0]] -= event.duration_ns
        name = event.name.split(":")[-1]
        spent[name] += event.duration_ns
        calls[name] += 1
        outer.append((name, event.start_ns + event.duration_ns))


def main() -> None:
    """Profiles what was asked for and adds the costliest operators to the results."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--networks", nargs="+", choices=OURS, default=list(OURS))
    modes = ("inference", "training")
    parser.add_argument("--modes", nargs="+", choices=modes, default=modes)
    given = parser.parse_args()
    backend = keras.backend.backend()
    profiled = {"torch": of_torch, "tensorflow": of_tensorflow, "jax": of_jax}[backend]
    rows = list(csv.DictReader(RESULTS.open())) if RESULTS.is_file() else []
    for network in given.networks:
        for mode in given.modes:
            case = {"library": "keras_focusseg", "build": OURS[network], "mode": mode}
            run, _ = keras_run({**case, "batch": 1, "height": 360, "width": 480})
            for _ in range(WARM_UP_RUNS):
                run()
            clock = statistics.median(seconds(run) for _ in range(TIMED))
            costs = profiled(run)
            rest = 1e3 * clock - sum(ms for _, _, ms in costs)
            costs = sorted([*costs, ("(none)", 1, max(rest, 0.0))], key=lambda cost: -cost[2])
            total = sum(ms for _, _, ms in costs)
            key = dict(zip(CASE, (backend, mode, network), strict=True))
            rows = [row for row in rows if any(row[name] != key[name] for name in CASE)]
            for operator, calls, ms in costs[:SHOWN]:
                found = {"operator": operator, "calls": calls}
                found |= {"ms": f"{ms:.1f}", "share": f"{ms / total:.3f}"}
                rows.append({**key, **found})
    rows.sort(key=lambda row: [row[name] for name in CASE])  # stable: the costliest stay first
    write_rows(RESULTS, COLUMNS, rows)
    print(RESULTS.read_text())


if __name__ == "__main__":
    main()
