"""COCO's annotations: polygons and run lengths in one JSON file, painted into masks."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from keras_focusseg import label_spaces
from keras_focusseg.data.errors import DataError
from keras_focusseg.data.sources import readers
from keras_focusseg.data.sources.base import Sample, Source, existing_folder, inside, some
from keras_focusseg.data.sources.folders.layout import ALL, SPLITS, bases, canonical
from keras_focusseg.data.sources.json_files import (
    MAX_COORDINATE,
    coordinates,
    field,
    read_json,
    relative_path,
    short,
)
from keras_focusseg.data.sources.pairs import entries, is_folder, printable
from keras_focusseg.data.sources.polygons import shapes
from keras_focusseg.label_spaces import IGNORE, LabelSpace

MAX_JSON = 1 << 30
"""Larger annotation files are refused; `instances_train2017.json` has 450 MB."""

_INSTANCES = re.compile(r"^instances_(?P<split>.+?)(?P<year>\d{4})?\.json$")
_PLAIN = re.compile(r"^(?P<split>[A-Za-z]+)(?P<year>\d{4})?\.json$")
_WHOLE = ("_annotations.coco.json", "annotations.json", "coco.json", "result.json")
_EVERYTHING = ("default", "annotations", "coco", "result")
_KEPT = ("id", "image_id", "category_id", "iscrowd", "segmentation")

_PEEK = 1 << 16
_TOP_LEVEL = re.compile(rb'"(images|annotations|categories)"\s*:\s*\[')


class _Object(NamedTuple):
    """One annotation: its class, whether it stands for many things at once, its outline."""

    number: Any
    train_id: int
    crowd: bool
    segmentation: Any


class _Picture(NamedTuple):
    """One entry of the list of images."""

    name: str
    path: Path
    size: tuple[int, int] | None
    objects: list[_Object]


class _Found(NamedTuple):
    """An annotation file, and the names that the folder of its images may have."""

    path: Path
    folders: tuple[str, ...]


class COCO(Source):
    """Images with COCO's annotations, painted into masks when they are read.

    It finds `annotations/instances_{split}.json` (with a year: `instances_train2017.json`) with the
    images in `{split}/` or `images/{split}/`, and `{split}/_annotations.coco.json` beside the
    images, as Roboflow exports it; "val" may be called `valid`. Any other file is named by
    `annotations` and `images`.

    The classes are the categories, sorted by id; a pixel of none is background. Polygons, run
    lengths and packed run lengths are read. A pixel belongs to a polygon if its centre lies inside,
    so that a rectangle between whole numbers has exactly width times height pixels. Where objects
    overlap, the smaller one is on top; crowds (`iscrowd`) lie below all others.

    Args:
        root: folder in which everything lies.
        split: "train", "val", "test" or what the file is named after; "all" if there is but one.
        strict: whether an image whose file is missing and an annotation without outline are
            errors; else they are left out, and the missing files are listed in `unpaired`.
        annotations: the JSON file, relative to the root.
        images: the folder of the images, relative to the root.
        background: name of the class, the first one, of what is not annotated; a category of that
            name takes its place. None ignores those pixels.
        crowd: "class" paints crowds as their class, "ignored" as ignored.

    Raises:
        DataError: if a file is missing, an entry is not as COCO's format says or leads out of the
            root; names the entry and the value. Pictures in the folder that the JSON does not list
            are left out.

    Example:
        ```python
        source = COCO("coco", "val", background=None)
        source.layout  # "instances_val2017.json, 80 categories, 5000 images, 48 without objects"
        ```
    """

    def __init__(
        self,
        root: str | Path,
        split: str = "train",
        *,
        strict: bool = True,
        annotations: str | Path | None = None,
        images: str | Path | None = None,
        background: str | None = "background",
        crowd: str = "class",
    ) -> None:
        if crowd not in ("class", "ignored"):
            raise DataError(f"crowd is {crowd!r}; it can be 'class' or 'ignored'.")
        self.name = "coco"
        self.split = split
        self.root = existing_folder(root, "the root folder").resolve()
        found = _find(self.root, split, annotations)
        self.json = inside(found.path, self.root)
        content = read_json(self.json, MAX_JSON, _slim)
        categories = _categories(content, self.json)
        self.label_space, train_ids = _classes(categories, background, self.json)
        self._crowd_id = IGNORE if crowd == "ignored" else None
        self._ground = IGNORE if background is None else train_ids[None]
        listed = _images(content, self.json)
        folder = _image_folder(self.root, found, images, listed)
        self.unpaired: list[Path] = []
        self._pictures = self._open_pictures(listed, folder, strict)
        bare = self._sort_objects(content, train_ids, strict)
        missing = set(self.unpaired)
        self._pictures = [picture for picture in self._pictures if picture.path not in missing]
        if not self._pictures:
            raise DataError(f"{self.json}: lists no image that is there, in {folder}.")
        empty = sum(not picture.objects for picture in self._pictures)
        self.layout = (
            f"{self.json.relative_to(self.root).as_posix()}, {len(categories)} categories, "
            f"{len(self._pictures)} images, {empty} without objects"
            + (f", {len(self.unpaired)} without file left out" if self.unpaired else "")
            + (f", {bare} annotations without outline left out" if bare else "")
        )

    @classmethod
    def recognises(cls, root: str | Path) -> bool:
        """Whether COCO annotations lie there; never raises."""
        return bool(cls.splits(root))

    @classmethod
    def splits(cls, root: str | Path) -> tuple[str, ...]:
        """The splits that have an annotation file: of "train", "val", "test", or ("all",)."""
        try:
            found = {canonical(split) for split in _annotation_files(Path(root).resolve())}
        except (OSError, ValueError):
            return ()
        return tuple(split for split in SPLITS if split in found) or tuple({ALL} & found)

    def __len__(self) -> int:
        return len(self._pictures)

    def load(self, index: int) -> Sample:
        """Read image `index` and paint its mask: (H, W, 3) uint8, (H, W) uint8, name."""
        picture = self._pictures[index]
        image = readers.read_image(picture.path)
        mask = self._paint(picture, (image.shape[0], image.shape[1]))
        return Sample(image, mask, picture.name)

    def load_mask(self, index: int) -> np.ndarray:
        """Paint mask `index` alone: (H, W) uint8; of the image only the size is read."""
        picture = self._pictures[index]
        return self._paint(picture, readers.image_size(picture.path))

    def sample_name(self, index: int) -> str:
        """File name of image `index`, without suffix."""
        return self._pictures[index].name

    def files(self, index: int) -> tuple[Path, ...]:
        """Image `index` and the JSON file."""
        return self._pictures[index].path, self.json

    def _open_pictures(
        self, listed: Sequence[Mapping[str, Any]], folder: Path, strict: bool
    ) -> list[_Picture]:
        stems = Counter(os.path.splitext(entry["file_name"])[0] for entry in listed)
        pictures = []
        for entry in listed:
            where = f"{self.json}: image {short(entry['id'])}"
            path = _inner(folder, entry["file_name"], self.root, where)
            stem = os.path.splitext(entry["file_name"])[0]
            name = stem if stems[stem] == 1 else entry["file_name"]
            pictures.append(_Picture(printable(name), path, _size(entry, where), []))
            if not os.path.isfile(path):
                if strict:
                    raise DataError(
                        f"{where}: its file {path} is not there. Restore it, say images= if the "
                        "images lie elsewhere, or strict=False to leave it out."
                    )
                self.unpaired.append(path)
        return pictures

    def _sort_objects(
        self, content: Mapping[str, Any], train_ids: Mapping[int | None, int], strict: bool
    ) -> int:
        """Give each picture its objects; returns how many had no outline and were left out."""
        numbers = [entry["id"] for entry in content["images"]]
        pictures = dict(zip(numbers, self._pictures, strict=True))
        bare = 0
        for place, entry in enumerate(field(content, "annotations", list, str(self.json))):
            where = f"{self.json}: annotation {_number(entry, place)}"
            if not isinstance(entry, Mapping):
                raise DataError(f"{where}: is {short(entry)}; expected an object.")
            image = field(entry, "image_id", (int, str), where)
            category = field(entry, "category_id", int, where)
            if image not in pictures:
                raise DataError(f"{where}: its image_id {short(image)} is in no image of the file.")
            if category not in train_ids:
                raise DataError(
                    f"{where}: its category_id {category} is no category of the file; it has "
                    f"{some((str(number) for number in train_ids if number is not None), 5)}."
                )
            outline = entry.get("segmentation")
            if outline is None or (isinstance(outline, (list, tuple)) and not outline):
                if strict:
                    raise DataError(
                        f"{where}: has no outline (segmentation), only a box or nothing. Export "
                        "polygons or masks, or say strict=False to leave such annotations out."
                    )
                bare += 1
                continue
            crowd = entry.get("iscrowd") in (1, True)
            pictures[image].objects.append(
                _Object(_number(entry, place), train_ids[category], crowd, outline)
            )
        return bare

    def _paint(self, picture: _Picture, size: tuple[int, int]) -> np.ndarray:
        if picture.size is not None and picture.size != size:
            turned = (
                " The image was turned upright by its EXIF orientation; annotate the upright "
                "image, or remove the tag."
                if picture.size == size[::-1]
                else ""
            )
            raise DataError(
                f"{picture.path}: the image is {size[1]} x {size[0]}, but {self.json} says "
                f"{picture.size[1]} x {picture.size[0]} (width x height). The annotations belong "
                f"to an image of another size.{turned}"
            )
        mask = np.full(size, self._ground, "uint8")
        regions = []
        for item in picture.objects:
            region = _region(item, size, f"{self.json}: annotation {item.number}")
            regions.append((item.crowd, region.area, region, item.train_id))
        # The sort keeps the order of the file among equals.
        for crowd, _, region, train_id in sorted(regions, key=lambda r: (not r[0], -r[1])):
            hidden = crowd and self._crowd_id is not None
            region.paint(mask, IGNORE if hidden else train_id)
        return mask


def _find(root: Path, split: str, annotations: str | Path | None) -> _Found:
    if annotations is not None:
        path = root / annotations
        if not path.is_file():
            raise DataError(f"{path}: the annotation file is not there.")
        return _Found(path, (split, path.stem))
    files = _annotation_files(root)
    for name, found in files.items():
        if split == name or canonical(name) == canonical(split):
            return found
    if split == ALL and len(files) == 1:
        return next(iter(files.values()))
    there = f"there are {some(files, 9)}" if files else "there is none at all"
    raise DataError(
        f"{root}: no COCO annotations of split {split!r}; {there}. Looked for "
        f"annotations/instances_{split}.json (with or without a year) and "
        f"{split}/_annotations.coco.json. Say annotations= to name the file."
    )


def _annotation_files(root: Path) -> dict[str, _Found]:
    """The annotation files by split, "all" where the name says none."""
    for base in bases(root):
        found: dict[str, _Found] = {}
        folders = [Path(entry.path) for entry in entries(base) if is_folder(entry)]
        for folder in folders:
            if (folder / "_annotations.coco.json").is_file():
                found[folder.name] = _Found(folder / "_annotations.coco.json", (folder.name,))
        for folder in [f for f in folders if f.name == "annotations"] + [base]:
            names = [entry.name for entry in entries(folder) if os.path.isfile(entry)]
            for pattern in (_INSTANCES, _PLAIN):
                for match in filter(None, map(pattern.match, names)):
                    split, year = match["split"], match["year"] or ""
                    path = folder / match.string
                    if split not in found and (pattern is _INSTANCES or _is_coco(path, split)):
                        name = ALL if split in _EVERYTHING else split
                        found.setdefault(name, _Found(path, (split + year, split)))
            for name in _WHOLE:
                if name in names and _looks_like_coco(folder / name):
                    found.setdefault(ALL, _Found(folder / name, ()))
        if found:
            return found
    return {}


def _is_coco(path: Path, split: str) -> bool:
    return (canonical(split) in SPLITS or split in _EVERYTHING) and _looks_like_coco(path)


def _looks_like_coco(path: Path) -> bool:
    with open(path, "rb") as file:
        return _TOP_LEVEL.search(file.read(_PEEK)) is not None


def _image_folder(
    root: Path, found: _Found, images: str | Path | None, listed: Sequence[Mapping[str, Any]]
) -> Path:
    """Where the images lie: the first candidate that has the first image."""
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
    for entry in listed[:3]:
        for folder in candidates:
            path = _inner(folder, entry["file_name"], root, f"{found.path}: image")
            if os.path.isfile(path):
                return inside(folder, root)
    return next((folder for folder in candidates[1:] if folder.is_dir()), root)


def _inner(folder: Path, file_name: str, root: Path, where: str) -> Path:
    """The path of an image, if it lies in the root."""
    relative = relative_path(file_name, where)
    if ".." in relative.parts:
        raise DataError(
            f"{where}: file_name is {short(file_name)}, which leads out of the folder of the "
            "images; nothing outside is read. Name the file by its path in that folder."
        )
    path = folder / relative
    linked = len(relative.parts) > 1 or os.path.islink(path)
    return inside(path, root) if linked else path


def _categories(content: Mapping[str, Any], json: Path) -> dict[int, str]:
    """Names by id, sorted by id."""
    found: dict[int, str] = {}
    above: dict[int, Any] = {}
    for place, entry in enumerate(field(content, "categories", list, str(json))):
        where = f"{json}: category {place}"
        if not isinstance(entry, Mapping):
            raise DataError(f"{where}: is {short(entry)}; expected an object.")
        number = field(entry, "id", int, where)
        name = printable(field(entry, "name", str, where).strip())
        if number in found:
            raise DataError(f"{where}: id {number} is also that of {found[number]!r}.")
        found[number], above[number] = name, entry.get("supercategory")
    # Roboflow puts the name of the whole set first, as the category above all others.
    roots = [n for n, name in found.items() if above[n] == "none" and name in above.values()]
    annotations = field(content, "annotations", list, str(json)) if roots else []
    used = [e.get("category_id") for e in annotations if isinstance(e, Mapping)]
    for number in roots:
        if number not in used and len(found) > 1:
            del found[number]
    if not found:
        raise DataError(f"{json}: has no categories, so there are no classes.")
    return dict(sorted(found.items()))


def _classes(
    categories: Mapping[int, str], background: str | None, json: Path
) -> tuple[LabelSpace, dict[int | None, int]]:
    """The label space, and the train id of each category; of background under None."""
    names = list(categories.values())
    if background is not None:
        same = [n for n in names if n.casefold() == background.casefold()]
        names = [*(same or [background]), *(n for n in names if n not in same)]
    colors: list[tuple[int, int, int]] = list(label_spaces.distinct_colors(min(len(names), IGNORE)))
    if background is not None:
        colors = [(0, 0, 0), *colors[: len(names) - 1]]
    try:
        space = label_spaces.from_names(
            names,
            colors=colors,
            name="coco",
            ignore_color=(255, 255, 255) if background is not None else (0, 0, 0),
        )
    except ValueError as error:
        raise DataError(f"{json}: {error}") from error
    train_ids: dict[int | None, int] = {
        number: names.index(name) for number, name in categories.items()
    }
    return space, {**train_ids, None: 0}


def _images(content: Mapping[str, Any], json: Path) -> list[Mapping[str, Any]]:
    listed = field(content, "images", list, str(json))
    numbers: set[Any] = set()
    names: set[str] = set()
    for place, entry in enumerate(listed):
        where = f"{json}: image {_number(entry, place)}"
        if not isinstance(entry, Mapping):
            raise DataError(f"{where}: is {short(entry)}; expected an object.")
        number = field(entry, "id", (int, str), where)
        name = field(entry, "file_name", str, where)
        relative_path(name, where)
        if number in numbers or name in names:
            raise DataError(f"{where}: its id or its file_name {name!r} is there twice.")
        numbers.add(number)
        names.add(name)
    if not listed:
        raise DataError(f"{json}: lists no images.")
    return listed


def _size(entry: Mapping[str, Any], where: str) -> tuple[int, int] | None:
    """(H, W) as the JSON says, or None where it says nothing."""
    if entry.get("height") is None and entry.get("width") is None:
        return None
    height, width = field(entry, "height", int, where), field(entry, "width", int, where)
    if height < 1 or width < 1 or height * width > readers.MAX_PIXELS:
        raise DataError(
            f"{where}: is {short(width)} x {short(height)} (width x height); expected 1 to "
            f"{readers.MAX_PIXELS:,} pixels."
        )
    return height, width


def _region(item: _Object, size: tuple[int, int], where: str) -> shapes.Region:
    outline = item.segmentation
    if isinstance(outline, Mapping):
        return _runs(outline, size, where)
    if isinstance(outline, tuple):  # as `_slim` has packed them
        parts = [part.reshape(-1, 2) for part in outline]
    elif isinstance(outline, list):
        parts = [np.array(_flat_points(part, where)) for part in outline]
    else:
        raise DataError(
            f"{where}: its segmentation is {short(outline)}; expected polygons or runs."
        )
    return shapes.union([shapes.polygon(part, size) for part in parts], size)


def _flat_points(part: Any, where: str) -> list[tuple[float, float]]:
    if not isinstance(part, list) or len(part) % 2 or len(part) < 6:
        raise DataError(
            f"{where}: a polygon of its segmentation is {short(part)}; expected x and y in turn, "
            "of 3 points or more."
        )
    return coordinates([part[i : i + 2] for i in range(0, len(part), 2)], where)


def _runs(outline: Mapping[str, Any], size: tuple[int, int], where: str) -> shapes.Region:
    said, counts = outline.get("size"), outline.get("counts")
    if said != list(size):
        raise DataError(
            f"{where}: its runs are for size {short(said)}; the image has {list(size)} (height, "
            "width)."
        )
    try:
        if isinstance(counts, str):
            numbers = shapes.unpacked_runs(counts.encode("utf-8", "surrogatepass"))
        else:
            numbers = _counted(counts)
        return shapes.runs(numbers, size)
    except ValueError as error:
        raise DataError(f"{where}: {error}. Export the annotations again.") from error


def _counted(counts: Any) -> np.ndarray:
    if isinstance(counts, np.ndarray):
        return counts
    if not isinstance(counts, list) or not all(
        type(number) is int and 0 <= number <= readers.MAX_PIXELS for number in counts
    ):
        raise ValueError(f"the counts of its runs are {short(counts)}; expected whole numbers")
    return np.array(counts, "int64")


def _slim(entry: dict[str, Any]) -> dict[str, Any]:
    """An annotation without what is not needed, its numbers packed: a tenth of the memory."""
    if "segmentation" in entry and "image_id" in entry:
        kept = {key: entry[key] for key in _KEPT if key in entry}
        if isinstance(outline := kept["segmentation"], list) and outline:
            packed = tuple(map(_packed, outline))
            if all(part is not None for part in packed):
                kept["segmentation"] = packed
        return kept
    return entry


def _packed(part: Any) -> np.ndarray | None:
    """A polygon as float32, 1/1000 pixel up to 8192; None if it is none, for a later error."""
    if not isinstance(part, list) or len(part) % 2 or len(part) < 6:
        return None
    if not all(type(number) in (int, float) for number in part):
        return None
    if not all(-MAX_COORDINATE <= number <= MAX_COORDINATE for number in part):
        return None
    return np.array(part, "float32")


def _number(entry: Any, place: int) -> str:
    """What to call an entry of a list: its id, or its place if it has none."""
    number = entry.get("id") if isinstance(entry, Mapping) else None
    return f"at place {place}" if number is None else short(number)
