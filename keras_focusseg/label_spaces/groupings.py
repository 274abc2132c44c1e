"""Coarser classes from a fine labelling that stands on disk in colours: CamVid's 32 to 11."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from keras_focusseg.label_spaces.benchmarks import get, names, table
from keras_focusseg.label_spaces.label_space import IGNORE, LabelSpace, UnknownLabels

_TARGETS = {"camvid32": "camvid11"}
_UNKNOWN = -1


@dataclass(frozen=True)
class Grouping:
    """How the colours of a label image become the train ids of a label space.

    Attributes:
        name: Name of the grouping, such as "mathworks"; "none" keeps every class.
        source: The fine label space, such as "camvid32".
        names: Names of the fine classes, in the order of its table; void is among them.
        colors: The colour of each, (red, green, blue).
        train_ids: The class of `label_space` that each becomes, or 255 where it is ignored.
        label_space: What the train ids mean.

    Example:
        >>> import numpy as np
        >>> from keras_focusseg import label_spaces
        >>> groups = label_spaces.grouping("camvid32", "mathworks")
        >>> groups.to_train_ids(np.array([[[64, 128, 192], [0, 0, 0]]], "uint8"))
        array([[  8, 255]], dtype=uint8)

        SUVPickupTruck is a car, Void is ignored.
    """

    name: str
    source: str
    names: tuple[str, ...]
    colors: tuple[tuple[int, int, int], ...]
    train_ids: tuple[int, ...]
    label_space: LabelSpace

    def to_train_ids(
        self, colors: np.ndarray, where: str = "mask", max_stray: int = 0
    ) -> np.ndarray:
        """Maps the colours of a label image to train ids.

        Args:
            colors: (H, W, 3) uint8, RGB.
            where: What to call the image in an error, normally its path.
            max_stray: Up to so many pixels of colours that no class has are ignored.

        Returns:
            (H, W) uint8: 0..C-1, or 255 where ignored.

        Raises:
            UnknownLabels: A `ValueError`, if more pixels have a colour of no class; names colours
                and counts.
            ValueError: `colors` is no such array.
        """
        if colors.dtype != np.uint8 or colors.ndim != 3 or colors.shape[-1] != 3:
            raise ValueError(
                f"{where}: expected colours uint8 (H, W, 3), got {colors.dtype} {colors.shape}."
            )
        codes, train_ids = _sorted_codes(self.colors, self.train_ids)
        # Neighbours are mostly equal: looking up runs is several times faster than pixels.
        found = _code(colors).ravel()
        starts = np.flatnonzero(np.diff(found, prepend=~found[:1]))
        runs = found[starts]
        place = np.searchsorted(codes, runs).clip(max=len(codes) - 1)
        known = np.where(codes[place] == runs, train_ids[place], _UNKNOWN)
        lengths = np.diff(starts, append=found.size)
        result = np.repeat(known, lengths).reshape(colors.shape[:2])
        stray = result == _UNKNOWN
        if (count := int(stray.sum())) > max_stray:
            raise UnknownLabels(
                where,
                self._strays(colors[stray], count, stray.size),
                "Resizing with blending or JPEG compression makes such colours: restore the "
                "original label image.",
            )
        result[stray] = IGNORE
        return result.astype("uint8")

    def _strays(self, colors: np.ndarray, count: int, size: int) -> str:
        values, counts = np.unique(colors, axis=0, return_counts=True)
        order = np.argsort(-counts, kind="stable")
        listed = ", ".join(f"{tuple(values[i].tolist())} ({counts[i]})" for i in order[:5])
        more = f" and {len(order) - 5} other colours" if len(order) > 5 else ""
        return (
            f"{count} of {size} pixels have a colour that no class of {self.source!r} has: "
            f"{listed}{more}"
        )


@functools.cache
def grouping(name: str, how: str | None = None) -> Grouping:
    """A named way from the colours of a fine label space to train ids.

    CamVid has three in use that lead to its 11 classes, and they differ in what is ignored:

    - "segnet": what is baked into the 480x360 masks of the SegNet tutorial. Nine rare classes,
      bridges, children and cones among them, are ignored; the shoulder of a road is road.
    - "mathworks": that of MathWorks' CamVid example, which SERNet-Former's figures use. Every
      class but void has a place; the shoulder of a road is pavement.
    - "exact_colour": only the 11 head classes count, all others are ignored, lane markings too.

    Args:
        name: The fine label space: "camvid32".
        how: Name of the grouping; None keeps all classes: 31, void ignored.

    Returns:
        The grouping; its `label_space` is "camvid11", or "camvid32" for None.

    Raises:
        ValueError: If there is no such grouping.

    Example:
        >>> from keras_focusseg import label_spaces
        >>> groups = label_spaces.grouping("camvid32", "mathworks")
        >>> dict(zip(groups.names, groups.train_ids))["Bridge"]  # which is Building
        1
    """
    if name not in _TARGETS:
        raise ValueError(f"There are no groupings of {name!r}, only of {', '.join(_TARGETS)}.")
    content = table(name)
    classes = content["classes"]
    if how is None:
        space = get(name)
        train_ids = space.to_train_ids(np.array([c["index"] for c in classes])).tolist()
    elif how in content["groupings"]:
        space = get(_TARGETS[name])
        train_ids = [c[f"to{space.num_classes}_{how}"] for c in classes]
    else:
        raise ValueError(
            f"{name!r} has no grouping {how!r}; it has {', '.join(content['groupings'])}, and "
            "None for all of its classes."
        )
    return Grouping(
        name=how or "none",
        source=name,
        names=tuple(c["name"] for c in classes),
        colors=tuple(tuple(c["color"]) for c in classes),
        train_ids=tuple(train_ids),
        label_space=space,
    )


def by_color(space: LabelSpace) -> Grouping:
    """The way from the colours of a label space to its train ids, for masks drawn in them.

    Args:
        space: Classes with the colours that the masks show. The ignore colour is ignored, unless
            it is the colour of a class; a benchmark's own label space also brings the colours of
            the classes that it ignores.

    Returns:
        The grouping, which the readers of masks take as encoding.

    Raises:
        ValueError: If two classes have the same colour.

    Example:
        >>> import numpy as np
        >>> from keras_focusseg import label_spaces
        >>> space = label_spaces.from_names(["road", "car"], colors=[(128, 64, 128), (0, 0, 142)])
        >>> groups = label_spaces.by_color(space)
        >>> groups.to_train_ids(np.array([[[0, 0, 142], [0, 0, 0]]], "uint8"))
        array([[  1, 255]], dtype=uint8)
    """
    listed = list(zip(space.classes, space.colors, range(space.num_classes), strict=True))
    taken = set(space.colors)
    for name, color in [*_ignored_colors(space), (space.ignore_name, space.ignore_color)]:
        if color not in taken:
            listed.append((name, color, IGNORE))
            taken.add(color)
    return colors_to_ids(
        space,
        [name for name, _, _ in listed],
        [color for _, color, _ in listed],
        [train_id for _, _, train_id in listed],
    )


def colors_to_ids(
    space: LabelSpace,
    names: Sequence[str],
    colors: Sequence[tuple[int, int, int]],
    train_ids: Sequence[int],
) -> Grouping:
    """A grouping from lists.

    Args:
        space: What the train ids mean.
        names: What is drawn, one name a colour.
        colors: The colours.
        train_ids: What each becomes: 0..C-1, or 255 where it is ignored.

    Returns:
        The grouping, with name "colors".

    Raises:
        ValueError: If one colour would become two things.
    """
    first: dict[tuple[int, int, int], int] = {}
    for place, color in enumerate(colors):
        before = first.setdefault(color, place)
        if train_ids[before] != train_ids[place]:
            raise ValueError(
                f"{names[before]!r} and {names[place]!r} have the same colour {color}, so coloured "
                "masks cannot tell them apart. Give each class a colour of its own."
            )
    kept = sorted(first.values())
    return Grouping(
        name="colors",
        source=space.name,
        names=tuple(names[place] for place in kept),
        colors=tuple(colors[place] for place in kept),
        train_ids=tuple(train_ids[place] for place in kept),
        label_space=space,
    )


def _ignored_colors(space: LabelSpace) -> list[tuple[str, tuple[int, int, int]]]:
    """Names and colours that a benchmark draws but does not count."""
    if space.name not in names() or space != get(space.name):
        return []
    rows = table(space.name).get("raw", [])
    return [(row["name"], tuple(row["color"])) for row in rows if row["ignore"]]


def _code(colors: np.ndarray) -> np.ndarray:
    """One number a colour, so that colours can be compared and sorted."""
    red, green, blue = (colors[..., i].astype("uint32") for i in range(3))
    return (red << 16) | (green << 8) | blue


@functools.lru_cache(maxsize=16)
def _sorted_codes(
    colors: tuple[tuple[int, int, int], ...], train_ids: tuple[int, ...]
) -> tuple[np.ndarray, np.ndarray]:
    codes = _code(np.array(colors, "uint8"))
    order = np.argsort(codes)
    return codes[order], np.array(train_ids, "int16")[order]
