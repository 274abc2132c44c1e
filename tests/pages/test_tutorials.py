"""The tutorials as notebooks: what their first cell installs, and the link that opens them."""

from __future__ import annotations

import importlib.util
import tomllib
from pathlib import Path
from types import ModuleType

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
NAMES = sorted(path.stem for path in (REPOSITORY / "docs" / "tutorials").glob("*.py"))

pytestmark = pytest.mark.backend_free


@pytest.fixture(scope="module")
def tutorials() -> ModuleType:
    for needed in ("jupytext", "nbclient"):
        pytest.importorskip(needed, reason="the extra `docs` is not installed")
    spec = importlib.util.spec_from_file_location("tutorials", REPOSITORY / "tools/tutorials.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", NAMES)
def test_the_first_cell_installs_the_package(tutorials: ModuleType, name: str) -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))["project"]
    notebook = tutorials.jupytext.read(tutorials.TUTORIALS / f"{name}.py", fmt="py:percent")
    first = next(cell for cell in notebook.cells if cell.cell_type == "code")
    assert tutorials.tags(first) == ["install"]
    command, _, extras = first.source.partition("[")
    assert command == f'%pip install -q "{project["name"]}'
    assert set(extras.removesuffix(']"').split(",")) <= set(project["optional-dependencies"])


def test_the_page_links_to_its_notebook(
    tutorials: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tutorials.TUTORIALS / "inside.py"
    monkeypatch.setattr(tutorials, "GITHUB", "")
    assert tutorials.links(source) == "[Download this page as a notebook](inside.ipynb)"
    monkeypatch.setattr(tutorials, "GITHUB", "owner/name")
    colab = "https://colab.research.google.com/github/owner/name/blob/gh-pages/tutorials"
    assert tutorials.links(source).endswith(f"[Open it in Colab]({colab}/inside.ipynb)")
