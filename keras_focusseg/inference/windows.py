"""Large pictures through overlapping windows, in strips, so that memory does not grow with them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np

Size = tuple[int, int]
Predict = Callable[[np.ndarray], np.ndarray]
"""Images (B, h, w, 3) to probabilities (B, h, w, classes) float32."""

SIGMA = 1 / 8
"""Standard deviation of the Gaussian that blends windows, as a share of their side."""


def starts(size: int, window: int, overlap: float) -> list[int]:
    """First pixels of the windows along one side, evenly spread from border to border.

    Args:
        size: Pixels of the picture's side.
        window: Pixels of the windows' side, at most `size`.
        overlap: Least share of a window that the next one covers as well, in 0..1, below 1.

    Returns:
        As few starts as give that overlap, the first 0 and the last `size - window`.

    Example:
        ```python
        starts(1000, 400, 0.25)    # [0, 300, 600]
        ```
    """
    step = max(1, math.floor(window * (1 - overlap)))
    count = 1 + math.ceil((size - window) / step)
    return [round(i * (size - window) / max(1, count - 1)) for i in range(count)]


def blending(size: int, window: int, firsts: list[int]) -> list[np.ndarray]:
    """Weight of each pixel of each window along one side: a Gaussian around the window's centre.

    Windows lie on a grid, so the weight in the picture is the product of those along both sides.

    Returns:
        A float32 vector (window,) for each start; at every pixel of the side they sum to 1.
    """
    place = (np.arange(window) + 0.5) / window - 0.5
    bell = np.exp(-0.5 * (place / SIGMA) ** 2)
    total = np.zeros(size)
    for first in firsts:
        total[first : first + window] += bell
    return [(bell / total[first : first + window]).astype("float32") for first in firsts]


def strips(
    predict: Predict, image: np.ndarray, window: Size, overlap: float, batch_size: int = 1
) -> Iterator[tuple[int, np.ndarray]]:
    """Probabilities of a picture from top to bottom, each row once no window can change it.

    What is kept is one row of windows: `window` height x picture width x classes, float32.

    Args:
        predict: The network.
        image: (H, W, 3).
        window: Height and width of the windows, no larger than the picture.
        overlap: See `starts`.
        batch_size: Windows side by side that go to the network at once.

    Yields:
        First row, and probabilities (rows, W, classes), valid until the next strip is asked for.
    """
    (height, width), (rows, columns) = image.shape[:2], window
    tops, lefts = (
        starts(size, part, overlap) for size, part in zip((height, width), window, strict=True)
    )
    down, across = blending(height, rows, tops), blending(width, columns, lefts)
    strip = np.zeros((0, 0, 0), "float32")
    for top, next_top, weight in zip(tops, [*tops[1:], height], down, strict=True):
        for first in range(0, len(lefts), batch_size):
            some = slice(first, first + batch_size)
            crops = [image[top : top + rows, left : left + columns] for left in lefts[some]]
            found = predict(np.stack(crops))
            if not strip.size:
                strip = np.zeros((rows, width, found.shape[-1]), "float32")
            for left, share, one in zip(lefts[some], across[some], found, strict=True):
                part = strip[:, left : left + columns]
                part += one * (weight[:, None] * share)[..., None]
        done = next_top - top
        yield top, strip[:done]
        strip[: rows - done] = strip[done:]
        strip[rows - done :] = 0.0
