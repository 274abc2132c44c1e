"""FAM of SFNet: upsampling that follows a flow between two maps."""

from __future__ import annotations

from typing import Any

import keras
from keras import KerasTensor, ops

from keras_focusseg.layers.conv_norm_act import conv2d
from keras_focusseg.layers.resample import pixel_grid, resize_to, sample_bilinear

Shape = tuple[Any, ...]


@keras.saving.register_keras_serializable(package="keras_focusseg")
class FlowAlignment(keras.layers.Layer):
    """FAM: reads a coarse map where a flow, made from it and from a fine map, points.

    Flow alignment module of SFNet (Li et al., arXiv 2002.10120): both maps are squeezed by 1x1
    convolutions, and a 3x3 convolution makes the flow of them joined. It moves the coarse map
    itself and reads zeros beyond the border, as published. Here to be compared with
    `SemanticRefinement`.

    Args:
        filters: Channels of each squeezed map; half of the coarse map's by default.
        **kwargs: `name`, `dtype` and the like, for `keras.layers.Layer`.

    Example:
        >>> import keras
        >>> from keras_focusseg import layers
        >>> low, high = keras.ops.ones((1, 8, 16, 32)), keras.ops.ones((1, 16, 32, 32))
        >>> y, fields = layers.FlowAlignment()(low, high, return_fields=True)
        >>> tuple(y.shape), tuple(fields["offsets"].shape)  # in pixels of the fine map
        ((1, 16, 32, 32), (1, 16, 32, 2))
    """

    def __init__(self, filters: int | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.filters = filters

    def build(self, low_shape: Shape, high_shape: Shape) -> None:
        """Makes the convolutions."""
        hidden = self._hidden(low_shape[-1])
        for name, shape in (("squeeze_low", low_shape), ("squeeze_high", high_shape)):
            squeeze = conv2d(hidden, use_bias=False, dtype=self.dtype_policy, name=name)
            squeeze.build(shape)
            setattr(self, name, squeeze)
        self.offset = conv2d(2, 3, use_bias=False, dtype="float32", name="offset")
        self.offset.build((*high_shape[:-1], 2 * hidden))

    def call(
        self, low: Any, high: Any, return_fields: bool = False, training: bool | None = None
    ) -> Any:
        """Maps (B, h, w, C) and (B, H, W, C') to (B, H, W, C).

        With `return_fields` also `{"offsets"}`, the flow in pixels of the fine map, float32.
        """
        squeezed = resize_to(self.squeeze_low(low), tuple(ops.shape(high)[1:3]))  # (B, H, W, D)
        flow = self.offset(ops.concatenate([squeezed, self.squeeze_high(high)], axis=-1))
        # SFNet adds flow / (W, H) to a grid of -1..1 whose ends are the centres of the outermost
        # pixels (align_corners); here the same point in pixels of the coarse map.
        ends, fine_ends = _last_pixel(low), ops.maximum(_last_pixel(high), 1.0)
        moved = flow / (fine_ends + 1.0) / 2.0  # as a share of the map
        y = sample_bilinear(low, (pixel_grid(high) / fine_ends + moved) * ends, "zeros")
        return (y, {"offsets": moved * fine_ends}) if return_fields else y

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
        hidden = self._hidden(low[-1])
        of_low = low[1] * low[2] * low[-1] * hidden
        return of_low + high[1] * high[2] * hidden * (high[-1] + 9 * 2 * 2)

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments."""
        return {**super().get_config(), "filters": self.filters}

    def _hidden(self, channels: int) -> int:
        return max(1, channels // 2) if self.filters is None else self.filters


def _last_pixel(x: Any) -> Any:
    """Column and row of the last pixel of maps (B, H, W, C), as float32."""
    height, width = ops.shape(x)[1:3]
    return ops.stack([ops.cast(width - 1, "float32"), ops.cast(height - 1, "float32")])
