"""What the sources of image and mask files share: pairing by name, and joining splits."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from keras_focusseg.data.sources.base import Sample, Source, check_split, some
from keras_focusseg.data.sources.listing import entries
from keras_focusseg.errors import DataError, Place, printable
from keras_focusseg.label_spaces import Grouping, LabelSpace, UnknownLabels
from keras_focusseg.pictures import readers

Pair = tuple[str, Path, Path]
"""Name of a sample, its image and its mask."""

RESTORE = "Restore the missing files, or move their partners away."
"""What to do about a file without a partner."""


class PairSource(Source):
    """A source whose samples are pairs of files.

    A subclass sets `pairs` and `encoding` besides what every source has.

    Attributes:
        pairs: Name, image and mask of each sample.
        encoding: What the ids in the masks mean (a label space), or their colours (a grouping).
    """

    pairs: list[Pair]
    encoding: LabelSpace | Grouping

    def __len__(self) -> int:
        return len(self.pairs)

    def load(self, index: int) -> Sample:
        """Reads pair `index`: image (H, W, 3) uint8, mask (H, W) uint8, name."""
        name, image_path, mask_path = self.pairs[index]
        image, mask = read_pair(image_path, mask_path, self.encoding, self.max_stray_of(name))
        return Sample(image, mask, name)

    def load_mask(self, index: int) -> np.ndarray:
        """Reads the mask of pair `index` alone: (H, W) uint8."""
        name, _, mask_path = self.pairs[index]
        return read_labels(mask_path, self.encoding, self.max_stray_of(name))

    def sample_name(self, index: int) -> str:
        """Name of pair `index`."""
        return self.pairs[index][0]

    def files(self, index: int) -> tuple[Path, ...]:
        """Image and mask of pair `index`."""
        return self.pairs[index][1:]

    def max_stray_of(self, name: str) -> int | None:
        """How many pixels of that sample may have a colour that no class has; see `read_labels`."""
        return None


def read_pair(
    image_path: str | Path,
    mask_path: str | Path,
    encoding: LabelSpace | Grouping,
    max_stray: int | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Reads an image and its mask, and holds them against each other and what the mask may hold.

    Args:
        image_path: Picture, see `read_image`.
        mask_path: Ids, see `read_mask`, or colours, see `read_color_mask`.
        encoding: What the ids on disk mean (a label space), or the colours (a grouping).
        max_stray: See `read_labels`.

    Returns:
        image (H, W, 3) uint8 and mask (H, W) uint8 of train ids, 255 where ignored.

    Raises:
        DataError: If either cannot be read, if the sizes differ, or if an id or colour is
            unknown.
    """
    image = readers.read_image(image_path)
    mask = read_labels(mask_path, encoding, max_stray)
    if image.shape[:2] != mask.shape:
        across = image.shape[:2] == mask.shape[::-1] and readers.lies_on_its_side(image_path)
        raise Place(Path(mask_path)).error(
            f"the mask is {_size(mask)} but its image {image_path} is {_size(image)} (width x "
            "height)",
            "mask that lies across its EXIF-rotated image"
            if across
            else "mask of another size than its image",
            fix="The image was turned upright by its EXIF orientation; make the mask for the "
            "upright image, or remove the tag."
            if across
            else "Make the mask for this very image. If it has to be scaled, take the nearest "
            "neighbour: anything else blends ids.",
        )
    return image, mask


def read_labels(
    path: str | Path, encoding: LabelSpace | Grouping, max_stray: int | None = None
) -> np.ndarray:
    """Reads a mask as train ids, (H, W) uint8; arguments and errors as `read_pair`."""
    place = Place(Path(path))
    if not isinstance(encoding, Grouping):
        return train_ids(readers.read_mask(path), encoding, place)
    colors = readers.read_color_mask(path)
    try:
        return encoding.to_train_ids(colors, str(path), max_stray or 0)
    except UnknownLabels as error:
        more = " max_stray= ignores up to so many pixels of such colours."
        fix = error.fix + (more if max_stray is not None else "")
        raise place.error(error.found, "colours outside the table", fix=fix) from error


def train_ids(raw: np.ndarray, space: LabelSpace, place: Place) -> np.ndarray:
    """The ids of a mask that stands at `place` as train ids; see `LabelSpace.to_train_ids`."""
    try:
        return space.to_train_ids(raw, str(place.file))
    except UnknownLabels as error:
        raise place.error(error.found, "ids outside the table", fix=error.fix) from error


def _size(array: np.ndarray) -> str:
    return f"{array.shape[1]} x {array.shape[0]}"


def split_parts(split: str, known: Sequence[str], dataset: str, unlabeled: str = "") -> list[str]:
    """The splits that "train+val" and the like join, each of which must be known.

    `unlabeled` says what is known of the labels of split "test", if the dataset has none.

    Raises:
        DataError: A split is named twice, has no labels, or is not known.
    """
    check_split(split)
    parts = [part.strip() for part in split.split("+")]
    kind = "split that is not there"
    for part in parts:
        if part == "test" and unlabeled:
            raise DataError(
                f"{dataset} has no labels for split 'test': {unlabeled}",
                kind=kind,
                fix="Score on split 'val'.",
            )
        if part not in known:
            several = f", and several as in {'+'.join(known[:2])!r}" if len(known) > 1 else ""
            raise DataError(
                f"{dataset} has no split {part!r}; it has {some(known, 9)}{several}", kind=kind
            )
    if len(set(parts)) < len(parts):
        raise DataError(f"{dataset}: {split!r} names a split twice", kind=kind)
    return parts


def paired(
    images: dict[str, Path],
    masks: dict[str, Path],
    folders: tuple[Path, Path],
    fix: str,
    left_out: list[Path] | None = None,
) -> list[Pair]:
    """Images and masks of the same name, sorted by it.

    A file without a partner is an error that names the folders and the fix, or is added to
    `left_out` where that is a list.

    Raises:
        DataError: A file has no partner, and `left_out` is None.
    """
    image_folder, mask_folder = folders
    for files, folder, partners, other in (
        (images, image_folder, masks, mask_folder),
        (masks, mask_folder, images, image_folder),
    ):
        alone = sorted(set(files) - set(partners))
        if left_out is not None:
            left_out += [files[name] for name in alone]
        elif alone:
            names = some(files[name].relative_to(folder).as_posix() for name in alone)
            holds = some(p.name for p in list(partners.values())[:3]) or "no picture"
            raise DataError(
                f"{len(alone)} of {len(files)} files have no partner of the same name in {other}: "
                f"{names}. {other} holds {holds}.{_near(alone, other)}",
                kind="file without partner",
                file=folder,
                fix=fix,
            )
    return [
        (printable(name), images[name], masks[name]) for name in sorted(set(images) & set(masks))
    ]


def _near(names: Sequence[str], folder: Path) -> str:
    """A hint at a file whose name differs from a wanted one by case or suffix alone."""
    for name in names[:3]:
        inner, _, stem = name.rpartition("/")
        if not (folder / inner).is_dir():
            continue
        for entry in entries(folder / inner):
            rest = entry.name.casefold().removeprefix(stem.casefold())
            if rest != entry.name.casefold() and re.match(r"[._-]", rest):
                is_picture = entry.name.lower().endswith(readers.SUFFIXES)
                other = "another name" if is_picture else "no picture"
                return f" For {stem!r} there is {entry.name!r}, which is {other}."
    return ""


def pair_count(pairs: Sequence[Pair], unpaired: Sequence[Path]) -> str:
    """How many pairs there are, and how many files were left out, for `layout`."""
    left = f", {len(unpaired)} without partner left out" if unpaired else ""
    return f"{len(pairs)} pair{'s' if len(pairs) != 1 else ''}{left}"


def listed_pairs(
    listed: Sequence[tuple[str, str]],
    images: dict[str, Path],
    masks: dict[str, Path],
    folders: tuple[Path, Path],
    list_file: Path,
    left_out: list[Path] | None = None,
) -> list[Pair]:
    """The pairs that a list names, in its order; `left_out` as in `paired`.

    `listed` says where each name stands, such as "line 3", and the name.

    Raises:
        DataError: A file is listed twice, or is missing and `left_out` is None.
    """
    pairs: list[Pair] = []
    seen: dict[str, str] = {}
    for line, name in listed:
        if name in seen:
            raise DataError(
                f"{name!r} is listed twice, first in {seen[name]}",
                kind="file that is listed twice",
                file=list_file,
                part=line,
                fix="Delete one of the lines.",
            )
        seen[name] = line
        if name in images and name in masks:
            pairs.append((printable(name), images[name], masks[name]))
        elif left_out is not None:
            left_out += [files[name] for files in (images, masks) if name in files]
        else:
            files, folder = (masks, folders[1]) if name in images else (images, folders[0])
            near = [other for other in files if other.casefold() == name.casefold()]
            hint = f". There is {near[0]!r}: the names must be equal" if near else ""
            raise DataError(
                f"{name!r} is listed, but not in {folder}{hint}",
                kind="file without partner",
                file=list_file,
                part=line,
                fix="Restore the file, delete the line, or say strict=False to leave it out.",
            )
    return pairs
