"""The package chooses an installed backend, and only where nobody has chosen."""

import importlib.util
import os
import sys
from pathlib import Path

import pytest

from keras_focusseg._backend import choose_backend


@pytest.fixture
def nobody_chose(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.delitem(sys.modules, "keras")
    return monkeypatch


def install(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name if name in names else None)


@pytest.mark.parametrize(
    ("installed", "chosen"),
    [(("torch",), "torch"), (("jax", "torch"), "jax"), (("torch", "tensorflow"), "tensorflow")],
)
def test_takes_what_is_installed(
    nobody_chose: pytest.MonkeyPatch, installed: tuple[str, ...], chosen: str
) -> None:
    install(nobody_chose, *installed)
    nobody_chose.setenv("KERAS_BACKEND", "")  # so that the test's end restores it
    choose_backend()
    assert os.environ["KERAS_BACKEND"] == chosen


def test_leaves_a_choice_alone(nobody_chose: pytest.MonkeyPatch, tmp_path: Path) -> None:
    install(nobody_chose, "torch")
    nobody_chose.setenv("KERAS_BACKEND", "jax")
    choose_backend()
    assert os.environ["KERAS_BACKEND"] == "jax"
    nobody_chose.setenv("KERAS_BACKEND", "")
    (tmp_path / "keras.json").write_text('{"backend": "jax"}')
    choose_backend()
    assert os.environ["KERAS_BACKEND"] == ""


def test_none_installed_says_what_to_install(nobody_chose: pytest.MonkeyPatch) -> None:
    install(nobody_chose)
    with pytest.raises(ImportError, match=r"pip install 'keras-focusseg\[tensorflow\]'"):
        choose_backend()
