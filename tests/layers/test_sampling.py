"""The bilinear sampler, padding and cropping. Item numbers: section 6 of SCRNet's specification."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import ops

from keras_focusseg.layers import CropLike, PadToMultiple, sample_bilinear
from keras_focusseg.layers.resample import pixel_grid
from tests.testers import check_config_round_trip, compiled, gradient, to_numpy


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def positions(batch: int, height: int, width: int, of: tuple[int, int], seed: int = 1):
    """Random columns and rows, a third of them outside the map, a few far outside."""
    rng = np.random.default_rng(seed)
    spread = np.array([of[1], of[0]])
    points = rng.uniform(-0.5, 1.5, (batch, height, width, 2)) * spread
    points[:, 0, 0] = 1e6, -1e6
    points[:, 0, 1] = -1e30, 2.25
    return points.astype("float32")


def looped(x: np.ndarray, points: np.ndarray, padding: str) -> np.ndarray:
    """One pixel at a time, in float64."""
    batch, height, width, channels = x.shape
    result = np.zeros((*points.shape[:-1], channels))
    for b, i, j in np.ndindex(points.shape[:3]):
        column, row = points[b, i, j].astype("float64")
        if padding == "border":
            column, row = np.clip(column, 0, width - 1), np.clip(row, 0, height - 1)
        for corner_row in (np.floor(row), np.floor(row) + 1):
            for corner in (np.floor(column), np.floor(column) + 1):
                weight = (1 - abs(corner - column)) * (1 - abs(corner_row - row))
                if weight > 0 and 0 <= corner < width and 0 <= corner_row < height:
                    result[b, i, j] += weight * x[b, int(corner_row), int(corner)]
    return result


@pytest.mark.parametrize("padding", ["border", "zeros"])
def test_equals_a_loop_inside_and_far_outside(padding: str):
    """Item 5; the map is not square and the result of another size, so swapped axes show."""
    x, points = noise(2, 5, 8, 3), positions(2, 4, 7, (5, 8))
    found = to_numpy(compiled(lambda x, p: sample_bilinear(x, p, padding))(x, points))
    np.testing.assert_allclose(found, looped(x, points, padding), atol=1e-5)


def map_coordinates(x, points, padding: str):
    """The same by Keras' own operation, image by image and channel by channel."""
    mode = {"border": "nearest", "zeros": "constant"}[padding]
    batch, _, _, channels = x.shape
    images = []
    for b in range(batch):
        where = ops.stack([points[b, ..., 1], points[b, ..., 0]])  # rows, columns
        images.append(
            ops.stack(
                [
                    ops.image.map_coordinates(x[b, ..., c], where, order=1, fill_mode=mode)
                    for c in range(channels)
                ],
                axis=-1,
            )
        )
    return ops.stack(images)


@pytest.mark.parametrize("padding", ["border", "zeros"])
def test_values_and_gradients_equal_map_coordinates(padding: str):
    """Item 5: against an independent sampler, in the map and in the coordinates."""
    x, weights = noise(2, 5, 8, 2), ops.convert_to_tensor(noise(2, 3, 4, 2, seed=3))
    points = positions(2, 3, 4, (5, 8), seed=2)
    points = np.clip(points, -3, 11)  # Keras' operation loses far coordinates in int32

    def of_ours(x, p):
        return ops.sum(sample_bilinear(x, p, padding) * weights)

    def of_theirs(x, p):
        return ops.sum(map_coordinates(x, p, padding) * weights)

    np.testing.assert_allclose(
        to_numpy(sample_bilinear(x, points, padding)),
        to_numpy(map_coordinates(ops.convert_to_tensor(x), points, padding)),
        atol=1e-5,
    )
    found = gradient(lambda x: of_ours(x, points), x)
    np.testing.assert_allclose(found, gradient(lambda x: of_theirs(x, points), x), atol=1e-5)
    inside = np.random.default_rng(0).uniform(0.1, 3.9, points.shape).astype("float32")
    tensor = ops.convert_to_tensor(x)
    found = gradient(lambda p: of_ours(tensor, p), inside)
    expected = gradient(lambda p: of_theirs(tensor, p), inside)
    assert np.abs(expected).max() > 0.1
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_gradient_in_the_coordinates_equals_finite_differences():
    """Item 6, away from whole coordinates, where the derivative jumps; 0 beyond the border."""
    x, weights = noise(1, 6, 9, 2), noise(1, 3, 5, 2, seed=3)
    rng = np.random.default_rng(0)
    points = rng.integers(0, (8, 5), (1, 3, 5, 2)) + rng.uniform(0.2, 0.8, (1, 3, 5, 2))
    points[0, 0, 0] = -4.0, 2.5  # a column outside: constant in the column

    def value(p: np.ndarray) -> float:
        return float((looped(x, p, "border") * weights).sum())

    numeric = np.zeros_like(points)
    for index in np.ndindex(points.shape):
        step = np.zeros_like(points)
        step[index] = 1e-3
        numeric[index] = (value(points + step) - value(points - step)) / 2e-3
    tensor = ops.convert_to_tensor(x)
    found = gradient(
        lambda p: ops.sum(sample_bilinear(tensor, p) * ops.convert_to_tensor(weights)),
        points.astype("float32"),
    )
    assert found[0, 0, 0, 0] == 0 and found[0, 0, 0, 1] != 0
    np.testing.assert_allclose(found, numeric, atol=1e-3)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_keeps_coordinates_in_float32(dtype: str):
    """Item 8: offset 0.5 at column 511, which half precision cannot hold."""
    ramp = np.zeros((1, 1, 1024, 1), "float32")
    ramp[..., 511, 0], ramp[..., 512, 0] = 2.0, 4.0
    x = ops.cast(ramp, dtype)
    points = pixel_grid(x) + ops.convert_to_tensor([0.5, 0.0])
    found = sample_bilinear(x, points)
    assert keras.backend.standardize_dtype(found.dtype) == dtype
    values = to_numpy(ops.cast(found, "float32"))[0, 0, :, 0]
    np.testing.assert_array_equal(values[510:513], [1.0, 3.0, 2.0])


def test_unknown_padding_is_told():
    with pytest.raises(ValueError, match="padding must be 'border' or 'zeros', got 'reflect'"):
        sample_bilinear(noise(1, 2, 2, 1), noise(1, 1, 1, 2), "reflect")


@pytest.mark.parametrize("size", [(32, 64), (33, 50)])
def test_padding_repeats_the_border_and_cropping_undoes_it(size: tuple[int, int]):
    x = noise(2, *size, 3)
    pad, crop = PadToMultiple(32), CropLike()
    padded = to_numpy(compiled(lambda x: pad(x))(x))
    expected = (2, *(-(-side // 32) * 32 for side in size), 3)
    assert padded.shape == expected == pad.compute_output_shape(x.shape)
    rows, columns = expected[1] - size[0], expected[2] - size[1]
    border = ((0, 0), (0, rows), (0, columns), (0, 0))
    np.testing.assert_array_equal(padded, np.pad(x, border, mode="edge"))
    np.testing.assert_array_equal(to_numpy(compiled(lambda a, b: crop(a, b))(padded, x)), x)


def test_cropping_of_cells_keeps_the_last_partial_one():
    crop = CropLike(stride=4)
    cells, image = noise(1, 16, 16, 2), noise(1, 33, 50, 3)
    assert to_numpy(crop(cells, image)).shape == (1, 9, 13, 2)
    assert crop(keras.Input((None, 16, 2)), keras.Input((None, 50, 3))).shape == (None, None, 13, 2)
    assert check_config_round_trip(crop).stride == 4
    assert check_config_round_trip(PadToMultiple(16)).multiple == 16
