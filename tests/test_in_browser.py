"""The tool that gathers what the page "In your browser" runs."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture
def tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    spec = importlib.util.spec_from_file_location("in_browser", REPOSITORY / "tools/in_browser.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "CACHE", tmp_path / "cache")
    monkeypatch.setattr(module, "MADE", tmp_path / "cache" / "in-browser")
    return module


def test_without_the_runtime_nothing_is_made(
    tool: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("NPM_CONFIG_REGISTRY", (tmp_path / "registry").as_uri())
    tool.MADE.mkdir(parents=True)
    (tool.MADE / "network.onnx").write_text("of an older build")
    tool.main()
    assert "is left out" in capsys.readouterr().out and not tool.MADE.exists()


def test_another_package_is_refused(tool: ModuleType, tmp_path: Path) -> None:
    place = tmp_path / tool.RUNTIME
    place.parent.mkdir(parents=True)
    place.write_bytes(b"something else")
    with pytest.raises(ValueError, match="SHA-512"):
        tool.package(tmp_path.as_uri())
