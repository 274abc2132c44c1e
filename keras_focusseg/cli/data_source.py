"""What the verbs of `focusseg data` share: which source is meant, and its options."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def place(source: str, data_root: Path | None) -> tuple[str, Path | None]:
    """Name and root of what was asked for, be it a name or a folder.

    Args:
        source: A name that `data.open_source` knows, or a folder whose layout is to be recognised.
        data_root: Folder of the dataset, if it was given.

    Returns:
        The name, "auto" for a folder, and the root.
    """
    if data_root is None and (Path(source).exists() or "/" in source or "\\" in source):
        return "auto", Path(source)
    return source, data_root


def options(texts: Sequence[str] | None, label_table: Path | None = None) -> dict[str, Any]:
    """The options of a source as they were written: NAME=VALUE.

    Args:
        texts: Such as `grouping=mathworks`, `strict=false` or `count=8`; what is no JSON value is
            text.
        label_table: A class table, which is option `table` of a folder.

    Returns:
        Values by name.

    Raises:
        ValueError: If a text has no name or no "=".
    """
    found: dict[str, Any] = {}
    for text in texts or ():
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise ValueError(
                f"--option wants NAME=VALUE, such as grouping=mathworks; got {text!r}."
            )
        try:
            found[name] = json.loads(value)
        except ValueError:
            found[name] = value
    if label_table is not None:
        found["table"] = label_table.resolve()
    return found
