"""Outlines of masks, painted again, are the masks: exact to the pixel, holes included."""

import numpy as np
import pytest

from keras_focusseg.pictures import shapes
from keras_focusseg.pictures.outlines import outlines


def painted(rings: list[np.ndarray], size: tuple[int, int]) -> np.ndarray:
    mask = np.zeros(size, bool)
    for ring in rings:
        inside = np.zeros(size, "uint8")
        shapes.polygon(ring, size).paint(inside, 1)
        mask ^= inside.astype(bool)
    return mask


def regions(mask: np.ndarray) -> int:
    """Connected regions by flooding, pixel by pixel."""
    left, count = {tuple(p) for p in np.argwhere(mask).tolist()}, 0
    while left:
        count += 1
        todo = [left.pop()]
        while todo:
            y, x = todo.pop()
            for near in ((y, x + 1), (y, x - 1), (y + 1, x), (y - 1, x)):
                if near in left:
                    left.remove(near)
                    todo.append(near)
    return count


@pytest.mark.parametrize("share", [0.1, 0.5, 0.6, 0.9])
def test_random_masks_come_back(share: float) -> None:
    rng = np.random.default_rng(round(100 * share))
    for size in ((1, 1), (1, 9), (7, 1), (12, 17), (40, 30)):
        mask = rng.random(size) < share
        found = outlines(mask)
        assert len(found) == regions(mask)
        assert sum(outline.area for outline in found) == mask.sum()
        total = np.zeros(size, int)
        for outline in found:
            joined = painted([outline.joined], size)
            total += joined
            assert joined.sum() == outline.area
            apart = painted([outline.outer, *outline.holes], size)
            np.testing.assert_array_equal(joined, apart)
        np.testing.assert_array_equal(total, mask)


def test_a_ring_in_a_ring() -> None:
    mask = np.zeros((9, 11), bool)
    mask[1:8, 1:10] = True
    mask[2:7, 2:9] = False
    mask[4, 4:6] = True
    outer, inner = outlines(mask)
    assert outer.outer.tolist() == [[1, 1], [10, 1], [10, 8], [1, 8]]
    assert [hole.tolist() for hole in outer.holes] == [[[2, 7], [9, 7], [9, 2], [2, 2]]]
    assert inner.area == 2 and inner.holes == () and len(inner.joined) == 4
    assert outlines(np.zeros((3, 3), bool)) == []


def test_pixels_that_touch_at_a_corner_are_two_regions() -> None:
    found = outlines(np.eye(2, dtype=bool))
    assert [outline.outer.tolist() for outline in found] == [
        [[0, 0], [1, 0], [1, 1], [0, 1]],
        [[1, 1], [2, 1], [2, 2], [1, 2]],
    ]
