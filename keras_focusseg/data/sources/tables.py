"""Label spaces and class tables as sources are given them, with errors that name the file."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from keras_focusseg import label_spaces
from keras_focusseg.data.sources.base import inside
from keras_focusseg.errors import DataError
from keras_focusseg.label_spaces import VOID_NAMES, LabelSpace
from keras_focusseg.label_spaces.class_tables import ClassTable


@contextlib.contextmanager
def as_data_error(kind: str, file: Path | None = None, what: str = "") -> Iterator[None]:
    """Whatever a label space or class table is refused for, as a `DataError` of that kind.

    Raises:
        DataError: In place of a `ValueError` inside.
    """
    try:
        yield
    except DataError:
        raise
    except (ValueError, TypeError) as error:
        raise DataError(f"{what}{error}", kind=kind, file=file) from error


def as_label_space(given: LabelSpace | Mapping[str, Any] | str) -> LabelSpace:
    """The label space that is given: itself, its `to_config`, or the name of a benchmark's."""
    with as_data_error("option that is not possible", what="label_space: "):
        if isinstance(given, str):
            return label_spaces.get(given)
        return LabelSpace.from_config(given) if isinstance(given, Mapping) else given


def class_table(
    folders: Sequence[Path], root: Path, ignored: Collection[str] = VOID_NAMES
) -> ClassTable | None:
    """The class table that lies in one of some folders, the first one first; None if none does."""
    path = label_spaces.find_table(folders)
    return None if path is None else load_table(inside(path, root), ignored)


def load_table(path: Path, ignored: Collection[str] = VOID_NAMES) -> ClassTable:
    """A class table whose rows go together; see `label_spaces.read_class_table`."""
    with as_data_error("class table that cannot be used", path):
        table = label_spaces.load_table(path, ignored)
        table.label_space()  # which says whether its rows go together
    return table
