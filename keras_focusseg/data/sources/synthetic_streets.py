"""The source of synthetic street scenes."""

from collections.abc import Iterable

import numpy as np

from keras_focusseg import label_spaces
from keras_focusseg.data.sources.base import Sample, Source, check_split
from keras_focusseg.errors import DataError
from keras_focusseg.streets import render_scene

SPLITS = {"train": 0, "val": 1, "test": 2}
SMALLEST = 64
_FAMILY = 0x57EE7  # keeps these scenes apart from other uses of the same seed


def _is_whole(value: object) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


class SyntheticStreets(Source):
    """Seeded street scenes with exact masks, rendered on demand with NumPy and Pillow.

    Every scene is a function of (seed, split, index, size), and its composition - street, light,
    who stands where - is one of (seed, split, index): another size shows the same street in another
    resolution. Splits never share a scene. Coordinates and colours are floating point, so another
    release of NumPy or Pillow may move single pixels.

    Classes are CamVid's 11: Sky, Building (with low garden walls), Pole (posts, lamps, bollards),
    Road (with its paint), Pavement (with kerbs and paved ground), Tree (with hedges and lawns),
    SignSymbol (plates and traffic lights), Fence (the whole panel, gaps included), Car (vans and
    buses too), Pedestrian, Bicyclist (rider and bicycle). Nothing is ignored.

    A scene of 360x480 takes about 0.1 s on one core; cache them for training.

    Args:
        count: Number of scenes.
        size: (H, W) in pixels, each at least 64.
        seed: Non-negative integer; another seed is another city.
        split: "train", "val" or "test".

    Raises:
        DataError: For an unknown split, a negative seed or count, or a size below 64.

    Example:
        >>> streets = SyntheticStreets(count=10, size=(120, 160))
        >>> streets.load(0).image.shape
        (120, 160, 3)
    """

    def __init__(
        self,
        count: int = 200,
        size: tuple[int, int] = (360, 480),
        seed: int = 0,
        split: str = "train",
    ) -> None:
        check_split(split)
        if split not in SPLITS:
            raise DataError(
                f"split is {split!r}; synthetic_streets has {', '.join(SPLITS)}",
                kind="split that is not there",
            )
        wrong = "option that is not possible"
        if not _is_whole(count) or count < 1:
            raise DataError(
                f"count is {count!r}; it is the number of scenes and must be 1 or more", kind=wrong
            )
        if not _is_whole(seed) or seed < 0:
            raise DataError(f"seed is {seed!r}; it must be a whole number, 0 or more", kind=wrong)
        sides = tuple(size) if isinstance(size, Iterable) else (size,)
        if len(sides) != 2 or not all(map(_is_whole, sides)) or min(sides) < SMALLEST:
            raise DataError(
                f"size is {size!r}; expected (height, width), each {SMALLEST} pixels or more: "
                "in smaller pictures nothing can be recognised",
                kind=wrong,
            )
        self.name = "synthetic_streets"
        self.split = split
        self.label_space = label_spaces.get("camvid11")
        self.count = int(count)
        self.size = (int(size[0]), int(size[1]))
        self.seed = int(seed)

    def __len__(self) -> int:
        """Number of scenes."""
        return self.count

    def load(self, index: int) -> Sample:
        """Renders scene `index` (0..count-1).

        Raises:
            IndexError: If there is no such scene.
        """
        if not 0 <= index < self.count:
            raise IndexError(
                f"scene {index} of {self.count}: the index must be 0..{self.count - 1}."
            )
        rng = np.random.default_rng([_FAMILY, self.seed, SPLITS[self.split], index])
        image, mask = render_scene(rng, self.size)
        return Sample(image, mask, f"street_{self.split}_{self.seed}_{index:05d}")
