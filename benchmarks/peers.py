"""Our networks and those of other libraries: time of a pass and of a training step, and memory.

    python benchmarks/peers.py --python keras_hub=HUB/bin/python \
        --python transformers=HF/bin/python --python smp=SMP/bin/python
    python benchmarks/peers.py --batches 8 --backends tensorflow torch --python ...
    python benchmarks/peers.py --size 1024x2048 --modes inference --python ...
    python benchmarks/peers.py --threads 2 --networks "FoR-Net" "SegFormer-B0" --python ...
    python benchmarks/peers.py --size 1024x2048 --modes training --apart --python ...

Each network is a process in the environment of its library (`--python`; this one where none is
named), pinned to as many processors as there are threads. All that share backend, mode, size, batch
and threads are measured in turns, one pass or step of each and again, so that what else the machine
does meets all alike. With `--apart`, where all of them do not fit into memory together, one is
measured after the other. A library that is not installed is left out, and told of.

A pass goes from NumPy images to NumPy logits at the size of the images; a training step is forward,
loss, backward and AdamW, without metrics, ours with the loss of its paper, the others with
cross-entropy. All weights are random, all networks have 11 classes and compute in float32. The
peers of PyTorch run plainly, channels last. Where a network does not take the size, it gets the
nearest that it takes: SegFormer of KerasHub squares alone, DeepLabV3+ and FPN multiples of 32. Ours
pad inside. `onnxruntime` and `openvino` run our networks as `focusseg export` writes them.

`ms` is the median of an image on the clock, `processor_ms` that of the processor time of all
threads, each with its quartiles; `gmac` are the multiply-accumulates of one image in the forward
pass, counted by PyTorch's `FlopCounterMode`, and `ms_per_gmac` divides by them in training too;
`peak_mb` is the most that the process held, libraries and compiler included.

Adds its rows to `benchmarks/results/peers.csv`, in place of those of the same turns.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import dataclasses
import fnmatch
import itertools
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from result_tables import write_rows

HERE = Path(__file__).resolve().parent
WORKER = HERE / "peer_worker.py"
RESULTS = HERE / "results" / "peers.csv"
LOG = Path("runs") / "peers.log"  # what the libraries print
KERAS = ("tensorflow", "torch", "jax")
TURNS = ("backend", "mode", "image", "batch", "threads")  # what is measured in one go
COLUMNS = (
    *TURNS, "library", "network", "height", "width", "ms", "ms_low", "ms_high", "processor_ms",
    "processor_low", "processor_high", "gmac", "ms_per_gmac", "parameters", "peak_mb", "rounds",
    "versions", "cores",
)  # fmt: skip
MOST_ROUNDS = 25

Row = dict[str, str]
Case = dict[str, Any]
Facts = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Contender:
    """One network of one library.

    Args:
        library: Whose environment it needs.
        network: What the table calls it.
        build: What `peer_worker.py` builds: a preset, a class, a kind.
        backends: Where it runs.
        multiple: Sides of its images are multiples of this.
        square: Its images are squares.
    """

    library: str
    network: str
    build: str
    backends: tuple[str, ...]
    multiple: int = 1
    square: bool = False

    def size(self, height: int, width: int) -> tuple[int, int]:
        """Height and width of the images that it gets for those wanted."""
        if self.square:
            side = self.multiple * round((height * width) ** 0.5 / self.multiple)
            return side, side
        return self._up(height), self._up(width)

    def _up(self, side: int) -> int:
        return -(-side // self.multiple) * self.multiple


OURS = {
    "FoR-Net": "fornet_mobilenet_edgetpu_camvid",
    "SCRNet": "scrnet_mobilenet_edgetpu_camvid",
    "SERNet-Former": "sernet_former_mobilenet_edgetpu_camvid",
}
BEFORE = "keras_focusseg before"
RUNTIMES = {"onnxruntime": ".onnx", "openvino": ".xml"}
OWN = ("keras_focusseg", BEFORE, *RUNTIMES)  # libraries that need a checkout of this one
CONTENDERS = (
    *(Contender("keras_focusseg", name, preset, KERAS) for name, preset in OURS.items()),
    *(
        Contender(runtime, name, preset, ("runtimes",))
        for runtime in RUNTIMES
        for name, preset in OURS.items()
    ),
    Contender("keras_hub", "SegFormer-B0", "segformer", KERAS, 32, square=True),
    Contender("keras_hub", "DeepLabV3+ ResNet-50", "deeplab", KERAS, 32),
    Contender("transformers", "SegFormer-B0", "segformer", ("torch",)),
    Contender("smp", "DeepLabV3+ MobileNet-EdgeTPU", "DeepLabV3Plus", ("torch",), 32),
    Contender("smp", "FPN MobileNet-EdgeTPU", "FPN", ("torch",), 32),
)


class WorkerFailed(RuntimeError):
    """A process that cannot measure its case."""


class Worker:
    """A process of `peer_worker.py`, ready to run its case.

    Args:
        python: The interpreter.
        case: What it builds.
        errors: Where its standard error goes.

    Raises:
        WorkerFailed: It cannot.
    """

    def __init__(self, python: str, case: Case, errors: Any) -> None:
        threads = str(case["threads"])
        environment = {
            **os.environ,
            "CUDA_VISIBLE_DEVICES": "",
            "TF_CPP_MIN_LOG_LEVEL": "3",
            "OMP_NUM_THREADS": threads,
            "TF_NUM_INTRAOP_THREADS": threads,
            "TF_NUM_INTEROP_THREADS": threads,
            "KERAS_BACKEND": case["backend"],
        }
        if case["library"] in OWN:
            environment["PYTHONPATH"] = case.get("checkout", str(HERE.parent))
        self.process = subprocess.Popen(
            [python, str(WORKER)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env=environment,
        )
        self.facts = self.ask(case)

    def ask(self, message: Any) -> Facts:
        """Sends a message and waits for the answer.

        Raises:
            WorkerFailed: It answers with an error, or not at all.
        """
        assert self.process.stdin is not None and self.process.stdout is not None
        try:
            self.process.stdin.write(json.dumps(message) + "\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        except BrokenPipeError:
            line = ""
        found: Facts = json.loads(line or '{"error": "the process ended"}')
        if "error" in found:
            self.stop()
            raise WorkerFailed(found["error"])
        return found

    def stop(self) -> None:
        """Ends the process; it has nothing to lose."""
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            with contextlib.suppress(BrokenPipeError):  # what it did not read any more
                pipe.close()


def answer_of(python: str, case: Case, errors: Any) -> Facts:
    """What a process answers to a case, and is asked no more."""
    worker = Worker(python, case, errors)
    worker.stop()
    return worker.facts


def take_turns(workers: Mapping[str, Worker], least: int, seconds: float) -> dict[str, Facts]:
    """Runs each worker once, and again, and ends them.

    Args:
        workers: By any name.
        least: So many rounds at least.
        seconds: Rounds go on for so long, up to `MOST_ROUNDS`.

    Returns:
        By name, of those that did not fail: `"clock"` and `"processor"`, the seconds of each round,
        `"peak_bytes"`, and what they said when they were ready.
    """
    found: dict[str, Facts] = {
        name: {"clock": [], "processor": [], **worker.facts} for name, worker in workers.items()
    }
    start = time.monotonic()

    def ask(name: str, message: str) -> Facts:
        try:
            return workers[name].ask(message)
        except WorkerFailed as failure:
            print(f"{name} is left out: {failure}", flush=True)
            del found[name]
            return {}

    for number in range(MOST_ROUNDS):
        if number >= least and time.monotonic() - start > seconds:
            break
        for name in list(found):
            for clock, spent in ask(name, "run").items():
                found[name][clock].append(spent)
    for name in list(found):
        found.get(name, {}).update(ask(name, "end"))
        workers[name].stop()
    return found


@dataclasses.dataclass(frozen=True)
class Session:
    """What holds for all that one call of the script measures.

    Args:
        pythons: The interpreter of each library.
        contenders: Who takes part.
        folder: Where exported files lie.
        errors: Where the standard error of the processes goes.
        least: Rounds at least.
        seconds: Rounds go on for so long.
        before: A checkout of this library, for the contenders of `BEFORE`.
        apart: One contender is measured after the other, not in turns.
    """

    pythons: Mapping[str, str]
    contenders: Sequence[Contender]
    folder: Path
    errors: Any
    least: int
    seconds: float
    before: str
    apart: bool

    def python(self, library: str) -> str:
        """The interpreter of a library."""
        return self.pythons.get(library, sys.executable)

    def turns(self, case: Case, rows: Sequence[Row]) -> list[Row]:
        """The rows of all contenders of one backend, mode, size, batch and number of threads.

        Args:
            case: These, as the columns `TURNS` are called, the size as height and width.
            rows: Those that the table has, whose costs are not counted again.
        """
        here = [c for c in self.contenders if case["backend"] in c.backends]
        made: list[Row] = []
        for together in [[c] for c in here] if self.apart else [here]:
            made += self._side_by_side(together, case, [*rows, *made])
        return made

    def _side_by_side(
        self, contenders: Sequence[Contender], case: Case, rows: Sequence[Row]
    ) -> list[Row]:
        """The rows of contenders that run side by side."""
        cases: dict[str, Case] = {}
        workers: dict[str, Worker] = {}
        by_name: dict[str, Contender] = {}
        for contender in contenders:
            name = f"{contender.library} {contender.network}"
            height, width = contender.size(case["height"], case["width"])
            own = {**case, "library": contender.library, "build": contender.build}
            own |= {"height": height, "width": width}
            if contender.library == BEFORE:
                own["checkout"] = self.before
            try:
                workers[name] = self._worker(own)
            except WorkerFailed as failure:
                print(f"{name} is left out: {failure}", flush=True)
                continue
            cases[name], by_name[name] = own, contender
            print(f"{name} is ready", flush=True)
        made = []
        for name, facts in take_turns(workers, self.least, self.seconds).items():
            row = {column: str(case[column]) for column in TURNS}
            own, contender = cases[name], by_name[name]
            row |= {"library": contender.library, "network": contender.network}
            row |= {side: str(own[side]) for side in ("height", "width")}
            row |= self._costs(contender, own, [*rows, *made])
            made.append(row | figures(facts, case["batch"], float(row["gmac"])))
        return made

    def _worker(self, case: Case) -> Worker:
        """A process that is ready; for a runtime the file is written first."""
        library = case["library"]
        if library in RUNTIMES:
            size = f"{case['height']}x{case['width']}"
            file = self.folder / f"{case['build']}_{size}{RUNTIMES[library]}"
            case = {**case, "file": str(file)}
            if not file.exists():
                export = {**case, "backend": "tensorflow", "mode": "export"}
                answer_of(self.python(library), export, self.errors)
        return Worker(self.python(library), case, self.errors)

    def _costs(self, contender: Contender, case: Case, rows: Sequence[Row]) -> Row:
        """GMAC and parameters: of an earlier row, or counted on PyTorch.

        Rows of a network that has changed since must leave the table first.
        """
        library = "keras_focusseg" if contender.library in OWN else contender.library
        same = {"network": contender.network, "library": library}
        same |= {side: str(case[side]) for side in ("height", "width")}
        for row in rows:
            if all(row[column] == value for column, value in same.items()):
                return {column: row[column] for column in ("gmac", "parameters")}
        count = {**case, "library": library, "backend": "torch", "mode": "count", "batch": 1}
        facts = answer_of(self.python(library), count, self.errors)
        return {"gmac": f"{facts['macs'] / 1e9:.3f}", "parameters": str(facts["parameters"])}


def figures(facts: Facts, batch: int, gmac: float) -> Row:
    """The columns of what was measured."""
    row = {}
    for column, clock in (("ms", "clock"), ("processor_ms", "processor")):
        values = [1e3 * spent / batch for spent in facts[clock]]
        low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
        short = column.removesuffix("_ms")
        row |= {
            column: f"{middle:.1f}",
            f"{short}_low": f"{low:.1f}",
            f"{short}_high": f"{high:.1f}",
        }
    return row | {
        "ms_per_gmac": f"{float(row['ms']) / gmac:.1f}",
        "peak_mb": f"{facts['peak_bytes'] / 1e6:.0f}",
        "rounds": str(len(facts["clock"])),
        "versions": facts["versions"],
        "cores": str(os.cpu_count()),
    }


def replaced(rows: Sequence[Row], made: Sequence[Row]) -> list[Row]:
    """A table with new rows in place of all those of their turns."""

    def turns(row: Row) -> tuple[str, ...]:
        return tuple(row[column] for column in TURNS)

    new = {turns(row) for row in made}
    kept = [row for row in rows if turns(row) not in new]
    order = (*KERAS, "runtimes")

    def place(row: Row) -> tuple[Any, ...]:
        pixels = math.prod(map(int, row["image"].split("x")))
        return (
            row["mode"],
            pixels,
            int(row["threads"]),
            int(row["batch"]),
            order.index(row["backend"]),
        )

    return sorted([*kept, *made], key=place)  # stable: contenders stay in their order


def main() -> None:
    """Measures what was asked for; writes the table after each turns."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "--python", action="append", default=[], metavar="LIBRARY=PATH", help="its interpreter"
    )
    backends = (*KERAS, "runtimes")
    parser.add_argument("--backends", nargs="+", choices=backends, default=backends)
    modes = ("inference", "training")
    parser.add_argument("--modes", nargs="+", choices=modes, default=modes)
    parser.add_argument("--batches", nargs="+", type=int, default=[1])
    parser.add_argument("--size", default="360x480", help="HEIGHTxWIDTH")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--networks", nargs="+", default=["*"], help="names or wildcards")
    parser.add_argument("--before", metavar="CHECKOUT", default="", help="of this library, as well")
    parser.add_argument("--rounds", type=int, default=5, help="at least")
    parser.add_argument("--seconds", type=float, default=15.0, help="rounds go on for so long")
    parser.add_argument("--apart", action="store_true", help="one after the other, not in turns")
    given = parser.parse_args()
    chosen = [c for c in CONTENDERS if any(fnmatch.fnmatch(c.network, p) for p in given.networks)]
    if given.before:
        ours = [c for c in chosen if c.library == "keras_focusseg"]
        chosen = [*(dataclasses.replace(c, library=BEFORE) for c in ours), *chosen]
    height, width = map(int, given.size.split("x"))
    if hasattr(os, "sched_setaffinity"):  # the processes inherit it
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: given.threads])
    rows = list(csv.DictReader(RESULTS.open())) if RESULTS.is_file() else []
    LOG.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, open(LOG, "w") as errors:
        pythons = dict(pair.split("=", 1) for pair in given.python)
        session = Session(
            pythons,
            chosen,
            Path(folder),
            errors,
            given.rounds,
            given.seconds,
            given.before,
            given.apart,
        )
        for backend, mode, batch in itertools.product(given.backends, given.modes, given.batches):
            if backend == "runtimes" and (mode, batch) != ("inference", 1):
                continue  # files are written for one image
            case = {"backend": backend, "mode": mode, "image": given.size, "batch": batch}
            case |= {"threads": given.threads, "height": height, "width": width}
            rows = replaced(rows, session.turns(case, rows))
            write_rows(RESULTS, COLUMNS, rows)
    print(RESULTS.read_text())


if __name__ == "__main__":
    main()
