"""Padding, agreement of the backends, files, low precision; items of the specification's list."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest

from keras_focusseg import backbones, models
from tests.layers.test_conv_norm_act import convolve
from tests.models import tiny
from tests.testers import (
    assert_matches_golden,
    compiled,
    randomize_weights,
    reload_in_new_process,
    to_numpy,
)


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


def test_backends_agree():
    """Item 24: the same weights give the same outputs, within 1e-4 of the golden file."""
    model = models.FoRNet(3, "resnet18", filters=16, low_level_filters=8)
    randomize_weights(model)
    outputs = model.predict(tiny.images(40, 56, batch=1), verbose=0)
    assert outputs["masks"].sum(axis=(1, 2)).tolist() == [[4, 7, 10, 14]]  # of 35 cells
    assert_matches_golden("fornet_resnet18", outputs)


def test_a_trained_network_loads_in_a_new_process(tmp_path: Path):
    """Item 24: after a step of `fit`, to the bit. A backbone that is a Keras model comes back in
    tests/models/test_segmenter.py."""
    model = models.FoRNet(4, "resnet18", filters=16, low_level_filters=8)
    model.compile()
    images = tiny.images(32, 64)
    model.fit(images, tiny.masks(32, 64), epochs=1, verbose=0)
    model.save(tmp_path / "fornet.keras")
    expected = model.predict(images, verbose=0)
    found = reload_in_new_process(tmp_path / "fornet.keras", images, tmp_path)
    assert set(found) == set(expected)
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)


def test_mixed_precision(mixed_precision: str):
    """Item 25: half precision inside, float32 where the specification wants it; masks exact."""
    model = tiny.network()
    randomize_weights(model)
    halves = {layer.name for layer in model.layers if layer.compute_dtype == mixed_precision}
    assert {"transition", "selector", "branch3", "classifier"} <= halves
    singles = {"selector_logits", "top_k", "logits"}
    assert not singles & halves

    images, labels = tiny.images(), tiny.masks()
    outputs = compiled(lambda x: model(x))(images)
    dtypes = {n: keras.backend.standardize_dtype(v.dtype) for n, v in outputs.items()}
    assert dtypes == dict.fromkeys(("logits", "selector_logits", "masks"), "float32")
    found = to_numpy(outputs)
    assert found["masks"].sum(axis=(1, 2)).tolist() == [[10, 19, 29, 38]] * 2
    # Computed in float32 from half-precision features: more digits than these have.
    assert len(np.unique(found["selector_logits"])) == found["selector_logits"].size

    terms = model.loss_terms(labels, outputs)
    assert {keras.backend.standardize_dtype(term.dtype) for term in terms.values()} == {"float32"}
    model.compile()
    logs = model.train_on_batch(images, labels, return_dict=True)
    assert all(np.isfinite(value) for value in logs.values())
    kernel = model.get_layer("branch3").conv.kernel
    assert keras.backend.standardize_dtype(kernel.dtype) == "float32"


def test_mixed_precision_stays_near_full(mixed_precision: str):
    """Item 25: with the same weights, most cells chosen and most pixels classified alike."""
    half = tiny.network()
    randomize_weights(half)
    keras.config.set_dtype_policy("float32")
    full = tiny.network()
    full.set_weights(half.get_weights())
    images = tiny.images()
    found, expected = half.predict(images, verbose=0), full.predict(images, verbose=0)
    assert (found["masks"] == expected["masks"]).mean() > 0.95
    alike = found["logits"].argmax(-1) == expected["logits"].argmax(-1)
    assert alike.mean() > 0.9
