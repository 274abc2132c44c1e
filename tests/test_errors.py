"""The one error about data on disk: its parts, its text, and that every fault has a kind."""

from __future__ import annotations

import ast
import os
import pickle
from pathlib import Path

import pytest

from keras_focusseg import data
from keras_focusseg.errors import DataError, Place

ROOM = Path(data.__file__).parent


def test_parts_and_text() -> None:
    error = DataError(
        "is empty (0 bytes)", kind="empty file", file="a/1.png", expected="a picture", fix="Do."
    )
    assert str(error) == "a/1.png: is empty (0 bytes); expected a picture. Do."
    assert (error.kind, error.file, error.found) == (
        "empty file", Path("a/1.png"), "is empty (0 bytes)",
    )  # fmt: skip
    assert (error.expected, error.fix, error.part) == ("a picture", "Do.", "")
    assert error.fault == "is empty (0 bytes); expected a picture"
    assert isinstance(error, ValueError)


@pytest.mark.parametrize(
    ("part", "text"),
    [
        ("line 3", "a.txt, line 3: no"),
        ("annotation 7", "a.txt: annotation 7: no"),
        ("", "a.txt: no"),
    ],
)
def test_part_of_a_file(part: str, text: str) -> None:
    error = Place(Path("a.txt"), part).error("no", "wrong")
    assert str(error) == f"{text}." and error.part == part and error.kind == "wrong"


def test_found_alone_is_the_message() -> None:
    assert str(DataError("All is wrong.")) == "All is wrong."
    assert DataError("All is wrong").file is None


def test_travels_between_processes() -> None:
    error = Place(Path("a.json"), "shape 1").error("no", "wrong", expected="yes", fix="Do it.")
    again = pickle.loads(pickle.dumps(error))
    assert str(again) == str(error) and vars(again) == vars(error)


def test_names_that_are_no_utf8_can_be_printed() -> None:
    error = DataError("no", file=os.fsdecode(b"caf\xe9.png"), fix="Do it.")
    str(error).encode("utf-8")


@pytest.mark.parametrize("room", ["sources", "records", "opening.py"])
def test_every_fault_has_a_kind(room: str) -> None:
    """A checkup puts faults of one kind together, and finds nothing out from the text."""
    files = [ROOM / room] if room.endswith(".py") else sorted((ROOM / room).rglob("*.py"))
    calls = [
        (path.name, node)
        for path in files
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        and node.func.id == "DataError"
    ]  # fmt: skip
    bare = [(n, c.lineno) for n, c in calls if "kind" not in [key.arg for key in c.keywords]]
    assert calls and not bare
