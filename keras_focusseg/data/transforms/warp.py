"""What all augmentation shares: affine looks at an image and its mask, and linear colour.

A look is a (2, 3) matrix from pixels of the result to points of the source, where the centre of the
pixel in column j is at x = j + 0.5. The image is read bilinearly, the mask by nearest neighbour.
Pillow does the work, with Python's global lock released, so threads add up.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from PIL import Image, ImageFilter

from keras_focusseg.label_spaces import IGNORE

Edit = Callable[[Image.Image], Image.Image]
"""What changes colours of an RGB picture and moves nothing."""

# The ImageNet mean, which normalisation turns to about zero.
FILL = (124, 116, 104)
# How often a crop is drawn again that one class fills too much of.
POSITION_TRIES = 10
# How far from the middle of the crop the pixel of a wanted class may lie; see `center_on`.
CENTER_JITTER = 0.5
# Rec. 601 luma, and the YIQ transform whose I-Q plane is rotated to change the hue.
LUMA = np.array([0.299, 0.587, 0.114])
_RGB_TO_YIQ = np.array([LUMA, [0.595716, -0.274453, -0.321263], [0.211456, -0.522591, 0.311135]])
_YIQ_TO_RGB = np.linalg.inv(_RGB_TO_YIQ)
# Beyond, Pillow's blur is faster, whose cost does not grow.
_LARGE_BLUR = 4.0
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


def see_mask(view: View, mask: np.ndarray) -> np.ndarray:
    """The mask as a view shows it, by nearest neighbour.

    Args:
        view: the map.
        mask: (H, W) uint8.

    Returns:
        (h, w) uint8, 255 where the view leaves the source.
    """
    straight = _Straight.of(view, mask.shape)
    if straight is None:
        return affine_mask(view.matrix, view.size, _scale(view.matrix), mask)
    if straight.is_empty:
        return np.full(view.size, IGNORE, "uint8")
    rows, columns = straight.rows, straight.columns
    if straight.is_whole:
        seen = mask
    elif straight.copies:
        seen = mask[rows.region, columns.region]
    else:
        region = straight.region(mask)
        seen = np.asarray(
            region.resize(straight.length, Image.Resampling.NEAREST, straight.box(region.size))
        )
    seen = seen[rows.step, columns.step]
    if seen.shape == view.size:
        return np.ascontiguousarray(seen)
    result = np.full(view.size, IGNORE, "uint8")
    result[rows.shown, columns.shown] = seen
    return result


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
    straight = _Straight.of(view, image.shape)
    if straight is None:
        scale = _scale(view.matrix)
        return affine_image(view.matrix, view.size, scale, image, fill, edits, soft_border=True)
    if straight.is_empty:
        return np.full((*view.size, 3), fill, "uint8")
    if straight.is_whole and not straight.is_mirrored and not edits:
        return image
    picture = straight.region(image)
    shrinks = straight.length[0] * straight.length[1] < picture.width * picture.height
    if not shrinks:
        picture = _edited(picture, edits)
    if not straight.copies:
        picture = picture.resize(
            straight.length, Image.Resampling.BILINEAR, straight.box(picture.size)
        )
    if shrinks:
        picture = _edited(picture, edits)
    rows, columns = straight.rows, straight.columns
    if columns.is_mirrored:
        picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    if rows.is_mirrored:
        picture = picture.transpose(Image.Transpose.FLIP_TOP_BOTTOM)
    if (picture.height, picture.width) == view.size:
        return np.asarray(picture)
    canvas = Image.new("RGB", (view.size[1], view.size[0]), fill)
    canvas.paste(picture, (columns.shown.start, rows.shown.start))
    return np.asarray(canvas)


def affine_mask(
    matrix: np.ndarray, size: tuple[int, int], scale: tuple[float, float], mask: np.ndarray
) -> np.ndarray:
    """The mask under any affine map; see `see_mask`.

    Args:
        matrix: (2, 3), from the result to the source.
        size: (h, w) of the result.
        scale: (vertical, horizontal) magnification of the content.
        mask: (H, W) uint8.

    Returns:
        (h, w) uint8, 255 where the map leaves the source.
    """
    part = _Part.of(matrix, size, scale, mask.shape)
    if part is None:
        return np.full(size, IGNORE, "uint8")
    region = Image.fromarray(np.ascontiguousarray(mask[part.rows, part.columns]))
    return np.asarray(part.warp(region, Image.Resampling.NEAREST, IGNORE))


def affine_image(
    matrix: np.ndarray,
    size: tuple[int, int],
    scale: tuple[float, float],
    image: np.ndarray,
    fill: tuple[int, int, int],
    edits: Sequence[Edit] = (),
    soft_border: bool = False,
) -> np.ndarray:
    """The image under any affine map, recoloured; see `see_image`.

    Args:
        matrix: (2, 3), from the result to the source.
        size: (h, w) of the result.
        scale: (vertical, horizontal) magnification of the content.
        image: (H, W, 3) uint8.
        fill: RGB where the map leaves the source.
        edits: what to do to the colours, in this order.
        soft_border: blend the outermost pixels of the source with the fill, which takes about
            60 % of the time; values elsewhere differ by rounding.

    Returns:
        (h, w, 3) uint8.
    """
    part = _Part.of(matrix, size, scale, image.shape)
    if part is None:
        return np.full((*size, 3), fill, "uint8")
    region = Image.fromarray(np.ascontiguousarray(image[part.rows, part.columns]))
    # A bilinear read looks at 2x2 pixels and would alias where the content shrinks: shrink first,
    # each pixel of the smaller picture being a mean over those it stands for.
    down, across = (min(1.0, factor) for factor in scale)
    smaller = (max(1, round(region.width * across)), max(1, round(region.height * down)))
    if smaller != region.size:
        region = region.resize(smaller, Image.Resampling.BILINEAR)
    # Before the warp, so that the fill stays as it is.
    region = _edited(region, edits)
    read = part.blend if soft_border else partial(part.warp, resample=Image.Resampling.BILINEAR)
    return np.asarray(read(region, fill=fill))


def recolor(
    image: Image.Image,
    brightness: float,
    contrast: float,
    saturation: float,
    hue: float,
    mean: float,
) -> Image.Image:
    """Brightness, contrast, saturation and hue, all linear, as one 3x4 matrix.

    Args:
        image: RGB.
        brightness: factor on the values.
        contrast: factor on the distance from the mean luma.
        saturation: factor on the distance from grey.
        hue: shift in turns.
        mean: mean luma of the image; matters only if `contrast` is not 1.

    Returns:
        RGB, the values clipped to 0..255.
    """
    turn = 2 * math.pi * hue
    chroma = np.eye(3)  # in YIQ: hue rotates the I-Q plane, saturation scales it
    chroma[1:, 1:] = saturation * np.array(
        [[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]]
    )
    matrix = _YIQ_TO_RGB @ chroma @ _RGB_TO_YIQ * brightness
    # Neither hue nor saturation moves the luma, so the mean luma is known beforehand.
    offset = np.full((3, 1), (1 - contrast) * (brightness * mean) + 0.5)  # Pillow truncates
    rows = np.hstack([contrast * matrix, offset])
    return image.convert("RGB", tuple(rows.ravel().tolist()))


def relight(image: Image.Image, factor: float, offset: float) -> Image.Image:
    """All values times a factor plus an offset, from a table, clipped to 0..255."""
    table = np.clip(np.rint(np.arange(256) * factor + offset), 0, 255).astype(int)
    return image.point(table.tolist() * len(image.getbands()))


def mean_luma(image: Image.Image) -> float:
    """Mean luma of an RGB picture, by means of 8x8 blocks."""
    return float(np.asarray(image.reduce(8)).mean(axis=(0, 1)) @ LUMA)


def blur(image: Image.Image, sigma: float) -> Image.Image:
    """Gaussian blur, in whole numbers of 1/256: several times as fast as Pillow's.

    Args:
        image: RGB.
        sigma: standard deviation in pixels, at least 0.

    Returns:
        The blurred picture.
    """
    if sigma > _LARGE_BLUR:
        return image.filter(ImageFilter.GaussianBlur(sigma))
    reach = math.ceil(2.5 * sigma)
    bell = np.exp(-0.5 * (np.arange(reach + 1) / max(sigma, 1e-9)) ** 2)
    weights = np.rint(256 * bell / (2 * bell.sum() - 1)).astype("uint16")
    weights = np.trim_zeros(weights, "b")
    weights[0] = 256 - 2 * weights[1:].sum()
    if len(weights) == 1:
        return image
    height, width = image.height, image.width
    rows = np.asarray(image).reshape(height, 3 * width)
    rows = _blur_along(rows, weights, 1)
    # Along a row, a pixel of the same colour is three values away.
    return Image.fromarray(_blur_along(rows.T, weights, 3).T.reshape(height, width, 3))


def _blur_along(array: np.ndarray, weights: np.ndarray, step: int) -> np.ndarray:
    """Weighted means down the first axis of (n, m) uint8, values `step` apart, ends repeated."""
    reach, length = step * (len(weights) - 1), len(array)
    ends = [np.concatenate([end] * (len(weights) - 1)) for end in (array[:step], array[-step:])]
    padded = np.concatenate([ends[0], array, ends[1]]).astype("uint16")
    # No sum is above 255 * 256 + 128, which 16 bits hold.
    total = padded[reach : reach + length] * weights[0]
    total += np.uint16(128)  # to round
    pair = np.empty_like(total)
    for number in range(1, len(weights)):
        before, after = reach - step * number, reach + step * number
        np.add(padded[before : before + length], padded[after : after + length], out=pair)
        pair *= weights[number]
        total += pair
    total >>= 8
    return total.astype("uint8")


def largest_share(mask: np.ndarray) -> float:
    """Share of the most frequent class among the labelled pixels; 1 if none is labelled.

    Args:
        mask: (H, W) uint8.
    """
    counts = Image.fromarray(mask).histogram()[:IGNORE]
    total = sum(counts)
    return max(counts) / total if total else 1.0


def center_on(
    rng: np.random.Generator,
    pixels: np.ndarray,
    source: Sequence[int],
    result: tuple[int, int],
    scale: tuple[float, float],
    jitter: float,
) -> tuple[float, float]:
    """The middle of a crop that holds one of some pixels, drawn at random.

    Args:
        rng: where the randomness comes from.
        pixels: flat indices of the pixels to choose from, at least one.
        source: (H, W).
        result: (h, w) of the crop.
        scale: (vertical, horizontal) magnification.
        jitter: how far from the middle of the crop the pixel may lie, as a share of half its
            height and width. The crop never leaves the source for it.

    Returns:
        (y, x) in the source, such that at scale 1 pixels are copied.
    """
    pixel = np.unravel_index(int(pixels[rng.integers(len(pixels))]), tuple(source[:2]))
    shift = rng.uniform(-jitter, jitter, 2)
    center = []
    for axis in (0, 1):
        place = (int(pixel[axis]) + 0.5) * scale[axis]
        free = source[axis] * scale[axis] - result[axis]
        start = place - (1 + shift[axis]) * result[axis] / 2
        start = round(min(max(start, min(0.0, free)), max(0.0, free)))
        start = min(max(start, math.floor(place) - result[axis] + 1), math.floor(place))
        center.append((start + result[axis] / 2) / scale[axis])
    return center[0], center[1]


def check_pair(image: np.ndarray, mask: np.ndarray) -> None:
    """Stop if these are not an image and its mask.

    Args:
        image: must be uint8 (H, W, 3).
        mask: must be uint8 (H, W).

    Raises:
        ValueError: if the arrays are not of these types and shapes.
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[-1] != 3:
        raise ValueError(f"image must be uint8 (H, W, 3), got {image.dtype} {image.shape}.")
    if mask.dtype != np.uint8 or mask.shape != image.shape[:2]:
        raise ValueError(
            f"mask must be uint8 {image.shape[:2]} like its image, got {mask.dtype} {mask.shape}."
        )


def _edited(image: Image.Image, edits: Sequence[Edit]) -> Image.Image:
    for edit in edits:
        image = edit(image)
    return image


def _scale(matrix: np.ndarray) -> tuple[float, float]:
    """(vertical, horizontal) magnification along the axes of the source."""
    across, down = 1 / np.linalg.norm(matrix[:, :2], axis=1)
    return float(down), float(across)


@dataclass(frozen=True)
class _Part:
    """The part of the source that a map looks at, and the map from the result to that part.

    Attributes:
        rows: of the source.
        columns: of the source.
        matrix: (2, 3), from the result to the part, in pixels of the part.
        size: (h, w) of the result.
    """

    rows: slice
    columns: slice
    matrix: np.ndarray
    size: tuple[int, int]

    @classmethod
    def of(
        cls,
        matrix: np.ndarray,
        size: tuple[int, int],
        scale: tuple[float, float],
        source: Sequence[int],
    ) -> _Part | None:
        """The part of a source of that (H, W), or None if nothing of it is in view."""
        height, width = size
        corners = matrix @ [[0, width, 0, width], [0, 0, height, height], [1, 1, 1, 1]]  # (2, 4)
        # What a bilinear or antialiased read touches beyond the outermost corner.
        margin = 2 + np.ceil(1 / np.array(scale)[::-1])
        limits = np.array(source[:2])[::-1]
        low = np.clip(np.floor(corners.min(axis=1) - margin), 0, limits).astype(int)
        high = np.clip(np.ceil(corners.max(axis=1) + margin), 0, limits).astype(int)
        if (low >= high).any():
            return None
        moved = matrix.copy()
        moved[:, 2] -= low
        return cls(slice(low[1], high[1]), slice(low[0], high[0]), moved, size)

    def warp(
        self, region: Image.Image, resample: Image.Resampling, fill: int | tuple[int, int, int]
    ) -> Image.Image:
        """The result, read from the part of the source, which may have been shrunk meanwhile."""
        return _transform(region, self._matrix(region), self.size, resample, fill)

    def blend(self, region: Image.Image, fill: tuple[int, int, int]) -> Image.Image:
        """The bilinear result, blended from four reads of the nearest pixel.

        Pillow's bilinear read computes each value by itself in floating point; this is faster
        although it makes seven pictures, since each is copied or blended in whole numbers.
        """
        matrix = self._matrix(region)
        height, width = self.size
        corners = matrix @ [[0, width, 0, width], [0, 0, height, height], [1, 1, 1, 1]]
        if max(np.abs(corners).max(), *region.size, *self.size) > _FIXED_POINT_LIMIT:
            return self.warp(region, Image.Resampling.BILINEAR, fill)
        matrix[:, 2] -= 0.5  # to the pixel whose centre is up and left of the point
        down, across = _fractions(matrix, self.size)
        reads = []
        for offset in ((0, 0), (1, 0), (0, 1), (1, 1)):
            moved = matrix + [[0, 0, offset[0]], [0, 0, offset[1]]]
            reads.append(_transform(region, moved, self.size, Image.Resampling.NEAREST, fill))
        result, right, below, below_right = reads
        result.paste(right, (0, 0), across)
        below.paste(below_right, (0, 0), across)
        result.paste(below, (0, 0), down)
        return result

    def _matrix(self, region: Image.Image) -> np.ndarray:
        """The map to the part after it was shrunk to the size of the region."""
        length = (
            self.columns.stop - self.columns.start,
            self.rows.stop - self.rows.start,
        )
        return self.matrix * (np.array(region.size) / length)[:, None]


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
    """One axis of a map without rotation and shear.

    Attributes:
        shown: pixels of the result that show the source.
        low: where that part begins in the source.
        high: where it ends.
        is_mirrored: whether it is shown backwards.
        margin: how many pixels around it a read may touch.
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
    """A map without rotation and shear, which crops, mirrors and resizes."""

    rows: _Axis
    columns: _Axis

    @classmethod
    def of(cls, view: View, source: Sequence[int]) -> _Straight | None:
        """The axes of a view of a source of that (H, W), or None if it is not straight."""
        (across, skew, x), (other_skew, down, y) = view.matrix.tolist()
        if abs(skew) > 1e-9 or abs(other_skew) > 1e-9:
            return None
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
    def is_mirrored(self) -> bool:
        """Whether either axis is shown backwards."""
        return self.rows.is_mirrored or self.columns.is_mirrored

    @property
    def copies(self) -> bool:
        """Whether pixels are copied and none is blended."""
        return self.rows.margin == 0 and self.columns.margin == 0

    @property
    def is_whole(self) -> bool:
        """Whether the source is copied from end to end."""
        return self.copies and all(
            (axis.low, axis.high) == (0, axis.length)
            and axis.shown.stop - axis.shown.start == axis.length
            for axis in (self.rows, self.columns)
        )

    @property
    def length(self) -> tuple[int, int]:
        """(width, height) of what is shown, in pixels of the result."""
        rows, columns = self.rows.shown, self.columns.shown
        return columns.stop - columns.start, rows.stop - rows.start

    def region(self, array: np.ndarray) -> Image.Image:
        """The part of an image or mask that is read."""
        part = array[self.rows.region, self.columns.region]
        return Image.fromarray(np.ascontiguousarray(part))

    def box(self, size: tuple[int, int]) -> tuple[float, float, float, float]:
        """(left, upper, right, lower) of what is shown, in pixels of the region of that size."""
        left, top = self.columns.region.start, self.rows.region.start
        return (
            self.columns.low - left,
            self.rows.low - top,
            min(self.columns.high - left, size[0]),
            min(self.rows.high - top, size[1]),
        )
