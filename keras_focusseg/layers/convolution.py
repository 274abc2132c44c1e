"""Convolutions of maps whose channels come last, without the copies that Keras makes on PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
from keras import ops


def _convolved(convolve: Callable[..., Any], x: Any, kernel: Any, layer: Any) -> Any:
    """`convolve` of maps (B, H, W, C) and a kernel, as the layer says: (B, h, w, filters)."""
    options = {
        "strides": layer.strides,
        "padding": layer.padding,
        "dilation_rate": layer.dilation_rate,
    }
    if keras.backend.backend() != "torch" or layer.data_format != "channels_last":
        return convolve(x, kernel, data_format=layer.data_format, **options)
    # Keras (3.15.1) lays the channels of each input first in memory, and then last again as
    # PyTorch's kernels want them: two copies of the map, and two more of its gradient (keras-team/
    # keras issue 23279, mended by pull request 23199; drop this with keras > 3.15.1). A map whose
    # axes alone are turned lies in memory as PyTorch wants it, and nothing is copied.
    y = convolve(ops.transpose(x, (0, 3, 1, 2)), kernel, data_format="channels_first", **options)
    return ops.transpose(y, (0, 2, 3, 1))


@keras.saving.register_keras_serializable(package="keras_focusseg")
class Conv2D(keras.layers.Conv2D):
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
        return _convolved(ops.conv, inputs, kernel, self)


@keras.saving.register_keras_serializable(package="keras_focusseg")
class DepthwiseConv2D(keras.layers.DepthwiseConv2D):
    """`keras.layers.DepthwiseConv2D`, faster on PyTorch.

    Its arguments are those of Keras' layer.

    Example:
        >>> import keras
        >>> from keras_focusseg import layers
        >>> tuple(layers.DepthwiseConv2D(3, padding="same")(keras.ops.ones((1, 8, 12, 4))).shape)
        (1, 8, 12, 4)
    """

    def call(self, inputs: Any) -> Any:
        """Maps (B, H, W, C) to (B, h, w, C * depth_multiplier)."""
        y = _convolved(ops.depthwise_conv, inputs, self.kernel, self)
        if self.use_bias:
            y = ops.add(y, self.bias)
        return y if self.activation is None else self.activation(y)
