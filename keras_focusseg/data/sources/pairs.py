"""What the sources of image and mask files share: finding folders, listing files, pairing them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from keras_focusseg.data.errors import DataError
from keras_focusseg.data.sources.base import Sample, Source, existing_folder, inside, some
from keras_focusseg.data.sources.readers import FORMATS, read_labels, read_pair
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
    """Where a dataset lies: in the root, or at most two folders below, as archives unpack.

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
    for bases in _levels(root):
        for folder in folders:
            found = [base for base in bases if os.path.isdir(base / folder)]
            if len(found) > 1:
                raise DataError(
                    f"{root}: {dataset} is there {len(found)} times, in "
                    f"{some((base.relative_to(root).as_posix() for base in found), 9)}. "
                    "Open one of these folders."
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
    inner = list(folders_in(root).values())
    there = some((p.name for p in inner), 9)
    if locked := [p.name for p in inner if not os.access(p, os.R_OK | os.X_OK)]:
        there += f", of which you may not read {some(locked)}"
    raise DataError(
        f"{root}: {dataset} is not there; found {there or 'no folder'}, "
        f"looked for {some(folders, 9)}.{hint}"
    )


def spotted(root: str | Path, folders: Sequence[str]) -> Path | None:
    """The first of some folders that `located` would find, without any complaint.

    Args:
        root: folder to look in.
        folders: relative folders.

    Returns:
        That folder; None if there is none, or nothing can be read there.
    """
    try:
        root = Path(root).resolve()
        for bases in _levels(root):
            for folder in folders:
                for base in bases:
                    if os.path.isdir(base / folder):
                        return inside(base / folder, root)
    except (OSError, ValueError):  # `inside` raises a ValueError, as do names with a zero byte
        pass
    return None


def _levels(root: Path) -> Iterator[list[Path]]:
    """The root, its folders, and the folders in these."""
    yield [root]
    inner = list(folders_in(root).values())
    yield inner
    # Archives put a few folders around their content; a root of many is something else.
    readable = [folder for folder in inner if os.access(folder, os.R_OK | os.X_OK)]
    yield (
        [deep for folder in readable for deep in folders_in(folder).values()]
        if len(inner) <= 20
        else []
    )


def folders_in(folder: Path) -> dict[str, Path]:
    """The folders in a folder by name, without what is hidden or a Mac's archive adds."""
    return {
        entry.name: Path(entry.path)
        for entry in entries(folder)
        if entry.name != "__MACOSX" and is_folder(entry)
    }


def entries(folder: Path) -> list[os.DirEntry[str]]:
    """What lies in a folder, sorted by name; hidden files do not count.

    Args:
        folder: which folder.

    Returns:
        Its entries.

    Raises:
        DataError: if it cannot be read.
    """
    try:
        with os.scandir(folder) as found:
            visible = [entry for entry in found if not entry.name.startswith(".")]
    except OSError as error:
        raise DataError(
            f"{folder}: the folder cannot be read ({error.strerror}). Look at its rights, and at "
            "whether its disk is there."
        ) from error
    return sorted(visible, key=lambda entry: entry.name)


def listing(folder: Path, root: Path, ending: str, deep: bool = False) -> dict[str, Path]:
    """The files of a folder whose names have an ending.

    Upper or lower case does not matter, and `.jpeg` is `.jpg`.

    Args:
        folder: which folder.
        root: resolved folder that nothing may be read outside of.
        ending: with the suffix, e.g. "_L.png".
        deep: look into the folders in the folder, and only there.

    Returns:
        By name without the ending; if `deep`, with the inner folder before it: "city/name".
        Hidden files do not count.

    Raises:
        DataError: if a file or folder is a link out of the root, two files have the same name but
            for the ending, or the folder cannot be read.
    """
    inside(folder, root)
    found: dict[str, Path] = {}
    for entry in entries(folder):
        if deep and is_folder(entry):
            inner = listing(Path(entry.path), root, ending)
            found |= {f"{entry.name}/{name}": path for name, path in inner.items()}
        elif not deep and (length := _ends_in(entry.name, ending)) and not is_folder(entry):
            # Only links can lead out: the folder itself has been looked at.
            path = Path(entry.path)
            name = entry.name[:-length]
            if name in found:
                raise DataError(
                    f"{path}: has the same name as {found[name].name!r} but for the suffix, so "
                    "pairs are not defined. Rename or move one of them."
                )
            found[name] = inside(path, root) if entry.is_symlink() else path
    return found


def is_folder(entry: os.DirEntry[str]) -> bool:
    """Whether an entry is a folder; a link that leads in a circle is none."""
    try:
        return entry.is_dir()
    except OSError:
        return False


def _ends_in(name: str, ending: str) -> int:
    """How many characters of the name are the ending; 0 if it has another one."""
    others = [f"{ending[:-4]}.jpeg"] if ending.endswith(".jpg") else []
    return next((len(e) for e in (ending, *others) if name.casefold().endswith(e.casefold())), 0)


def folder_pairs(
    images: Path,
    masks: Path,
    root: Path,
    endings: tuple[str, str],
    fix: str,
    deep: bool = False,
    left_out: list[Path] | None = None,
) -> list[Pair]:
    """The pairs of a folder of images and a folder of masks.

    Args:
        images: folder of images.
        masks: folder of masks.
        root: resolved folder that nothing may be read outside of.
        endings: what the names of images and masks end in, beside what they have in common.
        fix: what to do if something is missing, as a sentence.
        deep: the files lie in folders of these folders.
        left_out: see `paired`.

    Returns:
        Name, image and mask of each, sorted by name.

    Raises:
        DataError: if a folder is missing or empty, or a file has no partner.
    """
    existing_folder(images, "the image folder", fix)
    existing_folder(masks, "the mask folder", fix)
    image_files = listing(images, root, endings[0], deep)
    pairs = paired(
        image_files, listing(masks, root, endings[1], deep), (images, masks), fix, left_out
    )
    if not pairs and not image_files:
        where = "in its folders" if deep else "there"
        raise DataError(f"{images}: no file {where} has a name that ends in {endings[0]}. {fix}")
    if not pairs:
        raise DataError(f"{images}: none of its {len(image_files)} images has a mask. {fix}")
    return pairs


def paired(
    images: dict[str, Path],
    masks: dict[str, Path],
    folders: tuple[Path, Path],
    fix: str,
    left_out: list[Path] | None = None,
) -> list[Pair]:
    """Images and masks of the same name.

    Args:
        images: files by name.
        masks: files by name.
        folders: the folder of images and that of masks, for the error.
        fix: what to do about a file without a partner, as a sentence.
        left_out: None, and a file without a partner is an error; or a list, to which such files
            are added instead.

    Returns:
        Name, image and mask of each, sorted by name.

    Raises:
        DataError: if a file has no partner and nothing may be left out.
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
            raise DataError(
                f"{folder}: {len(alone)} of {len(files)} files have no partner of the same "
                f"name in {other}: {names}. {other} holds "
                f"{some(p.name for p in list(partners.values())[:3]) or 'no picture'}."
                f"{_near(alone, other)} {fix}"
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
                return f" For {stem!r} there is {entry.name!r}, which is another name."
    return ""


def printable(name: str) -> str:
    """The name with escapes for bytes that are no UTF-8, so that it can be written anywhere."""
    return name.encode("utf-8", "backslashreplace").decode()


def pair_count(pairs: Sequence[Pair], unpaired: Sequence[Path]) -> str:
    """How many pairs there are, and how many files were left out, for `layout`."""
    left = f", {len(unpaired)} without partner left out" if unpaired else ""
    return f"{len(pairs)} pair{'s' if len(pairs) != 1 else ''}{left}"


def mask_kind(mask: Path) -> str:
    """How a mask stands on disk, by the head of its file.

    Args:
        mask: its file.

    Returns:
        "ids" for one channel, "palette", or "colors"; the last too for what is no picture, since
        reading says what is wrong with it.
    """
    try:
        with Image.open(mask, formats=FORMATS) as picture:
            mode = picture.mode
    except Exception:  # decoders of broken files raise almost anything
        return "colors"
    return {"P": "palette", "L": "ids", "1": "ids"}.get(mode, "ids" if mode[0] == "I" else "colors")
