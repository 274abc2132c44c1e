"""What the sources of image and mask files share: finding folders, listing files, pairing them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from keras_focusseg.data.errors import DataError
from keras_focusseg.data.sources.base import Sample, Source, existing_folder, inside, some
from keras_focusseg.data.sources.readers import read_labels, read_pair
from keras_focusseg.label_spaces import Grouping, LabelSpace

Pair = tuple[str, Path, Path]
"""Name of a sample, its image and its mask."""


class PairSource(Source):
    """A source whose samples are pairs of files.

    A subclass sets `pairs` and `encoding` besides what every source has.

    Attributes:
        pairs: name, image and mask of each sample.
        encoding: what the ids in the masks mean (a label space), or their colours (a grouping).
    """

    pairs: list[Pair]
    encoding: LabelSpace | Grouping

    def __len__(self) -> int:
        return len(self.pairs)

    def load(self, index: int) -> Sample:
        """Read pair `index`: image (H, W, 3) uint8, mask (H, W) uint8, name."""
        name, image_path, mask_path = self.pairs[index]
        image, mask = read_pair(image_path, mask_path, self.encoding, self.max_stray_of(name))
        return Sample(image, mask, name)

    def load_mask(self, index: int) -> np.ndarray:
        """Read the mask of pair `index` alone: (H, W) uint8."""
        name, _, mask_path = self.pairs[index]
        return read_labels(mask_path, self.encoding, self.max_stray_of(name))

    def sample_name(self, index: int) -> str:
        """Name of pair `index`."""
        return self.pairs[index][0]

    def files(self, index: int) -> tuple[Path, ...]:
        """Image and mask of pair `index`."""
        return self.pairs[index][1:]

    def max_stray_of(self, name: str) -> int:
        """How many pixels of that sample may have a colour that no class has; see `read_pair`."""
        return 0


def split_parts(split: str, known: Sequence[str], dataset: str, unlabelled: str = "") -> list[str]:
    """The splits that "train+val" and the like join.

    Args:
        split: one name, or several joined by "+".
        known: the names that exist.
        dataset: what to call the dataset in the error.
        unlabelled: if the dataset has a split "test" without labels, what is known of them.

    Returns:
        The names, each once.

    Raises:
        DataError: if a name is unknown or comes twice.
    """
    parts = [part.strip() for part in split.split("+")]
    for part in parts:
        if part == "test" and unlabelled:
            raise DataError(
                f"{dataset} has no labels for split 'test': {unlabelled} Score on split 'val'."
            )
        if part not in known:
            raise DataError(
                f"{dataset} has no split {part!r}; it has {some(known, 9)}, and several as in "
                f"{'+'.join(known[:2])!r}."
            )
    if len(set(parts)) < len(parts):
        raise DataError(f"{dataset}: {split!r} names a split twice.")
    return parts


def located(root: Path, folders: Sequence[str], dataset: str, layout: str) -> tuple[Path, str]:
    """Where a dataset lies: in the root, or in a folder of the root, as archives unpack.

    Args:
        root: resolved folder that the user names.
        folders: relative folders, any of which marks the dataset; the first that is there counts.
        dataset: what to call the dataset in the error.
        layout: what should be there and where to get it, as sentences for the error.

    Returns:
        The folder that the dataset lies in, and the one of `folders` that is there.

    Raises:
        DataError: if none of the folders is there, or the dataset lies there more than once.
    """
    inner = sorted(p for p in root.iterdir() if p.is_dir() and not p.name.startswith("."))
    for bases in ([root], inner):
        for folder in folders:
            found = [base for base in bases if (base / folder).is_dir()]
            if len(found) > 1:
                raise DataError(
                    f"{root}: {dataset} is there {len(found)} times, in "
                    f"{some((base.name for base in found), 9)}. Open one of these folders."
                )
            if found:
                inside(found[0] / folder, root)
                return found[0], folder
    above = root.parent
    hint = (
        f" {above} is where it lies: open that folder."
        if any((above / folder).is_dir() for folder in folders)
        else f" {layout}"
    )
    raise DataError(
        f"{root}: {dataset} is not there; found {some((p.name for p in inner), 9) or 'no folder'}, "
        f"looked for {some(folders, 9)}.{hint}"
    )


def listing(folder: Path, root: Path, ending: str, deep: bool = False) -> dict[str, Path]:
    """The files of a folder whose names have an ending.

    Args:
        folder: which folder.
        root: resolved folder that nothing may be read outside of.
        ending: with the suffix, e.g. "_L.png".
        deep: look into the folders in the folder, and only there.

    Returns:
        By name without the ending; if `deep`, with the inner folder before it: "city/name".
        Hidden files do not count.

    Raises:
        DataError: if a file or folder is a link out of the root.
    """
    inside(folder, root)
    found: dict[str, Path] = {}
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        if entry.name.startswith("."):
            continue
        if deep and entry.is_dir():
            inner = listing(Path(entry.path), root, ending)
            found |= {f"{entry.name}/{name}": path for name, path in inner.items()}
        elif not deep and entry.name.endswith(ending) and not entry.is_dir():
            path = Path(entry.path)
            # Only links can lead out: the folder itself has been looked at.
            found[entry.name.removesuffix(ending)] = (
                inside(path, root) if entry.is_symlink() else path
            )
    return found


def folder_pairs(
    images: Path,
    masks: Path,
    root: Path,
    endings: tuple[str, str],
    fix: str,
    deep: bool = False,
) -> list[Pair]:
    """The pairs of a folder of images and a folder of masks.

    Args:
        images: folder of images.
        masks: folder of masks.
        root: resolved folder that nothing may be read outside of.
        endings: what the names of images and masks end in, beside what they have in common.
        fix: what to do if something is missing, as a sentence.
        deep: the files lie in folders of these folders.

    Returns:
        Name, image and mask of each, sorted by name.

    Raises:
        DataError: if a folder is missing or empty, or a file has no partner.
    """
    existing_folder(images, "the image folder", fix)
    existing_folder(masks, "the mask folder", fix)
    pairs = paired(
        listing(images, root, endings[0], deep),
        listing(masks, root, endings[1], deep),
        (images, masks),
        fix,
    )
    if not pairs:
        where = "in its folders" if deep else "there"
        raise DataError(f"{images}: no file {where} has a name that ends in {endings[0]}. {fix}")
    return pairs


def paired(
    images: dict[str, Path], masks: dict[str, Path], folders: tuple[Path, Path], fix: str
) -> list[Pair]:
    """Images and masks of the same name.

    Args:
        images: files by name.
        masks: files by name.
        folders: the folder of images and that of masks, for the error.
        fix: what to do about a file without a partner, as a sentence.

    Returns:
        Name, image and mask of each, sorted by name.

    Raises:
        DataError: if a file has no partner.
    """
    image_folder, mask_folder = folders
    for files, folder, partners, other in (
        (images, image_folder, masks, mask_folder),
        (masks, mask_folder, images, image_folder),
    ):
        if alone := sorted(set(files) - set(partners)):
            names = some(files[name].relative_to(folder).as_posix() for name in alone)
            raise DataError(
                f"{folder}: {len(alone)} of {len(files)} files have no partner of the same "
                f"name in {other}: {names}. {other} holds "
                f"{some(p.name for p in list(partners.values())[:3]) or 'no picture'}. {fix}"
            )
    return [(name, images[name], masks[name]) for name in sorted(images)]
