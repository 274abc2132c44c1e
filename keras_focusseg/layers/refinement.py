"""SRM: upsampling that follows learned offsets."""

from __future__ import annotations

from typing import Any

import keras
from keras import KerasTensor, ops

from keras_focusseg.layers.conv_norm_act import ConvNormAct
from keras_focusseg.layers.convolution import Conv2D
from keras_focusseg.layers.resample import pixel_grid, resize_to, sample_bilinear, window

MASKS = ("softmax", "sigmoid", None)
Shape = tuple[Any, ...]


def refine_offsets(offsets: Any, weights: Any) -> Any:
    """Every pixel's offset as a weighted sum of the offsets of its 3x3 neighbourhood.

    `D(p) = sum_r a_r(p) * D0(p + r)`; beyond the border the outermost offsets continue, so that a
    constant field stays constant up to the border.

    Args:
        offsets: Initial offsets D0, (B, H, W, 2).
        weights: Weight mask a, (B, H, W, 9), the neighbours row by row from the upper left: index
            `3 * (dy + 1) + (dx + 1)` is the neighbour at (dx, dy), 4 the pixel itself.

    Returns:
        Refined offsets D, (B, H, W, 2).

    Example:
        >>> import keras
        >>> from keras_focusseg import layers
        >>> offsets = keras.random.normal((1, 8, 8, 2))
        >>> own = keras.ops.one_hot(keras.ops.full((1, 8, 8), 4, dtype="int32"), 9)
        >>> bool(keras.ops.all(layers.refine_offsets(offsets, own) == offsets))
        True
    """
    offsets, weights = ops.convert_to_tensor(offsets), ops.convert_to_tensor(weights)
    height, width = ops.shape(offsets)[1:3]
    padded = ops.concatenate([offsets[:, :1], offsets, offsets[:, -1:]], axis=1)
    padded = ops.concatenate([padded[:, :, :1], padded, padded[:, :, -1:]], axis=2)
    refined = 0.0
    for index, weight in enumerate(ops.split(weights, 9, axis=-1)):  # a_r, (B, H, W, 1)
        shifted = window(padded, *divmod(index, 3), height, width)  # D0(p + r), (B, H, W, 2)
        refined = refined + weight * shifted
    return refined


class _OffsetConv(Conv2D):
    """The convolution of D0, which does that of the mask in the same pass.

    Each has few channels, for which a pass over the map costs about as much as for all of them.
    """

    def call(self, z: Any, weight: Conv2D | None = None) -> Any:
        """Maps (B, H, W, C) to D0 (B, H, W, 2); with `weight` also to what that gives."""
        if weight is None:
            return super().call(z)
        kernel, bias = (
            ops.concatenate([ops.convert_to_tensor(value) for value in pair], axis=-1)
            for pair in ((self.kernel, weight.kernel), (self.bias, weight.bias))
        )
        both = self.convolution_op(z, kernel) + bias
        return both[..., : self.filters], both[..., self.filters :]


@keras.saving.register_keras_serializable(package="keras_focusseg")
class SemanticRefinement(keras.layers.Layer):
    """SRM: brings a coarse map to the size of a fine one, moved to where the fine one says.

    Semantic refinement module of arXiv 2412.08671. With `u` the coarse map upsampled bilinearly,

        z   = ReLU(BN(Conv1x1(concat(high, u))))            first of the two convolutions
        D0  = Conv3x3(z), 2 channels                        initial offset of every pixel
        a   = softmax(Conv3x3(z)), 9 channels               weight mask
        D   = sum over the 3x3 neighbours r of a_r * D0(p + r)
        out = u read bilinearly at p + D(p)

    The paper names the two convolutions, the 3x3 weight mask and the sampling of the upsampled map;
    widths, initialisation, normalisation of the mask, units and borders are this library's. Offsets
    are in pixels of the fine map, (dx, dy), positive to the right and downwards. The convolutions
    of D0 and a start at zero, so that a fresh layer is bilinear upsampling; both stay float32 under
    mixed precision.

    Args:
        filters: Channels of z (the offset network); half of the coarse map's by default.
        mask: `"softmax"`, `"sigmoid"`, or `None` for D = D0.
        padding: What lies beyond the border, `"border"` or `"zeros"`.
        **kwargs: `name`, `dtype` and the like, for `keras.layers.Layer`.

    Raises:
        ValueError: Unknown `mask` or `padding`.

    Example:
        >>> import keras
        >>> from keras_focusseg import layers
        >>> low, high = keras.ops.ones((1, 8, 16, 32)), keras.ops.ones((1, 16, 32, 32))
        >>> tuple(layers.SemanticRefinement()(low, high).shape)
        (1, 16, 32, 32)
        >>> y, fields = layers.SemanticRefinement()(low, high, return_fields=True)
        >>> sorted(fields)
        ['initial_offsets', 'offset_weights', 'offsets']
        >>> tuple(fields["offsets"].shape)
        (1, 16, 32, 2)
    """

    def __init__(
        self,
        filters: int | None = None,
        mask: str | None = "softmax",
        padding: str = "border",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        for name, value, known in (
            ("mask", mask, MASKS),
            ("padding", padding, ("border", "zeros")),
        ):
            if value not in known:
                raise ValueError(f"{name} must be one of {known}, got {value!r}.")
        self.filters, self.mask, self.padding = filters, mask, padding

    def build(self, low_shape: Shape, high_shape: Shape) -> None:
        """Makes the convolutions."""
        low, high = low_shape[-1], high_shape[-1]
        hidden = self._hidden(low)
        zero = {"padding": "same", "data_format": "channels_last"}
        zero |= {"kernel_initializer": "zeros", "dtype": "float32"}
        self.squeeze = ConvNormAct(hidden, dtype=self.dtype_policy, name="squeeze")
        self.squeeze.build((*high_shape[:-1], low + high))
        self.offset = _OffsetConv(2, 3, name="offset", **zero)
        self.offset.build((*high_shape[:-1], hidden))
        if self.mask is not None:
            self.weight = Conv2D(9, 3, name="weight", **zero)
            self.weight.build((*high_shape[:-1], hidden))

    def call(
        self, low: Any, high: Any, return_fields: bool = False, training: bool | None = None
    ) -> Any:
        """Maps (B, h, w, C) and (B, H, W, C') to (B, H, W, C).

        With `return_fields` also a dict of what moved them, float32: "offsets" D, and if there is a
        mask "initial_offsets" D0 and "offset_weights" a.
        """
        u = resize_to(low, tuple(ops.shape(high)[1:3]))  # (B, H, W, C)
        z = self.squeeze(ops.concatenate([high, u], axis=-1), training=training)
        fields = {}
        if self.mask is None:
            offsets = self.offset(z)  # D = D0, (B, H, W, 2)
        else:
            initial, weights = self.offset(z, weight=self.weight)  # D0 and (B, H, W, 9)
            weights = ops.softmax(weights) if self.mask == "softmax" else ops.sigmoid(weights)
            offsets = refine_offsets(initial, weights)  # D, (B, H, W, 2)
            fields = {"initial_offsets": initial, "offset_weights": weights}
        y = sample_bilinear(u, pixel_grid(u) + offsets, self.padding)
        return (y, {"offsets": offsets, **fields}) if return_fields else y

    def compute_output_spec(
        self, low: Any, high: Any, return_fields: bool = False, training: bool | None = None
    ) -> Any:
        """Batch and channels of `low`, height and width of `high`."""
        size = (low.shape[0], *high.shape[1:3])
        y = KerasTensor((*size, low.shape[-1]), self.compute_dtype)
        if not return_fields:
            return y
        channels = {"offsets": 2}
        if self.mask is not None:
            channels |= {"initial_offsets": 2, "offset_weights": 9}
        return y, {name: KerasTensor((*size, n), "float32") for name, n in channels.items()}

    def macs(self, *input_shapes: tuple[int, ...]) -> int:
        """Multiply-accumulates of the convolutions; resizing and sampling are not counted."""
        low, high = input_shapes
        of_fields = 9 * (2 if self.mask is None else 2 + 9)
        return high[1] * high[2] * self._hidden(low[-1]) * (low[-1] + high[-1] + of_fields)

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments."""
        config = {"filters": self.filters, "mask": self.mask, "padding": self.padding}
        return {**super().get_config(), **config}

    def _hidden(self, channels: int) -> int:
        return max(1, channels // 2) if self.filters is None else self.filters
