"""Your own data: a folder of images and a folder of masks, paired by name."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from keras_focusseg import label_spaces
from keras_focusseg.data.sources.ade20k import full_ade20k_error
from keras_focusseg.data.sources.base import check_split, existing_folder, inside
from keras_focusseg.data.sources.folders.encoding import (
    CITYSCAPES,
    Reading,
    read_as_found,
    read_as_told,
    read_by_names,
    read_by_table,
)
from keras_focusseg.data.sources.folders.layout import (
    ALL,
    SPLITS,
    Part,
    canonical,
    common_endings,
    find_parts,
    no_split,
    parted_by_ending,
    split_of,
    without,
)
from keras_focusseg.data.sources.listing import pictures_below
from keras_focusseg.data.sources.pairs import PairSource, pair_count, paired
from keras_focusseg.data.sources.tables import as_label_space, load_table
from keras_focusseg.errors import DataError
from keras_focusseg.label_spaces import VOID_NAMES
from keras_focusseg.label_spaces.class_tables import ClassTable
from keras_focusseg.label_spaces.text import as_on_disk
from keras_focusseg.pictures.contents import Progress, mask_content
from keras_focusseg.pictures.readers import SUFFIXES

_FIX = (
    "Add the partners, move the files away, or say mask_suffix=... if the masks' names have an "
    "ending."
)


class Folder(PairSource):
    """Images in one folder, masks in another (or the same), paired by the name without its suffix.

    Subfolders are searched as well, and belong to the name: `images/a/1.jpg` goes with
    `masks/a/1.png`. Hidden files and files that are no pictures (by their suffix) do not count.
    What the masks mean is given, stands in a class table beside them, or is found out:

    1. `label_space`, if you give one;
    2. a class table in the folder of masks or the one around it: `class_dict.csv`, `labelmap.txt`,
       `_classes.csv`, `classes.txt` and others that `label_spaces.read_class_table` reads;
    3. the masks themselves, all of which are then looked at once: classes "class_0", "class_1", ...
       of the ids that occur, or "color_r_g_b" of the colours.

    `layout` says what was decided.

    Args:
        images: Folder of images.
        masks: Folder of masks; the same folder if the masks' names have an ending.
        label_space: What the ids or colours in the masks mean, its name if it is a benchmark's, or
            what `to_config` gave; for your own classes see `label_spaces.from_names`.
        mask_suffix: What the masks' names have in addition, e.g. "_L" for `1_L.png`; None finds
            it, if all have the same.
        name: Name of the dataset.
        split: Which part of it this is.
        encoding: "ids": numbers, or a palette's indices; "palette": indices, and only palette
            files; "colors": RGB, or a palette's colours; "auto": whichever fits.
        ignored: Rows of a class table that are no classes, by name.
        table: The class table, if it lies elsewhere.
        peers: Folders of images and masks of the other splits, which are looked at as well if
            there is no table, so that all splits have the same classes.
        strict: Whether a file without partner is an error; else it is left out and listed in
            `unpaired`.
        progress: Called with (done, total) while masks are looked at.

    Raises:
        DataError: If a folder is missing, an image or mask has no partner, two files have the
            same name but for the suffix, or it cannot be decided what the masks mean.

    Example:
        ```python
        space = label_spaces.from_names(["background", "crack"])
        Folder("images", "masks", space)
        ```
    """

    def __init__(
        self,
        images: str | Path,
        masks: str | Path,
        label_space: label_spaces.LabelSpace | Mapping[str, Any] | str | None = None,
        mask_suffix: str | None = None,
        name: str = "folder",
        split: str = "all",
        *,
        encoding: str = "auto",
        ignored: Collection[str] = VOID_NAMES,
        table: str | Path | None = None,
        peers: Sequence[tuple[Path, Path]] = (),
        strict: bool = True,
        progress: Progress | None = None,
    ) -> None:
        self.name = name
        self.split = split
        self.images = existing_folder(images, "the image folder").resolve()
        self.masks = existing_folder(masks, "the mask folder").resolve()
        part = Part(self.images, self.masks)
        image_files, mask_files = _files(part, mask_suffix)
        if not image_files:
            raise DataError(
                f"no picture there; looked for {', '.join(SUFFIXES)}",
                kind="empty split",
                file=self.images,
            )
        unpaired: list[Path] = []
        left_out = None if strict else unpaired
        self.pairs = paired(image_files, mask_files, part, _FIX, left_out)
        self.unpaired = unpaired
        if not self.pairs:
            raise DataError(
                f"none of its {len(image_files)} images has a mask in {self.masks}",
                kind="empty split",
                file=self.images,
                fix=_FIX,
            )
        reading = _reading(
            self,
            None if label_space is None else as_label_space(label_space),
            _table(table, (self.masks, self.masks.parent, self.images.parent), ignored),
            [Part(*peer) for peer in peers],
            (mask_suffix, encoding, strict, progress),
        )
        self.label_space, self.encoding = reading.label_space, reading.encoding
        self.layout = f"{reading.said}, {pair_count(self.pairs, self.unpaired)}"


def open_folder(
    root: str | Path,
    split: str = "train",
    *,
    images: str | None = None,
    masks: str | None = None,
    label_space: label_spaces.LabelSpace | Mapping[str, Any] | str | None = None,
    table: str | Path | None = None,
    **options: Any,
) -> Folder:
    """Your own data below one root; where images, masks and splits lie is found out.

    It knows `images/` and `masks/` (and other usual names), split S as `images/S` or `S/images`,
    `S/` beside `S_labels/`, `S_images/` beside `S_masks/`, and masks beside their images if their
    names have an ending. "val" may be called `valid` or `validation` there.

    Args:
        root: Folder in which everything lies.
        split: "train", "val", "test", the name of another folder that images and masks have in
            common, or "all" for images and masks as a whole.
        images: Name of the folder of images, if it is none of the usual.
        masks: Name of the folder of masks, if it is none of the usual.
        label_space: See `Folder`.
        table: A class table, relative to the root, or anywhere; else one is looked for below the
            root.
        **options: Further arguments of `Folder`.

    Returns:
        The source. Without label space and table, the masks of all splits are looked at, so
        that all have the same classes.

    Raises:
        DataError: If the root or the split is not there, or as `Folder`.

    Example:
        ```python
        train = open_folder("my_data", "train")
        train.layout  # "coloured masks, 12 colours from class_dict.csv, 240 pairs"
        ```
    """
    check_split(split)
    base = existing_folder(root, "the root folder").resolve()
    parts = find_parts(base, images, masks)
    part = split_of(parts, split)
    if part is None:
        raise no_split(base, parts, split, images, masks)
    for other in parts.values():
        inside(other.images, base)
        inside(other.masks, base)
    chosen = None if table is None else base / table  # named by the caller: may lie anywhere
    if label_space is None and chosen is None:
        around = [folder for folder in part.masks.parents if folder.is_relative_to(base)]
        chosen = label_spaces.find_table([part.masks, *around])
        chosen = chosen and inside(chosen, base)
    return Folder(
        part.images,
        part.masks,
        label_space,
        split=split,
        table=chosen,
        peers=[other for other in parts.values() if other != part],
        **options,
    )


def folder_splits(root: str | Path) -> tuple[str, ...]:
    """The splits of your own data that have masks.

    They are "train", "val" and "test" as far as they are there; ("all",) for images and masks
    without splits; else the names of other splits.
    """
    try:
        parts = find_parts(Path(root).resolve())
    except (OSError, ValueError):
        return ()
    there = {canonical(name): None for name in parts}
    usual = tuple(split for split in SPLITS if split in there)
    return usual or ((ALL,) if ALL in there else tuple(there))


def recognizes_folder(root: str | Path) -> bool:
    """Whether images and masks lie below a root in a way that `open_folder` finds; never raises."""
    return bool(folder_splits(root))


def _reading(
    source: Folder,
    space: label_spaces.LabelSpace | None,
    table: ClassTable | None,
    peers: Sequence[Part],
    how: tuple[str | None, str, bool, Progress | None],
) -> Reading:
    mask_suffix, encoding, strict, progress = how
    masks = [mask for _, _, mask in source.pairs]
    if space is not None:
        return read_as_told(masks, space, encoding, strict)
    if table is not None:
        return read_by_table(masks, table, encoding, strict)
    if masks[0].name.startswith("ADE_") and mask_content(masks[0]).kind == "colors":
        raise full_ade20k_error(source.masks, masks[0])
    if reading := read_by_names(masks, encoding, strict):
        return reading
    known = set(masks)
    for peer in peers:
        _, others = _files(Part(peer.images.resolve(), peer.masks.resolve()), mask_suffix)
        masks += [path for path in others.values() if path not in known]
        known.update(masks)
    return read_as_found(masks, encoding, progress, strict)


def _table(
    given: str | Path | None, folders: Sequence[Path], ignored: Collection[str]
) -> ClassTable | None:
    path = as_on_disk(given) if given is not None else label_spaces.find_table(folders)
    return None if path is None else load_table(path, ignored)


def _files(part: Part, mask_suffix: str | None) -> tuple[dict[str, Path], dict[str, Path]]:
    """Images and masks by the name that they have in common."""
    images, masks = part
    if images == masks:
        return _parted(pictures_below(images, images), images, mask_suffix)
    image_files = pictures_below(images, images, skip=[masks])
    mask_files = _of_one_kind(pictures_below(masks, masks, skip=[images]))
    image_ending, mask_ending = "", mask_suffix
    if mask_ending is None:
        image_ending, mask_ending = common_endings(list(image_files), list(mask_files))
    for name, path in mask_files.items():
        if not name.endswith(mask_ending):
            raise DataError(
                f"the name does not end in {mask_ending!r} as mask_suffix says",
                kind="file without partner",
                file=path,
            )
    return without(image_files, image_ending), without(mask_files, mask_ending)


def _of_one_kind(masks: dict[str, Path]) -> dict[str, Path]:
    """Cityscapes has several masks an image: those of ids, else of train ids, else of colours."""
    kinds = {name: match[1] for name in masks if (match := CITYSCAPES.search(name))}
    wanted = next((k for k in ("labelIds", "labelTrainIds", "color") if k in kinds.values()), None)
    if wanted is None:
        return masks
    return {name: path for name, path in masks.items() if kinds.get(name) == wanted}


def _parted(
    files: dict[str, Path], folder: Path, mask_suffix: str | None
) -> tuple[dict[str, Path], dict[str, Path]]:
    fix = "Say mask_suffix=..., what the masks' names end in, as '_mask' for 1_mask.png."
    if mask_suffix == "":
        raise DataError(
            "images and masks lie in one folder, so mask_suffix cannot be empty",
            kind="option that is not possible",
            file=folder,
            fix=fix,
        )
    if mask_suffix is None:
        images, masks = parted_by_ending(files)
    else:
        masks = without(files, mask_suffix)
        images = {name: path for name, path in files.items() if not name.endswith(mask_suffix)}
    if files and not masks:
        raise DataError(
            "images and masks lie in one folder, but no ending tells the "
            f"{len(files)} pictures apart",
            kind="folder of no known layout",
            file=folder,
            fix=fix,
        )
    return images, masks
