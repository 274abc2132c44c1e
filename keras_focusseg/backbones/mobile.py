"""What the networks for phones are made of: convolution, batch norm, and an activation or none."""

from __future__ import annotations

from typing import Any

import keras
from keras import KerasTensor

from keras_focusseg.backbones.builder import Builder
from keras_focusseg.layers import Conv2D, DepthwiseConv2D, ReLU

BATCH_NORM_EPSILON = 1e-3


class ConvNorms(Builder):
    """Adds convolutions with their norms to a graph, under one dtype policy and momentum.

    A convolution pads as TensorFlow's "same" does and has no bias. Its norm is named
    `{name}_BN`, its activation `{name}_relu`.

    Args:
        policy: Dtype policy of the layers.
        momentum: Share of the old value that the norms' statistics keep at a step.
        relu_ceiling: Largest value that the activation lets through, 6 for ReLU6; None for any.
    """

    def __init__(
        self, policy: keras.DTypePolicy, momentum: float, relu_ceiling: float | None = None
    ) -> None:
        super().__init__(policy, momentum, BATCH_NORM_EPSILON)
        self.relu_ceiling = relu_ceiling

    def conv(
        self,
        x: KerasTensor,
        name: str,
        channels: int,
        kernel: int = 1,
        *,
        stride: int = 1,
        dilation: int = 1,
        relu: bool,
        norm_name: str | None = None,
    ) -> KerasTensor:
        """A dense convolution and its norm, with or without the activation."""
        x = Conv2D(channels, kernel, strides=stride, dilation_rate=dilation, **self._options(name))(
            x
        )
        return self._norm(x, name, norm_name, relu)

    def depthwise(
        self, x: KerasTensor, name: str, kernel: int, *, stride: int, dilation: int
    ) -> KerasTensor:
        """One kernel a channel, its norm, and the activation."""
        x = DepthwiseConv2D(kernel, strides=stride, dilation_rate=dilation, **self._options(name))(
            x
        )
        return self._norm(x, name, None, relu=True)

    def residual(
        self, inputs: KerasTensor, branch: KerasTensor, prefix: str, drop: float
    ) -> KerasTensor:
        """inputs + DropPath(branch)."""
        return self.add(
            [inputs, self.drop_path(branch, drop, f"{prefix}drop_path")], f"{prefix}add"
        )

    def relu(self, x: KerasTensor, name: str) -> KerasTensor:
        """The activation alone."""
        return ReLU(self.relu_ceiling, dtype=self.policy, name=name)(x)

    def _options(self, name: str) -> dict[str, Any]:
        return {
            "padding": "same",
            "data_format": "channels_last",
            "use_bias": False,
            "dtype": self.policy,
            "name": name,
        }

    def _norm(self, x: KerasTensor, name: str, norm_name: str | None, relu: bool) -> KerasTensor:
        x = self.norm(x, norm_name or f"{name}_BN")
        return self.relu(x, f"{name}_relu") if relu else x


def round_channels(channels: float) -> int:
    """Rounds to a multiple of 8, at least 8, and never more than 10 % below `channels`."""
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * channels else rounded
