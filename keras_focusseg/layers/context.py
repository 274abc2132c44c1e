"""CRM: context of the whole image for the coarsest map, from all stages of a backbone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import KerasTensor, ops

from keras_focusseg.layers.attention import ChannelAttention, DisentangledNonLocal
from keras_focusseg.layers.conv_norm_act import ConvNormAct

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
        **kwargs: `name`, `dtype` and the like, for `keras.layers.Layer`.

    Raises:
        ValueError: The maps' sizes are no multiples of the coarsest.

    Example:
        >>> import keras
        >>> from keras_focusseg import layers
        >>> stages = [keras.ops.ones((1, 64 // s, 128 // s, 8 * s)) for s in (1, 2, 4, 8)]
        >>> y, attention = layers.ContextualRefinement(64)(stages, return_attention=True)
        >>> tuple(y.shape)
        (1, 8, 16, 64)
        >>> [(name, tuple(seen.shape)) for name, seen in attention.items()][:2]
        [('channel_attention', (1, 64, 64)), ('spatial_attention', (1, 128, 128))]
    """

    def __init__(self, filters: int = 512, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.filters = filters

    def build(self, input_shape: Sequence[Shape]) -> None:
        """Makes the reduction and the attention blocks."""
        self.reduce = ConvNormAct(self.filters, dtype=self.dtype_policy, name="reduce")
        joined = sum(shape[-1] or 0 for shape in input_shape)
        self.reduce.build((*input_shape[-1][:-1], joined))
        self.build_blocks((*input_shape[-1][:-1], self.filters))

    def build_blocks(self, shape: Shape) -> None:
        """Makes the blocks that attend."""
        self.channel = ChannelAttention(dtype=self.dtype_policy, name="channel")
        self.spatial = DisentangledNonLocal(dtype=self.dtype_policy, name="spatial")
        self.channel.build(shape)
        self.spatial.build(shape)

    def blocks(self) -> list[Any]:
        """The blocks that there are."""
        return [self.channel, self.spatial]

    def call(
        self, stages: Sequence[Any], return_attention: bool = False, training: bool | None = None
    ) -> Any:
        """Maps of the stages, finest first, to (B, h, w, filters) at the size of the last."""
        pooled = [self.pool(stage, stages[-1]) for stage in stages]
        x = self.reduce(ops.concatenate(pooled, axis=-1), training=training)  # (B, h, w, filters)
        y, attention = self.attend(x, training)
        return (y, attention) if return_attention else y

    def pool(self, x: Any, coarsest: Any) -> Any:
        """Means over non-overlapping windows, as many as `coarsest` has cells."""
        # One side after the other: backends reduce the two of them at once more slowly.
        return ops.mean(ops.mean(self.windows(x, coarsest), axis=4), axis=2)

    def attend(self, x: Any, training: bool | None) -> tuple[Any, dict[str, Any]]:
        """Channels, then positions; the map, and what each looked at."""
        x, affinity = self.channel(x, return_attention=True)
        x, pairs, saliency = self.spatial(x, return_attention=True, training=training)
        attention = {
            "channel_attention": affinity,
            "spatial_attention": pairs,
            "unary_attention": saliency,
        }
        return x, attention

    def windows(self, x: Any, coarsest: Any) -> Any:
        """Maps (B, H, W, C) as (B, h, H / h, w, W / w, C).

        Raises:
            ValueError: Height or width is no multiple of the coarsest.
        """
        batch, height, width, channels = ops.shape(x)
        rows, columns = ops.shape(coarsest)[1:3]
        sides = (height, width, rows, columns)
        if all(isinstance(side, int) for side in sides) and (height % rows or width % columns):
            raise ValueError(
                f"{self.name}: a stage of {height}x{width} cells cannot be pooled to the coarsest "
                f"of {rows}x{columns}: its sides must be multiples. Pad the image: PadToMultiple."
            )
        return ops.reshape(x, (batch, rows, height // rows, columns, width // columns, channels))

    def compute_output_spec(
        self, stages: Sequence[Any], return_attention: bool = False, training: bool | None = None
    ) -> Any:
        """At the size of the last stage; attention is float32."""
        batch, height, width, _ = stages[-1].shape
        y = KerasTensor((batch, height, width, self.filters), self.compute_dtype)
        if not return_attention:
            return y
        shapes = self.attention_shapes((batch, height, width, self.filters))
        return y, {name: KerasTensor(shape, "float32") for name, shape in shapes.items()}

    def attention_shapes(self, shape: Shape) -> dict[str, Shape]:
        """What each block looks at, for a reduced map of this shape."""
        batch, height, width, channels = shape
        positions = None if None in (height, width) else height * width
        return {
            "channel_attention": (batch, channels, channels),
            "spatial_attention": (batch, positions, positions),
            "unary_attention": (batch, height, width, 1),
        }

    def macs(self, *input_shapes: tuple[int, ...]) -> int:
        """Multiply-accumulates of the reduction and of both blocks, attention products included."""
        _, height, width, _ = input_shapes[-1]
        joined = sum(shape[-1] for shape in input_shapes)
        shape = (1, height, width, self.filters)
        of_blocks = sum(block.macs(shape) for block in self.blocks())
        return height * width * joined * self.filters + of_blocks

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments."""
        return {**super().get_config(), "filters": self.filters}
