"""CamVid in each of the ways in which people have it: a table of copies, and one body."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from keras_focusseg import label_spaces
from keras_focusseg.data.sources import camvid_copies as copies
from keras_focusseg.data.sources.base import Source, existing_folder, some
from keras_focusseg.data.sources.camvid_frames import (
    AUTHOR,
    KNOWN_STRAY,
    OFFICIAL,
    check_frames,
    choose_sequences,
    holds_frames,
    split_frames,
)
from keras_focusseg.data.sources.layouts import first_masks
from keras_focusseg.data.sources.listing import files_ending
from keras_focusseg.data.sources.pairs import (
    RESTORE,
    PairSource,
    listed_pairs,
    pair_count,
    paired,
    split_parts,
)
from keras_focusseg.data.sources.tables import as_data_error
from keras_focusseg.errors import DataError

_KAGGLES = {"train": 369, "val": 100, "test": 232}
_NEIGHBORS = "so that neighbouring video frames lie on both sides"
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
        kind, base, layout = copies.locate(self.root, self.kinds)
        lists = copies.list_files(kind, base, self.root)
        known = OFFICIAL if official_split else copies.splits_of(kind, base, layout, lists)
        parts = split_parts(split, known, "This copy of CamVid")
        if 0 < sum(part in AUTHOR for part in parts) < len(parts):
            raise DataError(
                f"CamVid: {split!r} joins splits of two families, which overlap",
                kind="split that is not there",
            )
        if kind in ("kaggle", "listed"):
            copies.check_classes(base, self.root)
        ending = copies.mask_ending(base, self.root, layout)
        left_out: list[Path] = []
        self.unpaired, collected = left_out, None if strict else left_out
        by_heart = official_split or not (lists or kind in ("segnet", "kaggle"))
        if kind in ("segnet", "kaggle") and not official_split:
            found = {
                part: layout.files(base, self.root, part, ending, copies.GET) for part in parts
            }
        else:
            found = dict.fromkeys(parts, copies.files_together(base, self.root, layout, ending))
        self.pairs = []
        for part, (folders, images, masks) in found.items():
            if by_heart and part != "all":
                names = [("", frame) for frame in split_frames(part)]
                check_frames({*images, *masks}, part, folders[0])
            elif part in lists:
                names = copies.read_list(lists[part], ending)
            elif kind == "listed" and part == "train":  # fastai lists the others alone
                others = {f for path in lists.values() for _, f in copies.read_list(path, ending)}
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
        frames = Counter(name for name, _, _ in self.pairs)
        if not frames:
            what = f"split {split!r} has no frame with image and mask"
            raise DataError(what, kind="empty split", file=base)
        if twice := sorted(frame for frame, count in frames.items() if count > 1):
            raise DataError(
                f"{len(twice)} frames stand twice in {split!r}: {some(twice)}",
                kind="file that is listed twice",
                file=base,
                fix="Correct the lists or folders.",
            )
        self.pairs = choose_sequences(self.pairs, sequences, exclude_sequences, split)
        self.label_space, self.encoding, said = copies.classes_of(
            kind, base, self.root, groups, ending, self.pairs[0][2]
        )
        self.layout = f"{_what(kind, ending, lists, official_split)} ({said}), "
        self.layout += pair_count(self.pairs, left_out)
        if kind != "segnet":
            self.note = f"{said.removeprefix('label images in ')}, grouping {groups.name!r}"
            self.note += _split_note(kind, parts, set(frames), lists)

    @classmethod
    def recognizes(cls, root: str | Path) -> bool:
        """Whether such a copy of CamVid's frames lies there; never raises."""
        found = copies.find(root, cls.kinds)
        return found is not None and holds_frames(first_masks(found[1:]))

    @classmethod
    def splits(cls, root: str | Path) -> tuple[str, ...]:
        """The splits that have masks there."""
        found = copies.find(root, cls.kinds)
        if found is None:
            return ()
        kind, base, layout = found
        try:
            top = Path(root).resolve()
            if kind in ("original", "renamed"):
                there = set(files_ending(base / layout.masks, top, "_L.png"))
                return tuple(split for split in OFFICIAL if there.issuperset(split_frames(split)))
            lists = copies.list_files(kind, base, top)
            splits = copies.splits_of(kind, base, layout, lists)
            labeled = layout.labeled(base)
            return tuple(s for s in splits if kind != "segnet" or s in labeled)
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
        root: Folder that holds the lists, or one or two above.
        split: "train", "val" or "test", or several joined by "+", as in "train+val"; CVAT calls
            its only one "default".
        sequences: Keep only frames of these sequences, e.g. ("0001TP",); None keeps all.
        exclude_sequences: Leave out frames of these sequences. Neighbouring frames are nearly
            equal, so holding out a whole sequence is the honest check for choices.
        strict: Whether a file that is not listed, or listed and missing, is an error, or left out
            and listed in `unpaired`.

    Raises:
        DataError: If a folder, list or file is missing, a file is not listed, or no frame stays.

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
        root: Folder that the dataset lies in.
        split: One name, or several of the same family joined by "+", as in "train+val".
        grouping: Which of the 32 classes become which of the 11, see `label_spaces.grouping`:
            "mathworks" (SERNet-Former's), "segnet" or "exact_colour"; None keeps 31 classes.
        sequences: See `CamVid`, as `exclude_sequences` and `strict`.
        exclude_sequences: Leave out frames of these sequences.
        max_stray: Up to so many pixels of a label image may have a colour that no class has;
            they are ignored, more are an error. Frame Seq05VD_f02610 is known to have 175 of
            them, which are always ignored.
        strict: Whether a file without partner is an error.

    Raises:
        DataError: If a folder or a frame of the split is missing, an image or label image has no
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
        root: Folder that the copy lies in.
        split: "train", "val", "test", or several joined by "+"; "all" for fastai's small copy,
            which has no list.
        grouping: See `CamVid720`, as all below but the next.
        official_split: Split by the frames of the official lists, wherever they lie in the copy.
        sequences: Keep only frames of these sequences.
        exclude_sequences: Leave out frames of these sequences.
        max_stray: Up to so many pixels of a label image may have a colour that no class has.
        strict: Whether a file without partner is an error.

    Raises:
        DataError: If there is no such copy, a file of the split is missing or has no partner, or
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
        root: Folder that the copy lies in.
        split: See the class.
        **options: Further arguments of the class, such as `sequences`, `grouping`,
            `official_split` and `strict`.

    Returns:
        The source; its `layout` says what was found.

    Raises:
        DataError: If no copy lies there, it is damaged, or it has no such option.

    Example:
        ```python
        train = open_camvid("CamVid", "train")
        print(train.layout)
        ```
    """
    kind, _, _ = copies.locate(
        existing_folder(root, "the CamVid folder").resolve(), tuple(copies.COPIES)
    )
    opener = next(c for c in _SOURCES if kind in c.kinds)
    if opener is CamVid:
        # Its masks have these baked in.
        if options.pop("grouping", "segnet") != "segnet" or options.pop("max_stray", 0):
            raise DataError(
                "this is SegNet's copy, whose masks hold 11 classes",
                kind="option that is not possible",
                file=root,
                fix="Leave grouping and max_stray out, or open label images in 32 colours.",
            )
    elif opener is CamVid720:
        options.setdefault("grouping", "segnet")
    if opener is not CamVidCopy:
        options.pop("official_split", None)  # they have no other
    return opener(root, split, **options)


def camvid_splits(root: str | Path) -> tuple[str, ...]:
    """The splits that `open_camvid` can open there, single names."""
    found = copies.find(root, tuple(copies.COPIES))
    return next((c.splits(root) for c in _SOURCES if found and found[0] in c.kinds), ())


def recognizes_camvid(root: str | Path) -> bool:
    """Whether any copy of CamVid lies there; never raises."""
    return any(copy.recognizes(root) for copy in _SOURCES)


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


def _what(kind: str, ending: str, lists: dict[str, Path], official: bool) -> str:
    """What was found, for `layout`."""
    names = some((path.name for path in lists.values()), 9)
    what = {
        "segnet": f"SegNet's copy with {'lists' if lists else 'no lists'}",
        "kaggle": "Kaggle's folders",
        "listed": f"images with labels/*{ending}, {f'lists {names}' if lists else 'no lists'}",
        "original": "701_StillsRaw_full with LabeledApproved_full",
        "renamed": "images with labels",
    }[kind]
    return f"{what}, official split" if official else what


def _split_note(kind: str, parts: Sequence[str], frames: set[str], lists: dict[str, Path]) -> str:
    """What to say of splits that are not the official ones."""
    if any(part in AUTHOR for part in parts):
        return f"; random split over all sequences, {_NEIGHBORS}: {_OTHER_SPLIT}"
    official = {part: set(split_frames(part)) for part in OFFICIAL}
    official["trainval"] = official["train"] | official["val"]
    wanted = set().union(*(official.get(part, set()) for part in parts))
    if frames == wanted:
        return ""
    if frames <= wanted:
        return f"; {len(frames)} of the {len(wanted)} frames of the official split: {_OTHER_SPLIT}"
    counts = [len(frames)] == [_KAGGLES.get(part, 0) for part in parts]
    if kind == "kaggle" and counts:
        why = f"split at random over all sequences, as Kaggle's folders are, {_NEIGHBORS}"
    elif parts == ["all"]:
        why = "no split at all"
    else:
        why = f"split by {some((path.name for path in lists.values()), 9) or 'its folders'}"
    leaks = len(frames & official["test"]) if "test" not in parts else 0
    tested = f", and it holds {leaks} of the official test split's frames" if leaks else ""
    return f"; {why}{tested}: {_OTHER_SPLIT}"
