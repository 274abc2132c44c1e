"""Batch norms give what those of Keras give, with the same weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

from keras_focusseg import layers
from keras_focusseg.layers.batch_normalization import normalized_convolution
from tests.testers import check_config_round_trip


def _trained(place: object, frozen: bool = False) -> tuple[keras.Model, np.ndarray]:
    """A network of two norms after some steps, and its outputs in inference."""
    rng = np.random.default_rng(0)
    x = rng.normal(3.0, 2.0, (2, 5, 7, 4)).astype("float32")
    norms = [
        place.BatchNormalization(momentum=0.5, epsilon=1e-5, name=name)  # type: ignore[attr-defined]
        for name in ("first", "second")
    ]
    model = keras.Sequential([keras.Input((None, None, 4)), *norms])
    model.set_weights([rng.uniform(0.5, 2.0, w.shape) for w in model.get_weights()])
    norms[0].trainable = not frozen
    model.compile(keras.optimizers.SGD(0.1), "mse")
    for _ in range(3):
        model.train_on_batch(x, np.sin(x))
    return model, model.predict_on_batch(x)


def test_training_and_inference_are_those_of_keras() -> None:
    for frozen in (False, True):
        ours, theirs = (_trained(place, frozen) for place in (layers, keras.layers))
        for one, other in zip(ours[0].get_weights(), theirs[0].get_weights(), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(ours[1], theirs[1], rtol=1e-4, atol=1e-5)


def test_half_precision_and_vectors_are_left_to_keras() -> None:
    x = np.random.default_rng(0).normal(size=(2, 5, 7, 4)).astype("float32")
    for inputs, options in ((x, {"dtype": "mixed_bfloat16"}), (x[:, 0, 0], {}), (x, {"axis": 1})):
        norms = [place.BatchNormalization(**options) for place in (layers, keras.layers)]
        ours, theirs = (norm(inputs, training=True) for norm in norms)
        assert ours.dtype == theirs.dtype
        ours, theirs = (keras.ops.convert_to_numpy(y).astype("float32") for y in (ours, theirs))
        np.testing.assert_array_equal(ours, theirs)


def _drawn(layer: keras.layers.Layer, channels: int) -> keras.layers.Layer:
    """The layer, built for maps of so many channels, with weights that are not trivial."""
    layer.build((None, None, None, channels))
    rng = np.random.default_rng(1)
    layer.set_weights([rng.uniform(0.5, 2.0, w.shape) for w in layer.get_weights()])
    return layer


CONVOLUTIONS = (
    lambda: layers.Conv2D(6, 3, strides=2, padding="same", use_bias=False),
    lambda: layers.Conv2D(6, 1, padding="same", use_bias=False),
    lambda: layers.Conv2D(6, 3, dilation_rate=2, padding="same", groups=3, use_bias=False),
    lambda: layers.DepthwiseConv2D(3, padding="same", depth_multiplier=2, use_bias=False),
)


@pytest.mark.parametrize("convolution", CONVOLUTIONS)
@pytest.mark.parametrize("activation", [None, keras.activations.relu, layers.ReLU(4.0)])
def test_a_joined_convolution_gives_what_the_layers_give(
    convolution: Callable[[], keras.layers.Layer], activation: Any
) -> None:
    x = np.random.default_rng(0).normal(size=(2, 7, 9, 3)).astype("float32")
    conv, norm = _drawn(convolution(), 3), _drawn(layers.BatchNormalization(), 6)
    for training in (False, None):
        expected = norm(conv(ops.convert_to_tensor(x)), training=training)
        expected = expected if activation is None else activation(expected)
        found = normalized_convolution(conv, norm, ops.convert_to_tensor(x), training, activation)
        np.testing.assert_allclose(
            ops.convert_to_numpy(found), ops.convert_to_numpy(expected), rtol=1e-5, atol=1e-5
        )


def test_what_learns_is_not_joined() -> None:
    x = np.random.default_rng(0).normal(size=(2, 7, 9, 3)).astype("float32")
    conv, norm = _drawn(CONVOLUTIONS[0](), 3), _drawn(layers.BatchNormalization(), 6)
    before = [w.copy() for w in norm.get_weights()]
    y = normalized_convolution(conv, norm, ops.convert_to_tensor(x), True)
    mean = ops.convert_to_numpy(y).mean((0, 1, 2))
    np.testing.assert_allclose(mean, before[1], atol=1e-5)  # beta: its own mean was taken away
    assert not np.allclose(norm.get_weights()[2], before[2])  # the moving mean moved


@pytest.mark.skipif(keras.backend.backend() != "torch", reason="on PyTorch alone are they joined")
def test_predictions_on_pytorch_are_joined_and_have_gradients(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import torch

    conv, norm = _drawn(CONVOLUTIONS[0](), 3), _drawn(layers.BatchNormalization(), 6)
    x = torch.randn((1, 7, 9, 3), requires_grad=True)

    def gradients() -> list[torch.Tensor]:
        y = normalized_convolution(conv, norm, x, False, keras.activations.relu)
        return torch.autograd.grad((y * y).sum(), [x, conv.kernel.value, norm.gamma.value])

    expected = [None] * 3
    with monkeypatch.context() as apart:
        apart.setattr(torch.jit, "is_tracing", lambda: True)
        expected = gradients()
        calls = _count_calls(apart, norm)
        gradients()
        assert calls == [1]
    calls = _count_calls(monkeypatch, norm)
    for one, other in zip(gradients(), expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)
    assert not calls


def _count_calls(patch: pytest.MonkeyPatch, layer: keras.layers.Layer) -> list[int]:
    """Gets a 1 with each call of the layer from here on."""
    calls: list[int] = []
    call = layer.call

    def counted(*args: Any, **kwargs: Any) -> Any:
        calls.append(1)
        return call(*args, **kwargs)

    patch.setattr(layer, "call", counted)
    return calls


def test_config_round_trip() -> None:
    check_config_round_trip(layers.BatchNormalization(momentum=0.9, epsilon=1e-5))
