"""What a recipe file says about itself at its top: paper, data, hardware, hours, score."""

from __future__ import annotations

import ast
import dataclasses
import re
from pathlib import Path

LABELS = ("Paper", "Data", "Hardware", "Hours", "Score")
_LABELED = re.compile(rf"({'|'.join(LABELS)}): ")


@dataclasses.dataclass(frozen=True)
class RecipeHeader:
    """The docstring of a recipe file; what it does not say is empty.

    Args:
        name: Name of the recipe, which is that of its file.
        title: What is trained on what, one sentence.
        paper: Publication of the network.
        data: What it learns from.
        hardware: What it ran on, or needs.
        hours: How long that took, or "not measured".
        score: What it reached, or "not run: needs ...".
    """

    name: str
    title: str
    paper: str = ""
    data: str = ""
    hardware: str = ""
    hours: str = ""
    score: str = ""


def recipe_header(path: str | Path) -> RecipeHeader:
    """Reads the header of a recipe file, whose code is not run.

    A labelled line, such as `Score: mIoU 75.1 on val.`, goes on until the next label or an empty
    line.

    Args:
        path: The file.

    Raises:
        ValueError: It is not Python.
    """
    path = Path(path)
    try:
        text = ast.get_docstring(ast.parse(path.read_bytes())) or ""
    except SyntaxError as error:
        raise ValueError(f"{path}, line {error.lineno}: is not Python: {error.msg}.") from error
    title, _, rest = text.partition("\n")
    found: dict[str, list[str]] = {}
    lines: list[str] = []
    for line in rest.splitlines():
        if label := _LABELED.match(line):
            lines = found[label[1].lower()] = [line[label.end() :]]
        elif line.strip():
            lines.append(line.strip())
        else:
            lines = []
    said = {label: " ".join(lines).removesuffix(".") for label, lines in found.items()}
    return RecipeHeader(path.stem, title.removesuffix("."), **said)


def recipe_headers(folder: str | Path = "recipes") -> list[RecipeHeader]:
    """The headers of all recipes of a folder, by name; other Python files are passed over.

    Args:
        folder: Folder with recipe files, which set `recipe`; those in folders of it are what
            recipes share.

    Raises:
        ValueError: There is no such folder, or no recipe in it.
    """
    folder = Path(folder)
    paths = sorted(path for path in folder.glob("*.py") if _sets_recipe(path))
    if not paths:
        what = "holds no recipes" if folder.is_dir() else "is no folder"
        raise ValueError(
            f"{folder.resolve()} {what}. Recipes are Python files that set `recipe`; those "
            "of this project lie in recipes/ of its sources: start there, or name their folder: "
            "focusseg recipes FOLDER."
        )
    return [recipe_header(path) for path in paths]


def _sets_recipe(path: Path) -> bool:
    """Whether a file is Python that sets `recipe`; it is not run."""
    try:
        tree = ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return False
    return any(
        isinstance(node, ast.Name) and node.id == "recipe" and isinstance(node.ctx, ast.Store)
        for node in ast.walk(tree)
    )
