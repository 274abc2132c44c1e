"""The attention blocks of CRM. Item numbers: section 6 of SCRNet's specification."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from keras_focusseg.layers import ChannelAttention, DisentangledNonLocal, SqueezeExcite
from tests.testers import check_config_round_trip, compiled, to_numpy


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def softmax(x: np.ndarray, axis: int = -1) -> np.ndarray:
    e = np.exp(x - x.max(axis=axis, keepdims=True))
    return e / e.sum(axis=axis, keepdims=True)


def awake(layer: Any, x: np.ndarray, seed: int = 0) -> Any:
    """The layer with random weights, so that none of its blocks is the identity."""
    if not layer.built:
        layer.build(x.shape)
    rng = np.random.default_rng(seed)
    for weight in layer.weights:
        low = 0.5 if weight.name in ("gamma", "moving_variance") else -0.7
        weight.assign(rng.uniform(low, 1.2, weight.shape))
    return layer


def run(layer: Any, x: np.ndarray, **options: Any) -> Any:
    return to_numpy(compiled(lambda x: layer(x, **options))(x))


@pytest.mark.parametrize("block", [ChannelAttention, DisentangledNonLocal])
def test_a_fresh_block_is_the_identity(block: type):
    """Item 9."""
    x = noise(2, 3, 4, 6)
    np.testing.assert_allclose(run(block(), x), x, atol=1e-6)


def test_channel_attention_equals_a_loop():
    """Item 11: A = softmax(rowmax(E) - E), y = gamma * (X A^T) + X, image by image."""
    x = noise(2, 3, 4, 5)
    layer = awake(ChannelAttention(), x)
    found, affinity = run(layer, x, return_attention=True)
    gamma = float(to_numpy(layer.gamma))
    for b in range(2):
        flat = x[b].reshape(12, 5).astype("float64")
        expected = np.zeros_like(flat)
        for i in range(5):
            energy = np.array([flat[:, i] @ flat[:, j] for j in range(5)])
            row = softmax(energy.max() - energy)
            np.testing.assert_allclose(affinity[b, i], row, atol=1e-5)
            expected[:, i] = gamma * sum(row[j] * flat[:, j] for j in range(5)) + flat[:, i]
        np.testing.assert_allclose(found[b].reshape(12, 5), expected, atol=1e-5)


def test_disentangled_non_local_equals_a_loop():
    """Item 11, with both softmaxes of item 10 summing to 1."""
    x = noise(2, 3, 4, 6)
    layer = awake(DisentangledNonLocal(temperature=0.5), x)
    found, pairs, saliency = run(layer, x, return_attention=True)
    assert pairs.shape == (2, 12, 12) and saliency.shape == (2, 3, 4, 1)
    np.testing.assert_allclose(pairs.sum(-1), 1.0, atol=1e-5)
    np.testing.assert_allclose(saliency.sum(axis=(1, 2)), 1.0, atol=1e-5)

    def conv(name: str, flat: np.ndarray) -> np.ndarray:
        conv = layer.out.conv if name == "out" else getattr(layer, name)
        weights = [to_numpy(w).astype("float64") for w in conv.weights]
        return flat @ weights[0][0, 0] + (weights[1] if len(weights) == 2 else 0.0)

    norm = {w.name: to_numpy(w).astype("float64") for w in layer.out.norm.weights}
    for b in range(2):
        flat = x[b].reshape(12, 6).astype("float64")
        q, k, v = (conv(name, flat) for name in ("query", "key", "value"))
        q, k = q - q.mean(0), k - k.mean(0)
        m = softmax(conv("saliency", flat)[:, 0])
        y = np.zeros_like(v)
        for i in range(12):
            s = softmax(np.array([q[i] @ k[j] for j in range(12)]) / np.sqrt(3) / 0.5)
            y[i] = sum((s[j] + m[j]) * v[j] for j in range(12))
        y = (conv("out", y) - norm["moving_mean"]) / np.sqrt(norm["moving_variance"] + 1e-5)
        expected = flat + norm["gamma"] * y + norm["beta"]
        np.testing.assert_allclose(found[b].reshape(12, 6), expected, atol=1e-4)


def test_pairs_do_not_see_a_constant_in_queries_or_keys():
    """Item 10: whitening; and the saliency gives every position the same vector."""
    x = noise(1, 3, 4, 6)
    layer = awake(DisentangledNonLocal(), x)
    _, pairs, _ = run(layer, x, return_attention=True)
    for conv in (layer.query, layer.key):
        conv.bias.assign(to_numpy(conv.bias) + 5.0)
    _, found, _ = run(layer, x, return_attention=True)
    np.testing.assert_allclose(found, pairs, atol=1e-5)

    layer.query.kernel.assign(np.zeros(layer.query.kernel.shape))  # all pairs alike
    change = run(layer, x) - x
    np.testing.assert_allclose(change, np.broadcast_to(change[:, :1, :1], change.shape), atol=1e-5)
    assert np.abs(change).max() > 0.1


@pytest.mark.parametrize("block", [ChannelAttention, DisentangledNonLocal])
def test_permuted_positions_give_permuted_results(block: type):
    """Item 11."""
    x = noise(1, 3, 4, 6)
    layer = awake(block(), x)
    order = np.random.default_rng(0).permutation(12)

    def permuted(y: np.ndarray) -> np.ndarray:
        return y.reshape(1, 12, 6)[:, order].reshape(1, 3, 4, 6)

    np.testing.assert_allclose(run(layer, permuted(x)), permuted(run(layer, x)), atol=1e-5)


def test_permuted_channels_give_permuted_channels():
    """Item 11, for the channel block."""
    x = noise(1, 3, 4, 6)
    layer = awake(ChannelAttention(), x)
    order = [3, 0, 5, 1, 4, 2]
    np.testing.assert_allclose(run(layer, x[..., order]), run(layer, x)[..., order], atol=1e-5)


def test_squeeze_and_excite_weighs_whole_channels():
    x = noise(2, 3, 4, 32)
    layer = awake(SqueezeExcite(ratio=8), x)
    share = run(layer, x) / x
    hidden = np.maximum(x.mean(axis=(1, 2)) @ to_numpy(layer.squeeze.kernel), -np.inf)
    hidden = np.maximum(hidden + to_numpy(layer.squeeze.bias), 0)
    logits = hidden @ to_numpy(layer.excite.kernel) + to_numpy(layer.excite.bias)
    expected = np.broadcast_to(1 / (1 + np.exp(-logits))[:, None, None], x.shape)
    np.testing.assert_allclose(share, expected, rtol=1e-3)


def test_configs():
    check_config_round_trip(SqueezeExcite(4))
    check_config_round_trip(DisentangledNonLocal(4, 0.1))
    check_config_round_trip(ChannelAttention())
