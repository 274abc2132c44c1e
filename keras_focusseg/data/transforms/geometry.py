"""Steps that move image and mask together."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial

import numpy as np

from keras_focusseg.data.transforms.base import (
    Step,
    as_tuple,
    is_number,
    require,
    require_number,
    require_probability,
)
from keras_focusseg.data.transforms.canvas import Canvas
from keras_focusseg.label_spaces import IGNORE

# How far from the middle of a crop the pixel of a wanted class may lie, as a share of half a side.
_CENTER_JITTER = 0.5


@dataclass(frozen=True)
class ScaleCrop(Step):
    """Enlarge or shrink by a random factor, then cut a random window out.

    Where the window is larger than the scaled image, the image lies anywhere in it. `batches` may
    ask for a class (`class_uniform`): the window is then put around one of its pixels.

    Args:
        size: (height, width) of the window; None keeps the size of the image, scaled to
            `base_size` if that is given.
        scale: Smallest and largest factor, drawn uniformly.
        max_class_share: If one class would fill more than this share of the labelled pixels,
            another position is drawn, up to 10 times; None takes the first.
        base_size: (shorter, longer) side in pixels, within which the image is brought first, its
            shape kept; `scale` counts from there. None: from the image's own size.
        aspect: Largest stretch of width against height, drawn log-uniformly from
            1/aspect..aspect; 1 keeps the shape of things.

    Raises:
        ValueError: If a value is outside its range.

    Example:
        >>> import numpy as np
        >>> from keras_focusseg import data
        >>> crop = data.ScaleCrop((288, 384), scale=(0.5, 2.0))
        >>> image, mask = np.zeros((360, 480, 3), "uint8"), np.zeros((360, 480), "uint8")
        >>> image, mask = crop(image, mask, np.random.default_rng(0))
        >>> image.shape, mask.shape
        ((288, 384, 3), (288, 384))
    """

    size: tuple[int, int] | None
    scale: tuple[float, float] = (0.5, 2.0)
    max_class_share: float | None = 0.75
    base_size: tuple[int, int] | None = None
    aspect: float = 1.0
    takes_target = True

    def __post_init__(self) -> None:
        for name in ("size", "base_size", "scale"):
            as_tuple(self, name)
        for name, sides in (("size", "height, width"), ("base_size", "shorter, longer side")):
            expected = f"None or ({sides}) in whole pixels above 0"
            require(self, _is_none_or_size(getattr(self, name)), name, expected)
        base, scale, share = self.base_size, self.scale, self.max_class_share
        in_order = base is None or base[0] <= base[1]
        require(self, in_order, "base_size", "(shorter, longer side), in this order")
        is_range = isinstance(scale, tuple) and len(scale) == 2 and all(map(is_number, scale))
        is_range = is_range and 0 < scale[0] <= scale[1]
        require(self, is_range, "scale", "(low, high) with 0 < low <= high")
        is_share = share is None or (is_number(share) and 0 < share <= 1)
        require(self, is_share, "max_class_share", "None or a share above 0, up to 1")
        require_number(self, "aspect", 1)

    @property
    def crop_size(self) -> tuple[int, int] | None:
        """Size of every result; None where it follows the image."""
        return self.size

    def run(self, canvas: Canvas, rng: np.random.Generator) -> None:
        """Notes the crop."""
        pixels = None
        if canvas.target is not None:
            pixels = np.flatnonzero(canvas.mask() == canvas.target)
        self._crop(canvas, rng, pixels, _CENTER_JITTER)

    def _crop(
        self, canvas: Canvas, rng: np.random.Generator, pixels: np.ndarray | None, jitter: float
    ) -> None:
        """Notes a crop, around one of the pixels if there are any."""
        height, width = canvas.size
        base = 1.0
        if self.base_size is not None:
            shorter, longer = self.base_size
            base = min(shorter / min(height, width), longer / max(height, width))
        size = self.size or (max(1, round(height * base)), max(1, round(width * base)))
        factor = base * rng.uniform(*self.scale)
        stretch = math.exp(rng.uniform(-1, 1) * math.log(self.aspect) / 2)
        scale = (factor / stretch, factor * stretch)
        draw = partial(_anywhere, rng, (height, width), size, scale)
        if pixels is not None and pixels.size:
            draw = partial(_around, rng, pixels, (height, width), size, scale, jitter)
        canvas.try_moves(draw, size, self.max_class_share)


@dataclass(frozen=True)
class ClassUniformCrop(ScaleCrop):
    """A `ScaleCrop` that always is around a pixel of a class, drawn among those in the image.

    So a window is as often put around a sign of 30 pixels as around the road. That evens out the
    classes within an image; `class_uniform` of `batches` does it over the whole source, and where
    that asks for a class, it is the one that is taken.

    Args:
        size: See `ScaleCrop`.
        scale: See `ScaleCrop`.
        max_class_share: See `ScaleCrop`; another position is around another pixel of the class.
        base_size: See `ScaleCrop`.
        aspect: See `ScaleCrop`.
        jitter: How far from the middle of the window the pixel may lie, as a share of half its
            height and width.

    Raises:
        ValueError: If a value is outside its range.

    Example:
        >>> import numpy as np
        >>> from keras_focusseg import data
        >>> crop = data.ClassUniformCrop((64, 64), scale=(1.0, 1.0), max_class_share=None)
        >>> image, mask = np.zeros((360, 480, 3), "uint8"), np.zeros((360, 480), "uint8")
        >>> mask[200:210, 300:305] = 7
        >>> crops = [crop(image, mask, np.random.default_rng(i))[1] for i in range(100)]
        >>> sum(7 in crop for crop in crops)  # a `ScaleCrop` shows it 7 times
        63
    """

    jitter: float = _CENTER_JITTER

    def __post_init__(self) -> None:
        super().__post_init__()
        require_number(self, "jitter", 0, 1)

    def run(self, canvas: Canvas, rng: np.random.Generator) -> None:
        """Notes the crop."""
        mask = canvas.mask()
        shown = np.flatnonzero(np.bincount(mask.ravel(), minlength=256)[:IGNORE])
        pixels = None
        if shown.size:
            wanted = shown[rng.integers(shown.size)]
            if canvas.target in shown:
                wanted = canvas.target
            pixels = np.flatnonzero(mask == wanted)
        self._crop(canvas, rng, pixels, self.jitter)


@dataclass(frozen=True)
class Flip(Step):
    """Left and right change places, or top and bottom.

    Args:
        probability: How often.
        vertical: Top and bottom, for pictures from above.

    Raises:
        ValueError: If a value is outside its range.

    Example:
        >>> import numpy as np
        >>> from keras_focusseg import data
        >>> image, mask = np.zeros((4, 6, 3), "uint8"), np.arange(24, dtype="uint8").reshape(4, 6)
        >>> _, flipped = data.Flip(1.0)(image, mask, np.random.default_rng(0))
        >>> flipped[0].tolist()
        [5, 4, 3, 2, 1, 0]
    """

    probability: float = 0.5
    vertical: bool = False

    def __post_init__(self) -> None:
        require_probability(self)
        require(self, isinstance(self.vertical, bool), "vertical", "true or false")

    def run(self, canvas: Canvas, rng: np.random.Generator) -> None:
        """Notes the flip."""
        if rng.random() < self.probability:
            signs = (1.0, -1.0) if self.vertical else (-1.0, 1.0)
            canvas.move(about_center(np.diag(signs), canvas.size))


@dataclass(frozen=True)
class Rotate(Step):
    """Turn about the middle.

    Args:
        degrees: Largest angle to either side, 0..180, drawn uniformly.
        probability: How often.

    Raises:
        ValueError: If a value is outside its range.

    Example:
        >>> import numpy as np
        >>> from keras_focusseg import data
        >>> image, mask = np.zeros((40, 40, 3), "uint8"), np.zeros((40, 40), "uint8")
        >>> _, turned = data.Rotate(30.0)(image, mask, np.random.default_rng(0))
        >>> int(turned[0, 0]), int(turned[20, 20])  # a corner came from outside, the middle did not
        (255, 0)
    """

    degrees: float
    probability: float = 1.0

    def __post_init__(self) -> None:
        require_number(self, "degrees", 0, 180)
        require_probability(self)

    def run(self, canvas: Canvas, rng: np.random.Generator) -> None:
        """Notes the rotation."""
        if rng.random() < self.probability:
            turn(canvas, rng.uniform(-self.degrees, self.degrees))


@dataclass(frozen=True)
class Shear(Step):
    """Slant along the rows and along the columns, about the middle.

    Args:
        degrees: Largest angle to either side, 0..60, drawn for each axis.
        probability: How often.

    Raises:
        ValueError: If a value is outside its range.

    Example:
        >>> import numpy as np
        >>> from keras_focusseg import data
        >>> image, mask = np.zeros((40, 40, 3), "uint8"), np.zeros((40, 40), "uint8")
        >>> _, slanted = data.Shear(15.0)(image, mask, np.random.default_rng(0))
        >>> sorted(set(slanted.ravel().tolist()))  # what came from outside is ignored
        [0, 255]
    """

    degrees: float
    probability: float = 1.0

    def __post_init__(self) -> None:
        require_number(self, "degrees", 0, 60)
        require_probability(self)

    def run(self, canvas: Canvas, rng: np.random.Generator) -> None:
        """Notes the slant."""
        if rng.random() < self.probability:
            across, down = np.tan(np.radians(rng.uniform(-self.degrees, self.degrees, 2)))
            # One after the other, so that the map can always be turned back.
            slant(canvas, float(across), 0.0)
            slant(canvas, 0.0, float(down))


@dataclass(frozen=True)
class Translate(Step):
    """Shift by whole pixels, so that pixels are copied.

    Args:
        share: Largest shift as a share of height and width, 0..1.
        probability: How often.
        pixels: Largest shift in pixels of what is there so far: after a `ScaleCrop`, of the
            result. Both shifts add up.

    Raises:
        ValueError: If a value is outside its range.

    Example:
        >>> import numpy as np
        >>> from keras_focusseg import data
        >>> image, mask = np.zeros((40, 40, 3), "uint8"), np.zeros((40, 40), "uint8")
        >>> _, shifted = data.Translate(0.1)(image, mask, np.random.default_rng(0))
        >>> _, shifted = data.Translate(pixels=10)(image, mask, np.random.default_rng(0))
        >>> shifted.shape
        (40, 40)
    """

    share: float = 0.0
    probability: float = 1.0
    pixels: int = 0

    def __post_init__(self) -> None:
        require_number(self, "share", 0, 1)
        require_probability(self)
        is_count = isinstance(self.pixels, int) and not isinstance(self.pixels, bool)
        require(self, is_count and self.pixels >= 0, "pixels", "a whole number, 0 or more")

    def run(self, canvas: Canvas, rng: np.random.Generator) -> None:
        """Notes the shift."""
        if rng.random() < self.probability:
            shares = rng.uniform(-self.share, self.share, 2)
            pixels = rng.integers(-self.pixels, self.pixels, 2, endpoint=True)
            down, across = np.rint(shares * canvas.size).astype(int) + pixels
            shift(canvas, int(down), int(across))


def turn(canvas: Canvas, degrees: float) -> None:
    """Turns what is on a canvas about its middle, positive angles counter-clockwise."""
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    canvas.move(about_center(np.array([[cos, -sin], [sin, cos]]), canvas.size))


def slant(canvas: Canvas, across: float, down: float) -> None:
    """Slant what is on a canvas by pixels across a row, and down a column."""
    canvas.move(about_center(np.array([[1.0, across], [down, 1.0]]), canvas.size))


def shift(canvas: Canvas, down: int, across: int) -> None:
    """Shift what is on a canvas by whole pixels."""
    canvas.move(np.array([[1.0, 0.0, -across], [0.0, 1.0, -down]]))


def about_center(linear: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The (2, 3) matrix that leaves the middle of a (height, width) where it is."""
    middle = np.array([size[1] / 2, size[0] / 2])
    return np.column_stack([linear, middle - linear @ middle])


def _anywhere(
    rng: np.random.Generator,
    source: tuple[int, int],
    size: tuple[int, int],
    scale: tuple[float, float],
) -> np.ndarray:
    """The matrix of a crop at a random place."""
    starts = [
        # Whole pixels, so that a crop at scale 1 copies pixels instead of blending them.
        round(rng.random() * (source[axis] * scale[axis] - size[axis]))
        for axis in (0, 1)
    ]
    return _window(starts[0], starts[1], scale)


def _around(
    rng: np.random.Generator,
    pixels: np.ndarray,
    source: tuple[int, int],
    size: tuple[int, int],
    scale: tuple[float, float],
    jitter: float,
) -> np.ndarray:
    """The matrix of a crop that holds one of some pixels (flat indices), drawn at random.

    The crop never leaves the source for it.
    """
    pixel = np.unravel_index(int(pixels[rng.integers(len(pixels))]), source)
    shares = rng.uniform(-jitter, jitter, 2)
    starts = []
    for axis in (0, 1):
        place = (int(pixel[axis]) + 0.5) * scale[axis]
        free = source[axis] * scale[axis] - size[axis]
        start = place - (1 + shares[axis]) * size[axis] / 2
        start = round(min(max(start, min(0.0, free)), max(0.0, free)))
        starts.append(min(max(start, math.floor(place) - size[axis] + 1), math.floor(place)))
    return _window(starts[0], starts[1], scale)


def _window(top: float, left: float, scale: tuple[float, float]) -> np.ndarray:
    """The matrix of a crop that starts there in the scaled source."""
    return np.array([[1 / scale[1], 0, left / scale[1]], [0, 1 / scale[0], top / scale[0]]])


def _is_none_or_size(value: object) -> bool:
    if not isinstance(value, tuple):
        return value is None
    return len(value) == 2 and all(isinstance(side, int) and side > 0 for side in value)
