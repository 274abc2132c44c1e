"""The ways in which CamVid is packed, as rows of a table: what lies where, what masks say."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path, PureWindowsPath

import numpy as np

from keras_focusseg import label_spaces
from keras_focusseg.data.sources.base import inside, some
from keras_focusseg.data.sources.camvid_frames import AUTHOR, OFFICIAL, every_frame
from keras_focusseg.data.sources.layouts import Layout, levels, located
from keras_focusseg.data.sources.listing import entries, files_ending, folders_in, text_lines
from keras_focusseg.data.sources.tables import as_data_error, load_table
from keras_focusseg.errors import DataError
from keras_focusseg.label_spaces import Grouping, LabelSpace
from keras_focusseg.label_spaces.text import composed
from keras_focusseg.pictures.readers import SUFFIXES, mask_kind

GET = (
    "Restore what is missing; expected is one of: train/, trainannot/ and train.txt (SegNet, "
    "480x360); 701_StillsRaw_full/ with LabeledApproved_full/, as the CamVid page of the "
    "University of Cambridge has them; images/ with labels/, and lists train.txt, val.txt, "
    "test.txt or codes.txt and valid.txt; train/ with train_labels/ (Kaggle)."
)
_SPLITS = {split: split for split in OFFICIAL}
_TOGETHER = {"all": ""}
# Each way in which CamVid is packed; the first that is there counts.
COPIES = {
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


def _layouts(root: Path, kinds: Iterable[str]) -> dict[str, Layout]:
    """The rows of the table; that of SegNet with the splits that tools have named."""
    rows = {kind: COPIES[kind] for kind in kinds}
    if "segnet" in rows:
        splits = dict(_SPLITS)
        for base in (base for bases in levels(root) for base in bases):
            there = folders_in(base)
            own = (name.removesuffix("annot") for name in there if name.endswith("annot"))
            splits |= {name: name for name in own if name in there}
        rows["segnet"] = replace(rows["segnet"], splits=splits)
    return rows


def locate(root: Path, kinds: Sequence[str]) -> tuple[str, Path, Layout]:
    """Which copy it is, and where it lies.

    Raises:
        DataError: No copy is there, or one without lists and class table.
    """
    rows = _layouts(root, kinds)
    base, layout = located(root, list(rows.values()), "A copy of CamVid", GET)
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


def find(root: str | Path, kinds: Sequence[str]) -> tuple[str, Path, Layout] | None:
    """As `locate`, without any complaint."""
    try:
        return locate(Path(root).resolve(), kinds)
    except (OSError, ValueError):  # a `DataError` is a ValueError
        return None


def _kind_of(rows: dict[str, Layout], base: Path, layout: Layout, root: Path) -> str | None:
    """The row; `labels` beside `images` are the original frames unless something lists them."""
    if layout.masks != "labels":
        return next(kind for kind, row in rows.items() if row == layout)
    listed = list_files("listed", base, root) or (base / _CODES).is_file()
    kind = "listed" if listed else "renamed"
    return kind if kind in rows else None


def list_files(kind: str, base: Path, root: Path) -> dict[str, Path]:
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


def splits_of(kind: str, base: Path, layout: Layout, lists: dict[str, Path]) -> tuple[str, ...]:
    """The splits that a copy has by itself."""
    if kind in ("original", "renamed"):
        return (*OFFICIAL, *AUTHOR)
    if kind in ("segnet", "kaggle"):
        return tuple(dict.fromkeys([*layout.labeled(base), *lists]))
    if not lists:
        names = (re.sub(r"(_[LP])?\.png$", "", entry.name) for entry in entries(base / "labels"))
        return OFFICIAL if set(names) >= every_frame() else ("all",)
    there = {*lists} if "trainval" in lists else {*lists, "train"}
    single = [split for split in (*OFFICIAL, "trainval") if split in there]
    return tuple(split for split in single if split != "trainval" or "train" not in there)


def mask_ending(base: Path, root: Path, layout: Layout) -> str:
    """What the names of the masks end in: the first ending that occurs."""
    *others, last = layout.mask_endings
    return next((e for e in others if files_ending(base / layout.masks, root, e)), last)


def files_together(
    base: Path, root: Path, layout: Layout, ending: str
) -> tuple[tuple[Path, Path], dict[str, Path], dict[str, Path]]:
    """The files of all folders of a copy."""
    images: dict[str, Path] = {}
    masks: dict[str, Path] = {}
    for split in layout.labeled(base):
        folders, some_images, some_masks = layout.files(base, root, split, ending, GET)
        images, masks = images | some_images, masks | some_masks
    return folders, images, masks


def read_list(list_file: Path, ending: str) -> list[tuple[str, str]]:
    """Line and frame of each line of a list: an image, or an image and its mask.

    Raises:
        DataError: A line is neither.
    """
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


def check_classes(base: Path, root: Path) -> None:
    """Refuses a table of classes that is not CamVid's: its masks would mean something else.

    Raises:
        DataError: It is another table, or cannot be read.
    """
    groups = label_spaces.grouping("camvid32")
    known = dict(zip(groups.names, groups.colors, strict=True))
    for path in (base / name for name in ("class_dict.csv", _CODES)):
        if not path.is_file():
            continue
        found = load_table(inside(path, root))
        rows = zip(found.names, found.colors, strict=False)
        wrong = [(name, color) for name, color in rows if known.get(name) != color][:1]
        said = "".join(
            f"{name!r} has colour {color}; in CamVid it has {known.get(name, 'no place')}"
            for name, color in wrong
        )
        if path.name == _CODES and found.names != groups.names:
            pairs = itertools.zip_longest(found.names, groups.names, fillvalue="nothing")
            here, there = next(pair for pair in pairs if pair[0] != pair[1])
            said = (
                f"lists {len(found.names)} classes, CamVid has {len(groups.names)}; the first that "
                f"differs is {here!r} instead of {there!r}. Ids count the lines, so their order "
                "must be CamVid's"
            )
        if said:
            raise DataError(
                said,
                kind="class table that cannot be used",
                file=path,
                fix="Restore the file, or open other classes as 'folder' with a label space.",
            )


def classes_of(
    kind: str, base: Path, root: Path, groups: Grouping, ending: str, mask: Path
) -> tuple[LabelSpace, LabelSpace | Grouping, str]:
    """Label space, encoding on disk, and how to call it.

    Raises:
        DataError: The masks hold ids, and what they mean is not said.
    """
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
