"""Decide how people's masks are to be read: by id, by palette index or by colour."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from keras_focusseg import label_spaces
from keras_focusseg.data.sources.base import some
from keras_focusseg.data.sources.tables import as_data_error
from keras_focusseg.errors import DataError
from keras_focusseg.label_spaces import IGNORE, Grouping, LabelSpace
from keras_focusseg.label_spaces.class_tables import ClassTable
from keras_focusseg.label_spaces.discovery import DISCOVERED
from keras_focusseg.pictures.contents import (
    Color,
    MaskContent,
    Progress,
    count_colors,
    count_ids,
    mask_contents,
)

_UNDECIDED = "masks that can be read in two ways"
ENCODINGS = ("auto", "ids", "palette", "colors")

MOST_IDS = 150
"""More ids than that without a table are taken for grey pictures; ADE20K has 150."""

CITYSCAPES = re.compile(r"_gt(?:Fine|Coarse)_(labelIds|labelTrainIds|color|instance\w*)$")
"""What the names of Cityscapes' masks end in."""

_ADE20K = re.compile(r"ADE_(train|val)_\d{8}")
_PROBES = 16
SPREAD = 50
"""So far beyond their number, ids may be grey levels; beside a 255 they are, and it is one too."""


class Reading(NamedTuple):
    """How masks are read.

    Attributes:
        label_space: What the train ids mean.
        encoding: That, or the way from colours to it.
        said: In a few words what was decided, and from what.
    """

    label_space: LabelSpace
    encoding: LabelSpace | Grouping
    said: str


def read_as_told(
    masks: Sequence[Path], space: LabelSpace, encoding: str, strict: bool = True
) -> Reading:
    """How to read masks whose label space is given: by number unless the masks are coloured.

    A few of them are looked at. If `strict`, coloured masks of quite other colours, and masks of
    nothing but 0 and 255 where 255 means ignored, are an error here, else when loaded.

    Raises:
        DataError: What the masks hold does not fit the label space.
    """
    try:
        by_color = label_spaces.by_color(space)
    except ValueError as error:
        if encoding == "colors":
            raise DataError(str(error), kind=_UNDECIDED) from error
        by_color = None
    probes = _probes(masks) if strict else _of_most(_probes(masks))
    how = _chosen(masks, probes, space, by_color, encoding, f"label space {space.name!r}")
    if how == "colors":
        if strict:
            _refuse_strangers(masks, probes, by_color, space)
        return Reading(space, by_color or space, f"coloured masks in the colours of {space.name!r}")
    if strict:
        _refuse_two_levels(masks, probes, space)
    kind = "palette masks" if how == "palette" else "id masks"
    return Reading(space, space, f"{kind}, label space {space.name!r}")


def read_by_names(masks: Sequence[Path], encoding: str, strict: bool = True) -> Reading | None:
    """How to read the masks of a benchmark that lie in other folders than its own.

    Names such as `ADE_val_00000001` and `aachen_000000_000019_gtFine_labelIds` tell it; None if
    they do not, or the ids are not its.
    """
    space = _by_name(masks)
    if space is None or not _fits(_probes(masks), space):
        return None
    told = read_as_told(masks, space, encoding, strict)
    return told._replace(said=f"{told.said} by the names of the files")


def _by_name(masks: Sequence[Path]) -> LabelSpace | None:
    stems = [path.stem for path in masks]
    if all(map(_ADE20K.fullmatch, stems)):
        return label_spaces.get("ade20k")
    kinds = {match[1] if (match := CITYSCAPES.search(stem)) else "" for stem in stems}
    space = label_spaces.get("cityscapes")
    if kinds == {"labelTrainIds"}:
        return replace(space, ids=(), ignored_ids=(IGNORE,))
    return space if kinds in ({"labelIds"}, {"color"}) else None


def _fits(probes: Sequence[MaskContent], space: LabelSpace) -> bool:
    if any(content.kind == "colors" for content in probes):
        return space.name == "cityscapes" and _fits_colors(probes, label_spaces.by_color(space))
    return _fits_ids(probes, space)


def read_by_table(
    masks: Sequence[Path], table: ClassTable, encoding: str, strict: bool = True
) -> Reading:
    """How to read masks with the class table that lies beside them: by number or by colour.

    Whichever fits the table; grey levels count as colours. A few masks are looked at.

    Raises:
        DataError: The masks are coloured, and the table has no colours.
    """
    with as_data_error("class table that cannot be used", table.path):
        space = table.label_space()
        by_color = table.grouping() if table.has_colors or encoding == "colors" else None
    probes = _probes(masks) if strict else _of_most(_probes(masks))
    named = table.path.name
    how = _chosen(masks, probes, space, by_color, encoding, named)
    if how == "colors":
        if by_color is None:
            raise DataError(
                f"the masks are coloured, but {table.path} has no colours",
                kind="class table that cannot be used",
                file=masks[0],
                fix="Add the columns r, g and b to it (name,r,g,b).",
            )
        said = f"coloured masks, {len(by_color.colors)} colours from {named}"
        return Reading(by_color.label_space, by_color, said)
    grays = _by_gray(space, by_color) if how == "ids" and encoding == "auto" else None
    if grays is not None and _fits_ids(probes, grays) and not _fits_rows(probes, table, space):
        return Reading(grays, grays, f"masks of grey levels, {_classes(grays)} from {named}")
    if strict:
        _refuse_two_levels(masks, probes, space)
    kind = "palette masks" if how == "palette" else "id masks"
    return Reading(space, space, f"{kind}, {_classes(space)} from {named}")


def read_as_found(
    masks: Sequence[Path], encoding: str, progress: Progress | None = None, strict: bool = True
) -> Reading:
    """How to read masks that come without any table: every one is looked at.

    Classes are "class_0", ... of the ids that occur, in the colours of the palette if there is one,
    or the colours that occur, named as far as `label_spaces.name_colors` can. A mask that cannot be
    read is an error if `strict`, else left out here.

    Raises:
        DataError: No mask can be read, or the masks hold ids where colours were asked for.
    """
    contents = mask_contents(masks, progress, strict)
    if not contents:
        raise _none_readable(masks)
    if not strict:
        contents = _of_most(contents)
    kinds = {content.kind for content in contents}
    _refuse_mixed(masks, kinds, encoding, contents)
    palette = _common_palette(contents)
    by_color = encoding == "colors" or "colors" in kinds or (encoding == "auto" and not palette)
    if by_color and kinds != {"ids"}:
        return _discovered_colors(masks, contents)
    if encoding == "colors":
        raise DataError(
            "encoding='colors', but the masks have one channel of numbers",
            kind="ids where colours are expected",
            file=masks[0],
            fix="Say encoding='ids'.",
        )
    return _discovered_ids(masks, contents, palette or {})


def _none_readable(masks: Sequence[Path]) -> DataError:
    """What is wrong with masks none of which can be read, as the first of them has it."""
    try:
        mask_contents(masks[:1])
    except DataError as first:
        fault, fix = f"; the first, {masks[0].name}: {first.fault}", first.fix
    else:  # mended in between
        fault, fix = "", ""
    return DataError(
        f"none of the {len(masks)} masks can be read{fault}",
        kind="broken mask",
        file=masks[0].parent,
        fix=fix,
    )


def _discovered_colors(masks: Sequence[Path], contents: Sequence[MaskContent]) -> Reading:
    found = count_colors(contents)
    groups = label_spaces.name_colors(found)
    named = "" if groups.label_space.name == DISCOVERED else f" ({groups.label_space.name})"
    said = f"coloured masks, {len(found)} colours{named} discovered in {len(masks)} masks"
    return Reading(groups.label_space, groups, said)


def _discovered_ids(
    masks: Sequence[Path], contents: Sequence[MaskContent], palette: dict[int, Color]
) -> Reading:
    counts = count_ids(contents)
    found = sorted(counts)
    classes = [number for number in found if number != IGNORE]
    if found[-1] > IGNORE or found[0] < 0:
        wrong = found[-1] if found[-1] > IGNORE else found[0]
        raise DataError(
            f"the masks hold the id {wrong} ({counts[wrong]} pixels); ids are 0 to {IGNORE}",
            kind="ids outside the table",
            file=masks[0].parent,
            fix="Number the classes 0, 1, 2, ... and save 8 bits.",
        )
    if len(classes) > MOST_IDS:
        raise DataError(
            f"the masks hold {len(classes)} ids, more than {MOST_IDS}, and look like grey pictures",
            kind=_UNDECIDED,
            file=masks[0].parent,
            fix="If they are masks, give label_space= or a class table.",
        )
    if IGNORE in found and (classes in ([], [0]) or classes[-1] > len(classes) + SPREAD):
        raise _gray_levels(masks[0].parent, found, counts)
    colors = [palette[number] for number in classes] if palette else []
    space = label_spaces.from_names(
        [f"class_{number}" for number in classes],
        colors=colors if len(set(colors)) == len(classes) else None,
        ids=classes,
        name=DISCOVERED,
    )
    kind = "palette masks" if palette else "id masks"
    return Reading(space, space, f"{kind}, {_classes(space)} discovered in {len(masks)} masks")


def _gray_levels(folder: Path, found: Sequence[int], counts: Counter[int]) -> DataError:
    total = sum(counts.values())
    shares = ", ".join(f"{number} ({counts[number] / total:.1%})" for number in found[:6])
    names = ["background", *[f"object_{i}" if len(found) > 2 else "object" for i in found[1:]]]
    rows = " / ".join(f"{name},{i},{i},{i}" for name, i in zip(names[:3], found[:3], strict=False))
    return DataError(
        f"the masks hold {shares}, and by convention 255 means ignored, so nothing would be left "
        "to learn or a class would be missing",
        kind="masks of black and white",
        file=folder,
        fix="If 255 is a class here, put a class_dict.csv beside the folder of masks with the lines"
        f" name,r,g,b / {rows}; or say label_space=label_spaces.from_names({names[: len(found)]},"
        f" ids={list(found)}, ignored_ids=[]).",
    )


def _chosen(
    masks: Sequence[Path],
    probes: Sequence[MaskContent],
    space: LabelSpace,
    by_color: Grouping | None,
    encoding: str,
    named: str,
) -> str:
    """What masks of known classes are read by: "ids", "palette" or "colors"."""
    kinds = {content.kind for content in probes}
    _refuse_mixed(masks, kinds, encoding, probes)
    if encoding != "auto":
        return encoding
    if "colors" in kinds:
        return "colors"
    if "palette" not in kinds:
        return "ids"
    if by_color is None or not _fits_colors(probes, by_color):
        return "palette"
    if not _fits_ids(probes, space):
        return "colors"
    for content in probes:
        for index, color in content.palette.items():
            one = space.ids.index(index) if index in space.ids else IGNORE
            other = by_color.train_ids[by_color.colors.index(color)]
            if one != other:
                raise DataError(
                    f"the masks are palette files that can be read in two ways, and {named} allows "
                    f"both: index {index} is {_class_name(space, one)}, its colour {color} is "
                    f"{_class_name(space, other)}",
                    kind=_UNDECIDED,
                    file=masks[0].parent,
                    fix="Say encoding='ids' or encoding='colors'.",
                )
    return "palette"


def _refuse_mixed(
    masks: Sequence[Path], kinds: set[Any], encoding: str, contents: Sequence[MaskContent]
) -> None:
    if encoding not in ENCODINGS:
        raise DataError(
            f"encoding is {encoding!r}; it can be {some(ENCODINGS)}",
            kind="option that is not possible",
        )
    folder = masks[0].parent if masks else None
    wrong = {"palette": kinds - {"palette"}, "auto": set(), "ids": kinds & {"colors"}}
    if found := wrong.get(encoding, set()):
        raise DataError(
            f"encoding={encoding!r}, but some masks are of another kind ({some(sorted(found))})",
            kind="masks of different kinds",
            file=folder,
            fix="Say encoding='auto' to let the masks decide.",
        )
    if "ids" in kinds and len(kinds) > 1 and encoding != "ids":
        counted = Counter(content.kind for content in contents)
        listed = ", ".join(f"{count} of {kind}" for kind, count in sorted(counted.items()))
        raise DataError(
            f"the masks are of different kinds: {listed}",
            kind="masks of different kinds",
            file=folder,
            fix="Save all in one way, or say encoding='ids' if a palette's indices are ids too.",
        )


def _refuse_two_levels(
    masks: Sequence[Path], probes: Sequence[MaskContent], space: LabelSpace
) -> None:
    """Refuses black and white masks whose white would be ignored, so that no object is left."""
    suspected = {0, IGNORE}
    if (
        space.num_classes > 1
        and IGNORE in space.ignored_ids
        and set(count_ids(probes)) == suspected
        and set(counts := count_ids(mask_contents(masks, strict=False))) == suspected
    ):
        raise _gray_levels(masks[0].parent, [0, IGNORE], counts)


def _refuse_strangers(
    masks: Sequence[Path],
    probes: Sequence[MaskContent],
    by_color: Grouping | None,
    space: LabelSpace,
) -> None:
    found = count_colors(probes)
    if by_color is None or found and not set(found) & set(by_color.colors):
        listed = ", ".join(str(color) for color, _ in found.most_common(3))
        raise DataError(
            f"the masks are coloured ({listed}), and label space {space.name!r} has none of these "
            "colours, or gives one to two classes",
            kind="colours outside the table",
            file=masks[0].parent,
            fix="Say which colours the classes have, as in label_spaces.from_names([...], "
            "colors=[...]), or leave label_space out, so that they are looked for.",
        )


def _probes(masks: Sequence[Path]) -> list[MaskContent]:
    """A few masks, evenly spaced; broken ones are named when they are loaded."""
    places = np.unique(np.linspace(0, len(masks) - 1, _PROBES).round().astype(int))
    return mask_contents([masks[place] for place in places], strict=False) if masks else []


def _of_most(contents: list[MaskContent]) -> list[MaskContent]:
    """Those of the kind that most have; masks of another kind are named when they are loaded."""
    ids = [content for content in contents if content.kind == "ids"]
    others = [content for content in contents if content.kind != "ids"]
    return ids if len(ids) >= len(others) else others


def _by_gray(space: LabelSpace, by_color: Grouping | None) -> LabelSpace | None:
    """The label space in which grey colours are ids, if all colours are grey."""
    if by_color is None or any(len(set(color)) > 1 for color in by_color.colors):
        return None
    rows = zip(by_color.colors, by_color.train_ids, strict=True)
    ignored = tuple(gray for (gray, _, _), train_id in rows if train_id == IGNORE)
    return replace(space, ids=tuple(gray for gray, _, _ in space.colors), ignored_ids=ignored)


def _common_palette(contents: Sequence[MaskContent]) -> dict[int, Color] | None:
    """The colour of each index, or None if files disagree or some have no palette."""
    common: dict[int, Color] = {}
    for content in contents:
        if content.kind != "palette":
            return None
        for index, color in content.palette.items():
            if common.setdefault(index, color) != color:
                return None
    return common


def _fits_ids(probes: Sequence[MaskContent], space: LabelSpace) -> bool:
    known = {*space.ids, *space.ignored_ids}
    return all(known.issuperset(content.ids) for content in probes)


def _fits_rows(probes: Sequence[MaskContent], table: ClassTable, space: LabelSpace) -> bool:
    """Whether all ids are in the table itself: that 255 is ignored is only a convention."""
    listed = {*table.ids, *(space.ids if table.stored else ())}
    return _fits_ids(probes, space) and all(listed.issuperset(c.ids) for c in probes)


def _fits_colors(probes: Sequence[MaskContent], groups: Grouping) -> bool:
    known = set(groups.colors)
    return all(known.issuperset(content.colors) for content in probes)


def _class_name(space: LabelSpace, train_id: int) -> str:
    return "ignored" if train_id == IGNORE else repr(space.classes[train_id])


def _classes(space: LabelSpace) -> str:
    return f"{space.num_classes} class{'es' if space.num_classes != 1 else ''}"
