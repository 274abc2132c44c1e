"""Checkpoints of a run: where they lie, how often they come, and whether they are whole."""

from __future__ import annotations

import dataclasses
import math
import re
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self

import keras
import numpy as np

from keras_focusseg import files

CHECKPOINTS = "checkpoints"
SUMS = "SHA256SUMS"
"""SHA-256 of the other files of a checkpoint, as `sha256sum -c` reads it."""
STATE, WEIGHTS = "state.json", "training.weights.h5"
COUNTS, GENERATORS = "metrics.npz", "generators.npz"
KEPT = 2
"""Checkpoints that stay: if the newest is damaged, the run goes on from the one before."""
_NAME = re.compile(r"epoch_(\d{4,})(?:_step_(\d{6,}))?")


class Position(NamedTuple):
    """How far a run has got.

    Attributes:
        epoch: Epochs that are finished.
        step: Steps of the next epoch that were taken. If all were, its validation comes next.
    """

    epoch: int
    step: int = 0

    @property
    def folder_name(self) -> str:
        """Name of the checkpoint: `epoch_0003`, or in the epoch after, `epoch_0003_step_000120`."""
        return f"epoch_{self.epoch:04d}" + (f"_step_{self.step:06d}" if self.step else "")


@dataclasses.dataclass
class SaveEvery:
    """When a checkpoint is due inside an epoch; the end of an epoch always has one.

    Args:
        steps: Steps of the run between two of them.
        minutes: Minutes since the last one.

    Example:
        ```python
        SaveEvery.from_text("10min").minutes    # 10.0
        SaveEvery.from_text(500).steps    # 500
        ```
    """

    steps: int | None = None
    minutes: float | None = None

    def __post_init__(self) -> None:
        self.saved(0)

    @classmethod
    def from_text(cls, text: int | str | None) -> Self:
        """Reads `500` (steps), `"10min"` (minutes) or None (never).

        Raises:
            ValueError: It is neither, or not above 0.
        """
        if text is None:
            return cls()
        found = re.fullmatch(r"(\d+)|(\d+(?:\.\d+)?)\s*min", str(text).strip())
        if not found or isinstance(text, bool) or not float(found[1] or found[2]):
            raise ValueError(
                "save_every must be a number of steps, such as 500, or minutes, such as '10min'; "
                f"got {text!r}."
            )
        return cls(steps=int(found[1])) if found[1] else cls(minutes=float(found[2]))

    def saved(self, step: int) -> None:
        """Notes that there is a checkpoint of that step of the run."""
        self._step, self._time = step, time.monotonic()

    def is_due(self, step: int) -> bool:
        """Whether one should come at that step of the run, counted over all epochs."""
        if self.steps is not None:  # by multiples, so that processes and resumed runs agree
            return step // self.steps > self._step // self.steps
        if self.minutes is not None:
            return time.monotonic() - self._time >= 60 * self.minutes
        return False


def checkpoints(folder: Path) -> list[tuple[Position, Path]]:
    """The checkpoints of a run's folder, oldest first; they need not be whole."""
    found = []
    for path in (folder / CHECKPOINTS).glob("epoch_*"):
        name = _NAME.fullmatch(path.name)
        if name:
            found.append((Position(int(name[1]), int(name[2] or 0)), path))
    return sorted(found)


def newest_checkpoint(folder: Path) -> Path | None:
    """The last checkpoint of a run's folder, or `None`; it need not be whole."""
    found = checkpoints(folder)
    return found[-1][1] if found else None


def checkpoint_to_resume(folder: Path) -> Path:
    """The last checkpoint of a run's folder.

    Raises:
        ValueError: There is none; the message says what lies there instead.
    """
    newest = newest_checkpoint(folder)
    if newest is None:
        raise ValueError(
            f"There is nothing to resume: {folder / CHECKPOINTS} holds no epoch_NNNN. "
            f"{listed(folder)} Start without --resume, or name the folder of the run."
        )
    return newest


def write_checkpoint(
    folder: Path,
    position: Position,
    state: Mapping[str, Any],
    save_weights: Callable[[Path], None],
    generators: Mapping[str, np.ndarray],
    counts: Sequence[np.ndarray] | None = None,
) -> Path:
    """Writes a checkpoint beside those that are there, whole or not at all.

    Args:
        folder: Folder of the run.
        position: How far the run has got.
        state: What else a resumed run needs, for JSON.
        save_weights: Writes weights, optimizer and the seeds of layers into a file.
        generators: States of random generators that no layer holds.
        counts: What the metrics have counted of an unfinished epoch.

    Returns:
        The folder of the checkpoint.

    Raises:
        OSError: The disk is full, or the folder cannot be written to.
    """
    final = folder / CHECKPOINTS / position.folder_name
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        with files.written_folder(final) as temporary:
            save_weights(temporary / WEIGHTS)
            arrays: dict[str, Any] = dict(generators)
            np.savez(temporary / GENERATORS, **arrays)
            if counts is not None:
                np.savez(temporary / COUNTS, *counts)
            files.write_json(temporary / STATE, state)
            files.write_text(temporary / SUMS, _sums(temporary))
    except (OSError, RuntimeError) as error:  # h5py has both for a full disk
        raise no_room(final, error) from error
    return final


def check_space(folder: Path, model: keras.Model) -> None:
    """Refuses a run's folder without room for its checkpoints and its best weights.

    Args:
        folder: Folder of the run.
        model: The compiled network, its optimizer built.

    Raises:
        ValueError: With what is needed and what there is.
    """
    weights, optimizer = model.variables, model.optimizer.variables
    one = sum(_bytes_on_disk(variable) for variable in (*weights, *optimizer))
    best = sum(_bytes_on_disk(variable) for variable in weights)
    present = sum(
        path.stat().st_size
        for name in (CHECKPOINTS, "best")
        for path in (folder / name).rglob("*")
        if path.is_file()
    )
    # A new one is written beside those that stay.
    files.check_space(folder, max((KEPT + 1) * one + 2 * best - present, 0), one)


def _bytes_on_disk(variable: keras.Variable) -> int:
    """Of a variable in an HDF5 file, rounded up: groups and names take about 2 kB each."""
    return 2048 + math.prod(variable.shape) * np.dtype("float32").itemsize


def no_room(path: Path, error: Exception) -> OSError:
    """What to say where something of a run could not be written."""
    reason = " ".join(str(error).split())
    reason = reason if len(reason) <= 120 else f"{reason[:117]}..."
    return OSError(
        f"{path} could not be written ({reason}). Make room, then go on with --resume after the "
        "last checkpoint that was."
    )


def remove_all_but(folder: Path, kept: Sequence[Path]) -> None:
    """Removes the checkpoints of a run's folder that are not among those to keep."""
    for _, path in checkpoints(folder):
        if path not in kept:
            shutil.rmtree(path, ignore_errors=True)


def remove_leftovers(folder: Path) -> None:
    """Removes what a process that was killed had half written; nobody else may write there."""
    for parent in (folder, folder / CHECKPOINTS, folder / "best"):
        for path in parent.glob(f"{files.TEMPORARY}*"):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


def read_arrays(checkpoint: Path, name: str) -> dict[str, np.ndarray]:
    """The arrays of `COUNTS` or `GENERATORS`, in the order in which they were written."""
    with np.load(checkpoint / name, allow_pickle=False) as arrays:
        return dict(arrays)


def check_whole(checkpoint: Path) -> None:
    """Refuses a checkpoint that is damaged.

    Raises:
        ValueError: A file is missing, or is not the one that was written.
    """
    for name in (STATE, WEIGHTS, SUMS):
        if not (checkpoint / name).is_file():
            raise ValueError(f"{name} is missing. {listed(checkpoint)}")
    noted = set((checkpoint / SUMS).read_text(encoding="utf-8", errors="replace").splitlines())
    present = _sums(checkpoint).splitlines()
    for line in present:
        if line not in noted:
            raise ValueError(
                f"{line[66:]} is damaged: its SHA-256 is {line[:16]}..., and {SUMS} says another."
            )
    for line in noted.difference(present):
        raise ValueError(f"{line[66:]!r} is missing. {listed(checkpoint)}")


def listed(folder: Path) -> str:
    """What lies in a folder, as a sentence."""
    if not folder.is_dir():
        return f"There is no folder {folder}."
    names = sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
    some = ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")
    return f"In {folder} there is {some or 'nothing'}."


def _sums(folder: Path) -> str:
    paths = sorted(path for path in folder.iterdir() if path.name != SUMS)
    return "".join(f"{files.sha256(path)}  {path.name}\n" for path in paths)
