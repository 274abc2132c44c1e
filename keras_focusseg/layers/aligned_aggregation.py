"""AlignFA of AlignSeg: both maps moved before they are added."""

from __future__ import annotations

from typing import Any

import keras
from keras import KerasTensor, ops

from keras_focusseg.layers.conv_norm_act import ConvNormAct, conv2d
from keras_focusseg.layers.resample import pixel_grid, resize_to, sample_bilinear

Shape = tuple[Any, ...]


@keras.saving.register_keras_serializable(package="keras_focusseg")
class AlignedAggregation(keras.layers.Layer):
    """AlignFA: brings a coarse map to the size of a fine one and moves both.

    Aligned feature aggregation of AlignSeg (Huang et al., arXiv 2003.00872). The result is the
    moved coarse map plus what moving changed of the fine one, so that `high + result` is the sum of
    both moved maps. Offsets start at 0; zeros are read beyond the border, as published. Here to be
    compared with `SemanticRefinement`.

    Args:
        filters: Channels of the offset network; the coarse map's by default.
        **kwargs: `name`, `dtype` and the like, for `keras.layers.Layer`.

    Raises:
        ValueError: The maps differ in their channels.

    Example:
        >>> import keras
        >>> from keras_focusseg import layers
        >>> low, high = keras.ops.ones((1, 8, 16, 32)), keras.ops.ones((1, 16, 32, 32))
        >>> y, fields = layers.AlignedAggregation()(low, high, return_fields=True)
        >>> tuple(y.shape)
        (1, 16, 32, 32)
        >>> tuple(fields["offsets"].shape)  # those of the coarse map, in pixels of the fine one
        (1, 16, 32, 2)
    """

    def __init__(self, filters: int | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.filters = filters

    def build(self, low_shape: Shape, high_shape: Shape) -> None:
        """Makes the convolutions.

        Raises:
            ValueError: The maps differ in their channels.
        """
        low, high = low_shape[-1], high_shape[-1]
        if low != high:
            raise ValueError(
                f"{self.name}: AlignFA needs maps of equal channels, got {low} and {high}."
            )
        hidden = self._hidden(low)
        self.squeeze = ConvNormAct(hidden, activation=None, dtype=self.dtype_policy, name="squeeze")
        self.squeeze.build((*high_shape[:-1], low + high))
        for name in ("offset", "offset_high"):
            offset = conv2d(
                2, 3, use_bias=False, kernel_initializer="zeros", dtype="float32", name=name
            )
            offset.build((*high_shape[:-1], hidden))
            setattr(self, name, offset)

    def call(
        self, low: Any, high: Any, return_fields: bool = False, training: bool | None = None
    ) -> Any:
        """Maps (B, h, w, C) and (B, H, W, C) to (B, H, W, C).

        With `return_fields` also `{"offsets"}` of the coarse map, float32.
        """
        u, grid = resize_to(low, tuple(ops.shape(high)[1:3])), pixel_grid(high)
        z = self.squeeze(ops.concatenate([high, u], axis=-1), training=training)  # (B, H, W, D)
        offsets = self.offset(z)
        moved_high = sample_bilinear(high, grid + self.offset_high(z), "zeros")
        y = sample_bilinear(u, grid + offsets, "zeros") + (moved_high - high)
        return (y, {"offsets": offsets}) if return_fields else y

    def compute_output_spec(
        self, low: Any, high: Any, return_fields: bool = False, training: bool | None = None
    ) -> Any:
        """Batch and channels of `low`, height and width of `high`."""
        size = (low.shape[0], *high.shape[1:3])
        y = KerasTensor((*size, low.shape[-1]), self.compute_dtype)
        return (y, {"offsets": KerasTensor((*size, 2), "float32")}) if return_fields else y

    def macs(self, *input_shapes: tuple[int, ...]) -> int:
        """Multiply-accumulates of the convolutions; resizing and sampling are not counted."""
        low, high = input_shapes
        return high[1] * high[2] * self._hidden(low[-1]) * (low[-1] + high[-1] + 9 * 2 * 2)

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments."""
        return {**super().get_config(), "filters": self.filters}

    def _hidden(self, channels: int) -> int:
        return channels if self.filters is None else self.filters
