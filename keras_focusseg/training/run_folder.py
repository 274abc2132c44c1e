"""The folder of a run: the best weights, checkpoints to resume from, logs."""

from __future__ import annotations

import contextlib
import csv
import math
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import keras
import numpy as np
from keras import ops

from keras_focusseg import files
from keras_focusseg._replicas import largest_of_processes, metric_counts, set_metric_counts
from keras_focusseg.training.checkpoints import (
    COUNTS,
    GENERATORS,
    KEPT,
    STATE,
    WEIGHTS,
    Position,
    SaveEvery,
    check_whole,
    checkpoint_to_resume,
    checkpoints,
    no_room,
    read_arrays,
    remove_all_but,
    write_checkpoint,
)
from keras_focusseg.training.distribution import (
    Distribution,
    generator_states,
    set_generator_states,
)
from keras_focusseg.training.stopping import Signals, TrainingStopped

ASK_EVERY = 5
"""Batches after which several processes ask each other for a signal: it makes their hosts wait."""


class RunFolder(keras.callbacks.Callback):
    """Keeps the best weights, and checkpoints that a run goes on from to the bit.

    Layout of the folder: `checkpoints/epoch_NNNN/` and `checkpoints/epoch_NNNN_step_NNNNNN/` (all
    that a resumed run needs; the last two), `log.csv` (a row an epoch), `tensorboard/`, and what
    `save_best` writes. A checkpoint inside an epoch holds what the metrics have counted, so the
    epoch's means are those of all its steps.

    It looks and saves where a step begins, not where one ends: there Keras would read the loss for
    it, and wait for the device in each step.

    Where several processes train together, all need one of these, and the first alone writes.

    Args:
        folder: Folder of the run; all processes have to see it, to resume.
        save_best: Called with (epoch, value) while the best weights are in the model.
        monitor: Name of the validation measure; higher is better.
        spread: The processes that train together; None: this one.
        save_every: When a checkpoint inside an epoch is due; None: never.
        patience: Epochs without a better measure after which training ends; None: any number.
        signals: What says that the run has to stop after the present step; None: nothing does.
    """

    def __init__(
        self,
        folder: Path,
        save_best: Callable[[int, float], None],
        monitor: str = "mean_iou",
        spread: Distribution | None = None,
        save_every: SaveEvery | None = None,
        patience: int | None = None,
        signals: Signals | None = None,
    ) -> None:
        super().__init__()
        self.folder, self.save_best, self.monitor = folder, save_best, monitor
        self.spread = spread or Distribution()
        self.save_every, self.patience = save_every or SaveEvery(), patience
        self.signals = signals or Signals()
        self.best, self.best_epoch, self.epoch = -math.inf, -1, 0
        self.history: list[dict[str, float]] = []
        self._saved = Position(0)
        self._kept: list[Path] = []  # checkpoints, oldest first
        self._generators: dict[str, np.ndarray] = {}  # of the checkpoint that was restored
        self._before_test: dict[str, np.ndarray] = {}  # what they were before the validation
        self._counts: list[np.ndarray] | None = None  # of the metrics, where an epoch goes on
        self.validates = False  # whether a validation is under way
        self._cut = False  # whether the present validation was broken off
        self._asked = 0  # how often this epoch or validation was looked for a signal
        self._writer: Any = None

    @property
    def has_no_patience_left(self) -> bool:
        """Whether `patience` epochs had passed since the best one when the last was validated."""
        return ended_early(self.history, self.best_epoch, self.patience, self.monitor)

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Opens the TensorBoard log."""
        self.save_every.saved(self._steps_until(self._saved))
        if not self.spread.is_chief:
            return
        from tensorboardX import SummaryWriter

        self._writer = SummaryWriter(str(self.folder / "tensorboard"), purge_step=self.epoch + 1)

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Notes the epoch; the first after `restore` gets what no variable of the model holds."""
        self.epoch, self._cut, self._asked = epoch, False, 0
        if self._saved.step in (0, self.params["steps"]):
            self._set_generators()
        if self._counts is not None:
            set_metric_counts(self.model, self._counts)
            self._counts = None

    def on_train_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Saves after `batch` steps of the epoch if a checkpoint is due or the run has to stop."""
        self._set_generators()  # not before: PyTorch's loader draws when an epoch begins
        here = Position(self.epoch, batch)
        stops = self._has_to_stop()
        if here != self._saved and (stops or self.save_every.is_due(self._steps_until(here))):
            counts = metric_counts(self.model)  # read by all processes together
            if all(np.isfinite(count).all() for count in counts):  # else `StopOnNaN` ends the run
                self._write_checkpoint(here, counts)
        if stops:
            self._stop()

    def on_test_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Notes what the steps of the epoch have counted, before the validation counts."""
        self.validates, self._asked = True, 0
        self._counts = metric_counts(self.model)
        self._before_test = generator_states()

    def on_test_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Breaks off the validation if the run has to stop."""
        if not self._cut and self._has_to_stop():
            self._cut = self.model.stop_evaluating = True

    def on_test_end(self, logs: dict[str, Any] | None = None) -> None:
        """Keeps the weights that were validated if they are the best so far."""
        self.validates = False
        if self._cut:
            return
        value = float((logs or {}).get(self.monitor, math.nan))
        if value > self.best:
            self.best, self.best_epoch = value, self.epoch + 1
            if self.spread.is_chief:
                with self.spread.alone():
                    try:
                        self.save_best(self.epoch + 1, value)
                    except OSError as error:
                        raise no_room(self.folder / "best", error) from error

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Writes the logs and the checkpoint; ends the training if there is no patience left."""
        if self._cut:  # the validation will be repeated, the steps will not
            set_generator_states(self._before_test)
            self._write_checkpoint(Position(epoch, self.params["steps"]), self._counts)
            self._stop()
        self._counts = None
        row = {"epoch": epoch + 1, **{name: float(value) for name, value in (logs or {}).items()}}
        row["learning_rate"] = float(ops.convert_to_numpy(self.model.optimizer.learning_rate))
        self.history.append(row)
        if self.has_no_patience_left:
            self.model.stop_training = True
        self._write_checkpoint(Position(epoch + 1))
        if not self.spread.is_chief:
            return
        self.write_log()
        for name, value in row.items():
            if name != "epoch":
                self._writer.add_scalar(name, value, epoch + 1)
        self._writer.flush()

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Closes the TensorBoard log."""
        if self._writer is not None:
            self._writer.close()

    def restore(self, steps: int) -> Position:
        """Loads the newest whole checkpoint into the compiled model; how far it had got.

        Args:
            steps: Steps an epoch, which must be those of the checkpoint if it is inside one.

        Raises:
            ValueError: There is none, all are damaged, or the data have changed.
        """
        checkpoint_to_resume(self.folder)  # says what lies there if nothing does
        found = self._newest_whole()
        try:
            state = files.read_json(found / STATE)
            with warnings.catch_warnings():  # Keras leaves out an optimizer that does not fit
                warnings.filterwarnings("error", "Skipping variable loading")
                self.model.load_weights(found / WEIGHTS)
            self.epoch, self.best_epoch = state["epoch"], state["best_epoch"]
            # JSON has `null` where a number was not finite.
            self.best = -math.inf if state["best"] is None else state["best"]
            self.history = [
                {name: math.nan if value is None else value for name, value in row.items()}
                for row in state["history"]
            ]
            position = Position(self.epoch, state.get("step", 0))
            if (found / GENERATORS).is_file():  # earlier versions did not write it
                self._generators = read_arrays(found, GENERATORS)
            if position.step:
                self._counts = list(read_arrays(found, COUNTS).values())
                if state["steps_per_epoch"] != steps:
                    raise ValueError(
                        f"an epoch had {state['steps_per_epoch']} steps and has {steps} now, so "
                        "the data are not those of the run."
                    )
        except (OSError, KeyError, TypeError, AttributeError, ValueError, UserWarning) as error:
            raise _cannot_resume(found, error) from error
        self._saved, self._kept = position, [found]
        self._warn_of_other_devices(state.get("devices"))
        return position

    def _set_generators(self) -> None:
        """Gives the random generators the states of the checkpoint that was restored, once."""
        set_generator_states(self._generators)
        self._generators = {}

    def _newest_whole(self) -> Path:
        """The newest checkpoint that is whole; says which ones are not."""
        damaged = None
        for _, path in reversed(checkpoints(self.folder)):
            try:
                check_whole(path)
            except ValueError as error:
                damaged = damaged or _cannot_resume(path, error)
                continue
            if damaged is not None and self.spread.is_chief:
                warnings.warn(f"{damaged} The run goes on from {path.name}.", stacklevel=4)
            return path
        assert damaged is not None  # the caller looked whether there is one
        raise damaged

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

    def _steps_until(self, position: Position) -> int:
        """Steps of the run up to there."""
        return position.epoch * int(self.params["steps"]) + position.step

    def _has_to_stop(self) -> bool:
        """Whether a signal ends the run here, in all processes, whichever of them got it."""
        if self.spread.processes > 1:
            self._asked += 1
            if self._asked % ASK_EVERY != 1:
                return False
            self._ask_all()
        return self.signals.received is not None

    def _ask_all(self) -> None:
        """Takes over a signal that another process got; all have to ask at the same step."""
        if self.spread.processes > 1:
            number = largest_of_processes(self.signals.received or 0, self.spread.engine)
            self.signals.received = number or None

    def _stop(self) -> NoReturn:
        # Nobody leaves before the first has written: what started the processes may end them then.
        self._ask_all()
        assert self.signals.received is not None  # the caller looked
        step = f"step {self._saved.step} of epoch" if self._saved.step else "the start of epoch"
        raise TrainingStopped(
            self.signals.received,
            f"at {step} {self._saved.epoch + 1}, which is saved in {self.folder}.",
        )

    def _write_checkpoint(
        self, position: Position, counts: Sequence[np.ndarray] | None = None
    ) -> None:
        """Writes what a resumed run needs; the checkpoint before stays."""
        if self.spread.is_chief:
            state = {
                **position._asdict(),
                "steps_per_epoch": self.params and self.params["steps"],
                "best": self.best,
                "best_epoch": self.best_epoch,
                "history": self.history,
                "devices": self.spread.devices(),
            }
            with self.spread.alone():
                path = write_checkpoint(
                    self.folder,
                    position,
                    state,
                    self.model.save_weights,
                    generator_states(),
                    counts,
                )
            self._kept = [*self._kept, path][-KEPT:]
            remove_all_but(self.folder, self._kept)
        self._saved = position
        self.save_every.saved(self._steps_until(position) if self.params else 0)

    def write_log(self) -> None:
        """Writes `log.csv` from the rows of all epochs."""
        names = list(dict.fromkeys(name for row in self.history for name in row))
        with files.written(self.folder / "log.csv") as path, open(path, "w", newline="") as file:
            writer = csv.DictWriter(file, names, lineterminator="\n")
            writer.writeheader()
            for row in self.history:
                writer.writerow(
                    {k: v if k == "epoch" else float(f"{v:.6g}") for k, v in row.items()}
                )


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
            files.lock(file)
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


def ended_early(
    history: Iterable[Mapping[str, float]],
    best_epoch: int,
    patience: int | None,
    monitor: str = "mean_iou",
) -> bool:
    """Whether `patience` epochs lie between the best one and the last that was validated.

    Args:
        history: Values by name for each epoch; what an epoch has no value for is missing.
        best_epoch: The best epoch, 0 or less before the first validation.
        patience: Epochs without a better measure after which training ends; None: any number.
        monitor: Name of the validation measure.
    """
    measured = [row["epoch"] for row in history if f"val_{monitor}" in row]
    since = max(measured, default=0) - max(best_epoch, 0)
    return patience is not None and since >= patience


def is_in_use(folder: Path) -> bool:
    """Whether a process trains in a run's folder; asks without a trace."""
    lock = folder / ".lock"
    if not lock.is_file():
        return False
    try:
        with open(lock, "a") as file:
            files.lock(file)
    except OSError:
        return True
    return False


def _cannot_resume(checkpoint: Path, error: Exception) -> ValueError:
    return ValueError(
        f"{checkpoint} cannot be resumed from: {error} Put back a copy of it that is whole, "
        "or start in another folder."
    )


def _named(devices: Mapping[str, Any]) -> str:
    """What `Distribution.devices` says, in words."""
    return f"strategy {devices['strategy']!r} of {devices['replicas']}"
