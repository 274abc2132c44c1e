"""Convolutions give what those of Keras give, with the same weights."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from keras_focusseg import layers
from tests.testers import check_config_round_trip

DENSE = (
    {"kernel_size": 1, "strides": 2, "use_bias": False},
    {"kernel_size": 3, "strides": 2, "padding": "same", "activation": "relu"},
    {"kernel_size": (3, 5), "dilation_rate": 2, "padding": "same"},
)
DEPTHWISE = (
    {"kernel_size": 3, "strides": 2, "padding": "same", "use_bias": False},
    {"kernel_size": 5, "depth_multiplier": 2, "activation": "relu"},
    {"kernel_size": 3, "dilation_rate": 2, "padding": "same"},
)


@pytest.mark.parametrize("name", ["Conv2D", "DepthwiseConv2D"])
def test_convolutions_are_those_of_keras(name: str) -> None:
    inputs = keras.Input((10, 13, 4))
    pairs = []
    for options in DENSE if name == "Conv2D" else DEPTHWISE:
        options = options | {"bias_initializer": "normal"}
        if name == "Conv2D":
            options = options | {"filters": 6}
        pairs.append([getattr(place, name)(**options) for place in (layers, keras.layers)])
    outputs = [[layer(inputs) for layer in pair] for pair in pairs]
    for ours, theirs in pairs:
        theirs.set_weights(ours.get_weights())
    x = np.random.default_rng(0).normal(size=(2, 10, 13, 4)).astype("float32")
    for ours, theirs in keras.Model(inputs, outputs).predict(x, verbose=0):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_gradients_are_those_of_keras() -> None:
    x = np.random.default_rng(0).normal(size=(2, 10, 13, 4)).astype("float32")
    trained = []
    for place in (layers, keras.layers):
        model = keras.Sequential(
            [
                keras.Input((10, 13, 4)),
                place.DepthwiseConv2D(3, padding="same", depthwise_initializer="ones"),
                place.Conv2D(1, 3, strides=2, padding="same", kernel_initializer="ones"),
            ]
        )
        model.compile(keras.optimizers.SGD(1e-3), "mse")
        model.train_on_batch(x, np.zeros((2, 5, 7, 1), "float32"))
        trained.append(model.get_weights())
    for ours, theirs in zip(*trained, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


def test_config_round_trip() -> None:
    check_config_round_trip(layers.Conv2D(6, 3, padding="same"))
    check_config_round_trip(layers.DepthwiseConv2D(3, padding="same"))
