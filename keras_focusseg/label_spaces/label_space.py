"""What the numbers in a mask mean: classes, colours and the way from ids on disk to train ids."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

IGNORE = 255
"""The label of ignored pixels inside the library, whatever number a benchmark uses on disk."""


class UnknownLabels(ValueError):
    """A mask holds numbers or colours that are neither classes nor ignored.

    Args:
        where: What was read, normally a path.
        found: Which ones, and on how many pixels.
        fix: What to do, as sentences.

    Attributes:
        found: Which ones, and on how many pixels.
        fix: What to do.
    """

    def __init__(self, where: str, found: str, fix: str) -> None:
        super().__init__(f"{where}: {found}. {fix}")
        self.found, self.fix = found, fix


@dataclass(frozen=True)
class LabelSpace:
    """The classes of a dataset and how its masks number them.

    Inside the library, class `k` is always the train id `k` (0..C-1) and an ignored pixel is
    always `IGNORE` (255). On disk other numbers are in use; `ids` and `ignored_ids` say which.

    Args:
        name: Short name, e.g. "camvid11".
        classes: Names of the C classes in train-id order, 1 <= C <= 255.
        colors: One (red, green, blue) triple a class, 0..255.
        ids: The number that stands for each class on disk, 0..255. Empty: 0..C-1.
        ignored_ids: Numbers on disk that mean "no class here"; they all become 255.
        ignore_name: What the dataset calls those pixels.
        ignore_color: Their colour in pictures.

    Raises:
        ValueError: If the parts contradict each other.

    Example:
        >>> import numpy as np
        >>> from keras_focusseg import label_spaces
        >>> colors = ((128, 64, 128), (0, 0, 142))
        >>> space = label_spaces.LabelSpace("toy", ("road", "car"), colors, ids=(7, 26))
        >>> space.to_train_ids(np.array([[7, 26, 255]], "uint8"))
        array([[  0,   1, 255]], dtype=uint8)
    """

    name: str
    classes: tuple[str, ...]
    colors: tuple[tuple[int, int, int], ...]
    ids: tuple[int, ...] = ()
    ignored_ids: tuple[int, ...] = (IGNORE,)
    ignore_name: str = "void"
    ignore_color: tuple[int, int, int] = (0, 0, 0)

    def __post_init__(self) -> None:
        count = len(self.classes)
        # JSON knows lists only: bring them back to the tuples that equality and hashing need.
        for field, value in {
            "classes": tuple(str(name) for name in self.classes),
            "colors": tuple(_color(color, self.name) for color in self.colors),
            "ids": tuple(int(i) for i in self.ids) or tuple(range(count)),
            "ignored_ids": tuple(sorted({int(i) for i in self.ignored_ids})),
            "ignore_color": _color(self.ignore_color, self.name),
        }.items():
            object.__setattr__(self, field, value)
        if not 1 <= count <= IGNORE:
            raise ValueError(
                f"Label space {self.name!r} has {count} classes; 1 to {IGNORE} are possible, "
                f"since masks are 8-bit and {IGNORE} means ignored."
            )
        for field in ("colors", "ids"):
            if len(getattr(self, field)) != count:
                raise ValueError(
                    f"Label space {self.name!r} has {count} classes but "
                    f"{len(getattr(self, field))} {field}: one is needed for each class."
                )
        _refuse_duplicates(self.classes, f"classes of label space {self.name!r}")
        _refuse_duplicates(self.ids, f"ids of label space {self.name!r}")
        if both := sorted({*self.ids} & {*self.ignored_ids}):
            raise ValueError(
                f"The id {both[0]} of label space {self.name!r} means "
                f"{self.classes[self.ids.index(both[0])]!r} and ignored pixels at once: leave it "
                f"out of ignored_ids, which are {list(self.ignored_ids)}, or of ids."
            )
        outside = [i for i in self.ids + self.ignored_ids if not 0 <= i <= 255]
        if outside:
            raise ValueError(f"Ids of label space {self.name!r} must be 0..255, got {outside}.")

    @property
    def num_classes(self) -> int:
        """Number of classes C, ignored pixels not counted."""
        return len(self.classes)

    def first_difference(self, other: LabelSpace) -> int | None:
        """The first class that is another one in `other`; `None` where both have the same ones.

        The order counts; upper and lower case, spaces and punctuation in the names do not.

        Args:
            other: Another label space.

        Example:
            >>> from keras_focusseg import label_spaces
            >>> one = label_spaces.from_names(["road", "traffic sign", "car"])
            >>> one.first_difference(label_spaces.from_names(["Road", "Traffic-Sign", "Car"]))
            >>> one.first_difference(label_spaces.from_names(["road", "car", "traffic sign"]))
            1
        """
        for number, names in enumerate(itertools.zip_longest(self.classes, other.classes)):
            if len({None if name is None else _letters(name) for name in names}) == 2:
                return number
        return None

    def palette(self) -> np.ndarray:
        """Colour of each train id.

        Returns:
            (256, 3) uint8: row k is class k, row 255 the ignore colour, the rest black.
        """
        palette = np.zeros((256, 3), "uint8")
        palette[: self.num_classes] = self.colors
        palette[IGNORE] = self.ignore_color
        return palette

    def to_train_ids(self, raw: np.ndarray, where: str = "mask") -> np.ndarray:
        """Maps the numbers on disk to train ids.

        Args:
            raw: Integers (H, W) (or any shape) as they stand in the file.
            where: What to call the mask in an error, normally its path.

        Returns:
            uint8 of the same shape: 0..C-1, or 255 where ignored.

        Raises:
            UnknownLabels: A `ValueError`, if a number is neither a class nor ignored; names it, its
                count and `where`.
            ValueError: `raw` does not hold integers.
        """
        raw = np.asarray(raw)
        if raw.dtype == bool:
            raw = raw.astype("uint8")
        if raw.dtype.kind not in "ui":
            raise ValueError(f"{where}: a mask holds integers, got {raw.dtype}.")
        table = _lookup_table(self.ids, self.ignored_ids)
        if raw.dtype == np.uint8:
            train_ids = table[raw]
        else:
            inside = (raw >= 0) & (raw <= 255)
            train_ids = np.where(inside, table[np.where(inside, raw, 0)], _UNKNOWN)
        if train_ids.size and train_ids.min() < 0:
            values, counts = np.unique(raw[train_ids < 0], return_counts=True)
            found = self._unknown_ids(values, counts, raw.size)
            fix = "Correct the mask, or use the label space that it was made for."
            raise UnknownLabels(where, found, fix)
        return train_ids.astype("uint8")

    def _unknown_ids(self, values: np.ndarray, counts: np.ndarray, size: int) -> str:
        found = ", ".join(
            f"{value} ({count} of {size} pixels)"
            for value, count in list(zip(values.tolist(), counts.tolist(), strict=True))[:5]
        )
        more = f" and {len(values) - 5} other values" if len(values) > 5 else ""
        ignored = _ranges(self.ignored_ids) or "no number"
        return (
            f"id {found}{more} is not in label space {self.name!r}, where {_ranges(self.ids)} are "
            f"classes and {ignored} is ignored"
        )

    def to_config(self) -> dict[str, Any]:
        """All fields as plain values that `json` can write."""
        return {
            key: [list(v) if isinstance(v, tuple) else v for v in value]
            if isinstance(value, tuple)
            else value
            for key, value in asdict(self).items()
        }

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> LabelSpace:
        """The label space that `to_config` described."""
        return cls(**config)


def from_names(
    names: Sequence[str],
    colors: Sequence[Sequence[int]] | None = None,
    ids: Sequence[int] = (),
    ignored_ids: Iterable[int] = (IGNORE,),
    name: str = "custom",
    ignore_name: str = "void",
    ignore_color: Sequence[int] = (0, 0, 0),
) -> LabelSpace:
    """Describes the classes of your own data.

    Args:
        names: Class names in train-id order.
        colors: One RGB triple a class; None chooses colours that differ well, always the same
            ones for the same number of classes.
        ids: The number of each class in your masks; empty means 0, 1, 2, ...
        ignored_ids: Numbers in your masks that mean "no class here".
        name: Name of the label space.
        ignore_name: What to call the ignored pixels.
        ignore_color: Colour of the ignored pixels in pictures.

    Returns:
        The label space.

    Raises:
        ValueError: `names` is no list, or the values do not fit each other.

    Example:
        >>> from keras_focusseg import label_spaces
        >>> label_spaces.from_names(["background", "crack"], ids=[0, 128]).num_classes
        2
    """
    if isinstance(names, str):
        raise ValueError(f"names must be a list of class names, got the single string {names!r}.")
    # A dict's numbers would be lost, and a set has no order.
    if isinstance(names, (Mapping, set, frozenset)):
        raise ValueError(
            f"names must be a list of class names in train-id order, got a {type(names).__name__}; "
            "their numbers in the masks go into ids."
        )
    return LabelSpace(
        name=name,
        classes=tuple(names),
        colors=tuple(_color(c, name) for c in colors)
        if colors is not None
        else distinct_colors(len(names), avoid=(_color(ignore_color, name),)),
        ids=tuple(ids),
        ignored_ids=tuple(ignored_ids),
        ignore_name=ignore_name,
        ignore_color=_color(ignore_color, name),
    )


def check_label_space(value: Any) -> None:
    """Refuses what is no label space, such as its name or a list of classes.

    Raises:
        ValueError: It is something else.
    """
    if not isinstance(value, LabelSpace):
        raise ValueError(
            "label_space must be a LabelSpace, such as label_spaces.get and from_names give; got "
            f"{value!r:.80}."
        )


def distinct_colors(
    count: int, avoid: Sequence[tuple[int, int, int]] = ((0, 0, 0),)
) -> tuple[tuple[int, int, int], ...]:
    """Colours that are far from each other to the eye, the same ones in every run.

    Greedy: each next colour is the one farthest, in the Oklab space (Ottosson 2020), from all
    those already taken, out of a grid of 7 x 7 x 7 colours.

    Args:
        count: How many, 0..255.
        avoid: Colours that are taken already.

    Returns:
        `count` triples of 0..255.
    """
    steps = np.linspace(0, 255, 7).round()
    grid = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), -1).reshape(-1, 3)
    points = _oklab(grid)
    taken = _oklab(np.array(avoid, float).reshape(-1, 3))
    # White is left out as well: it vanishes on a light page.
    taken = np.concatenate([taken, _oklab(np.full((1, 3), 255.0))])
    distance = np.linalg.norm(points[:, None] - taken[None], axis=-1).min(axis=1)
    chosen: list[tuple[int, int, int]] = []
    for _ in range(count):
        best = int(distance.argmax())
        red, green, blue = (int(v) for v in grid[best])
        chosen.append((red, green, blue))
        distance = np.minimum(distance, np.linalg.norm(points - points[best], axis=-1))
    return tuple(chosen)


_UNKNOWN = -1


@functools.lru_cache(maxsize=64)
def _lookup_table(ids: tuple[int, ...], ignored_ids: tuple[int, ...]) -> np.ndarray:
    table = np.full(256, _UNKNOWN, "int16")
    table[list(ids)] = np.arange(len(ids))
    table[list(ignored_ids)] = IGNORE
    table.setflags(write=False)
    return table


def _color(color: Sequence[int], space: str) -> tuple[int, int, int]:
    try:
        values = tuple(int(v) for v in color)
        whole = all(v == value for v, value in zip(color, values, strict=True))
    except (TypeError, ValueError):  # a name, or #ff0000
        values, whole = (), False
    if len(values) != 3 or not whole or not all(0 <= v <= 255 for v in values):
        raise ValueError(
            f"Colours of label space {space!r} are 3 whole numbers 0..255, got {color!r}."
        )
    return values[0], values[1], values[2]


def _letters(name: str) -> str:
    """Letters and digits of a name, upper and lower case alike."""
    return "".join(letter for letter in name.casefold() if letter.isalnum())


def _refuse_duplicates(values: Sequence[Any], what: str) -> None:
    twice = sorted({value for value in values if values.count(value) > 1})
    if twice:
        raise ValueError(f"The {what} must differ, these appear twice: {twice}.")


def _ranges(ids: Sequence[int]) -> str:
    """`0..10, 255` for the ids 0 to 10 and 255."""
    parts: list[list[int]] = []
    for i in sorted(ids):
        if parts and i == parts[-1][1] + 1:
            parts[-1][1] = i
        else:
            parts.append([i, i])
    return ", ".join(str(a) if a == b else f"{a}..{b}" for a, b in parts)


def _oklab(rgb: np.ndarray) -> np.ndarray:
    """sRGB 0..255 (N, 3) to Oklab (N, 3), by the matrices of Ottosson 2020."""
    values = rgb / 255.0
    linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    cones = linear @ np.array(
        [
            [0.4122214708, 0.2119034982, 0.0883024619],
            [0.5363325363, 0.6806995451, 0.2817188376],
            [0.0514459929, 0.1073969566, 0.6299787005],
        ]
    )
    return np.cbrt(cones) @ np.array(
        [
            [0.2104542553, 1.9779984951, 0.0259040371],
            [0.7936177850, -2.4285922050, 0.7827717662],
            [-0.0040720468, 0.4505937099, -0.8086757660],
        ]
    )
