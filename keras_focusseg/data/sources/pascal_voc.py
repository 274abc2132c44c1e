"""Pascal VOC's segmentation, and folders in its style as annotation tools export them."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PureWindowsPath

from keras_focusseg import label_spaces
from keras_focusseg.data.errors import DataError
from keras_focusseg.data.sources.base import existing_folder, inside, some
from keras_focusseg.data.sources.camvid import text_lines
from keras_focusseg.data.sources.pairs import (
    Pair,
    PairSource,
    entries,
    located,
    mask_kind,
    pair_count,
    paired,
    printable,
    split_parts,
    spotted,
)
from keras_focusseg.data.sources.readers import SUFFIXES
from keras_focusseg.label_spaces import Grouping, LabelSpace

_IMAGES = "JPEGImages"
# Where Labelme's exporter writes the first, `SegmentationClass` holds arrays.
_MASKS = ("SegmentationClassPNG", "SegmentationClass", "SegmentationClassAug")
_LISTS = ("ImageSets/Segmentation", "ImageSets/SegmentationAug")
_TABLES = ("labelmap.txt", "class_names.txt")
_VOID = (*label_spaces.VOID_NAMES, "ignored")  # Datumaro's name for VOC's borders
_GET = (
    "Unpack VOCtrainval_11-May-2012.tar, which makes VOCdevkit/VOC2012 with JPEGImages, "
    "SegmentationClass and ImageSets/Segmentation; or export from your tool with its images."
)
_RESTORE = "Restore the missing files, or say strict=False to leave their partners out."


class PascalVOC(PairSource):
    """Pascal VOC 2012 (Everingham et al. 2010), 21 classes, or your own folder in its style.

    Expected in the root, or at most two folders below, as in `VOCdevkit/VOC2012`:
    `JPEGImages/{name}.jpg`, `SegmentationClass/{name}.png` and `ImageSets/Segmentation/{split}.txt`
    with a name a line. The masks are palette files whose index is the id, 0..20, and 255 (void) at
    the borders of things, which is ignored. Where there are no lists, images and masks are paired
    by name, as split "all".

    CVAT and Datumaro write a `labelmap.txt` (`name:r,g,b:parts:actions`) beside these folders. Then
    its names are the classes and its colours are what the masks are read by, whether RGB or
    palette, or its line numbers where they have one channel. A class called void, unlabeled or
    ignore is ignored. Labelme writes `class_names.txt`, whose lines count the ids.

    Args:
        root: folder that the dataset lies in.
        split: name of a list there, or several joined by "+". The official ones are "train" (1464
            images) and "val" (1449); CVAT calls its list "default".
        masks: folder of masks, such as "SegmentationClassAug" for the masks of the Semantic
            Boundaries Dataset; None takes `SegmentationClass`, or what else is there.
        label_space: classes, if they are neither VOC's nor in a table there; masks hold its ids.
        strict: whether a name without image or mask is an error, or left out, its other file
            listed in `unpaired`.

    Raises:
        DataError: if a folder, list or file is missing, or the table of classes is none.

    Example:
        ```python
        train = PascalVOC("VOCdevkit", "train")
        ```
    """

    name = "pascal_voc"

    def __init__(
        self,
        root: str | Path,
        split: str = "train",
        *,
        masks: str | None = None,
        label_space: LabelSpace | str | None = None,
        strict: bool = True,
    ) -> None:
        self.root = existing_folder(root, "the Pascal VOC folder").resolve()
        self.split = split
        wanted = list(_MASKS) if masks is None else [masks]
        if masks is not None and PureWindowsPath(masks).name != masks:
            raise DataError(f"masks={masks!r}: expected the name of a folder beside {_IMAGES}.")
        base, folder = located(self.root, wanted, "A folder of masks in Pascal VOC's style", _GET)
        image_folder = existing_folder(base / _IMAGES, "the image folder", _GET)
        mask_folder = inside(base / folder, self.root)
        inside(image_folder, self.root)
        lists = _list_files(base)
        parts = split_parts(split, tuple(lists) or ("all",), f"{base.name}")
        left_out: list[Path] = []
        self.unpaired = left_out
        files = _pictures(image_folder, self.root), _pictures(mask_folder, self.root)
        folders, collected = (image_folder, mask_folder), None if strict else left_out
        if lists:
            self.pairs = [
                pair
                for part in parts
                for pair in _listed(inside(lists[part], self.root), *files, folders, collected)
            ]
        else:
            self.pairs = paired(*files, folders, _RESTORE, collected)
        if not self.pairs:
            raise DataError(f"{base}: split {split!r} has no pair of image and mask. {_GET}")
        if twice := [n for n, k in Counter(name for name, _, _ in self.pairs).items() if k > 1]:
            raise DataError(f"{base}: {some(twice)} stand twice in {split!r}. Correct the lists.")
        self.label_space, self.encoding, how = _classes(base, self.root, label_space, self.pairs)
        listed = "lists" if lists else "no lists, paired by name"
        self.layout = f"{folder} ({how}), {listed}, {pair_count(self.pairs, left_out)}"

    @classmethod
    def recognises(cls, root: str | Path) -> bool:
        """Whether folders in VOC's style lie there; never raises."""
        masks = spotted(root, _MASKS)
        return masks is not None and (masks.parent / _IMAGES).is_dir()

    @classmethod
    def splits(cls, root: str | Path) -> tuple[str, ...]:
        """The lists there whose first name has a mask, those that join others left out."""
        masks = spotted(root, _MASKS)
        if masks is None or not (masks.parent / _IMAGES).is_dir():
            return ()
        try:
            lists = _list_files(masks.parent)
            found = _pictures(masks, Path(root).resolve())
            labelled = [split for split, file in lists.items() if _names(file)[0][1] in found]
        except DataError:
            return ()
        single = [split for split in labelled if not split.startswith("trainval")]
        return tuple(single or labelled) if lists else ("all",)


def _list_files(base: Path) -> dict[str, Path]:
    """The lists of names: train, val and test first."""
    found: dict[str, Path] = {}
    for folder in _LISTS:
        if (base / folder).is_dir():
            for entry in entries(base / folder):
                if entry.name.endswith(".txt"):
                    found.setdefault(entry.name.removesuffix(".txt"), Path(entry.path))
    order = [split for split in ("train", "val", "test") if split in found]
    return {split: found[split] for split in (*order, *sorted(set(found) - set(order)))}


def _names(list_file: Path) -> list[tuple[int, str]]:
    """Line number and name, without folders and suffix where a line holds two paths."""
    names = []
    for number, line in text_lines(list_file):
        if len(columns := line.split()) == 2 and all(map(_is_picture, columns)):
            names.append((number, _stem(PureWindowsPath(columns[0]).name)))
        else:  # tools allow spaces in names, and folders
            names.append((number, _stem(line) if _is_picture(line) else line))
    return names


def _is_picture(name: str) -> bool:
    return name.lower().endswith(SUFFIXES)


def _stem(name: str) -> str:
    return name.rpartition(".")[0]


def _pictures(folder: Path, root: Path) -> dict[str, Path]:
    """Pictures below a folder by their path without suffix, subfolders included."""
    found: dict[str, Path] = {}
    for entry in entries(folder):
        path = Path(entry.path)
        if entry.is_dir(follow_symlinks=False):
            found |= {f"{entry.name}/{name}": p for name, p in _pictures(path, root).items()}
        elif _is_picture(entry.name) and not os.path.isdir(path):
            name = _stem(entry.name)
            if name in found:
                raise DataError(
                    f"{path}: has the same name as {found[name].name!r} but for the suffix, so "
                    "pairs are not defined. Rename or move one of them."
                )
            found[name] = inside(path, root) if entry.is_symlink() else path
    return found


def _listed(
    list_file: Path,
    images: dict[str, Path],
    masks: dict[str, Path],
    folders: tuple[Path, Path],
    left_out: list[Path] | None,
) -> list[Pair]:
    """The pairs that a list names, in its order."""
    pairs: list[Pair] = []
    for number, name in _names(list_file):
        if name in images and name in masks:
            pairs.append((printable(name), images[name], masks[name]))
        elif left_out is not None:
            left_out += [files[name] for files in (images, masks) if name in files]
        else:
            files, folder = (masks, folders[1]) if name in images else (images, folders[0])
            near = [other for other in files if other.casefold() == name.casefold()]
            hint = f" There is {near[0]!r}: the names must be equal." if near else ""
            raise DataError(
                f"{list_file}, line {number}: {name!r} is listed, but {folder} holds no picture of "
                f"that name.{hint} {_RESTORE}"
            )
    return pairs


def _classes(
    base: Path, root: Path, label_space: LabelSpace | str | None, pairs: Sequence[Pair]
) -> tuple[LabelSpace, LabelSpace | Grouping, str]:
    """What the masks mean: label space, encoding on disk, and how to call it."""
    kind = mask_kind(pairs[0][2])
    try:
        if label_space is not None:
            space = label_spaces.get(label_space) if isinstance(label_space, str) else label_space
            return space, space, f"ids of label space {space.name!r}"
        for table in (base / name for name in _TABLES):
            if not table.is_file():
                continue
            classes = label_spaces.load_table(inside(table, root), ignored=_VOID)
            space = classes.label_space()
            if kind == "ids" or not classes.colors:
                return space, space, f"ids of {len(space.classes)} classes in {table.name}"
            return space, classes.grouping(), f"colours of {table.name}"
    except ValueError as error:
        raise error if isinstance(error, DataError) else DataError(str(error)) from error
    voc = label_spaces.get("voc")
    if kind == "colors":
        return voc, label_spaces.by_color(voc), "VOC's colours"
    return voc, voc, "VOC's 21 ids"
