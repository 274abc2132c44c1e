"""Processes that train together, one of which is killed or stopped: what becomes of the others.

    python benchmarks/killed_workers.py
    python benchmarks/killed_workers.py --only jax --signals SIGKILL --victims 0

Two processes on this machine train the FoR-Net of `benchmarks/equal_training.py` together. After
two epochs one of them gets a signal: SIGKILL ends it, SIGSTOP lets it live and do nothing, and by
SIGUSR1 its Python waits for ever while its other threads live on, as in a feed that hangs. `victim`
is its number; process 0 is the one that writes, and the one that JAX' service for all lives in.

- `seconds`: from the signal until the other process has ended by itself, and `code`, how it ended;
  after SIGUSR1 until both have. After SIGSTOP and SIGUSR1 with `limit` seconds in place of the 600
  that processes wait for each other, and after which, and 30 more, each looks after itself;
- `says_resume`: whether the other process said that all have to be started again with `--resume`;
- `resumed_at`: epochs of the run that went on from what they left, on one device, to its end;
- `load`: processes of the machine that wanted one of its `cores` at the signal. Where there are
  many more, much of `seconds` is waiting for a core.

Writes `benchmarks/results/killed_workers.csv`, in place of the rows of the same cases.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import equal_training
from result_tables import write_rows

HERE = Path(__file__).resolve()
RESULTS = HERE.parent / "results" / "killed_workers.csv"
CASE = ("backend", "engine", "signal", "victim")
COLUMNS = (*CASE, "limit", "seconds", "code", "says_resume", "resumed_at", "load", "cores")
ENGINES = {"tensorflow": "multi_worker", "jax": "data_parallel", "torch": "ranks"}
EPOCHS, KILLED_AFTER = 12, 2
LIMITS = {"SIGKILL": 600, "SIGSTOP": 60, "SIGUSR1": 30}  # seconds that one waits for the other
LONGEST = 1800  # seconds until a try has failed


def child(work: Path, strategy: str, limit: int) -> None:
    """Trains, or goes on with one device."""
    from keras_focusseg import backbones, training
    from keras_focusseg.training import watchdog

    signal.signal(signal.SIGUSR1, lambda *_: time.sleep(LONGEST))
    watchdog.TIMEOUT_SECONDS = limit
    backbones._CONSTRUCTORS["four_convolutions"] = equal_training.pyramid
    recipe = equal_training.recipe("FoRNet", work)
    recipe = recipe.replace(epochs=EPOCHS, validate_every=EPOCHS)
    resume = strategy == "none"
    training.train(recipe, work, work / "run", resume=resume, verbose=0, strategy=strategy)


def started(backend: str, work: Path, strategy: str, limit: int, **variables: str) -> Any:
    """A process that runs `child`; what it says goes to a file, which no pipe can hold up."""
    given = json.dumps({"work": str(work), "strategy": strategy, "limit": limit})
    number = variables.pop("NUMBER", "alone")
    with open(work / f"said_{number}.txt", "w") as said:
        return subprocess.Popen(
            [sys.executable, str(HERE), "--child", given],
            env={**os.environ, "KERAS_BACKEND": backend, **variables},
            stdout=said,
            stderr=subprocess.STDOUT,
        )


def wait(until: Any, what: str) -> None:
    """Looks again and again until something is true."""
    end = time.monotonic() + LONGEST
    while not until():
        if time.monotonic() > end:
            raise TimeoutError(f"{what} took longer than {LONGEST} seconds.")
        time.sleep(0.1)


def epochs_in(log: Path) -> int:
    """Epochs that a log has rows of."""
    return max(len(log.read_text().splitlines()) - 1, 0) if log.is_file() else 0


def tried(backend: str, name: str, victim: int, work: Path) -> dict[str, Any]:
    """What happens to the other process, and to the run that is resumed."""
    engine = ENGINES[backend]
    equal_training.write_pictures(work, same_size=True)
    ports = equal_training.free_ports(2)
    both = []
    for number in range(2):
        described = equal_training.variables(engine, 2, 2, number, ports)
        if engine == "ranks":
            described |= {"RANK": str(number), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1"}
            described |= {"MASTER_PORT": str(ports[0])}
        both.append(started(backend, work, engine, LIMITS[name], NUMBER=str(number), **described))
    log, other = work / "run" / "log.csv", both[1 - victim]
    ending = both if name == "SIGUSR1" else [other]
    try:
        wait(lambda: epochs_in(log) >= KILLED_AFTER or other.poll() is not None, "The start")
        start, load = time.monotonic(), os.getloadavg()[0]
        both[victim].send_signal(signal.Signals[name])
        wait(lambda: None not in [each.poll() for each in ending], "The end of the others")
        seconds = time.monotonic() - start
    finally:
        for process in both:
            process.kill()
            process.wait()
    done = epochs_in(log)
    again = started(backend, work, "none", LIMITS[name])
    if again.wait(LONGEST):
        raise SystemExit((work / "said_alone.txt").read_text()[-4000:])
    said = (work / f"said_{1 - victim}.txt").read_text()
    print(said[-2000:])
    return {
        **dict(zip(CASE, (backend, engine, name, victim), strict=True)),
        "limit": LIMITS[name],
        "seconds": f"{seconds:.1f}",
        "code": other.returncode,
        "says_resume": "Start all of them again with --resume" in said,
        "resumed_at": done if epochs_in(log) == EPOCHS else "not",
        "load": f"{load:.0f}",
        "cores": os.cpu_count(),
    }


def main() -> None:
    """Runs the cases and writes their rows."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--only", choices=list(ENGINES), help="one backend")
    parser.add_argument("--signals", nargs="+", choices=LIMITS, default=list(LIMITS))
    parser.add_argument("--victims", nargs="+", type=int, default=[1], help="their numbers")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        arguments = json.loads(given.child)
        child(Path(arguments.pop("work")), **arguments)
        return
    equal_training.set_environment()
    rows: list[dict[str, Any]] = list(csv.DictReader(RESULTS.open())) if RESULTS.is_file() else []
    for backend in [given.only] if given.only else ENGINES:
        for name in given.signals:
            for victim in given.victims:
                with tempfile.TemporaryDirectory() as temporary:
                    row = tried(backend, name, victim, Path(temporary))
                print(row, flush=True)
                case = [str(row[column]) for column in CASE]
                rows = [each for each in rows if [each[column] for column in CASE] != case]
                rows.append({name: str(value) for name, value in row.items()})
                write_rows(RESULTS, COLUMNS, rows)


if __name__ == "__main__":
    main()
