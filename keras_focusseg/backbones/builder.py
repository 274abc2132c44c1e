"""Layers that several backbones add to their graphs."""

from __future__ import annotations

from collections.abc import Sequence

import keras
import numpy as np
from keras import KerasTensor, layers

from keras_focusseg.layers import Add, BatchNormalization, Conv2D, attention_boost


class Builder:
    """Adds layers to a graph, channels last, under one dtype policy.

    Args:
        policy: Dtype policy of the layers.
        momentum: Share of the old value that the batch norms' statistics keep at a step.
        epsilon: Added to the variances by the batch norms; PyTorch's by default.
    """

    def __init__(self, policy: keras.DTypePolicy, momentum: float, epsilon: float = 1e-5) -> None:
        self.policy = policy
        self.momentum = momentum
        self.epsilon = epsilon
        self.boosts: dict[str, KerasTensor] = {}

    def symmetric_conv(
        self,
        x: KerasTensor,
        name: str,
        channels: int,
        kernel_size: int = 1,
        stride: int = 1,
        dilation: int = 1,
        use_bias: bool = False,
    ) -> KerasTensor:
        """A convolution that pads all sides alike, as PyTorch's do, with a stride as well."""
        padding = "same"
        if stride > 1:
            # "same" with a stride pads one side more than the other for even sizes.
            padding = "valid"
            if kernel_size > 1:
                x = self.zero_pad(x, kernel_size // 2, f"{name}_pad")
        return Conv2D(
            channels,
            kernel_size,
            strides=stride,
            dilation_rate=dilation,
            padding=padding,
            data_format="channels_last",
            use_bias=use_bias,
            kernel_initializer=normal_by_fan_out(),
            dtype=self.policy,
            name=name,
        )(x)

    def zero_pad(self, x: KerasTensor, cells: int, name: str) -> KerasTensor:
        """Zeros around a map."""
        return layers.ZeroPadding2D(
            cells, data_format="channels_last", dtype=self.policy, name=name
        )(x)

    def norm(self, x: KerasTensor, name: str) -> KerasTensor:
        """Batch norm."""
        return BatchNormalization(
            epsilon=self.epsilon, momentum=self.momentum, dtype=self.policy, name=name
        )(x)

    def add(self, summands: Sequence[KerasTensor], name: str) -> KerasTensor:
        """Sum of maps of one shape."""
        return Add(dtype=self.policy, name=name)(summands)

    def drop_path(self, branch: KerasTensor, rate: float, name: str) -> KerasTensor:
        """A residual's branch, dropped whole in training, sample by sample (arXiv 1603.09382)."""
        if rate == 0:
            return branch
        return layers.Dropout(rate, noise_shape=(None, 1, 1, 1), dtype=self.policy, name=name)(
            branch
        )

    def boost(self, x: KerasTensor, b: KerasTensor) -> KerasTensor:
        """x + sigmoid(b) * b, SERNet-Former's gate; b and the product are kept in `boosts`."""
        n = len(self.boosts) // 2 + 1
        x, added = attention_boost(x, b, name=f"abm{n}", dtype=self.policy)
        self.boosts |= {f"norm{n}": b, f"boost{n}": added}
        return x


def drop_path_rates(rate: float, blocks: int) -> list[float]:
    """Rates that rise linearly from 0 at the first block to `rate` at the last.

    Raises:
        ValueError: `rate` is not in [0, 1).

    Example:
        >>> drop_path_rates(0.5, 3)
        [0.0, 0.25, 0.5]
    """
    if not 0 <= rate < 1:
        raise ValueError(f"drop_path_rate must be in [0, 1), received {rate!r}.")
    return [float(value) for value in np.linspace(0.0, rate, blocks)]


def normal_by_fan_out() -> keras.initializers.Initializer:
    """normal(0, sqrt(2 / fan_out)), of one group where there are several."""
    return keras.initializers.VarianceScaling(
        2.0, mode="fan_out", distribution="untruncated_normal"
    )
