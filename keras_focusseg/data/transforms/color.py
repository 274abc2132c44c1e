"""Steps that change colours and move nothing."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial

import numpy as np
from PIL import Image, ImageFilter

from keras_focusseg.data.transforms.base import Step, require_number, require_probability
from keras_focusseg.data.transforms.canvas import Canvas
from keras_focusseg.data.transforms.warp import Edit

# Rec. 601 luma, and the YIQ transform whose I-Q plane is rotated to change the hue.
LUMA = np.array([0.299, 0.587, 0.114])
_RGB_TO_YIQ = np.array([LUMA, [0.595716, -0.274453, -0.321263], [0.211456, -0.522591, 0.311135]])
_YIQ_TO_RGB = np.linalg.inv(_RGB_TO_YIQ)
# Beyond, Pillow's blur is faster, whose cost does not grow.
_LARGE_BLUR = 4.0


@dataclass(frozen=True)
class ColorJitter(Step):
    """Brightness, contrast, saturation and hue, as one linear map of the colours.

    Args:
        brightness: B draws a factor from 1-b..1+b, on all values.
        contrast: C draws a factor from 1-c..1+c, on the distance from the mean luma.
        saturation: S draws a factor from 1-s..1+s, on the distance from grey.
        hue: H draws a shift from -h..h turns of the colour circle, h <= 0.5.
        probability: How often.

    Raises:
        ValueError: If a value is outside its range.

    Example:
        >>> import numpy as np
        >>> from keras_focusseg import data
        >>> image, mask = np.full((4, 4, 3), 100, "uint8"), np.zeros((4, 4), "uint8")
        >>> image, mask = data.ColorJitter(brightness=0.5)(image, mask, np.random.default_rng(0))
        >>> image.shape
        (4, 4, 3)
    """

    brightness: float = 0.2
    contrast: float = 0.2
    saturation: float = 0.2
    hue: float = 0.02
    probability: float = 1.0

    def __post_init__(self) -> None:
        for name in ("brightness", "contrast", "saturation"):
            require_number(self, name, 0, 1)
        require_number(self, "hue", 0, 0.5, "turns")
        require_probability(self)

    def run(self, canvas: Canvas, rng: np.random.Generator) -> None:
        """Notes the change."""
        limits = np.array([self.brightness, self.contrast, self.saturation, self.hue])
        if rng.random() < self.probability and limits.any():
            brightness, contrast, saturation, hue = (rng.uniform(-1, 1, 4) * limits).tolist()
            canvas.edit(jitter(1 + brightness, 1 + contrast, 1 + saturation, hue))


@dataclass(frozen=True)
class Grayscale(Step):
    """Take the colours away.

    Args:
        probability: How often.

    Raises:
        ValueError: If the value is outside its range.

    Example:
        >>> import numpy as np
        >>> from keras_focusseg import data
        >>> image, mask = np.full((4, 4, 3), (200, 10, 10), "uint8"), np.zeros((4, 4), "uint8")
        >>> image, mask = data.Grayscale(1.0)(image, mask, np.random.default_rng(0))
        >>> image[0, 0].tolist()
        [67, 67, 67]
    """

    probability: float = 0.1

    def __post_init__(self) -> None:
        require_probability(self)

    def run(self, canvas: Canvas, rng: np.random.Generator) -> None:
        """Notes the change."""
        if rng.random() < self.probability:
            canvas.edit(lambda image: image.convert("L").convert("RGB"))


@dataclass(frozen=True)
class Blur(Step):
    """A Gaussian blur, as of a camera out of focus.

    Args:
        sigma: Largest standard deviation, drawn from 0..sigma; in pixels of the result where
            the content was shrunk, else in pixels of the source.
        probability: How often.

    Raises:
        ValueError: If a value is outside its range.

    Example:
        >>> import numpy as np
        >>> from keras_focusseg import data
        >>> image, mask = np.zeros((9, 9, 3), "uint8"), np.zeros((9, 9), "uint8")
        >>> image[4, 4] = 255
        >>> image, mask = data.Blur(2.0, probability=1.0)(image, mask, np.random.default_rng(0))
        >>> bool(image[4, 4, 0] < 255)
        True
    """

    sigma: float = 1.0
    probability: float = 0.5

    def __post_init__(self) -> None:
        require_number(self, "sigma", 0, 100, "pixels")
        require_probability(self)

    def run(self, canvas: Canvas, rng: np.random.Generator) -> None:
        """Notes the blur."""
        if rng.random() < self.probability:
            canvas.edit(partial(blur, sigma=float(rng.uniform(0, self.sigma))))


def jitter(
    brightness: float = 1.0, contrast: float = 1.0, saturation: float = 1.0, hue: float = 0.0
) -> Edit:
    """What changes the colours of a picture; see `recolor` for the numbers."""

    def edit(image: Image.Image) -> Image.Image:
        mean = 0.0 if contrast == 1 else mean_luma(image)
        if saturation == 1 and hue == 0:  # each value follows from itself
            return relight(image, contrast * brightness, (1 - contrast) * brightness * mean)
        return recolor(image, brightness, contrast, saturation, hue, mean)

    return edit


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
        brightness: Factor on the values.
        contrast: Factor on the distance from the mean luma.
        saturation: Factor on the distance from grey.
        hue: Shift in turns.
        mean: Mean luma of the image; matters only if `contrast` is not 1.

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
    """Gaussian blur of RGB in whole numbers of 1/256: several times as fast as Pillow's."""
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
