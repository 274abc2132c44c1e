"""Find the images, the masks and the splits in a folder that somebody made by hand."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from keras_focusseg.data.sources.base import inside, some
from keras_focusseg.data.sources.listing import entries, folders_in
from keras_focusseg.errors import DataError
from keras_focusseg.label_spaces.text import as_on_disk, composed
from keras_focusseg.pictures.readers import SUFFIXES

IMAGE_FOLDERS = tuple("images image imgs img img_dir jpegimages rgb photos frames inputs".split())
MASK_FOLDERS = tuple(
    "masks mask labels label annotations annotation ann_dir gt gts ground_truth groundtruth "
    "segmentationclass segmentation segmentations semantic targets".split()
)
"""Names of folders that are taken for images and for masks, in any case, the first one first."""

SPLITS = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation"),
    "test": ("test", "testing"),
}
"""What the folders of a split may be called."""

ALL = "all"
"""The split that takes everything."""

# Words in other names of folders: `original_images`, `images_prepped_train`, `TrainGTs`.
_IMAGE_WORDS = {*IMAGE_FOLDERS, *"photo picture pictures frame input leftimg8bit x".split()}
_MASK_WORDS = {
    *MASK_FOLDERS,
    *"ann anns anno annos annot annots lbl lbls seg segs target gtfine y".split(),
}
_SPLIT_WORDS = {word: split for split, words in SPLITS.items() for word in words}
_MASK_ENDINGS = ("mask", "masks", "label", "labels", "l", "gt", "seg", "annotation", "segmentation")
_IMAGE_ENDINGS = ("", "image", "img", "sat", "rgb", "photo", "input", "leftimg8bit")
_SEPARATORS = "_-. "
_MARKS = ("_", "-", "")


class Part(NamedTuple):
    """Where the images and the masks of a split lie; the same folder if they lie together."""

    images: Path
    masks: Path


def find_parts(root: Path, images: str | None = None, masks: str | None = None) -> dict[str, Part]:
    """The labelled splits below a root, looked for under the usual names unless some are given.

    "train", "val", "test" where they are there, other folders that images and masks have in common
    by their names, and "all" if images and masks have a folder each.
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
    """What a split is called here: "train" for a folder `training`; other names stay, composed."""
    lower = composed(name).casefold()
    return next((split for split, others in SPLITS.items() if lower in others), composed(name))


def parted_by_ending(files: dict[str, Path]) -> tuple[dict[str, Path], dict[str, Path]]:
    """Images and masks that lie together, told apart by what the masks' names end in.

    From pictures by name, "1" and "1_mask" or "1_sat" and "1_mask", both by their common name; no
    masks if no ending tells them apart.
    """
    best: tuple[dict[str, Path], dict[str, Path]] = (files, {})
    for ending in _written_endings(files, _MASK_ENDINGS):
        masks = without(files, ending)
        rest = {name: path for name, path in files.items() if not name.endswith(ending)}
        for image_ending in ("", *_written_endings(rest, _IMAGE_ENDINGS[1:])):
            images = without(rest, image_ending)
            both = set(images) & set(masks)
            if len(both) > len(set(best[0]) & set(best[1])) and len(images) == len(rest):
                best = images, masks
    return best


def without(files: dict[str, Path], ending: str) -> dict[str, Path]:
    """The files whose names have an ending, by their names without it."""
    return {n.removesuffix(ending): path for n, path in files.items() if n.endswith(ending)}


def common_endings(images: Sequence[str], masks: Sequence[str]) -> tuple[str, str]:
    """What all images' and all masks' names have in addition to what they share.

    Such as ("", "_L") for "1" and "1_L"; empty where there is none.
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
    image_folder, mask_folder = _images_and_masks(folders, base, images, masks)
    if image_folder is not None and mask_folder is not None:
        inner_images, inner_masks = folders_in(image_folder), folders_in(mask_folder)
        parts = {
            name: Part(path, inner_masks[name])
            for name, path in inner_images.items()
            if name in inner_masks
        }
        return {**parts, ALL: Part(image_folder, mask_folder)}
    if parts := _splits_around(folders, images, masks):
        return parts
    if images is None and masks is None and (parts := _splits_in_names(folders)):
        return parts
    if mask_folder is not None and images is None:
        if _has_pictures(base):
            return {ALL: Part(base, mask_folder)}
        others = [f for n, f in folders.items() if role_of(n) == ("", "") and _has_pictures(f)]
        if len(others) == 1:  # `original` beside `mask`
            return {ALL: Part(others[0], mask_folder)}
    return {ALL: Part(base, base)} if _lie_together(base) else {}


def _images_and_masks(
    folders: dict[str, Path], base: Path, images: str | None, masks: str | None
) -> tuple[Path | None, Path | None]:
    """The folder of images and that of masks: as named, or of a usual name, or by its words."""
    found = []
    for given, usual, role in ((images, IMAGE_FOLDERS, "image"), (masks, MASK_FOLDERS, "mask")):
        if given is not None:  # may name a folder further below
            path = as_on_disk(base / given)
            found.append(inside(path, base) if path.is_dir() else None)
            continue
        lower = {name.casefold(): path for name, path in folders.items()}
        named = next((lower[word] for word in usual if word in lower), None)
        # A folder of one split is not that of all images.
        others = [n for n in folders if role_of(n) == (role, "") and _has_pictures(folders[n], 1)]
        found.append(named or (folders[others[0]] if len(others) == 1 else None))
    return found[0], found[1]


def _splits_around(
    folders: dict[str, Path], images: str | None, masks: str | None
) -> dict[str, Part]:
    """`train/images` beside `train/masks`."""
    parts: dict[str, Part] = {}
    for name, folder in folders.items():
        image_folder, mask_folder = _images_and_masks(folders_in(folder), folder, images, masks)
        if image_folder is not None and mask_folder is not None:
            parts[name] = Part(image_folder, mask_folder)
    # A single folder of another name is what an archive puts around everything.
    return parts if len(folders) > 1 or any(canonical(name) in SPLITS for name in parts) else {}


def _splits_in_names(folders: dict[str, Path]) -> dict[str, Part]:
    """`train` beside `trainannot`, `train_img` beside `train_label`, or all in `train`."""
    parts: dict[str, Part] = {}
    roles = {name: role_of(name) for name in folders}
    for split in SPLITS:
        masks = [folders[n] for n, role in roles.items() if role == ("mask", split)]
        for kind in ("image", ""):
            found = [folders[n] for n, role in roles.items() if role == (kind, split)]
            if len(found) == 1 and len(masks) == 1:
                parts.setdefault(split, Part(found[0], masks[0]))
            elif len(found) == 1 and not masks and _lie_together(found[0]):
                parts.setdefault(split, Part(found[0], found[0]))
    lower = {name.casefold(): path for name, path in folders.items()}
    for name, folder in folders.items():  # `default` beside `defaultannot`
        beside = (f"{name.casefold()}{mark}{word}" for mark in _MARKS for word in _MASK_WORDS)
        if roles[name] == ("", "") and (found_masks := [lower[n] for n in beside if n in lower]):
            parts[name] = Part(folder, found_masks[0])
    return parts


def role_of(folder: str) -> tuple[str, str]:
    """Whether the words in a folder's name say "image" or "mask", and which split they say.

    ("mask", "train") for "annotations_prepped_train" and "TrainGT"; "" for what they do not say.
    """
    parted = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", folder).casefold()
    words = {folder.casefold(), *re.split(r"[_\-. ]+", parted.replace("ground_truth", "gt"))}
    for word in list(words):  # `trainannot`
        for split in _SPLIT_WORDS:
            rest = {word.removeprefix(split), word.removesuffix(split)} - {word}
            if rest & (_MASK_WORDS | _IMAGE_WORDS):
                words |= rest | {split}
    splits = {_SPLIT_WORDS[word] for word in words if word in _SPLIT_WORDS}
    role = "mask" if words & _MASK_WORDS else "image" if words & _IMAGE_WORDS else ""
    return role, splits.pop() if len(splits) == 1 else ""


def _lie_together(folder: Path) -> bool:
    files = {
        composed(Path(entry.name).stem): Path(entry.path)
        for entry in entries(folder)
        if Path(entry.name).suffix.lower() in SUFFIXES
    }
    images, masks = parted_by_ending(files)
    return bool(set(images) & set(masks))


def _has_pictures(folder: Path, depth: int = 0) -> bool:
    """Whether pictures lie in a folder, or so many folders below."""
    if any(Path(entry.name).suffix.lower() in SUFFIXES for entry in entries(folder)):
        return True
    return depth > 0 and any(_has_pictures(f, depth - 1) for f in folders_in(folder).values())


def _written_endings(names: dict[str, Path], words: Sequence[str]) -> list[str]:
    """The endings such as `_mask` that occur, as they are written, the longest first."""
    found = set()
    for name in names:
        stem = name.rpartition("/")[2]
        place = max(stem.rfind(mark) for mark in _SEPARATORS)
        if place > 0 and stem[place + 1 :].casefold() in words:
            found.add(stem[place:])
    return sorted(found, key=lambda ending: (-len(ending), ending))


def _another_split(split: str, parts: dict[str, Part], root: Path) -> str:
    """What to do where a split is asked for that a folder has not."""
    if ALL not in parts:
        return ""
    images, masks = parts[ALL]
    names = ["images", "masks"]
    if root not in (images, masks) and images != masks:
        names = [folder.relative_to(root).as_posix() for folder in (images, masks)]
    others = ", other splits included" if len(parts) > 1 else ""
    return (
        f"Put its pairs into {names[0]}/{split} and {names[1]}/{split}. Use split={ALL!r} to take "
        f"{images} as a whole{others}."
    )


def no_split(
    root: Path, parts: dict[str, Part], split: str, images: str | None, masks: str | None
) -> DataError:
    """What was looked for, for an error about a split that was not found."""
    if not parts and images is None and masks is None:
        there = some((entry.name for entry in entries(root)), 8) or "nothing"
        return DataError(
            f"no images with masks found; it holds {there}. Looked for a folder of images "
            f"({', '.join(IMAGE_FOLDERS)}) and one of masks ({', '.join(MASK_FOLDERS)}), split "
            "folders in or around them (images/train, train/images), train beside train_labels, "
            "and masks beside the images (1.jpg, 1_mask.png)",
            kind="folder of no known layout",
            file=root,
            fix="Say images= and masks= to name the folders.",
        )
    if not parts:
        named = [name for name in (images, masks) if name is not None]
        missing = ", ".join(str(root / name) for name in named if not (root / name).is_dir())
        return DataError(
            "images= and masks= name folders that do not lie there together"
            f"{f' ({missing} is missing)' if missing else ''}, neither in the root nor in the "
            "folders of splits",
            kind="folder that is not there",
            file=root,
        )
    listed = [
        f"{name!r} ({part.images.relative_to(root).as_posix()})" for name, part in parts.items()
    ]
    more = f" and {len(listed) - 6} more" if len(listed) > 6 else ""
    return DataError(
        f"split {split!r} is not there, with images and masks; there "
        f"{'is' if len(parts) == 1 else 'are'} {', '.join(listed[:6])}{more}",
        kind="split that is not there",
        file=root,
        fix=_another_split(split, parts, root),
    )
