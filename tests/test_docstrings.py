"""One dialect: Google's sections, complete; capitals, single backticks, "reads" and not "read".

Read from the sources. `cli` is left out: there docstrings are what `--help` prints.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

PACKAGE = Path(__file__).resolve().parent.parent / "keras_focusseg"
SECTIONS = ("Args", "Attributes", "Returns", "Yields", "Raises", "Example")
HEADING = re.compile(r"^([A-Z]\w+):$", re.MULTILINE)
ORDERS = (
    "Build",
    "Count",
    "Draw",
    "Load",
    "Make",
    "Note",
    "Open",
    "Read",
    "Return",
    "Set",
    "Write",
)
ENTRY = re.compile(r"^    (\*{0,2}\w+): (.)", re.MULTILINE)


class Documented(NamedTuple):
    """A function or class: where it stands, what of it is to be documented."""

    where: str
    doc: str
    parameters: list[str]
    fields: list[str]
    raises: set[str]
    exported: bool


def everything() -> Iterator[Documented]:
    """All public functions, methods and classes."""
    for path in sorted(PACKAGE.rglob("*.py")):
        if "cli" in path.parts:
            continue
        tree = ast.parse(path.read_text("utf-8"))
        exported = exported_by(PACKAGE / path.relative_to(PACKAGE).parts[0] / "__init__.py")
        for node, name in definitions(tree):
            where = f"{path.relative_to(PACKAGE.parent)}:{node.lineno} {name}"
            made = node if isinstance(node, ast.FunctionDef) else constructor(node)
            yield Documented(
                where,
                ast.get_docstring(node) or "",
                parameters(made) if made else [],
                fields(node) if isinstance(node, ast.ClassDef) and not made else [],
                raised(made) if made else set(),
                name in exported,
            )


def exported_by(init: Path) -> set[str]:
    """The names in `__all__` of a room."""
    for node in ast.parse(init.read_text("utf-8")).body if init.exists() else ():
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return set(ast.literal_eval(node.value))
    return set()


def definitions(
    tree: ast.Module | ast.ClassDef, prefix: str = ""
) -> Iterator[tuple[ast.FunctionDef | ast.ClassDef, str]]:
    """Public functions, methods and classes, with their dotted names; no setters and overloads."""
    for node in tree.body:
        if not isinstance(node, ast.FunctionDef | ast.ClassDef) or node.name.startswith("_"):
            continue
        if any(ast.unparse(one).endswith(("setter", "overload")) for one in node.decorator_list):
            continue
        yield node, prefix + node.name
        if isinstance(node, ast.ClassDef):
            yield from definitions(node, f"{prefix}{node.name}.")


def constructor(node: ast.ClassDef) -> ast.FunctionDef | None:
    functions = (one for one in node.body if isinstance(one, ast.FunctionDef))
    return next((one for one in functions if one.name == "__init__"), None)


def parameters(node: ast.FunctionDef) -> list[str]:
    arguments = node.args
    plain = [one.arg for one in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)]
    stars = [f"*{arguments.vararg.arg}"] if arguments.vararg else []
    stars += [f"**{arguments.kwarg.arg}"] if arguments.kwarg else []
    return [name for name in plain if name not in ("self", "cls")] + stars


def fields(node: ast.ClassDef) -> list[str]:
    """Fields of a dataclass or a named tuple, those that it inherits left out."""
    kinds = [ast.unparse(one) for one in (*node.decorator_list, *node.bases)]
    if not any("dataclass" in kind or kind == "NamedTuple" for kind in kinds):
        return []
    found = [one for one in node.body if isinstance(one, ast.AnnAssign)]
    public = [one for one in found if not ast.unparse(one.target).startswith("_")]
    return [ast.unparse(one.target) for one in public if "ClassVar" not in ast.unparse(one)]


def raised(node: ast.AST) -> set[str]:
    """Names of the errors that a function makes itself, functions inside it left out."""
    names = set()
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.ClassDef):
            continue
        if isinstance(child, ast.Raise) and isinstance(child.exc, ast.Call):
            names.add(ast.unparse(child.exc.func).split(".")[-1])
        names |= raised(child)
    return {name for name in names if name[0].isupper() and name != "NotImplementedError"}


def sections(doc: str) -> dict[str, str]:
    """The text of each section by its heading."""
    _, *parts = HEADING.split(doc)
    return dict(zip(parts[::2], parts[1::2], strict=True))


def faults(part: Documented) -> Iterator[str]:
    if not part.doc:
        yield "has no docstring"
        return
    found = sections(part.doc)
    entries = {name: ENTRY.findall(text) for name, text in found.items()}
    documented = [name for name, _ in entries.get("Args", [])]
    if not part.doc.split("\n")[0].endswith("."):
        yield "its first line is no sentence"
    if part.doc.split()[0] in ORDERS:
        yield f"says {part.doc.split()[0]!r}, as an order; elsewhere it is {part.doc.split()[0]}s"
    if list(found) != [name for name in SECTIONS if name in found]:
        yield f"its sections are {', '.join(found)}; known, in this order: {', '.join(SECTIONS)}"
    if "``" in part.doc.replace("```", ""):
        yield "has double backticks"
    for name in ("Args", "Attributes", "Raises"):
        small = [entry for entry, first in entries.get(name, []) if first.islower()]
        if small:
            yield f"{name} without a capital: {', '.join(small)}"
    if part.parameters and (part.exported or documented) and documented != part.parameters:
        yield f"Args are {documented}; its arguments {part.parameters}"
    of_user = part.exported or "Args" in found or "Attributes" in found
    named = documented + [name for name, _ in entries.get("Attributes", [])]
    if of_user and (missing := [name for name in part.fields if name not in named]):
        yield f"neither Args nor Attributes have {missing}"
    if missing_errors := part.raises - {name for name, _ in entries.get("Raises", [])}:
        yield f"Raises lacks {', '.join(sorted(missing_errors))}"


def test_docstrings_are_complete_and_alike() -> None:
    wrong = [f"{part.where}: {fault}" for part in everything() for fault in faults(part)]
    assert not wrong, "\n".join(wrong)
