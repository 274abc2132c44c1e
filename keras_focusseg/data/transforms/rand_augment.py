"""RandAugment: a few operations drawn from a list, all of one strength."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from PIL import Image, ImageFilter, ImageOps

from keras_focusseg.data.transforms.base import Step, as_tuple, require, require_number
from keras_focusseg.data.transforms.canvas import Canvas
from keras_focusseg.data.transforms.color import jitter
from keras_focusseg.data.transforms.geometry import shift, slant, turn
from keras_focusseg.data.transforms.warp import Edit

# The strongest magnitude.
_LEVELS = 10
# What the operations reach at the strongest magnitude, as in AutoAugment (arXiv 1805.09501,
# table 6), where a shift of 150 of 331 pixels is 0.45 of the side.
_DEGREES, _SLANT, _SHIFT, _FACTOR = 30.0, 0.3, 0.45, 0.9


def _recolored(name: str, canvas: Canvas, strength: float, sign: float) -> None:
    """Brightness, contrast or saturation."""
    canvas.edit(jitter(**{name: 1 + sign * _FACTOR * strength}))


def _edited(change: Edit, canvas: Canvas, strength: float, sign: float) -> None:
    """An operation without strength."""
    canvas.edit(change)


def _translated(down: float, across: float, canvas: Canvas, strength: float, sign: float) -> None:
    share, (height, width) = sign * _SHIFT * strength, canvas.size
    shift(canvas, round(down * share * height), round(across * share * width))


def _sharpness(canvas: Canvas, strength: float, sign: float) -> None:
    factor = 1 + sign * _FACTOR * strength
    canvas.edit(
        lambda image: (
            image
            if min(image.size) < 3
            else Image.blend(image.filter(ImageFilter.SMOOTH), image, factor)
        )
    )


def _solarize(canvas: Canvas, strength: float, sign: float) -> None:
    canvas.edit(partial(ImageOps.solarize, threshold=round(256 * (1 - strength))))


def _posterize(canvas: Canvas, strength: float, sign: float) -> None:
    canvas.edit(partial(ImageOps.posterize, bits=8 - round(4 * strength)))


_OPERATIONS: dict[str, Callable[[Canvas, float, float], None]] = {
    "identity": lambda canvas, strength, sign: None,
    "autocontrast": partial(_edited, ImageOps.autocontrast),
    "equalize": partial(_edited, ImageOps.equalize),
    "rotate": lambda canvas, strength, sign: turn(canvas, sign * _DEGREES * strength),
    "solarize": _solarize,
    "color": partial(_recolored, "saturation"),
    "posterize": _posterize,
    "contrast": partial(_recolored, "contrast"),
    "brightness": partial(_recolored, "brightness"),
    "sharpness": _sharpness,
    "shear_x": lambda canvas, strength, sign: slant(canvas, sign * _SLANT * strength, 0.0),
    "shear_y": lambda canvas, strength, sign: slant(canvas, 0.0, sign * _SLANT * strength),
    "translate_x": partial(_translated, 0, 1),
    "translate_y": partial(_translated, 1, 0),
}


@dataclass(frozen=True)
class RandAugment(Step):
    """A few operations, each drawn from the whole list, all of one strength.

    Cubuk et al., "RandAugment" (2020, arXiv 1909.13719). Operations that move things move the mask
    along, and new area is ignored; they join the one map of all geometry. The sign of what has
    one is drawn.

    Args:
        num_ops: How many operations, drawn with replacement.
        magnitude: Their strength, 0..10.
        ops: Names of the operations to draw from: "identity", "autocontrast", "equalize",
            "rotate", "solarize", "color", "posterize", "contrast", "brightness", "sharpness",
            "shear_x", "shear_y", "translate_x", "translate_y". All by default.

    Raises:
        ValueError: If a value is outside its range, or an operation unknown.

    Example:
        >>> from keras_focusseg import data
        >>> colors = ("autocontrast", "equalize", "color", "contrast", "brightness", "sharpness")
        >>> steps = [data.ScaleCrop((288, 384)), data.Flip(), data.RandAugment(2, 9.0, colors)]
        >>> augment = data.Compose(steps)
    """

    num_ops: int = 2
    magnitude: float = 9.0
    ops: tuple[str, ...] = tuple(_OPERATIONS)

    def __post_init__(self) -> None:
        as_tuple(self, "ops")
        is_count = isinstance(self.num_ops, int) and not isinstance(self.num_ops, bool)
        require(self, is_count and self.num_ops >= 0, "num_ops", "a whole number, 0 or more")
        require_number(self, "magnitude", 0, _LEVELS)
        is_list = isinstance(self.ops, tuple) and len(self.ops) > 0
        known = is_list and all(name in _OPERATIONS for name in self.ops)
        require(self, known, "ops", f"names among {', '.join(_OPERATIONS)}")

    def run(self, canvas: Canvas, rng: np.random.Generator) -> None:
        """Notes the operations."""
        for number in rng.integers(len(self.ops), size=self.num_ops):
            sign = 1.0 if rng.random() < 0.5 else -1.0
            _OPERATIONS[self.ops[number]](canvas, self.magnitude / _LEVELS, sign)
