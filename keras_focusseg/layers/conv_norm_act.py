"""Convolution, batch normalisation, activation: the brick of every head."""

from __future__ import annotations

from typing import Any

import keras


def conv_norm_act(
    x: keras.KerasTensor,
    filters: int,
    kernel_size: int = 1,
    *,
    name: str,
    dilation_rate: int = 1,
    activation: str | None = "relu",
) -> keras.KerasTensor:
    """Applies a size-keeping convolution without bias, batch normalisation and an activation.

    The layers are named `{name}_conv`, `{name}_bn` and `{name}_act`. Kernels start as PyTorch's
    convolutions do (uniform, variance 1 / (3 fan_in)); epsilon and momentum are PyTorch's as well,
    so that weights trained there can be used.

    Args:
        x: Feature map (B, H, W, C).
        filters: Channels of the result.
        kernel_size: Side of the square kernel.
        name: Prefix of the three layer names.
        dilation_rate: Spacing of the kernel's taps, in cells.
        activation: Keras activation name; `None` leaves it out.

    Returns:
        Feature map (B, H, W, filters).

    Example:
        ```python
        inputs = keras.Input((None, None, 3))
        outputs = conv_norm_act(inputs, 16, 3, name="stem")
        ```
    """
    x = keras.layers.Conv2D(
        filters,
        kernel_size,
        padding="same",
        dilation_rate=dilation_rate,
        use_bias=False,
        kernel_initializer=torch_conv_initializer(),
        name=f"{name}_conv",
    )(x)
    x = keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name=f"{name}_bn")(x)
    if activation is not None:
        x = keras.layers.Activation(activation, name=f"{name}_act")(x)
    return x


def torch_conv_initializer() -> keras.initializers.Initializer:
    """PyTorch's default for convolution kernels: uniform in +-1 / sqrt(fan_in)."""
    return keras.initializers.VarianceScaling(1 / 3, mode="fan_in", distribution="uniform")


def pointwise(x: keras.KerasTensor, filters: int, *, name: str, **options: Any) -> Any:
    """A 1x1 convolution with bias, started as PyTorch does; `options` go to `Conv2D`."""
    return keras.layers.Conv2D(
        filters, 1, kernel_initializer=torch_conv_initializer(), name=name, **options
    )(x)
