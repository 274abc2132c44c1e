"""How the program starts: quickly and silently."""

from __future__ import annotations

import functools
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from keras_focusseg import cli

# What starts `focusseg` where the package is installed, with a word on what was imported.
PROGRAM = """import atexit, sys
heavy = ("keras", "tensorflow", "jax", "torch")
atexit.register(lambda: print("imported", *(name for name in heavy if name in sys.modules)))
from keras_focusseg.cli import main
sys.exit(main())
"""


def run(*command: object, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if k != "TF_CPP_MIN_LOG_LEVEL"}
    return subprocess.run(
        [sys.executable, *map(str, command)],
        capture_output=True,
        text=True,
        env={**environment, "COLUMNS": "160", **variables},
        # A shell's background jobs ignore Ctrl-C, and so does what they start.
        preexec_fn=functools.partial(signal.signal, signal.SIGINT, signal.default_int_handler),
    )


@pytest.fixture
def program(tmp_path: Path) -> Path:
    path = tmp_path / "focusseg"
    path.write_text(PROGRAM)
    return path


@pytest.mark.parametrize(
    "words", [("--help",), ("presets",), ("presets", "fornet_mobilenet_v2_camvid")]
)
def test_no_backend_is_imported_where_none_is_needed(program: Path, words: tuple[str]) -> None:
    done = run(program, *words)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("imported\n") and "fornet" in done.stdout + "fornet" * len(words)


def test_the_module_runs_as_the_program_and_is_silent() -> None:
    # Far enough to import the backend, which has something to say unless told not to.
    done = run("-m", "keras_focusseg.cli", "profile", "nope", "--size", "64x64")
    assert done.returncode == 2
    assert done.stderr.startswith("focusseg: There is no preset 'nope'")
    assert done.stderr.count("\n") == 1


def test_what_a_failing_import_said_is_shown(program: Path, tmp_path: Path) -> None:
    (tmp_path / "keras.py").write_text(
        "import os; os.write(2, b'a library is missing\\n'); raise ImportError('no Keras')"
    )
    done = run(program, "profile", "nope", PYTHONPATH=str(tmp_path))
    assert done.stderr == "a library is missing\nfocusseg: no Keras\n"


def test_a_program_of_that_name_still_finds_everything(program: Path) -> None:
    program.write_text(
        "import sys, keras_focusseg as library\n"
        "assert 'keras' not in sys.modules and 'segment' in dir(library)\n"
        "library.segment, library.models.FoRNet, library.presets.load\n"
        "try: library.nothing\n"
        "except AttributeError as error: print(error)\n"
    )
    done = run(program)
    assert done.stdout == "module 'keras_focusseg' has no attribute 'nothing'\n", done.stderr


def test_a_missing_backend_is_one_sentence(program: Path, tmp_path: Path) -> None:
    (tmp_path / "keras.json").write_text('{"backend": "torch"}')
    # As if PyTorch was not installed: it is looked for, and not found.
    text = "import importlib.util as u; f = u.find_spec\n"
    text += "u.find_spec = lambda name, *a: None if name == 'torch' else f(name, *a)\n"
    program.write_text(text + PROGRAM)
    done = run(program, "profile", "nope", KERAS_HOME=str(tmp_path), KERAS_BACKEND="")
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert f"{tmp_path}/keras.json names the backend 'torch', which is not inst" in done.stderr
    assert run(program, "presets", KERAS_HOME=str(tmp_path), KERAS_BACKEND="").returncode == 0


def test_ctrl_c_is_one_line_during_the_imports_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    for place in ("build_app", "choose_backend"):
        with monkeypatch.context() as patch, pytest.raises(SystemExit) as end:
            patch.setattr(f"keras_focusseg.cli.app.{place}", interrupted)
            cli.main(["profile", "nope"])
        assert end.value.code == 130
        assert capsys.readouterr().err == "focusseg: interrupted\n"


def test_ctrl_c_is_silent_before_the_program_has_begun(program: Path) -> None:
    press = "import os, signal; os.kill(os.getpid(), signal.SIGINT)"
    program.write_text(f"import keras_focusseg\n{press}")
    done = run(program)
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, "", "")
    # Once it has, the word is its own; and at the very end it is silent again.
    text = "import typer, os, signal; typer.Typer.__call__ = lambda *a, **k: {}"
    program.write_text(f"{text.format('os.kill(os.getpid(), signal.SIGINT)')}\n{PROGRAM}")
    done = run(program)
    assert (done.returncode, done.stderr) == (130, "focusseg: interrupted\n")
    program.write_text(f"{text.format('None')}\nimport keras_focusseg.cli as c; c.main()\n{press}")
    assert run(program).returncode == -signal.SIGINT
