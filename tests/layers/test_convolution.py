"""Convolutions give what those of Keras give, with the same weights."""

from __future__ import annotations

from typing import Any

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


@pytest.mark.skipif(keras.backend.backend() != "torch", reason="PyTorch traces the sizes")
@pytest.mark.parametrize("name", ["Conv2D", "DepthwiseConv2D"])
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::torch.jit.TracerWarning")
def test_traced_sizes_are_not_negated(name: str) -> None:
    import torch

    # Keras has PyTorch trace what becomes an OpenVINO file, and sizes are part of the trace: with a
    # quotient of a negated one in the padding, FoR-Net's file gave other logits.
    filters = {"filters": 2} if name == "Conv2D" else {}
    layer = getattr(layers, name)(kernel_size=3, strides=2, padding="same", **filters)
    layer(torch.ones(1, 10, 13, 4))  # the first call builds it
    trace = torch.jit.trace(layer, torch.ones(1, 10, 13, 4))
    operations = {node.kind() for node in trace.inlined_graph.nodes()}
    assert {"aten::size", "aten::_convolution"} <= operations
    assert "aten::neg" not in operations


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="JAX lets XLA convolve")
@pytest.mark.parametrize(("platform", "by_xla"), [("cpu", False), ("cuda", True)])
def test_processors_are_spared_the_depthwise_convolution_of_xla(
    platform: str, by_xla: bool
) -> None:
    import jax
    import jax.export

    x = np.ones((1, 4, 5, 2), "float32")
    layer = layers.DepthwiseConv2D(3, padding="same")
    layer(x)  # builds it
    exported = jax.export.export(jax.jit(lambda x: layer(x)), platforms=[platform])(x)
    assert ("stablehlo.convolution" in exported.mlir_module()) == by_xla


class _Half(keras.layers.Layer):
    """Calls a layer that computes in float32 while weights are cast to bfloat16."""

    def __init__(self, inner: keras.layers.Layer) -> None:
        super().__init__(dtype="mixed_bfloat16")
        self.inner = inner

    def call(self, x: Any) -> Any:
        """The inner layer of the maps in float32."""
        return self.inner(keras.ops.cast(x, "float32"), training=False)


@pytest.mark.parametrize("name", ["Conv2D", "DepthwiseConv2D", "BatchNormalization"])
def test_layers_in_float32_stay_so_inside_half_precision(name: str) -> None:
    options: dict[str, Any] = {"dtype": "float32"}
    if name != "BatchNormalization":
        options |= {"kernel_size": 3} | ({"filters": 2} if name == "Conv2D" else {})
    x = np.random.default_rng(0).normal(size=(1, 5, 7, 4)).astype("float32")
    ours, theirs = (getattr(place, name)(**options) for place in (layers, keras.layers))
    for layer in (ours, theirs):
        layer.build((None, 5, 7, 4))
    theirs.set_weights(ours.get_weights())
    found = [_Half(layer)(x) for layer in (ours, theirs)]
    assert [y.dtype for y in found] == [keras.ops.ones(1, "float32").dtype] * 2
    np.testing.assert_allclose(*map(keras.ops.convert_to_numpy, found), atol=1e-6)


def test_regularized_activities_are_losses() -> None:
    conv = layers.Conv2D(
        2, 1, kernel_initializer="ones", activity_regularizer=keras.regularizers.L1(1)
    )
    for _ in range(2):  # the first call builds it
        conv(np.ones((1, 2, 2, 3), "float32"))
    assert [float(keras.ops.convert_to_numpy(loss)) for loss in conv.losses] == [24.0]


def test_config_round_trip() -> None:
    check_config_round_trip(layers.Conv2D(6, 3, padding="same"))
    check_config_round_trip(layers.DepthwiseConv2D(3, padding="same"))
