"""Turn drawn shapes into pixels.

Coordinates are (x, y) in pixels from the upper left corner of the picture, so that the upper left
pixel reaches from (0, 0) to (1, 1). A pixel belongs to a shape if its centre lies inside; a centre
on the outline belongs to the shape on its right or below it. A rectangle between whole numbers
thus has exactly width times height pixels, and shapes that share an outline share no pixel.

Pillow's `ImageDraw` would not do: it cuts vertices down to whole pixels and fills the outline as
well, so that a square of 10 pixels becomes one of 11.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

_AT_ONCE = 1 << 22  # crossings in memory at a time
_LONGEST_RUN = 1 << 32


class Region(NamedTuple):
    """Some pixels of a picture.

    Attributes:
        top: Row of the first row of `filled`.
        left: Column of its first column.
        filled: (h, w) bool, which pixels of that window belong to the region.
    """

    top: int
    left: int
    filled: np.ndarray

    @property
    def area(self) -> int:
        """Number of pixels."""
        return int(self.filled.sum())

    def paint(self, mask: np.ndarray, value: int) -> None:
        """Writes a value into the pixels of a mask (H, W), in place."""
        height, width = self.filled.shape
        window = mask[self.top : self.top + height, self.left : self.left + width]
        window[self.filled] = value


def polygon(points: Sequence[tuple[float, float]] | np.ndarray, size: tuple[int, int]) -> Region:
    """The inside of a polygon; where it crosses itself, what is inside an odd number of times.

    Args:
        points: (N, 2) x and y of its corners.
        size: (H, W) of the picture; what lies outside is cut off.

    Returns:
        The region.

    Example:
        >>> from keras_focusseg.pictures import shapes
        >>> shapes.polygon([(1, 1), (4, 1), (4, 3), (1, 3)], (10, 10)).area
        6
    """
    corners = np.asarray(points, "float64").reshape(-1, 2)
    # In units of pixel centres: row r is crossed where r lies between the ends of an edge.
    x, y = corners[:, 0] - 0.5, corners[:, 1] - 0.5
    window = _window(x, y, size)
    if window is None:
        return _nothing()
    top, left, height, width = window
    # Each edge goes down, so that two shapes that share it round its crossings alike.
    down = y <= np.roll(y, -1)
    x0, y0 = np.where(down, x, np.roll(x, -1)), np.where(down, y, np.roll(y, -1))
    x1, y1 = np.where(down, np.roll(x, -1), x), np.where(down, np.roll(y, -1), y)
    first = np.ceil(np.clip(y0, top, top + height)).astype("int64")
    last = np.ceil(np.clip(y1, top, top + height)).astype("int64")
    rows = last - first
    kept = np.flatnonzero(rows)
    crossings = np.zeros(height * (width + 1), "uint8")
    for edges in _portions(kept, rows[kept]):
        edge = np.repeat(edges, rows[edges])
        step = np.arange(len(edge)) - np.repeat(np.cumsum(rows[edges]) - rows[edges], rows[edges])
        row = first[edge] + step
        at = x0[edge] + (row - y0[edge]) * (x1 - x0)[edge] / (y1 - y0)[edge]
        column = np.ceil(np.clip(at, left, left + width)).astype("int64") - left
        np.bitwise_xor.at(crossings, (row - top) * (width + 1) + column, 1)
    inside = np.bitwise_xor.accumulate(crossings.reshape(height, width + 1), axis=1)
    return Region(top, left, inside[:, :width].astype(bool))


def rectangle(
    corner: tuple[float, float], opposite: tuple[float, float], size: tuple[int, int]
) -> Region:
    """The inside of a rectangle between two opposite corners; see `polygon`."""
    (x0, y0), (x1, y1) = corner, opposite
    return polygon([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], size)


def disc(center: tuple[float, float], radius: float, size: tuple[int, int]) -> Region:
    """The pixels whose centres are at most `radius` from a point."""
    return stroke([center], 2 * radius, size)


def stroke(
    points: Sequence[tuple[float, float]], thickness: float, size: tuple[int, int]
) -> Region:
    """The pixels whose centres are at most half a thickness from a line through points, or one."""
    reach = thickness / 2
    parts = [
        _segment(a, b, reach, size) for a, b in zip(points, points[1:] or points, strict=False)
    ]
    return union(parts, size)


def union(regions: Sequence[Region], size: tuple[int, int]) -> Region:
    """The pixels that belong to any of the regions, as one."""
    regions = [region for region in regions if region.filled.size]
    if len(regions) < 2:
        return regions[0] if regions else _nothing()
    top, left = min(r.top for r in regions), min(r.left for r in regions)
    bottom = max(r.top + r.filled.shape[0] for r in regions)
    right = max(r.left + r.filled.shape[1] for r in regions)
    filled = np.zeros((bottom - top, right - left), bool)
    for region in regions:
        Region(region.top - top, region.left - left, region.filled).paint(filled, 1)
    return Region(top, left, filled)


def runs(counts: np.ndarray, size: tuple[int, int]) -> Region:
    """The pixels of COCO's run lengths: down the columns, outside and inside in turn.

    The region has the size of the picture.

    Raises:
        ValueError: The runs do not add up to the size, or one is negative.
    """
    height, width = size
    if counts.size and counts.min() < 0 or int(counts.sum()) != height * width:
        raise ValueError(
            f"the runs add up to {int(counts.sum())}; expected {width} x {height} = "
            f"{height * width}, none of them negative"
        )
    turns = np.arange(len(counts)) % 2 == 1
    return Region(0, 0, np.repeat(turns, counts).reshape(width, height).T)


def unpacked_runs(text: bytes) -> np.ndarray:
    """The run lengths in COCO's packed text, int64.

    Each number is a row of characters from `0` to `o` that carry 5 bits each, the lowest first, and
    a sixth that says whether more follow; from the fourth on, the difference to the one two before
    is stored.

    Raises:
        ValueError: The text is cut off, or has other characters.
    """
    symbols = np.frombuffer(text, "uint8").astype("int64") - 48
    if not symbols.size:
        return symbols
    if symbols.min() < 0 or symbols.max() > 63:
        raise ValueError("the packed runs hold a character that cannot occur in them")
    if symbols[-1] & 32:
        raise ValueError("the packed runs end in the middle of a number")
    ends = np.flatnonzero(symbols & 32 == 0)
    starts = np.concatenate([[0], ends[:-1] + 1])
    place = np.arange(len(symbols)) - np.repeat(starts, ends - starts + 1)
    if place.max() > 8:
        raise ValueError("the packed runs hold a number of more than 40 bits")
    numbers = np.add.reduceat((symbols & 31) << (5 * place), starts)
    numbers -= ((symbols[ends] & 16) != 0).astype("int64") << (5 * (ends - starts + 1))  # the sign
    numbers[1::2] = np.cumsum(numbers[1::2])
    numbers[2::2] = np.cumsum(numbers[2::2])
    if wrong := [int(number) for number in numbers if not 0 <= number <= _LONGEST_RUN][:1]:
        raise ValueError(f"the packed runs hold the length {wrong[0]}")
    return numbers


def _segment(
    start: tuple[float, float], end: tuple[float, float], reach: float, size: tuple[int, int]
) -> Region:
    """The pixels whose centres are at most `reach` from a segment."""
    a, b = np.array(start) - 0.5, np.array(end) - 0.5
    low, high = np.minimum(a, b) - reach, np.maximum(a, b) + reach
    window = _window(np.array([low[0], high[0] + 1]), np.array([low[1], high[1] + 1]), size)
    if window is None:
        return _nothing()
    top, left, height, width = window
    y = np.arange(top, top + height)[:, None] - a[1]
    x = np.arange(left, left + width)[None] - a[0]
    along, square = b - a, float(((b - a) ** 2).sum())
    share = np.clip((x * along[0] + y * along[1]) / square, 0, 1) if square else np.zeros((1, 1))
    distance = (x - share * along[0]) ** 2 + (y - share * along[1]) ** 2
    return Region(top, left, distance <= reach**2)


def _window(
    x: np.ndarray, y: np.ndarray, size: tuple[int, int]
) -> tuple[int, int, int, int] | None:
    """Top, left, height and width of what surrounds points and lies in the picture."""
    if not len(x):
        return None
    height, width = size
    top, bottom = (int(np.ceil(np.clip(value, 0, height))) for value in (y.min(), y.max()))
    left, right = (int(np.ceil(np.clip(value, 0, width))) for value in (x.min(), x.max()))
    return (top, left, bottom - top, right - left) if top < bottom and left < right else None


def _portions(edges: np.ndarray, rows: np.ndarray) -> list[np.ndarray]:
    """The edges in groups that cross a bounded number of rows."""
    total = np.cumsum(rows)
    if not len(edges) or total[-1] <= _AT_ONCE:
        return [edges] if len(edges) else []
    return np.split(edges, np.flatnonzero(np.diff(total // _AT_ONCE)) + 1)


def _nothing() -> Region:
    return Region(0, 0, np.zeros((0, 0), bool))
