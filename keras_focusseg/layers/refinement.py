"""Upsampling that follows learned offsets: SRM, and the modules it is compared with."""

from __future__ import annotations

from typing import Any

import keras
from keras import KerasTensor, ops

from keras_focusseg.layers.conv_norm_act import torch_conv_initializer
from keras_focusseg.layers.resample import pixel_grid, resize_to, sample_bilinear

METHODS = ("srm", "bilinear", "fam", "align_fa")
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
        ```python
        own = keras.ops.one_hot(keras.ops.full((1, 8, 8), 4), 9)
        refine_offsets(offsets, own)    # equals `offsets`
        ```
    """
    offsets, weights = ops.convert_to_tensor(offsets), ops.convert_to_tensor(weights)
    height, width = ops.shape(offsets)[1:3]
    padded = ops.concatenate([offsets[:, :1], offsets, offsets[:, -1:]], axis=1)
    padded = ops.concatenate([padded[:, :, :1], padded, padded[:, :, -1:]], axis=2)
    refined = 0.0
    for index in range(9):
        top, left = divmod(index, 3)
        shifted = padded[:, top : top + height, left : left + width]  # D0(p + r), (B, H, W, 2)
        refined = refined + weights[..., index : index + 1] * shifted
    return refined


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

    `method` exchanges the module for those it is compared with: `"bilinear"`; `"fam"`, the flow
    alignment of SFNet (arXiv 2002.10120), which moves the coarse map itself; `"align_fa"`, the
    aligned aggregation of AlignSeg (arXiv 2003.00872), which moves both maps: its result is the
    moved `u` plus what moving changed of `high`, so that `high + result` is the sum of both moved
    maps. FAM and AlignFA read zeros beyond the border, as published.

    Args:
        filters: Channels of z (the offset network); for `"fam"` and `"align_fa"` of theirs. Half
            of the coarse map's channels by default (all of them for `"align_fa"`).
        method: `"srm"`, `"bilinear"`, `"fam"` or `"align_fa"`.
        mask: `"softmax"`, `"sigmoid"`, or `None` for D = D0; for `"srm"`.
        padding: What lies beyond the border, `"border"` or `"zeros"`; for `"srm"`.
        **kwargs: `name`, `dtype` and the like, for `keras.layers.Layer`.

    Raises:
        ValueError: Unknown `method`, `mask` or `padding`.

    Example:
        ```python
        low, high = keras.ops.ones((1, 8, 16, 32)), keras.ops.ones((1, 16, 32, 32))
        y = SemanticRefinement()(low, high)    # (1, 16, 32, 32)
        y, fields = SemanticRefinement()(low, high, return_fields=True)
        fields["offsets"]    # (1, 16, 32, 2); also "initial_offsets" and "offset_weights"
        ```
    """

    def __init__(
        self,
        filters: int | None = None,
        method: str = "srm",
        mask: str | None = "softmax",
        padding: str = "border",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        for name, value, known in (
            ("method", method, METHODS),
            ("mask", mask, MASKS),
            ("padding", padding, ("border", "zeros")),
        ):
            if value not in known:
                raise ValueError(f"{name} must be one of {known}, got {value!r}.")
        self.filters, self.method, self.mask, self.padding = filters, method, mask, padding

    def build(self, low_shape: Shape, high_shape: Shape) -> None:
        """Makes the convolutions that the method needs."""
        low, high = low_shape[-1], high_shape[-1]
        if self.method == "align_fa" and low != high:
            raise ValueError(f"align_fa needs maps of equal channels, got {low} and {high}.")
        hidden = self._hidden(low)
        if self.method == "fam":
            self.squeeze_low = self._conv("squeeze_low", hidden, 1, low, use_bias=False)
            self.squeeze_high = self._conv("squeeze_high", hidden, 1, high, use_bias=False)
            self.offset = self._conv("offset", 2, 3, 2 * hidden, use_bias=False, dtype="float32")
        elif self.method != "bilinear":
            self.squeeze = self._conv("squeeze", hidden, 1, low + high, use_bias=False)
            self.squeeze_norm = keras.layers.BatchNormalization(
                momentum=0.9, epsilon=1e-5, dtype=self.dtype_policy, name="squeeze_norm"
            )
            self.squeeze_norm.build((None, None, None, hidden))
        zero = {"kernel_initializer": "zeros", "dtype": "float32"}
        if self.method == "srm":
            self.offset = self._conv("offset", 2, 3, hidden, **zero)
            if self.mask is not None:
                self.weight = self._conv("weight", 9, 3, hidden, **zero)
        elif self.method == "align_fa":
            self.offset = self._conv("offset", 2, 3, hidden, use_bias=False, **zero)
            self.offset_high = self._conv("offset_high", 2, 3, hidden, use_bias=False, **zero)

    def call(
        self, low: Any, high: Any, return_fields: bool = False, training: bool | None = None
    ) -> Any:
        """Maps (B, h, w, C) and (B, H, W, C') to (B, H, W, C).

        With `return_fields` also a dict of what moved them, float32: "offsets" D, and for SRM
        "initial_offsets" D0 and "offset_weights" a (all of it 0 or empty where there is none).
        """
        u = resize_to(low, tuple(ops.shape(high)[1:3]))  # (B, H, W, C)
        fields: dict[str, Any] = {}
        if self.method == "bilinear":
            y = u
        elif self.method == "fam":
            y, fields = self._fam(low, u, high)
        else:
            z = self.squeeze(ops.concatenate([high, u], axis=-1))
            z = self.squeeze_norm(z, training=training)
            if self.method == "srm":
                y, fields = self._srm(u, ops.relu(z))
            else:
                y, fields = self._align_fa(u, high, z)
        return (y, fields) if return_fields else y

    def _srm(self, u: Any, z: Any) -> tuple[Any, dict[str, Any]]:
        initial = self.offset(z)  # D0, (B, H, W, 2)
        offsets, fields = initial, {}
        if self.mask is not None:
            weights = self.weight(z)  # (B, H, W, 9)
            weights = ops.softmax(weights) if self.mask == "softmax" else ops.sigmoid(weights)
            offsets = refine_offsets(initial, weights)  # D, (B, H, W, 2)
            fields = {"initial_offsets": initial, "offset_weights": weights}
        y = sample_bilinear(u, pixel_grid(u) + offsets, self.padding)
        return y, {"offsets": offsets, **fields}

    def _fam(self, low: Any, u: Any, high: Any) -> tuple[Any, dict[str, Any]]:
        size = tuple(ops.shape(u)[1:3])
        squeezed = resize_to(self.squeeze_low(low), size)  # (B, H, W, hidden)
        flow = self.offset(ops.concatenate([squeezed, self.squeeze_high(high)], axis=-1))
        # SFNet adds flow / (W, H) to a grid of -1..1 whose ends are the centres of the outermost
        # pixels (align_corners); here the same point in pixels of the coarse map.
        ends = ops.stack([_last(low, 2), _last(low, 1)])  # (w - 1, h - 1)
        fine_ends = ops.maximum(ops.stack([_last(u, 2), _last(u, 1)]), 1.0)
        moved = flow / (fine_ends + 1.0) / 2.0  # as a share of the map
        y = sample_bilinear(low, (pixel_grid(u) / fine_ends + moved) * ends, "zeros")
        return y, {"offsets": moved * fine_ends}

    def _align_fa(self, u: Any, high: Any, z: Any) -> tuple[Any, dict[str, Any]]:
        offsets, grid = self.offset(z), pixel_grid(u)
        moved_high = sample_bilinear(high, grid + self.offset_high(z), "zeros")
        y = sample_bilinear(u, grid + offsets, "zeros") + (moved_high - high)
        return y, {"offsets": offsets}

    def compute_output_spec(
        self, low: Any, high: Any, return_fields: bool = False, training: bool | None = None
    ) -> Any:
        """Batch and channels of `low`, height and width of `high`."""
        size = (low.shape[0], *high.shape[1:3])
        y = KerasTensor((*size, low.shape[-1]), self.compute_dtype)
        if not return_fields:
            return y
        channels: dict[str, int] = {} if self.method == "bilinear" else {"offsets": 2}
        if self.method == "srm" and self.mask is not None:
            channels |= {"initial_offsets": 2, "offset_weights": 9}
        return y, {name: KerasTensor((*size, n), "float32") for name, n in channels.items()}

    def macs(self, *input_shapes: tuple[int, ...]) -> int:
        """Multiply-accumulates of the convolutions; resizing and sampling are not counted."""
        low, high = input_shapes
        hidden, pixels = self._hidden(low[-1]), high[1] * high[2]
        if self.method == "bilinear":
            return 0
        if self.method == "fam":
            of_low = low[1] * low[2] * low[-1] * hidden
            return of_low + pixels * (high[-1] * hidden + 9 * 2 * hidden * 2)
        fields = {"srm": 2 if self.mask is None else 11, "align_fa": 4}[self.method]
        return pixels * hidden * (low[-1] + high[-1] + 9 * fields)

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments."""
        return {
            **super().get_config(),
            "filters": self.filters,
            "method": self.method,
            "mask": self.mask,
            "padding": self.padding,
        }

    def _hidden(self, channels: int) -> int:
        if self.filters is not None:
            return self.filters
        return channels if self.method == "align_fa" else max(1, channels // 2)

    def _conv(self, name: str, filters: int, kernel: int, of: int, **options: Any) -> Any:
        options = {
            "kernel_initializer": torch_conv_initializer(),
            "dtype": self.dtype_policy,
            **options,
        }
        layer = keras.layers.Conv2D(filters, kernel, padding="same", name=name, **options)
        layer.build((None, None, None, of))
        return layer


def _last(x: Any, axis: int) -> Any:
    """Index of the last row or column, as a float32 scalar."""
    return ops.cast(ops.shape(x)[axis] - 1, "float32")
