"""Convolutions of maps whose channels come last, without what Keras and XLA add to them."""

from __future__ import annotations

import functools
import operator
from collections.abc import Mapping, Sequence
from typing import Any

import keras
from keras import ops


class PlainCall:
    """Lets a layer of maps `call` at once on PyTorch where Keras would change nothing.

    Around each call Keras (3.15.1) binds arguments and looks after dtypes, masks, scopes and names,
    in Python: a quarter of a pass of SCRNet on one image, where no compiler takes it away as on
    TensorFlow and JAX (keras-team/keras issue 22561 collects what mends it; measure again with
    keras > 3.15.1). A built layer in float32 that is given maps in float32 needs none of it. Such a
    call takes no part in `keras.RematScope`, and does not look for masks.

    Attributes:
        asks_training: Whether `call` takes `training`.
        first_weight: The weight, or the layer with it, whose dtype tells whether weights are cast;
            `None` for a layer without weights.
    """

    asks_training = False
    first_weight: str | None = "kernel"

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """As for every layer of Keras."""
        if keras.backend.backend() == "torch" and is_plain(self, args, kwargs):
            told = {"training": kwargs["training"]} if self.asks_training else {}
            return self.call(*args, **told)  # type: ignore[attr-defined]
        return super().__call__(*args, **kwargs)  # type: ignore[misc]


def is_plain(layer: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bool:
    """Whether nothing but `layer.call` is needed."""
    import torch

    if len(args) != 1 or not kwargs.keys() <= {"training", "mask"}:
        return False
    if kwargs.get("mask") is not None:
        return False
    if layer.asks_training and kwargs.get("training") is None:
        return False  # Keras finds out
    for x in args[0] if isinstance(args[0], list) else args:
        if not isinstance(x, torch.Tensor) or x.ndim != 4 or x.dtype != torch.float32:
            return False
    if not layer.built or layer.activity_regularizer is not None:
        return False
    if layer.first_weight is None:
        return layer.compute_dtype == "float32"
    weight = getattr(layer, layer.first_weight)  # its dtype is that of the scope that it is read in
    return layer.compute_dtype == getattr(weight, "dtype", None) == "float32"


def is_bare(layer: Any) -> bool:
    """Whether it is a convolution of this module, without bias and activation."""
    if type(layer) not in (Conv2D, DepthwiseConv2D) or layer.use_bias:
        return False
    return layer.activation is None or layer.activation is keras.activations.linear


def runs_on_torch(layer: Any) -> bool:
    """Whether PyTorch computes, on maps whose channels come last."""
    return keras.backend.backend() == "torch" and layer.data_format == "channels_last"


def _convolved_by_torch(x: Any, weight: Any, layer: Any, bias: Any = None) -> Any:
    """The convolution that the layer says, by PyTorch itself.

    Keras (3.15.1) lays the channels of each input first in memory, and then last again as PyTorch's
    kernels want them: two copies of the map, and two more of its gradient (keras-team/keras issue
    23279, mended by pull request 23199 in keras > 3.15.1). A map whose axes alone are turned lies
    in memory as PyTorch wants it, and nothing is copied. Turning them by Keras' operations would
    cost more Python than the call of PyTorch (issue 22561, as above).

    Args:
        x: Maps (B, H, W, C).
        weight: Kernels (filters, C / groups, height, width).
        layer: What has strides, padding and dilation.
        bias: What is added (filters,); None for nothing.

    Returns:
        Maps (B, h, w, filters).
    """
    from torch.nn import functional

    groups = x.shape[-1] // weight.shape[1]
    rows, columns = _zeros_around(x.shape[1:3], layer)
    x = x.permute(0, 3, 1, 2)
    if rows % 2 or columns % 2:  # one more at the end
        ends = (columns // 2, columns - columns // 2, rows // 2, rows - rows // 2)
        x, rows, columns = functional.pad(x, ends), 0, 0
    y = functional.conv2d(
        x, weight, bias, layer.strides, (rows // 2, columns // 2), layer.dilation_rate, groups
    )
    return y.permute(0, 2, 3, 1)


def _zeros_around(sides: Sequence[Any], layer: Any) -> list[Any]:
    """Rows and columns of zeros that a layer pads maps of these sides with, both ends together."""
    if layer.padding != "same":
        return [0, 0]
    each = zip(sides, layer.kernel_size, layer.strides, layer.dilation_rate, strict=True)
    # No quotient of a negated size: FoR-Net's OpenVINO file, for which Keras lets PyTorch trace
    # the sizes, then gave other logits.
    return [max(rate * (taps - 1) - (side - 1) % stride, 0) for side, taps, stride, rate in each]


def _depthwise_by_jax(x: Any, kernel: Any, layer: Any) -> Any:
    """The depthwise convolution that the layer says; on processors as a sum of moved maps.

    There XLA (jax 0.10.2) takes ten times as long for its own, and more for the gradient: that of
    the kernels is computed for all pairs of channels (jax-ml/jax issues 23713 and 13800; measure
    again with jax > 0.10.2).

    Args:
        x: Maps (B, H, W, C).
        kernel: Kernels (height, width, C, multiplier).
        layer: What has strides, padding and dilation.

    Returns:
        Maps (B, h, w, C * multiplier).
    """
    import jax

    def convolved(x: Any, kernel: Any) -> Any:
        return ops.depthwise_conv(
            x, kernel, layer.strides, layer.padding, "channels_last", layer.dilation_rate
        )

    def summed(x: Any, kernel: Any) -> Any:
        return _sum_of_moved(x, kernel, layer)

    return jax.lax.platform_dependent(x, kernel, cpu=summed, default=convolved)


def _sum_of_moved(x: Any, kernel: Any, layer: Any) -> Any:
    """The depthwise convolution, tap by tap: the map moved to the tap, times the tap's weights."""
    dtype = x.dtype
    exact = keras.backend.result_type(dtype, "float32")  # half precision would lose sums
    x, kernel = ops.cast(x, exact), ops.cast(kernel, exact)
    ends = [(zeros // 2, zeros - zeros // 2) for zeros in _zeros_around(x.shape[1:3], layer)]
    x = ops.repeat(ops.pad(x, [(0, 0), *ends, (0, 0)]), kernel.shape[-1], axis=-1)
    kernel = ops.reshape(kernel, (*kernel.shape[:2], -1))  # (height, width, C * multiplier)
    each = zip(x.shape[1:3], layer.kernel_size, layer.strides, layer.dilation_rate, strict=True)
    rows, columns = (
        [slice(tap * rate, side - (taps - 1 - tap) * rate, stride) for tap in range(taps)]
        for side, taps, stride, rate in each
    )
    moved = (
        x[:, row, column] * kernel[i, j]
        for i, row in enumerate(rows)
        for j, column in enumerate(columns)
    )
    return ops.cast(functools.reduce(operator.add, moved), dtype)


@keras.saving.register_keras_serializable(package="keras_focusseg")
class Conv2D(PlainCall, keras.layers.Conv2D):
    """`keras.layers.Conv2D`, faster on PyTorch.

    Its arguments are those of Keras' layer.

    Example:
        >>> import keras
        >>> from keras_focusseg import layers
        >>> tuple(layers.Conv2D(16, 3, strides=2)(keras.ops.ones((1, 9, 13, 4))).shape)
        (1, 4, 6, 16)
    """

    def convolution_op(self, inputs: Any, kernel: Any) -> Any:
        """The convolution, without bias and activation."""
        if not runs_on_torch(self):
            return super().convolution_op(inputs, kernel)
        weight = ops.convert_to_tensor(kernel).permute(3, 2, 0, 1)
        return _convolved_by_torch(inputs, weight, self)

    def convolved(self, x: Any, scale: Any, bias: Any) -> Any:
        """On PyTorch, the convolution times `scale` plus `bias`, both (filters,)."""
        weight = (self.kernel.value * scale).permute(3, 2, 0, 1)
        return _convolved_by_torch(x, weight, self, bias)


@keras.saving.register_keras_serializable(package="keras_focusseg")
class DepthwiseConv2D(PlainCall, keras.layers.DepthwiseConv2D):
    """`keras.layers.DepthwiseConv2D`, faster on PyTorch, and on JAX where a processor computes.

    Its arguments are those of Keras' layer.

    Example:
        >>> import keras
        >>> from keras_focusseg import layers
        >>> tuple(layers.DepthwiseConv2D(3, padding="same")(keras.ops.ones((1, 8, 12, 4))).shape)
        (1, 8, 12, 4)
    """

    def call(self, inputs: Any) -> Any:
        """Maps (B, H, W, C) to (B, h, w, C * depth_multiplier)."""
        if runs_on_torch(self):
            weight = ops.convert_to_tensor(self.kernel).permute(2, 3, 0, 1)
            y = _convolved_by_torch(inputs, weight.flatten(0, 1)[:, None], self)
        elif keras.backend.backend() == "jax" and self.data_format == "channels_last":
            y = _depthwise_by_jax(inputs, ops.convert_to_tensor(self.kernel), self)
        else:
            return super().call(inputs)
        if self.use_bias:
            y = ops.add(y, self.bias)
        return y if self.activation is None else self.activation(y)

    def convolved(self, x: Any, scale: Any, bias: Any) -> Any:
        """On PyTorch, the convolution times `scale` plus `bias`, both (C * depth_multiplier,)."""
        scale = scale.reshape(-1, self.depth_multiplier)
        weight = (self.kernel.value * scale).permute(2, 3, 0, 1)
        return _convolved_by_torch(x, weight.flatten(0, 1)[:, None], self, bias)
