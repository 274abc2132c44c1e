"""Batch normalisation of maps in one pass over them where TensorFlow and PyTorch have one."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from keras_focusseg.layers.convolution import PlainCall, is_plain, runs_on_torch
from keras_focusseg.layers.elementwise import is_plain_relu


@keras.saving.register_keras_serializable(package="keras_focusseg")
class BatchNormalization(PlainCall, keras.layers.BatchNormalization):
    """`keras.layers.BatchNormalization`, faster on TensorFlow and PyTorch.

    Keras (3.15.1) writes moments, difference, scale and shift as operations of their own, each of
    which reads and writes the whole map, and so do their gradients. Maps (B, H, W, C) in float32
    take the backend's own operation here, which gives the same values. Others, and those whose
    statistics are gathered from several replicas, are normalised by Keras; so are all on JAX,
    whose compiler joins the operations.

    Its arguments are those of Keras' layer, and so are its weights.

    Attributes:
        fused: Whether the backend's operation may be used.

    Example:
        >>> import keras
        >>> from keras_focusseg import layers
        >>> tuple(layers.BatchNormalization()(keras.ops.ones((1, 8, 12, 4))).shape)
        (1, 8, 12, 4)
    """

    fused = True
    asks_training = True
    first_weight = "gamma"

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        """Maps (B, H, W, C) to the same shape."""
        normalize = {"tensorflow": _on_tensorflow, "torch": _on_torch}.get(keras.backend.backend())
        plain = mask is None and self.scale and self.center
        plain = plain and not (self.renorm or self.synchronized) and self.fused
        last = len(inputs.shape) == 4 and self.axis in (-1, 3)
        half = {keras.backend.standardize_dtype(inputs.dtype), self.compute_dtype} != {"float32"}
        if normalize is None or half or not (plain and last):
            return super().call(inputs, training=training, mask=mask)
        learning = bool(training) and self.trainable
        y, mean, variance = normalize(inputs, self, learning)
        if learning:
            keep = self.momentum
            for moving, value in ((self.moving_mean, mean), (self.moving_variance, variance)):
                moving.assign(moving * keep + value * (1.0 - keep))
        return y


def normalized_convolution(
    conv: Any, norm: BatchNormalization, x: Any, training: Any, activation: Any = None
) -> Any:
    """`activation(norm(conv(x)))`; where PyTorch predicts, by one convolution with scaled kernels.

    The normalisation alone reads and writes the whole map, and so does a ReLU that does not write
    over it: together an eighth of a pass of SERNet-Former on a processor. Kernels are scaled in
    each call, since weights may have changed; they are far smaller than the maps. Graphs that are
    traced or compiled keep the normalisation, which their readers fold themselves.

    Args:
        conv: A `Conv2D` or `DepthwiseConv2D` without bias and activation.
        norm: What normalises its maps.
        x: Maps (B, H, W, C).
        training: As Keras tells layers.
        activation: A layer or function; None for none.

    Returns:
        Maps (B, h, w, filters).
    """
    if not _can_be_joined(conv, norm, x, training):
        y = norm(conv(x), training=training)
        return y if activation is None else activation(y)
    scale = norm.gamma.value * (norm.moving_variance.value + norm.epsilon).rsqrt()
    y = conv.convolved(x, scale, norm.beta.value - norm.moving_mean.value * scale)
    if activation is keras.activations.relu or is_plain_relu(activation):
        return y.relu_()
    return y if activation is None else activation(y)


def _can_be_joined(conv: Any, norm: BatchNormalization, x: Any, training: Any) -> bool:
    """Whether PyTorch predicts in float32 by a convolution and a normalisation as ours are."""
    if not runs_on_torch(conv) or training is None or training:
        return False
    import torch

    plain = is_plain(conv, (x,), {}) and is_plain(norm, (x,), {"training": False})
    plain = plain and norm.scale and norm.center and norm.axis in (-1, 3) and not norm.renorm
    traced = torch.compiler.is_compiling() or torch.jit.is_tracing()
    return plain and not traced


def _on_tensorflow(x: Any, norm: BatchNormalization, learning: bool) -> tuple[Any, Any, Any]:
    """Normalised maps, and mean and variance of the batch where the layer learns."""
    import tensorflow as tf

    moving = ([], []) if learning else (norm.moving_mean, norm.moving_variance)
    y, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
        x=x,
        scale=ops.convert_to_tensor(norm.gamma),
        offset=ops.convert_to_tensor(norm.beta),
        mean=tf.convert_to_tensor(moving[0], "float32"),
        variance=tf.convert_to_tensor(moving[1], "float32"),
        epsilon=norm.epsilon,
        data_format="NHWC",
        is_training=learning,
    )
    # It divides the squares by n - 1, Keras by n.
    n = ops.cast(tf.size(x) / tf.shape(x)[-1], "float32")
    return y, mean, variance * (n - 1.0) / n


def _on_torch(x: Any, norm: BatchNormalization, learning: bool) -> tuple[Any, Any, Any]:
    """Normalised maps, and mean and variance of the batch where the layer learns."""
    import torch

    x = x.permute(0, 3, 1, 2)  # lies in memory as PyTorch wants channels last to lie
    gamma, beta = norm.gamma.value, norm.beta.value
    if not learning:  # the operation that converters of exported networks know
        moving = norm.moving_mean.value, norm.moving_variance.value
        y = torch.nn.functional.batch_norm(x, *moving, gamma, beta, eps=norm.epsilon)
        return y.permute(0, 2, 3, 1), None, None
    # The statistics that it would keep are not Keras': 0.0 is the share of the batch in them.
    y, mean, inverse_deviation = torch.native_batch_norm(
        x, gamma, beta, None, None, True, 0.0, norm.epsilon
    )
    variance = torch.clamp_min(inverse_deviation**-2 - norm.epsilon, 0.0)
    return y.permute(0, 2, 3, 1), mean, variance
