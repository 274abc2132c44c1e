"""Read JSON that somebody else wrote: nothing in it is taken for granted."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from keras_focusseg.errors import DataError, Place
from keras_focusseg.label_spaces.text import composed, decoded

MAX_COORDINATE = 10_000_000
"""Numbers beyond that are no place in or near a picture."""

BROKEN = "broken annotation"
"""The kind of whatever an annotation file says that cannot be understood."""

LENIENT = "Correct it in the annotation tool, or say strict=False to leave it out."
"""What to do about one annotation that is broken."""

_AGAIN = "Export the annotations again."


def read_json(
    path: Path,
    max_bytes: int,
    slim: Callable[[dict[str, Any]], Any] | None = None,
    fix: str = _AGAIN,
) -> dict[str, Any]:
    """The object that a JSON file holds, in UTF-8, UTF-16 or UTF-32; larger ones are refused.

    `slim` is called with each inner object as it is parsed; what it returns is kept instead.
    """
    place = Place(path)
    try:
        size = path.stat().st_size
        if size > max_bytes:
            raise place.error(
                f"has {size:,} bytes; at most {max_bytes:,} are read", BROKEN, fix="Split the file."
            )
        content = json.loads(decoded(path.read_bytes()), object_hook=slim)
    except DataError:
        raise
    except OSError as error:
        raise place.error(
            f"the JSON file cannot be read ({error.strerror})",
            "file that is not there",
            fix="Look at the path and at the rights.",
        ) from error
    except UnicodeDecodeError as error:
        raise place.error(
            f"is text in another encoding than UTF-8 or UTF-16 ({error.reason} at byte "
            f"{error.start})",
            "text in another encoding",
            fix="Save it as UTF-8, which JSON is written in.",
        ) from error
    except (ValueError, RecursionError) as error:
        raise place.error(f"is not JSON ({error})", BROKEN, fix=fix) from error
    if not isinstance(content, dict):
        raise place.error(f"holds {short(content)}", BROKEN, expected="a JSON object", fix=fix)
    return content


def head_of_json(path: Path, count: int = 1 << 16, tail: bool = False) -> str:
    """The first characters of a JSON file, and the last ones as well if `tail`."""
    with open(path, "rb") as file:
        head = file.read(count)
        encoding = json.detect_encoding(head)
        text = head.decode(encoding, "replace")
        if not tail or len(head) < count:
            return text
        file.seek(max(count, (os.path.getsize(path) - count) & ~3))  # whole characters
        mark = head[: {"utf-16": 2, "utf-32": 4}.get(encoding, 0)]
        return text + (mark + file.read()).decode(encoding, "replace")


def field(entry: Mapping[str, Any], key: str, kind: type | tuple[type, ...], place: Place) -> Any:
    """A field of an object, if it is there and of the right kind; a bool is no number."""
    kinds = kind if isinstance(kind, tuple) else (kind,)
    if key not in entry:
        raise place.error(f"has no {key!r}", BROKEN, expected=_names(kinds), fix=_AGAIN)
    value = entry[key]
    if not isinstance(value, kinds) or isinstance(value, bool):
        raise place.error(f"{key!r} is {short(value)}", BROKEN, expected=_names(kinds), fix=_AGAIN)
    return value


def coordinates(value: Any, place: Place) -> list[tuple[float, float]]:
    """Points [[x, y], ...] of finite numbers, as they stand in JSON."""
    if not isinstance(value, list):
        raise place.error(
            f"the points are {short(value)}", BROKEN, expected="[[x, y], ...]", fix=LENIENT
        )
    points = []
    for point in value:
        if not isinstance(point, list) or len(point) != 2 or not all(map(is_number, point)):
            raise place.error(
                f"{short(point)} is no point", BROKEN, expected="two numbers [x, y]", fix=LENIENT
            )
        points.append((float(point[0]), float(point[1])))
    return points


def relative_path(text: str, place: Place) -> PurePosixPath:
    """A path that an annotation names, with its `..`, as one of this system, composed."""
    path = PurePosixPath(composed(text.replace("\\", "/")))
    if not is_path(text) or not path.name or is_absolute(text):
        raise place.error(
            f"{short(text)} is no relative path of an image",
            BROKEN,
            fix="Make it relative to the folder of the images.",
        )
    return path


def is_path(text: str) -> bool:
    """Whether a file can have that name."""
    try:
        os.fsencode(text)
    except UnicodeEncodeError:
        return False
    return "\0" not in text


def is_absolute(text: str) -> bool:
    """Whether a path begins at a root, a drive or a computer, on whatever system."""
    return text.startswith(("/", "\\")) or bool(PureWindowsPath(text).drive)


def short(value: Any) -> str:
    """The value for an error, cut off where it gets long."""
    text = repr(value) if not isinstance(value, (dict, list)) or len(value) < 20 else ""
    if not text:
        text = f"{'an object' if isinstance(value, dict) else 'a list'} of {len(value)} entries"
    return text if len(text) <= 80 else f"{text[:77]}..."


def is_number(value: Any) -> bool:
    """Whether it is a number that a coordinate can be; NaN is none."""
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return number and -MAX_COORDINATE <= value <= MAX_COORDINATE


def _names(kinds: tuple[type, ...]) -> str:
    said = {str: "text", int: "a whole number", list: "a list"}
    return " or ".join(said[kind] for kind in kinds)
