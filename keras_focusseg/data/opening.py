"""Sources by name: which layouts are known, and which of them lies in a folder."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from keras_focusseg import remote
from keras_focusseg.data.records.read import Records
from keras_focusseg.data.sources.ade20k import ADE20K
from keras_focusseg.data.sources.base import Source, existing_folder, some, unreadable
from keras_focusseg.data.sources.bdd100k import BDD100K
from keras_focusseg.data.sources.camvid import (
    CamVid720,
    camvid_splits,
    open_camvid,
    recognizes_camvid,
)
from keras_focusseg.data.sources.cityscapes import Cityscapes
from keras_focusseg.data.sources.folders.folder import folder_splits, open_folder, recognizes_folder
from keras_focusseg.data.sources.joined import open_joined
from keras_focusseg.data.sources.pascal_voc import PascalVOC
from keras_focusseg.data.sources.polygons.coco import COCO
from keras_focusseg.data.sources.polygons.labelme import Labelme
from keras_focusseg.data.sources.synthetic_streets import SyntheticStreets
from keras_focusseg.errors import DataError


class _Layout(NamedTuple):
    """How a source on disk is opened, which labelled splits it has, and how it is recognised."""

    open: Callable[..., Source]
    splits: Callable[[Path], tuple[str, ...]]
    recognizes: Callable[[Path], bool]


def _of(cls: Any) -> _Layout:
    return _Layout(cls, cls.splits, cls.recognizes)


# In the order in which "auto" asks: the more a layout demands, the earlier.
_LAYOUTS: dict[str, _Layout] = {
    "records": _of(Records),
    "cityscapes": _of(Cityscapes),
    "bdd100k": _of(BDD100K),
    "ade20k": _of(ADE20K),
    "camvid": _Layout(open_camvid, camvid_splits, recognizes_camvid),
    "camvid720": _of(CamVid720),
    "pascal_voc": _of(PascalVOC),
    "coco": _Layout(partial(open_joined, COCO), COCO.splits, COCO.recognizes),
    "labelme": _Layout(partial(open_joined, Labelme), Labelme.splits, Labelme.recognizes),
    "folder": _Layout(partial(open_joined, open_folder), folder_splits, recognizes_folder),
}
SYNTHETIC = "synthetic_streets"
NO_OPTION = "option that a source does not have"
"""The kind of the error about an argument that a source does not take."""


def source_names() -> list[str]:
    """Names that `open_source` knows, "auto" aside, sorted."""
    return sorted([*_LAYOUTS, SYNTHETIC])


def open_source(
    name: str, root: str | Path | None = None, split: str = "train", **options: Any
) -> Source:
    """Opens a source by the name that recipes, presets and the command line use.

    Args:
        name: One of `source_names()`: "ade20k", "bdd100k", "camvid", "camvid720", "cityscapes",
            "coco", "folder", "labelme", "pascal_voc", "records" or "synthetic_streets"; or "auto",
            which takes the first whose layout lies in the root (see `recognize`).
        root: Folder that the dataset lies in; "synthetic_streets" needs none.
        split: "train", "val" or "test", or what else the source has (see `splits`). The
            benchmarks without public test labels have no "test".
        **options: Further arguments of the source, see its class; those of "camvid" are in
            `open_camvid`, those of "folder" in `open_folder`. "synthetic_streets": `count`,
            `size`, `seed`.

    Returns:
        The source; its `layout` says what was found.

    Raises:
        DataError: If the name is unknown, the root is missing or what lies there is not it.

    Example:
        ```python
        source = open_source("synthetic_streets", split="val", count=8)
        ```
    """
    if name == SYNTHETIC:
        opener: Callable[..., Source] = partial(SyntheticStreets, split=split)
    else:
        layout, folder = _layout(name, root)
        opener = partial(layout.open, folder, split)
    try:
        return opener(**options)
    except TypeError as error:
        # The class knows its arguments best, and names the one that it does not have.
        if "keyword argument" in str(error):
            unknown = re.search(r"unexpected keyword argument '(\w+)'", str(error))
            said = repr(unknown[1]) if unknown else error
            raise DataError(
                f"Source {name!r} has no such option: {said}", kind=NO_OPTION
            ) from error
        raise


def splits(name: str, root: str | Path | None = None) -> tuple[str, ...]:
    """The labelled splits that a source has at a root.

    Args:
        name: As for `open_source`.
        root: Folder that the dataset lies in.

    Returns:
        Names of splits, such as ("train", "val").

    Raises:
        DataError: If the name is unknown, the root is missing or no layout is recognised there.

    Example:
        ```python
        splits("synthetic_streets")
        # ('train', 'val')
        ```
    """
    if name == SYNTHETIC:
        return ("train", "val")
    layout, folder = _layout(name, root)
    return layout.splits(folder)


def recognize(root: str | Path) -> str:
    """Which source's layout lies in a folder.

    Args:
        root: Folder that the dataset lies in, or the folder around that.

    Returns:
        Name of the source, the most particular if several would do.

    Raises:
        DataError: If there is no such folder, or nothing in it is known.

    Example:
        ```python
        recognize("cityscapes")
        # 'cityscapes'
        ```
    """
    folder = _root("auto", root)
    for name, layout in _LAYOUTS.items():
        if layout.recognizes(folder):
            return name
    try:
        inner = sorted(folder.iterdir())
        for path in (path for path in inner if path.is_dir()):
            os.scandir(path).close()
    except OSError as error:  # what cannot be read would look like what is not there
        raise unreadable(Path(error.filename or folder), "the folder", error) from error
    found = some((path.name for path in inner), 9) or "nothing"
    raise DataError(
        f"no known layout; it holds {found}. Known are {', '.join(_LAYOUTS)}",
        kind="folder of no known layout",
        file=folder,
        fix="Put images into images/ and masks into masks/, export COCO, Pascal VOC or Labelme "
        "from the annotation tool, or name the source and its options.",
    )


def _root(name: str, root: str | Path | None) -> Path:
    if root is None:
        raise DataError(
            f"Source {name!r} needs root= (--data-root on the command line), the folder that it "
            "lies in",
            kind="root that is missing",
        )
    return existing_folder(remote.local(root), "the root folder")


def _folder_of_that_name(name: Any) -> str:
    """What to do where a folder may have been meant by what is no name of a source."""
    if isinstance(name, str) and Path(name).is_dir():
        return f"To open the folder {name}, say 'auto' and root={name!r}."
    return "Nor is there a folder of that name."


def _layout(name: str, root: str | Path | None) -> tuple[_Layout, Path]:
    if name != "auto" and name not in source_names():
        raise DataError(
            f"There is no source {name!r}; there are {', '.join(source_names())}",
            kind="source that is unknown",
            fix="" if root is not None else _folder_of_that_name(name),
        )
    folder = _root(name, root)
    return _LAYOUTS[recognize(folder) if name == "auto" else name], folder
