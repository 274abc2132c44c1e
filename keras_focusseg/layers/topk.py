"""Exact selection of the K most important cells of a map, and its straight-through gradient."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import keras
from keras import ops

from keras_focusseg.layers.conv_norm_act import ConvNormAct


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
        >>> from keras_focusseg import layers
        >>> layers.top_k_count(0.1, 4096)
        410
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
        >>> import keras
        >>> from keras_focusseg import layers
        >>> masks = layers.TopKMasks((0.1, 0.4))(keras.random.normal((2, 8, 16, 1)))
        >>> keras.ops.convert_to_numpy(keras.ops.sum(masks, axis=(1, 2))).tolist()
        [[13.0, 51.0], [13.0, 51.0]]
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
        >>> import keras
        >>> from keras_focusseg import layers
        >>> z = keras.random.normal((1, 8, 8, 1))
        >>> masks = layers.TopKMasks((0.1, 0.4))(z)
        >>> chosen = layers.StraightThroughMask(0)(keras.ops.ones((1, 8, 8, 16)), masks, z)
        >>> float(keras.ops.sum(chosen)) / 16  # cells that are not zero
        6.0
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


@keras.saving.register_keras_serializable(package="keras_focusseg")
class RankedCells(keras.layers.Layer):
    """The cells of each image from the highest score to the lowest, as `TopKMasks` ranks them.

    Args:
        **kwargs: `name` and the like, for `keras.layers.Layer`; it always computes in float32.

    Example:
        >>> import keras
        >>> from keras_focusseg import layers
        >>> cells = layers.RankedCells()(keras.ops.array([[[[0.1], [0.7]], [[0.4], [0.2]]]]))
        >>> keras.ops.convert_to_numpy(cells).tolist()  # row * 2 + column
        [[1, 2, 3, 0]]
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{**kwargs, "dtype": "float32"})

    def call(self, scores: Any) -> Any:
        """Scores (B, H, W, 1) to numbers of cells (B, H * W), int32."""
        batch, height, width, _ = ops.shape(scores)
        flat = ops.reshape(scores, (batch, height * width))
        return ops.cast(ops.argsort(-flat, axis=1), "int32")

    def compute_output_spec(self, scores: Any) -> Any:
        """One number a cell."""
        batch, height, width, _ = scores.shape
        cells = None if height is None or width is None else height * width
        return keras.KerasTensor((batch, cells), "int32")


class SelectedConvNormAct(keras.layers.Layer):
    """A `ConvNormAct` of maps that are zero but in the highest-ranked cells, at their cost alone.

    Gives what `ConvNormAct` gives for the masked maps. The chosen cells are gathered and multiplied
    by one tap of the kernel after the other, (K, C) by (C, filters); each cell of the result then
    takes the product of the neighbour that the tap reads, or nothing where that was not chosen. The
    products fall with K; what the cells take costs memory traffic that a dense convolution does not
    have.

    Args:
        dense: The layer whose weights it uses; built.
        ratio: Share of the cells that are chosen.
        **kwargs: `name` and the like, for `keras.layers.Layer`.
    """

    def __init__(self, dense: ConvNormAct, ratio: float, **kwargs: Any) -> None:
        super().__init__(dtype=dense.dtype_policy, **kwargs)
        self.dense, self.ratio = dense, ratio

    def call(self, x: Any, cells: Any) -> Any:
        """Maps (B, H, W, C) and `RankedCells` (B, H * W) to (B, H, W, filters)."""
        batch, height, width, channels = ops.shape(x)
        side, rate = self.dense.kernel_size, self.dense.dilation_rate
        total = height * width
        count = top_k_count(self.ratio, total)  # K
        image = ops.expand_dims(ops.arange(batch, dtype="int32"), -1)  # (B, 1)
        chosen = ops.reshape(cells[:, :count] + image * total, (-1,))
        values = ops.take(ops.reshape(x, (-1, channels)), chosen, axis=0)
        values = ops.pad(values, ((1, 0), (0, 0)))  # (1 + B K, C), row 0 for what is not chosen

        # The row that holds each cell; around the map there is nothing, as in "same" padding.
        rank = ops.cast(ops.argsort(cells, axis=1), "int32")  # (B, H * W), 0 is the best
        row = ops.where(rank < count, 1 + image * count + rank, 0)
        before = rate * (side - 1) // 2
        around = (before, rate * (side - 1) - before)  # of an even kernel one more at the end
        row = ops.reshape(row, (batch, height, width))
        row = ops.pad(row, ((0, 0), around, around))
        kernel = ops.cast(self.dense.conv.kernel, x.dtype)  # (k, k, C, filters)
        y: Any = 0.0  # (B, H, W, filters)
        for i, j in itertools.product(range(side), repeat=2):
            top, left = i * rate, j * rate
            reads = row[:, top : top + height, left : left + width]
            y = y + ops.take(ops.matmul(values, kernel[i, j]), reads, axis=0)
        return self.dense.activation(self.dense.norm(y, training=False))

    def compute_output_spec(self, x: Any, cells: Any) -> Any:
        """As `ConvNormAct`."""
        return keras.KerasTensor(self.dense.compute_output_shape(x.shape), self.compute_dtype)

    def macs(self, *input_shapes: tuple[int, ...]) -> int:
        """Multiply-accumulates of the chosen cells."""
        _, height, width, channels = input_shapes[0]
        chosen = int(top_k_count(self.ratio, height * width))
        return chosen * channels * self.dense.kernel_size**2 * self.dense.filters
