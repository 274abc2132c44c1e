"""The walls between the rooms, read from the imports (see CONTRIBUTING.md)."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from tests.conftest import BACKEND_FREE, REPOSITORY

PACKAGE = REPOSITORY / "keras_focusseg"
# From the ground up; a room imports rooms of lower floors only, or none.
FLOORS = (
    ("errors", "files"),
    ("remote",),
    ("label_spaces", "layers", "losses", "metrics", "optimizers", "pictures", "streets"),
    ("data",),
    ("backbones", "presets"),
    ("models",),
    ("visualization",),
    ("inference",),
    ("training", "export"),
    ("cli",),
)
# The same within data/.
DATA_FLOORS = (
    ("accelerators",),
    ("sources",),
    ("transforms",),
    ("feeds",),
    ("records",),
    ("opening",),
    ("checkup",),
)
WITHOUT_KERAS = ("label_spaces", "pictures", "streets", "data/sources", "data/checkup", "errors.py")


def imports(path: Path, top: bool = False) -> Iterator[str]:
    """Names that a file imports as "package.module.name"; with `top` at its top level alone."""
    tree = ast.parse(path.read_text("utf-8"))
    for node in tree.body if top else ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def files(*below: str) -> list[Path]:
    found = [PACKAGE / name for name in below]
    return [p for f in found for p in (sorted(f.rglob("*.py")) if f.is_dir() else [f])]


def check_floors(folder: Path, package: str, floors: tuple[tuple[str, ...], ...]) -> None:
    level = {room: number for number, rooms in enumerate(floors) for room in rooms}
    wrong = []
    for path in sorted(folder.rglob("*.py")):
        own = path.relative_to(folder).parts[0].removesuffix(".py")
        for name in imports(path):
            if own in level and name.startswith(f"{package}."):
                other = name.removeprefix(f"{package}.").split(".")[0]
                if other != own and level.get(other, -1) >= level[own]:
                    wrong.append(f"{path.relative_to(REPOSITORY)} imports {name}")
    assert not wrong


def test_rooms_import_lower_rooms_only() -> None:
    check_floors(PACKAGE, "keras_focusseg", FLOORS)


def test_rooms_of_data_import_lower_rooms_only() -> None:
    check_floors(PACKAGE / "data", "keras_focusseg.data", DATA_FLOORS)


def test_every_room_has_its_floor() -> None:
    rooms = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert not rooms - {room for rooms_of_floor in FLOORS for room in rooms_of_floor}


def test_tensorflow_is_imported_inside_functions_only() -> None:
    owners = ("tensorflow", "tensorflow_datasets", "jax", "torch", "keras_cv")
    wrong = [
        f"{path.relative_to(REPOSITORY)} imports {name}"
        for path in files(".")
        if "tfds_builders" not in path.parts
        for name in imports(path, top=True)
        if name.split(".")[0] in owners
    ]
    assert not wrong


def test_rooms_that_know_no_keras() -> None:
    wrong = [
        f"{path.relative_to(REPOSITORY)} imports {name}"
        for path in files(*WITHOUT_KERAS)
        for name in imports(path)
        if name.split(".")[0] == "keras"
    ]
    assert not wrong


def test_what_runs_on_one_backend_alone_exists() -> None:
    places = (REPOSITORY / "tests", REPOSITORY)
    assert not [name for name in BACKEND_FREE if not any((p / name).exists() for p in places)]


def test_no_file_is_long() -> None:
    assert not [
        f"{path.relative_to(REPOSITORY)} has {length} lines"
        for path in files(".")
        if (length := len(path.read_text("utf-8").splitlines())) > 500
        and path.parent.name != "streets"  # long lists of shapes
    ]
