"""Move, scale and recolour an image together with its mask; NumPy and Pillow only.

All geometry is one affine map from pixels of the crop to points of the source, applied once: the
image is read bilinearly, the mask by nearest neighbour, both at the same half-pixel centres. So a
mask never holds a number that was not there before, except 255 where the map leaves the source.
(Keras' own layers fill the mask with the image's fill value there, that is with a class.)
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from PIL import Image, ImageFilter

from keras_focusseg.data.transforms import warp


@dataclass(frozen=True)
class Params:
    """One drawn augmentation: what `Augment.sample` decides and `Augment.apply` does.

    Attributes:
        size: (height, width) of the result.
        center: (y, x) in the source that lands in the middle of the result, in pixels.
        scale: (vertical, horizontal) magnification of the content.
        angle: rotation of the content about the middle of the result, in degrees, positive
            counter-clockwise.
        flip: whether left and right change places.
        brightness: factor on the values.
        contrast: factor on the distance from the mean luma.
        saturation: factor on the distance from grey.
        hue: shift in turns, -0.5..0.5.
        blur: standard deviation of a Gaussian, in pixels; 0 leaves the image sharp.
    """

    size: tuple[int, int]
    center: tuple[float, float]
    scale: tuple[float, float] = (1.0, 1.0)
    angle: float = 0.0
    flip: bool = False
    brightness: float = 1.0
    contrast: float = 1.0
    saturation: float = 1.0
    hue: float = 0.0
    blur: float = 0.0

    def matrix(self) -> np.ndarray:
        """The map from the result to the source.

        Returns:
            (2, 3) float: source (x, y) = matrix @ (x, y, 1), where the centre of the pixel in
            column j is at x = j + 0.5.
        """
        height, width = self.size
        cos, sin = math.cos(math.radians(self.angle)), math.sin(math.radians(self.angle))
        turn = np.array([[cos, -sin], [sin, cos]])
        if self.flip:
            turn[:, 0] *= -1
        linear = turn / np.array(self.scale)[::-1, None]
        offset = np.array(self.center)[::-1] - linear @ (width / 2, height / 2)
        return np.column_stack([linear, offset])


@dataclass(frozen=True)
class Augment:
    """A policy of random changes to an image and its mask.

    Args:
        crop_size: (height, width) of the result; None keeps the size of the input, scaled to
            `base_size` if that is given.
        scale: smallest and largest magnification, drawn uniformly.
        aspect: largest stretch of width against height; the ratio is drawn log-uniformly from
            1/aspect..aspect. 1 keeps the shape of things.
        flip: probability of a left-right flip.
        translate: largest shift beyond the random crop position, as a share of the source's
            height and width, so that the content may leave the view.
        rotate: largest rotation in degrees, to either side, about the middle of the crop.
        brightness: b draws a factor from 1-b..1+b, on all values.
        contrast: c draws a factor from 1-c..1+c, on the distance from the mean luma.
        saturation: s draws a factor from 1-s..1+s, on the distance from grey.
        hue: h draws a shift from -h..h turns of the colour circle, h <= 0.5.
        blur: largest standard deviation of a Gaussian blur in pixels, drawn from 0..blur.
        max_class_share: if one class would fill more than this share of the labelled pixels,
            another crop position is drawn, up to 10 times; None takes the first position.
        fill: RGB of the image where the map leaves the source (the mask gets 255). The default
            is the ImageNet mean, which normalisation turns to about zero.
        base_size: (shorter, longer) side in pixels. The image is first enlarged or shrunk, its
            shape kept, until one of its sides has that length and neither is longer; `scale` then
            counts from there. Images of many sizes are trained so, ADE20K's with (512, 2048).
            None: `scale` counts from the image's own size.
        shift_pixels: like `translate`, but in whole pixels of the result, so that at scale 1
            pixels are copied and not blended. Both add up.

    Raises:
        ValueError: if a value is outside its range.

    Example:
        ```python
        augment = Augment(crop_size=(288, 384), scale=(0.5, 2.0), rotate=5.0)
        image, mask = np.zeros((360, 480, 3), "uint8"), np.zeros((360, 480), "uint8")
        image, mask = augment(image, mask, np.random.default_rng(0))
        image.shape, mask.shape
        # ((288, 384, 3), (288, 384))
        ```
    """

    crop_size: tuple[int, int] | None = None
    scale: tuple[float, float] = (0.5, 2.0)
    aspect: float = 1.0
    flip: float = 0.5
    translate: float = 0.0
    rotate: float = 0.0
    brightness: float = 0.2
    contrast: float = 0.2
    saturation: float = 0.2
    hue: float = 0.02
    blur: float = 0.0
    max_class_share: float | None = None
    fill: tuple[int, int, int] = warp.FILL
    base_size: tuple[int, int] | None = None
    shift_pixels: int = 0

    def __post_init__(self) -> None:
        # JSON knows lists only.
        for field in ("crop_size", "base_size", "scale", "fill"):
            value = getattr(self, field)
            object.__setattr__(self, field, value if value is None else tuple(value))
        for field, sides in (("crop_size", "height, width"), ("base_size", "shorter, longer side")):
            value = getattr(self, field)
            _require(
                value is None
                or (len(value) == 2 and all(isinstance(n, int) and n > 0 for n in value)),
                field,
                value,
                f"None or ({sides}) in whole pixels above 0",
            )
        base, (low, high) = self.base_size, self.scale
        _require(
            base is None or base[0] <= base[1],
            "base_size",
            base,
            "(shorter, longer side), in this order",
        )
        _require(0 < low <= high, "scale", self.scale, "(low, high) with 0 < low <= high")
        _require(self.aspect >= 1, "aspect", self.aspect, "at least 1")
        _require(0 <= self.flip <= 1, "flip", self.flip, "a probability 0..1")
        _require(0 <= self.translate <= 1, "translate", self.translate, "a share 0..1")
        _require(
            isinstance(self.shift_pixels, int) and self.shift_pixels >= 0,
            "shift_pixels",
            self.shift_pixels,
            "whole pixels, at least 0",
        )
        _require(0 <= self.rotate <= 180, "rotate", self.rotate, "degrees 0..180")
        for field in ("brightness", "contrast", "saturation"):
            value = getattr(self, field)
            _require(0 <= value <= 1, field, value, "0..1")
        _require(0 <= self.hue <= 0.5, "hue", self.hue, "turns 0..0.5")
        _require(self.blur >= 0, "blur", self.blur, "at least 0 pixels")
        share = self.max_class_share
        _require(
            share is None or 0 < share <= 1, "max_class_share", share, "None or 0 < share <= 1"
        )
        _require(
            len(self.fill) == 3 and all(0 <= v <= 255 for v in self.fill),
            "fill",
            self.fill,
            "(red, green, blue) 0..255",
        )

    def __call__(
        self,
        image: np.ndarray,
        mask: np.ndarray,
        rng: np.random.Generator,
        target: int | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Draw parameters and apply them.

        Args:
            image: (H, W, 3) uint8.
            mask: (H, W) uint8 train ids.
            rng: where the randomness comes from; the same state gives the same result.
            target: a class that the result has to show: the crop is put around one of its pixels,
                if the mask has any. See `class_uniform` of `batches`.

        Returns:
            image (h, w, 3) uint8 and mask (h, w) uint8.
        """
        warp.check_pair(image, mask)
        params = self.sample(rng, image.shape[:2])
        place = (mask.shape, params.size, params.scale)
        draw = partial(self._draw_center, rng, *place)
        if target is not None and (pixels := np.flatnonzero(mask == target)).size:
            draw = partial(warp.center_on, rng, pixels, *place, jitter=warp.CENTER_JITTER)
            params = replace(params, center=draw())
        seen = warp_mask(params, mask)
        if self.max_class_share is not None:
            for _ in range(warp.POSITION_TRIES):
                if warp.largest_share(seen) <= self.max_class_share:
                    break
                params = replace(params, center=draw())
                seen = warp_mask(params, mask)
        return warp_image(params, image, self.fill), seen

    def sample(self, rng: np.random.Generator, size: Sequence[int]) -> Params:
        """Draw all parameters for one image.

        Args:
            rng: where the randomness comes from.
            size: (H, W) of the image.

        Returns:
            The parameters.
        """
        base = 1.0
        if self.base_size is not None:
            shorter, longer = self.base_size
            base = min(shorter / min(size), longer / max(size))
        result_size = self.crop_size or (
            max(1, round(size[0] * base)),
            max(1, round(size[1] * base)),
        )
        magnification = base * rng.uniform(*self.scale)
        stretch = math.exp(rng.uniform(-1, 1) * math.log(self.aspect) / 2)
        scale = (magnification / stretch, magnification * stretch)
        center = self._draw_center(rng, size, result_size, scale)
        flip = bool(rng.random() < self.flip)
        angle, brightness, contrast, saturation, hue = rng.uniform(-1, 1, 5) * (
            self.rotate,
            self.brightness,
            self.contrast,
            self.saturation,
            self.hue,
        )
        return Params(
            size=result_size,
            center=center,
            scale=scale,
            angle=float(angle),
            flip=flip,
            brightness=1 + float(brightness),
            contrast=1 + float(contrast),
            saturation=1 + float(saturation),
            hue=float(hue),
            blur=float(rng.uniform(0, self.blur)),
        )

    def apply(
        self, params: Params, image: np.ndarray, mask: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Change an image and its mask by given parameters.

        Args:
            params: what to do.
            image: (H, W, 3) uint8.
            mask: (H, W) uint8 train ids.

        Returns:
            image (h, w, 3) uint8 and mask (h, w) uint8 with (h, w) = `params.size`.

        Raises:
            ValueError: if the arrays are not of these types and shapes.
        """
        warp.check_pair(image, mask)
        return warp_image(params, image, self.fill), warp_mask(params, mask)

    @property
    def takes_target(self) -> bool:
        """Tells the pipeline that crops can be put around a class."""
        return True

    def at_scale_1(self) -> Augment:
        """The same with content at its own size, for what measures statistics of images."""
        return replace(self, scale=(1.0, 1.0))

    def to_config(self) -> dict[str, Any]:
        """All fields as plain values that `json` can write."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Augment:
        """The policy that `to_config` described."""
        return cls(**config)

    def _draw_center(
        self,
        rng: np.random.Generator,
        source: Sequence[int],
        result: tuple[int, int],
        scale: tuple[float, float],
    ) -> tuple[float, float]:
        """The point of the source that becomes the middle of the crop, (y, x)."""
        position, shift = rng.random(2), rng.uniform(-self.translate, self.translate, 2)
        pixels = np.zeros(2, int)
        if self.shift_pixels:  # only then, so that policies without it draw what they always did
            pixels = rng.integers(-self.shift_pixels, self.shift_pixels, 2, endpoint=True)
        center = []
        for axis in (0, 1):
            # Where the crop is larger than the scaled source, the source lies anywhere in it.
            free = source[axis] * scale[axis] - result[axis]
            # Whole pixels, so that a crop at scale 1 copies pixels instead of blending them.
            start = round(position[axis] * free) + int(pixels[axis])
            center.append((start + result[axis] / 2) / scale[axis] + shift[axis] * source[axis])
        return float(center[0]), float(center[1])


def warp_mask(params: Params, mask: np.ndarray) -> np.ndarray:
    """The mask seen through the map of `params`, by nearest neighbour.

    Args:
        params: what to do; colours do not matter here.
        mask: (H, W) uint8.

    Returns:
        (h, w) uint8, 255 where the map leaves the source.
    """
    return warp.affine_mask(params.matrix(), params.size, params.scale, mask)


def warp_image(params: Params, image: np.ndarray, fill: tuple[int, int, int]) -> np.ndarray:
    """The image seen through the map of `params`, recoloured.

    Args:
        params: what to do.
        image: (H, W, 3) uint8.
        fill: colour where the map leaves the source; it is not recoloured.

    Returns:
        (h, w, 3) uint8.
    """
    edits: list[warp.Edit] = []
    if params.blur > 0:
        edits.append(lambda region: region.filter(ImageFilter.GaussianBlur(params.blur)))
    edits.append(lambda region: _recolor(params, region))
    return warp.affine_image(params.matrix(), params.size, params.scale, image, fill, edits)


def _recolor(params: Params, image: Image.Image) -> Image.Image:
    """Brightness, contrast, saturation and hue of the parameters."""
    if (params.brightness, params.contrast, params.saturation, params.hue) == (1, 1, 1, 0):
        return image
    mean = float(np.asarray(image)[::4, ::4].mean(axis=(0, 1)) @ warp.LUMA)
    return warp.recolor(
        image, params.brightness, params.contrast, params.saturation, params.hue, mean
    )


def _require(condition: bool, name: str, value: object, expected: str) -> None:
    if not condition:
        raise ValueError(f"Augment: {name} must be {expected}, got {value!r}.")
