"""Attention among the channels and among the positions of a feature map."""

from __future__ import annotations

from typing import Any

import keras
from keras import KerasTensor, ops

from keras_focusseg.layers.conv_norm_act import ConvNormAct, conv2d

Shape = tuple[Any, ...]


@keras.saving.register_keras_serializable(package="keras_focusseg")
class ChannelAttention(keras.layers.Layer):
    """Channel attention of DANet: every channel gathers from the channels that resemble it least.

    With the map as X (N positions by C channels), E = X^T X, A = softmax over the last axis of
    (rowmax(E) - E), the result is `gamma * (X A^T) + X` (Fu et al., arXiv 1809.02983). It has one
    weight, gamma, which starts at 0, so that a fresh layer is the identity. Computed in float32.
    Arguments are those of `keras.layers.Layer`.

    Example:
        >>> import keras
        >>> from keras_focusseg import layers
        >>> x = keras.ops.ones((1, 8, 8, 64))
        >>> y, affinity = layers.ChannelAttention()(x, return_attention=True)
        >>> tuple(y.shape), tuple(affinity.shape)
        ((1, 8, 8, 64), (1, 64, 64))
    """

    def build(self, input_shape: Shape) -> None:
        """Makes gamma."""
        self.gamma = self.add_weight(
            shape=(), initializer="zeros", name="gamma", dtype="float32", autocast=False
        )

    def call(self, x: Any, return_attention: bool = False) -> Any:
        """Maps (B, H, W, C) to the same shape; with `return_attention` also A, (B, C, C)."""
        batch, height, width, channels = ops.shape(x)
        flat = ops.cast(ops.reshape(x, (batch, height * width, channels)), "float32")  # (B, N, C)
        energy = ops.matmul(ops.transpose(flat, (0, 2, 1)), flat)  # E, (B, C, C)
        affinity = ops.softmax(ops.max(energy, axis=-1, keepdims=True) - energy, axis=-1)  # A
        gathered = ops.matmul(flat, ops.transpose(affinity, (0, 2, 1)))  # X A^T, (B, N, C)
        y = ops.reshape(self.gamma * gathered + flat, (batch, height, width, channels))
        y = ops.cast(y, x.dtype)
        return (y, affinity) if return_attention else y

    def compute_output_spec(self, x: Any, return_attention: bool = False) -> Any:
        """As the input; A is float32."""
        y = KerasTensor(x.shape, self.compute_dtype)
        channels = x.shape[-1]
        affinity = KerasTensor((x.shape[0], channels, channels), "float32")
        return (y, affinity) if return_attention else y

    def macs(self, *input_shapes: tuple[int, ...]) -> int:
        """Multiply-accumulates of X^T X and X A^T."""
        _, height, width, channels = input_shapes[0]
        return 2 * height * width * channels**2


@keras.saving.register_keras_serializable(package="keras_focusseg")
class SqueezeExcite(keras.layers.Layer):
    """Channels weighted by what the whole map holds: sigmoid of two dense layers on its mean.

    Hu et al., arXiv 1709.01507. An alternative to `ChannelAttention`.

    Args:
        ratio: Channels per hidden unit.
        **kwargs: `name`, `dtype` and the like, for `keras.layers.Layer`.

    Example:
        >>> import keras
        >>> from keras_focusseg import layers
        >>> tuple(layers.SqueezeExcite()(keras.ops.ones((1, 16, 32, 64))).shape)
        (1, 16, 32, 64)
    """

    def __init__(self, ratio: int = 16, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.ratio = ratio

    def build(self, input_shape: Shape) -> None:
        """Makes the two dense layers."""
        channels = input_shape[-1]
        hidden = max(1, channels // self.ratio)
        policy = self.dtype_policy
        self.squeeze = keras.layers.Dense(hidden, "relu", dtype=policy, name="squeeze")
        self.excite = keras.layers.Dense(channels, "sigmoid", dtype=policy, name="excite")
        self.squeeze.build((input_shape[0], channels))
        self.excite.build((input_shape[0], hidden))

    def call(self, x: Any) -> Any:
        """Maps (B, H, W, C) to the same shape."""
        share = self.excite(self.squeeze(ops.mean(x, axis=(1, 2))))  # (B, C)
        return x * share[:, None, None]

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """As the input."""
        return input_shape

    def macs(self, *input_shapes: tuple[int, ...]) -> int:
        """Multiply-accumulates of the dense layers and of the weighting."""
        _, height, width, channels = input_shapes[0]
        return 2 * channels * max(1, channels // self.ratio) + height * width * channels

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments."""
        return {**super().get_config(), "ratio": self.ratio}


@keras.saving.register_keras_serializable(package="keras_focusseg")
class DisentangledNonLocal(keras.layers.Layer):
    """Disentangled non-local block: attention among positions, pairs and saliency kept apart.

    With queries q, keys k, values v and a saliency m, all 1x1 convolutions of the map, and both q
    and k freed of their mean over the positions,

        y_i = sum_j [ softmax_j(q_i . k_j / (sqrt(d) * temperature)) + softmax_j(m_j) ] v_j

    and the result is `x + BN(Conv1x1(y))` (Yin et al., arXiv 2006.06668, in the form of
    mmsegmentation: d = C / 2, temperature 0.05). The gamma of the batch normalisation starts at 0
    (ours), so that a fresh layer is the identity. Products of q and k and softmaxes are float32.

    Args:
        reduction: Channels of the map per channel of q, k and v.
        temperature: Sharpness of the pairwise softmax.
        **kwargs: `name`, `dtype` and the like, for `keras.layers.Layer`.

    Raises:
        ValueError: `temperature` is not above 0.

    Example:
        >>> import keras
        >>> from keras_focusseg import layers
        >>> x = keras.ops.ones((1, 8, 16, 64))
        >>> y, pairs, saliency = layers.DisentangledNonLocal()(x, return_attention=True)
        >>> tuple(y.shape)
        (1, 8, 16, 64)
        >>> tuple(pairs.shape), tuple(saliency.shape)  # rows, and the saliency, sum to 1
        ((1, 128, 128), (1, 8, 16, 1))
    """

    def __init__(self, reduction: int = 2, temperature: float = 0.05, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if temperature <= 0:
            raise ValueError(f"temperature must be above 0, got {temperature}.")
        self.reduction, self.temperature = reduction, temperature

    def build(self, input_shape: Shape) -> None:
        """Makes the five convolutions and the normalisation."""
        channels, policy = input_shape[-1], self.dtype_policy
        inner = max(1, channels // self.reduction)
        for name, filters in (("query", inner), ("key", inner), ("value", inner), ("saliency", 1)):
            conv = conv2d(filters, dtype=policy, name=name)
            conv.build(input_shape)
            setattr(self, name, conv)
        self.out = ConvNormAct(
            channels, activation=None, gamma_initializer="zeros", dtype=policy, name="out"
        )
        self.out.build((*input_shape[:-1], inner))

    def call(self, x: Any, return_attention: bool = False, training: bool | None = None) -> Any:
        """Maps (B, H, W, C) to the same shape; with `return_attention` also both softmaxes."""
        batch, height, width, _ = ops.shape(x)
        positions = height * width

        def flat(y: Any) -> Any:
            return ops.cast(ops.reshape(y, (batch, positions, y.shape[-1])), "float32")

        q, k, v = flat(self.query(x)), flat(self.key(x)), flat(self.value(x))  # (B, N, d)
        q = q - ops.mean(q, axis=1, keepdims=True)
        k = k - ops.mean(k, axis=1, keepdims=True)
        scale = q.shape[-1] ** -0.5 / self.temperature
        pairs = ops.softmax(
            scale * ops.matmul(q, ops.transpose(k, (0, 2, 1))), axis=-1
        )  # (B, N, N)
        saliency = ops.softmax(flat(self.saliency(x)), axis=1)  # (B, N, 1)
        y = ops.matmul(pairs, v) + ops.sum(saliency * v, axis=1, keepdims=True)  # (B, N, d)
        y = ops.cast(ops.reshape(y, (batch, height, width, y.shape[-1])), x.dtype)
        y = x + self.out(y, training=training)  # (B, H, W, C)
        if not return_attention:
            return y
        return y, pairs, ops.reshape(saliency, (batch, height, width, 1))

    def compute_output_spec(
        self, x: Any, return_attention: bool = False, training: bool | None = None
    ) -> Any:
        """As the input; the softmaxes are float32."""
        y = KerasTensor(x.shape, self.compute_dtype)
        batch, height, width, _ = x.shape
        positions = None if None in (height, width) else height * width
        pairs = KerasTensor((batch, positions, positions), "float32")
        saliency = KerasTensor((batch, height, width, 1), "float32")
        return (y, pairs, saliency) if return_attention else y

    def macs(self, *input_shapes: tuple[int, ...]) -> int:
        """Multiply-accumulates of the convolutions and of the products among positions."""
        _, height, width, channels = input_shapes[0]
        positions, inner = height * width, max(1, channels // self.reduction)
        convolutions = positions * channels * (4 * inner + 1)
        return convolutions + 2 * positions**2 * inner + positions * inner

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments."""
        config = {"reduction": self.reduction, "temperature": self.temperature}
        return {**super().get_config(), **config}
