"""Where COCO's annotation files lie, and the images that they are about."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from keras_focusseg.data.sources.base import existing_folder, inside, some
from keras_focusseg.data.sources.folders.layout import ALL, SPLITS, bases, canonical
from keras_focusseg.data.sources.listing import Names, entries, is_folder
from keras_focusseg.errors import DataError, Place
from keras_focusseg.label_spaces.json_files import (
    BROKEN,
    head_of_json,
    is_absolute,
    relative_path,
    short,
)
from keras_focusseg.label_spaces.text import as_on_disk, composed

_INSTANCES = re.compile(r"^instances_(?P<split>.+?)(?P<year>\d{4})?\.json$")
_PLAIN = re.compile(r"^(?P<split>[A-Za-z]+)(?P<year>\d{4})?\.json$")
_WHOLE = ("_annotations.coco.json", "annotations.json", "coco.json", "result.json")
_EVERYTHING = ("default", "annotations", "coco", "result")
_TOP_LEVEL = re.compile(r'"(images|annotations|categories)"\s*:\s*\[')


class Found(NamedTuple):
    """An annotation file, and the names that the folder of its images may have."""

    path: Path
    folders: tuple[str, ...]


def find_annotations(root: Path, split: str, annotations: str | Path | None) -> Found:
    """The annotation file of a split, or the one that is named.

    Raises:
        DataError: It is not there.
    """
    if annotations is not None:
        path = as_on_disk(root / annotations)
        if not path.is_file():
            raise DataError(
                "the annotation file is not there", kind="file that is not there", file=path
            )
        return Found(path, (split, path.stem))
    files = annotation_files(root)
    for name, found in files.items():
        if canonical(name) == canonical(split):
            return found
    if split == ALL and len(files) == 1:
        return next(iter(files.values()))
    there = f"there are {some(files, 9)}" if files else "there is none at all"
    raise DataError(
        f"no COCO annotations of split {split!r}; {there}. Looked for "
        f"annotations/instances_{split}.json (with or without a year) and "
        f"{split}/_annotations.coco.json",
        kind="split that is not there",
        file=root,
        fix="Say annotations= to name the file.",
    )


def annotation_files(root: Path) -> dict[str, Found]:
    """The annotation files by split, "all" where the name says none."""
    for base in bases(root):
        found: dict[str, Found] = {}
        folders = [Path(entry.path) for entry in entries(base) if is_folder(entry)]
        for folder in folders:
            if (folder / "_annotations.coco.json").is_file():
                found[folder.name] = Found(folder / "_annotations.coco.json", (folder.name,))
        for folder in [f for f in folders if f.name == "annotations"] + [base]:
            names = [entry.name for entry in entries(folder) if os.path.isfile(entry)]
            for pattern in (_INSTANCES, _PLAIN):
                for match in filter(None, map(pattern.match, names)):
                    split, year = match["split"], match["year"] or ""
                    path = folder / match.string
                    if split not in found and (pattern is _INSTANCES or _is_coco(path, split)):
                        name = ALL if split in _EVERYTHING else split
                        found.setdefault(name, Found(path, (split + year, split)))
            for name in _WHOLE:
                if name in names and _looks_like_coco(folder / name):
                    found.setdefault(ALL, Found(folder / name, ()))
        if found:
            return found
    return {}


def _is_coco(path: Path, split: str) -> bool:
    return (canonical(split) in SPLITS or split in _EVERYTHING) and _looks_like_coco(path)


def _looks_like_coco(path: Path) -> bool:
    return _TOP_LEVEL.search(head_of_json(path)) is not None


def image_folder(
    root: Path, found: Found, images: str | Path | None, listed: Sequence[Mapping[str, Any]]
) -> Path:
    """Where the images lie: the first candidate that has one of the first images."""
    if images is not None:
        return inside(existing_folder(root / images, "the image folder"), root)
    base = (
        found.path.parent.parent if found.path.parent.name == "annotations" else found.path.parent
    )
    if not base.is_relative_to(root):
        base = root
    candidates = [found.path.parent]
    for top in dict.fromkeys((base, root)):
        for name in found.folders:
            candidates += [top / name, top / "images" / name]
        candidates += [top / "images", top]
    names = Names(root)
    paths = [PurePosixPath(entry["file_name"].replace("\\", "/")) for entry in listed[:3]]
    for shorten in (False, True):  # a name of its own folder may be stale
        for path in paths:
            for folder in candidates:
                name = path.name if shorten else path.as_posix()
                if _is_inner(path, shorten) and names.find(folder, name):
                    return inside(folder, root)
    return next((folder for folder in candidates[1:] if folder.is_dir()), root)


def find_image(names: Names, folder: Path, file_name: str, place: Place) -> Path | None:
    """The file of an image, by its path in the folder or by its name alone; None if it is missing.

    If there is none and the path is absolute or leads out of the folder, that is an error.
    """
    path = PurePosixPath(composed(file_name.replace("\\", "/")))
    inner = not is_absolute(file_name) and _is_inner(path, False)
    found = (names.find(folder, path) if inner else None) or (
        names.find(folder, path.name) if _is_inner(path, True) else None
    )
    if found is None and ".." in relative_path(file_name, place).parts:
        raise place.error(
            f"file_name is {short(file_name)}, which leads out of the folder of the images; "
            "nothing outside is read",
            BROKEN,
            fix="Name the file by its path in that folder.",
        )
    return found


def _is_inner(path: PurePosixPath, shorten: bool) -> bool:
    """Whether a path, or its last part, can be one below a folder."""
    if "\0" in str(path) or path.name in ("", ".."):
        return False
    return shorten or not (path.is_absolute() or ".." in path.parts)
