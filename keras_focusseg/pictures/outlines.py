"""Turn pixels into drawn shapes: the inverse of `shapes.polygon`, exact to the pixel.

Outlines run along the edges of pixels, in the coordinates of `shapes`: x and y from the upper left
corner of the picture, whole numbers. Pixels that touch at a corner alone belong to two regions.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

RIGHT, DOWN, LEFT, UP = range(4)
_MOVES = np.array([(1, 0), (0, 1), (-1, 0), (0, -1)])  # x and y


class Outline(NamedTuple):
    """One connected region.

    Attributes:
        area: Its pixels.
        outer: Corners (N, 2) of its outer ring, x and y; the region lies to the right of the way.
        holes: The rings around its holes, with the region on the right as well.
        joined: One ring (M, 2) of all of them: each hole hangs on a horizontal line that is walked
            there and back, so that what lies inside is the same.
    """

    area: int
    outer: np.ndarray
    holes: tuple[np.ndarray, ...]
    joined: np.ndarray


def outlines(mask: np.ndarray) -> list[Outline]:
    """The regions of a mask whose pixels hang together by their sides, from top to bottom.

    Args:
        mask: (H, W) bool.

    Returns:
        Their outlines. `shapes.polygon(outline.joined, mask.shape)` has the region's pixels.

    Example:
        >>> import numpy as np
        >>> from keras_focusseg.pictures import outlines
        >>> ring = np.ones((3, 3), bool)
        >>> ring[1, 1] = False
        >>> [outline.area for outline in outlines.outlines(ring)]  # and one hole
        [8]
    """
    edges, after = _edges(mask)
    if not len(edges):
        return []
    loop = _loops(after)
    directions, y, x = edges.T
    # Rows below minus rows above: positive for outer rings, negative for holes.
    areas = np.bincount(loop, y * (directions == LEFT) - y * (directions == RIGHT)).astype("int64")
    outer = np.arange(len(areas))  # of each loop: the one around it
    hooks = _hooks(edges, after, loop, areas)
    for edge, hook in hooks:
        outer[loop[edge]] = outer[loop[hook]]
    points = [*map(tuple, edges[:, :0:-1].tolist())]
    nexts = after.tolist()
    first = np.unique(loop, return_index=True)[1].tolist()
    rings = [_ring(points, nexts, start) for start in first]
    before = np.empty_like(after)
    before[after] = np.arange(len(after))
    _join(points, nexts, before.tolist(), hooks)
    pixels = np.bincount(outer, areas).astype("int64").tolist()  # those of holes are negative
    holes: dict[int, list[np.ndarray]] = {}
    for number, around in enumerate(outer.tolist()):
        if around != number:
            holes.setdefault(around, []).append(rings[number])
    return [
        Outline(
            pixels[number],
            rings[number],
            tuple(holes.get(number, ())),
            _ring(points, nexts, first[number]),
        )
        for number in np.flatnonzero(outer == np.arange(len(areas))).tolist()
    ]


def _edges(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The sides between pixels inside and outside, each one pixel long, and which follows which.

    Returns:
        Direction, y and x of where each starts, (N, 3), sorted; and the number of the next, (N,).
    """
    mask = np.asarray(mask, bool)
    height, width = mask.shape
    around = np.pad(mask, 1)
    there = np.zeros((4, height + 1, width + 1), bool)
    there[RIGHT, :-1, :-1] = mask & ~around[:-2, 1:-1]  # above a pixel
    there[DOWN, :-1, 1:] = mask & ~around[1:-1, 2:]
    there[LEFT, 1:, 1:] = mask & ~around[2:, 1:-1]
    there[UP, 1:, :-1] = mask & ~around[1:-1, :-2]
    numbers = np.flatnonzero(there)
    edges = np.stack(np.unravel_index(numbers, there.shape), axis=-1)
    directions, y, x = edges.T
    x, y = x + _MOVES[directions, 0], y + _MOVES[directions, 1]
    # To the right first: around the same pixel, where two touch at a corner.
    turned = (directions + 3) % 4
    for turn in (directions, (directions + 1) % 4):
        turned = np.where(there[turn, y, x], turn, turned)
    return edges, np.searchsorted(numbers, np.ravel_multi_index((turned, y, x), there.shape))


def _loops(after: np.ndarray) -> np.ndarray:
    """Number of the loop of each edge, in the order in which they begin."""
    nexts, loop = after.tolist(), [-1] * len(after)
    count = 0
    for start in range(len(nexts)):
        if loop[start] < 0:
            edge = start
            while loop[edge] < 0:
                loop[edge] = count
                edge = nexts[edge]
            count += 1
    return np.array(loop)


def _hooks(
    edges: np.ndarray, after: np.ndarray, loop: np.ndarray, areas: np.ndarray
) -> list[tuple[int, int]]:
    """For each hole, from top to bottom: an edge of it, and one of a loop left of its top.

    Both start at the same height with nothing but the region between, and that loop has its top
    above the hole's: it is the outer ring, or a hole that came before.
    """
    tops: dict[int, int] = {}
    left_edges = np.flatnonzero((edges[:, 0] == LEFT) & (areas[loop] < 0))  # sorted by y, then x
    for edge in left_edges[::-1]:
        tops[int(loop[edge])] = int(edge)  # the last one stays: the first of the highest row
    ups = np.flatnonzero(edges[:, 0] == UP)
    span = int(edges[:, 2].max()) + 1
    places = edges[ups, 1] * span + edges[ups, 2]
    hooks = []
    for top in sorted(tops.values()):
        _, y, x = edges[top]
        before = np.searchsorted(places, y * span + x - 1, side="right") - 1
        hooks.append((int(after[top]), int(ups[before])))
    return hooks


def _join(
    points: list[tuple[int, int]], nexts: list[int], before: list[int], hooks: list[tuple[int, int]]
) -> None:
    """Hangs every hole on the loop left of it, in place, by a way there and a way back."""
    for hole, hook in hooks:
        there, back = len(points), len(points) + 1
        points += [points[hook], points[hole]]
        nexts += [hole, hook]
        nexts[before[hook]], nexts[before[hole]] = there, back
        before += [before[hook], before[hole]]
        before[hole], before[hook] = there, back


def _ring(points: list[tuple[int, int]], nexts: list[int], start: int) -> np.ndarray:
    """The corners of a loop, without the points along its straight sides."""
    found = [points[start]]
    edge = nexts[start]
    while edge != start:
        found.append(points[edge])
        edge = nexts[edge]
    ring = np.array(found)
    ring = ring[(ring != np.roll(ring, -1, axis=0)).any(1)]
    come, go = ring - np.roll(ring, 1, axis=0), np.roll(ring, -1, axis=0) - ring
    return ring[(np.sign(come) != np.sign(go)).any(1)]
