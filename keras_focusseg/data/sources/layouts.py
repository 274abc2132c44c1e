"""Benchmarks as rows of a table: what lies where, and one body that opens all of them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from keras_focusseg import label_spaces
from keras_focusseg.data.sources.base import existing_folder, inside, some
from keras_focusseg.data.sources.listing import entries, files_ending, folders_in, is_folder
from keras_focusseg.data.sources.pairs import PairSource, pair_count, paired, split_parts
from keras_focusseg.errors import DataError, printable


@dataclass(frozen=True)
class Layout:
    """What lies where below a dataset's own folder; `{}` stands for the folder of a split.

    Attributes:
        masks: Folder of masks, which marks the dataset.
        images: Folders of images. The first lies beside the masks; if it does not, the first that
            is anywhere in the root counts, as archives of images unpack into folders of their own.
        splits: The labelled splits, and what their folders are called.
        image_ending: What the names of images end in, beside what they share with their masks.
        mask_endings: What the names of masks end in; the first that occurs counts for all.
        start: What the names of a split begin with, where the splits share one folder.
        deep: Whether files may lie in folders of these folders, such as one a city.
    """

    masks: str
    images: tuple[str, ...]
    splits: Mapping[str, str]
    image_ending: str = ".png"
    mask_endings: tuple[str, ...] = (".png",)
    start: str = ""
    deep: bool = False

    def marks(self) -> list[str]:
        """The folders of masks, any of which marks the dataset."""
        return list(dict.fromkeys(self.masks.format(name) for name in self.splits.values()))

    def labeled(self, base: Path) -> list[str]:
        """The splits whose masks are there."""
        folders = {split: base / self.masks.format(name) for split, name in self.splits.items()}
        return [
            split
            for split, folder in folders.items()
            if folder.is_dir() and (not self.start or self._begun(folder, split))
        ]

    def files(
        self, base: Path, root: Path, split: str, mask_ending: str, fix: str
    ) -> tuple[tuple[Path, Path], dict[str, Path], dict[str, Path]]:
        """Folder of images and folder of masks of a split, and the files in each by name."""
        name = self.splits[split]
        images = base / self.images[0].format(name)
        if not images.is_dir():
            images = _anywhere(root, [folder.format(name) for folder in self.images]) or images
        masks = base / self.masks.format(name)
        existing_folder(images, "the image folder", fix)
        existing_folder(masks, "the mask folder", fix)
        deep = self.deep and any(is_folder(entry) for entry in entries(images))
        start = self.start.format(name)
        found = [
            {name: path for name, path in files.items() if name.startswith(start)}
            for files in (
                files_ending(images, root, self.image_ending, deep),
                files_ending(masks, root, mask_ending, deep),
            )
        ]
        return (images, masks), found[0], found[1]

    def _begun(self, folder: Path, split: str) -> bool:
        start = self.start.format(self.splits[split])
        return any(entry.name.startswith(start) for entry in entries(folder))


class Benchmark(PairSource):
    """A benchmark of images and masks, each split a folder: the rows of `layouts` say which.

    A subclass sets the attributes, and `name` as every source does.

    Attributes:
        title: What it is called in errors.
        layouts: The layouts that its archives and mirrors have.
        get: Where to get it, as sentences.
        lone: What to do about a file without partner, if that is more than `get`.
        how: What the masks hold, in parentheses, for `Source.layout`.
        unlabelled: What is known of the labels of split "test".
    """

    title: str
    layouts: tuple[Layout, ...]
    get: str
    lone: str = ""
    how: str = ""
    unlabeled: str = "they are not public."

    def __init__(self, root: str | Path, split: str = "train", *, strict: bool = True) -> None:
        self.label_space = self.encoding = label_spaces.get(self.name)
        self._open(root, split, strict, self.layouts)

    def _open(
        self, root: str | Path, split: str, strict: bool, layouts: Sequence[Layout]
    ) -> tuple[Layout, str]:
        """Find the pairs; returns the layout that is there, and what its masks end in."""
        self.root = existing_folder(root, f"the {self.title} folder").resolve()
        self.split = split
        parts = split_parts(split, tuple(layouts[0].splits), self.title, self.unlabeled)
        base, layout = located(self.root, layouts, self.title, self.get)
        # One encoding for all splits: the same number may mean two things in two of them.
        endings = layout.mask_endings
        ending = next((e for e in endings[:-1] if self._any(base, layout, parts, e)), endings[-1])
        left_out: list[Path] = []
        self.pairs, self.unpaired = [], left_out
        for part in parts:
            folders, images, masks = layout.files(base, self.root, part, ending, self.get)
            found = paired(
                images, masks, folders, self.lone or self.get, None if strict else left_out
            )
            if not found:
                raise _no_pair(folders, len(images), layout, self.get)
            self.pairs += [(name.rpartition("/")[2], image, mask) for name, image, mask in found]
        together = [path.parent if layout.masks.endswith("/{}") else path for path in folders]
        where = " with ".join(path.relative_to(self.root).as_posix() for path in together)
        self.layout = f"{printable(where)}{self.how}, {pair_count(self.pairs, left_out)}"
        return layout, ending

    def _any(self, base: Path, layout: Layout, parts: Sequence[str], ending: str) -> bool:
        return any(layout.files(base, self.root, part, ending, self.get)[2] for part in parts)

    @classmethod
    def recognizes(cls, root: str | Path) -> bool:
        """Whether images and masks lie there; never raises."""
        found = spotted(root, cls.layouts)
        return found is not None and _has_images(Path(root).resolve(), *found)

    @classmethod
    def splits(cls, root: str | Path) -> tuple[str, ...]:
        """The splits that have masks there."""
        found = spotted(root, cls.layouts)
        return tuple(found[1].labeled(found[0])) if found else ()


def located(root: Path, layouts: Sequence[Layout], dataset: str, get: str) -> tuple[Path, Layout]:
    """Where a dataset lies: in the root, or at most two folders below, as archives unpack.

    Returns the folder that it lies in and its layout, the first of the table that is there. If none
    is, the error says what was looked for and where to `get` it; or that it lies there twice.

    Raises:
        DataError: It is not there, or more than once.
    """
    for bases in levels(root):
        for layout in layouts:
            found = [base for base in bases if _marked(base, layout)]
            if len(found) > 1:
                names = some((base.relative_to(root).as_posix() for base in found), 9)
                raise DataError(
                    f"{dataset} is there {len(found)} times, in {names}",
                    kind="dataset that is there more than once",
                    file=root,
                    fix="Open one of these folders.",
                )
            if found:
                inside(found[0] / _marked(found[0], layout), root)
                return found[0], layout
    above = root.parent
    near = any(_marked(above, layout) for layout in layouts)
    inner = list(folders_in(root).values())
    there = some((p.name for p in inner), 9)
    if locked := [p.name for p in inner if not os.access(p, os.R_OK | os.X_OK)]:
        there += f", of which you may not read {some(locked)}"
    marks = list(dict.fromkeys(mark for layout in layouts for mark in layout.marks()))
    raise DataError(
        f"{dataset} is not there; found {there or 'no folder'}, looked for {some(marks, 9)}",
        kind="dataset that is not there",
        file=root,
        fix=f"{above} is where it lies: open that folder." if near else get,
    )


def spotted(root: str | Path, layouts: Sequence[Layout]) -> tuple[Path, Layout] | None:
    """What `located` would find, without any complaint; None if nothing can be found."""
    try:
        top = Path(root).resolve()
        for bases in levels(top):
            for layout in layouts:
                for base in bases:
                    if mark := _marked(base, layout):
                        inside(base / mark, top)
                        return base, layout
    except (OSError, ValueError):  # a `DataError` is a ValueError; so are names with a zero byte
        pass
    return None


def first_masks(found: tuple[Path, Layout]) -> Path:
    """A folder of masks of a dataset that was spotted."""
    base, layout = found
    return base / _marked(base, layout)


def _marked(base: Path, layout: Layout) -> str:
    """The first folder of masks that is there; empty if none is."""
    return next((mark for mark in layout.marks() if os.path.isdir(base / mark)), "")


def _has_images(root: Path, base: Path, layout: Layout) -> bool:
    names = layout.splits.values()
    return any((base / layout.images[0].format(name)).is_dir() for name in names) or any(
        _anywhere(root, [folder.format(name) for folder in layout.images]) for name in names
    )


def _anywhere(root: Path, folders: Sequence[str]) -> Path | None:
    """The first of some folders that is in the root or at most two folders below."""
    for bases in levels(root):
        for folder in folders:
            for base in bases:
                if os.path.isdir(base / folder):
                    return inside(base / folder, root)
    return None


def levels(root: Path) -> Iterator[list[Path]]:
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


def _no_pair(folders: tuple[Path, Path], images: int, layout: Layout, fix: str) -> DataError:
    where = "in its folders" if layout.deep else "there"
    said = (
        f"none of its {images} images has a mask"
        if images
        else f"no file {where} has a name that ends in {layout.image_ending}"
    )
    return DataError(said, kind="empty split", file=folders[0], fix=fix)
