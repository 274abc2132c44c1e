"""The package chooses an installed backend, and only where nobody has chosen."""

import importlib.util
import os
import sys
from pathlib import Path

import pytest

from keras_focusseg._backend import choose_backend
from keras_focusseg._program import is_command_line


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
    for choice in ("torch", "numpy"):  # what Keras has beside our three is left to it
        nobody_chose.setenv("KERAS_BACKEND", choice)
        choose_backend()
        assert os.environ["KERAS_BACKEND"] == choice
    nobody_chose.setenv("KERAS_BACKEND", "")
    (tmp_path / "keras.json").write_text('{"backend": "torch"}')
    choose_backend()
    assert os.environ["KERAS_BACKEND"] == ""


@pytest.mark.parametrize("content", ["{}", "{", "[]", '{"backend": 3}', '{"floatx": "float32"}'])
def test_a_configuration_without_a_choice_is_none(
    nobody_chose: pytest.MonkeyPatch, tmp_path: Path, content: str
) -> None:
    install(nobody_chose, "torch")
    nobody_chose.setenv("KERAS_BACKEND", "")
    (tmp_path / "keras.json").write_text(content)
    choose_backend()
    assert os.environ["KERAS_BACKEND"] == "torch"


def test_a_choice_that_is_not_installed_is_told(
    nobody_chose: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    install(nobody_chose, "torch")
    nobody_chose.setenv("KERAS_BACKEND", "jax")
    with pytest.raises(ImportError, match=r"variable KERAS_BACKEND names .*'jax'.*\(torch\)"):
        choose_backend()
    nobody_chose.setenv("KERAS_BACKEND", "")
    (tmp_path / "keras.json").write_text('{"backend": "tensorflow"}')
    with pytest.raises(ImportError, match="keras.json names the backend 'tensorflow'"):
        choose_backend()


@pytest.mark.parametrize(
    ("argv", "original", "expected"),
    [
        (["/usr/bin/focusseg", "presets"], [], True),
        (["C:\\Scripts\\focusseg.EXE"], [], os.name == "nt"),
        (["-m"], ["python", "-m", "keras_focusseg.cli"], True),
        (["-m"], ["python", "-m", "pytest"], False),
        (["focusseg.py"], [], False),
        (["-c"], [], False),
        ([], [], False),
    ],
)
def test_the_command_line_knows_itself(
    monkeypatch: pytest.MonkeyPatch, argv: list[str], original: list[str], expected: bool
) -> None:
    monkeypatch.setattr(sys, "argv", argv)
    monkeypatch.setattr(sys, "orig_argv", original)
    assert is_command_line() is expected


def test_none_installed_says_what_to_install(nobody_chose: pytest.MonkeyPatch) -> None:
    install(nobody_chose)
    with pytest.raises(ImportError, match=r"pip install 'keras-focusseg\[tensorflow\]'"):
        choose_backend()


def test_a_choice_that_keras_does_not_know_is_told(
    nobody_chose: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    install(nobody_chose, "torch")
    nobody_chose.setenv("KERAS_BACKEND", "")
    (tmp_path / "keras.json").write_text('{"backend": "theano"}')
    with pytest.raises(ImportError, match=r"keras.json names .*'theano'.* tensorflow, jax, torch"):
        choose_backend()
