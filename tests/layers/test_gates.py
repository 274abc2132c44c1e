"""The attention-boosting gate and module. Item numbers: section 5 of SERNet-Former's spec."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from keras_focusseg.layers import AttentionBoostingGate, attention_boost
from tests.testers import check_config_round_trip, compiled, gradient, to_numpy

# The lowest point of x * sigmoid(x) and its place, from the root of 1 + x - x * sigmoid(x) = 0.
LOWEST, WHERE = -0.2784645, -1.2784645


def test_the_gate_is_silu_without_weights():
    """Item 1."""
    gate = AttentionBoostingGate()
    b = np.append(np.linspace(-10, 10, 4001), WHERE).astype("float32").reshape(1, -1, 1, 1)
    found = to_numpy(compiled(gate)(b))
    assert gate.weights == []
    assert found.shape == b.shape
    wanted = b / (1 + np.exp(-b.astype("float64")))
    np.testing.assert_allclose(found, wanted, atol=1e-6)
    np.testing.assert_allclose(found, to_numpy(keras.activations.silu(b)), atol=1e-6)
    assert found[0, 2000, 0, 0] == 0 == b[0, 2000, 0, 0]
    assert found.min() == pytest.approx(LOWEST, abs=1e-6)
    assert found[0, -1, 0, 0] == pytest.approx(LOWEST, abs=1e-6)
    away = b != 0
    multiplier = found[away] / b[away]
    assert 0 < multiplier.min() < 1e-4 and 1 - 1e-4 < multiplier.max() < 1


def test_the_gate_has_a_gradient_everywhere():
    """Item 1: of sigmoid(b) * b, finite also where the sigmoid is saturated."""
    b = np.linspace(-50, 50, 101).astype("float32")
    found = gradient(lambda x: keras.ops.sum(AttentionBoostingGate()(x)), b)
    s = 1 / (1 + np.exp(-b.astype("float64")))
    np.testing.assert_allclose(found, s + b * s * (1 - s), atol=1e-5)


def test_the_module_adds_the_gate():
    """Item 2: ReLU(b) + sigmoid(b) * b at four values."""
    b = keras.Input((None, None, 1))
    boosted, added = attention_boost(keras.layers.ReLU()(b), b, name="abm")
    model = keras.Model(b, [boosted, added])
    values = np.array([WHERE, 0, 1, 5], "float32").reshape(1, 4, 1, 1)
    sums, summands = model.predict(values, verbose=0)
    np.testing.assert_allclose(sums.ravel(), [-0.278465, 0, 1.731059, 9.966535], atol=1e-5)
    np.testing.assert_allclose(summands.ravel(), [-0.278465, 0, 0.731059, 4.966536], atol=1e-5)
    assert boosted.shape == added.shape == b.shape
    assert [layer.name for layer in model.layers[2:]] == ["abm_gate", "abm"]
    assert model.weights == []


def test_the_module_takes_equal_sizes_only():
    x, b = keras.Input((None, None, 8)), keras.Input((None, None, 4))
    with pytest.raises(ValueError, match="abm: the boosted map has 8 channels and the gated one 4"):
        attention_boost(x, b, name="abm")


def test_config_round_trip():
    assert check_config_round_trip(AttentionBoostingGate(name="gate")).name == "gate"
