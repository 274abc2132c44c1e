"""CamVid as Kaggle, fastai and PIDNet's users have it, and `open_camvid`, which tells all apart."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path, PureWindowsPath
from typing import Any

import numpy as np

from keras_focusseg import label_spaces
from keras_focusseg.data.errors import DataError
from keras_focusseg.data.sources.base import Source, existing_folder, inside, some
from keras_focusseg.data.sources.camvid import (
    CamVid,
    choose_sequences,
    holds_frames,
    similar,
    text_lines,
)
from keras_focusseg.data.sources.camvid720 import (
    KNOWN_STRAY,
    OFFICIAL,
    CamVid720,
    check_frames,
    split_frames,
)
from keras_focusseg.data.sources.pairs import (
    Pair,
    PairSource,
    entries,
    folder_pairs,
    listing,
    located,
    mask_kind,
    pair_count,
    paired,
    split_parts,
    spotted,
)
from keras_focusseg.data.sources.readers import SUFFIXES

_KAGGLE = [f"{split}_labels" for split in OFFICIAL]
_LISTS = {"train": "train", "val": "val", "valid": "val", "test": "test", "trainval": "trainval"}
_CODES = "codes.txt"
_RESTORE = "Restore the missing files, or move their partners away."
_LAYOUTS = (
    "Expected one of: train/, trainannot/ and train.txt (SegNet, 480x360); 701_StillsRaw_full/ "
    "with LabeledApproved_full/; images/ with labels/, and lists train.txt, val.txt, test.txt or "
    "codes.txt and valid.txt; train/ with train_labels/ (Kaggle)."
)
_OTHER_SPLIT = "scores do not compare with those on the official split"


class CamVidCopy(PairSource):
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

    name = "camvid720"

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
        self.root = existing_folder(root, "the CamVid folder").resolve()
        self.split = split
        self.max_stray = max_stray
        try:
            groups = label_spaces.grouping("camvid32", grouping)
        except ValueError as error:
            raise DataError(str(error)) from error
        self.label_space = groups.label_space
        left_out: list[Path] = []
        self.unpaired = left_out
        kind, base = _locate(self.root)
        collected = None if strict else left_out
        if kind == "kaggle":
            wanted = OFFICIAL if official_split else [part.strip() for part in split.split("+")]
            copy = _kaggle(base, self.root, wanted, collected)
        else:
            copy = _listed(base, self.root, collected)
        if official_split:
            copy = _officially(copy, split, left_out, base)
        parts = split_parts(split, tuple(copy.parts), "This copy of CamVid")
        self.encoding = _ids_to_groups(groups) if copy.ids else groups
        frames = [frame for part in parts for frame in copy.parts[part]]
        if twice := sorted({frame for frame in frames if frames.count(frame) > 1}):
            raise DataError(
                f"{base}: {len(twice)} frames stand twice in {split!r}: {some(twice)}. "
                "Correct the lists or folders."
            )
        chosen = [copy.frames[frame] for frame in frames if frame in copy.frames]
        if not chosen:
            raise DataError(f"{base}: split {split!r} has no frame with image and mask.")
        self.pairs = choose_sequences(chosen, sequences, exclude_sequences, split)
        what = "ids" if copy.ids else "colours"
        self.note = f"32 {what}, grouping {groups.name!r}{_split_note(copy, parts)}"
        self.layout = f"{copy.what} (32 {what}), {pair_count(self.pairs, left_out)}"

    def max_stray_of(self, name: str) -> int:
        """`max_stray`, or more for the one frame that is known to need it."""
        return max(self.max_stray, KNOWN_STRAY.get(name, 0))

    @classmethod
    def recognises(cls, root: str | Path) -> bool:
        """Whether such a copy of CamVid's frames lies there; never raises."""
        found = _find(root)
        return found is not None and holds_frames(found[1])

    @classmethod
    def splits(cls, root: str | Path) -> tuple[str, ...]:
        """The copy's own splits that have masks there."""
        found = _find(root)
        if found is None:
            return ()
        kind, masks = found
        base = masks.parent
        if kind == "kaggle":
            return tuple(
                s for s in OFFICIAL if (base / s).is_dir() and (base / f"{s}_labels").is_dir()
            )
        lists = _list_files(base, Path(root).resolve())
        if lists:
            return _known(lists)
        try:
            files = {re.sub(r"(_[LP])?\.png$", "", entry.name) for entry in entries(masks)}
        except DataError:
            return ()
        return OFFICIAL if files >= _every_frame() else ("all",)


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
    folder = existing_folder(root, "the CamVid folder")
    kind = _class_for(folder)
    if kind is None:
        there = some((entry.name for entry in entries(folder)), 9) or "nothing"
        raise DataError(f"{folder}: no copy of CamVid is there; found {there}. {_LAYOUTS}")
    if kind is CamVid:
        # Its masks have these baked in.
        if options.pop("grouping", "segnet") != "segnet" or options.pop("max_stray", 0):
            raise DataError(
                f"{folder}: this is SegNet's copy, whose masks hold 11 classes and no colours, so "
                "grouping and max_stray do not apply. Leave them out, or open label images in 32 "
                "colours."
            )
    elif kind is CamVid720:
        options.setdefault("grouping", "segnet")
    if kind is not CamVidCopy:
        options.pop("official_split", None)  # they have no other
    return kind(folder, split, **options)


def camvid_splits(root: str | Path) -> tuple[str, ...]:
    """The splits that `open_camvid` can open there, single names."""
    kind = _class_for(Path(root))
    return kind.splits(root) if kind else ()


def recognises_camvid(root: str | Path) -> bool:
    """Whether any copy of CamVid lies there; never raises."""
    return any(kind.recognises(root) for kind in (CamVid, CamVidCopy, CamVid720))


def _class_for(root: Path) -> type[CamVid] | type[CamVid720] | type[CamVidCopy] | None:
    """Whose layout it is, whatever the frames are called."""
    if spotted(root, [f"{split}annot" for split in OFFICIAL]):
        return CamVid
    if _find(root):
        return CamVidCopy
    if spotted(root, ["LabeledApproved_full", "labels"]):
        return CamVid720
    lists = any((root / f"{split}.txt").is_file() for split in OFFICIAL)
    return CamVid if lists else None  # which says what is missing


@dataclass(frozen=True)
class _Copy:
    """What was found in a copy.

    Attributes:
        frames: image and mask of each frame that has both.
        parts: frames of each split that the copy has; some may lack a file that was left out.
        ids: whether masks hold ids, not colours.
        what: what was found, for `layout`.
        why: how it is split, for `note`.
    """

    frames: dict[str, Pair]
    parts: dict[str, list[str]]
    ids: bool
    what: str
    why: str


def _find(root: str | Path) -> tuple[str, Path] | None:
    """The kind of copy, and a folder of its masks; never raises."""
    masks = spotted(root, _KAGGLE)
    if masks and (masks.parent / masks.name.removesuffix("_labels")).is_dir():
        return "kaggle", masks
    masks = spotted(root, ["labels"])
    if masks and (masks.parent / "images").is_dir():
        lists = _list_files(masks.parent, Path(root).resolve())
        if lists or (masks.parent / _CODES).is_file():
            return "listed", masks
    return None


def _locate(root: Path) -> tuple[str, Path]:
    """The kind of copy, and the folder that it lies in."""
    found = _find(root)
    folders = [*_KAGGLE, "labels"] if found is None else [found[1].name]
    base, _ = located(root, folders, "A copy of CamVid", _LAYOUTS)
    if found is None:
        raise DataError(
            f"{base}: images and labels are there, but no list of a split ({some(_LISTS, 9)} with "
            f"suffix .txt) and no {_CODES}. Open label images in 32 colours as CamVid720, which "
            "knows the official splits."
        )
    return found[0], base


def _list_files(base: Path, root: Path) -> dict[str, Path]:
    """The list of each split that has one."""
    folders = [base, base / "list", base / "lists"]
    if base != root:
        folders.append(base.parent / "list" / base.name)  # PIDNet's: list/camvid/train.lst
    found: dict[str, Path] = {}
    for name, split in _LISTS.items():
        for path in (folder / f"{name}{end}" for folder in folders for end in (".txt", ".lst")):
            if path.is_file() and split not in found:
                found[split] = path
    return found


def _known(lists: dict[str, Path]) -> tuple[str, ...]:
    """Splits that a copy with these lists has, single ones."""
    names = {*lists, "train"} if "trainval" not in lists else set(lists)
    if "train" in names:
        names.discard("trainval")
    return tuple(split for split in (*OFFICIAL, "trainval") if split in names)


def _kaggle(base: Path, root: Path, wanted: Sequence[str], left_out: list[Path] | None) -> _Copy:
    """Kaggle's folders: those of the wanted splits are read."""
    _check_classes(base, root)
    there = [s for s in OFFICIAL if (base / s).is_dir() or (base / f"{s}_labels").is_dir()]
    frames: dict[str, Pair] = {}
    parts: dict[str, list[str]] = {}
    for part in there:
        if part not in wanted:
            parts[part] = []
            continue
        pairs = folder_pairs(
            base / part,
            base / f"{part}_labels",
            root,
            (".png", "_L.png"),
            _RESTORE,
            left_out=left_out,
        )
        parts[part] = [pair[0] for pair in pairs]
        frames |= {pair[0]: pair for pair in pairs}
    why = (
        "split at random over all sequences, as Kaggle's folders are, so that neighbouring video "
        "frames lie on both sides"
    )
    return _Copy(frames, parts, False, "Kaggle's folders", why)


def _listed(base: Path, root: Path, left_out: list[Path] | None) -> _Copy:
    """Folders `images` and `labels`, with lists that decide."""
    images, masks = base / "images", base / "labels"
    ending, ids = _mask_ending(base, masks, root)
    if ids and not (base / _CODES).is_file():
        raise DataError(
            f"{base}: labels/*{ending} hold ids, and {_CODES}, which says what they mean, is not "
            "there. Restore it, or open the folder as 'folder' with a label space."
        )
    _check_classes(base, root)
    pairs = paired(
        listing(images, root, ".png"),
        listing(masks, root, ending),
        (images, masks),
        _RESTORE,
        left_out,
    )
    frames = {pair[0]: pair for pair in pairs}
    lists = _list_files(base, root)
    halves = {path.stem.removesuffix(ending[:-4]) for path in left_out or ()}
    parts = {
        part: _listed_frames(inside(path, root), set(frames) | halves, ending, (images, masks))
        for part, path in lists.items()
    }
    what = f"images with labels/*{ending}"
    if not lists:
        if set(frames) >= _every_frame():
            parts = {part: split_frames(part) for part in OFFICIAL}
            return _Copy(frames, parts, ids, f"{what}, no lists", "")
        return _Copy(frames, {"all": sorted(frames)}, ids, f"{what}, no lists", "no split at all")
    if "train" not in parts and "trainval" not in parts:
        elsewhere = {frame for part in parts.values() for frame in part}
        parts["train"] = sorted(set(frames) - elsewhere)
    names = some((path.name for path in lists.values()), 9)
    return _Copy(frames, parts, ids, f"{what}, lists {names}", f"split by {names}")


def _mask_ending(base: Path, masks: Path, root: Path) -> tuple[str, bool]:
    """What the names of the masks end in, and whether they hold ids."""
    for ending, ids in (("_L.png", False), ("_P.png", True)):
        if listing(masks, root, ending):
            return ending, ids
    files = listing(masks, root, ".png")
    if not files:
        raise DataError(
            f"{masks}: no label image there; looked for names that end in _L.png (32 colours) or "
            f"_P.png (ids). {_LAYOUTS}"
        )
    return ".png", mask_kind(next(iter(files.values()))) == "ids"


def _check_classes(base: Path, root: Path) -> None:
    """Refuse a table of classes that is not CamVid's: its masks would mean something else."""
    groups = label_spaces.grouping("camvid32")
    for name in ("class_dict.csv", _CODES):
        path = base / name
        if not path.is_file():
            continue
        try:
            found = label_spaces.load_table(inside(path, root))
        except ValueError as error:
            raise error if isinstance(error, DataError) else DataError(str(error)) from error
        if name == _CODES and found.names != groups.names:
            here, there = (
                next((n for n, o in zip(a, (*b, *[""] * 256), strict=False) if n != o), "nothing")
                for a, b in ((found.names, groups.names), (groups.names, found.names))
            )
            raise DataError(
                f"{path}: lists {len(found.names)} classes, CamVid has {len(groups.names)}; the "
                f"first that differs is {here!r} instead of {there!r}. Ids count the lines, so "
                "their order must be CamVid's. Open other classes as 'folder' with a label space."
            )
        known = dict(zip(groups.names, groups.colors, strict=True))
        for class_name, color in zip(found.names, found.colors, strict=bool(found.colors)):
            if known.get(class_name) != color:
                raise DataError(
                    f"{path}: {class_name!r} has colour {color}; in CamVid it has "
                    f"{known.get(class_name, 'no place')}. Restore the file, or open other "
                    "classes as 'folder'."
                )


def _listed_frames(
    list_file: Path, there: set[str], ending: str, folders: tuple[Path, Path]
) -> list[str]:
    """The frames of a list, in its order."""
    frames: list[str] = []
    for number, line in text_lines(list_file):
        columns = [PureWindowsPath(column).name for column in re.split(r"[\s,;]+", line)]
        if len(columns) > 2:
            raise DataError(
                f"{list_file}, line {number}: expected an image, or an image and its label image, "
                f"got {len(columns)} columns: {line[:100]!r}."
            )
        frame = _stem(columns[0])
        if len(columns) == 2 and _stem(columns[1]) != f"{frame}{ending[:-4]}":
            raise DataError(
                f"{list_file}, line {number}: {columns[1]!r} is not the label image of "
                f"{columns[0]!r}; expected '{frame}{ending}'. Correct the line."
            )
        if frame not in there:
            raise DataError(
                f"{list_file}, line {number}: {columns[0]!r} is listed, but {folders[0].name}/"
                f"{frame}.png and {folders[1].name}/{frame}{ending} are not there."
                f"{similar(frame, there)} Restore the files or delete the line."
            )
        if frame in frames:
            raise DataError(
                f"{list_file}, line {number}: {columns[0]!r} is listed twice. Delete one line."
            )
        frames.append(frame)
    return frames


def _stem(name: str) -> str:
    stem, dot, suffix = name.rpartition(".")
    return stem if f"{dot}{suffix}".lower() in SUFFIXES else name


def _officially(copy: _Copy, split: str, left_out: list[Path], base: Path) -> _Copy:
    """The copy, split by the official lists."""
    parts = split_parts(split, OFFICIAL, "CamVid")
    halves = {re.sub(r"_[LP]$", "", path.stem) for path in left_out}
    check_frames(set(copy.frames) | halves, parts, base)
    official = {part: split_frames(part) for part in OFFICIAL}
    return _Copy(copy.frames, official, copy.ids, f"{copy.what}, official split", copy.why)


def _split_note(copy: _Copy, parts: list[str]) -> str:
    """What to say of splits that are not the official ones."""
    official = {part: set(split_frames(part)) for part in OFFICIAL}
    official["trainval"] = official["train"] | official["val"]
    if all(set(copy.parts[part]) == official.get(part) for part in parts):
        return ""
    leaks = sum(frame in official["test"] for p in parts if p != "test" for frame in copy.parts[p])
    tested = f", and it holds {leaks} of the official test split's frames" if leaks else ""
    return f"; {copy.why}{tested}: {_OTHER_SPLIT}"


def _every_frame() -> set[str]:
    return {frame for part in OFFICIAL for frame in split_frames(part)}


@dataclass(frozen=True)
class _GroupedIds(label_spaces.LabelSpace):
    """CamVid's 32 ids on disk, which become the classes of a grouping."""

    group_of: tuple[int, ...] = ()

    def to_train_ids(self, raw: np.ndarray, where: str = "mask") -> np.ndarray:
        """Ids 0..31, and 255, to the train ids of the grouping; see `LabelSpace.to_train_ids`."""
        table = np.full(256, label_spaces.IGNORE, "uint8")
        table[: len(self.group_of)] = self.group_of
        return table[super().to_train_ids(raw, where)]


def _ids_to_groups(groups: label_spaces.Grouping) -> _GroupedIds:
    fine = label_spaces.get("camvid32")
    train_id = dict(zip(groups.names, groups.train_ids, strict=True))
    group_of = tuple(train_id[name] for name in fine.classes)
    return _GroupedIds(**{f.name: getattr(fine, f.name) for f in fields(fine)}, group_of=group_of)
