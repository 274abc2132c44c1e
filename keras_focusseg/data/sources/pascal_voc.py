"""Pascal VOC's segmentation, and folders in its style as annotation tools export them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PureWindowsPath

from keras_focusseg import label_spaces
from keras_focusseg.data.sources.base import existing_folder, inside, some
from keras_focusseg.data.sources.layouts import Layout, located, spotted
from keras_focusseg.data.sources.listing import entries, pictures_below, text_lines
from keras_focusseg.data.sources.pairs import (
    Pair,
    PairSource,
    listed_pairs,
    pair_count,
    paired,
    split_parts,
)
from keras_focusseg.data.sources.tables import as_data_error, as_label_space, class_table
from keras_focusseg.errors import DataError
from keras_focusseg.label_spaces import Grouping, LabelSpace
from keras_focusseg.label_spaces.text import composed
from keras_focusseg.pictures.readers import SUFFIXES, mask_kind

_IMAGES = "JPEGImages"


def _layout(masks: str) -> Layout:
    return Layout(masks, (_IMAGES,), {"": ""})


# Where Labelme's exporter writes the first, `SegmentationClass` holds arrays.
_LAYOUTS = tuple(
    map(_layout, ("SegmentationClassPNG", "SegmentationClass", "SegmentationClassAug"))
)
_LISTS = ("ImageSets/Segmentation", "ImageSets/SegmentationAug")
_VOID = (*label_spaces.VOID_NAMES, "ignored")  # Datumaro's name for VOC's borders
_NAME = re.compile(r"(19|20)\d\d_\d{6}")
_OTHERS = (
    "classes named after Pascal VOC's 21, since no class file lies there and the pictures are not "
    "VOC's: put a labelmap.txt or classes.txt beside JPEGImages, or say label_space="
)
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

    Annotation tools write a class file beside these folders, such as CVAT's and Datumaro's
    `labelmap.txt` (`name:r,g,b:parts:actions`), `dataset_meta.json`, Labelme's `class_names.txt`
    or `classes.txt`. Then its names are the classes; the masks are read by its colours, whether
    RGB or palette, or by the numbers of its rows where they have one channel or it has no colours.
    A class called void, unlabeled or ignore is ignored. Pictures that are not VOC's and have no
    class file get VOC's names, and `note` says so.

    Args:
        root: Folder that the dataset lies in.
        split: Name of a list there, or several joined by "+". The official ones are "train" (1464
            images) and "val" (1449); CVAT calls its list "default".
        masks: Folder of masks, such as "SegmentationClassAug" for the masks of the Semantic
            Boundaries Dataset; None takes `SegmentationClass`, or what else is there.
        label_space: Classes, if they are neither VOC's nor in a table there; masks hold its ids.
        strict: Whether a name without image or mask is an error, or left out, its other file
            listed in `unpaired`.

    Raises:
        DataError: If a folder, list or file is missing, or the table of classes is none.

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
        if masks is not None and PureWindowsPath(masks).name != masks:
            raise DataError(
                f"masks={masks!r}",
                kind="option that is not possible",
                expected=f"the name of a folder beside {_IMAGES}",
            )
        layouts = _LAYOUTS if masks is None else (_layout(masks),)
        what = "A folder of masks in Pascal VOC's style"
        base, layout = located(self.root, layouts, what, _GET)
        image_folder = existing_folder(base / _IMAGES, "the image folder", _GET)
        folders = inside(image_folder, self.root), inside(base / layout.masks, self.root)
        lists = {name: inside(path, self.root) for name, path in _list_files(base).items()}
        parts = split_parts(split, tuple(lists) or ("all",), f"{base.name}")
        left_out: list[Path] = []
        self.unpaired = left_out
        files = pictures_below(folders[0], self.root), pictures_below(folders[1], self.root)
        collected = None if strict else left_out
        if lists:
            self.pairs = []
            for part in parts:
                names = _names(lists[part])
                self.pairs += listed_pairs(names, *files, folders, lists[part], collected)
        else:
            self.pairs = paired(*files, folders, _RESTORE, collected)
        if not self.pairs:
            raise DataError(
                f"split {split!r} has no pair of image and mask",
                kind="empty split",
                file=base,
                fix=_GET,
            )
        if twice := [n for n, k in Counter(name for name, _, _ in self.pairs).items() if k > 1]:
            raise DataError(
                f"{some(twice)} stand twice in {split!r}",
                kind="file that is listed twice",
                file=base,
                fix="Correct the lists.",
            )
        self.label_space, self.encoding, how = _classes(base, self.root, label_space, self.pairs)
        if self.encoding == label_spaces.get("voc") or how == "VOC's colours":
            own = [name for name, _, _ in self.pairs if not _NAME.fullmatch(name)]
            self.note = _OTHERS if own and label_space is None else ""
        listed = "lists" if lists else "no lists, paired by name"
        self.layout = f"{layout.masks} ({how}), {listed}, {pair_count(self.pairs, left_out)}"

    @classmethod
    def recognizes(cls, root: str | Path) -> bool:
        """Whether folders in VOC's style lie there; never raises."""
        found = spotted(root, _LAYOUTS)
        return found is not None and (found[0] / _IMAGES).is_dir()

    @classmethod
    def splits(cls, root: str | Path) -> tuple[str, ...]:
        """The lists there whose first name has a mask, those that join others left out."""
        found = spotted(root, _LAYOUTS)
        if found is None or not (found[0] / _IMAGES).is_dir():
            return ()
        base, layout = found
        try:
            lists = _list_files(base)
            masks = pictures_below(base / layout.masks, Path(root).resolve())
            labeled = [split for split, file in lists.items() if _names(file)[0][1] in masks]
        except DataError:
            return ()
        single = [split for split in labeled if not split.startswith("trainval")]
        return tuple(single or labeled) if lists else ("all",)


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


def _names(list_file: Path) -> list[tuple[str, str]]:
    """Line and name, without folders and suffix where a line holds two paths."""
    names = []
    for number, line in text_lines(list_file):
        if len(columns := line.split()) == 2 and all(map(_is_picture, columns)):
            line = PureWindowsPath(columns[0]).name
        # Tools allow spaces in names, and folders.
        name = composed(line.rpartition(".")[0] if _is_picture(line) else line)
        names.append((f"line {number}", name))
    return names


def _is_picture(name: str) -> bool:
    return name.lower().endswith(SUFFIXES)


def _classes(
    base: Path, root: Path, given: LabelSpace | str | None, pairs: Sequence[Pair]
) -> tuple[LabelSpace, LabelSpace | Grouping, str]:
    """What the masks mean: label space, encoding on disk, and how to call it."""
    kind = mask_kind(pairs[0][2])
    if given is not None:
        space = as_label_space(given)
        return space, space, f"ids of label space {space.name!r}"
    if table := class_table([base], root, _VOID):
        space = table.label_space()
        if kind == "ids" or not table.has_colors:
            return space, space, f"ids of {space.num_classes} classes in {table.path.name}"
        with as_data_error("class table that cannot be used", table.path):
            return space, table.grouping(), f"colours of {table.path.name}"
    voc = label_spaces.get("voc")
    if kind in ("colors", ""):
        return voc, label_spaces.by_color(voc), "VOC's colours"
    return voc, voc, "VOC's 21 ids"
