"""Padding and low precision; items of the specification's list."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from keras_focusseg import backbones
from tests.layers.test_conv_norm_act import convolve
from tests.models import tiny
from tests.testers import compiled, randomize_weights, to_numpy


@pytest.mark.parametrize(
    ("name", "before"), [("conv1", "images"), ("layer2_0_conv1", "layer1_1_out")]
)
def test_strided_convolutions_pad_symmetrically(name: str, before: str):
    """Item 23: a stride of 2 reads every other value of the size-keeping convolution.

    Bilinear resizing is in tests/layers/test_resample.py, the dilated convolution in
    tests/layers/test_conv_norm_act.py.
    """
    backbone = backbones.build("resnet18", include_rescaling=False)
    x = backbone.input if before == "images" else backbone.get_layer(before).output
    layer = backbone.get_layer(name)
    values = np.random.default_rng(0).normal(size=(1, 12, 17, x.shape[-1])).astype("float32")
    found = keras.Model(x, layer.output).predict(values, verbose=0)
    expected = convolve(values, layer.get_weights()[0])[:, ::2, ::2]
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_pooling_pads_symmetrically():
    """Item 23: 3x3 windows around every other pixel."""
    backbone = backbones.build("resnet18")
    x = backbone.get_layer("relu").output
    values = np.random.default_rng(0).uniform(size=(1, 12, 17, 64)).astype("float32")
    found = keras.Model(x, backbone.get_layer("maxpool").output).predict(values, verbose=0)
    padded = np.pad(values, ((0, 0), (1, 1), (1, 1), (0, 0)))
    windows = [padded[:, i : i + 12, j : j + 17] for i in range(3) for j in range(3)]
    np.testing.assert_array_equal(found, np.max(windows, axis=0)[:, ::2, ::2])


def test_mixed_precision(mixed_precision: str):
    """Item 25: half precision inside, float32 where the specification wants it; masks exact."""
    model = tiny.network()
    randomize_weights(model)
    halves = {layer.name for layer in model.layers if layer.compute_dtype == mixed_precision}
    assert {"transition", "selector", "branch3", "classifier"} <= halves
    singles = {"selector_logits", "top_k", "logits"}
    assert not singles & halves

    images = tiny.images(32, 64)
    outputs = compiled(lambda x: model(x))(images)
    dtypes = {n: keras.backend.standardize_dtype(v.dtype) for n, v in outputs.items()}
    assert dtypes == dict.fromkeys(("logits", "selector_logits", "masks"), "float32")
    found = to_numpy(outputs)
    assert found["masks"].sum(axis=(1, 2)).tolist() == [[3, 6, 10, 13]] * 2
    # Computed in float32 from half-precision features: more digits than these have.
    assert len(np.unique(found["selector_logits"])) == found["selector_logits"].size
    terms = model.loss_terms(tiny.masks(32, 64), outputs)
    assert {keras.backend.standardize_dtype(term.dtype) for term in terms.values()} == {"float32"}
