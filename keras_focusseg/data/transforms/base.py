"""What an augmentation is, and what a step of one is."""

from __future__ import annotations

import abc
import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

import numpy as np

from keras_focusseg.data.transforms.canvas import Canvas, Pair

Partner = Callable[[int], tuple[np.ndarray, np.ndarray, np.random.Generator]]
"""From the number of a step to the second sample that it mixes in, and that sample's generator."""


class Augmentation(abc.ABC):
    """What `batches` knows of an augmentation: how it is called, and three things about it.

    A function `(image, mask, rng) -> (image, mask)` is one as well: `batches` and `Compose` wrap it
    in a `Function`.
    """

    @property
    def crop_size(self) -> tuple[int, int] | None:
        """(height, width) of every result; None where it follows the image."""
        return None

    @property
    def needs_partner(self) -> bool:
        """Whether it mixes in a second sample, and so has to be called with `partner`."""
        return False

    @property
    def takes_target(self) -> bool:
        """Whether it can crop around a class, and so heeds `target`."""
        return False

    @abc.abstractmethod
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
            rng: Where the randomness comes from; the same state gives the same result.
            target: Class that crops are put around, if the mask has it.
            partner: From the number of a mixing step to image and mask of a second sample, and the
                generator of its steps; `batches` hands it over. The second sample goes through
                the steps before that one, mixing steps left out.

        Returns:
            image (h, w, 3) uint8 and mask (h, w) uint8. They may be the ones given, if nothing
            changes: do not write to them.

        Raises:
            ValueError: If the arrays are not of these types and shapes; if a step mixes and there
                is no partner, or it has another size.
        """


class Configured(Augmentation):
    """A dataclass whose fields are plain values, with its name in its config."""

    def __call__(
        self,
        image: np.ndarray,
        mask: np.ndarray,
        rng: np.random.Generator,
        target: int | None = None,
        partner: Partner | None = None,
    ) -> Pair:
        """This step alone; see `Augmentation`."""
        canvas = Canvas(image, mask, target=target)
        run([self], canvas, rng, partner)
        return canvas.arrays()

    def to_config(self) -> dict[str, Any]:
        """Name and fields as plain values that `json` can write."""
        fields = dataclasses.fields(self)  # type: ignore[arg-type]
        return {"step": type(self).__name__} | {
            field.name: _plain(getattr(self, field.name)) for field in fields
        }

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """The step that `to_config` described.

        Raises:
            ValueError: If an argument is unknown, missing or out of range; names the step.
        """
        given = {name: value for name, value in config.items() if name != "step"}
        fields = dataclasses.fields(cls)  # type: ignore[arg-type]
        known = [field.name for field in fields]
        for name in given:
            if name not in known:
                raise ValueError(
                    f"{cls.__name__} has no argument {name!r}; it has {', '.join(known) or 'none'}."
                )
        for field in fields:
            if field.default is dataclasses.MISSING and field.name not in given:
                raise ValueError(f"{cls.__name__} needs {field.name!r}; got {sorted(given)}.")
        return cls(**given)


class Step(Configured):
    """One named change of an image and its mask, as plain values.

    A subclass is a frozen dataclass whose fields JSON can hold, and defines `run`. A step is an
    augmentation by itself; several make a `Compose`.
    """

    @abc.abstractmethod
    def run(self, canvas: Canvas, rng: np.random.Generator) -> None:
        """Draws what to do, and notes it.

        Args:
            canvas: What to change.
            rng: Where all randomness has to come from.
        """


class Mixing(Configured):
    """A step that brings in a second sample, which the pipeline draws.

    A subclass is a frozen dataclass with a field `probability`, and defines `mix`.
    """

    probability: float
    needs_partner = True

    @abc.abstractmethod
    def mix(self, rng: np.random.Generator, pair: Pair, other: Pair) -> Pair:
        """Bring one sample into another.

        Args:
            rng: Where all randomness has to come from.
            pair: Image and mask, not to be written to.
            other: Another image and mask of the same size, not to be written to.

        Returns:
            New image and mask.
        """


@dataclasses.dataclass(frozen=True)
class Function(Step):
    """A function of your own as a step; what was noted before it is carried out first.

    Args:
        function: From (image, mask, rng) to image and mask, which it does not write to. If its
            results have a size of their own, it says so in an attribute `crop_size`.
    """

    function: Callable[..., Pair]

    @property
    def crop_size(self) -> tuple[int, int] | None:
        """What the function says."""
        return getattr(self.function, "crop_size", None)

    def run(self, canvas: Canvas, rng: np.random.Generator) -> None:
        """Lets the function change what is there."""
        canvas.put(*self.function(*canvas.arrays(), rng))


def as_augmentation(augment: Augmentation | Callable[..., Pair]) -> Augmentation:
    """An augmentation as it is, a function as a `Function`.

    Raises:
        ValueError: It is neither.
    """
    if not callable(augment):
        raise ValueError(
            "augment must be a data.Augment, a data.Compose, a step, or a function (image, mask, "
            f"rng) -> (image, mask); got {augment!r:.80}."
        )
    return augment if isinstance(augment, Augmentation) else Function(augment)


def run(
    steps: Sequence[Configured], canvas: Canvas, rng: np.random.Generator, partner: Partner | None
) -> None:
    """Lets steps work on a canvas, one after the other; mixing ones need a partner of its size.

    Raises:
        ValueError: A step mixes in a second sample, and there is none, or one of another size.
    """
    mixing = [type(step).__name__ for step in steps if isinstance(step, Mixing)]
    if mixing and partner is None:
        raise ValueError(
            f"{' and '.join(mixing)} mixes in a second sample, and there is none: give the policy "
            "to data.batches, which draws one, or call it with partner=."
        )
    for number, step in enumerate(steps):
        if isinstance(step, Mixing):
            if partner is not None and rng.random() < step.probability:
                pair = canvas.arrays()
                other = _other(steps[:number], canvas, *partner(number))
                if other[1].shape != pair[1].shape:
                    raise ValueError(
                        f"{type(step).__name__}: the second sample is {_size(other)} after the "
                        f"steps before, the first {_size(pair)} (height x width); put a ScaleCrop "
                        "with a size before it."
                    )
                canvas.put(*step.mix(rng, pair, other))
        elif isinstance(step, Step):
            step.run(canvas, rng)


def _other(
    steps: Sequence[Configured],
    canvas: Canvas,
    image: np.ndarray,
    mask: np.ndarray,
    rng: np.random.Generator,
) -> Pair:
    """The second sample after its own draw of the steps before; nothing is mixed into it."""
    other = Canvas(image, mask, canvas.fill)
    run([step for step in steps if isinstance(step, Step)], other, rng, None)
    return other.arrays()


def _size(pair: Pair) -> str:
    return " x ".join(str(side) for side in pair[1].shape)


def require(step: object, condition: bool, name: str, expected: str) -> None:
    """Holds a step to a condition on its field `name`; the message says what was expected.

    Raises:
        ValueError: The condition does not hold.
    """
    if not condition:
        raise ValueError(
            f"{type(step).__name__}: {name} must be {expected}, got {getattr(step, name)!r}."
        )


def require_number(
    step: object, name: str, low: float, high: float | None = None, unit: str = ""
) -> None:
    """Stops if a field of a step is not a number low..high, or low and more if `high` is None."""
    value = getattr(step, name)
    is_inside = is_number(value) and value >= low and (high is None or value <= high)
    limits = f"{low:g} or more" if high is None else f"{low:g}..{high:g}"
    require(step, is_inside, name, f"a number {limits}{unit and ' ' + unit}")


def require_probability(step: object) -> None:
    """Stops if `probability` is not one."""
    require_number(step, "probability", 0, 1)


def is_number(value: Any) -> bool:
    """Whether it is a finite number, and neither true nor false."""
    is_real = isinstance(value, int | float) and not isinstance(value, bool)
    return is_real and math.isfinite(value)


def as_tuple(step: object, name: str) -> None:
    """Turns a field that JSON gave as a list into a tuple."""
    value = getattr(step, name)
    if isinstance(value, Sequence) and not isinstance(value, str):
        object.__setattr__(step, name, tuple(value))


def _plain(value: Any) -> Any:
    return [_plain(one) for one in value] if isinstance(value, tuple) else value
