"""The brick of every head: padding, dilation, start values and names."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from keras_focusseg.layers import ConvNormAct, conv2d
from tests.testers import check_config_round_trip, randomize_weights


def convolve(x: np.ndarray, kernel: np.ndarray, dilation: int = 1) -> np.ndarray:
    """Convolution with `dilation * (k // 2)` zeros on each side, tap by tap."""
    side = kernel.shape[0]
    pad = dilation * (side // 2)
    height, width = x.shape[1:3]
    x = np.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    return sum(
        x[:, i * dilation : i * dilation + height, j * dilation : j * dilation + width]
        @ kernel[i, j]
        for i in range(side)
        for j in range(side)
    )


def brick(channels: int = 3, filters: int = 4, **options: object) -> keras.Model:
    x = keras.Input((None, None, channels))
    return keras.Model(x, ConvNormAct(filters, name="brick", **options)(x))


@pytest.mark.parametrize(("side", "dilation"), [(1, 1), (3, 1), (3, 2), (5, 1), (7, 2), (7, 16)])
def test_equals_a_convolution_with_symmetric_padding(side: int, dilation: int):
    """Item 23: as PyTorch pads, also where most taps lie outside the map."""
    model = brick(kernel_size=side, dilation_rate=dilation)
    randomize_weights(model)
    x = np.random.default_rng(0).normal(size=(2, 9, 20, 3)).astype("float32")

    kernel, gamma, beta, mean, variance = model.get_layer("brick").get_weights()
    expected = (convolve(x, kernel, dilation) - mean) / np.sqrt(variance + 1e-5) * gamma + beta
    found = model.predict(x, verbose=0)
    np.testing.assert_allclose(found, np.maximum(expected, 0), atol=1e-5)


def test_weights_and_norm_are_as_pytorch_has_them():
    layer = brick(kernel_size=3).get_layer("brick")
    assert [weight.path for weight in layer.trainable_weights] == [
        "brick/conv/kernel",
        "brick/norm/gamma",
        "brick/norm/beta",
    ]
    assert (layer.norm.epsilon, layer.norm.momentum) == (1e-5, 0.9)
    assert layer.macs((1, 8, 12, 3)) == 8 * 12 * 9 * 3 * 4


def test_activation_is_free():
    x = np.random.default_rng(0).normal(size=(1, 4, 4, 3)).astype("float32")
    assert brick(activation=None).predict(x, verbose=0).min() < 0
    assert brick(activation="sigmoid").predict(x, verbose=0).max() < 1


def test_statistics_move_in_training_alone_and_freeze_with_the_layer():
    layer = ConvNormAct(4, 3)
    x = np.random.default_rng(0).normal(size=(2, 6, 6, 3)).astype("float32")
    for trainable, training, moves in (
        (True, False, False),
        (True, True, True),
        (False, True, False),
    ):
        layer.trainable = trainable
        layer(x, training=False)
        before = layer.get_weights()[3]
        layer(x, training=training)
        assert (layer.get_weights()[3] != before).any() == moves


def test_config():
    check_config_round_trip(ConvNormAct(4, 3, 2, activation=None, gamma_initializer="zeros"))


def test_kernels_start_uniform_within_one_over_the_root_of_fan_in():
    """PyTorch's start, gap 18 of the specification; biases start at 0."""
    kernel = brick(channels=16, filters=64, kernel_size=3).get_layer("brick").get_weights()[0]
    bound = 1 / np.sqrt(16 * 9)
    assert 0.98 * bound < np.abs(kernel).max() <= bound
    assert kernel.std() == pytest.approx(bound / np.sqrt(3), rel=0.03)

    x = keras.Input((None, None, 25))
    model = keras.Model(x, conv2d(40, name="point")(x))
    kernel, bias = model.get_layer("point").get_weights()
    assert 0.98 / 5 < np.abs(kernel).max() <= 1 / 5
    assert not bias.any()
