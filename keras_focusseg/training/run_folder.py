"""The folder of a run: the best weights, checkpoints to resume from, logs."""

from __future__ import annotations

import contextlib
import csv
import math
import shutil
import sys
import textwrap
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import keras
from keras import ops

from keras_focusseg import files
from keras_focusseg.training.distribution import Distribution

CHECKPOINTS = "checkpoints"
SUMS = "SHA256SUMS"
"""SHA-256 of the other files of a checkpoint, as `sha256sum -c` reads it."""


class RunFolder(keras.callbacks.Callback):
    """Keeps the best weights, and makes every epoch one to resume from.

    Layout of the folder: `checkpoints/epoch_NNNN/` (all that a resumed run needs; the last one
    only), `log.csv` (a row an epoch), `tensorboard/`, and what `save_best` writes.

    Where several processes train together, all need one of these, and the first alone writes.

    Args:
        folder: Folder of the run; all processes have to see it, to resume.
        save_best: Called with (epoch, value) while the best weights are in the model.
        monitor: Name of the validation measure; higher is better.
        spread: The processes that train together; None: this one.
    """

    def __init__(
        self,
        folder: Path,
        save_best: Callable[[int, float], None],
        monitor: str = "mean_iou",
        spread: Distribution | None = None,
    ) -> None:
        super().__init__()
        self.folder, self.save_best, self.monitor = folder, save_best, monitor
        self.spread = spread or Distribution()
        self.best, self.best_epoch, self.epoch = -math.inf, -1, 0
        self.history: list[dict[str, float]] = []
        self._checkpoint: Path | None = None
        self._writer: Any = None

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Opens the TensorBoard log."""
        if not self.spread.is_chief:
            return
        from tensorboardX import SummaryWriter

        self._writer = SummaryWriter(str(self.folder / "tensorboard"), purge_step=self.epoch + 1)

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Notes the epoch, for the validation inside it."""
        self.epoch = epoch

    def on_test_end(self, logs: dict[str, Any] | None = None) -> None:
        """Keeps the weights that were validated if they are the best so far."""
        value = float((logs or {}).get(self.monitor, math.nan))
        if value > self.best:
            self.best, self.best_epoch = value, self.epoch + 1
            if self.spread.is_chief:
                with self.spread.alone():
                    self.save_best(self.epoch + 1, value)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Writes the logs and the checkpoint."""
        row = {"epoch": epoch + 1, **{name: float(value) for name, value in (logs or {}).items()}}
        row["learning_rate"] = float(ops.convert_to_numpy(self.model.optimizer.learning_rate))
        self.history.append(row)
        if not self.spread.is_chief:
            return
        with self.spread.alone():
            self._write_checkpoint(epoch + 1)
        self._write_log()
        for name, value in row.items():
            if name != "epoch":
                self._writer.add_scalar(name, value, epoch + 1)
        self._writer.flush()

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Closes the TensorBoard log."""
        if self._writer is not None:
            self._writer.close()

    def restore(self) -> int:
        """Loads the newest checkpoint into the compiled model; the number of epochs done.

        Raises:
            ValueError: There is none, or it is damaged.
        """
        newest = checkpoint_to_resume(self.folder)
        try:
            _check_sums(newest)
            state = files.read_json(newest / "state.json")
            with warnings.catch_warnings():  # Keras leaves out an optimizer that does not fit
                warnings.filterwarnings("error", "Skipping variable loading")
                self.model.load_weights(newest / "training.weights.h5")
            self.epoch, self.best_epoch = state["epoch"], state["best_epoch"]
            # JSON has `null` where a number was not finite.
            self.best = -math.inf if state["best"] is None else state["best"]
            self.history = [
                {name: math.nan if value is None else value for name, value in row.items()}
                for row in state["history"]
            ]
        except (OSError, KeyError, TypeError, AttributeError, ValueError, UserWarning) as error:
            raise ValueError(
                f"{newest} cannot be resumed from: {error} Put back a copy of it that is whole, "
                "or start in another folder."
            ) from error
        self._checkpoint = newest
        self._warn_of_other_devices(state.get("devices"))
        return self.epoch

    def _warn_of_other_devices(self, before: dict[str, Any] | None) -> None:
        """Says that a run goes on on other devices than the epoch before was trained on."""
        now = self.spread.devices()
        if before not in (None, now) and self.spread.is_chief:  # None: not noted then
            warnings.warn(
                f"This run was trained by {_named(before)} and goes on by {_named(now)}: the "
                "same training but for the order of sums, random draws inside the network, and "
                "the losses that a strategy computes per replica.",
                stacklevel=3,
            )

    def _write_checkpoint(self, epochs_done: int) -> None:
        parent = self.folder / CHECKPOINTS
        final = parent / f"epoch_{epochs_done:04d}"
        state = {
            "epoch": epochs_done,
            "best": self.best,
            "best_epoch": self.best_epoch,
            "history": self.history,
            "devices": self.spread.devices(),
        }
        try:
            parent.mkdir(parents=True, exist_ok=True)
            with files.written_folder(final) as folder:
                # With the optimizer's state, and that of every random generator.
                self.model.save_weights(folder / "training.weights.h5")
                files.write_json(folder / "state.json", state)
                files.write_text(folder / SUMS, _sums(folder))
        except (OSError, RuntimeError) as error:  # h5py has both for a full disk
            reason = textwrap.shorten(str(error), 120)
            raise OSError(
                f"{final} could not be written ({reason}). Make room, then go on with --resume "
                "after the last epoch that was."
            ) from error
        if self._checkpoint is not None:
            shutil.rmtree(self._checkpoint, ignore_errors=True)
        self._checkpoint = final

    def _write_log(self) -> None:
        names = list(dict.fromkeys(name for row in self.history for name in row))
        with files.written(self.folder / "log.csv") as path, open(path, "w", newline="") as file:
            writer = csv.DictWriter(file, names, lineterminator="\n")
            writer.writeheader()
            for row in self.history:
                writer.writerow(
                    {k: v if k == "epoch" else float(f"{v:.6g}") for k, v in row.items()}
                )


def newest_checkpoint(folder: Path) -> Path | None:
    """The last epoch of a run's folder, or `None`; it need not be whole."""
    found = sorted((folder / CHECKPOINTS).glob("epoch_*"), key=lambda path: (len(path.name), path))
    return found[-1] if found else None


def checkpoint_to_resume(folder: Path) -> Path:
    """The last epoch of a run's folder.

    Raises:
        ValueError: There is none; the message says what lies there instead.
    """
    newest = newest_checkpoint(folder)
    if newest is None:
        raise ValueError(
            f"There is nothing to resume: {folder / CHECKPOINTS} holds no epoch_NNNN. "
            f"{_listed(folder)} Start without --resume, or name the folder of the run."
        )
    return newest


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keeps a run's folder for this process; the lock ends with the process, however it ends.

    Args:
        folder: Folder of the run; made if absent, and then removed again if nothing was written.

    Raises:
        ValueError: Another process trains in it.
    """
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    lock = folder / ".lock"
    with open(lock, "a") as file:
        try:
            _lock(file)
        except OSError as error:
            raise ValueError(
                f"{folder} is in use: another process trains in it. Wait for its end, or take "
                "another folder."
            ) from error
        try:
            yield
        finally:
            with contextlib.suppress(OSError):
                if list(folder.iterdir()) == [lock]:
                    lock.unlink()
                    for path in made:
                        path.rmdir()


def _lock(file: IO[str]) -> None:
    """Locks an open file until it is closed, or raises `OSError` if another process has it."""
    if sys.platform == "win32":
        import msvcrt

        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _sums(folder: Path) -> str:
    paths = sorted(path for path in folder.iterdir() if path.name != SUMS)
    return "".join(f"{files.sha256(path)}  {path.name}\n" for path in paths)


def _check_sums(folder: Path) -> None:
    for name in ("state.json", "training.weights.h5", SUMS):
        if not (folder / name).is_file():
            raise ValueError(f"{name} is missing. {_listed(folder)}")
    listed = set((folder / SUMS).read_text(encoding="utf-8", errors="replace").splitlines())
    for line in _sums(folder).splitlines():
        if line not in listed:
            raise ValueError(
                f"{line[66:]} is damaged: its SHA-256 is {line[:16]}..., and {SUMS} says another."
            )


def _named(devices: Mapping[str, Any]) -> str:
    """What `Distribution.devices` says, in words."""
    return f"strategy {devices['strategy']!r} of {devices['replicas']}"


def _listed(folder: Path) -> str:
    """What lies in a folder, as a sentence."""
    if not folder.is_dir():
        return f"There is no folder {folder}."
    names = sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
    some = ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")
    return f"In {folder} there is {some or 'nothing'}."
