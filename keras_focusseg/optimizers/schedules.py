"""Learning-rate schedules that Keras lacks: a warm-up, then what segmentation networks use."""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import ops


class _Warmup(keras.optimizers.schedules.LearningRateSchedule):
    """A linear warm-up before whatever a subclass says in `after_warmup`."""

    def __init__(self, peak: float, warmup_steps: int, warmup_start: float | None) -> None:
        super().__init__()
        if warmup_start is not None and not 0 <= warmup_start <= 1:
            raise ValueError(f"warmup_start must be None or in 0..1, got {warmup_start}.")
        self.peak, self.warmup_steps, self.warmup_start = peak, warmup_steps, warmup_start

    def after_warmup(self, step: Any) -> Any:
        """Rate at an optimizer step (int32 scalar) that is not below `warmup_steps`."""
        raise NotImplementedError

    def __call__(self, step: Any) -> Any:
        """Rate at an optimizer step (scalar tensor or number)."""
        step = ops.cast(step, "int32")
        done = ops.cast(step, "float32")
        steps = max(1, self.warmup_steps)
        if self.warmup_start is None:
            warm = (done + 1.0) / steps
        else:
            warm = self.warmup_start + (1.0 - self.warmup_start) * done / steps
        return ops.where(step < self.warmup_steps, self.peak * warm, self.after_warmup(step))

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments."""
        return {
            "peak": self.peak,
            "warmup_steps": self.warmup_steps,
            "warmup_start": self.warmup_start,
        }


class _WarmupDecay(_Warmup):
    """A linear warm-up, then from `peak` down to `end` as a subclass says in `left`."""

    def __init__(
        self,
        peak: float,
        total_steps: int,
        warmup_steps: int,
        end: float,
        warmup_start: float | None,
    ) -> None:
        super().__init__(peak, warmup_steps, warmup_start)
        if not 0 <= warmup_steps < total_steps:
            raise ValueError(
                "warmup_steps must be in 0..total_steps - 1, got "
                f"warmup_steps={warmup_steps} and total_steps={total_steps}."
            )
        self.total_steps, self.end = total_steps, end

    def left(self, progress: Any) -> Any:
        """Share of the way from `end` to `peak` that is left, 1 to 0, at a progress of 0 to 1."""
        raise NotImplementedError

    def after_warmup(self, step: Any) -> Any:
        """The decay, and `end` after the last step."""
        done = ops.cast(step - self.warmup_steps, "float32")
        progress = ops.clip(done / (self.total_steps - self.warmup_steps), 0.0, 1.0)
        return self.end + (self.peak - self.end) * self.left(progress)

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments."""
        return {**super().get_config(), "total_steps": self.total_steps, "end": self.end}


@keras.saving.register_keras_serializable(package="keras_focusseg")
class WarmupPoly(_WarmupDecay):
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
        warmup_start: Share r of the peak that the warm-up starts from, in 0..1: the rate is
            then `peak * (r + (1 - r) * s / warmup_steps)` during warm-up.

    Raises:
        ValueError: The steps do not fit each other, or `warmup_start` is no share.

    Example:
        >>> from keras_focusseg import optimizers
        >>> schedule = optimizers.WarmupPoly(2e-4, total_steps=40_000, warmup_steps=1_000)
        >>> [f"{float(schedule(step)):.1e}" for step in (0, 999, 20_500, 40_000)]
        ['2.0e-07', '2.0e-04', '1.1e-04', '0.0e+00']
    """

    def __init__(
        self,
        peak: float,
        total_steps: int,
        warmup_steps: int = 0,
        power: float = 0.9,
        end: float = 0.0,
        warmup_start: float | None = None,
    ) -> None:
        super().__init__(peak, total_steps, warmup_steps, end, warmup_start)
        self.power = power

    def left(self, progress: Any) -> Any:
        """The polynomial."""
        return ops.power(1.0 - progress, self.power)

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments."""
        return {**super().get_config(), "power": self.power}


@keras.saving.register_keras_serializable(package="keras_focusseg")
class WarmupCosine(_WarmupDecay):
    """Linear warm-up, then half a cosine down to `end`.

    At step s after warm-up the rate is `end + (peak - end) * (1 + cos(pi * p)) / 2` with
    `p = (s - warmup_steps) / (total_steps - warmup_steps)` (Loshchilov and Hutter, SGDR, arXiv
    1608.03983, Eq. (5), without restarts), and `end` after `total_steps`.

    Args:
        peak: Highest rate, > 0.
        total_steps: Steps in all, warm-up included.
        warmup_steps: Steps of the warm-up, fewer than `total_steps`.
        end: Rate at the end.
        warmup_start: As for `WarmupPoly`.

    Raises:
        ValueError: The steps do not fit each other, or `warmup_start` is no share.

    Example:
        >>> from keras_focusseg import optimizers
        >>> schedule = optimizers.WarmupCosine(2e-4, total_steps=40_000, warmup_steps=1_000)
        >>> [f"{float(schedule(step)):.1e}" for step in (0, 999, 20_500, 40_000)]
        ['2.0e-07', '2.0e-04', '1.0e-04', '0.0e+00']
    """

    def __init__(
        self,
        peak: float,
        total_steps: int,
        warmup_steps: int = 0,
        end: float = 0.0,
        warmup_start: float | None = None,
    ) -> None:
        super().__init__(peak, total_steps, warmup_steps, end, warmup_start)

    def left(self, progress: Any) -> Any:
        """Half a cosine."""
        return 0.5 * (1.0 + ops.cos(math.pi * progress))


@keras.saving.register_keras_serializable(package="keras_focusseg")
class WarmupStep(_Warmup):
    """Linear warm-up, then `peak * factor ** floor(s / every)` at step s.

    The drops are counted from step 0, so a warm-up does not shift them.

    Args:
        peak: Rate before the first drop, > 0.
        every: Steps between two drops.
        factor: What the rate is multiplied by at a drop, in (0, 1].
        warmup_steps: Steps of the warm-up.
        warmup_start: As for `WarmupPoly`.

    Raises:
        ValueError: A value is out of its range.

    Example:
        >>> from keras_focusseg import optimizers
        >>> schedule = optimizers.WarmupStep(1e-3, every=10 * 122, factor=0.3)  # 10 epochs
        >>> [f"{float(schedule(step)):.1e}" for step in (0, 1219, 1220, 2440)]
        ['1.0e-03', '1.0e-03', '3.0e-04', '9.0e-05']
    """

    def __init__(
        self,
        peak: float,
        every: int,
        factor: float = 0.3,
        warmup_steps: int = 0,
        warmup_start: float | None = None,
    ) -> None:
        super().__init__(peak, warmup_steps, warmup_start)
        if every < 1 or not 0 < factor <= 1 or warmup_steps < 0:
            raise ValueError(
                "every must be at least 1, factor in (0, 1] and warmup_steps at least 0, got "
                f"every={every}, factor={factor} and warmup_steps={warmup_steps}."
            )
        self.every, self.factor = every, factor

    def after_warmup(self, step: Any) -> Any:
        """The stairs."""
        drops = ops.floor_divide(step, self.every)  # of integers: exact on every backend
        return self.peak * ops.power(self.factor, ops.cast(drops, "float32"))

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments."""
        return {**super().get_config(), "every": self.every, "factor": self.factor}
