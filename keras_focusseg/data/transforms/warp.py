"""Affine looks at an image and its mask.

A view is a (2, 3) matrix from pixels of the result to points of the source, where the centre of the
pixel in column j is at x = j + 0.5. The image is read bilinearly, by averages where it shrinks, the
mask by nearest neighbour. A view without rotation and shear takes the straight path: crop, resize,
mirror. Pillow does the work, with Python's global lock released, so threads add up.

Where both paths could be taken, they agree: masks exactly, and images that are not shrunk within a
grey level of the exact bilinear read (within two of the general path, which rounds three times). On
the outermost pixels of the source the general path blends with the fill, and the straight one does
not. An image that shrinks is averaged once on the straight path, and read once more on the general.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from keras_focusseg.label_spaces import IGNORE

Edit = Callable[[Image.Image], Image.Image]
"""What changes colours of an RGB picture and moves nothing."""

# The ImageNet mean, which normalisation turns to about zero.
FILL = (124, 116, 104)
# Pillow's nearest neighbour counts in 1/65536 up to here.
_FIXED_POINT_LIMIT = 32000


@dataclass(frozen=True)
class View:
    """An affine look at a source.

    Attributes:
        matrix: (2, 3), from the result to the source.
        size: (h, w) of the result.
    """

    matrix: np.ndarray
    size: tuple[int, int]

    @classmethod
    def of(cls, size: Sequence[int]) -> View:
        """The view that shows a source of that (H, W) as it is."""
        return cls(np.eye(2, 3), (int(size[0]), int(size[1])))

    def then(self, matrix: np.ndarray, size: tuple[int, int]) -> View:
        """The view of what this view shows: two maps become one.

        Args:
            matrix: (2, 3), from the new result to the result of this view.
            size: (h, w) of the new result.
        """
        linear = self.matrix[:, :2] @ matrix[:, :2]
        offset = self.matrix[:, :2] @ matrix[:, 2] + self.matrix[:, 2]
        return View(np.column_stack([linear, offset]), size)

    @property
    def scale(self) -> tuple[float, float]:
        """(vertical, horizontal) magnification along the axes of the source."""
        across, down = 1 / np.linalg.norm(self.matrix[:, :2], axis=1)
        return float(down), float(across)

    @property
    def is_straight(self) -> bool:
        """Whether it neither turns nor slants."""
        return bool(abs(self.matrix[0, 1]) <= 1e-9 and abs(self.matrix[1, 0]) <= 1e-9)


def see_mask(view: View, mask: np.ndarray) -> np.ndarray:
    """The mask as a view shows it, by nearest neighbour.

    Args:
        view: the map.
        mask: (H, W) uint8.

    Returns:
        (h, w) uint8, 255 where the view leaves the source.
    """
    return (straight_mask if view.is_straight else general_mask)(view, mask)


def see_image(
    view: View, image: np.ndarray, fill: tuple[int, int, int], edits: Sequence[Edit] = ()
) -> np.ndarray:
    """The image as a view shows it, recoloured.

    Where the content shrinks it is averaged, so nothing aliases. Edits run at the coarser of the
    two resolutions, before the fill is added, which they leave as it is.

    Args:
        view: the map.
        image: (H, W, 3) uint8.
        fill: RGB where the view leaves the source.
        edits: what to do to the colours, in this order.

    Returns:
        (h, w, 3) uint8.
    """
    return (straight_image if view.is_straight else general_image)(view, image, fill, edits)


def straight_mask(view: View, mask: np.ndarray) -> np.ndarray:
    """`see_mask` for a view that neither turns nor slants."""
    straight = _Straight.of(view, mask.shape)
    if straight.is_empty:
        return np.full(view.size, IGNORE, "uint8")
    rows, columns = straight.rows, straight.columns
    seen = mask[rows.region, columns.region]
    if not straight.copies:
        region = Image.fromarray(np.ascontiguousarray(seen))
        box = straight.box(region.size)
        seen = np.asarray(region.resize(straight.length, Image.Resampling.NEAREST, box))
    seen = seen[rows.step, columns.step]
    if seen.shape == view.size:
        return np.ascontiguousarray(seen)
    result = np.full(view.size, IGNORE, "uint8")
    result[rows.shown, columns.shown] = seen
    return result


def straight_image(
    view: View, image: np.ndarray, fill: tuple[int, int, int], edits: Sequence[Edit] = ()
) -> np.ndarray:
    """`see_image` for a view that neither turns nor slants."""
    straight = _Straight.of(view, image.shape)
    if straight.is_empty:
        return np.full((*view.size, 3), fill, "uint8")
    if not edits and view.size == image.shape[:2] and np.allclose(view.matrix, np.eye(2, 3)):
        return image
    rows, columns = straight.rows, straight.columns
    picture = Image.fromarray(np.ascontiguousarray(image[rows.region, columns.region]))
    shrinks = straight.length[0] * straight.length[1] < picture.width * picture.height
    if not shrinks:
        picture = _edited(picture, edits)
    if not straight.copies:
        box = straight.box(picture.size)
        picture = picture.resize(straight.length, Image.Resampling.BILINEAR, box)
    if shrinks:
        picture = _edited(picture, edits)
    if columns.is_mirrored:
        picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    if rows.is_mirrored:
        picture = picture.transpose(Image.Transpose.FLIP_TOP_BOTTOM)
    if (picture.height, picture.width) == view.size:
        return np.asarray(picture)
    canvas = Image.new("RGB", (view.size[1], view.size[0]), fill)
    canvas.paste(picture, (columns.shown.start, rows.shown.start))
    return np.asarray(canvas)


def general_mask(view: View, mask: np.ndarray) -> np.ndarray:
    """`see_mask` for any view."""
    part = _Part.of(view, mask.shape)
    if part is None:
        return np.full(view.size, IGNORE, "uint8")
    region = Image.fromarray(np.ascontiguousarray(mask[part.rows, part.columns]))
    nearest = Image.Resampling.NEAREST
    return np.asarray(_transform(region, part.view.matrix, view.size, nearest, IGNORE))


def general_image(
    view: View, image: np.ndarray, fill: tuple[int, int, int], edits: Sequence[Edit] = ()
) -> np.ndarray:
    """`see_image` for any view."""
    part = _Part.of(view, image.shape)
    if part is None:
        return np.full((*view.size, 3), fill, "uint8")
    region = Image.fromarray(np.ascontiguousarray(image[part.rows, part.columns]))
    # A bilinear read looks at 2x2 pixels and would alias where the content shrinks: shrink first,
    # each pixel of the smaller picture being a mean over those it stands for.
    down, across = (min(1.0, factor) for factor in view.scale)
    smaller = (max(1, round(region.width * across)), max(1, round(region.height * down)))
    shrunk = region.resize(smaller, Image.Resampling.BILINEAR) if smaller != region.size else region
    ratio = np.array(smaller) / region.size
    # Edited before the read, so that the fill stays as it is.
    picture = _edited(shrunk, edits)
    return np.asarray(_bilinear(picture, part.view.matrix * ratio[:, None], view.size, fill))


def _edited(image: Image.Image, edits: Sequence[Edit]) -> Image.Image:
    for edit in edits:
        image = edit(image)
    return image


@dataclass(frozen=True)
class _Part:
    """The part of a source that a view looks at.

    Attributes:
        rows: of the source.
        columns: of the source.
        view: of the part alone.
    """

    rows: slice
    columns: slice
    view: View

    @classmethod
    def of(cls, view: View, source: Sequence[int]) -> _Part | None:
        """The part of a source of that (H, W), or None if nothing of it is in view."""
        corners = _corners(view.matrix, view.size)
        # What a bilinear or antialiased read touches beyond the outermost corner.
        margin = 2 + np.ceil(1 / np.array(view.scale)[::-1])
        limits = np.array(source[:2])[::-1]
        low = np.clip(np.floor(corners.min(axis=1) - margin), 0, limits).astype(int)
        high = np.clip(np.ceil(corners.max(axis=1) + margin), 0, limits).astype(int)
        if (low >= high).any():
            return None
        moved = view.matrix.copy()
        moved[:, 2] -= low
        return cls(slice(low[1], high[1]), slice(low[0], high[0]), View(moved, view.size))


def _corners(matrix: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Where the corners of a result of that (h, w) lie in the source, (2, 4): x, then y."""
    height, width = size
    return matrix @ [[0, width, 0, width], [0, 0, height, height], [1, 1, 1, 1]]


def _bilinear(
    region: Image.Image, matrix: np.ndarray, size: tuple[int, int], fill: tuple[int, int, int]
) -> Image.Image:
    """A bilinear read, blended from four reads of the nearest pixel.

    Pillow's bilinear read computes each value by itself in floating point; this is faster
    although it makes seven pictures, since each is copied or blended in whole numbers.
    """
    if max(np.abs(_corners(matrix, size)).max(), *region.size, *size) > _FIXED_POINT_LIMIT:
        return _transform(region, matrix, size, Image.Resampling.BILINEAR, fill)
    matrix = matrix - [[0, 0, 0.5], [0, 0, 0.5]]  # to the pixel whose centre is up and left
    down, across = _fractions(matrix, size)
    reads = [
        _transform(region, matrix + [[0, 0, x], [0, 0, y]], size, Image.Resampling.NEAREST, fill)
        for x, y in ((0, 0), (1, 0), (0, 1), (1, 1))
    ]
    result, right, below, below_right = reads
    result.paste(right, (0, 0), across)
    below.paste(below_right, (0, 0), across)
    result.paste(below, (0, 0), down)
    return result


def _transform(
    region: Image.Image,
    matrix: np.ndarray,
    size: tuple[int, int],
    resample: Image.Resampling,
    fill: int | tuple[int, int, int],
) -> Image.Image:
    return region.transform(
        (size[1], size[0]),
        Image.Transform.AFFINE,
        tuple(matrix.ravel().tolist()),
        resample=resample,
        fillcolor=fill,
    )


def _fractions(matrix: np.ndarray, size: tuple[int, int]) -> tuple[Image.Image, Image.Image]:
    """How far each point lies behind its pixel's place, in 1/256, down and across.

    Counted as Pillow counts when it looks for the nearest pixel: in 1/65536, from the start of
    a row by whole steps.
    """
    columns, rows = np.arange(size[1], dtype="int32"), np.arange(size[0], dtype="int32")[:, None]
    pictures = []
    for across, down, start in matrix[::-1].tolist():
        start += 0.5 * across + 0.5 * down
        first, right, below = (math.floor(v * 65536 + 0.5) for v in (start, across, down))
        fixed = (first + below * rows) + right * columns
        pictures.append(Image.fromarray(((fixed >> 8) & 255).astype("uint8")))
    return pictures[0], pictures[1]


@dataclass(frozen=True)
class _Axis:
    """One axis of a straight view.

    Attributes:
        shown: pixels of the result that show the source.
        low: where that part begins in the source.
        high: where it ends.
        is_mirrored: whether it is shown backwards.
        margin: how many pixels around it a read may touch; 0 where pixels are copied.
        length: of the source.
    """

    shown: slice
    low: float
    high: float
    is_mirrored: bool
    margin: int
    length: int

    @classmethod
    def of(cls, step: float, offset: float, size: int, length: int) -> _Axis:
        """The axis on which pixel j of `size` looks at `step * (j + 0.5) + offset`."""
        is_mirrored = step < 0
        if is_mirrored:
            step, offset = -step, offset + step * size
        if abs(step - 1) < 1e-9 and abs(offset - round(offset)) < 1e-6:
            step, offset = 1.0, float(round(offset))
        # Shown are the pixels whose centre lies in the source.
        first = min(max(math.ceil(-offset / step - 0.5), 0), size)
        last = min(max(math.ceil((length - offset) / step - 0.5), 0), size)
        # Half a pixel may stand out at the border. Image and mask both leave that half away, which
        # stretches the content by less than half a pixel and keeps them on each other.
        low = min(max(step * first + offset, 0.0), length)
        high = min(max(step * last + offset, 0.0), length)
        margin = 0 if step == 1 and low == int(low) else 2 + math.ceil(step)
        shown = slice(size - last, size - first) if is_mirrored else slice(first, last)
        return cls(shown, low, high, is_mirrored, margin, length)

    @property
    def step(self) -> slice:
        """Turns an array on this axis if it is shown backwards."""
        return slice(None, None, -1) if self.is_mirrored else slice(None)

    @property
    def region(self) -> slice:
        """Pixels of the source that a read touches."""
        return slice(
            max(0, math.floor(self.low) - self.margin),
            min(self.length, math.ceil(self.high) + self.margin),
        )


@dataclass(frozen=True)
class _Straight:
    """A view that crops, resizes and mirrors: its two axes."""

    rows: _Axis
    columns: _Axis

    @classmethod
    def of(cls, view: View, source: Sequence[int]) -> _Straight:
        """The axes of a view of a source of that (H, W)."""
        (across, _, x), (_, down, y) = view.matrix.tolist()
        height, width = view.size
        return cls(_Axis.of(down, y, height, source[0]), _Axis.of(across, x, width, source[1]))

    @property
    def is_empty(self) -> bool:
        """Whether nothing of the source is in view."""
        return any(
            axis.shown.start >= axis.shown.stop or axis.low >= axis.high
            for axis in (self.rows, self.columns)
        )

    @property
    def copies(self) -> bool:
        """Whether pixels are copied and none is blended."""
        return self.rows.margin == 0 and self.columns.margin == 0

    @property
    def length(self) -> tuple[int, int]:
        """(width, height) of what is shown, in pixels of the result."""
        rows, columns = self.rows.shown, self.columns.shown
        return columns.stop - columns.start, rows.stop - rows.start

    def box(self, size: tuple[int, int]) -> tuple[float, float, float, float]:
        """(left, upper, right, lower) of what is shown, in pixels of the region of that size."""
        left, top = self.columns.region.start, self.rows.region.start
        return (
            self.columns.low - left,
            self.rows.low - top,
            min(self.columns.high - left, size[0]),
            min(self.rows.high - top, size[1]),
        )
