"""CRM. Item numbers: section 6 of SCRNet's specification."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from keras_focusseg.layers import ContextualRefinement
from tests.layers.test_attention import noise
from tests.testers import check_config_round_trip, compiled, to_numpy


def stages(channels: tuple[int, ...] = (4, 6, 8, 10)) -> list[np.ndarray]:
    return [
        noise(2, 16 // s, 24 // s, c, seed=c) for s, c in zip((1, 2, 4, 8), channels, strict=True)
    ]


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
    assert layer.reduce.conv.kernel.shape == (1, 1, sum(channels), 512)
    assert y.shape == (None, height // 32, width // 32, 512)
    positions = height * width // 1024
    assert attention["channel_attention"].shape == (None, 512, 512)
    assert attention["spatial_attention"].shape == (None, positions, positions)


def test_stages_that_do_not_fit_are_told():
    maps = stages()
    maps[0] = maps[0][:, :15]
    with pytest.raises(
        ValueError, match="15x24 cells cannot be pooled .* multiples. Pad the image"
    ):
        ContextualRefinement(8)(maps)


def test_attention_is_float32_under_mixed_precision(mixed_precision: str):
    maps = [keras.ops.cast(m, mixed_precision) for m in stages()]
    layer = ContextualRefinement(8)
    y, attention = compiled(lambda *maps: layer(list(maps), return_attention=True))(*maps)
    assert keras.backend.standardize_dtype(y.dtype) == mixed_precision
    for name, value in attention.items():
        assert keras.backend.standardize_dtype(value.dtype) == "float32", name
        axes = (1, 2) if name == "unary_attention" else -1
        np.testing.assert_allclose(to_numpy(value).sum(axis=axes), 1.0, atol=1e-5)


def test_config():
    check_config_round_trip(ContextualRefinement(8))
