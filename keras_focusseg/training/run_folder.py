"""The folder of a run: the best weights, checkpoints to resume from, logs."""

from __future__ import annotations

import csv
import json
import math
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
from keras import ops

from keras_focusseg import files
from keras_focusseg.training.distribution import Distribution

CHECKPOINTS = "checkpoints"


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
            ValueError: The checkpoint cannot be read.
        """
        newest = newest_checkpoint(self.folder)
        if newest is None:
            return 0
        try:
            state = json.loads((newest / "state.json").read_text())
            with warnings.catch_warnings():  # Keras leaves out an optimizer that does not fit
                warnings.filterwarnings("error", "Skipping variable loading")
                self.model.load_weights(newest / "training.weights.h5")
        except (OSError, KeyError, ValueError, UserWarning) as error:
            raise ValueError(
                f"{newest} cannot be resumed from: {error}. Remove that folder to start anew."
            ) from error
        self.best_epoch = state["best_epoch"]
        self.best = -math.inf if state["best"] is None else state["best"]
        self.history = state["history"]
        self.epoch = state["epoch"]
        return self.epoch

    def _write_checkpoint(self, epochs_done: int) -> None:
        parent = self.folder / CHECKPOINTS
        parent.mkdir(parents=True, exist_ok=True)
        final = parent / f"epoch_{epochs_done:04d}"
        state = {
            "epoch": epochs_done,
            "best": self.best,
            "best_epoch": self.best_epoch,
            "history": self.history,
        }
        with files.written_folder(final) as folder:
            self.model.save_weights(folder / "training.weights.h5")  # with the optimizer's state
            files.write_json(folder / "state.json", state)
        for old in parent.glob("epoch_*"):
            if old != final:
                shutil.rmtree(old)

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
    """The last finished epoch of a run's folder, or `None`."""
    found = sorted((folder / CHECKPOINTS).glob("epoch_*/state.json"))
    return found[-1].parent if found else None
