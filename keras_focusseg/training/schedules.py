"""Learning-rate schedules that Keras lacks."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="keras_focusseg")
class WarmupPoly(keras.optimizers.schedules.LearningRateSchedule):
    """Linear warm-up, then polynomial decay to `end`: the habit of segmentation networks.

    At step s the rate is `peak * (s + 1) / warmup_steps` during warm-up, then
    `end + (peak - end) * (1 - (s - warmup_steps) / (total_steps - warmup_steps)) ** power`
    (Liu et al., ParseNet, arXiv 1506.04579, for the polynomial part), and `end` after
    `total_steps`.

    Args:
        peak: Highest rate, > 0.
        total_steps: Steps in all, warm-up included.
        warmup_steps: Steps of the warm-up, fewer than `total_steps`.
        power: Exponent of the decay.
        end: Rate at the end.

    Raises:
        ValueError: The steps do not fit each other.

    Example:
        ```python
        schedule = WarmupPoly(2e-4, total_steps=40_000, warmup_steps=1_000)
        ```
    """

    def __init__(
        self,
        peak: float,
        total_steps: int,
        warmup_steps: int = 0,
        power: float = 0.9,
        end: float = 0.0,
    ) -> None:
        super().__init__()
        if not 0 <= warmup_steps < total_steps:
            raise ValueError(
                f"warmup_steps must be in 0..total_steps - 1, got warmup_steps={warmup_steps} and "
                f"total_steps={total_steps}."
            )
        self.peak, self.end, self.power = peak, end, power
        self.total_steps, self.warmup_steps = total_steps, warmup_steps

    def __call__(self, step: Any) -> Any:
        """Rate at an optimizer step (scalar tensor or number)."""
        step = ops.cast(step, "float32")
        warm = (step + 1.0) / max(1, self.warmup_steps)
        progress = (step - self.warmup_steps) / (self.total_steps - self.warmup_steps)
        decay = ops.power(1.0 - ops.clip(progress, 0.0, 1.0), self.power)
        decayed = self.end + (self.peak - self.end) * decay
        return ops.where(step < self.warmup_steps, self.peak * warm, decayed)

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments."""
        return {
            "peak": self.peak,
            "total_steps": self.total_steps,
            "warmup_steps": self.warmup_steps,
            "power": self.power,
            "end": self.end,
        }
