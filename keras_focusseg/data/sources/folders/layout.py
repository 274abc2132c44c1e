"""Find the images, the masks and the splits in a folder that somebody made by hand."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from keras_focusseg.data.errors import DataError
from keras_focusseg.data.sources.base import inside, some
from keras_focusseg.data.sources.pairs import entries, folders_in, is_folder
from keras_focusseg.data.sources.readers import SUFFIXES

IMAGE_FOLDERS = ("images", "image", "imgs", "img", "jpegimages", "photos", "frames", "inputs")
MASK_FOLDERS = (
    "masks",
    "mask",
    "labels",
    "label",
    "annotations",
    "annotation",
    "gt",
    "ground_truth",
    "groundtruth",
    "segmentationclass",
    "segmentation",
    "segmentations",
    "targets",
)
"""Names of folders that are taken for images and for masks, in any case."""

SPLITS = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation"),
    "test": ("test", "testing"),
}
"""What the folders of a split may be called."""

ALL = "all"
"""The split that takes everything."""

_MASK_WORDS = (*MASK_FOLDERS, "annot")
_MASK_ENDINGS = ("mask", "masks", "label", "labels", "l", "gt", "seg", "annotation", "segmentation")
_IMAGE_ENDINGS = ("", "image", "img", "sat", "rgb", "photo", "input")
_SEPARATORS = "_-. "
_MARKS = ("_", "-", "")


class Part(NamedTuple):
    """Where the images and the masks of a split lie; the same folder if they lie together."""

    images: Path
    masks: Path


def find_parts(root: Path, images: str | None = None, masks: str | None = None) -> dict[str, Part]:
    """The labelled splits below a root.

    Args:
        root: resolved folder.
        images: name of the folder of images; None looks for the usual ones.
        masks: name of the folder of masks; None looks for the usual ones.

    Returns:
        By split: "train", "val", "test" where they are there, other folders that images and masks
        have in common by their names, and "all" if images and masks have a folder each.

    Raises:
        DataError: if a folder cannot be read.
    """
    for base in bases(root):
        if parts := _parts_in(base, images, masks):
            return parts
    return {}


def split_of(parts: dict[str, Part], split: str) -> Part | None:
    """The part of a split, whatever its folder is called."""
    wanted = canonical(split)
    return parts.get(split) or next(
        (part for name, part in parts.items() if canonical(name) == wanted), None
    )


def canonical(name: str) -> str:
    """What a split is called here: "train" for a folder `training`; other names stay."""
    lower = name.casefold()
    return next((split for split, others in SPLITS.items() if lower in others), name)


def list_pictures(folder: Path, skip: Sequence[Path] = ()) -> dict[str, Path]:
    """Pictures below a folder, by their path without suffix, subfolders included.

    Args:
        folder: resolved folder that nothing may be read outside of.
        skip: folders below it that do not count.

    Returns:
        The files by name, sorted; hidden ones and those that are no pictures do not count.

    Raises:
        DataError: if two differ by the suffix alone, a folder cannot be read, or a link leads out
            or to a folder.
    """
    found: dict[str, Path] = {}
    for path in walk(folder, folder, SUFFIXES, skip):
        name = path.relative_to(folder).with_suffix("").as_posix()
        if name in found:
            raise DataError(
                f"{path}: has the same name as {found[name].name!r} but for the suffix, so pairs "
                "are not defined. Rename or move one of them."
            )
        found[name] = path
    return dict(sorted(found.items()))


def walk(
    folder: Path, root: Path, suffixes: Sequence[str], skip: Sequence[Path] = ()
) -> Iterator[Path]:
    """Files below a folder.

    Args:
        folder: where to begin.
        root: resolved folder that nothing may be read outside of.
        suffixes: which files, lower case.
        skip: folders that do not count.

    Yields:
        The files, folder by folder; hidden ones do not count.

    Raises:
        DataError: if a folder cannot be read, or a link leads out or to a folder.
    """
    for entry in entries(folder):
        path = Path(entry.path)
        if is_folder(entry):
            if path in skip:
                continue
            if entry.is_symlink():
                inside(path, root)
                raise DataError(
                    f"{path}: is a link to another folder of {root}, whose files would count "
                    "twice. Remove the link, or copy the folder."
                )
            yield from walk(path, root, suffixes, skip)
        elif path.suffix.lower() in suffixes:
            yield inside(path, root) if entry.is_symlink() else path


def parted_by_ending(files: dict[str, Path]) -> tuple[dict[str, Path], dict[str, Path]]:
    """Images and masks that lie together, told apart by what the masks' names end in.

    Args:
        files: pictures by name, e.g. "1" and "1_mask", or "1_sat" and "1_mask".

    Returns:
        Images and masks, both by their common name; no masks if no ending tells them apart.
    """
    best: tuple[dict[str, Path], dict[str, Path]] = (files, {})
    for ending in _written_endings(files, _MASK_ENDINGS):
        masks = {n[: -len(ending)]: p for n, p in files.items() if n.endswith(ending)}
        rest = {name: path for name, path in files.items() if not name.endswith(ending)}
        for image_ending in ("", *_written_endings(rest, _IMAGE_ENDINGS[1:])):
            cut = len(image_ending)
            images = {
                name[: len(name) - cut]: path
                for name, path in rest.items()
                if name.endswith(image_ending)
            }
            both = set(images) & set(masks)
            if len(both) > len(set(best[0]) & set(best[1])) and len(images) == len(rest):
                best = images, masks
    return best


def common_endings(images: Sequence[str], masks: Sequence[str]) -> tuple[str, str]:
    """What all images' and all masks' names have in addition to what they share.

    Args:
        images: names of images.
        masks: names of masks.

    Returns:
        The two endings, such as ("", "_L") for "1" and "1_L"; empty where there is none.
    """
    if not images or not masks or set(images) & set(masks):
        return "", ""
    first = masks[0]
    near = max(images, key=lambda name: len(os.path.commonprefix([name, first])))
    shared = len(os.path.commonprefix([near, first]))
    while shared and first[shared - 1] in _SEPARATORS:
        shared -= 1  # "1_" is shared by "1_image" and "1_mask", but belongs to the endings
    image_ending, mask_ending = near[shared:], first[shared:]
    if (
        image_ending.strip(_SEPARATORS).casefold() not in _IMAGE_ENDINGS
        or not mask_ending
        or mask_ending[0].isdigit()
        or not all(name.endswith(mask_ending) for name in masks)
        or not all(name.endswith(image_ending) for name in images)
    ):
        return "", ""
    return image_ending, mask_ending


def bases(root: Path) -> Iterator[Path]:
    """The root, and the folder that an archive may have put around everything."""
    yield root
    for _ in range(2):
        inner = folders_in(root)
        if len(inner) != 1:
            return
        (root,) = inner.values()
        yield root


def _parts_in(base: Path, images: str | None, masks: str | None) -> dict[str, Part]:
    folders = folders_in(base)
    image_folder = _one_of(folders, base, images, IMAGE_FOLDERS)
    mask_folder = _one_of(folders, base, masks, MASK_FOLDERS)
    if image_folder is not None and mask_folder is not None:
        inner_images, inner_masks = folders_in(image_folder), folders_in(mask_folder)
        parts = {
            name: Part(path, inner_masks[name])
            for name, path in inner_images.items()
            if name in inner_masks
        }
        return {**parts, ALL: Part(image_folder, mask_folder)}
    if parts := _parts_by_split(base, folders, images, masks):
        return parts
    if images is None and masks is None and (named := _named_by_words(folders)):
        return {ALL: named}
    if mask_folder is not None and images is None and _has_pictures(base):
        return {ALL: Part(base, mask_folder)}
    return {ALL: Part(base, base)} if _lie_together(base) else {}


def _named_by_words(folders: dict[str, Path]) -> Part | None:
    """`original_images` and `label_images_semantic`: one folder each whose name has the word."""
    pictured = {name: path for name, path in folders.items() if _has_pictures(path)}
    words = {name: set(re.split(r"[_\-. ]+", name.casefold())) for name in pictured}
    masks = [name for name in pictured if words[name] & set(_MASK_WORDS)]
    images = [name for name in pictured if words[name] & set(IMAGE_FOLDERS) and name not in masks]
    if len(images) != 1 or len(masks) != 1:
        return None
    return Part(pictured[images[0]], pictured[masks[0]])


def _parts_by_split(
    base: Path, folders: dict[str, Path], images: str | None, masks: str | None
) -> dict[str, Part]:
    parts: dict[str, Part] = {}
    for name, folder in folders.items():
        inner = folders_in(folder)
        image_folder = _one_of(inner, folder, images, IMAGE_FOLDERS)
        mask_folder = _one_of(inner, folder, masks, MASK_FOLDERS)
        if image_folder is not None and mask_folder is not None:
            parts[name] = Part(image_folder, mask_folder)
        elif images is None and masks is None and (part := _beside(name, folder, folders)):
            parts[part[0]] = part[1]
    # A single folder of another name is what an archive puts around everything.
    return parts if len(folders) > 1 or any(canonical(name) in SPLITS for name in parts) else {}


def _beside(name: str, folder: Path, folders: dict[str, Path]) -> tuple[str, Part] | None:
    """`train` beside `train_labels`, `train_images` beside `train_masks`, or all in `train`."""
    split = _split_in(name.casefold())
    if split is None:
        return None
    lower = {other.casefold(): path for other, path in folders.items()}
    for word in _MASK_WORDS:
        for mark in _MARKS:
            for other in (f"{split}{mark}{word}", f"{word}{mark}{split}"):
                if other in lower:
                    return split, Part(folder, lower[other])
    return (split, Part(folder, folder)) if _lie_together(folder) else None


def _split_in(name: str) -> str | None:
    """The split that a folder of images is named after: `train`, `train_images`, `images-train`."""
    for word in ("", *IMAGE_FOLDERS):
        for mark in _MARKS:
            for split in (name.removesuffix(mark + word), name.removeprefix(word + mark)):
                if canonical(split) in SPLITS:
                    return split
    return None


def _lie_together(folder: Path) -> bool:
    files = {
        Path(entry.name).stem: Path(entry.path)
        for entry in entries(folder)
        if Path(entry.name).suffix.lower() in SUFFIXES
    }
    images, masks = parted_by_ending(files)
    return bool(set(images) & set(masks))


def _has_pictures(folder: Path) -> bool:
    return any(Path(entry.name).suffix.lower() in SUFFIXES for entry in entries(folder))


def _written_endings(names: dict[str, Path], words: Sequence[str]) -> list[str]:
    """The endings such as `_mask` that occur, as they are written, the longest first."""
    found = set()
    for name in names:
        stem = name.rpartition("/")[2]
        place = max(stem.rfind(mark) for mark in _SEPARATORS)
        if place > 0 and stem[place + 1 :].casefold() in words:
            found.add(stem[place:])
    return sorted(found, key=lambda ending: (-len(ending), ending))


def _one_of(
    folders: dict[str, Path], base: Path, name: str | None, usual: Sequence[str]
) -> Path | None:
    if name is not None:  # may name a folder further below
        path = base / name
        return inside(path, base) if path.is_dir() else None
    lower = {other.casefold(): path for other, path in folders.items()}
    return next((lower[word] for word in usual if word in lower), None)


def describe(parts: dict[str, Part], root: Path) -> str:
    """The splits and where they lie, for an error."""
    listed = [
        f"{name!r} ({part.images.relative_to(root).as_posix()})" for name, part in parts.items()
    ]
    return ", ".join(listed[:6]) + (f" and {len(listed) - 6} more" if len(listed) > 6 else "")


def unknown_layout(root: Path) -> str:
    """What was looked for, for an error about a root in which nothing was found."""
    there = some((entry.name for entry in entries(root)), 8) or "nothing"
    return (
        f"{root}: no images with masks found; it holds {there}. Looked for a folder of images "
        f"({', '.join(IMAGE_FOLDERS)}) and one of masks ({', '.join(MASK_FOLDERS)}), split folders "
        "in or around them (images/train, train/images), train beside train_labels, and masks "
        "beside the images (1.jpg, 1_mask.png). Say images= and masks= to name the folders."
    )
