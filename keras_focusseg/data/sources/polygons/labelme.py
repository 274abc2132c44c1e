"""Labelme's annotations: one JSON file an image, its shapes painted into a mask."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from keras_focusseg.data.sources.base import Sample, Source, check_split, existing_folder, some
from keras_focusseg.data.sources.folders.layout import ALL, SPLITS
from keras_focusseg.data.sources.listing import Names, entries, is_folder
from keras_focusseg.data.sources.polygons.labelme_files import (
    folder_of,
    image_of,
    is_labelme,
    json_files,
    looks_like_labelme,
    read_labelme,
    split_folder,
)
from keras_focusseg.data.sources.polygons.labelme_shapes import decoded_text, judge, region
from keras_focusseg.data.sources.polygons.painting import refuse_other_size, space_of
from keras_focusseg.data.sources.tables import as_data_error, as_label_space, class_table
from keras_focusseg.errors import DataError, Place, printable
from keras_focusseg.label_spaces import IGNORE, LabelSpace
from keras_focusseg.label_spaces.class_tables import ClassTable
from keras_focusseg.label_spaces.json_files import BROKEN
from keras_focusseg.label_spaces.text import composed
from keras_focusseg.pictures import readers

MAX_JSON = 1 << 28
"""Larger files are refused: 256 MiB, since the image may stand in them as text."""

IGNORED_LABEL = "__ignore__"
BACKGROUND_LABEL = "_background_"


class _Entry(NamedTuple):
    """One annotated image: its name, JSON file, and image file unless it stands in the JSON."""

    name: str
    json: Path
    image: Path | None


class Labelme(Source):
    """Images annotated with Labelme, painted into masks when they are read.

    The JSON files lie beside the images or in a folder of their own; each names its image
    (`imagePath`). A path of another time or computer is not followed: its name is looked for where
    the image should be, then that of the JSON file. Split S is the folder `S/` with JSON files in
    it (or `annotations/S/` and the like); "all" takes every JSON file below the root.

    Shapes are painted in the order of the file, later ones on top, as Labelme exports them:
    polygon, rectangle, circle, line, linestrip, point and mask. A pixel belongs to a shape if its
    centre lies inside. What no shape covers is background.

    The classes stand in `labels.txt` or another class table in the root or the split's folder, or
    else are the labels of all JSON files below the root, sorted. The label `__ignore__` is ignored
    pixels.

    Args:
        root: Folder in which everything lies.
        split: Name of a folder, or "all".
        strict: Whether an image without JSON file, a JSON file without image and a shape that
            cannot be painted or has a label that no class has are errors; else they are left out,
            the files listed in `unpaired` and the shapes in `faults`.
        label_space: The classes, if they are known; their names are the labels.
        background: Name of the class, the first one, of what no shape covers, unless the table
            has it or `_background_`. None ignores those pixels.
        line_width: Thickness of lines in pixels; Labelme's own export draws 10.
        point_radius: Radius of points in pixels; Labelme's own export draws 5.

    Raises:
        DataError: If there are no JSON files, one is not as Labelme writes it, has a label that no
            class has, or names an image outside the root; names the file, the shape and the value.

    Example:
        ```python
        source = Labelme("my_data", "all")
        source.layout  # "Labelme JSON, 4 labels from labels.txt, 120 images"
        ```
    """

    def __init__(
        self,
        root: str | Path,
        split: str = "train",
        *,
        strict: bool = True,
        label_space: LabelSpace | Mapping[str, Any] | str | None = None,
        background: str | None = "background",
        line_width: float = 10,
        point_radius: float = 5,
    ) -> None:
        self.name = "labelme"
        check_split(split)
        self.split = split
        self.root = existing_folder(root, "the root folder").resolve()
        self.line_width = _positive(line_width, "line_width")
        self.point_radius = _positive(point_radius, "point_radius")
        folder = split_folder(self.root, split)
        jsons = json_files(folder, self.root)
        if not jsons:
            raise DataError(
                "no JSON file there",
                kind="empty split",
                file=folder,
                fix="Labelme saves one beside each image; open the folder in which they are.",
            )
        space = None if label_space is None else as_label_space(label_space)
        self.label_space, self._train_ids, said = _classes(self.root, folder, space, background)
        self._ground = self._train_ids[None]
        self._strict = strict
        self.unpaired: list[Path] = []
        self.faults: list[DataError] = []
        self._entries = self._pair(jsons, folder)
        if not self._entries:
            raise DataError(
                f"none of the {len(jsons)} JSON files has its image",
                kind="empty split",
                file=folder,
            )
        left = f", {len(self.unpaired)} without partner left out" if self.unpaired else ""
        left += f", {len(self.faults)} shapes left out" if self.faults else ""
        self.layout = f"Labelme JSON, {said}, {len(self._entries)} images{left}"

    @classmethod
    def recognizes(cls, root: str | Path) -> bool:
        """Whether Labelme's JSON files lie there; never raises."""
        return bool(cls.splits(root))

    @classmethod
    def splits(cls, root: str | Path) -> tuple[str, ...]:
        """The splits with JSON files: of "train", "val", "test", or ("all",)."""
        try:
            top = Path(root).resolve()
            found = [
                split
                for split in SPLITS
                if (folder := folder_of(top, split)) and is_labelme(folder, top)
            ]
            return tuple(found) or ((ALL,) if is_labelme(top, top) else ())
        except (OSError, ValueError):
            return ()

    def __len__(self) -> int:
        return len(self._entries)

    def load(self, index: int) -> Sample:
        """Reads image `index` and paints its mask: (H, W, 3) uint8, (H, W) uint8, name."""
        entry = self._entries[index]
        content = _content(entry.json)
        image = readers.read_image(entry.image) if entry.image else _image_in(entry.json, content)
        mask = self._paint(entry, content, (image.shape[0], image.shape[1]))
        return Sample(image, mask, entry.name)

    def load_mask(self, index: int) -> np.ndarray:
        """Paints mask `index` alone: (H, W) uint8; of the image only the size is read."""
        entry = self._entries[index]
        content = _content(entry.json)
        return self._paint(entry, content, _size(entry, content))

    def sample_name(self, index: int) -> str:
        """Path of JSON file `index` below the split's folder, without suffix."""
        return self._entries[index].name

    def files(self, index: int) -> tuple[Path, ...]:
        """Image and JSON file `index`; the JSON file alone where the image stands in it."""
        entry = self._entries[index]
        return (entry.json,) if entry.image is None else (entry.image, entry.json)

    def _pair(self, jsons: dict[str, Path], folder: Path) -> list[_Entry]:
        found: list[_Entry] = []
        used: dict[Path, Path] = {}
        names = Names(self.root)
        for name, path in jsons.items():
            content = _content(path)
            image = image_of(path, content, names)
            if image is None and not content.get("imageData"):
                if self._strict:
                    raise DataError(
                        f"its image {content.get('imagePath')!r} is not there, nor anything of "
                        f"that name in {self.root}, outside of which nothing is read; and no "
                        "imageData stands in the file",
                        kind="file without partner",
                        file=path,
                        fix="Restore the image, or say strict=False to leave it out.",
                    )
                self.unpaired.append(path)
                continue
            if image is not None and image in used:
                raise DataError(
                    f"its image {image} is that of {used[image]} as well",
                    kind=BROKEN,
                    file=path,
                    fix="Correct imagePath in one of them, or remove it.",
                )
            entry = _Entry(printable(name), path, image)
            self._judge(entry, content)
            found.append(entry)
            if image is not None:
                used[image] = path
        alone = [path for path in _images_beside(jsons) if path not in used]
        if alone and self._strict:
            raise DataError(
                f"{len(alone)} images have no JSON file: {some(path.name for path in alone)}",
                kind="file without partner",
                file=folder,
                fix="Annotate them (save without shapes if nothing is on them), move them away, or "
                "say strict=False to leave them out.",
            )
        self.unpaired += alone
        return found

    def _judge(self, entry: _Entry, content: Mapping[str, Any]) -> None:
        """Refuses shapes that could not be painted, or notes them."""
        size: tuple[int, int] | None = None
        for number, shape in enumerate(content["shapes"]):
            place = Place(entry.json, f"shape {number}")
            try:
                if shape.get("shape_type") == "mask" and size is None:
                    size = _size(entry, content)
                self._train_id(shape, place)
                judge(shape, size or (0, 0), place)
            except DataError as error:
                if self._strict:
                    raise
                self.faults.append(error)

    def _train_id(self, shape: Mapping[str, Any], place: Place) -> int:
        label = printable(shape["label"])
        if label not in self._train_ids:
            known = some((str(name) for name in self._train_ids if name is not None), 8)
            raise place.error(
                f"has label {label!r}, which is no class; there are {known}",
                "label that no class has",
                fix="Correct the label, or add it to the class table.",
            )
        return self._train_ids[label]

    def _paint(
        self, entry: _Entry, content: Mapping[str, Any], size: tuple[int, int]
    ) -> np.ndarray:
        said = content.get("imageHeight"), content.get("imageWidth")
        if isinstance(said[0], int) and isinstance(said[1], int):
            refuse_other_size(entry.image or entry.json, entry.json, size, (said[0], said[1]))
        mask = np.full(size, self._ground, "uint8")
        for number, shape in enumerate(content["shapes"]):
            place = Place(entry.json, f"shape {number}")
            try:
                train_id = self._train_id(shape, place)
                pixels = region(shape, size, place, self.line_width, self.point_radius)
            except DataError:
                if self._strict:
                    raise
                continue  # it stands in `faults`
            pixels.paint(mask, train_id)
        return mask


def _image_in(path: Path, content: Mapping[str, Any]) -> np.ndarray:
    """The image that stands in the JSON file."""
    place = Place(path, "imageData")
    return readers.image_from_bytes(decoded_text(content.get("imageData"), place), place)


def _size(entry: _Entry, content: Mapping[str, Any]) -> tuple[int, int]:
    if entry.image is not None:
        return readers.image_size(entry.image)
    height, width = _image_in(entry.json, content).shape[:2]
    return height, width


def _classes(
    root: Path, folder: Path, given: LabelSpace | None, background: str | None
) -> tuple[LabelSpace, dict[str | None, int], str]:
    """The label space, the train id of each label (under None that of background), its origin."""
    if given is not None:
        space, said = given, f"label space {given.name!r}"
    else:
        parents = [p for p in folder.parents if p.is_relative_to(root)]
        table = class_table([folder, *parents], root)
        space, said = _discovered(root, background) if table is None else _listed(table, background)
    train_ids: dict[str | None, int] = {composed(n): i for i, n in enumerate(space.classes)}
    train_ids.setdefault(IGNORED_LABEL, IGNORE)
    train_ids.setdefault(space.ignore_name, IGNORE)
    grounds = [i for i, n in enumerate(space.classes) if _is_background(n, background or "")]
    ground = grounds[0] if grounds and background is not None else IGNORE
    train_ids[None] = ground
    if ground != IGNORE:
        train_ids.setdefault(BACKGROUND_LABEL, ground)
    return space, train_ids, said


def _listed(table: ClassTable, background: str | None) -> tuple[LabelSpace, str]:
    space = table.label_space()
    names = list(space.classes)
    said = f"{len(names)} labels from {table.path.name}"
    has_ground = background is None or any(_is_background(n, background) for n in names)
    if table.has_colors and has_ground:
        return space, said
    return _space(names, background, table.path, space if table.has_colors else None), said


def _discovered(root: Path, background: str | None) -> tuple[LabelSpace, str]:
    labels: set[str] = set()
    jsons = list(filter(looks_like_labelme, json_files(root, root).values()))
    for path in jsons:
        status = path.stat()
        labels |= _labels_in(path, status.st_size, status.st_mtime_ns)
    labels.discard(IGNORED_LABEL)
    said = f"{len(labels)} labels found in {len(jsons)} files"
    return _space(sorted(labels), background, root, None), said


def _space(
    names: Sequence[str], background: str | None, where: Path, colors_of: LabelSpace | None
) -> LabelSpace:
    """The classes, background first unless it is among them or not wanted."""
    classes = list(names)
    if background is not None:
        first = [n for n in classes if _is_background(n, background)] or [background]
        classes = [*first, *(name for name in classes if name not in first)]
    elif not classes:
        raise DataError(
            "there is no label at all, so there are no classes", kind="empty split", file=where
        )
    with as_data_error(BROKEN, where):
        space = space_of(classes, "labelme", background is not None)
        if colors_of is None:
            return space
        known = dict(zip(colors_of.classes, colors_of.colors, strict=True))
        colors = tuple(known.get(name, (0, 0, 0)) for name in classes)
        return replace(space, colors=colors)


def _is_background(name: str, background: str) -> bool:
    return name == BACKGROUND_LABEL or name.casefold() == background.casefold()


def _content(path: Path) -> dict[str, Any]:
    return read_labelme(path, MAX_JSON)


@functools.lru_cache(maxsize=1 << 16)
def _labels_in(path: Path, size: int, changed: int) -> frozenset[str]:
    return frozenset(printable(shape["label"]) for shape in _content(path)["shapes"])


def _images_beside(jsons: Mapping[str, Path]) -> list[Path]:
    """The pictures in the folders of the JSON files."""
    return [
        Path(entry.path)
        for folder in sorted({path.parent for path in jsons.values()})
        for entry in entries(folder)
        if Path(entry.name).suffix.lower() in readers.SUFFIXES and not is_folder(entry)
    ]


def _positive(value: float, name: str) -> float:
    if not 0 < value <= 1000:
        raise DataError(
            f"{name} is {value!r}",
            kind="option that is not possible",
            expected="more than 0 and at most 1000 pixels",
        )
    return float(value)
