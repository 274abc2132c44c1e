"""Exact selection of the K most important cells of a map, and its straight-through gradient."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import keras
from keras import ops


def top_k_count(ratio: float, cells: Any) -> Any:
    """Number of cells that a ratio selects: `round(ratio * cells)`, at least 1, at most all.

    Halves are rounded to even, as Python's `round` does. The arithmetic is in whole numbers, so
    the count does not depend on the backend's floating point.

    Args:
        ratio: Share of the cells, in 0..1 (resolved to thousandths).
        cells: Number of cells: an integer, or an integer tensor when the size is dynamic.

    Returns:
        The count, of the type of `cells`.

    Example:
        ```python
        top_k_count(0.1, 4096)    # 410
        ```
    """
    share = Fraction(ratio).limit_denominator(1000)
    p, q = share.numerator, share.denominator
    whole, rest = (cells * p) // q, (cells * p) % q
    if isinstance(cells, int):
        up = 2 * rest > q or (2 * rest == q and whole % 2 == 1)
        return min(cells, max(1, whole + int(up)))
    up = ops.logical_or(2 * rest > q, ops.logical_and(2 * rest == q, whole % 2 == 1))
    return ops.minimum(cells, ops.maximum(1, whole + ops.cast(up, whole.dtype)))


@keras.saving.register_keras_serializable(package="keras_focusseg")
class TopKMasks(keras.layers.Layer):
    """Binary masks of the highest-ranked cells of each image, one mask a ratio (FoR-Net, Eq. 2).

    One ranking per image serves all ratios, so the masks are nested, and a mask holds exactly
    `top_k_count(ratio, H * W)` ones even where many values are equal (the earlier cell wins).
    No gradient flows through the ranking.

    Args:
        ratios: Share of the cells that each mask selects, each in (0, 1].
        **kwargs: `name` and the like, for `keras.layers.Layer`; it always computes in float32.

    Raises:
        ValueError: A ratio is not in (0, 1].

    Example:
        ```python
        masks = TopKMasks((0.1, 0.4))(keras.random.normal((2, 8, 16, 1)))   # (2, 8, 16, 2)
        ```
    """

    def __init__(self, ratios: Sequence[float], **kwargs: Any) -> None:
        kwargs["dtype"] = "float32"  # in half precision many scores would be equal
        super().__init__(**kwargs)
        self.ratios = tuple(float(ratio) for ratio in ratios)
        if not self.ratios or not all(0 < ratio <= 1 for ratio in self.ratios):
            raise ValueError(f"ratios must be in (0, 1], one a mask; got {tuple(ratios)}.")

    def call(self, scores: Any) -> Any:
        """Scores (B, H, W, 1) to masks (B, H, W, len(ratios)) of zeros and ones."""
        batch, height, width, _ = ops.shape(scores)
        cells = height * width
        flat = ops.reshape(ops.stop_gradient(scores), (batch, cells))
        rank = ops.argsort(ops.argsort(-flat, axis=1), axis=1)  # (B, H * W), 0 is the best
        masks = [rank < ops.cast(top_k_count(r, cells), rank.dtype) for r in self.ratios]
        masks = ops.cast(ops.stack(masks, axis=-1), "float32")  # (B, H * W, R)
        return ops.stop_gradient(ops.reshape(masks, (batch, height, width, len(self.ratios))))

    def compute_output_shape(self, scores_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """As the scores, with one channel a ratio."""
        return (*scores_shape[:-1], len(self.ratios))

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments."""
        return {**super().get_config(), "ratios": list(self.ratios)}


@keras.saving.register_keras_serializable(package="keras_focusseg")
class StraightThroughMask(keras.layers.Layer):
    """Multiplies features by a hard mask whose gradient goes to the soft score beneath it.

    Forward, the mask is exactly the binary one; backward, its derivative with respect to the
    score S = sigmoid(z) is 1 at every position (Bengio et al., arXiv 1308.3432; FoR-Net, Eq. 5):
    `x * (M + (S - stop_gradient(S)))`.

    Args:
        index: Which of the masks to use.
        **kwargs: `name` and the like, for `keras.layers.Layer`.

    Example:
        ```python
        z = keras.random.normal((1, 8, 8, 1))
        masks = TopKMasks((0.1, 0.4))(z)
        chosen = StraightThroughMask(0)(keras.ops.ones((1, 8, 8, 16)), masks, z)
        ```
    """

    def __init__(self, index: int, **kwargs: Any) -> None:
        super().__init__(autocast=False, **kwargs)
        self.index = index

    def call(self, x: Any, masks: Any, logits: Any) -> Any:
        """Features (B, H, W, C), masks (B, H, W, R), score logits z (B, H, W, 1): (B, H, W, C)."""
        score = ops.sigmoid(ops.cast(logits, "float32"))  # S
        mask = masks[..., self.index : self.index + 1]  # M, (B, H, W, 1)
        mask = mask + (score - ops.stop_gradient(score))
        return x * ops.cast(mask, x.dtype)

    def compute_output_shape(
        self,
        x_shape: tuple[int | None, ...],
        masks_shape: tuple[int | None, ...],
        logits_shape: tuple[int | None, ...],
    ) -> tuple[int | None, ...]:
        """As the features."""
        return x_shape

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments."""
        return {**super().get_config(), "index": self.index}
