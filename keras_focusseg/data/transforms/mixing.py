"""Steps that bring in a second sample; labels are moved whole, never blended."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from keras_focusseg.data.transforms.base import (
    Mixing,
    as_tuple,
    is_number,
    require,
    require_probability,
)
from keras_focusseg.data.transforms.canvas import Pair
from keras_focusseg.label_spaces import IGNORE


@dataclass(frozen=True)
class CutMix(Mixing):
    """A rectangle of another sample is put in its place.

    Yun et al., "CutMix" (ICCV 2019, arXiv 1905.04899); for segmentation, with rectangles of any
    shape, French et al. (BMVC 2020, arXiv 1906.01916).

    Args:
        probability: How often.
        share: Smallest and largest area of the rectangle as a share of the image, drawn
            uniformly. Its height is drawn log-uniformly from that share to 1.

    Raises:
        ValueError: If a value is outside its range.

    Example:
        >>> from keras_focusseg import data
        >>> source = data.SyntheticStreets(4, size=(64, 96))
        >>> augment = data.Compose([data.ScaleCrop((32, 32)), data.Flip(), data.CutMix(0.5)])
        >>> train = data.batches(source, 2, augment, shuffle=True)
    """

    probability: float = 0.5
    share: tuple[float, float] = (0.1, 0.5)

    def __post_init__(self) -> None:
        require_probability(self)
        if is_number(self.share):
            object.__setattr__(self, "share", (self.share, self.share))
        as_tuple(self, "share")
        share = self.share
        require(
            self,
            isinstance(share, tuple)
            and len(share) == 2
            and all(map(is_number, share))
            and 0 < share[0] <= share[1] <= 1,
            "share",
            "(low, high) with 0 < low <= high <= 1",
        )

    def mix(self, rng: np.random.Generator, pair: Pair, other: Pair) -> Pair:
        """The first sample with a rectangle of the second."""
        share = rng.uniform(*self.share)
        tall = share ** rng.random()
        height, width = pair[1].shape
        sides = max(1, round(height * tall)), max(1, round(width * share / tall))
        top, left = (
            int(rng.integers(length - side, endpoint=True))
            for length, side in zip((height, width), sides, strict=True)
        )
        image, mask = pair[0].copy(), pair[1].copy()
        here = np.s_[top : top + sides[0], left : left + sides[1]]
        image[here], mask[here] = other[0][here], other[1][here]
        return image, mask


@dataclass(frozen=True)
class ClassMix(Mixing):
    """What another sample shows of half of its classes is pasted on.

    Olsson et al., "ClassMix" (WACV 2021, arXiv 2007.07936), there by the predicted classes of
    images without labels, here by the labels, so that each object comes with its exact outline.
    Ignored pixels stay behind.

    Args:
        probability: How often.

    Raises:
        ValueError: If the value is outside its range.

    Example:
        >>> from keras_focusseg import data
        >>> source = data.SyntheticStreets(4, size=(64, 96))
        >>> augment = data.Compose([data.ScaleCrop((32, 32)), data.Flip(), data.ClassMix(0.5)])
        >>> train = data.batches(source, 2, augment, shuffle=True)
    """

    probability: float = 0.5

    def __post_init__(self) -> None:
        require_probability(self)

    def mix(self, rng: np.random.Generator, pair: Pair, other: Pair) -> Pair:
        """The first sample with half of the classes of the second, rounded up."""
        shown = np.flatnonzero(np.bincount(other[1].ravel(), minlength=256)[:IGNORE])
        is_pasted = np.zeros(256, bool)
        is_pasted[rng.permutation(shown)[: -(-shown.size // 2)]] = True
        where = is_pasted[other[1]]
        image, mask = pair[0].copy(), pair[1].copy()
        np.copyto(image, other[0], where=where[..., None])
        np.copyto(mask, other[1], where=where)
        return image, mask
