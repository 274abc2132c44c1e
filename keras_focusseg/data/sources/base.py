"""What a source of samples is, and the helpers that every source on disk shares."""

from __future__ import annotations

import abc
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from keras_focusseg.errors import OUTSIDE, DataError
from keras_focusseg.label_spaces import IGNORE, LabelSpace
from keras_focusseg.label_spaces.text import as_on_disk

OTHER_TYPE = "argument of another type"
"""The kind of the error about a root or a split that is no path or no text."""


class Sample(NamedTuple):
    """One image with its mask.

    Attributes:
        image: (H, W, 3) uint8, RGB.
        mask: (H, W) uint8, train ids 0..C-1 and 255 where ignored.
        name: What to call the sample, unique within its source; file stem where there is one.
    """

    image: np.ndarray
    mask: np.ndarray
    name: str


class Source(abc.ABC):
    """An indexed collection of samples: what lies where, and what its ids mean.

    A subclass sets `name`, `split` and `label_space`, and defines `__len__` and `load`. `load`
    may be called from several threads at once, and gives the same sample for the same index.

    Attributes:
        name: Name of the dataset, e.g. "camvid".
        split: Which part of it, e.g. "train".
        label_space: Classes, colours and ids.
        note: What has to be said beside every score on this source; empty where nothing has.
        layout: What was found on disk, in a few words; empty where there is no disk.
        unpaired: Files that have no partner and were left out, as `strict=False` allows.
        faults: What is wrong with what else was left out, as `strict=False` allows.

    Example:
        ```python
        class Grey(Source):
            name, split = "grey", "train"
            label_space = label_spaces.from_names(["a", "b"])
            def __len__(self):
                return 2
            def load(self, index):
                mask = np.full((4, 4), index, "uint8")
                return Sample(np.full((4, 4, 3), 128, "uint8"), mask, str(index))
        ```
    """

    name: str
    split: str
    label_space: LabelSpace
    note: str = ""
    layout: str = ""
    unpaired: Sequence[Path] = ()
    faults: Sequence[DataError] = ()

    @abc.abstractmethod
    def __len__(self) -> int:
        """Number of samples."""

    @abc.abstractmethod
    def load(self, index: int) -> Sample:
        """Reads one sample.

        Args:
            index: 0..len-1.

        Returns:
            The sample.

        Raises:
            DataError: If what lies there is not a valid sample.
        """

    def load_mask(self, index: int) -> np.ndarray:
        """Reads the mask of one sample alone, for what looks at classes only.

        Args:
            index: 0..len-1.

        Returns:
            (H, W) uint8, equal to `load(index).mask`; sources of files do not read the image.
        """
        return self.load(index).mask

    def sample_name(self, index: int) -> str:
        """Name of one sample, equal to `load(index).name`; sources of files do not read it."""
        return self.load(index).name

    def files(self, index: int) -> tuple[Path, ...]:
        """The files of one sample: its image, then what its mask is made from.

        Args:
            index: 0..len-1.

        Returns:
            The paths; empty for a source that reads no files.
        """
        return ()

    def __iter__(self) -> Iterator[Sample]:
        """All samples in order, read one at a time."""
        return (self.load(index) for index in range(len(self)))

    def __repr__(self) -> str:
        said = "".join(f"; {text}" for text in (self.layout, self.note) if text)
        return f"<{type(self).__name__} {self.name!r} {self.split!r}: {len(self)} samples{said}>"


def check_source(source: Any) -> None:
    """Refuses what is no source.

    Raises:
        ValueError: It is something else, such as a path.
    """
    if not hasattr(source, "load") or not hasattr(source, "label_space"):
        raise ValueError(
            f"source must be a data.Source, such as data.open_source gives; got {source!r:.80}."
        )


def check_sample(sample: Sample, source: Source) -> Sample:
    """The sample, held to what a source promises: types, shapes, ids.

    Raises:
        DataError: A type, a shape or an id is another.
    """
    image, mask, name = sample
    where = f"sample {name!r} of {source.name!r} ({source.split})"
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[-1] != 3:
        raise DataError(
            f"{where}: the image is {image.dtype} {image.shape}",
            kind="sample that is not what a source promises",
            expected="uint8 (H, W, 3)",
        )
    if mask.dtype != np.uint8 or mask.shape != image.shape[:2]:
        raise DataError(
            f"{where}: the mask is {mask.dtype} {mask.shape}",
            kind="sample that is not what a source promises",
            expected=f"uint8 {image.shape[:2]}",
        )
    # Every sample of every epoch comes by here: two comparisons take a tenth of a histogram.
    outside = (mask >= source.label_space.num_classes) & (mask != IGNORE)
    if outside.any():
        value = int(mask[outside].min())
        raise DataError(
            f"{where}: the mask holds {value} ({(mask == value).sum()} of {mask.size} pixels)",
            kind="ids outside the table",
            expected=f"0..{source.label_space.num_classes - 1}, or 255 where ignored",
            fix="A source maps the ids on disk with label_space.to_train_ids.",
        )
    return sample


def check_split(split: object) -> None:
    """Refuses names of splits that are no text.

    Raises:
        DataError: With what was given.
    """
    if not isinstance(split, str):
        raise DataError(
            f"split is given as {split!r}",
            kind=OTHER_TYPE,
            expected="its name, such as 'train', or several as 'train+val'",
        )


def existing_folder(path: str | Path, what: str, fix: str = "") -> Path:
    """The folder, if it is there; the error calls it `what` and names what lies beside it.

    Raises:
        DataError: It is no path, is not there, is no folder, or cannot be read.
    """
    if not isinstance(path, (str, Path)):
        raise DataError(
            f"{what} is given as {path!r}", kind=OTHER_TYPE, expected="its path, text or a Path"
        )
    folder = as_on_disk(path)
    parent = folder.parent
    try:
        there = folder.is_dir()
        beside = sorted(p.name for p in parent.iterdir()) if not there and parent.is_dir() else []
    except OSError as error:
        raise unreadable(folder, what, error) from error
    if not there:
        kind, found = "folder that is not there", f"{what} is not there; {parent} "
        found += f"holds {some(beside, 10)}" if beside else "is empty or missing"
        if folder.is_file():
            found, fix = f"{what} is a file", "Name the folder; an archive has to be unpacked."
        raise DataError(found, kind=kind, file=folder, fix=fix)
    return folder


def unreadable(folder: Path, what: str, error: OSError) -> DataError:
    """What to say of a folder that cannot be read."""
    return DataError(
        f"{what} cannot be read ({error.strerror})",
        kind="folder that cannot be read",
        file=folder,
        fix="Give yourself the right to list and enter it, or look whether its disk is there.",
    )


def inside(path: Path, root: Path) -> Path:
    """The path, if it does not lead out of the resolved folder `root` by a link.

    Raises:
        DataError: The path is a link out of it, or to nowhere.
    """
    try:
        target = path.resolve()
    except (OSError, RuntimeError) as error:  # before Python 3.13 a circle is a RuntimeError
        raise DataError(
            f"is a link that leads nowhere ({error})", kind=OUTSIDE, file=path, fix="Remove it."
        ) from error
    if not target.is_relative_to(root):
        raise DataError(
            f"is a link to {target}, outside {root}; nothing outside is read",
            kind=OUTSIDE,
            file=path,
            fix="Copy the file into the folder, or open the folder that really holds it.",
        )
    return path


def some(names: Iterable[str], count: int = 5) -> str:
    """The first few names, and how many more there are."""
    listed = list(names)
    more = f" and {len(listed) - count} more" if len(listed) > count else ""
    return ", ".join(repr(name) for name in listed[:count]) + more
