"""Context of the whole image for the coarsest map: CRM, and pyramid pooling."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import KerasTensor, ops

from keras_focusseg.layers.attention import ChannelAttention, DisentangledNonLocal, SqueezeExcite
from keras_focusseg.layers.conv_norm_act import torch_conv_initializer
from keras_focusseg.layers.resample import resize_to

ORDERS = ("channel_spatial", "spatial_channel", "parallel", "channel", "spatial")
Shape = tuple[Any, ...]


@keras.saving.register_keras_serializable(package="keras_focusseg")
class ContextualRefinement(keras.layers.Layer):
    """CRM: gathers all stages of a backbone and lets channels, then positions, attend.

    Contextual refinement module of arXiv 2412.08671. The maps of the four stages are pooled to the
    size of the coarsest and joined, which balances channels and positions; a channel-attention
    block and a spatial block, the disentangled non-local one, follow in series. Pooling by
    non-overlapping means, the reduction to `filters` channels and the forms of the two blocks are
    this library's choice: see `ChannelAttention` and `DisentangledNonLocal`. Both start as the
    identity.

    Args:
        filters: Channels after the reduction.
        order: `"channel_spatial"` (as the paper), `"spatial_channel"`, `"parallel"` (what each
            adds to the map is added), `"channel"` or `"spatial"` for one block alone.
        channel_attention: `"affinity"` for `ChannelAttention`, `"squeeze_excite"`.
        pooling: `"average"` or `"max"`.
        **kwargs: `name`, `dtype` and the like, for `keras.layers.Layer`.

    Raises:
        ValueError: An argument is unknown, or the maps' sizes are no multiples of the coarsest.

    Example:
        ```python
        stages = [keras.ops.ones((1, 64 // s, 128 // s, 8 * s)) for s in (1, 2, 4, 8)]
        y = ContextualRefinement(64)(stages)    # (1, 8, 16, 64)
        y, attention = ContextualRefinement(64)(stages, return_attention=True)
        # "channel_attention" (1, 64, 64), "spatial_attention" (1, 128, 128),
        # "unary_attention" (1, 8, 16, 1)
        ```
    """

    def __init__(
        self,
        filters: int = 512,
        order: str = "channel_spatial",
        channel_attention: str = "affinity",
        pooling: str = "average",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        for name, value, known in (
            ("order", order, ORDERS),
            ("channel_attention", channel_attention, ("affinity", "squeeze_excite")),
            ("pooling", pooling, ("average", "max")),
        ):
            if value not in known:
                raise ValueError(f"{name} must be one of {known}, got {value!r}.")
        self.filters, self.order = filters, order
        self.channel_attention, self.pooling = channel_attention, pooling

    def build(self, input_shape: Sequence[Shape]) -> None:
        """Makes the reduction and the attention blocks."""
        joined = sum(shape[-1] or 0 for shape in input_shape)
        policy = self.dtype_policy
        self.reduce = keras.layers.Conv2D(
            self.filters,
            1,
            use_bias=False,
            kernel_initializer=torch_conv_initializer(),
            dtype=policy,
            name="reduce",
        )
        self.reduce.build((None, None, None, joined))
        shape = (*input_shape[-1][:-1], self.filters)
        self.reduce_norm = keras.layers.BatchNormalization(
            momentum=0.9, epsilon=1e-5, dtype=policy, name="reduce_norm"
        )
        self.reduce_norm.build(shape)
        if self.order != "spatial":
            block = ChannelAttention if self.channel_attention == "affinity" else SqueezeExcite
            self.channel = block(dtype=policy, name="channel")
            self.channel.build(shape)
        if self.order != "channel":
            self.spatial = DisentangledNonLocal(dtype=policy, name="spatial")
            self.spatial.build(shape)

    def call(
        self, stages: Sequence[Any], return_attention: bool = False, training: bool | None = None
    ) -> Any:
        """Maps of the stages, finest first, to (B, h, w, filters) at the size of the last."""
        pooled = [self._pool(stage, stages[-1]) for stage in stages]
        x = self.reduce(ops.concatenate(pooled, axis=-1))  # (B, h, w, filters)
        x = ops.relu(self.reduce_norm(x, training=training))
        seen: dict[str, Any] = {}
        if self.order == "parallel":
            x = self._channel(x, seen) + self._spatial(x, seen, training) - x
        else:
            for block in self.order.split("_"):
                x = (
                    self._channel(x, seen)
                    if block == "channel"
                    else self._spatial(x, seen, training)
                )
        return (x, seen) if return_attention else x

    def _pool(self, x: Any, coarsest: Any) -> Any:
        """Non-overlapping windows, as many as `coarsest` has cells."""
        batch, height, width, channels = ops.shape(x)
        rows, columns = ops.shape(coarsest)[1:3]
        sides = (height, width, rows, columns)
        if all(isinstance(side, int) for side in sides) and (height % rows or width % columns):
            raise ValueError(
                f"{self.name}: a stage of {height}x{width} cells cannot be pooled to the coarsest "
                f"of {rows}x{columns}: its sides must be multiples. Pad the image: PadToMultiple."
            )
        windows = (batch, rows, height // rows, columns, width // columns, channels)
        pool = ops.mean if self.pooling == "average" else ops.max
        return pool(ops.reshape(x, windows), axis=(2, 4))

    def _channel(self, x: Any, seen: dict[str, Any]) -> Any:
        if self.channel_attention == "squeeze_excite":
            return self.channel(x)
        x, seen["channel_attention"] = self.channel(x, return_attention=True)
        return x

    def _spatial(self, x: Any, seen: dict[str, Any], training: bool | None) -> Any:
        x, seen["spatial_attention"], seen["unary_attention"] = self.spatial(
            x, return_attention=True, training=training
        )
        return x

    def compute_output_spec(
        self, stages: Sequence[Any], return_attention: bool = False, training: bool | None = None
    ) -> Any:
        """At the size of the last stage; attention is float32."""
        batch, height, width, _ = stages[-1].shape
        y = KerasTensor((batch, height, width, self.filters), self.compute_dtype)
        if not return_attention:
            return y
        positions = None if None in (height, width) else height * width
        shapes: dict[str, Shape] = {}
        if self.order != "spatial" and self.channel_attention == "affinity":
            shapes["channel_attention"] = (batch, self.filters, self.filters)
        if self.order != "channel":
            shapes["spatial_attention"] = (batch, positions, positions)
            shapes["unary_attention"] = (batch, height, width, 1)
        return y, {name: KerasTensor(shape, "float32") for name, shape in shapes.items()}

    def macs(self, *input_shapes: tuple[int, ...]) -> int:
        """Multiply-accumulates of the reduction and of both blocks, attention products included."""
        _, height, width, _ = input_shapes[-1]
        joined = sum(shape[-1] for shape in input_shapes)
        shape = (1, height, width, self.filters)
        total = height * width * joined * self.filters
        for name in ("channel", "spatial"):
            if hasattr(self, name):
                total += getattr(self, name).macs(shape)
        return total

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments."""
        return {
            **super().get_config(),
            "filters": self.filters,
            "order": self.order,
            "channel_attention": self.channel_attention,
            "pooling": self.pooling,
        }


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
    start, stop = (index * size) // bins, -((-(index + 1) * size) // bins)
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
        ```python
        y = PyramidPooling(64)(keras.ops.ones((1, 16, 32, 128)))    # (1, 16, 32, 64)
        ```
    """

    def __init__(
        self, filters: int = 512, bins: Sequence[int] = (1, 2, 3, 6), **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.filters, self.bins = filters, tuple(bins)

    def build(self, input_shape: Shape) -> None:
        """Makes a 1x1 convolution a level and the 3x3 convolution after the join."""
        channels = input_shape[-1]
        inner = self._inner(channels)
        self.convs = [self._conv(f"level{n}", inner, 1, channels) for n in self.bins]
        self.norms = [self._norm(f"level{n}_norm", inner) for n in self.bins]
        joined = channels + inner * len(self.bins)
        self.fuse = self._conv("fuse", self.filters, 3, joined)
        self.fuse_norm = self._norm("fuse_norm", self.filters)

    def call(self, x: Any, training: bool | None = None) -> Any:
        """Maps (B, h, w, C) to (B, h, w, filters)."""
        size = tuple(ops.shape(x)[1:3])
        levels = [x]
        for bins, conv, norm in zip(self.bins, self.convs, self.norms, strict=True):
            y = ops.cast(adaptive_average(x, bins), x.dtype)  # (B, bins, bins, C)
            levels.append(resize_to(ops.relu(norm(conv(y), training=training)), size))
        y = self.fuse(ops.concatenate(levels, axis=-1))
        return ops.relu(self.fuse_norm(y, training=training))

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

    def _conv(self, name: str, filters: int, kernel: int, of: int) -> Any:
        layer = keras.layers.Conv2D(
            filters,
            kernel,
            padding="same",
            use_bias=False,
            kernel_initializer=torch_conv_initializer(),
            dtype=self.dtype_policy,
            name=name,
        )
        layer.build((None, None, None, of))
        return layer

    def _norm(self, name: str, filters: int) -> Any:
        layer = keras.layers.BatchNormalization(
            momentum=0.9, epsilon=1e-5, dtype=self.dtype_policy, name=name
        )
        layer.build((None, None, None, filters))
        return layer
