"""Several steps as one policy, and policies from plain values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from keras_focusseg.data.transforms.base import (
    Augmentation,
    Configured,
    Function,
    Mixing,
    Partner,
    Step,
    as_tuple,
    require,
    run,
)
from keras_focusseg.data.transforms.canvas import Canvas, Pair
from keras_focusseg.data.transforms.color import Blur, ColorJitter, Grayscale
from keras_focusseg.data.transforms.geometry import (
    ClassUniformCrop,
    Flip,
    Rotate,
    ScaleCrop,
    Shear,
    Translate,
)
from keras_focusseg.data.transforms.keras_layers import KerasAugment
from keras_focusseg.data.transforms.mixing import ClassMix, CutMix
from keras_focusseg.data.transforms.rand_augment import RandAugment
from keras_focusseg.data.transforms.warp import FILL

STEPS: dict[str, type[Configured]] = {
    step.__name__: step
    for step in (
        ScaleCrop,
        ClassUniformCrop,
        Flip,
        Rotate,
        Shear,
        Translate,
        ColorJitter,
        Blur,
        Grayscale,
        RandAugment,
        CutMix,
        ClassMix,
        KerasAugment,
    )
}


@dataclass(frozen=True)
class Compose(Augmentation):
    """Steps, one after the other, as one augmentation.

    All geometry between two mixing steps is one affine map: the image is resampled once (by
    averages where it shrinks, else bilinearly), the mask by nearest neighbour. Colours change
    before the map, at the coarser of the two resolutions, in the part that is in view. What comes
    into view from outside the picture is ignored: 255 in the mask, `fill` in the image.

    Args:
        steps: Steps of this module, or any function from (image, mask, rng) to image and mask;
            what was noted before such a function is carried out first. Another `Compose` counts
            as its steps. `steps` holds such a function as a `Function`.
        fill: RGB of new area. The default is the ImageNet mean, which normalisation turns to
            about zero.

    Raises:
        ValueError: If something is neither a step nor a function, or the fill is no colour.

    Example:
        >>> import numpy as np
        >>> from keras_focusseg import data
        >>> colors = [data.ColorJitter(), data.Blur()]
        >>> augment = data.Compose([data.ScaleCrop((288, 384)), data.Flip(), *colors])
        >>> image, mask = np.zeros((360, 480, 3), "uint8"), np.zeros((360, 480), "uint8")
        >>> image, mask = augment(image, mask, np.random.default_rng(0))
        >>> image.shape, mask.shape
        ((288, 384, 3), (288, 384))
    """

    steps: Sequence[Any]
    fill: tuple[int, int, int] = FILL

    def __post_init__(self) -> None:
        object.__setattr__(self, "steps", tuple(_flat(self.steps)))
        as_tuple(self, "fill")
        require(
            self,
            isinstance(self.fill, tuple)
            and len(self.fill) == 3
            and all(isinstance(value, int) and 0 <= value <= 255 for value in self.fill),
            "fill",
            "(red, green, blue) 0..255",
        )

    @property
    def crop_size(self) -> tuple[int, int] | None:
        """(height, width) of every result; None where it follows the image."""
        sizes = (step.crop_size for step in reversed(self.steps))
        return next((size for size in sizes if size is not None), None)

    @property
    def needs_partner(self) -> bool:
        """Whether a step mixes in a second sample."""
        return any(step.needs_partner for step in self.steps)

    @property
    def takes_target(self) -> bool:
        """Whether a step can crop around a class."""
        return any(step.takes_target for step in self.steps)

    def __call__(
        self,
        image: np.ndarray,
        mask: np.ndarray,
        rng: np.random.Generator,
        target: int | None = None,
        partner: Partner | None = None,
    ) -> Pair:
        """Change an image and its mask; see `Augmentation`."""
        canvas = Canvas(image, mask, self.fill, target)
        run(self.steps, canvas, rng, partner)
        return canvas.arrays()

    def at_scale_1(self) -> Compose:
        """The same with content at its own size, for what measures statistics of images."""
        steps = [
            replace(step, scale=(1.0, 1.0)) if isinstance(step, ScaleCrop) else step
            for step in self.steps
        ]
        return replace(self, steps=steps)

    def to_config(self) -> dict[str, Any]:
        """The policy as plain values that `json` can write, for `augmentation`.

        Raises:
            ValueError: If a step is a function, or a class that is not part of this module.
        """
        for step in self.steps:
            if type(step) is not STEPS.get(type(step).__name__):
                raise ValueError(
                    f"Compose: {step!r} is not one of the named steps ({', '.join(STEPS)}), so no "
                    "config can describe it."
                )
        return {"steps": [step.to_config() for step in self.steps], "fill": list(self.fill)}


def augmentation(config: Mapping[str, Any]) -> Compose:
    """The policy that plain values describe, as they stand in recipes.

    Args:
        config: `{"steps": [...], "fill": [r, g, b]}`, as `Compose.to_config` gives: steps such as
            `{"step": "Flip", "probability": 0.5}`, whose arguments may be left out where they
            have defaults; and so may the fill.

    Returns:
        The policy.

    Raises:
        ValueError: If it has another form, or if a step or an argument is unknown, missing or out
            of range; names it.

    Example:
        >>> from keras_focusseg import data
        >>> config = {"steps": [{"step": "ScaleCrop", "size": [288, 384]}, {"step": "Flip"}]}
        >>> augment = data.augmentation(config)
        >>> data.augmentation(augment.to_config()) == augment
        True
    """
    steps = config.get("steps") if isinstance(config, Mapping) else None
    if not isinstance(steps, Sequence) or isinstance(steps, str) or set(config) - {"steps", "fill"}:
        raise ValueError(
            'augment must be {"steps": [{"step": NAME, ...}, ...]}, with "fill" if wanted, as '
            f"data.Augment(...).to_config() gives it; got {config!r}."
        )
    fill = {"fill": config["fill"]} if "fill" in config else {}
    return Compose([_step(step) for step in steps], **fill)


def _flat(steps: Sequence[Any]) -> Iterator[Step | Mixing]:
    """The steps, those of policies among them one by one, functions as steps."""
    for step in steps:
        if isinstance(step, Compose):
            yield from step.steps
        elif isinstance(step, Step | Mixing):
            yield step
        elif isinstance(step, type) or not callable(step):
            raise ValueError(
                f"Compose: steps must be steps or functions (image, mask, rng), got {step!r}; "
                "configs go through data.augmentation."
            )
        else:
            yield Function(step)


def _step(config: Any) -> Configured:
    """One step from its config."""
    name = config.get("step") if isinstance(config, Mapping) else None
    if name not in STEPS:
        raise ValueError(
            f"augment: there is no step {name!r} (in {config!r}); expected "
            f'{{"step": NAME, ...}} with a name among {", ".join(STEPS)}.'
        )
    return STEPS[name].from_config(config)
