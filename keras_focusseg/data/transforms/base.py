"""What a step is, and the canvas on which steps work."""

from __future__ import annotations

import abc
import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np

from keras_focusseg.data.transforms import warp

Pair = tuple[np.ndarray, np.ndarray]
"""Image uint8 (H, W, 3) and mask uint8 (H, W)."""
Partner = Callable[[int], tuple[np.ndarray, np.ndarray, np.random.Generator]]
"""From the number of a step to the second sample that it mixes in, and that sample's generator."""


class Canvas:
    """An image and its mask while steps work on them.

    Geometry is only noted: `move` joins it to what was noted before, and what comes out in the end
    is read from the source once. Colour is noted as well, and done to the part that is in view
    before it is moved, so that new area keeps the fill.

    Args:
        image: (H, W, 3) uint8.
        mask: (H, W) uint8.
        fill: RGB where the image shows nothing of the source (the mask gets 255).
        target: class that crops have to show, if the mask has it; None for any.

    Attributes:
        target: as given.
        fill: as given.
    """

    def __init__(
        self,
        image: np.ndarray,
        mask: np.ndarray,
        fill: tuple[int, int, int] = warp.FILL,
        target: int | None = None,
    ) -> None:
        self.target = target
        self.fill = fill
        self._source: Pair
        self._view: warp.View
        self._mask: np.ndarray | None  # as the view shows it, once somebody has looked
        self._edits: list[warp.Edit]
        self.put(image, mask)

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) after all that was noted."""
        return self._view.size

    def move(self, matrix: np.ndarray, size: tuple[int, int] | None = None) -> None:
        """Note a change of geometry.

        Args:
            matrix: (2, 3), from a point (x, y) of the result to the point that it shows of what
                is there now. The centre of the pixel in column j is at x = j + 0.5.
            size: (height, width) of the result; None keeps it.
        """
        self._note(self._view.then(matrix, size or self.size))

    def edit(self, change: warp.Edit) -> None:
        """Note a change of colour.

        Args:
            change: from an RGB `PIL.Image` to another of the same size.
        """
        self._edits.append(change)

    def mask(self) -> np.ndarray:
        """The mask after all that was noted, (height, width) uint8. Do not write to it."""
        if self._mask is None:
            self._mask = warp.see_mask(self._view, self._source[1])
        return self._mask

    def arrays(self) -> Pair:
        """Image and mask after all that was noted. Do not write to them."""
        image = warp.see_image(self._view, self._source[0], self.fill, self._edits)
        return image, self.mask()

    def put(self, image: np.ndarray, mask: np.ndarray) -> None:
        """Go on with another image and mask, uint8 (H, W, 3) and (H, W)."""
        warp.check_pair(image, mask)
        self._source = (image, mask)
        self._view = warp.View.of(mask.shape)
        self._mask = mask
        self._edits = []

    def try_moves(
        self,
        draw: Callable[[], np.ndarray],
        size: tuple[int, int],
        max_class_share: float | None,
    ) -> None:
        """Note a change of geometry that no class fills too much of.

        Args:
            draw: gives a matrix as `move` takes it, another one with each call.
            size: (height, width) of the result.
            max_class_share: largest share of one class in the labelled pixels. After 10 more
                tries the last one is taken as it is. None takes the first.
        """
        before = self._view
        self.move(draw(), size)
        if max_class_share is None:
            return
        for _ in range(warp.POSITION_TRIES):
            if warp.largest_share(self.mask()) <= max_class_share:
                return
            self._note(before.then(draw(), size))

    def _note(self, view: warp.View) -> None:
        self._view, self._mask = view, None


class Configured:
    """A dataclass whose fields are plain values, with its name in its config."""

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
            ValueError: if an argument is unknown, missing or out of range; names the step.
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


class Step(Configured, abc.ABC):
    """One named change of an image and its mask, as plain values.

    A subclass is a frozen dataclass whose fields JSON can hold, and defines `run`. A step can be
    called by itself, as `(image, mask, rng)`; several make a `Compose`.

    Attributes:
        takes_target: whether it heeds `target` of the canvas.
    """

    takes_target: ClassVar[bool] = False

    @abc.abstractmethod
    def run(self, canvas: Canvas, rng: np.random.Generator) -> None:
        """Draw what to do, and note it.

        Args:
            canvas: what to change.
            rng: where all randomness has to come from.
        """

    def __call__(
        self,
        image: np.ndarray,
        mask: np.ndarray,
        rng: np.random.Generator,
        target: int | None = None,
    ) -> Pair:
        """This step alone.

        Args:
            image: (H, W, 3) uint8.
            mask: (H, W) uint8 train ids.
            rng: where the randomness comes from; the same state gives the same result.
            target: class that a crop has to show.

        Returns:
            image (h, w, 3) uint8 and mask (h, w) uint8.
        """
        canvas = Canvas(image, mask, target=target)
        self.run(canvas, rng)
        return canvas.arrays()


class Mixing(Configured, abc.ABC):
    """A step that brings in a second sample, which the pipeline draws.

    A subclass is a frozen dataclass with a field `probability`, and defines `mix`.

    Attributes:
        needs_partner: tells the pipeline to hand over what draws the second sample.
    """

    needs_partner: ClassVar[bool] = True
    probability: float

    @abc.abstractmethod
    def mix(self, rng: np.random.Generator, pair: Pair, other: Pair) -> Pair:
        """Bring one sample into another.

        Args:
            rng: where all randomness has to come from.
            pair: image and mask, not to be written to.
            other: another image and mask of the same size, not to be written to.

        Returns:
            New image and mask.
        """

    def __call__(
        self,
        image: np.ndarray,
        mask: np.ndarray,
        rng: np.random.Generator,
        target: int | None = None,
        partner: Partner | None = None,
    ) -> Pair:
        """This step alone; see `Compose`."""
        canvas = Canvas(image, mask, target=target)
        run([self], canvas, rng, partner)
        return canvas.arrays()


def run(
    steps: Sequence[Any], canvas: Canvas, rng: np.random.Generator, partner: Partner | None
) -> None:
    """Let steps work on a canvas, one after the other.

    Args:
        steps: steps, mixing steps, and functions from (image, mask, rng) to image and mask.
        canvas: what to change.
        rng: where the randomness comes from.
        partner: what draws second samples.

    Raises:
        ValueError: if a step mixes and there is no partner, or it has another size.
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
        else:
            canvas.put(*step(*canvas.arrays(), rng))


def _other(
    steps: Sequence[Any],
    canvas: Canvas,
    image: np.ndarray,
    mask: np.ndarray,
    rng: np.random.Generator,
) -> Pair:
    """The second sample after its own draw of the steps before; nothing is mixed into it."""
    other = Canvas(image, mask, canvas.fill)
    run([step for step in steps if not isinstance(step, Mixing)], other, rng, None)
    return other.arrays()


def _size(pair: Pair) -> str:
    return " x ".join(str(side) for side in pair[1].shape)


def require(step: object, condition: bool, name: str, expected: str) -> None:
    """Stop if a field of a step is out of range.

    Args:
        step: the step.
        condition: what has to hold.
        name: of the field.
        expected: what would be right.

    Raises:
        ValueError: if it does not hold.
    """
    if not condition:
        raise ValueError(
            f"{type(step).__name__}: {name} must be {expected}, got {getattr(step, name)!r}."
        )


def require_number(
    step: object, name: str, low: float, high: float | None = None, unit: str = ""
) -> None:
    """Stop if a field of a step is not a number low..high, or low and more if `high` is None."""
    value = getattr(step, name)
    is_inside = is_number(value) and value >= low and (high is None or value <= high)
    limits = f"{low:g} or more" if high is None else f"{low:g}..{high:g}"
    require(step, is_inside, name, f"a number {limits}{unit and ' ' + unit}")


def require_probability(step: object) -> None:
    """Stop if `probability` is not one."""
    require_number(step, "probability", 0, 1)


def is_number(value: Any) -> bool:
    """Whether it is a finite number, and neither true nor false."""
    is_real = isinstance(value, int | float) and not isinstance(value, bool)
    return is_real and math.isfinite(value)


def as_tuple(step: object, name: str) -> None:
    """Turn a field that JSON gave as a list into a tuple."""
    value = getattr(step, name)
    if isinstance(value, Sequence) and not isinstance(value, str):
        object.__setattr__(step, name, tuple(value))


def about_center(linear: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The (2, 3) matrix that leaves the middle of a (height, width) where it is."""
    middle = np.array([size[1] / 2, size[0] / 2])
    return np.column_stack([linear, middle - linear @ middle])


def _plain(value: Any) -> Any:
    return [_plain(one) for one in value] if isinstance(value, tuple) else value
