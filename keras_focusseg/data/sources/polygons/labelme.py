"""Labelme's annotations: one JSON file an image, its shapes painted into a mask."""

from __future__ import annotations

import base64
import binascii
import functools
import itertools
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np

from keras_focusseg import label_spaces
from keras_focusseg.data.errors import DataError
from keras_focusseg.data.sources import readers
from keras_focusseg.data.sources.base import Sample, Source, existing_folder, inside, some
from keras_focusseg.data.sources.folders.encoding import as_label_space
from keras_focusseg.data.sources.folders.layout import (
    ALL,
    IMAGE_FOLDERS,
    MASK_FOLDERS,
    SPLITS,
    bases,
    canonical,
    walk,
)
from keras_focusseg.data.sources.json_files import (
    coordinates,
    field,
    read_json,
    relative_path,
    short,
)
from keras_focusseg.data.sources.pairs import entries, is_folder, printable
from keras_focusseg.data.sources.polygons import shapes
from keras_focusseg.label_spaces import IGNORE, LabelSpace

MAX_JSON = 1 << 28
"""Larger files are refused: 256 MiB, since the image may stand in them as text."""

IGNORED_LABEL = "__ignore__"
BACKGROUND_LABEL = "_background_"

_SHAPES = {"polygon": 3, "rectangle": 2, "circle": 2, "line": 2, "linestrip": 2, "point": 1,
           "points": 1, "mask": 2}  # fmt: skip
_OTHER_JSON = ("label_space.json", "classes.json")
_PEEK = 1 << 16
_PROBES = 3


class _Entry(NamedTuple):
    """One annotated image: its name, JSON file, and image file unless it stands in the JSON."""

    name: str
    json: Path
    image: Path | None


class Labelme(Source):
    """Images annotated with Labelme, painted into masks when they are read.

    The JSON files lie beside the images or in a folder of their own; each names its image
    (`imagePath`). Split S is the folder `S/` with JSON files in it (or `annotations/S/` and the
    like); "all" takes every JSON file below the root.

    Shapes are painted in the order of the file, later ones on top, as Labelme exports them:
    polygon, rectangle, circle, line, linestrip, point and mask. A pixel belongs to a shape if its
    centre lies inside. What no shape covers is background.

    The classes stand in `labels.txt` or another class table in the root or the split's folder, or
    else are the labels of all JSON files below the root, sorted. The label `__ignore__` is ignored
    pixels.

    Args:
        root: folder in which everything lies.
        split: name of a folder, or "all".
        strict: whether an image without JSON file or a JSON file without image is an error; else
            they are left out and listed in `unpaired`.
        label_space: the classes, if they are known; their names are the labels.
        background: name of the class, the first one, of what no shape covers, unless the table
            has it or `_background_`. None ignores those pixels.
        line_width: thickness of lines in pixels; Labelme's own export draws 10.
        point_radius: radius of points in pixels; Labelme's own export draws 5.

    Raises:
        DataError: if there are no JSON files, one is not as Labelme writes it, has a label that no
            class has, or names an image outside the root; names the file, the shape and the value.

    Example:
        ```python
        source = Labelme("my_data", "all")
        source.layout  # "Labelme JSON, 4 labels from labels.txt, 120 pairs"
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
        self.split = split
        self.root = existing_folder(root, "the root folder").resolve()
        self.line_width = _positive(line_width, "line_width")
        self.point_radius = _positive(point_radius, "point_radius")
        folder = _split_folder(self.root, split)
        jsons = _json_files(folder, self.root)
        if not jsons:
            raise DataError(
                f"{folder}: no JSON file there. Labelme saves one beside each image; open the "
                "folder in which they are."
            )
        space = None if label_space is None else as_label_space(label_space)
        self.label_space, self._train_ids, said = _classes(self.root, folder, space, background)
        self._ground = self._train_ids[None]
        self.unpaired: list[Path] = []
        self._entries = self._pair(jsons, folder, strict)
        if not self._entries:
            raise DataError(f"{folder}: none of the {len(jsons)} JSON files has its image.")
        left = f", {len(self.unpaired)} without partner left out" if self.unpaired else ""
        self.layout = f"Labelme JSON, {said}, {len(self._entries)} images{left}"

    @classmethod
    def recognises(cls, root: str | Path) -> bool:
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
                if (folder := _folder_of(top, split)) and _is_labelme(folder, top)
            ]
            return tuple(found) or ((ALL,) if _is_labelme(top, top) else ())
        except (OSError, ValueError):
            return ()

    def __len__(self) -> int:
        return len(self._entries)

    def load(self, index: int) -> Sample:
        """Read image `index` and paint its mask: (H, W, 3) uint8, (H, W) uint8, name."""
        entry = self._entries[index]
        content = _content(entry.json)
        if entry.image is not None:
            image = readers.read_image(entry.image)
        else:
            where = f"{entry.json}: imageData"
            image = readers.image_from_bytes(_decoded(content.get("imageData"), where), where)
        return Sample(image, self._paint(entry, content, _shape(image)), entry.name)

    def load_mask(self, index: int) -> np.ndarray:
        """Paint mask `index` alone: (H, W) uint8; of the image only the size is read."""
        entry = self._entries[index]
        content = _content(entry.json)
        if entry.image is not None:
            size = readers.image_size(entry.image)
        else:
            where = f"{entry.json}: imageData"
            size = _shape(
                readers.image_from_bytes(_decoded(content.get("imageData"), where), where)
            )
        return self._paint(entry, content, size)

    def sample_name(self, index: int) -> str:
        """Path of JSON file `index` below the split's folder, without suffix."""
        return self._entries[index].name

    def files(self, index: int) -> tuple[Path, ...]:
        """Image and JSON file `index`; the JSON file alone where the image stands in it."""
        entry = self._entries[index]
        return (entry.json,) if entry.image is None else (entry.image, entry.json)

    def _pair(self, jsons: dict[str, Path], folder: Path, strict: bool) -> list[_Entry]:
        found, used = [], set()
        for name, path in jsons.items():
            content = _content(path)
            image = _image_of(path, content, self.root)
            if image is None and not content.get("imageData"):
                if strict:
                    raise DataError(
                        f"{path}: its image {short(content.get('imagePath'))} is not there, and no "
                        "imageData stands in the file. Restore the image, or say strict=False to "
                        "leave it out."
                    )
                self.unpaired.append(path)
                continue
            self._labels(path, content)
            found.append(_Entry(printable(name), path, image))
            used.add(image)
        alone = [path for path in _images_beside(jsons, self.root) if path not in used]
        if alone and strict:
            raise DataError(
                f"{folder}: {len(alone)} images have no JSON file: "
                f"{some(path.name for path in alone)}. Annotate them (save without shapes if "
                "nothing is on them), move them away, or say strict=False to leave them out."
            )
        self.unpaired += alone
        return found

    def _labels(self, path: Path, content: Mapping[str, Any]) -> list[int]:
        """The train id of each shape."""
        found = []
        for place, shape in enumerate(content["shapes"]):
            label = shape["label"]
            if label not in self._train_ids:
                known = some((str(name) for name in self._train_ids if name is not None), 8)
                raise DataError(
                    f"{path}: shape {place} has label {short(label)}, which is no class; there "
                    f"are {known}. Correct the label, or add it to the class table."
                )
            found.append(self._train_ids[label])
        return found

    def _paint(
        self, entry: _Entry, content: Mapping[str, Any], size: tuple[int, int]
    ) -> np.ndarray:
        said = content.get("imageHeight"), content.get("imageWidth")
        if None not in said and said != size:
            turned = " The image was turned upright by its EXIF orientation." * (said == size[::-1])
            raise DataError(
                f"{entry.image or entry.json}: the image is {size[1]} x {size[0]}, but "
                f"{entry.json} says {short(said[1])} x {short(said[0])} (width x height). The "
                f"annotations belong to an image of another size.{turned}"
            )
        mask = np.full(size, self._ground, "uint8")
        train_ids = self._labels(entry.json, content)
        for place, (shape, train_id) in enumerate(zip(content["shapes"], train_ids, strict=True)):
            self._region(shape, size, f"{entry.json}: shape {place}").paint(mask, train_id)
        return mask

    def _region(self, shape: Mapping[str, Any], size: tuple[int, int], where: str) -> shapes.Region:
        kind = shape.get("shape_type") or "polygon"  # files of before 2019 have none
        if not isinstance(kind, str) or kind not in _SHAPES:
            raise DataError(
                f"{where}: shape_type is {short(kind)}; it can be {some(_SHAPES, len(_SHAPES))}."
            )
        points = coordinates(shape.get("points"), where)
        if len(points) < _SHAPES[kind]:
            raise DataError(
                f"{where}: a {kind} needs {_SHAPES[kind]} points or more, it has {len(points)}. "
                "Draw it anew or remove it."
            )
        if kind == "mask":
            return _mask_region(shape, points, size, where)
        if kind == "polygon" or (kind == "rectangle" and len(points) == 4):
            return shapes.polygon(points, size)
        if kind == "rectangle":
            return shapes.rectangle(points[0], points[1], size)
        if kind == "circle":
            return shapes.disc(points[0], math.dist(points[0], points[1]), size)
        if kind in ("point", "points"):
            discs = [shapes.disc(point, self.point_radius, size) for point in points]
            return shapes.union(discs, size)
        return shapes.stroke(points, self.line_width, size)


def _mask_region(
    shape: Mapping[str, Any],
    points: Sequence[tuple[float, float]],
    size: tuple[int, int],
    where: str,
) -> shapes.Region:
    """The pixels of a mask shape: a PNG for the window between two pixels, both included."""
    text = field(shape, "mask", str, where)
    filled = readers.mask_from_bytes(_decoded(text, f"{where}: mask"), f"{where}: mask") > 0
    (left, top), (right, bottom) = (tuple(map(math.floor, point)) for point in points[:2])
    expected = (bottom - top + 1, right - left + 1)
    if filled.shape != expected:
        raise DataError(
            f"{where}: its mask is {filled.shape[1]} x {filled.shape[0]}, its points say "
            f"{expected[1]} x {expected[0]} (width x height)."
        )
    if top < 0 or left < 0 or bottom >= size[0] or right >= size[1]:
        raise DataError(
            f"{where}: its mask reaches from ({left}, {top}) to ({right}, {bottom}), out of the "
            f"image of {size[1]} x {size[0]}."
        )
    return shapes.Region(top, left, filled)


def _classes(
    root: Path, folder: Path, given: LabelSpace | None, background: str | None
) -> tuple[LabelSpace, dict[str | None, int], str]:
    """The label space, the train id of each label (under None that of background), its origin."""
    if given is not None:
        space, said = given, f"label space {given.name!r}"
    else:
        parents = [p for p in folder.parents if p.is_relative_to(root)]
        table = label_spaces.find_table([folder, *parents])
        space, said = (
            _discovered(root, background) if table is None else _listed(table, root, background)
        )
    train_ids: dict[str | None, int] = {name: i for i, name in enumerate(space.classes)}
    train_ids.setdefault(IGNORED_LABEL, IGNORE)
    train_ids.setdefault(space.ignore_name, IGNORE)
    ground = next(
        (
            i
            for i, name in enumerate(space.classes)
            if name == BACKGROUND_LABEL or name.casefold() == (background or "").casefold()
        ),
        IGNORE,
    )
    train_ids[None] = ground if background is not None else IGNORE
    if train_ids[None] != IGNORE:
        train_ids.setdefault(BACKGROUND_LABEL, ground)
    return space, train_ids, said


def _listed(table: Path, root: Path, background: str | None) -> tuple[LabelSpace, str]:
    try:
        loaded = label_spaces.load_table(inside(table, root))
        space = loaded.label_space()
    except ValueError as error:
        raise error if isinstance(error, DataError) else DataError(str(error)) from error
    has_colors = loaded.stored is not None or bool(loaded.colors)
    names = list(space.classes)
    said = f"{len(names)} labels from {table.name}"
    if has_colors and (background is None or _has_background(names, background)):
        return space, said
    return _space(names, background, table, space if has_colors else None), said


def _discovered(root: Path, background: str | None) -> tuple[LabelSpace, str]:
    labels: set[str] = set()
    jsons = list(filter(_looks_like_labelme, _json_files(root, root).values()))
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
        first = [n for n in classes if _has_background([n], background)] or [background]
        classes = [*first, *(name for name in classes if name not in first)]
    elif not classes:
        raise DataError(f"{where}: there is no label at all, so there are no classes.")
    colors: list[tuple[int, int, int]]
    colors = list(label_spaces.distinct_colors(min(len(classes), IGNORE)))
    if background is not None:
        colors = [(0, 0, 0), *colors[: len(classes) - 1]]
    if colors_of is not None:
        known = dict(zip(colors_of.classes, colors_of.colors, strict=True))
        colors = [known.get(name, (0, 0, 0)) for name in classes]
    try:
        return label_spaces.from_names(
            classes,
            colors=colors,
            name="labelme",
            ignore_name=IGNORED_LABEL.strip("_"),
            ignore_color=(0, 0, 0) if background is None else (255, 255, 255),
        )
    except ValueError as error:
        raise DataError(f"{where}: {error}") from error


def _has_background(names: Sequence[str], background: str) -> bool:
    return any(n == BACKGROUND_LABEL or n.casefold() == background.casefold() for n in names)


def _split_folder(root: Path, split: str) -> Path:
    folder = root if split == ALL else _folder_of(root, split)
    if folder is None:
        names = [entry.name for entry in entries(root) if is_folder(entry)]
        raise DataError(
            f"{root}: split {split!r} is not there; found the folders "
            f"{some(names, 9) or '(none)'}. Use split={ALL!r} to take every JSON file."
        )
    return inside(folder, root)


def _folder_of(root: Path, split: str) -> Path | None:
    """`S/`, `S/annotations/` or `annotations/S/`, with JSON files in it."""
    for base in bases(root):
        for entry in entries(base):
            if not is_folder(entry):
                continue
            folder = Path(entry.path)
            if canonical(entry.name) == canonical(split):
                return folder
            if entry.name.casefold() in ("json", "jsons", *MASK_FOLDERS):
                inner = [e for e in entries(folder) if is_folder(e)]
                for deep in inner:
                    if canonical(deep.name) == canonical(split):
                        return Path(deep.path)
    return None


def _json_files(folder: Path, root: Path) -> dict[str, Path]:
    """JSON files below a folder by name without suffix, sorted; class tables do not count."""
    return {
        path.relative_to(folder).with_suffix("").as_posix(): path
        for path in sorted(walk(folder, root, (".json",)))
        if path.name not in _OTHER_JSON
    }


def _is_labelme(folder: Path, root: Path) -> bool:
    jsons = (p for p in walk(folder, root, (".json",)) if p.name not in _OTHER_JSON)
    first = list(itertools.islice(jsons, _PROBES))
    return bool(first) and all(map(_looks_like_labelme, first))


def _looks_like_labelme(path: Path) -> bool:
    """Whether the keys that Labelme writes first or last are there, without reading the image."""
    with open(path, "rb") as file:
        head = file.read(_PEEK)
        file.seek(max(0, os.path.getsize(path) - _PEEK))
        text = head + file.read()
    return b'"shapes"' in text and b'"imagePath"' in text


@functools.lru_cache(maxsize=1 << 16)
def _labels_in(path: Path, size: int, changed: int) -> frozenset[str]:
    return frozenset(shape["label"] for shape in _content(path)["shapes"])


def _content(path: Path) -> dict[str, Any]:
    """One JSON file, held to what is used of it."""
    content = read_json(path, MAX_JSON)
    if "shapes" not in content:
        raise DataError(
            f"{path}: has no 'shapes', so it is no JSON file of Labelme's. Move it away."
        )
    for place, shape in enumerate(field(content, "shapes", list, str(path))):
        where = f"{path}: shape {place}"
        if not isinstance(shape, dict):
            raise DataError(f"{where}: is {short(shape)}; expected an object.")
        shape["label"] = printable(field(shape, "label", str, where).strip())
        if not shape["label"]:
            raise DataError(f"{where}: its label is empty. Give it the name of a class.")
    return content


def _image_of(path: Path, content: Mapping[str, Any], root: Path) -> Path | None:
    """The image that a JSON file names, or one of that name near it; None if there is none."""
    if content.get("imagePath") is None:
        return None
    named = field(content, "imagePath", str, str(path))
    for candidate in _candidates(path, relative_path(named, f"{path}: imagePath"), root):
        if os.path.lexists(candidate):
            target = Path(os.path.realpath(candidate))
            if not target.is_relative_to(root):
                raise DataError(
                    f"{path}: its imagePath {short(named)} leads to {target}, outside {root}; "
                    "nothing outside is read. Copy the image into the folder, or open the folder "
                    "that holds both."
                )
            if target.is_file():
                return Path(os.path.normpath(candidate))
    return None


def _candidates(path: Path, named: PurePosixPath, root: Path) -> Iterator[Path]:
    """Where the image of a JSON file may lie, the place that it names first."""
    yield path.parent / named
    yield path.parent / named.name
    for parent in path.parents:
        if not parent.is_relative_to(root):
            return
        inner = path.parent.relative_to(parent).parts[1:]
        for folder in IMAGE_FOLDERS:  # `images/train/1.jpg` for `annotations/train/1.json`
            yield parent.joinpath(folder, *inner, named.name)


def _images_beside(jsons: Mapping[str, Path], root: Path) -> list[Path]:
    """The pictures in the folders of the JSON files."""
    return [
        Path(entry.path)
        for folder in sorted({path.parent for path in jsons.values()})
        for entry in entries(folder)
        if Path(entry.name).suffix.lower() in readers.SUFFIXES and os.path.isfile(entry)
    ]


def _decoded(text: Any, where: str) -> bytes:
    if not isinstance(text, str):
        raise DataError(f"{where}: is {short(text)}; expected base64 text.")
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise DataError(f"{where}: is no base64 text ({error}). Save the file again.") from error


def _positive(value: float, name: str) -> float:
    if not 0 < value <= 1000:
        raise DataError(f"{name} is {value!r}; expected more than 0 and at most 1000 pixels.")
    return float(value)


def _shape(image: np.ndarray) -> tuple[int, int]:
    return image.shape[0], image.shape[1]
