"""Read JSON that somebody else wrote: nothing in it is taken for granted."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from keras_focusseg.data.errors import DataError

MAX_COORDINATE = 10_000_000
"""Numbers beyond that are no place in or near a picture."""


def read_json(
    path: Path,
    max_bytes: int,
    slim: Callable[[dict[str, Any]], Any] | None = None,
    fix: str = "Export the annotations again.",
) -> dict[str, Any]:
    """The object that a JSON file holds.

    Args:
        path: the file, UTF-8.
        max_bytes: larger files are refused.
        slim: called with each inner object as it is parsed; what it returns is kept instead.
        fix: what to do about a file that is broken, as a sentence.

    Returns:
        The object.

    Raises:
        DataError: if the file is missing, too large, no JSON, or holds no object.
    """
    try:
        size = path.stat().st_size
        if size > max_bytes:
            raise DataError(
                f"{path}: has {size:,} bytes; at most {max_bytes:,} are read. Split the file."
            )
        content = json.loads(path.read_bytes(), object_hook=slim)
    except DataError:
        raise
    except OSError as error:
        raise DataError(
            f"{path}: the JSON file cannot be read ({error.strerror}). Look at the path and at the "
            "rights."
        ) from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: is not JSON ({error}). {fix}") from error
    if not isinstance(content, dict):
        raise DataError(f"{path}: holds {short(content)}; expected a JSON object. {fix}")
    return content


def field(entry: Mapping[str, Any], key: str, kind: type | tuple[type, ...], where: str) -> Any:
    """A field of an object, if it is there and of the right kind.

    Args:
        entry: the object.
        key: name of the field.
        kind: what it must be; a bool is no number.
        where: what to call the object in an error.

    Returns:
        The value.

    Raises:
        DataError: if it is missing or something else.
    """
    kinds = kind if isinstance(kind, tuple) else (kind,)
    if key not in entry:
        raise DataError(f"{where}: has no {key!r}; expected {_names(kinds)}.")
    value = entry[key]
    if not isinstance(value, kinds) or isinstance(value, bool) and bool not in kinds:
        raise DataError(f"{where}: {key!r} is {short(value)}; expected {_names(kinds)}.")
    return value


def coordinates(value: Any, where: str) -> list[tuple[float, float]]:
    """Points [[x, y], ...] of finite numbers.

    Args:
        value: what stands in the JSON.
        where: what to call it in an error.

    Returns:
        The points.

    Raises:
        DataError: if it is anything else.
    """
    if not isinstance(value, list):
        raise DataError(f"{where}: the points are {short(value)}; expected [[x, y], ...].")
    points = []
    for point in value:
        if not isinstance(point, list) or len(point) != 2 or not all(map(_is_number, point)):
            raise DataError(f"{where}: {short(point)} is no point; expected two numbers [x, y].")
        points.append((float(point[0]), float(point[1])))
    return points


def relative_path(text: str, where: str) -> PurePosixPath:
    """A path that an annotation names, with its `..`, as one of this system.

    Args:
        text: what stands in the JSON, with slashes or backslashes.
        where: what to call it in an error.

    Returns:
        The relative path.

    Raises:
        DataError: if it is empty, absolute or cannot be a path.
    """
    path = PurePosixPath(text.replace("\\", "/"))
    try:
        os.fsencode(text)
        possible = "\0" not in text
    except UnicodeEncodeError:
        possible = False
    if not path.name or not possible or path.is_absolute() or PureWindowsPath(text).drive:
        raise DataError(
            f"{where}: {short(text)} is no relative path of an image. Make it relative to the "
            "folder of the images."
        )
    return path


def short(value: Any) -> str:
    """The value for an error, cut off where it gets long."""
    text = repr(value) if not isinstance(value, (dict, list)) or len(value) < 20 else ""
    if not text:
        text = f"{'an object' if isinstance(value, dict) else 'a list'} of {len(value)} entries"
    return text if len(text) <= 80 else f"{text[:77]}..."


def _is_number(value: Any) -> bool:
    """Whether it is a number that a coordinate can be; NaN is none."""
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return number and -MAX_COORDINATE <= value <= MAX_COORDINATE


def _names(kinds: tuple[type, ...]) -> str:
    said = {
        str: "text",
        int: "a whole number",
        float: "a number",
        list: "a list",
        dict: "an object",
    }
    return " or ".join(said.get(kind, kind.__name__) for kind in kinds)
