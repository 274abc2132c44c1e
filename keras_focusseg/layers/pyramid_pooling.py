"""Pyramid pooling of PSPNet."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import KerasTensor, ops

from keras_focusseg.layers.conv_norm_act import ConvNormAct
from keras_focusseg.layers.resample import resize_to

Shape = tuple[Any, ...]


def adaptive_average(x: Any, bins: int) -> Any:
    """Means of `bins` x `bins` regions that cover a map (B, H, W, C) of any size.

    Region i spans rows floor(i * H / bins) to ceil((i + 1) * H / bins), as adaptive pooling in
    PyTorch; written as two products with averaging matrices, which work where the size is known
    only at run time.
    """
    by_rows = _averaging(bins, ops.shape(x)[1])  # (bins, H)
    by_columns = _averaging(bins, ops.shape(x)[2])  # (bins, W)
    x = ops.einsum("ih,bhwc->biwc", by_rows, ops.cast(x, "float32"))
    return ops.einsum("jw,biwc->bijc", by_columns, x)


def _averaging(bins: int, size: Any) -> Any:
    index = ops.arange(bins, dtype="int32")[:, None]
    start, stop = (index * size) // bins, ((index + 1) * size + (bins - 1)) // bins
    position = ops.arange(size, dtype="int32")[None]
    inside = ops.cast((position >= start) & (position < stop), "float32")
    return inside / ops.sum(inside, axis=1, keepdims=True)


@keras.saving.register_keras_serializable(package="keras_focusseg")
class PyramidPooling(keras.layers.Layer):
    """Pyramid pooling of PSPNet: means of 1, 2, 3 and 6 regions a side, joined with the map.

    Zhao et al., arXiv 1612.01105. Here to be compared with `ContextualRefinement`.

    Args:
        filters: Channels of the result.
        bins: Regions a side of each level.
        **kwargs: `name`, `dtype` and the like, for `keras.layers.Layer`.

    Example:
        >>> import keras
        >>> from keras_focusseg import layers
        >>> tuple(layers.PyramidPooling(64)(keras.ops.ones((1, 16, 32, 128))).shape)
        (1, 16, 32, 64)
    """

    def __init__(
        self, filters: int = 512, bins: Sequence[int] = (1, 2, 3, 6), **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.filters, self.bins = filters, tuple(bins)

    def build(self, input_shape: Shape) -> None:
        """Makes a 1x1 convolution a level and the 3x3 convolution after the join."""
        channels, policy = input_shape[-1], self.dtype_policy
        inner = self._inner(channels)
        self.levels = [ConvNormAct(inner, dtype=policy, name=f"level{n}") for n in self.bins]
        for bins, level in zip(self.bins, self.levels, strict=True):
            level.build((input_shape[0], bins, bins, channels))
        self.fuse = ConvNormAct(self.filters, 3, dtype=policy, name="fuse")
        self.fuse.build((*input_shape[:-1], channels + inner * len(self.bins)))

    def call(self, x: Any, training: bool | None = None) -> Any:
        """Maps (B, h, w, C) to (B, h, w, filters)."""
        size = tuple(ops.shape(x)[1:3])
        joined = [x]
        for bins, level in zip(self.bins, self.levels, strict=True):
            y = ops.cast(adaptive_average(x, bins), x.dtype)  # (B, bins, bins, C)
            joined.append(resize_to(level(y, training=training), size))
        return self.fuse(ops.concatenate(joined, axis=-1), training=training)

    def compute_output_spec(self, x: Any, training: bool | None = None) -> Any:
        """As the input, with `filters` channels."""
        return KerasTensor((*x.shape[:-1], self.filters), self.compute_dtype)

    def macs(self, *input_shapes: tuple[int, ...]) -> int:
        """Multiply-accumulates of the convolutions."""
        _, height, width, channels = input_shapes[0]
        inner = self._inner(channels)
        levels = sum(n * n for n in self.bins) * channels * inner
        joined = channels + inner * len(self.bins)
        return levels + 9 * height * width * joined * self.filters

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments."""
        return {**super().get_config(), "filters": self.filters, "bins": list(self.bins)}

    def _inner(self, channels: int) -> int:
        return max(1, channels // len(self.bins))
