"""CRM with its choices changed. Item numbers: section 6 of SCRNet's specification."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from keras_focusseg.layers import ContextualRefinement, ContextVariant
from tests.layers.test_attention import awake, noise
from tests.layers.test_context import stages
from tests.testers import check_config_round_trip, compiled, randomize_weights, to_numpy


@pytest.mark.parametrize("pooling", ["average", "max"])
def test_stages_are_pooled_over_their_own_windows_and_joined(pooling: str):
    """Item 12; a reduction that copies channels shows what was joined."""
    maps = stages()
    layer = ContextVariant(28, pooling=pooling)
    layer.build([m.shape for m in maps])
    layer.reduce.conv.kernel.assign(np.eye(28)[None, None])
    found = to_numpy(compiled(lambda *maps: layer(list(maps)))(*maps))
    pool = np.mean if pooling == "average" else np.max
    joined = []
    for m, factor in zip(maps, (8, 4, 2, 1), strict=True):
        windows = m.reshape(2, 2, factor, 3, factor, m.shape[-1])
        joined.append(pool(windows, axis=(2, 4)))
    expected = np.maximum(np.concatenate(joined, -1) / np.sqrt(1 + 1e-5), 0)
    np.testing.assert_allclose(found, expected, atol=1e-5)


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
    layer = ContextVariant(8, order)
    layer.build([m.shape for m in maps])
    x = noise(2, 2, 3, 8)
    for name in ("channel", "spatial"):
        if hasattr(layer, name):
            awake(getattr(layer, name), x)
    assert {f"{name}_attention" for name in seen} == set(
        compiled(lambda *maps: layer(list(maps), return_attention=True)[1])(*maps)
    )
    bare = ContextVariant(8, "channel")  # fresh, so the reduction alone
    bare.build([m.shape for m in maps])
    bare.reduce.set_weights(layer.reduce.get_weights())

    def expected(*maps: Any) -> Any:
        x = bare(list(maps))
        if order == "parallel":
            return layer.channel(x) + layer.spatial(x) - x
        for name in order.split("_"):
            x = getattr(layer, name)(x)
        return x

    found = to_numpy(compiled(lambda *maps: layer(list(maps)))(*maps))
    np.testing.assert_allclose(found, to_numpy(compiled(expected)(*maps)), atol=1e-5)


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
        ContextVariant(**options)


def test_what_changes_nothing_is_crm():
    maps = stages()
    found = []
    for layer in (ContextualRefinement(8), ContextVariant(8)):
        layer.build([m.shape for m in maps])
        randomize_weights(layer)
        found.append(to_numpy(compiled(lambda *maps, layer=layer: layer(list(maps)))(*maps)))
    np.testing.assert_array_equal(*found)


def test_config():
    check_config_round_trip(ContextVariant(8, "parallel", "squeeze_excite", "max"))
