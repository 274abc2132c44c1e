"""CRM with its blocks exchanged, in another order, side by side or alone: for ablations."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from keras_focusseg.layers.attention import ChannelAttention, DisentangledNonLocal, SqueezeExcite
from keras_focusseg.layers.context import ContextualRefinement

ORDERS = ("channel_spatial", "spatial_channel", "parallel", "channel", "spatial")
Shape = tuple[Any, ...]


@keras.saving.register_keras_serializable(package="keras_focusseg")
class ContextVariant(ContextualRefinement):
    """CRM with one of its choices changed, for ablations; `ContextualRefinement` is the paper's.

    Args:
        filters: Channels after the reduction.
        order: `"channel_spatial"` (as the paper), `"spatial_channel"`, `"parallel"` (what each
            adds to the map is added), `"channel"` or `"spatial"` for one block alone.
        channel_attention: `"affinity"` for `ChannelAttention` (as CRM), `"squeeze_excite"`.
        pooling: `"average"` (as CRM) or `"max"`.
        **kwargs: `name`, `dtype` and the like, for `keras.layers.Layer`.

    Raises:
        ValueError: An argument is unknown, or the maps' sizes are no multiples of the coarsest.

    Example:
        >>> import keras
        >>> from keras_focusseg import layers
        >>> stages = [keras.ops.ones((1, 64 // s, 128 // s, 8 * s)) for s in (1, 2, 4, 8)]
        >>> tuple(layers.ContextVariant(64, "parallel")(stages).shape)
        (1, 8, 16, 64)
    """

    def __init__(
        self,
        filters: int = 512,
        order: str = "channel_spatial",
        channel_attention: str = "affinity",
        pooling: str = "average",
        **kwargs: Any,
    ) -> None:
        super().__init__(filters, **kwargs)
        for name, value, known in (
            ("order", order, ORDERS),
            ("channel_attention", channel_attention, ("affinity", "squeeze_excite")),
            ("pooling", pooling, ("average", "max")),
        ):
            if value not in known:
                raise ValueError(f"{name} must be one of {known}, got {value!r}.")
        self.order, self.channel_attention, self.pooling = order, channel_attention, pooling

    def build_blocks(self, shape: Shape) -> None:
        """Makes the blocks that the order names."""
        affine = self.channel_attention == "affinity"
        kinds = {
            "channel": ChannelAttention if affine else SqueezeExcite,
            "spatial": DisentangledNonLocal,
        }
        for name in self._names():
            block = kinds[name](dtype=self.dtype_policy, name=name)
            block.build(shape)
            setattr(self, name, block)

    def blocks(self) -> list[Any]:
        """The blocks that there are."""
        return [getattr(self, name) for name in self._names()]

    def pool(self, x: Any, coarsest: Any) -> Any:
        """Means or maxima over non-overlapping windows, as many as `coarsest` has cells."""
        pool = ops.mean if self.pooling == "average" else ops.max
        return pool(pool(self.windows(x, coarsest), axis=4), axis=2)

    def attend(self, x: Any, training: bool | None) -> tuple[Any, dict[str, Any]]:
        """The blocks in their order; the map, and what each looked at."""
        attention: dict[str, Any] = {}
        if self.order == "parallel":
            y = self._channel(x, attention) + self._spatial(x, attention, training) - x
            return y, attention
        for name in self._names():
            if name == "channel":
                x = self._channel(x, attention)
            else:
                x = self._spatial(x, attention, training)
        return x, attention

    def attention_shapes(self, shape: Shape) -> dict[str, Shape]:
        """What each block looks at, for a reduced map of this shape."""
        absent = set()
        if "channel" not in self._names() or self.channel_attention == "squeeze_excite":
            absent |= {"channel_attention"}
        if "spatial" not in self._names():
            absent |= {"spatial_attention", "unary_attention"}
        return {k: v for k, v in super().attention_shapes(shape).items() if k not in absent}

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments."""
        return {
            **super().get_config(),
            "order": self.order,
            "channel_attention": self.channel_attention,
            "pooling": self.pooling,
        }

    def _names(self) -> list[str]:
        return ["channel", "spatial"] if self.order == "parallel" else self.order.split("_")

    def _channel(self, x: Any, attention: dict[str, Any]) -> Any:
        if self.channel_attention == "squeeze_excite":
            return self.channel(x)
        x, attention["channel_attention"] = self.channel(x, return_attention=True)
        return x

    def _spatial(self, x: Any, attention: dict[str, Any], training: bool | None) -> Any:
        x, attention["spatial_attention"], attention["unary_attention"] = self.spatial(
            x, return_attention=True, training=training
        )
        return x
