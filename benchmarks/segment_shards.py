"""Pictures a second of `focusseg segment`: one process, and one and two workers of a Ray cluster.

    ray start --head --num-cpus 2
    RAY_ADDRESS=auto python benchmarks/segment_shards.py

Rendered streets as PNG, overlay and labels written, one thread a process, one engine after the
other; all have to write the same files. A run's time is that of the command from beginning to end.
`segmenting_seconds` is what of it went into so many `pictures` once all was compiled: for Ray, from
the lists of the shards, the time of the worker that took longest for all after its first; for one
process what a run takes longer than one over a single picture. `startup_seconds` is the rest:
Python, Keras, the preset, the first pictures, and for Ray the connection, its workers, and a
cluster of its own where there is no `RAY_ADDRESS`.
`processor_seconds_a_picture` is the processor time of one process over the same difference, which
depends less than the others on what else the machine does; `load` is the machine's load average
over the last minute of the run, the run itself among it.

Writes `benchmarks/results/segment_shards.csv`. Needs the extra `ray`.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import keras
from PIL import Image
from result_tables import write_rows

from keras_focusseg import data
from keras_focusseg.inference.folder_run import SETTINGS
from keras_focusseg.inference.shards import FOLDER, Shard

RESULTS = Path(__file__).resolve().parent / "results"


def pictures(folder: Path, count: int, size: tuple[int, int]) -> list[Path]:
    """Rendered streets as PNG."""
    source = data.SyntheticStreets(count=count, size=size)
    folder.mkdir()
    paths = [folder / f"{i:05}.png" for i in range(count)]
    for i, path in enumerate(paths):
        Image.fromarray(source.load(i).image).save(path)
    return paths


def measured(paths: list[Path], output: Path, *words: object) -> tuple[float, float]:
    """Wall and processor seconds of a run; the latter without workers, whose parent is Ray."""
    one = {name: "1" for name in ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS")}
    command = [sys.executable, "-m", "keras_focusseg.cli", "segment", "-", "--output", str(output)]
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(
        command + [str(word) for word in words],
        input="".join(f"{path}\n" for path in paths),
        text=True,
        check=True,
        stdout=subprocess.DEVNULL,
        env=os.environ | one,
    )
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def later_shards(output: Path) -> tuple[float, int]:
    """Seconds of the worker that took longest for shards after its first, and their pictures."""
    seconds: dict[str, float] = {}
    count = 0
    lists = sorted((output / FOLDER).glob("*.jsonl"), key=lambda place: place.stat().st_mtime)
    for shard in (Shard.from_bytes(place.read_bytes()) for place in lists):
        if shard.worker in seconds:
            seconds[shard.worker] += shard.seconds
            count += len(shard.written)
        else:
            seconds[shard.worker] = 0
    return max(seconds.values()), count


def results(folder: Path) -> dict[str, bytes]:
    """The files that a run wrote of pictures."""
    kept = [path for path in folder.iterdir() if path.is_file() and path.name != SETTINGS]
    return {path.name: path.read_bytes() for path in kept}


def main() -> None:
    """Measures and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--preset", default="fornet_mobilenet_v2_camvid")
    parser.add_argument("--pictures", type=int, default=128)
    parser.add_argument("--size", type=int, nargs=2, default=(180, 240))
    parser.add_argument("--shard-size", type=int, default=16)
    arguments = parser.parse_args()
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        paths = pictures(folder / "in", arguments.pictures, tuple(arguments.size))
        preset = ("--preset", arguments.preset)
        shards = ("--engine", "ray", "--shard-size", arguments.shard_size)
        startup, spent_at_start = measured(paths[:1], folder / "one", *preset)
        for engine, workers in (("local", 1), ("ray", 1), ("ray", 2)):
            output = folder / f"{engine}{workers}"
            words = (*shards, "--workers", workers) if engine == "ray" else ()
            wall, spent = measured(paths, output, *preset, *words)
            segmenting, count = wall - startup, len(paths) - 1
            if engine == "ray":
                segmenting, count = later_shards(output)
            assert results(output) == results(folder / "local1")
            a_picture = (spent - spent_at_start) / count
            rows.append(
                {
                    "preset": arguments.preset,
                    "backend": keras.backend.backend(),
                    "size": "{}x{}".format(*arguments.size),
                    "processors": os.cpu_count(),
                    "engine": engine,
                    "workers": workers,
                    "pictures": count,
                    "startup_seconds": f"{wall - segmenting:.1f}",
                    "segmenting_seconds": f"{segmenting:.1f}",
                    "pictures_a_second": f"{count / segmenting:.2f}",
                    "processor_seconds_a_picture": f"{a_picture:.4f}" if engine == "local" else "",
                    "load": f"{os.getloadavg()[0]:.1f}",
                }
            )
            print(rows[-1], flush=True)
    path = RESULTS / "segment_shards.csv"
    write_rows(path, rows[0], rows)
    print(path.read_text())


if __name__ == "__main__":
    main()
