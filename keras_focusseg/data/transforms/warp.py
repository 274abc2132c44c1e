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
Fill = int | tuple[int, int, int]
"""Value where a view leaves the source: a number in masks, RGB in images."""

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
        """The view of what this view shows, by a matrix from the new result to this one's."""
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
    """The mask as a view shows it, by nearest neighbour; 255 where the view leaves the source."""
    read = read_straight if view.is_straight else read_general
    return read(view, mask, Image.Resampling.NEAREST, IGNORE)


def see_image(view: View, image: np.ndarray, fill: Fill, edits: Sequence[Edit] = ()) -> np.ndarray:
    """The image as a view shows it, recoloured.

    Where the content shrinks it is averaged, so nothing aliases. Edits run one after the other at
    the coarser of the two resolutions, before the fill is added, which they leave as it is.
    """
    if not edits and view.size == image.shape[:2] and np.allclose(view.matrix, np.eye(2, 3)):
        return image
    read = read_straight if view.is_straight else read_general
    return read(view, image, Image.Resampling.BILINEAR, fill, edits)


def read_straight(
    view: View,
    array: np.ndarray,
    resample: Image.Resampling,
    fill: Fill,
    edits: Sequence[Edit] = (),
) -> np.ndarray:
    """A crop, a resize and a flip: what `see_image` and `see_mask` do where nothing turns."""
    (across, _, x), (_, down, y) = view.matrix.tolist()
    rows = _Axis.of(down, y, view.size[0], array.shape[0])
    columns = _Axis.of(across, x, view.size[1], array.shape[1])
    if rows.is_empty or columns.is_empty:
        return np.full((*view.size, *array.shape[2:]), fill, "uint8")
    picture = _picture(array, rows.region, columns.region)
    size = columns.shown.stop - columns.shown.start, rows.shown.stop - rows.shown.start
    shrinks = size[0] * size[1] < picture.width * picture.height
    if not shrinks:
        picture = _edited(picture, edits)
    if rows.margin or columns.margin:  # else pixels are copied
        (left, right), (top, bottom) = columns.ends, rows.ends
        box = left, top, min(right, picture.width), min(bottom, picture.height)
        picture = picture.resize(size, resample, box)
    if shrinks:
        picture = _edited(picture, edits)
    if columns.is_mirrored:
        picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    if rows.is_mirrored:
        picture = picture.transpose(Image.Transpose.FLIP_TOP_BOTTOM)
    if (picture.height, picture.width) != view.size:
        canvas = Image.new(picture.mode, view.size[::-1], fill)
        canvas.paste(picture, (columns.shown.start, rows.shown.start))
        picture = canvas
    return np.asarray(picture)


def read_general(
    view: View,
    array: np.ndarray,
    resample: Image.Resampling,
    fill: Fill,
    edits: Sequence[Edit] = (),
) -> np.ndarray:
    """What `see_image` and `see_mask` do for any view."""
    # The part in view, and what a bilinear or antialiased read touches beyond its corners.
    corners, margin = _corners(view.matrix, view.size), 2 + np.ceil(1 / np.array(view.scale)[::-1])
    limits = np.array(array.shape[1::-1])
    low = np.clip(np.floor(corners.min(axis=1) - margin), 0, limits).astype(int)
    high = np.clip(np.ceil(corners.max(axis=1) + margin), 0, limits).astype(int)
    if (low >= high).any():
        return np.full((*view.size, *array.shape[2:]), fill, "uint8")
    picture = _picture(array, slice(low[1], high[1]), slice(low[0], high[0]))
    matrix = np.column_stack([view.matrix[:, :2], view.matrix[:, 2] - low])
    if resample is Image.Resampling.NEAREST:
        return np.asarray(_transform(picture, matrix, view.size, resample, fill))
    # A bilinear read looks at 2x2 pixels and would alias where the content shrinks: shrink first,
    # each pixel of the smaller picture being a mean over those it stands for.
    down, across = (min(1.0, factor) for factor in view.scale)
    size = max(1, round(picture.width * across)), max(1, round(picture.height * down))
    matrix *= (np.array(size) / picture.size)[:, None]
    if size != picture.size:
        picture = picture.resize(size, resample)
    # Edited before the read, so that the fill stays as it is.
    return np.asarray(_bilinear(_edited(picture, edits), matrix, view.size, fill))


def _picture(array: np.ndarray, rows: slice, columns: slice) -> Image.Image:
    return Image.fromarray(np.ascontiguousarray(array[rows, columns]))


def _edited(image: Image.Image, edits: Sequence[Edit]) -> Image.Image:
    for edit in edits:
        image = edit(image)
    return image


def _corners(matrix: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Where the corners of a result of that (h, w) lie in the source, (2, 4): x, then y."""
    height, width = size
    return matrix @ [[0, width, 0, width], [0, 0, height, height], [1, 1, 1, 1]]


def _bilinear(
    region: Image.Image, matrix: np.ndarray, size: tuple[int, int], fill: Fill
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
    fill: Fill,
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
        shown: Pixels of the result that show the source.
        low: Where that part begins in the source.
        high: Where it ends.
        is_mirrored: Whether it is shown backwards.
        margin: How many pixels around it a read may touch; 0 where pixels are copied.
        length: Of the source.
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
    def is_empty(self) -> bool:
        """Whether nothing of the source is in view."""
        return self.shown.start >= self.shown.stop or self.low >= self.high

    @property
    def region(self) -> slice:
        """Pixels of the source that a read touches."""
        return slice(
            max(0, math.floor(self.low) - self.margin),
            min(self.length, math.ceil(self.high) + self.margin),
        )

    @property
    def ends(self) -> tuple[float, float]:
        """Where the part that is shown begins and ends in the region."""
        return self.low - self.region.start, self.high - self.region.start
