"""Convolution, batch normalisation, activation: the brick of every head."""

from __future__ import annotations

from typing import Any

import keras

from keras_focusseg.layers.batch_normalization import BatchNormalization, normalized_convolution
from keras_focusseg.layers.convolution import Conv2D, PlainCall

Shape = tuple[Any, ...]


def conv2d(filters: int, kernel_size: int = 1, *, name: str, **options: Any) -> Conv2D:
    """A convolution that keeps the size, channels last, with PyTorch's start values.

    Args:
        filters: Channels of the result.
        kernel_size: Side of the square kernel.
        name: Name of the layer.
        **options: Further arguments of `keras.layers.Conv2D`.

    Returns:
        The layer, not yet built.

    Example:
        >>> import keras
        >>> from keras_focusseg import layers
        >>> layers.conv2d(19, name="classifier")(keras.Input((None, None, 256))).shape
        (None, None, None, 19)
    """
    options = {"kernel_initializer": torch_conv_initializer(), **options}
    return Conv2D(
        filters, kernel_size, padding="same", data_format="channels_last", name=name, **options
    )


def torch_conv_initializer() -> keras.initializers.Initializer:
    """PyTorch's default for convolution kernels: uniform in +-1 / sqrt(fan_in)."""
    return keras.initializers.VarianceScaling(1 / 3, mode="fan_in", distribution="uniform")


@keras.saving.register_keras_serializable(package="keras_focusseg")
class ConvNormAct(PlainCall, keras.layers.Layer):
    """A size-keeping convolution without bias, batch normalisation and an activation.

    Kernels start as PyTorch's convolutions do (uniform, variance 1 / (3 fan_in)); epsilon 1e-5 and
    momentum 0.9 are PyTorch's as well, so that weights trained there can be used. The layers inside
    are `conv` and `norm`.

    Args:
        filters: Channels of the result.
        kernel_size: Side of the square kernel.
        dilation_rate: Spacing of the kernel's taps, in cells.
        activation: A name or function that Keras knows; `None` leaves it out.
        gamma_initializer: What the scale of the normalisation starts from: `"zeros"` lets a
            residual branch start as nothing.
        **kwargs: `name`, `dtype` and the like, for `keras.layers.Layer`.

    Example:
        >>> import keras
        >>> from keras_focusseg import layers
        >>> tuple(layers.ConvNormAct(16, 3)(keras.ops.ones((1, 8, 12, 4))).shape)
        (1, 8, 12, 16)
    """

    asks_training = True
    first_weight = "conv"

    def __init__(
        self,
        filters: int,
        kernel_size: int = 1,
        dilation_rate: int = 1,
        activation: Any = "relu",
        gamma_initializer: str = "ones",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.filters, self.kernel_size, self.dilation_rate = filters, kernel_size, dilation_rate
        self.activation = keras.activations.get(activation)
        self.gamma_initializer = gamma_initializer
        policy = self.dtype_policy
        self.conv = conv2d(
            filters,
            kernel_size,
            dilation_rate=dilation_rate,
            use_bias=False,
            dtype=policy,
            name="conv",
        )
        self.norm = BatchNormalization(
            momentum=0.9,
            epsilon=1e-5,
            gamma_initializer=gamma_initializer,
            dtype=policy,
            name="norm",
        )

    def build(self, input_shape: Shape) -> None:
        """Makes the kernel and the weights of the normalisation."""
        self.conv.build(input_shape)
        self.norm.build(self.compute_output_shape(input_shape))

    def call(self, x: Any, training: bool | None = None) -> Any:
        """Maps (B, H, W, C) to (B, H, W, filters)."""
        return normalized_convolution(self.conv, self.norm, x, training, self.activation)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """As the input, with `filters` channels."""
        return (*input_shape[:-1], self.filters)

    def macs(self, *input_shapes: tuple[int, ...]) -> int:
        """Multiply-accumulates of the convolution."""
        _, height, width, channels = input_shapes[0]
        return height * width * channels * self.kernel_size**2 * self.filters

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments."""
        return {
            **super().get_config(),
            "filters": self.filters,
            "kernel_size": self.kernel_size,
            "dilation_rate": self.dilation_rate,
            "activation": keras.activations.serialize(self.activation),
            "gamma_initializer": self.gamma_initializer,
        }
