"""Steps that change colours and move nothing."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
from PIL import Image

from keras_focusseg.data.transforms import warp
from keras_focusseg.data.transforms.base import Canvas, Step, require_number, require_probability


@dataclass(frozen=True)
class ColorJitter(Step):
    """Brightness, contrast, saturation and hue, as one linear map of the colours.

    Args:
        brightness: b draws a factor from 1-b..1+b, on all values.
        contrast: c draws a factor from 1-c..1+c, on the distance from the mean luma.
        saturation: s draws a factor from 1-s..1+s, on the distance from grey.
        hue: h draws a shift from -h..h turns of the colour circle, h <= 0.5.
        probability: how often.

    Raises:
        ValueError: if a value is outside its range.

    Example:
        ```python
        image, mask = np.full((4, 4, 3), 100, "uint8"), np.zeros((4, 4), "uint8")
        image, mask = ColorJitter(brightness=0.5)(image, mask, np.random.default_rng(0))
        ```
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
        """Note the change."""
        limits = np.array([self.brightness, self.contrast, self.saturation, self.hue])
        if rng.random() < self.probability and limits.any():
            brightness, contrast, saturation, hue = (rng.uniform(-1, 1, 4) * limits).tolist()
            canvas.edit(jitter(1 + brightness, 1 + contrast, 1 + saturation, hue))


@dataclass(frozen=True)
class Grayscale(Step):
    """Take the colours away.

    Args:
        probability: how often.

    Raises:
        ValueError: if the value is outside its range.

    Example:
        ```python
        image, mask = np.full((4, 4, 3), (200, 10, 10), "uint8"), np.zeros((4, 4), "uint8")
        image, mask = Grayscale(1.0)(image, mask, np.random.default_rng(0))
        image[0, 0]
        # [67 67 67]
        ```
    """

    probability: float = 0.1

    def __post_init__(self) -> None:
        require_probability(self)

    def run(self, canvas: Canvas, rng: np.random.Generator) -> None:
        """Note the change."""
        if rng.random() < self.probability:
            canvas.edit(lambda image: image.convert("L").convert("RGB"))


@dataclass(frozen=True)
class Blur(Step):
    """A Gaussian blur, as of a camera out of focus.

    Args:
        sigma: largest standard deviation, drawn from 0..sigma; in pixels of the result where
            the content was shrunk, else in pixels of the source.
        probability: how often.

    Raises:
        ValueError: if a value is outside its range.

    Example:
        ```python
        image, mask = np.zeros((9, 9, 3), "uint8"), np.zeros((9, 9), "uint8")
        image[4, 4] = 255
        image, mask = Blur(2.0, probability=1.0)(image, mask, np.random.default_rng(0))
        ```
    """

    sigma: float = 1.0
    probability: float = 0.5

    def __post_init__(self) -> None:
        require_number(self, "sigma", 0, 100, "pixels")
        require_probability(self)

    def run(self, canvas: Canvas, rng: np.random.Generator) -> None:
        """Note the blur."""
        if rng.random() < self.probability:
            canvas.edit(partial(warp.blur, sigma=float(rng.uniform(0, self.sigma))))


def jitter(
    brightness: float = 1.0, contrast: float = 1.0, saturation: float = 1.0, hue: float = 0.0
) -> warp.Edit:
    """What changes the colours of a picture; see `warp.recolor` for the numbers."""

    def edit(image: Image.Image) -> Image.Image:
        mean = 0.0 if contrast == 1 else warp.mean_luma(image)
        if saturation == 1 and hue == 0:  # each value follows from itself
            return warp.relight(image, contrast * brightness, (1 - contrast) * brightness * mean)
        return warp.recolor(image, brightness, contrast, saturation, hue, mean)

    return edit
