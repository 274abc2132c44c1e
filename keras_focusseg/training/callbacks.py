"""What happens beside the steps of a run: a watch on the loss, averaged weights."""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
from keras import ops


class TrainingDiverged(RuntimeError):
    """The loss is no longer a number; the message says where, and how to go on."""


class StopOnNaN(keras.callbacks.Callback):
    """Ends a run with `TrainingDiverged` as soon as the loss is not finite."""

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Looks at the mean loss of the epoch so far, which keeps a NaN once it met one."""
        loss = float((logs or {}).get("loss", 0.0))
        if not math.isfinite(loss):
            rate = float(ops.convert_to_numpy(self.model.optimizer.learning_rate))
            raise TrainingDiverged(
                f"The loss became {loss} in step {int(self.model.optimizer.iterations)} of the "
                f"run (learning rate {rate:.2e}). The last finished epoch is kept. Lower the "
                "learning rate, lengthen the warm-up or clip gradients harder, and look for "
                "broken images; then train anew."
            )


class MovingAverage(keras.callbacks.Callback):
    """Keeps an exponential moving average of all weights, batch-norm statistics included.

    Averaged kernels with statistics of other kernels would be a network that was never trained,
    so both are averaged alike. The momentum grows with the steps, `(1 + t) / (10 + t)` at most
    `momentum`, so that the first values do not linger (Tarvainen and Valpola, arXiv 1703.01780).

    Args:
        momentum: Share of the average that each step keeps, in [0, 1).
    """

    def __init__(self, momentum: float) -> None:
        super().__init__()
        self.momentum = momentum
        self.averages: list[Any] | None = None
        self.steps = 0

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Starts from the weights as they are, unless a resumed run brought averages."""
        if self.averages is None:
            self.averages = [ops.copy(w.value) for w in self._weights()]

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Moves the averages towards the weights."""
        self._sync()
        self.steps += 1
        keep = min(self.momentum, (1 + self.steps) / (10 + self.steps))
        assert self.averages is not None
        for i, weight in enumerate(self._weights()):
            value = ops.stop_gradient(weight.value)
            self.averages[i] = self.averages[i] + (1.0 - keep) * (value - self.averages[i])

    def swap(self) -> None:
        """Exchanges weights and averages; a second call puts them back."""
        self._sync()
        assert self.averages is not None
        for i, weight in enumerate(self._weights()):
            present = ops.copy(weight.value)
            weight.assign(self.averages[i])
            self.averages[i] = present

    def state(self) -> dict[str, np.ndarray]:
        """Averages as arrays, for a checkpoint."""
        arrays = {f"{i:05d}": ops.convert_to_numpy(a) for i, a in enumerate(self.averages or [])}
        return {**arrays, "steps": np.asarray([self.steps], "int64")}

    def restore(self, state: dict[str, np.ndarray]) -> None:
        """Takes over what `state` gave."""
        state = dict(state)
        self.steps = int(state.pop("steps")[0])
        self.averages = [ops.convert_to_tensor(state[key]) for key in sorted(state)]

    def _weights(self) -> list[keras.Variable]:
        return [w for w in self.model.weights if "float" in str(w.dtype)]

    def _sync(self) -> None:
        # The JAX trainer holds the state itself during an epoch; this hands it to the variables.
        if hasattr(self.model, "jax_state_sync"):
            self.model.jax_state_sync()
