"""Windows cover a picture, their weights sum to 1, and strips are what one large sum gives."""

import numpy as np
import pytest

from keras_focusseg.inference.windows import blending, starts, strips


@pytest.mark.parametrize(
    ("size", "window", "overlap"),
    [(100, 100, 0.25), (101, 100, 0.0), (1000, 400, 0.25), (999, 128, 0.5), (40, 16, 0.99)],
)
def test_windows_reach_from_border_to_border(size: int, window: int, overlap: float) -> None:
    firsts = starts(size, window, overlap)
    assert firsts[0] == 0 and firsts[-1] == size - window
    steps = np.diff(firsts)
    assert (steps > 0).all() and (steps <= max(1, window * (1 - overlap))).all()
    total = np.zeros(size)
    for first, weight in zip(firsts, blending(size, window, firsts), strict=True):
        total[first : first + window] += weight
        assert weight.argmax() in range(window) and (weight >= 0).all()
    np.testing.assert_allclose(total, 1, atol=1e-6)


def two_classes(images: np.ndarray) -> np.ndarray:
    """A network that sees one pixel, and the mean of what it is shown."""
    red = images[..., 0] / 255.0
    share = (0.7 * red + 0.3 * red.mean((1, 2), keepdims=True)).astype("float32")
    return np.stack([share, 1 - share], -1)


@pytest.mark.parametrize("batch_size", [1, 3])
def test_strips_are_the_blended_sum_over_all_windows(batch_size: int) -> None:
    image = np.random.default_rng(0).integers(0, 256, (70, 90, 3)).astype("uint8")
    height, width = window = (32, 40)
    place = [(np.arange(n) + 0.5) / n - 0.5 for n in window]
    bell = np.exp(-32 * (place[0][:, None] ** 2 + place[1] ** 2))  # sigma is 1/8
    total, weights = np.zeros((70, 90, 2)), np.zeros((70, 90, 1))
    for y in starts(70, height, 0.3):
        for x in starts(90, width, 0.3):
            there = (slice(y, y + height), slice(x, x + width))
            total[there] += bell[..., None] * two_classes(image[None][:, *there])[0]
            weights[there] += bell[..., None]
    seen, largest = np.zeros((70, 90, 2), "float32"), 0
    next_row = 0
    for top, found in strips(two_classes, image, window, 0.3, batch_size):
        assert top == next_row
        next_row = top + len(found)
        largest = max(largest, len(found))
        seen[top:next_row] = found
    assert next_row == 70 and largest <= height
    np.testing.assert_allclose(seen, total / weights, atol=1e-6)


def test_one_window_is_the_picture_itself() -> None:
    image = np.random.default_rng(0).integers(0, 256, (30, 40, 3)).astype("uint8")
    for top, found in strips(two_classes, image, (30, 40), 0.25):
        assert top == 0
        np.testing.assert_array_equal(found, two_classes(image[None])[0])
