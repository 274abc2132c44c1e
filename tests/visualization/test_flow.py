"""Offsets as colours and as arrows."""

import numpy as np
import pytest

from keras_focusseg import visualization


def test_directions_have_their_colours_and_length_is_saturation() -> None:
    """Red to the right, yellow down, blue-green to the left, violet up; white is no offset."""
    offsets = np.array([[[2, 0], [0, 2], [-2, 0], [0, -2], [0, 0], [1, 0]]], "float32")
    right, down, left, up, still, half = visualization.flow_colors(offsets, limit=2.0)[0].astype(
        int
    )
    assert right.tolist() == [255, 0, 0]
    assert down[0] > 200 and down[1] > 180 and down[2] == 0
    assert left[0] == 0 and left[1] > 150 and left[2] > 150
    assert up[2] == 255 and up[1] == 0 and 50 < up[0] < 200
    assert still.tolist() == [255, 255, 255]
    assert half.tolist() == pytest.approx([255, 128, 128], abs=1)


def test_limit_and_unknown_offsets() -> None:
    offsets = np.array([[[4, 0], [np.nan, 1], [np.inf, 0]]], "float32")
    longer, *unknown = visualization.flow_colors(offsets, limit=2.0)[0].astype(int)
    assert longer.tolist() == [191, 0, 0]  # darker than a pure colour
    assert not np.array(unknown).any()
    assert visualization.flow_colors(offsets)[0, 0].tolist() == [255, 0, 0]  # its own limit
    assert not visualization.flow_colors(np.zeros((2, 2, 2))).min() < 255
    with pytest.raises(ValueError, match="limit must be above 0 pixels, got 0"):
        visualization.flow_colors(offsets, limit=0)
    with pytest.raises(ValueError, match=r"dx and dy; got shape \(2, 3\)"):
        visualization.flow_colors(np.zeros((2, 3)))


def test_the_wheel_shows_each_direction_at_its_side() -> None:
    wheel = np.asarray(visualization.flow_wheel(64)).astype(int)
    assert wheel.shape == (64, 64, 3)
    assert wheel[0, 0].tolist() == [255, 255, 255]
    assert (wheel[32, 32] > 230).all()
    right, left = wheel[32, 61], wheel[32, 2]
    assert right[0] > 200 and right[1] < 60 and left[0] < 60 and left[2] > 150


def test_arrows_change_the_picture_where_something_moves() -> None:
    image = np.full((48, 64, 3), 120, "uint8")
    offsets = np.zeros((12, 16, 2), "float32")
    still = np.asarray(visualization.flow_arrows(image, offsets, step=16)).astype(int)
    offsets[:6, :8] = 3.0, 0.0
    moving = np.asarray(visualization.flow_arrows(image, offsets, step=16)).astype(int)
    assert moving.shape == image.shape
    changed = np.abs(moving - still).max(-1) > 20
    assert changed[:24, :44].any()
    assert not changed[36:].any() and not changed[:, 52:].any()


def test_an_arrow_ends_where_its_offset_points() -> None:
    """An offset of 5 cells in a map of a quarter of the size is 20 pixels of the picture."""
    image = np.full((60, 100, 3), 120, "uint8")
    for offset, rows, columns in (
        ((5, 0), (30, 30), (50, 70)),
        ((0, -5), (10, 30), (50, 50)),
        ((-2.5, 0), (30, 30), (40, 50)),
    ):
        field = np.full((15, 25, 2), np.nan)
        field[7, 12] = offset  # the cell of the picture's middle, (30, 50)
        ground = np.asarray(visualization.flow_arrows(image, np.full((15, 25, 2), np.nan), 60))
        drawn = np.asarray(visualization.flow_arrows(image, field, 60))
        y, x = np.nonzero((drawn != ground).any(-1))
        for found, (low, high) in ((y, rows), (x, columns)):
            assert low - 7 <= found.min() <= low + 1 and high - 1 <= found.max() <= high + 7
        along, across = (x, y) if offset[1] == 0 else (y, x)
        assert np.ptp(along) > np.ptp(across)
    with pytest.raises(ValueError, match="step and scale must be above 0, got 0 and 1.0"):
        visualization.flow_arrows(image, field, 0)
