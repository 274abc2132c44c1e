"""The label spaces of the benchmarks, read from the JSON tables beside this file."""

from __future__ import annotations

import functools
import json
from importlib import resources
from typing import Any

from keras_focusseg.label_spaces.label_space import IGNORE, LabelSpace

# What stands in the masks of these two is the class index itself: BDD100K's `raw_id` belongs to
# its panoptic files, and CamVid's 32 classes exist on disk as colours only.
_MASKS_HOLD_INDEX = ("bdd100k", "camvid32")


def names() -> list[str]:
    """Names that `get` knows, sorted."""
    folder = resources.files(__package__) / "tables"
    return sorted(f.name[: -len(".json")] for f in folder.iterdir() if f.name.endswith(".json"))


def table(name: str) -> dict[str, Any]:
    """The whole table of a benchmark, with what a `LabelSpace` leaves out.

    Args:
        name: One of `names()`.

    Returns:
        The parsed JSON: classes, aliases, splits, pixel shares, groupings, file layout, source.

    Raises:
        ValueError: If there is no such table.
    """
    if name not in names():
        raise ValueError(f"There is no label space {name!r}; there are {', '.join(names())}.")
    file = resources.files(__package__) / "tables" / f"{name}.json"
    return json.loads(file.read_text(encoding="utf-8"))


@functools.cache
def get(name: str) -> LabelSpace:
    """The label space of a benchmark.

    Args:
        name: One of `names()`: "camvid11" (SegNet's 11 classes), "camvid32", "cityscapes" (raw
            `labelIds` to the 19 train ids), "bdd100k", "ade20k" (1..150 to 0..149), "voc" (20
            things and background).

    Returns:
        The label space; 255 stands for the ignored pixels.

    Raises:
        ValueError: If there is no such label space.

    Example:
        >>> from keras_focusseg import label_spaces
        >>> label_spaces.get("camvid11").classes[:3]
        ('Sky', 'Building', 'Pole')
    """
    content = table(name)
    classes = [c for c in content["classes"] if not c["ignore"]]
    ids = [c["index"] if name in _MASKS_HOLD_INDEX else c["raw_id"] for c in classes]
    ignore_name, ignore_color = _ignore_look(content)
    return LabelSpace(
        name=name,
        classes=tuple(c["name"] for c in classes),
        colors=tuple(tuple(c["color"]) for c in classes),
        ids=tuple(ids),
        ignored_ids=_ignored_ids(name, content),
        ignore_name=ignore_name,
        ignore_color=ignore_color,
    )


def _ignored_ids(name: str, content: dict[str, Any]) -> tuple[int, ...]:
    if "raw_id_to_index" in content:  # Cityscapes: 255 is what the licence plate's -1 becomes
        unused = [i for i, index in enumerate(content["raw_id_to_index"]) if index == IGNORE]
        return (*unused, IGNORE)
    if name == "camvid32":
        return tuple(c["index"] for c in content["classes"] if c["ignore"]) + (IGNORE,)
    ignore = content.get("ignore")
    if isinstance(ignore, list):  # ADE20K
        return tuple(entry["raw_id"] for entry in ignore)
    return (content["ignore_index"],)


def _ignore_look(content: dict[str, Any]) -> tuple[str, tuple[int, int, int]]:
    ignore = content.get("ignore")
    if isinstance(ignore, dict):
        red, green, blue = ignore["color"]
        return ignore["name"], (red, green, blue)
    if isinstance(ignore, list):
        return ignore[0]["name"], (0, 0, 0)
    return ignore or "void", (0, 0, 0)
