"""The usual policy in one line of numbers."""

from __future__ import annotations

from keras_focusseg.data.transforms.base import Mixing, Step
from keras_focusseg.data.transforms.color import Blur, ColorJitter
from keras_focusseg.data.transforms.compose import Compose
from keras_focusseg.data.transforms.geometry import Flip, Rotate, ScaleCrop, Translate
from keras_focusseg.data.transforms.warp import FILL


def Augment(
    crop_size: tuple[int, int] | None = None,
    scale: tuple[float, float] = (0.5, 2.0),
    aspect: float = 1.0,
    flip: float = 0.5,
    translate: float = 0.0,
    rotate: float = 0.0,
    brightness: float = 0.2,
    contrast: float = 0.2,
    saturation: float = 0.2,
    hue: float = 0.02,
    blur: float = 0.0,
    max_class_share: float | None = None,
    fill: tuple[int, int, int] = FILL,
    base_size: tuple[int, int] | None = None,
    shift_pixels: int = 0,
) -> Compose:
    """The usual steps in the usual order: shift, scale, crop, flip, rotation, colour, blur.

    Args:
        crop_size: (height, width) of the result; None keeps the size of the input, scaled to
            `base_size` if that is given.
        scale: Smallest and largest magnification, drawn uniformly.
        aspect: Largest stretch of width against height; the ratio is drawn log-uniformly from
            1/aspect..aspect. 1 keeps the shape of things.
        flip: Probability of a left-right flip.
        translate: Largest shift beyond the random crop position, as a share of the source's
            height and width, so that the content may leave the view.
        rotate: Largest rotation in degrees, to either side, about the middle of the crop.
        brightness: B draws a factor from 1-b..1+b, on all values.
        contrast: C draws a factor from 1-c..1+c, on the distance from the mean luma.
        saturation: S draws a factor from 1-s..1+s, on the distance from grey.
        hue: H draws a shift from -h..h turns of the colour circle, h <= 0.5.
        blur: Largest standard deviation of a Gaussian blur in pixels, drawn from 0..blur.
        max_class_share: If one class would fill more than this share of the labelled pixels,
            another crop position is drawn, up to 10 times; None takes the first position.
        fill: RGB of the image where the map leaves the source (the mask gets 255). The default
            is the ImageNet mean, which normalisation turns to about zero.
        base_size: (shorter, longer) side in pixels. The image is first enlarged or shrunk, its
            shape kept, until one of its sides has that length and neither is longer; `scale` then
            counts from there. Images of many sizes are trained so, ADE20K's with (512, 2048).
            None: `scale` counts from the image's own size.
        shift_pixels: Like `translate`, but in whole pixels of the result, so that at scale 1
            pixels are copied and not blended. Both add up.

    Returns:
        The policy; its `steps` say what it does, and it is fastest where nothing is rotated.

    Raises:
        ValueError: If a value is outside its range; the message names the step.

    Example:
        >>> import numpy as np
        >>> from keras_focusseg import data
        >>> augment = data.Augment(crop_size=(288, 384), scale=(0.5, 2.0), rotate=5.0)
        >>> image, mask = np.zeros((360, 480, 3), "uint8"), np.zeros((360, 480), "uint8")
        >>> image, mask = augment(image, mask, np.random.default_rng(0))
        >>> image.shape, mask.shape
        ((288, 384, 3), (288, 384))
    """
    colors = (brightness, contrast, saturation, hue)
    steps: list[Step | Mixing] = []
    if translate:
        steps.append(Translate(translate))  # before the crop: a share of the source
    steps.append(ScaleCrop(crop_size, scale, max_class_share, base_size, aspect))
    if shift_pixels:
        steps.append(Translate(pixels=shift_pixels))
    if flip:
        steps.append(Flip(flip))
    if rotate:
        steps.append(Rotate(rotate))
    if any(colors):
        steps.append(ColorJitter(*colors))
    if blur:
        steps.append(Blur(blur, probability=1.0))
    return Compose(steps, fill)
