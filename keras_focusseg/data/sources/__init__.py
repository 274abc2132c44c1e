"""What lies where on disk, as pairs of image and mask; `open_source` finds a source by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from keras_focusseg.data.errors import DataError
from keras_focusseg.data.sources.ade20k import ADE20K
from keras_focusseg.data.sources.base import Source
from keras_focusseg.data.sources.bdd100k import BDD100K
from keras_focusseg.data.sources.camvid import CamVid
from keras_focusseg.data.sources.camvid720 import CamVid720
from keras_focusseg.data.sources.cityscapes import Cityscapes
from keras_focusseg.data.sources.folder import Folder
from keras_focusseg.data.sources.synthetic_streets import SyntheticStreets
from keras_focusseg.label_spaces import LabelSpace


def open_source(
    name: str, root: str | Path | None = None, split: str = "train", **options: Any
) -> Source:
    """Open a source by the name that recipes, presets and the command line use.

    Args:
        name: "ade20k", "bdd100k", "camvid", "camvid720", "cityscapes", "folder" or
            "synthetic_streets".
        root: folder that the dataset lies in; "synthetic_streets" needs none.
        split: "train", "val" or "test"; for "folder" also "all", for "camvid720" see there. The
            benchmarks without public test labels have no "test".
        **options: further arguments of the source. "camvid", "camvid720": see there. "folder":
            `label_space`, and `images` and `masks`, the names of the two folders below the root
            (default "images" and "masks"); split S is `images/S` or `S/images`, split "all" is
            `images` itself. "synthetic_streets": `count`, `size`, `seed`.

    Returns:
        The source.

    Raises:
        DataError: if the name is unknown, the root is missing or what lies there is not it.

    Example:
        ```python
        source = open_source("synthetic_streets", split="val", count=8)
        ```
    """
    if name in _BENCHMARKS:
        return _BENCHMARKS[name](_need_root(root, name), split, **options)
    if name not in _OPENERS:
        known = ", ".join(sorted([*_BENCHMARKS, *_OPENERS]))
        raise DataError(f"There is no source {name!r}; there are {known}.")
    return _OPENERS[name](root, split, options)


def _need_root(root: str | Path | None, name: str) -> Path:
    if root is None:
        raise DataError(f"Source {name!r} needs root=, the folder that it lies in.")
    return Path(root)


def _folder(root: str | Path | None, split: str, options: dict[str, Any]) -> Source:
    base = _need_root(root, "folder")
    options = dict(options)
    images, masks = options.pop("images", "images"), options.pop("masks", "masks")
    if "label_space" not in options:
        raise DataError("Source 'folder' needs label_space=, which says what the ids mean.")
    if isinstance(options["label_space"], Mapping):  # as recipes and records store it
        options["label_space"] = LabelSpace.from_config(options["label_space"])
    if split == "all":
        return Folder(base / images, base / masks, split=split, **options)
    layouts = [
        (base / images / split, base / masks / split),
        (base / split / images, base / split / masks),
    ]
    for image_folder, mask_folder in layouts:
        if image_folder.is_dir():
            return Folder(image_folder, mask_folder, split=split, **options)
    raise DataError(
        f"{base}: split {split!r} is not there, neither as {layouts[0][0]} nor as "
        f"{layouts[1][0]}. Use split='all' to take {base / images} as a whole."
    )


def _synthetic_streets(root: str | Path | None, split: str, options: dict[str, Any]) -> Source:
    return SyntheticStreets(split=split, **options)


_BENCHMARKS: dict[str, Callable[..., Source]] = {
    "ade20k": ADE20K,
    "bdd100k": BDD100K,
    "camvid": CamVid,
    "camvid720": CamVid720,
    "cityscapes": Cityscapes,
}
_OPENERS = {"folder": _folder, "synthetic_streets": _synthetic_streets}
