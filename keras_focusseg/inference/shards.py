"""More pictures than one process can take: shards of them on the workers of a Ray cluster.

What a worker does with a picture is what one process does (`folder_run.py`), so the results are the
same files. Each shard that is done leaves a list of what was made of its pictures, JSON lines, in
the folder `shards` beside the results: a run that goes on reads these and not the results.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import os
import platform
import time
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import keras

from keras_focusseg import files
from keras_focusseg.inference.folder_run import SETTINGS, FolderRun, is_done, told

FOLDER = "shards"
"""Folder of the lists of what was done, in that of the results."""
ATTEMPTS = 3
"""So often a shard is tried, then it is given up."""


class ClusterError(RuntimeError):
    """There is no cluster, or it could not go on."""


@dataclasses.dataclass(frozen=True)
class Shard:
    """What was made of the pictures of a shard.

    Args:
        worker: Host and process that did it; "" for a shard that was given up.
        seconds: Time that it took.
        written: A line about each picture whose results are written, by its path.
        left_out: Why each of the others has none.
    """

    worker: str
    seconds: float
    written: dict[str, str]
    left_out: dict[str, str]

    def to_bytes(self) -> bytes:
        """JSON lines: one about the shard, one for each picture."""
        lines: list[dict[str, Any]] = [
            {"origin": files.MARK, "worker": self.worker, "seconds": round(self.seconds, 3)}
        ]
        lines += [{"picture": path, "written": line} for path, line in self.written.items()]
        lines += [{"picture": path, "left_out": why} for path, why in self.left_out.items()]
        text = "".join(files.json_text(line, indent=None) for line in lines)
        return text.encode("utf-8", "backslashreplace")  # names need not be UTF-8

    @classmethod
    def from_bytes(cls, content: bytes) -> Shard:
        """What `to_bytes` wrote."""
        head, *lines = map(json.loads, content.splitlines())
        written = {line["picture"]: line["written"] for line in lines if "written" in line}
        left_out = {line["picture"]: line["left_out"] for line in lines if "left_out" in line}
        return cls(head["worker"], head["seconds"], written, left_out)


def segment_shards(
    run: FolderRun,
    paths: Sequence[Path],
    *,
    workers: int | None = None,
    shard_size: int = 256,
    worker_cpus: float = 1,
    worker_gpus: float = 0,
    resume: bool = False,
) -> Iterator[Shard]:
    """Segments pictures on a Ray cluster and writes what there is to write of each.

    The cluster is the one that Ray is connected to or that `RAY_ADDRESS` names, else one on this
    machine alone. Every worker reads the pictures and writes the results itself, so both must lie
    where all machines see them under the same path.

    A worker loads the network once. Ray starts another in the place of one that is lost, which does
    the shard again from its beginning.

    Args:
        run: How the pictures are segmented. Its folder holds the settings already.
        paths: Pictures, no two of which have results of the same name.
        workers: How many processes segment; as many as the cluster has room for by default.
        shard_size: Pictures a shard.
        worker_cpus: Processors that each worker takes.
        worker_gpus: GPUs that each worker takes.
        resume: Leaves out pictures whose results are there; see `remaining` too.

    Yields:
        A `Shard` for each shard when it is done or given up, in no order.

    Raises:
        ImportError: Ray is not installed.
        ValueError: An argument is out of its range, or there is no room for the workers.
        ClusterError: Ray could not be started, or no worker could load the network.

    Example:
        ```python
        run = FolderRun(Path("segmented"), "fornet_mobilenet_v2_camvid")
        for shard in segment_shards(run, sorted(Path("holiday").glob("*.jpg")), workers=2):
            print(f"{shard.worker}: {len(shard.written)} pictures in {shard.seconds:.0f} s")
        ```
    """
    if shard_size < 1 or (workers is not None and workers < 1):
        raise ValueError(
            f"workers and shard_size must be 1 or more, got {workers} and {shard_size}."
        )
    if worker_cpus <= 0 or worker_gpus < 0:
        raise ValueError(
            f"worker_cpus must be above 0 and worker_gpus 0 or more, got {worker_cpus:g} and "
            f"{worker_gpus:g}."
        )
    if not paths:
        return
    ray = _connected()
    workers = _fitting(workers, ray.cluster_resources(), worker_cpus, worker_gpus)
    run = dataclasses.replace(run, output=run.output.absolute(), preset=_absolute(run.preset))
    _new_folder(run.output / FOLDER, resume)
    waiting = {_key(shard): shard for shard in _shards(paths, shard_size)}
    rows = [{"pictures": shard} for shard in waiting.values()]

    logging.getLogger("ray.data").setLevel(logging.ERROR)
    threads = str(max(1, int(worker_cpus)))
    with warnings.catch_warnings():
        # Ray 2.60 to 2.63 say that the numbers of restarts and retries go with 2.64.
        warnings.filterwarnings("ignore", "`ray_remote_args` is deprecated")
        done = ray.data.from_items(rows, override_num_blocks=len(rows)).map(
            _Worker,
            fn_constructor_args=(run, resume),
            compute=ray.data.ActorPoolStrategy(size=workers, max_tasks_in_flight_per_actor=1),
            num_cpus=worker_cpus,
            num_gpus=worker_gpus,
            max_restarts=-1,
            max_task_retries=ATTEMPTS - 1,
            runtime_env={
                "env_vars": {
                    "KERAS_BACKEND": keras.backend.backend(),
                    "OMP_NUM_THREADS": threads,
                    "TF_NUM_INTRAOP_THREADS": threads,
                }
            },
        )
    done.context.enable_progress_bars = False
    done.context.max_errored_blocks = -1  # a shard that is given up does not end the others
    try:
        for row in done.iter_rows():
            del waiting[row["key"]]
            yield Shard.from_bytes(row["shard"])
    except ray.exceptions.RayError as error:
        raise ClusterError(f"The workers could not go on: {error}") from error
    for shard in waiting.values():
        yield _given_up(_paths(shard), "each time the worker was lost")


def remaining(run: FolderRun, paths: Sequence[Path]) -> list[Path]:
    """The pictures that no list of a shard of this run says are written.

    Neither results nor their folder are read. A picture that is newer than the list, or one of
    whose results has gone, remains.
    """
    finished: dict[str, float] = {}
    folder, settings = run.output / FOLDER, run.output / SETTINGS
    if not folder.is_dir() or not settings.is_file():
        return list(paths)
    since = settings.stat().st_mtime
    for place in _lists(folder):
        when = place.stat().st_mtime
        if when >= since:
            finished |= dict.fromkeys(Shard.from_bytes(place.read_bytes()).written, when)

    def is_finished(path: Path) -> bool:
        when = finished.get(str(path.absolute()))
        return (
            when is not None
            and path.exists()
            and path.stat().st_mtime <= when
            and all(place.exists() for place in run.places(path))
        )

    return [path for path in paths if not is_finished(path)]


class _Worker:
    """A process of the cluster: has the network, and takes shard after shard."""

    def __init__(self, run: FolderRun, resume: bool) -> None:
        self._run, self._resume = run, resume
        self._model = run.load()
        self._name = f"{platform.node()}:{os.getpid()}"

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        key, paths, start = _key(row["pictures"]), _paths(row["pictures"]), time.perf_counter()
        for _ in range(ATTEMPTS):
            try:
                written, left_out = self._segmented(paths)
            except Exception as error:  # a disk that is full, a device without memory
                shard = _given_up(paths, f"{type(error).__name__}: {error}")
                continue
            shard = Shard(self._name, time.perf_counter() - start, written, left_out)
            with files.written(self._run.output / FOLDER / f"{key}.jsonl") as temporary:
                temporary.write_bytes(shard.to_bytes())
            break
        return {"key": key, "shard": shard.to_bytes()}

    def _segmented(self, paths: list[Path]) -> tuple[dict[str, str], dict[str, str]]:
        """What is told of each picture that is written, and of each that is left out."""
        written: dict[str, str] = {}
        left_out: dict[str, str] = {}
        if self._resume:
            done = [path for path in paths if is_done(path, self._run.places(path))]
            written = {str(path): f"{path}: done already" for path in done}
            paths = [path for path in paths if str(path) not in written]

        def leave_out(path: Path, error: Exception) -> None:
            left_out[str(path)] = str(error)

        for path, result in self._run.segmented(self._model, paths, leave_out):
            self._run.write(result)
            written[str(path)] = told(path, result)
        return written, left_out


def _given_up(paths: Sequence[Path], why: str) -> Shard:
    why = f"its shard was given up after {ATTEMPTS} attempts: {why}"
    return Shard("", 0.0, {}, {str(path): f"{path}: {why}" for path in paths})


def _connected() -> Any:
    """Ray, connected to a cluster."""
    # Ray tells its makers of each cluster otherwise, and a local one serves a page.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise ImportError(
            "Segmenting on a cluster needs Ray: pip install 'keras-focusseg[ray]'."
        ) from error
    if not ray.is_initialized():
        try:
            ray.init(include_dashboard=False, log_to_driver=False, logging_level="error")
        except Exception as error:  # Ray raises no narrower one where a part of it does not start
            raise ClusterError(f"Ray could not be started, or not be reached: {error}") from error
    return ray


def _fitting(workers: int | None, has: dict[str, float], cpus: float, gpus: float) -> int:
    """The number of workers that there is room for, or that which was asked for if it fits."""
    room = int(has.get("CPU", 0) / cpus)
    if gpus:
        room = min(room, int(has.get("GPU", 0) / gpus))
    if room < (workers or 1):
        raise ValueError(
            f"{workers or 1} workers of {cpus:g} processors and {gpus:g} GPUs each do not fit into "
            f"a cluster of {has.get('CPU', 0):g} and {has.get('GPU', 0):g}."
        )
    return workers or room


def _absolute(preset: str) -> str:
    """A preset by what names it in another working folder too."""
    return str(Path(preset).absolute()) if Path(preset).is_dir() else preset


def _new_folder(folder: Path, resume: bool) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for place in () if resume else _lists(folder):
        place.unlink()


def _lists(folder: Path) -> list[Path]:
    """The lists in a folder that workers wrote, whole: a lost one may leave half a file, hidden."""
    return [
        place
        for place in sorted(folder.glob("[!.]*.jsonl"))
        if files.is_result(place) and place.stat().st_size
    ]


def _shards(paths: Sequence[Path], size: int) -> Iterator[bytes]:
    """The paths of each shard, as they go to a worker: no name holds a zero byte."""
    names = [os.fsencode(path.absolute()) for path in paths]
    return (b"\0".join(names[i : i + size]) for i in range(0, len(names), size))


def _paths(shard: bytes) -> list[Path]:
    return [Path(os.fsdecode(name)) for name in shard.split(b"\0")]


def _key(shard: bytes) -> str:
    return hashlib.sha256(shard).hexdigest()[:16]
