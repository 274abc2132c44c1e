"""Several steps as one policy, and policies from plain values."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from keras_focusseg.data.transforms import warp
from keras_focusseg.data.transforms.augment import Augment
from keras_focusseg.data.transforms.base import (
    Canvas,
    Configured,
    Mixing,
    Pair,
    Partner,
    Step,
    as_tuple,
    require,
    run,
)
from keras_focusseg.data.transforms.color import Blur, ColorJitter, Grayscale
from keras_focusseg.data.transforms.geometry import (
    ClassUniformCrop,
    Flip,
    Rotate,
    ScaleCrop,
    Shear,
    Translate,
)
from keras_focusseg.data.transforms.mixing import ClassMix, CutMix
from keras_focusseg.data.transforms.rand_augment import RandAugment

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
    )
}


@dataclass(frozen=True)
class Compose:
    """Steps, one after the other, as one augmentation.

    All geometry between two mixing steps is one affine map: the image is resampled once (by
    averages where it shrinks, else bilinearly), the mask by nearest neighbour. Colours change
    before the map, at the coarser of the two resolutions, in the part that is in view. What comes
    into view from outside the picture is ignored: 255 in the mask, `fill` in the image.

    Args:
        steps: steps of this module, or any function from (image, mask, rng) to image and mask;
            what was noted before such a function is carried out first. Another `Compose` counts
            as its steps.
        fill: RGB of new area. The default is the ImageNet mean, which normalisation turns to
            about zero.

    Raises:
        ValueError: if something is neither a step nor a function, or the fill is no colour.

    Example:
        ```python
        augment = Compose([ScaleCrop((288, 384)), Flip(), Rotate(10.0), ColorJitter(), Blur()])
        image, mask = np.zeros((360, 480, 3), "uint8"), np.zeros((360, 480), "uint8")
        image, mask = augment(image, mask, np.random.default_rng(0))
        image.shape, mask.shape
        # ((288, 384, 3), (288, 384))
        ```
    """

    steps: Sequence[Step | Mixing | Callable[..., Pair]]
    fill: tuple[int, int, int] = warp.FILL

    def __post_init__(self) -> None:
        flat: list[Any] = []
        for step in self.steps:
            flat += step.steps if isinstance(step, Compose) else [step]
        object.__setattr__(self, "steps", tuple(flat))
        for step in flat:
            if isinstance(step, type) or not callable(step):
                raise ValueError(
                    f"Compose: steps must be steps or functions (image, mask, rng), got {step!r}; "
                    "configs go through data.augmentation."
                )
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
        """(height, width) of every result; None where it follows the image.

        A function that changes the size has to have this attribute as well.
        """
        sizes = (getattr(step, "crop_size", None) for step in reversed(self.steps))
        return next((size for size in sizes if size is not None), None)

    @property
    def needs_partner(self) -> bool:
        """Whether a step mixes in a second sample."""
        return any(isinstance(step, Mixing) for step in self.steps)

    @property
    def takes_target(self) -> bool:
        """Whether a step can crop around a class."""
        return any(isinstance(step, Step) and step.takes_target for step in self.steps)

    def __call__(
        self,
        image: np.ndarray,
        mask: np.ndarray,
        rng: np.random.Generator,
        target: int | None = None,
        partner: Partner | None = None,
    ) -> Pair:
        """Change an image and its mask.

        Args:
            image: (H, W, 3) uint8.
            mask: (H, W) uint8 train ids.
            rng: where the randomness comes from; the same state gives the same result.
            target: class that crops have to show, if the mask has it.
            partner: from the number of a mixing step to image and mask of a second sample, and the
                generator of its steps; `batches` hands it over. The second sample goes through
                the steps before that one, mixing steps left out.

        Returns:
            image (h, w, 3) uint8 and mask (h, w) uint8. They may be the ones given, if the steps
            change nothing: do not write to them.

        Raises:
            ValueError: if a step mixes and there is no partner, or it has another size.
        """
        canvas = Canvas(image, mask, self.fill, target)
        run(self.steps, canvas, rng, partner)
        return canvas.arrays()

    def at_scale_1(self) -> Compose:
        """The same with content at its own size, for what measures statistics of images."""
        return replace(
            self,
            steps=[
                replace(step, scale=(1.0, 1.0))
                if isinstance(step, ScaleCrop | ClassUniformCrop)
                else step
                for step in self.steps
            ],
        )

    def to_config(self) -> dict[str, Any]:
        """The policy as plain values that `json` can write, for `augmentation`.

        Raises:
            ValueError: if a step is a function, or a class that is not part of this module.
        """
        from keras_focusseg.data.transforms.keras_layers import KerasAugment

        configs = []
        for step in self.steps:
            if isinstance(step, KerasAugment):
                configs.append(step.to_config())
                continue
            if not isinstance(step, Configured) or type(step) is not STEPS.get(type(step).__name__):
                raise ValueError(
                    f"Compose: {step!r} is not one of the named steps ({', '.join(STEPS)}), so no "
                    "config can describe it."
                )
            configs.append(step.to_config())
        return {"steps": configs, "fill": list(self.fill)}


def augmentation(config: Any) -> Augment | Compose:
    """The augmentation that plain values describe, as they stand in recipes.

    Args:
        config: arguments of `Augment`; or a list of steps such as
            `{"step": "Flip", "probability": 0.5}`; or `{"steps": [...], "fill": [r, g, b]}`.
            What is an augmentation already, or a step in the list, is taken as it is.

    Returns:
        The augmentation.

    Raises:
        ValueError: if a step or an argument is unknown, missing or out of range; names it.

    Example:
        ```python
        augment = augmentation([{"step": "ScaleCrop", "size": [288, 384]}, {"step": "Flip"}])
        augmentation(augment.to_config()) == augment
        # True
        ```
    """
    if isinstance(config, Augment | Compose):
        return config
    if isinstance(config, Mapping) and "steps" not in config:
        known = [field.name for field in fields(Augment)]
        for name in config:
            if name not in known:
                raise ValueError(
                    f"augment: Augment has no argument {name!r}; it has {', '.join(known)}. Steps "
                    'come as a list, or as {"steps": [...]}.'
                )
        return Augment(**config)
    options = dict(config) if isinstance(config, Mapping) else {"steps": config}
    for name in options:
        if name not in ("steps", "fill"):
            raise ValueError(f"augment: {name!r} cannot stand beside 'steps'; 'fill' can.")
    steps = options.pop("steps")
    if not isinstance(steps, Iterable) or isinstance(steps, str | Mapping):
        raise ValueError(
            f"augment must be arguments of Augment, or a list of steps; got {steps!r}."
        )
    return Compose([_step(step) for step in steps], **options)


def _step(config: Any) -> Any:
    """One step from its config."""
    if not isinstance(config, Mapping):
        return config
    name = config.get("step")
    if name == "KerasAugment":
        from keras_focusseg.data.transforms.keras_layers import KerasAugment

        return KerasAugment.from_config(config)
    if name not in STEPS:
        raise ValueError(
            f"augment: there is no step {name!r} (in {dict(config)}); expected "
            f'{{"step": NAME, ...}} with a name among {", ".join(STEPS)}.'
        )
    return STEPS[name].from_config(config)
