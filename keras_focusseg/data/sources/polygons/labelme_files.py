"""Where Labelme's JSON files lie, and the image of each."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from keras_focusseg.data.sources.base import inside, some
from keras_focusseg.data.sources.folders.layout import (
    ALL,
    IMAGE_FOLDERS,
    MASK_FOLDERS,
    bases,
    canonical,
)
from keras_focusseg.data.sources.listing import Names, entries, folders_in, is_folder, walk
from keras_focusseg.errors import DataError, Place
from keras_focusseg.label_spaces.json_files import (
    BROKEN,
    field,
    head_of_json,
    is_absolute,
    is_path,
    read_json,
    short,
)
from keras_focusseg.label_spaces.text import composed

_OTHER_JSON = ("label_space.json", "classes.json", "dataset_meta.json")
_PROBES = 3


def split_folder(root: Path, split: str) -> Path:
    """The folder of the JSON files of a split.

    Raises:
        DataError: It is not there.
    """
    folder = root if split == ALL else folder_of(root, split)
    if folder is None:
        names = [entry.name for entry in entries(root) if is_folder(entry)]
        raise DataError(
            f"split {split!r} is not there; found the folders {some(names, 9) or '(none)'}",
            kind="split that is not there",
            file=root,
            fix=f"Use split={ALL!r} to take every JSON file.",
        )
    return inside(folder, root)


def folder_of(root: Path, split: str) -> Path | None:
    """`S/` or `annotations/S/`, where it is there."""
    wanted = canonical(split)
    for base in bases(root):
        for name, folder in folders_in(base).items():
            if canonical(name) == wanted:
                return folder
            if name.casefold() in ("json", "jsons", *MASK_FOLDERS):
                for inner, deep in folders_in(folder).items():
                    if canonical(inner) == wanted:
                        return deep
    return None


def json_files(folder: Path, root: Path) -> dict[str, Path]:
    """JSON files below a folder by name without suffix, sorted; class tables do not count."""
    paths = sorted(Path(entry.path) for entry in walk(folder, root, (".json",)))
    return {
        composed(path.relative_to(folder).with_suffix("").as_posix()): path
        for path in paths
        if path.name not in _OTHER_JSON
    }


def is_labelme(folder: Path, root: Path) -> bool:
    """Whether the first JSON files below a folder are Labelme's."""
    files = (Path(entry.path) for entry in walk(folder, root, (".json",)))
    first = list(itertools.islice((p for p in files if p.name not in _OTHER_JSON), _PROBES))
    return bool(first) and all(map(looks_like_labelme, first))


def looks_like_labelme(path: Path) -> bool:
    """Whether the keys that Labelme writes first or last are there, without reading the image."""
    text = head_of_json(path, tail=True)
    return '"shapes"' in text and '"imagePath"' in text


def read_labelme(path: Path, max_bytes: int) -> dict[str, Any]:
    """One JSON file, each shape of which has a label.

    Raises:
        DataError: It is no JSON of Labelme's, or a shape has no label.
    """
    content = read_json(path, max_bytes)
    if "shapes" not in content:
        raise DataError(
            "has no 'shapes', so it is no JSON file of Labelme's",
            kind=BROKEN,
            file=path,
            fix="Move it away.",
        )
    for number, shape in enumerate(field(content, "shapes", list, Place(path))):
        place = Place(path, f"shape {number}")
        if not isinstance(shape, dict):
            raise place.error(f"is {short(shape)}", BROKEN, expected="an object")
        shape["label"] = composed(field(shape, "label", str, place).strip())
        if not shape["label"]:
            raise place.error("its label is empty", BROKEN, fix="Give it the name of a class.")
    return content


def image_of(path: Path, content: Mapping[str, Any], names: Names) -> Path | None:
    """The image of a JSON file; None if there is none.

    Where `imagePath` is that of another time or computer, absolute ones included, it is not
    followed: its name is looked for beside the JSON file and in the folders of images, and then
    the name of the JSON file itself, both with any suffix. Nothing outside the root is looked at.
    """
    place = Place(path)
    named = "" if content.get("imagePath") is None else field(content, "imagePath", str, place)
    if not is_path(named):
        raise place.error(f"imagePath: {short(named)} is no path", BROKEN)
    relative = PurePosixPath(named.strip().replace("\\", "/"))
    if relative.name and not is_absolute(named.strip()):
        target = Path(os.path.normpath(path.parent / relative))
        if target.is_relative_to(names.root) and target != names.root:
            inner = target.relative_to(names.root).as_posix()
            if found := names.find(names.root, inner):
                return found
    folders = list(dict.fromkeys(_folders(path, names)))
    if relative.name not in ("", "..", "."):
        for folder in folders:
            if found := names.find(folder, relative.name) or names.alike(folder, relative.stem):
                return found
    return next((found for folder in folders if (found := names.alike(folder, path.stem))), None)


def _folders(path: Path, names: Names) -> Iterator[Path]:
    """Where the image of a JSON file may lie: beside it, or in a folder of images around it."""
    yield path.parent
    for parent in path.parents:
        if not parent.is_relative_to(names.root):
            return
        inner = path.parent.relative_to(parent).parts[1:]
        for name, folder in names.folders(parent).items():
            if name.casefold() in IMAGE_FOLDERS:
                # `images/train/1.jpg` for `annotations/train/1.json`
                yield folder.joinpath(*inner)
