"""Labelme's shapes: judged when a file is opened, turned into pixels when it is painted."""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Mapping, Sequence
from typing import Any

from keras_focusseg.data.sources.base import some
from keras_focusseg.errors import Place
from keras_focusseg.label_spaces.json_files import BROKEN, coordinates, field, short
from keras_focusseg.pictures import readers, shapes

_POINTS = {
    "polygon": 3,
    "rectangle": 2,
    "circle": 2,
    "line": 2,
    "linestrip": 2,
    "point": 1,
    "points": 1,
    "mask": 2,
}
"""The kinds of shapes, and how many points each needs."""

Points = Sequence[tuple[float, float]]


def judge(shape: Mapping[str, Any], size: tuple[int, int], place: Place) -> None:
    """Refuses a shape that could not be painted into an image (H, W), without painting it."""
    kind, points = _kind_and_points(shape, place)
    if kind == "mask":
        _mask(shape, points, size, place)


def region(
    shape: Mapping[str, Any],
    size: tuple[int, int],
    place: Place,
    line_width: float,
    point_radius: float,
) -> shapes.Region:
    """The pixels of a shape in an image (H, W)."""
    kind, points = _kind_and_points(shape, place)
    if kind == "mask":
        return _mask(shape, points, size, place)
    if kind == "polygon" or (kind == "rectangle" and len(points) == 4):
        return shapes.polygon(points, size)
    if kind == "rectangle":
        return shapes.rectangle(points[0], points[1], size)
    if kind == "circle":
        return shapes.disc(points[0], math.dist(points[0], points[1]), size)
    if kind in ("point", "points"):
        return shapes.union([shapes.disc(point, point_radius, size) for point in points], size)
    return shapes.stroke(points, line_width, size)


def decoded_text(text: Any, place: Place) -> bytes:
    """The bytes that base64 text stands for."""
    if not isinstance(text, str):
        raise place.error(f"is {short(text)}", BROKEN, expected="base64 text")
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise place.error(
            f"is no base64 text ({error})", BROKEN, fix="Save the file again."
        ) from error


def _kind_and_points(shape: Mapping[str, Any], place: Place) -> tuple[str, Points]:
    kind = shape.get("shape_type") or "polygon"  # files of before 2019 have none
    if not isinstance(kind, str) or kind not in _POINTS:
        raise place.error(
            f"shape_type is {short(kind)}; it can be {some(_POINTS, len(_POINTS))}", BROKEN
        )
    points = coordinates(shape.get("points"), place)
    if len(points) < _POINTS[kind]:
        raise place.error(
            f"a {kind} needs {_POINTS[kind]} points or more, it has {len(points)}",
            "degenerate outline",
            fix="Draw it anew or remove it, or say strict=False to leave it out.",
        )
    return kind, points


def _mask(
    shape: Mapping[str, Any], points: Points, size: tuple[int, int], place: Place
) -> shapes.Region:
    """The pixels of a mask shape: a PNG for the window between two pixels, both included."""
    inner = Place(place.file, f"{place.part}: mask")
    filled = readers.mask_from_bytes(decoded_text(field(shape, "mask", str, place), inner), inner)
    (left, top), (right, bottom) = (tuple(map(math.floor, point)) for point in points[:2])
    expected = (bottom - top + 1, right - left + 1)
    if filled.shape != expected:
        raise place.error(
            f"its mask is {filled.shape[1]} x {filled.shape[0]}, its points say {expected[1]} x "
            f"{expected[0]} (width x height)",
            BROKEN,
        )
    if top < 0 or left < 0 or bottom >= size[0] or right >= size[1]:
        raise place.error(
            f"its mask reaches from ({left}, {top}) to ({right}, {bottom}), out of the image of "
            f"{size[1]} x {size[0]}",
            BROKEN,
        )
    return shapes.Region(top, left, filled > 0)
