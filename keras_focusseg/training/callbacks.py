"""What happens beside the steps of a run: a watch on the loss, validation of averaged weights."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from typing import Any

import keras

from keras_focusseg.optimizers import own_optimizer

LOGS_EVERY = 25
"""Steps of a run from one whose logs the callbacks get to the next."""


class TrainingDiverged(RuntimeError):
    """The loss is no longer a number; the message says where, and how to go on."""


class StopOnNaN(keras.callbacks.Callback):
    """Ends a run with `TrainingDiverged` soon after the loss is not finite.

    The step does not wait for it: on JAX and PyTorch, Keras hands the logs to callbacks that say
    `async_safe` in a thread of its own, where they wait for the device, and the next steps are
    under way when the error arrives; on TensorFlow Keras itself waits for the logs of each step,
    but not in `training.train`, see `RunCallbacks`. No validation counts, and no checkpoint is
    written, after it.
    """

    async_safe = True

    def __init__(self) -> None:
        super().__init__()
        self.epoch = 0
        self.message: str | None = None

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Notes the epoch, for the message."""
        self.epoch = epoch

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Looks at the mean loss of the epoch so far, which keeps a NaN once it met one."""
        loss = float((logs or {}).get("loss", 0.0))
        if not math.isfinite(loss) and self.message is None:
            self.message = (
                f"The loss was {loss} in step {batch + 1} of epoch {self.epoch + 1}. The last "
                "checkpoint is kept. Lower the learning rate, lengthen the warm-up or clip "
                "gradients harder, and look for broken images; then train anew."
            )
        self._raise()

    def on_test_end(self, logs: dict[str, Any] | None = None) -> None:
        """Lets no validation count that came after a NaN."""
        self._raise()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Lets no checkpoint be written after a NaN."""
        self._raise()

    def _raise(self) -> None:
        if self.message is not None:
            raise TrainingDiverged(self.message)


class RunCallbacks(keras.callbacks.CallbackList):
    """The callbacks of a run, which may be several calls of `fit`.

    They hear of every step, but get the logs of the first, of every 25th after it and of the last
    of an epoch alone: Keras makes numbers of them, for which it has to wait for the device.

    Args:
        callbacks: The callbacks.
        **options: As for `keras.callbacks.CallbackList`.

    Attributes:
        first_step: Steps of the epoch that were taken before the next call of `fit`: callbacks hear
            the number that a step has in its epoch.
    """

    def __init__(self, callbacks: list[keras.callbacks.Callback], **options: Any) -> None:
        super().__init__(callbacks, **options)
        self.first_step = 0
        self._due = 0

    @contextlib.contextmanager
    def run(self) -> Iterator[None]:
        """Around all calls of `fit`, whose own begin and end are not told."""
        super().on_train_begin()
        yield
        super().on_train_end()

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Nothing, see `run`."""

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Nothing, see `run`."""

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Lets the first step bring logs."""
        self._due = 0
        super().on_epoch_begin(epoch, logs)

    def on_train_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Tells the number of the step in its epoch."""
        super().on_train_batch_begin(batch + self.first_step, logs)

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Tells the number of the step in its epoch, and the logs if they are due."""
        step = batch + self.first_step
        if step < min(self._due, self.params["steps"] - 1):
            logs = None
        else:
            self._due = step + LOGS_EVERY
        super().on_train_batch_end(step, logs)


class ValidateAverages(keras.callbacks.Callback):
    """Validates the averaged weights that an optimizer with `ema` keeps, then goes on training.

    What looks at the weights while they are validated, `RunFolder` for one, has to come before it
    in the list of callbacks.

    Example:
        ```python
        model.compile(optimizers.AdamW(2e-4, ema=0.999))
        model.fit(train, validation_data=val, callbacks=[training.ValidateAverages()])
        # Trained; now keep the averages. (Under mixed_float16 Keras wraps the optimizer.)
        optimizers.own_optimizer(model.optimizer).swap_averages()
        ```
    """

    def on_test_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Puts the averages in place."""
        self._swap()

    def on_test_end(self, logs: dict[str, Any] | None = None) -> None:
        """Puts the trained weights back."""
        self._swap()

    def _swap(self) -> None:
        own = own_optimizer(self.model.optimizer)
        if own is None or not own.ema:
            raise ValueError(
                "ValidateAverages needs an optimizer that keeps averages: compile with "
                "keras_focusseg.optimizers.AdamW(..., ema=0.999) or SGD(..., ema=0.999)."
            )
        own.swap_averages()
