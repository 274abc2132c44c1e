"""CamVid in each of the ways in which people have it: a table of copies, and one body."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path, PureWindowsPath
from typing import Any

import numpy as np

from keras_focusseg import label_spaces
from keras_focusseg.data.errors import DataError
from keras_focusseg.data.sources.base import Source, existing_folder, inside, some
from keras_focusseg.data.sources.camvid_frames import (
    AUTHOR,
    KNOWN_STRAY,
    OFFICIAL,
    check_frames,
    choose_sequences,
    every_frame,
    holds_frames,
    split_frames,
)
from keras_focusseg.data.sources.layouts import Layout, first_masks, levels, located, spotted
from keras_focusseg.data.sources.listing import entries, files_ending, folders_in, text_lines
from keras_focusseg.data.sources.pairs import (
    RESTORE,
    PairSource,
    listed_pairs,
    pair_count,
    paired,
    split_parts,
)
from keras_focusseg.data.sources.readers import SUFFIXES, mask_kind
from keras_focusseg.data.sources.tables import as_data_error, load_table
from keras_focusseg.label_spaces import Grouping, LabelSpace
from keras_focusseg.label_spaces.text import composed

_GET = (
    "Restore what is missing; expected is one of: train/, trainannot/ and train.txt (SegNet, "
    "480x360); 701_StillsRaw_full/ with LabeledApproved_full/, as the CamVid page of the "
    "University of Cambridge has them; images/ with labels/, and lists train.txt, val.txt, "
    "test.txt or codes.txt and valid.txt; train/ with train_labels/ (Kaggle)."
)
_SPLITS = {split: split for split in OFFICIAL}
_TOGETHER = {"all": ""}
# Each way in which CamVid is packed; the first that is there counts.
_COPIES = {
    "segnet": Layout("{}annot", ("{}",), _SPLITS, ".*", (".*",)),
    "kaggle": Layout("{}_labels", ("{}",), _SPLITS, mask_endings=("_L.png",)),
    "listed": Layout("labels", ("images",), _TOGETHER, mask_endings=("_L.png", "_P.png", ".png")),
    "original": Layout(
        "LabeledApproved_full", ("701_StillsRaw_full",), _TOGETHER, mask_endings=("_L.png",)
    ),
    "renamed": Layout("labels", ("images",), _TOGETHER, mask_endings=("_L.png",)),
}
_LISTS = {"train": "train", "val": "val", "valid": "val", "test": "test", "trainval": "trainval"}
_CODES, _COLORS = "codes.txt", "label_colors.txt"

_KAGGLES = {"train": 369, "val": 100, "test": 232}
_NEIGHBOURS = "so that neighbouring video frames lie on both sides"
_OTHER_SPLIT = "scores do not compare with those on the official split"


class _CamVid(PairSource):
    """The body of the sources below, which differ in the copies that they open."""

    kinds: tuple[str, ...]

    def _open(
        self,
        root: str | Path,
        split: str,
        grouping: str | None,
        sequences: Sequence[str] | None,
        exclude_sequences: Sequence[str],
        strict: bool,
        official_split: bool = False,
    ) -> None:
        with as_data_error("option that is not possible"):
            groups = label_spaces.grouping("camvid32", grouping)
        self.root = existing_folder(root, "the CamVid folder").resolve()
        self.split = split
        kind, base, layout = _locate(self.root, self.kinds)
        lists = _list_files(kind, base, self.root)
        known = OFFICIAL if official_split else _splits(kind, base, layout, lists)
        parts = split_parts(split, known, "This copy of CamVid")
        if 0 < sum(part in AUTHOR for part in parts) < len(parts):
            raise DataError(
                f"CamVid: {split!r} joins splits of two families, which overlap",
                kind="split that is not there",
            )
        if kind in ("kaggle", "listed"):
            _check_classes(base, self.root)
        ending = _mask_ending(base, self.root, layout)
        left_out: list[Path] = []
        self.unpaired, collected = left_out, None if strict else left_out
        by_heart = official_split or not (lists or kind in ("segnet", "kaggle"))
        if kind in ("segnet", "kaggle") and not official_split:
            found = {part: layout.files(base, self.root, part, ending, _GET) for part in parts}
        else:
            found = dict.fromkeys(parts, _together(base, self.root, layout, ending))
        self.pairs = []
        for part, (folders, images, masks) in found.items():
            if by_heart and part != "all":
                names = [("", frame) for frame in split_frames(part)]
                check_frames({*images, *masks}, [part], folders[0])
            elif part in lists:
                names = _read_list(lists[part], ending)
            elif kind == "listed" and part == "train":  # fastai lists the others alone
                others = {f for path in lists.values() for _, f in _read_list(path, ending)}
                rest = sorted({*images, *masks} - others)
                names = [("", frame) for frame in rest]
            else:
                self.pairs += paired(images, masks, folders, RESTORE, collected)
                continue
            list_file = lists.get(part, folders[0])
            self.pairs += listed_pairs(names, images, masks, folders, list_file, collected)
            if kind == "segnet" and not official_split:
                for folder, files in zip(folders, (images, masks), strict=True):
                    _refuse_unlisted(files, names, folder, list_file, collected)
        self._refuse_twice(base)
        frames = {name for name, _, _ in self.pairs}
        self.pairs = choose_sequences(self.pairs, sequences, exclude_sequences, split)
        self.label_space, self.encoding, said = _classes(
            kind, base, self.root, groups, ending, self.pairs[0][2]
        )
        self.layout = f"{_what(kind, ending, lists, official_split)} ({said}), "
        self.layout += pair_count(self.pairs, left_out)
        if kind != "segnet":
            self.note = f"{said.removeprefix('label images in ')}, grouping {groups.name!r}"
            self.note += _split_note(kind, parts, frames, lists)

    def _refuse_twice(self, base: Path) -> None:
        names = [name for name, _, _ in self.pairs]
        if not names:
            raise DataError(
                f"split {self.split!r} has no frame with image and mask",
                kind="empty split",
                file=base,
            )
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise DataError(
                f"{len(twice)} frames stand twice in {self.split!r}: {some(twice)}",
                kind="file that is listed twice",
                file=base,
                fix="Correct the lists or folders.",
            )

    @classmethod
    def recognises(cls, root: str | Path) -> bool:
        """Whether such a copy of CamVid's frames lies there; never raises."""
        found = _find(root, cls.kinds)
        return found is not None and holds_frames(first_masks(found[1:]))

    @classmethod
    def splits(cls, root: str | Path) -> tuple[str, ...]:
        """The splits that have masks there."""
        found = _find(root, cls.kinds)
        if found is None:
            return ()
        kind, base, layout = found
        try:
            top = Path(root).resolve()
            if kind in ("original", "renamed"):
                there = set(files_ending(base / layout.masks, top, "_L.png"))
                return tuple(split for split in OFFICIAL if there.issuperset(split_frames(split)))
            lists = _list_files(kind, base, top)
            splits = _splits(kind, base, layout, lists)
            labelled = layout.labelled(base)
            return tuple(s for s in splits if kind != "segnet" or s in labelled)
        except DataError:
            return ()


class CamVid(_CamVid):
    """CamVid (Brostow et al. 2008), the 480x360 copy with 11 classes of the SegNet tutorial.

    Expected below the root, for each split: images `train/*.png`, masks `trainannot/*.png` with
    0..10 = class and 11 = void, and the list `train.txt` with an image and a mask a line. The
    lists carry the paths of their author's machine (`/SegNet/CamVid/train/x.png`): only the file
    names in them count, and nothing outside the root is read. Copies without a list are paired by
    name. The official splits have 367 (train), 101 (val) and 233 (test) frames. A frame's sequence
    is its name up to the first "_".

    Trees of this form with coloured masks, as CVAT exports them as "CamVid 1.0", are read by their
    colours: in the classes of `label_colors.txt`, or where that is CamVid's own table or absent,
    in the 11 classes that SegNet made of CamVid's 32.

    Args:
        root: folder that holds the lists, or one or two above.
        split: "train", "val" or "test", or several joined by "+", as in "train+val"; CVAT calls
            its only one "default".
        sequences: keep only frames of these sequences, e.g. ("0001TP",); None keeps all.
        exclude_sequences: leave out frames of these sequences. Neighbouring frames are nearly
            equal, so holding out a whole sequence is the honest check for choices.
        strict: whether a file that is not listed, or listed and missing, is an error, or left out
            and listed in `unpaired`.

    Raises:
        DataError: if a folder, list or file is missing, a file is not listed, or no frame stays.

    Example:
        ```python
        train = CamVid("camvid", exclude_sequences=("0001TP",))
        held_out = CamVid("camvid", sequences=("0001TP",))
        ```
    """

    name = "camvid"
    kinds = ("segnet",)

    def __init__(
        self,
        root: str | Path,
        split: str = "train",
        sequences: Sequence[str] | None = None,
        exclude_sequences: Sequence[str] = (),
        *,
        strict: bool = True,
    ) -> None:
        self._open(root, split, "segnet", sequences, exclude_sequences, strict)


class _LabelImages(_CamVid):
    """Copies whose masks have 32 classes."""

    name = "camvid720"
    max_stray: int

    def max_stray_of(self, name: str) -> int:
        """`max_stray`, or more for the one frame that is known to need it."""
        return max(self.max_stray, KNOWN_STRAY.get(name, 0))


class CamVid720(_LabelImages):
    """CamVid (Brostow et al. 2008/2009) at its own size: 701 frames of 720x960, 32 colours.

    Expected in the root, or in a folder of it: `701_StillsRaw_full/{frame}.png` with
    `LabeledApproved_full/{frame}_L.png`, or `images/{frame}.png` with `labels/{frame}_L.png`.

    The official splits are those of the SegNet tutorial: "train" (367 frames), "val" (101) and
    "test" (233). A second family repeats the random partition behind the figures that
    SERNet-Former's author published: "author_random_train" (421 frames),
    "author_random_test" (the 231 frames of his list "Checkpoint") and "author_random_rest" (49).
    It mixes the frames of all sequences, so nearly every test frame has a neighbour of a second
    later or earlier in training. **A score on it does not compare with one on the official
    split**; `note` says so.

    Args:
        root: folder that the dataset lies in.
        split: one name, or several of the same family joined by "+", as in "train+val".
        grouping: which of the 32 classes become which of the 11, see `label_spaces.grouping`:
            "mathworks" (SERNet-Former's), "segnet" or "exact_colour"; None keeps 31 classes.
        sequences: keep only frames of these sequences, e.g. ("0001TP",); None keeps all.
        exclude_sequences: leave out frames of these sequences.
        max_stray: up to so many pixels of a label image may have a colour that no class has;
            they are ignored, more are an error. Frame Seq05VD_f02610 is known to have 175 of
            them, which are always ignored.
        strict: whether an image or label image without partner is an error, or left out and
            listed in `unpaired`.

    Raises:
        DataError: if a folder or a frame of the split is missing, an image or label image has no
            partner, a frame is none of CamVid's, or no frame stays.

    Example:
        ```python
        train = CamVid720("CamVid", "train", grouping="mathworks")
        ```
    """

    kinds = ("original", "renamed")

    def __init__(
        self,
        root: str | Path,
        split: str = "train",
        grouping: str | None = "mathworks",
        sequences: Sequence[str] | None = None,
        exclude_sequences: Sequence[str] = (),
        max_stray: int = 0,
        *,
        strict: bool = True,
    ) -> None:
        self.max_stray = max_stray
        self._open(root, split, grouping, sequences, exclude_sequences, strict)


class CamVidCopy(_LabelImages):
    """CamVid (Brostow et al. 2008/2009) as Kaggle, fastai and others have packed it.

    Expected in the root, or at most two folders below, one of

    - Kaggle's: `{train,val,test}/{frame}.png` with `{train,val,test}_labels/{frame}_L.png`, in 32
      colours, and `class_dict.csv`;
    - with lists: `images/{frame}.png`, `labels/{frame}_L.png` in 32 colours, and `train.txt`,
      `val.txt` and `test.txt` (or `.lst`, or in a folder `list`) with an image and a label image
      a line, or an image alone;
    - fastai's: `images/{frame}.png`, `labels/{frame}_P.png` with ids 0..31 in the order of
      `codes.txt`, and `valid.txt`; what does not stand there is for training.

    **Splits** are those of the copy. Where they are not CamVid's official ones, `note` says so:
    Kaggle's is a random split of 369, 100 and 232 frames, so frames of the same second lie on both
    sides, and fastai's training frames hold the official test split. All of these copies have all
    701 frames, so `official_split=True` gives the official ones.

    Args:
        root: folder that the copy lies in.
        split: "train", "val", "test", or several joined by "+"; "all" for fastai's small copy,
            which has no list.
        grouping: how 32 classes become 11, see `label_spaces.grouping`: "segnet", "mathworks" or
            "exact_colour"; None keeps 31 classes.
        official_split: split by the frames of the official lists, wherever they lie in the copy.
        sequences: keep only frames of these sequences, e.g. ("0001TP",); None keeps all.
        exclude_sequences: leave out frames of these sequences.
        max_stray: up to so many pixels of a label image may have a colour that no class has.
        strict: whether a file without partner is an error, or left out and listed in `unpaired`.

    Raises:
        DataError: if there is no such copy, a file of the split is missing or has no partner, or
            the copy's table of classes is not CamVid's.

    Example:
        ```python
        test = CamVidCopy("CamVid", "test", official_split=True)
        ```
    """

    kinds = ("kaggle", "listed")

    def __init__(
        self,
        root: str | Path,
        split: str = "train",
        grouping: str | None = "segnet",
        official_split: bool = False,
        sequences: Sequence[str] | None = None,
        exclude_sequences: Sequence[str] = (),
        max_stray: int = 0,
        *,
        strict: bool = True,
    ) -> None:
        self.max_stray = max_stray
        self._open(root, split, grouping, sequences, exclude_sequences, strict, official_split)


_SOURCES = (CamVid, CamVidCopy, CamVid720)


def open_camvid(root: str | Path, split: str = "train", **options: Any) -> Source:
    """CamVid's 11 classes from whichever copy lies in the root.

    The SegNet tutorial's copy opens as `CamVid`, with its 11 classes; Kaggle's, fastai's and those
    with lists as `CamVidCopy`; the original archives as `CamVid720`. Where the masks have 32
    classes, they become the 11 as SegNet's have them, unless `grouping` says otherwise. If several
    copies lie there, the first in this order counts.

    Args:
        root: folder that the copy lies in.
        split: see the class.
        **options: further arguments of the class, such as `sequences`, `grouping`,
            `official_split` and `strict`.

    Returns:
        The source; its `layout` says what was found.

    Raises:
        DataError: if no copy lies there, it is damaged, or it has no such option.

    Example:
        ```python
        train = open_camvid("CamVid", "train")
        print(train.layout)
        ```
    """
    kind, _, _ = _locate(existing_folder(root, "the CamVid folder").resolve(), tuple(_COPIES))
    opener = next(c for c in _SOURCES if kind in c.kinds)
    if opener is CamVid:
        # Its masks have these baked in.
        if options.pop("grouping", "segnet") != "segnet" or options.pop("max_stray", 0):
            raise DataError(
                "this is SegNet's copy, whose masks hold 11 classes, so grouping and max_stray do "
                "not apply",
                kind="option that is not possible",
                file=root,
                fix="Leave them out, or open label images in 32 colours.",
            )
    elif opener is CamVid720:
        options.setdefault("grouping", "segnet")
    if opener is not CamVidCopy:
        options.pop("official_split", None)  # they have no other
    return opener(root, split, **options)


def camvid_splits(root: str | Path) -> tuple[str, ...]:
    """The splits that `open_camvid` can open there, single names."""
    found = _find(root, tuple(_COPIES))
    opener = next(
        (c for c in (CamVid, CamVidCopy, CamVid720) if found and found[0] in c.kinds), None
    )
    return opener.splits(root) if opener else ()


def recognises_camvid(root: str | Path) -> bool:
    """Whether any copy of CamVid lies there; never raises."""
    return any(copy.recognises(root) for copy in _SOURCES)


def _layouts(root: Path, kinds: Iterable[str]) -> dict[str, Layout]:
    """The rows of the table; that of SegNet with the splits that tools have named."""
    rows = {kind: _COPIES[kind] for kind in kinds}
    if "segnet" in rows:
        splits = dict(_SPLITS)
        for base in (base for bases in levels(root) for base in bases):
            there = folders_in(base)
            own = (name.removesuffix("annot") for name in there if name.endswith("annot"))
            splits |= {name: name for name in own if name in there}
        rows["segnet"] = replace(rows["segnet"], splits=splits)
    return rows


def _locate(root: Path, kinds: Sequence[str]) -> tuple[str, Path, Layout]:
    """Which copy it is, and where it lies."""
    rows = _layouts(root, kinds)
    base, layout = located(root, list(rows.values()), "A copy of CamVid", _GET)
    kind = _kind_of(rows, base, layout, root)
    if kind is None:
        raise DataError(
            f"images and labels are there, but no list of a split ({some(_LISTS, 9)} with suffix "
            f".txt) and no {_CODES}",
            kind="list that is not there",
            file=base,
            fix="Open label images in 32 colours as CamVid720, which knows the official splits.",
        )
    return kind, base, rows[kind]


def _find(root: str | Path, kinds: Sequence[str]) -> tuple[str, Path, Layout] | None:
    """As `_locate`, without any complaint."""
    try:
        top = Path(root).resolve()
        rows = _layouts(top, kinds)
        found = spotted(top, list(rows.values()))
        kind = _kind_of(rows, *found, top) if found else None
        folders = [found[1].images[0].format(name) for name in found[1].splits] if found else []
        there = found and any((found[0] / folder).is_dir() for folder in folders)
        return (kind, found[0], rows[kind]) if found and kind and there else None
    except (OSError, ValueError):  # a `DataError` is a ValueError
        return None


def _kind_of(rows: dict[str, Layout], base: Path, layout: Layout, root: Path) -> str | None:
    """The row; `labels` beside `images` are the original frames unless something lists them."""
    if layout.masks != "labels":
        return next(kind for kind, row in rows.items() if row == layout)
    listed = _list_files("listed", base, root) or (base / _CODES).is_file()
    kind = "listed" if listed else "renamed"
    return kind if kind in rows else None


def _list_files(kind: str, base: Path, root: Path) -> dict[str, Path]:
    """The list of each split that has one."""
    found: dict[str, Path] = {}
    if kind == "segnet":
        found = {p.stem: p for p in sorted(base.glob("*.txt")) if (base / p.stem).is_dir()}
    elif kind == "listed":
        folders = [base, base / "list", base / "lists"]
        if base != root:
            folders.append(base.parent / "list" / base.name)  # PIDNet's: list/camvid/train.lst
        for name, split in _LISTS.items():
            for path in (f / f"{name}{end}" for f in folders for end in (".txt", ".lst")):
                if path.is_file():
                    found.setdefault(split, path)
    return {split: inside(path, root) for split, path in found.items()}


def _splits(kind: str, base: Path, layout: Layout, lists: dict[str, Path]) -> tuple[str, ...]:
    """The splits that a copy has by itself."""
    if kind in ("original", "renamed"):
        return (*OFFICIAL, *AUTHOR)
    if kind in ("segnet", "kaggle"):
        return tuple(dict.fromkeys([*layout.labelled(base), *lists]))
    if not lists:
        names = (re.sub(r"(_[LP])?\.png$", "", entry.name) for entry in entries(base / "labels"))
        return OFFICIAL if set(names) >= every_frame() else ("all",)
    there = {*lists} if "trainval" in lists else {*lists, "train"}
    single = [split for split in (*OFFICIAL, "trainval") if split in there]
    return tuple(split for split in single if split != "trainval" or "train" not in there)


def _mask_ending(base: Path, root: Path, layout: Layout) -> str:
    """What the names of the masks end in: the first ending that occurs."""
    *others, last = layout.mask_endings
    return next((e for e in others if files_ending(base / layout.masks, root, e)), last)


def _together(
    base: Path, root: Path, layout: Layout, ending: str
) -> tuple[tuple[Path, Path], dict[str, Path], dict[str, Path]]:
    """The files of all folders of a copy."""
    images: dict[str, Path] = {}
    masks: dict[str, Path] = {}
    for split in layout.labelled(base):
        folders, some_images, some_masks = layout.files(base, root, split, ending, _GET)
        images, masks = images | some_images, masks | some_masks
    return folders, images, masks


def _read_list(list_file: Path, ending: str) -> list[tuple[str, str]]:
    """Line and frame of each line of a list: an image, or an image and its mask."""
    names = []
    for number, line in text_lines(list_file):
        quoted = re.findall(r'"([^"]*)"|([^\s,;]+)', line)
        # Windows' rules understand both kinds of slash.
        columns = [PureWindowsPath(one or other).name for one, other in quoted]
        stems = [composed(_stem(column)) for column in columns]
        wanted = stems[0] + (ending[:-4] if ending != ".*" else "")
        wrong = f"got {len(columns)} columns: {line[:100]!r}" if len(columns) > 2 else ""
        if len(stems) == 2 and stems[1] != wanted:
            wrong = f"{columns[1]!r} is not the mask of {columns[0]!r}, which is called {wanted!r}"
        if wrong:
            raise DataError(
                wrong,
                kind="line of a list that is wrong",
                file=list_file,
                part=f"line {number}",
                expected="an image, or an image and its mask",
                fix="Correct the line.",
            )
        names.append((f"line {number}", stems[0]))
    return names


def _stem(name: str) -> str:
    stem, dot, suffix = name.rpartition(".")
    return stem if f"{dot}{suffix}".lower() in SUFFIXES else name


def _refuse_unlisted(
    files: dict[str, Path],
    names: Sequence[tuple[str, str]],
    folder: Path,
    list_file: Path,
    left_out: list[Path] | None,
) -> None:
    unlisted = sorted(set(files) - {name for _, name in names})
    if left_out is not None:
        left_out += [files[name] for name in unlisted]
    elif unlisted:
        shown = some(files[name].name for name in unlisted)
        raise DataError(
            f"{len(unlisted)} of {len(files)} pictures are not in {list_file}: {shown}",
            kind="file without partner",
            file=folder,
            fix="Add them to the list, or move them away.",
        )


def _check_classes(base: Path, root: Path) -> None:
    """Refuse a table of classes that is not CamVid's: its masks would mean something else."""
    groups = label_spaces.grouping("camvid32")
    known = dict(zip(groups.names, groups.colors, strict=True))
    for path in (base / name for name in ("class_dict.csv", _CODES)):
        if not path.is_file():
            continue
        found = load_table(inside(path, root))
        if path.name == _CODES and found.names != groups.names:
            here, there = (
                next((n for n, o in zip(a, (*b, *[""] * 256), strict=False) if n != o), "nothing")
                for a, b in ((found.names, groups.names), (groups.names, found.names))
            )
            raise DataError(
                f"lists {len(found.names)} classes, CamVid has {len(groups.names)}; the first that "
                f"differs is {here!r} instead of {there!r}. Ids count the lines, so their order "
                "must be CamVid's",
                kind="class table that cannot be used",
                file=path,
                fix="Open other classes as 'folder' with a label space.",
            )
        for name, color in zip(found.names, found.colors, strict=bool(found.colors)):
            if known.get(name) != color:
                raise DataError(
                    f"{name!r} has colour {color}; in CamVid it has {known.get(name, 'no place')}",
                    kind="class table that cannot be used",
                    file=path,
                    fix="Restore the file, or open other classes as 'folder'.",
                )


def _classes(
    kind: str, base: Path, root: Path, groups: Grouping, ending: str, mask: Path
) -> tuple[LabelSpace, LabelSpace | Grouping, str]:
    """Label space, encoding on disk, and how to call it."""
    drawn = mask_kind(mask)
    if kind in ("original", "renamed"):
        return groups.label_space, groups, "label images in 32 colours"
    if kind == "kaggle" or ending == "_L.png":
        return groups.label_space, groups, "32 colours"
    if kind == "listed":
        if ending == ".png" and drawn != "ids":
            return groups.label_space, groups, "32 colours"
        if not (base / _CODES).is_file():
            raise DataError(
                f"labels/*{ending} hold ids, and {_CODES}, which says what they mean, is not there",
                kind="class table that is not there",
                file=base,
                fix="Restore it, or open the folder as 'folder' with a label space.",
            )
        return groups.label_space, _ids_to_groups(groups), "32 ids"
    path = base / _COLORS
    if drawn in ("ids", "") or (drawn == "palette" and not path.is_file()):
        space = label_spaces.get("camvid11")
        return space, space, "ids 0..10, 11 void"
    if path.is_file():
        table = load_table(inside(path, root))
        camvids = dict(zip(groups.names, groups.colors, strict=True)).items()
        if not set(zip(table.names, table.colors, strict=False)) <= set(camvids):
            with as_data_error("class table that cannot be used", path):
                return table.label_space(), table.grouping(), f"colours of {_COLORS}"
    return groups.label_space, groups, f"32 colours, grouping {groups.name!r}"


def _what(kind: str, ending: str, lists: dict[str, Path], official: bool) -> str:
    """What was found, for `layout`."""
    if kind == "segnet":
        return f"SegNet's copy with {'lists' if lists else 'no lists'}"
    if kind in ("original", "renamed"):
        return f"{_COPIES[kind].images[0]} with {_COPIES[kind].masks}"
    names = some((path.name for path in lists.values()), 9)
    what = {
        "kaggle": "Kaggle's folders",
        "listed": f"images with labels/*{ending}, {f'lists {names}' if lists else 'no lists'}",
    }[kind]
    return f"{what}, official split" if official else what


def _split_note(kind: str, parts: Sequence[str], frames: set[str], lists: dict[str, Path]) -> str:
    """What to say of splits that are not the official ones."""
    if any(part in AUTHOR for part in parts):
        return f"; random split over all sequences, {_NEIGHBOURS}: {_OTHER_SPLIT}"
    official = {part: set(split_frames(part)) for part in OFFICIAL}
    official["trainval"] = official["train"] | official["val"]
    wanted = set().union(*(official.get(part, set()) for part in parts))
    if frames == wanted:
        return ""
    if frames <= wanted:
        return f"; {len(frames)} of the {len(wanted)} frames of the official split: {_OTHER_SPLIT}"
    counts = [len(frames)] == [_KAGGLES.get(part, 0) for part in parts]
    if kind == "kaggle" and counts:
        why = f"split at random over all sequences, as Kaggle's folders are, {_NEIGHBOURS}"
    elif parts == ["all"]:
        why = "no split at all"
    else:
        why = f"split by {some((path.name for path in lists.values()), 9) or 'its folders'}"
    leaks = len(frames & official["test"]) if "test" not in parts else 0
    tested = f", and it holds {leaks} of the official test split's frames" if leaks else ""
    return f"; {why}{tested}: {_OTHER_SPLIT}"


@dataclass(frozen=True)
class _GroupedIds(LabelSpace):
    """CamVid's 32 ids on disk, which become the classes of a grouping."""

    group_of: tuple[int, ...] = ()

    def to_train_ids(self, raw: np.ndarray, where: str = "mask") -> np.ndarray:
        """Ids 0..31, and 255, to the train ids of the grouping; see `LabelSpace.to_train_ids`."""
        table = np.full(256, label_spaces.IGNORE, "uint8")
        table[: len(self.group_of)] = self.group_of
        return table[super().to_train_ids(raw, where)]


def _ids_to_groups(groups: Grouping) -> _GroupedIds:
    fine = label_spaces.get("camvid32")
    train_id = dict(zip(groups.names, groups.train_ids, strict=True))
    group_of = tuple(train_id[name] for name in fine.classes)
    return _GroupedIds(**{f.name: getattr(fine, f.name) for f in fields(fine)}, group_of=group_of)
