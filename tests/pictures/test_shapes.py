"""From drawn shapes to pixels, held against exact arithmetic and masks counted by hand."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_focusseg.pictures import shapes

SIZE = (9, 12)


def painted(region, size=SIZE):
    mask = np.zeros(size, "uint8")
    region.paint(mask, 1)
    return mask


@pytest.mark.parametrize(
    ("corners", "window"),
    [
        ((2, 1, 7, 4), (slice(1, 4), slice(2, 7))),  # whole numbers: 5 x 3 pixels
        ((0, 0, 12, 9), (slice(0, 9), slice(0, 12))),
        ((2.4, 1.4, 7.4, 4.4), (slice(1, 4), slice(2, 7))),  # the same centres inside
        ((2.6, 1.6, 7.6, 4.6), (slice(2, 5), slice(3, 8))),
        ((2.5, 1.5, 7.5, 4.5), (slice(1, 4), slice(2, 7))),  # left and top belong to it
        ((-5, -5, 3, 2), (slice(0, 2), slice(0, 3))),
        ((10, 7, 99, 99), (slice(7, 9), slice(10, 12))),
        ((3.1, 3.1, 3.4, 3.4), (slice(0, 0), slice(0, 0))),  # between the centres
        ((20, 20, 30, 30), (slice(0, 0), slice(0, 0))),
    ],
)
def test_rectangles(corners, window):
    x0, y0, x1, y1 = corners
    expected = np.zeros(SIZE, "uint8")
    expected[window] = 1
    np.testing.assert_array_equal(painted(shapes.rectangle((x0, y0), (x1, y1), SIZE)), expected)
    np.testing.assert_array_equal(painted(shapes.rectangle((x1, y0), (x0, y1), SIZE)), expected)
    for points in (
        [(x0, y0), (x1, y0), (x1, y1), (x0, y1)],
        [(x1, y1), (x1, y0), (x0, y0), (x0, y1)],
    ):
        region = shapes.polygon(points, SIZE)
        np.testing.assert_array_equal(painted(region), expected)
        assert region.area == expected.sum()


def test_triangle_by_hand():
    drawn = painted(shapes.polygon([(0, 0), (6, 0), (0, 6)], (6, 6)), (6, 6))
    # The outline from (6, 0) to (0, 6) runs through centres, which belong to what is right of it.
    assert ["".join(map(str, row)) for row in drawn] == [
        "111110", "111100", "111000", "110000", "100000", "000000"
    ]  # fmt: skip


def test_star_has_a_hole_and_neighbours_share_no_pixel():
    points = [(6, 0), (9, 9), (0, 3), (12, 3), (3, 9)]
    assert painted(shapes.polygon(points, SIZE))[5, 6] == 0
    a, b, c, d = (0.3, 0.2), (11.7, 1.1), (8.9, 8.6), (1.4, 7.3)
    whole = painted(shapes.polygon([a, b, c, d], SIZE)).astype(int)
    halves = painted(shapes.polygon([a, b, c], SIZE)) + painted(shapes.polygon([c, d, a], SIZE))
    np.testing.assert_array_equal(whole, halves)


def exact(points):
    """Even or odd number of outlines left of each centre, in fractions."""
    corners = [(Fraction(x), Fraction(y)) for x, y in points]
    mask = np.zeros(SIZE, "uint8")
    for row in range(SIZE[0]):
        y = Fraction(2 * row + 1, 2)
        crossings = [
            ax + (y - ay) / (by - ay) * (bx - ax)
            for (ax, ay), (bx, by) in zip(corners, [*corners[1:], corners[0]], strict=True)
            if (ay <= y) != (by <= y)
        ]
        for column in range(SIZE[1]):
            mask[row, column] = sum(c <= Fraction(2 * column + 1, 2) for c in crossings) % 2
    return mask


# Quarters are exact in binary, so that centres lie on outlines often.
_QUARTERS = st.integers(-20, 70).map(lambda n: n / 4)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(_QUARTERS, _QUARTERS), min_size=3, max_size=9))
def test_polygons_are_exact(points):
    # Where a centre lies on the outline, a rounded crossing may fall on either side of it.
    drawn, expected = painted(shapes.polygon(points, SIZE)), exact(points)
    on_outline = np.zeros(SIZE, bool)
    for (ax, ay), (bx, by) in zip(points, [*points[1:], points[0]], strict=True):
        x, y = np.meshgrid(np.arange(SIZE[1]) + 0.5, np.arange(SIZE[0]) + 0.5)
        on_outline |= (bx - ax) * (y - ay) == (by - ay) * (x - ax)
    assert not (drawn != expected)[~on_outline].any()


def test_many_crossings_are_counted_in_portions(monkeypatch):
    rng = np.random.default_rng(0)
    points = rng.uniform(-2, 12, (60, 2))
    whole = painted(shapes.polygon(points, SIZE))
    monkeypatch.setattr(shapes, "_AT_ONCE", 7)
    np.testing.assert_array_equal(painted(shapes.polygon(points, SIZE)), whole)
    assert 0 < whole.sum() < whole.size


def test_far_away_corners_cost_nothing():
    region = shapes.polygon([(-1e7, -1e7), (1e7, -1e7), (1e7, 1e7), (-1e7, 1e7)], SIZE)
    assert region.area == 9 * 12
    assert shapes.polygon([], SIZE).area == 0


def distance_to(points, size):
    y, x = (axis + 0.5 for axis in np.indices(size))
    best = np.full(size, np.inf)
    for a, b in zip(points, points[1:] or points, strict=False):
        for share in np.linspace(0, 1, 401):
            at = (a[0] + share * (b[0] - a[0]), a[1] + share * (b[1] - a[1]))
            best = np.minimum(best, np.hypot(x - at[0], y - at[1]))
    return best


@pytest.mark.parametrize(
    ("points", "thickness"),
    [([(5, 4)], 5), ([(-1, 4)], 6), ([(2, 2), (9, 6.3)], 3), ([(1, 8), (6, 1), (11, 8)], 2.2)],
)
def test_strokes(points, thickness):
    distance = distance_to(points, SIZE)
    drawn = painted(shapes.stroke(points, thickness, SIZE)).astype(bool)
    assert drawn[distance <= thickness / 2 - 0.05].all()
    assert not drawn[distance > thickness / 2 + 0.05].any()


def test_disc_by_hand():
    drawn = painted(shapes.disc((2.5, 2.5), 2, (5, 5)), (5, 5))
    assert ["".join(map(str, row)) for row in drawn] == [
        "00100",
        "01110",
        "11111",
        "01110",
        "00100",
    ]


def test_runs_go_down_the_columns():
    region = shapes.runs(np.array([1, 3, 2]), (2, 3))
    assert painted(region, (2, 3)).tolist() == [[0, 1, 0], [1, 1, 0]]
    for wrong in ([1, 3], [1, 3, 3], [-1, 7], []):
        with pytest.raises(ValueError, match=r"expected 3 x 2 = 6"):
            shapes.runs(np.array(wrong, "int64"), (2, 3))


def packed(counts):
    """COCO's packing, written down from its description: 5 bits a character, differences."""
    text = bytearray()
    for place, count in enumerate(counts):
        value = count - counts[place - 2] if place > 2 else count
        while True:
            bits, value = value & 31, value >> 5
            more = not (value == 0 and not bits & 16 or value == -1 and bits & 16)
            text.append(48 + (bits | 32 * more))
            if not more:
                break
    return bytes(text)


@given(st.lists(st.integers(0, 10**7), max_size=30))
def test_packed_runs(counts):
    assert shapes.unpacked_runs(packed(counts)).tolist() == counts


def test_packed_runs_as_coco_writes_them():
    # What pycocotools 2.0 makes of a square with a hole.
    mask = np.zeros((9, 10), "uint8")
    mask[2:7, 3:8] = 1
    mask[4, 5] = 0
    region = shapes.runs(shapes.unpacked_runs(b"m05400MM03300`0"), (9, 10))
    np.testing.assert_array_equal(painted(region, (9, 10)), mask)


@pytest.mark.parametrize(
    ("text", "message"), [(b"P", "middle"), (b"1 1", "character"), (b"o" * 12 + b"0", "40 bits")]
)
def test_packed_runs_that_are_none(text, message):
    with pytest.raises(ValueError, match=message):
        shapes.unpacked_runs(text)
