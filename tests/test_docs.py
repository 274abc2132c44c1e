"""The documentation names nothing that is not there: code parses, names resolve, commands exist."""

from __future__ import annotations

import ast
import importlib
import re
import shlex
import textwrap
from pathlib import Path

import pytest
import typer

REPOSITORY = Path(__file__).resolve().parent.parent
FRONT_PAGES = [REPOSITORY / "README.md", REPOSITORY / "CONTRIBUTING.md"]
PAGES = sorted((REPOSITORY / "docs").rglob("*.md")) + FRONT_PAGES
# Pages whose Python runs in a second or two, from top to bottom and without files.
RUNNABLE = ("data.md", "data/augmentation.md", "losses-and-metrics.md")


def blocks(page: Path, language: str) -> list[str]:
    fence = re.compile(rf"^( *)```{language}\n(.*?)^\1```", re.MULTILINE | re.DOTALL)
    return [textwrap.dedent(match.group(2)) for match in fence.finditer(page.read_text("utf-8"))]


def imported_names(tree: ast.Module) -> dict[str, object]:
    """What the imports from this package bind, by the name they bind it to."""
    bound: dict[str, object] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("keras_focusseg"):
            module = importlib.import_module(node.module or "")
            for name in node.names:
                if not hasattr(module, name.name):  # a room that the package has not imported yet
                    importlib.import_module(f"{node.module}.{name.name}")
                bound[name.asname or name.name] = getattr(module, name.name)
    return bound


def test_python_blocks_use_only_what_exists() -> None:
    missing = []
    for page in PAGES:
        bound: dict[str, object] = {}
        for block in blocks(page, "python"):
            tree = ast.parse(block)
            bound |= imported_names(tree)
            missing += [
                f"{page.name}: {ast.unparse(node)}"
                for node in ast.walk(tree)
                if isinstance(node, ast.Attribute)
                and isinstance(node.value, ast.Name)
                and node.value.id in bound
                and not hasattr(bound[node.value.id], node.attr)
            ]
    assert not missing


@pytest.mark.parametrize("name", RUNNABLE)
def test_python_blocks_run(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, object] = {}
    for block in blocks(REPOSITORY / "docs" / name, "python"):
        exec(compile(block, name, "exec"), namespace)


def options(words: list[str]) -> set[str]:
    """Options of `focusseg VERB` or `focusseg data VERB`, `--help` among them."""
    nested = words[0] == "data"
    file, verb = (f"data_{words[1]}", words[1]) if nested else (words[0], words[0])
    app = typer.Typer()
    app.command()(getattr(importlib.import_module(f"keras_focusseg.cli.{file}"), verb))
    parameters = typer.main.get_command(app).params
    return {"--help"} | {option for parameter in parameters for option in parameter.opts}


def test_commands_have_the_options_shown() -> None:
    wrong = []
    for page in PAGES:
        for block in blocks(page, "sh"):
            for line in block.replace("\\\n", " ").splitlines():
                words = shlex.split(line, comments=True)
                if words[:1] == ["focusseg"]:
                    shown = {word.split("=")[0] for word in words[2:] if word.startswith("--")}
                    wrong += [f"{page.name}: {line}"] if shown - options(words[1:]) else []
    assert not wrong


def test_links_to_files_exist() -> None:
    # mkdocs --strict looks after the links inside docs/.
    targets = [
        page.parent / target
        for page in FRONT_PAGES
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text("utf-8"))
    ]
    assert not [target for target in targets if not target.exists()]
