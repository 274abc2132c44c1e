"""Activations and sums of maps, without what Keras adds to them on PyTorch."""

from __future__ import annotations

from typing import Any

import keras

from keras_focusseg.layers.convolution import PlainCall


@keras.saving.register_keras_serializable(package="keras_focusseg")
class ReLU(PlainCall, keras.layers.ReLU):
    """`keras.layers.ReLU`, faster on PyTorch.

    Its arguments are those of Keras' layer.

    Example:
        >>> import keras
        >>> from keras_focusseg import layers
        >>> float(layers.ReLU()(keras.ops.full((1, 8, 12, 4), -2.0))[0, 0, 0, 0])
        0.0
    """

    first_weight = None


def is_plain_relu(layer: Any) -> bool:
    """Whether it is a `ReLU` of this module without ceiling, slope and threshold."""
    if type(layer) is not ReLU or layer.max_value is not None:
        return False
    return not (layer.negative_slope or layer.threshold)


@keras.saving.register_keras_serializable(package="keras_focusseg")
class Add(PlainCall, keras.layers.Add):
    """`keras.layers.Add`, faster on PyTorch.

    Its arguments are those of Keras' layer.

    Example:
        >>> import keras
        >>> from keras_focusseg import layers
        >>> x = keras.ops.ones((1, 8, 12, 4))
        >>> float(layers.Add()([x, x])[0, 0, 0, 0])
        2.0
    """

    first_weight = None
