"""The rows of class tables, in each of the forms that are about."""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from keras_focusseg.label_spaces.label_space import IGNORE

Color = tuple[int, int, int]

_LABELMAP = re.compile(r"^(?P<name>[^:]+):(?P<color>[^:]*):[^:]*:[^:]*$")
_COLOR_FIRST = re.compile(r"^(?P<color>\d+[ \t]+\d+[ \t]+\d+)[ \t]+(?P<name>\S.*)$")
_COLUMNS = {
    "name": ("name", "class", "class_name", "class name", "label"),
    "id": ("pixel value", "pixel_value", "id", "class_id", "value", "index"),
    "r": ("r", "red"),
    "g": ("g", "green"),
    "b": ("b", "blue"),
}


@dataclass(frozen=True)
class Row:
    """One row: where it stands, and what it says."""

    line: str
    name: str
    color: Color | None = None
    id: int | None = None


def csv_rows(path: Path, text: str) -> list[Row]:
    """The rows of CSV with a header.

    Raises:
        ValueError: It is no CSV.
    """
    lines = text.splitlines()
    header = lines[0] if lines else ""
    delimiter = next((mark for mark in ",;\t" if mark in header), ",")
    try:
        cells = [
            (f"line {number}", [cell.strip() for cell in row])
            for number, row in enumerate(csv.reader(lines, delimiter=delimiter, strict=True), 1)
            if any(cell.strip() for cell in row)
        ]
    except csv.Error as error:
        raise ValueError(f"{path}: is not CSV ({error}). Write name,r,g,b.") from error
    if not cells:
        return []
    columns = _columns(path, cells[0][1])
    return [_csv_row(path, line, row, columns) for line, row in cells[1:]]


def _columns(path: Path, header: list[str]) -> dict[str, int]:
    lower = [title.lower() for title in header]
    columns: dict[str, int] = {}
    for key, titles in _COLUMNS.items():
        places = [place for place, title in enumerate(lower) if title in titles]
        if places:
            columns[key] = min(places, key=lambda place: titles.index(lower[place]))
    colors = [key for key in "rgb" if key in columns]
    if "name" not in columns or len(colors) not in (0, 3):
        raise ValueError(
            f"{path}, line 1: the header is {', '.join(repr(t) for t in header[:8])}; expected "
            "name,r,g,b (r, g and b all or none), or Pixel Value,Class. Write the header there."
        )
    return columns


def _csv_row(path: Path, line: str, row: list[str], columns: dict[str, int]) -> Row:
    if len(row) <= max(columns.values()):
        raise ValueError(
            f"{path}, {line}: has {len(row)} cells ({','.join(row)!r}); the header asks for "
            f"{max(columns.values()) + 1}."
        )
    color = [row[columns[key]] for key in "rgb"] if "r" in columns else None
    return Row(
        line,
        _name(path, line, row[columns["name"]]),
        None if color is None else _color(path, line, color),
        _id(path, line, row[columns["id"]]) if "id" in columns else None,
    )


def text_rows(path: Path, text: str) -> list[Row]:
    """The rows of `labelmap.txt`, `label_colors.txt`, or names alone.

    Raises:
        ValueError: A line has another form.
    """
    lines = [line.strip() for line in text.splitlines()]
    while lines and not lines[-1]:
        lines.pop()
    spoken = [line for line in lines if line and not line.startswith("#")]
    if path.stem.lower() == "labelmap" or (spoken and all(map(_LABELMAP.match, spoken))):
        pattern, form = _LABELMAP, "name:r,g,b:parts:actions"
    elif spoken and all(map(_COLOR_FIRST.match, spoken)):
        pattern, form = _COLOR_FIRST, "r g b name"
    else:
        return [_plain_row(path, number, line) for number, line in enumerate(lines, 1)]
    rows = []
    for number, line in enumerate(lines, 1):
        if not line or line.startswith("#"):
            continue
        where = f"line {number}"
        if (match := pattern.match(line)) is None:
            raise ValueError(f"{path}, {where}: {_short(line)!r} is not of the form {form}.")
        color = re.split(r"[,\s]+", match["color"].strip()) if match["color"].strip() else None
        rows.append(
            Row(
                where,
                _name(path, where, match["name"]),
                None if color is None else _color(path, where, color),
            )
        )
    return rows


def _plain_row(path: Path, number: int, line: str) -> Row:
    if not line:
        raise ValueError(
            f"{path}, line {number}: is empty. The number of a line is the id of its class, so "
            "there can be no gaps: remove the line, or write the name that belongs there."
        )
    return Row(f"line {number}", _name(path, f"line {number}", line))


def json_rows(path: Path, content: Any) -> list[Row]:
    """The rows of JSON: a list of names or objects, or an object of names, ids and colours.

    Raises:
        ValueError: It is something else.
    """
    if isinstance(content, Mapping):
        content = _entries(path, content)
    if not isinstance(content, list):
        raise ValueError(
            f"{path}: holds {type(content).__name__}; expected a label space, or a list of names "
            "or of objects with name, color and id."
        )
    rows = []
    for number, entry in enumerate(content):
        where = f"entry {number}"
        if isinstance(entry, str):
            entry = {"name": entry}
        if not isinstance(entry, Mapping) or not isinstance(entry.get("name"), str):
            raise ValueError(
                f"{path}, {where}: {_short(entry)} is no class; expected a name, or an object "
                "such as {'name': 'road', 'color': [128, 64, 128], 'id': 0}."
            )
        color, number_on_disk = entry.get("color"), entry.get("id")
        if color is not None and not isinstance(color, list):
            raise ValueError(f"{path}, {where}: color is {_short(color)}; expected [r, g, b].")
        rows.append(
            Row(
                where,
                _name(path, where, entry["name"]),
                None if color is None else _color(path, where, color),
                None if number_on_disk is None else _id(path, where, number_on_disk),
            )
        )
    return rows


def _entries(path: Path, content: Mapping[str, Any]) -> list[Any]:
    """The classes of an object: Datumaro's `label_map`, MMSegmentation's `classes`, id to name."""
    lower = {key.lower(): value for key, value in content.items()}
    names = lower.get("label_map", lower.get("id2label", lower.get("classes", content)))
    colors = lower.get("segmentation_colors", lower.get("palette"))
    if isinstance(names, Mapping):
        if names and all(type(value) is int for value in names.values()):  # name to id
            names = {value: key for key, value in names.items()}
        found = [{"id": _whole(key), "name": value} for key, value in names.items()]
        if any(entry["id"] is None for entry in found):
            raise ValueError(
                f"{path}: is no class table that is known; expected what LabelSpace.to_config "
                'gives, {"0": "road", ...}, "label_map" with "segmentation_colors", or "classes" '
                'with "palette".'
            )
        found.sort(key=lambda entry: entry["id"])
    elif isinstance(names, list):
        found = [dict(name) if isinstance(name, Mapping) else {"name": name} for name in names]
    else:
        raise ValueError(f"{path}: its classes are {_short(names)}; expected a list of names.")
    if colors is None:
        return found
    if not isinstance(colors, list) or len(colors) != len(found):
        count = len(colors) if isinstance(colors, Sequence) else _short(colors)
        raise ValueError(f"{path}: has {len(found)} classes and {count} colours; expected as many.")
    return [{**entry, "color": color} for entry, color in zip(found, colors, strict=True)]


def _name(path: Path, line: str, text: str) -> str:
    name = text.strip()
    if not name or not name.isprintable():
        raise ValueError(
            f"{path}, {line}: the name is {_short(text)!r}; expected printable characters."
        )
    return name


def _color(path: Path, line: str, values: list[Any]) -> Color:
    numbers = [_whole(value) for value in values]
    if len(numbers) != 3 or not all(n is not None and 0 <= n <= 255 for n in numbers):
        raise ValueError(
            f"{path}, {line}: the colour is {_short(values)}; expected red, green and blue as "
            "whole numbers 0 to 255."
        )
    red, green, blue = (int(n) for n in numbers if n is not None)
    return red, green, blue


def _id(path: Path, line: str, value: Any) -> int:
    number = _whole(value)
    if number is None or not 0 <= number <= IGNORE:
        raise ValueError(
            f"{path}, {line}: the id is {_short(value)!r}; expected a whole number 0 to {IGNORE}."
        )
    return number


def _whole(value: Any) -> int | None:
    """The whole number that a cell or JSON value is, or None."""
    if isinstance(value, str):
        text = value.strip()
        return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
