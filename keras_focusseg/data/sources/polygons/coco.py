"""COCO's annotations: polygons and run lengths in one JSON file, painted into masks."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from keras_focusseg.data.sources.base import (
    Sample,
    Source,
    check_split,
    existing_folder,
    inside,
    some,
)
from keras_focusseg.data.sources.folders.layout import ALL, SPLITS, canonical
from keras_focusseg.data.sources.listing import Names
from keras_focusseg.data.sources.polygons.coco_files import (
    annotation_files,
    find_annotations,
    find_image,
    image_folder,
)
from keras_focusseg.data.sources.polygons.painting import refuse_other_size, space_of
from keras_focusseg.data.sources.tables import as_data_error
from keras_focusseg.errors import DataError, Place, printable
from keras_focusseg.label_spaces import IGNORE, LabelSpace
from keras_focusseg.label_spaces.json_files import (
    BROKEN,
    LENIENT,
    coordinates,
    field,
    is_number,
    read_json,
    short,
)
from keras_focusseg.label_spaces.text import composed
from keras_focusseg.pictures import readers, shapes

MAX_JSON = 1 << 30
"""Larger annotation files are refused; `instances_train2017.json` has 450 MB."""

_KEPT = ("id", "image_id", "category_id", "iscrowd", "segmentation")

Outline = tuple[np.ndarray, ...] | Mapping[str, Any]
"""Polygons (N, 2), or run lengths as they stand in the JSON."""


class _Object(NamedTuple):
    """One annotation: its class, whether it stands for many things at once, its outline."""

    place: Place
    train_id: int
    crowd: bool
    outline: Outline


class _Picture(NamedTuple):
    """One entry of the list of images."""

    name: str
    path: Path
    size: tuple[int, int] | None
    objects: list[_Object]


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

    Whatever the file says is judged when it is opened: outlines of fewer than three points, as
    annotation tools write them by themselves, run lengths that do not fit their image, ids that
    belong to nothing.

    Args:
        root: Folder in which everything lies.
        split: "train", "val", "test" or what the file is named after; "all" if there is but one.
        strict: Whether an image whose file is missing, an annotation without outline and whatever
            is wrong with one are errors; else these images, annotations and outlines alone are left
            out and counted in `layout`, and the missing files are listed in `unpaired`.
        annotations: The JSON file, relative to the root.
        images: The folder of the images, relative to the root.
        background: Name of the class, the first one, of what is not annotated; a category of that
            name takes its place. None ignores those pixels.
        crowd: "class" paints crowds as their class, "ignored" as ignored.

    Raises:
        DataError: If a file is missing, an entry is not as COCO's format says or leads out of the
            root; names the entry and the value. Pictures in the folder that the JSON does not list
            are left out and counted in `layout`.

    Example:
        ```python
        source = COCO("coco", "val", background=None)
        source.layout
        # "annotations/instances_val2017.json, 80 categories, 5000 images, 48 without objects"
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
            raise DataError(
                f"crowd is {crowd!r}; it can be 'class' or 'ignored'",
                kind="option that is not possible",
            )
        self.name = "coco"
        check_split(split)
        self.split = split
        self.root = existing_folder(root, "the root folder").resolve()
        found = find_annotations(self.root, split, annotations)
        self.json = inside(found.path, self.root)
        content = read_json(self.json, MAX_JSON, _slim)
        categories = _categories(content, self.json)
        self.label_space, train_ids = _classes(categories, background, self.json)
        self._crowd_id = IGNORE if crowd == "ignored" else None
        self._ground = IGNORE if background is None else train_ids[None]
        listed = _images(content, self.json)
        folder = image_folder(self.root, found, images, listed)
        self.unpaired: list[Path] = []
        self.faults: list[DataError] = []
        names = Names(self.root)
        pictures = self._open_pictures(listed, folder, names, strict)
        numbers = [entry["id"] for entry in listed]
        left = self._sort_objects(
            content, dict(zip(numbers, pictures, strict=True)), train_ids, strict
        )
        missing = set(self.unpaired)
        self._pictures = [picture for picture in pictures if picture.path not in missing]
        if not self._pictures:
            raise DataError(
                f"lists no image that is there, in {folder}", kind="empty split", file=self.json
            )
        empty = sum(not picture.objects for picture in self._pictures)
        left["without file"] = len(self.unpaired)
        unlisted = len(set(names.pictures()) - {picture.path for picture in pictures})
        self.layout = (
            f"{self.json.relative_to(self.root).as_posix()}, {len(categories)} categories, "
            f"{len(self._pictures)} images, {empty} without objects"
            + "".join(f", {count} {what} left out" for what, count in left.items() if count)
            + (f", {unlisted} pictures beside them that it does not list" if unlisted else "")
        )

    @classmethod
    def recognizes(cls, root: str | Path) -> bool:
        """Whether COCO annotations lie there; never raises."""
        return bool(cls.splits(root))

    @classmethod
    def splits(cls, root: str | Path) -> tuple[str, ...]:
        """The splits that have an annotation file: of "train", "val", "test", or ("all",)."""
        try:
            found = {canonical(split) for split in annotation_files(Path(root).resolve())}
        except (OSError, ValueError):
            return ()
        return tuple(split for split in SPLITS if split in found) or tuple({ALL} & found)

    def __len__(self) -> int:
        return len(self._pictures)

    def load(self, index: int) -> Sample:
        """Reads image `index` and paints its mask: (H, W, 3) uint8, (H, W) uint8, name."""
        picture = self._pictures[index]
        image = readers.read_image(picture.path)
        mask = self._paint(picture, (image.shape[0], image.shape[1]))
        return Sample(image, mask, picture.name)

    def load_mask(self, index: int) -> np.ndarray:
        """Paints mask `index` alone: (H, W) uint8; of the image only the size is read."""
        picture = self._pictures[index]
        return self._paint(picture, readers.image_size(picture.path))

    def sample_name(self, index: int) -> str:
        """File name of image `index`, without suffix."""
        return self._pictures[index].name

    def files(self, index: int) -> tuple[Path, ...]:
        """Image `index` and the JSON file."""
        return self._pictures[index].path, self.json

    def _open_pictures(
        self, listed: Sequence[Mapping[str, Any]], folder: Path, names: Names, strict: bool
    ) -> list[_Picture]:
        stems = Counter(os.path.splitext(entry["file_name"])[0] for entry in listed)
        pictures: list[_Picture] = []
        used: dict[Path, str] = {}
        for entry in listed:
            file_name, place = entry["file_name"], Place(self.json, f"image {short(entry['id'])}")
            path = find_image(names, folder, file_name, place)
            if path is None:
                path = folder / composed(file_name.replace("\\", "/"))
                if strict:
                    raise place.error(
                        f"its file {path} is not there",
                        "file that is not there",
                        fix="Restore it, say images= if the images lie elsewhere, or strict=False "
                        "to leave it out.",
                    )
                self.unpaired.append(path)
            if path in used:
                raise place.error(f"its file {path} is that of {used[path]} as well", BROKEN)
            used[path] = place.part
            stem = os.path.splitext(file_name)[0]
            name = printable(composed(stem if stems[stem] == 1 else file_name))
            pictures.append(_Picture(name, path, _size(entry, place), []))
        return pictures

    def _sort_objects(
        self,
        content: Mapping[str, Any],
        pictures: Mapping[Any, _Picture],
        train_ids: Mapping[int | None, int],
        strict: bool,
    ) -> Counter[str]:
        """Give each picture its objects; returns how many of what were left out."""
        left: Counter[str] = Counter()
        missing = set(self.unpaired)
        for number, entry in enumerate(field(content, "annotations", list, Place(self.json))):
            place = Place(self.json, f"annotation {_number(entry, number)}")
            try:
                picture, train_id = _belongs(entry, pictures, train_ids, place)
            except DataError as error:
                if strict:
                    raise
                self.faults.append(error)
                left["annotations of nothing that is there"] += 1
                continue
            if picture.path in missing:
                continue
            outline, faults = _judged(entry.get("segmentation"), picture, place)
            if not faults and not outline:
                bare = place.error(
                    "has no outline (segmentation), only a box or nothing",
                    "annotation without outline",
                    fix="Export polygons or masks, or say strict=False to leave such annotations "
                    "out.",
                )
                faults, what = [bare], "annotations without outline"
            else:
                what = "broken outlines"
            if faults and strict:
                raise faults[0]
            left[what] += len(faults)
            self.faults += faults
            if outline:
                crowd = entry.get("iscrowd") in (1, True)
                picture.objects.append(_Object(place, train_id, crowd, outline))
        return left

    def _paint(self, picture: _Picture, size: tuple[int, int]) -> np.ndarray:
        if picture.size is not None:
            refuse_other_size(picture.path, self.json, size, picture.size)
        mask = np.full(size, self._ground, "uint8")
        regions = []
        for item in picture.objects:
            region = _region(item.outline, size, item.place)
            regions.append((item.crowd, region.area, region, item.train_id))
        # The sort keeps the order of the file among equals.
        for crowd, _, region, train_id in sorted(regions, key=lambda r: (not r[0], -r[1])):
            hidden = crowd and self._crowd_id is not None
            region.paint(mask, IGNORE if hidden else train_id)
        return mask


def _categories(content: Mapping[str, Any], json: Path) -> dict[int, str]:
    """Names by id, sorted by id."""
    found: dict[int, str] = {}
    above: dict[int, Any] = {}
    for number, entry in enumerate(field(content, "categories", list, Place(json))):
        place = Place(json, f"category {number}")
        if not isinstance(entry, Mapping):
            raise place.error(f"is {short(entry)}", BROKEN, expected="an object")
        number = field(entry, "id", int, place)
        name = printable(composed(field(entry, "name", str, place).strip()))
        if number in found:
            raise place.error(f"id {number} is also that of {found[number]!r}", BROKEN)
        found[number], above[number] = name, entry.get("supercategory")
    # Roboflow puts the name of the whole set first, as the category above all others.
    roots = [n for n, name in found.items() if above[n] == "none" and name in above.values()]
    annotations = field(content, "annotations", list, Place(json)) if roots else []
    used = [e.get("category_id") for e in annotations if isinstance(e, Mapping)]
    for number in roots:
        if number not in used and len(found) > 1:
            del found[number]
    if not found:
        raise DataError("has no categories, so there are no classes", kind=BROKEN, file=json)
    return dict(sorted(found.items()))


def _classes(
    categories: Mapping[int, str], background: str | None, json: Path
) -> tuple[LabelSpace, dict[int | None, int]]:
    """The label space, and the train id of each category; of background under None."""
    names = list(categories.values())
    if background is not None:
        same = [n for n in names if n.casefold() == background.casefold()]
        names = [*(same or [background]), *(n for n in names if n not in same)]
    with as_data_error(BROKEN, json):
        space = space_of(names, "coco", background is not None)
    train_ids: dict[int | None, int] = {
        number: names.index(name) for number, name in categories.items()
    }
    return space, {**train_ids, None: 0}


def _images(content: Mapping[str, Any], json: Path) -> list[Mapping[str, Any]]:
    listed = field(content, "images", list, Place(json))
    numbers: set[Any] = set()
    names: set[str] = set()
    for number, entry in enumerate(listed):
        place = Place(json, f"image {_number(entry, number)}")
        if not isinstance(entry, Mapping):
            raise place.error(f"is {short(entry)}", BROKEN, expected="an object")
        number = field(entry, "id", (int, str), place)
        name = composed(field(entry, "file_name", str, place))
        if number in numbers or name in names:
            raise place.error(f"its id or its file_name {name!r} is there twice", BROKEN)
        numbers.add(number)
        names.add(name)
    if not listed:
        raise DataError("lists no images", kind="empty split", file=json)
    return listed


def _size(entry: Mapping[str, Any], place: Place) -> tuple[int, int] | None:
    """(H, W) as the JSON says, or None where it says nothing."""
    if entry.get("height") is None and entry.get("width") is None:
        return None
    height, width = field(entry, "height", int, place), field(entry, "width", int, place)
    if height < 1 or width < 1 or height * width > readers.MAX_PIXELS:
        raise place.error(
            f"is {short(width)} x {short(height)} (width x height)",
            BROKEN,
            expected=f"1 to {readers.MAX_PIXELS:,} pixels",
        )
    return height, width


def _belongs(
    entry: Any, pictures: Mapping[Any, _Picture], train_ids: Mapping[int | None, int], place: Place
) -> tuple[_Picture, int]:
    """The picture and the class that an annotation names."""
    if not isinstance(entry, Mapping):
        raise place.error(f"is {short(entry)}", BROKEN, expected="an object", fix=LENIENT)
    image = field(entry, "image_id", (int, str), place)
    category = field(entry, "category_id", int, place)
    if image not in pictures:
        raise place.error(
            f"its image_id {short(image)} is in no image of the file", BROKEN, fix=LENIENT
        )
    if category not in train_ids:
        there = some((str(number) for number in train_ids if number is not None), 5)
        raise place.error(
            f"its category_id {category} is no category of the file; it has {there}",
            BROKEN,
            fix=LENIENT,
        )
    return pictures[image], train_ids[category]


def _judged(value: Any, picture: _Picture, place: Place) -> tuple[Outline, list[DataError]]:
    """What of an outline can be painted, and what is wrong with the rest."""
    if isinstance(value, tuple):  # as `_slim` has packed them
        return value, []
    if value is None or value == []:
        return (), []
    faults: list[DataError] = []
    parts: list[np.ndarray] = []
    try:
        if isinstance(value, Mapping):
            _region(value, picture.size or readers.image_size(picture.path), place)
            return value, []
        if not isinstance(value, list) or all(map(is_number, value)):
            raise place.error(
                f"its segmentation is {short(value)}",
                "degenerate outline" if isinstance(value, list) else BROKEN,
                expected="polygons [[x, y, x, y, ...], ...] or runs",
                fix=LENIENT,
            )
    except DataError as error:
        return (), [error]
    for part in value:
        try:
            parts.append(_polygon(part, place))
        except DataError as error:
            faults.append(error)
    return tuple(parts), faults


def _polygon(part: Any, place: Place) -> np.ndarray:
    if not isinstance(part, list) or len(part) % 2 or len(part) < 6:
        raise place.error(
            f"a polygon of its segmentation is {short(part)}",
            "degenerate outline",
            expected="x and y in turn, of 3 points or more",
            fix=LENIENT,
        )
    points = coordinates([part[i : i + 2] for i in range(0, len(part), 2)], place)
    return np.array(points, "float32")


def _region(outline: Outline, size: tuple[int, int], place: Place) -> shapes.Region:
    if not isinstance(outline, Mapping):
        return shapes.union([shapes.polygon(part, size) for part in outline], size)
    said, counts = outline.get("size"), outline.get("counts")
    if said != list(size):
        raise place.error(
            f"its runs are for size {short(said)}; the image has {list(size)} (height, width)",
            BROKEN,
            fix=LENIENT,
        )
    try:
        if isinstance(counts, str):
            numbers = shapes.unpacked_runs(counts.encode("utf-8", "surrogatepass"))
        else:
            numbers = _counted(counts)
        return shapes.runs(numbers, size)
    except ValueError as error:
        raise place.error(str(error), BROKEN, fix=LENIENT) from error


def _counted(counts: Any) -> np.ndarray:
    if not isinstance(counts, list) or not all(
        type(number) is int and 0 <= number <= readers.MAX_PIXELS for number in counts
    ):
        raise ValueError(f"the counts of its runs are {short(counts)}; expected whole numbers")
    return np.array(counts, "int64")


def _slim(entry: dict[str, Any]) -> dict[str, Any]:
    """An annotation without what is not needed, its numbers packed: a tenth of the memory."""
    if "segmentation" in entry and "image_id" in entry:
        kept = {key: entry[key] for key in _KEPT if key in entry}
        if isinstance(outline := kept["segmentation"], list) and all(map(_is_polygon, outline)):
            # float32 keeps 1/1000 pixel up to 8192.
            kept["segmentation"] = tuple(np.array(p, "float32").reshape(-1, 2) for p in outline)
        return kept
    return entry


def _is_polygon(part: Any) -> bool:
    return (
        isinstance(part, list)
        and len(part) >= 6
        and not len(part) % 2
        and all(map(is_number, part))
    )


def _number(entry: Any, place: int) -> str:
    """What to call an entry of a list: its id, or its place if it has none."""
    number = entry.get("id") if isinstance(entry, Mapping) else None
    return f"at place {place}" if number is None else short(number)
