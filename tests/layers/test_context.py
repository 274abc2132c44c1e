"""CRM, its attention blocks, pyramid pooling. Item numbers: section 6 of SCRNet's specification."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

from keras_focusseg.layers import (
    ChannelAttention,
    ContextualRefinement,
    DisentangledNonLocal,
    PyramidPooling,
    SqueezeExcite,
)
from keras_focusseg.layers.context import adaptive_average
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


# The blocks


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
        weights = [to_numpy(w).astype("float64") for w in getattr(layer, name).weights]
        return flat @ weights[0][0, 0] + (weights[1] if len(weights) == 2 else 0.0)

    norm = {w.name: to_numpy(w).astype("float64") for w in layer.out_norm.weights}
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


# The module


def stages(channels: tuple[int, ...] = (4, 6, 8, 10)) -> list[np.ndarray]:
    return [
        noise(2, 16 // s, 24 // s, c, seed=c) for s, c in zip((1, 2, 4, 8), channels, strict=True)
    ]


@pytest.mark.parametrize("pooling", ["average", "max"])
def test_stages_are_pooled_over_their_own_windows_and_joined(pooling: str):
    """Item 12; a reduction that copies channels shows what was joined."""
    maps = stages()
    layer = ContextualRefinement(28, pooling=pooling)
    layer.build([m.shape for m in maps])
    layer.reduce.kernel.assign(np.eye(28)[None, None])
    found = to_numpy(compiled(lambda *maps: layer(list(maps)))(*maps))
    pool = np.mean if pooling == "average" else np.max
    joined = []
    for m, factor in zip(maps, (8, 4, 2, 1), strict=True):
        windows = m.reshape(2, 2, factor, 3, factor, m.shape[-1])
        joined.append(pool(windows, axis=(2, 4)))
    expected = np.maximum(np.concatenate(joined, -1) / np.sqrt(1 + 1e-5), 0)
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize(
    ("height", "width", "channels"),
    [(512, 1024, (64, 128, 320, 512)), (256, 256, (256, 512, 1024, 2048))],
)
def test_channels_of_the_paper_s_backbones(height: int, width: int, channels: tuple[int, ...]):
    """Item 12: 1024 channels for MSCAN-S and VAN-B1, 3840 for ResNet-50 and -101."""
    shapes = [
        (None, height // s, width // s, c) for s, c in zip((4, 8, 16, 32), channels, strict=True)
    ]
    layer = ContextualRefinement()
    y, attention = layer([keras.KerasTensor(s) for s in shapes], return_attention=True)
    assert layer.reduce.kernel.shape == (1, 1, sum(channels), 512)
    assert y.shape == (None, height // 32, width // 32, 512)
    positions = height * width // 1024
    assert attention["channel_attention"].shape == (None, 512, 512)
    assert attention["spatial_attention"].shape == (None, positions, positions)


@pytest.mark.parametrize(
    ("order", "seen"),
    [
        ("channel_spatial", {"channel", "spatial", "unary"}),
        ("spatial_channel", {"channel", "spatial", "unary"}),
        ("parallel", {"channel", "spatial", "unary"}),
        ("channel", {"channel"}),
        ("spatial", {"spatial", "unary"}),
    ],
)
def test_order_of_the_blocks(order: str, seen: set[str]):
    """Item 23: what the module does is what its blocks do one after the other."""
    maps = stages()
    layer = ContextualRefinement(8, order)
    layer.build([m.shape for m in maps])
    x = noise(2, 2, 3, 8)
    for name in ("channel", "spatial"):
        if hasattr(layer, name):
            awake(getattr(layer, name), x)
    assert {f"{name}_attention" for name in seen} == set(
        compiled(lambda *maps: layer(list(maps), return_attention=True)[1])(*maps)
    )
    bare = ContextualRefinement(8, "channel")  # fresh, so the reduction alone
    bare.build([m.shape for m in maps])
    for ours, theirs in ((bare.reduce, layer.reduce), (bare.reduce_norm, layer.reduce_norm)):
        ours.set_weights(theirs.get_weights())

    def expected(*maps: Any) -> Any:
        x = bare(list(maps))
        if order == "parallel":
            return layer.channel(x) + layer.spatial(x) - x
        for name in order.split("_"):
            x = getattr(layer, name)(x)
        return x

    found = to_numpy(compiled(lambda *maps: layer(list(maps)))(*maps))
    np.testing.assert_allclose(found, to_numpy(compiled(expected)(*maps)), atol=1e-5)


def test_stages_that_do_not_fit_are_told():
    maps = stages()
    maps[0] = maps[0][:, :15]
    with pytest.raises(
        ValueError, match="15x24 cells cannot be pooled .* multiples. Pad the image"
    ):
        ContextualRefinement(8)(maps)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"order": "both"}, "order must be one of"),
        ({"channel_attention": "eca"}, "channel_attention must be one of"),
        ({"pooling": "sum"}, "pooling must be one of"),
    ],
)
def test_wrong_arguments_are_told(options: dict[str, Any], message: str):
    with pytest.raises(ValueError, match=message):
        ContextualRefinement(**options)


def test_attention_is_float32_under_mixed_precision(mixed_precision: str):
    maps = [keras.ops.cast(m, mixed_precision) for m in stages()]
    layer = ContextualRefinement(8)
    y, attention = compiled(lambda *maps: layer(list(maps), return_attention=True))(*maps)
    assert keras.backend.standardize_dtype(y.dtype) == mixed_precision
    for name, value in attention.items():
        assert keras.backend.standardize_dtype(value.dtype) == "float32", name
        axes = (1, 2) if name == "unary_attention" else -1
        np.testing.assert_allclose(to_numpy(value).sum(axis=axes), 1.0, atol=1e-5)


# Pyramid pooling


@pytest.mark.parametrize("size", [(7, 5), (6, 12), (2, 3)])
def test_adaptive_means_cover_the_map(size: tuple[int, int]):
    x = noise(1, *size, 2)
    for bins in (1, 3, 6):
        found = to_numpy(compiled(lambda x, bins=bins: adaptive_average(x, bins))(x))
        for i in range(bins):
            rows = slice(i * size[0] // bins, -(-(i + 1) * size[0] // bins))
            for j in range(bins):
                columns = slice(j * size[1] // bins, -(-(j + 1) * size[1] // bins))
                expected = x[:, rows, columns].mean(axis=(1, 2))
                np.testing.assert_allclose(found[:, i, j], expected, atol=1e-5)


def test_pyramid_pooling_keeps_constants_and_has_a_config():
    """Item 12: away from the zeros around the 3x3 convolution, a constant map stays constant."""
    x = np.full((1, 8, 9, 8), 0.5, "float32")
    layer = PyramidPooling(6, bins=(1, 2, 4))
    found = run(layer, x)
    inner = found[:, 1:-1, 1:-1]
    np.testing.assert_allclose(inner, np.broadcast_to(inner[:, :1, :1], inner.shape), atol=1e-5)
    assert inner.std() > 0
    copy = check_config_round_trip(layer)
    assert (copy.filters, copy.bins) == (6, (1, 2, 4))
    for other in (ContextualRefinement(8, "parallel", "squeeze_excite", "max"), SqueezeExcite(4)):
        check_config_round_trip(other)
    check_config_round_trip(DisentangledNonLocal(4, 0.1))
    check_config_round_trip(ChannelAttention())
