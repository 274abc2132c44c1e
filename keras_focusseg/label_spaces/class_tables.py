"""Class tables that lie beside people's masks: names, colours and ids, in the forms in use."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from keras_focusseg import files
from keras_focusseg.label_spaces.groupings import Grouping, by_color, colors_to_ids
from keras_focusseg.label_spaces.label_space import IGNORE, LabelSpace, from_names
from keras_focusseg.label_spaces.table_rows import Color, Row, csv_rows, json_rows, text_rows
from keras_focusseg.label_spaces.text import composed, decoded

VOID_NAMES = ("void", "unlabeled", "unlabelled", "ignore", "__ignore__")
"""Names that mean "no class here", in any case: such rows of a table are ignored."""

TABLE_FILES = (
    "label_space.json",
    "class_dict.csv",
    "class_dict_seg.csv",
    "classes.csv",
    "_classes.csv",
    "labelmap.txt",
    "label_colors.txt",
    "classes.json",
    "classes.txt",
    "codes.txt",
    "labels.txt",
    "class_names.txt",
    "dataset_meta.json",
)
"""Names of class tables, in the order in which they are looked for."""

MAX_BYTES = 1_000_000
"""Larger files are no class tables."""


@dataclass(frozen=True)
class ClassTable:
    """A class table as it stands in its file.

    Attributes:
        path: The file.
        names: One name a row, void-like ones among them.
        colors: One (red, green, blue) a row, or empty where the file has no colours.
        ids: The number of each row in masks of ids; -1 where it has none.
        ignored: Rows that are no classes, by place.
        stored: The label space, if the file is one that `LabelSpace.to_config` wrote.
    """

    path: Path
    names: tuple[str, ...]
    colors: tuple[Color, ...]
    ids: tuple[int, ...]
    ignored: frozenset[int]
    stored: LabelSpace | None = None

    @property
    def has_colors(self) -> bool:
        """Whether coloured masks can be read with it."""
        return bool(self.colors) or self.stored is not None

    def label_space(self) -> LabelSpace:
        """The classes, without the ignored rows.

        Returns:
            The label space, named after the file; colours are chosen if the table has none.

        Raises:
            ValueError: If the rows are no label space; names the file.
        """
        if self.stored is not None:
            return self.stored
        kept = [row for row in range(len(self.names)) if row not in self.ignored]
        if not kept:
            listed = ", ".join(repr(name) for name in self.names[:5])
            raise ValueError(
                f"{self.path}: every row is ignored ({listed}), no class is left. Say ignored=() "
                "to make classes of them."
            )
        first = min(self.ignored, default=None)
        ignored_ids = {self.ids[row] for row in self.ignored if self.ids[row] >= 0}
        if IGNORE not in self.ids:
            ignored_ids.add(IGNORE)  # by convention, whether or not the table has a row for it
        try:
            return from_names(
                [self.names[row] for row in kept],
                colors=[self.colors[row] for row in kept] if self.colors else None,
                ids=[self.ids[row] for row in kept],
                ignored_ids=ignored_ids,
                name=self.path.stem.strip("_"),
                ignore_name="void" if first is None else self.names[first].strip("_"),
                ignore_color=self.colors[first] if self.colors and first is not None else (0, 0, 0),
            )
        except ValueError as error:
            raise ValueError(f"{self.path}: {error}") from error

    def grouping(self) -> Grouping:
        """The way from the table's colours to train ids, those of ignored rows included.

        Raises:
            ValueError: If the table has no colours, or two rows share one.
        """
        space = self.label_space()
        if self.stored is not None:
            return by_color(self.stored)
        if not self.colors:
            raise ValueError(
                f"{self.path}: has names but no colours, so coloured masks cannot be read with it. "
                "Add the columns r, g and b, as in class_dict.csv (name,r,g,b)."
            )
        place = {name: index for index, name in enumerate(space.classes)}
        train_ids = [
            IGNORE if row in self.ignored else place[name] for row, name in enumerate(self.names)
        ]
        try:
            return colors_to_ids(space, self.names, self.colors, train_ids)
        except ValueError as error:
            raise ValueError(f"{self.path}: {error}") from error


def read_class_table(
    path: str | os.PathLike[str], ignored: Collection[str] = VOID_NAMES
) -> LabelSpace:
    """The classes that a table beside the masks of a dataset lists.

    It reads, whatever the file is called:

    - CSV with a header: `name,r,g,b` as Kaggle's `class_dict.csv` has it, `Pixel Value, Class` as
      Roboflow's `_classes.csv` has it, or names alone; in any case; comma, semicolon or tab;
    - `labelmap.txt` of CVAT and Datumaro: `name:r,g,b:parts:actions`, comments with `#`;
    - `label_colors.txt` of CamVid: `r g b name`;
    - plain text, one name a line: `classes.txt`, `codes.txt`, Labelme's `labels.txt`;
    - JSON: what `LabelSpace.to_config` gives, a list of names, a list of objects with `name` and,
      if you like, `color` and `id`, ids with their names, Datumaro's `dataset_meta.json`
      (`label_map`, `segmentation_colors`), or `classes` with `palette`.

    Where the file gives no ids, a row's number counts, from 0; Labelme's `__ignore__` in the first
    line does not count, as in Labelme's own exports.

    Args:
        path: The file, UTF-8 or UTF-16.
        ignored: Names of rows that are no classes, in any case; their ids and colours are
            ignored. `()` makes a class of every row.

    Returns:
        The label space. 255 is ignored too, unless it is the id of a class.

    Raises:
        ValueError: If the file cannot be read or is no such table; names file, line and value.

    Example:
        ```python
        space = read_class_table("class_dict.csv")
        space.classes, space.colors, space.ids
        ```
    """
    return load_table(path, ignored).label_space()


def load_table(path: str | os.PathLike[str], ignored: Collection[str] = VOID_NAMES) -> ClassTable:
    """A class table with all of its rows; see `read_class_table`.

    Args:
        path: The file, UTF-8 or UTF-16.
        ignored: Names of rows that are no classes, in any case.

    Returns:
        The table; whether it has colours is to be seen, and ignored rows keep theirs.

    Raises:
        ValueError: If the file cannot be read or is no such table; names file, line and value.
    """
    path = Path(path)
    if isinstance(ignored, str):
        raise ValueError(f"ignored must be a list of names, got the single string {ignored!r}.")
    text = _text(path)
    suffix = path.suffix.lower()
    if suffix == ".json":
        content = _parse_json(path, text)
        if isinstance(content, Mapping) and {"name", "classes"} <= set(content):
            return _stored(path, content)
        rows = json_rows(path, content)
    elif suffix == ".csv":
        rows = csv_rows(path, text)
    else:
        rows = text_rows(path, text)
    if not rows:
        raise ValueError(f"{path}: lists no class. Write one name a line.")
    return _table(path, rows, {name.casefold() for name in ignored})


def find_table(folders: Collection[Path]) -> Path | None:
    """The class table that lies in one of the folders.

    Args:
        folders: Where to look, the first one first.

    Returns:
        The first file of one of the names in `TABLE_FILES`, or None.
    """
    for folder in folders:
        for name in TABLE_FILES:
            if (folder / name).is_file():
                return folder / name
    return None


def write_class_dict(
    path: str | os.PathLike[str], classes: LabelSpace | Grouping, overwrite: bool = False
) -> Path:
    """Writes classes and colours as `class_dict.csv`, to be named in an editor.

    Args:
        path: File to write, usually `class_dict.csv` beside the folders of images and masks.
        classes: A label space, or a grouping such as `discover_colors` finds.
        overwrite: Whether a file that is there may be replaced.

    Returns:
        The path. `read_class_table` gives back the classes and colours, in the same order.

    Raises:
        ValueError: If the file is there already and `overwrite` is False.

    Example:
        ```python
        label_spaces.write_class_dict("class_dict.csv", label_spaces.get("camvid11"))
        # name,r,g,b
        # Sky,128,128,128 ...
        ```
    """
    path = Path(path)
    if path.exists() and not overwrite:
        raise ValueError(f"{path}: is there already. Say overwrite=True to replace it.")
    groups = by_color(classes) if isinstance(classes, LabelSpace) else classes
    with (
        files.written(path) as temporary,
        open(temporary, "w", encoding="utf-8", newline="") as file,
    ):
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["name", "r", "g", "b"])
        for name, color, train_id in zip(
            groups.names, groups.colors, groups.train_ids, strict=True
        ):
            void = train_id == IGNORE and name.casefold() not in VOID_NAMES
            writer.writerow(["void" if void else name, *color])
    return path


def _table(path: Path, rows: list[Row], void: set[str]) -> ClassTable:
    seen: dict[str, str] = {}
    for row in rows:
        if row.name in seen and row.name.casefold() not in void:
            raise ValueError(
                f"{path}, {row.line}: {row.name!r} stands there twice, first in {seen[row.name]}. "
                "Each class needs a name of its own."
            )
        seen[row.name] = row.line
    colored = [row.color is not None for row in rows]
    if any(colored) and not all(colored):
        row = rows[colored.index(False)]
        raise ValueError(
            f"{path}, {row.line}: {row.name!r} has no colour while other rows have. Give every "
            "row a colour, or none."
        )
    # Labelme counts from the row after `__ignore__`, which becomes 255 in what it exports.
    labelme = rows[0].name == "__ignore__" and "__ignore__" in void and rows[0].color is None
    start = 1 if labelme else 0
    ids = [number - start if row.id is None else row.id for number, row in enumerate(rows)]
    for row, value in zip(rows, ids, strict=True):
        if value > IGNORE:
            raise ValueError(
                f"{path}, {row.line}: {row.name!r} has id {value}; ids are 0 to {IGNORE}, since "
                "masks are 8-bit."
            )
    return ClassTable(
        path=path,
        names=tuple(row.name for row in rows),
        colors=tuple(row.color for row in rows if row.color is not None),
        ids=tuple(ids),
        ignored=frozenset(i for i, row in enumerate(rows) if row.name.casefold() in void),
    )


def _text(path: Path) -> str:
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise ValueError(
                f"{path}: has {size:,} bytes; a class table has at most {MAX_BYTES:,}."
            )
        return composed(decoded(path.read_bytes()))
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path}: is text in another encoding than UTF-8 or UTF-16 ({error.reason} "
            f"at byte {error.start}). Save the class table as UTF-8."
        ) from error
    except OSError as error:
        raise ValueError(
            f"{path}: the class table cannot be read ({error.strerror}). Look at the path and at "
            "the rights."
        ) from error


def _parse_json(path: Path, text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: is not JSON ({error}).") from error


def _stored(path: Path, content: Mapping[str, Any]) -> ClassTable:
    try:
        space = LabelSpace.from_config(content)
    except (ValueError, TypeError, OverflowError) as error:
        raise ValueError(
            f"{path}: is no label space as LabelSpace.to_config gives it ({error})."
        ) from error
    return ClassTable(path, space.classes, space.colors, space.ids, frozenset(), space)
