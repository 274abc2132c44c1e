"""Resizing: half-pixel centres at any size, known or not."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from keras_focusseg.layers import ResizeLike, resize_to
from tests.testers import check_config_round_trip, compiled, to_numpy


def positions(source: int, target: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Left neighbour, right neighbour and share of the right one, with half-pixel centres."""
    center = np.clip((np.arange(target) + 0.5) * source / target - 0.5, 0, source - 1)
    left = np.floor(center).astype(int)
    return left, np.minimum(left + 1, source - 1), center - left


def bilinear(x: np.ndarray, height: int, width: int) -> np.ndarray:
    top, bottom, down = positions(x.shape[1], height)
    left, right, along = positions(x.shape[2], width)
    down, along = down[:, None, None], along[:, None]
    rows = x[:, top] * (1 - down) + x[:, bottom] * down
    return rows[:, :, left] * (1 - along) + rows[:, :, right] * along


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=shape).astype("float32")


@pytest.mark.parametrize("size", [(12, 20), (6, 10), (7, 33), (3, 5), (1, 1), (2, 11)])
def test_bilinear_equals_half_pixel_centres(size: tuple[int, int]):
    """Item 23: enlarged, shrunk without antialiasing, odd sizes, one pixel."""
    x = noise(2, 6, 10, 3)
    np.testing.assert_allclose(to_numpy(resize_to(x, size)), bilinear(x, *size), atol=1e-5)


def test_sizes_known_only_at_run_time():
    layer = ResizeLike()
    function = compiled(lambda x, like: layer(x, like))
    for source, target in [((6, 10), (24, 40)), ((5, 7), (17, 9))]:
        x = noise(1, *source, 2)
        found = to_numpy(function(x, noise(1, *target, 4)))
        np.testing.assert_allclose(found, bilinear(x, *target), atol=1e-5)


def test_nearest_invents_no_value():
    layer = ResizeLike("nearest")
    x = noise(1, 4, 4, 1)
    found = to_numpy(compiled(lambda a, b: layer(a, b))(x, noise(1, 8, 12, 1)))
    np.testing.assert_array_equal(found, x.repeat(2, axis=1).repeat(3, axis=2))


def test_result_has_the_dtype_of_the_layer(mixed_precision: str):
    """Item 25: the last resize is told to stay in float32."""
    x, like = keras.ops.cast(noise(1, 4, 4, 1), mixed_precision), noise(1, 8, 8, 1)
    for dtype, layer in ((mixed_precision, ResizeLike()), ("float32", ResizeLike(dtype="float32"))):
        for function in (layer, compiled(lambda a, b, layer=layer: layer(a, b))):
            assert keras.backend.standardize_dtype(function(x, like).dtype) == dtype


def test_symbolic_shape_and_config():
    low, high = keras.Input((None, None, 8)), keras.Input((32, None, 4))
    assert ResizeLike()(low, high).shape == (None, 32, None, 8)
    assert check_config_round_trip(ResizeLike("nearest")).interpolation == "nearest"
