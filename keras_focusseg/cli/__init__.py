"""The command line: `focusseg train | evaluate | compare | segment | inspect | ...`.

The program starts without Keras: each verb imports what it needs when it runs.
"""

from __future__ import annotations

import io
import os
import signal
import sys
import warnings
from collections.abc import Callable
from typing import Any, NoReturn


def main(arguments: list[str] | None = None) -> None:
    """Runs the command line; mistakes in what was given end with one line and code 2.

    Args:
        arguments: The words after the program's name; by default those of the process.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # TensorFlow's own start-up messages
    for stream in (sys.stdout, sys.stderr):  # names of files need not be what a terminal can show
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    silent = signal.getsignal(signal.SIGINT) is signal.SIG_DFL  # as `_program` leaves it
    try:
        if silent:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        from keras_focusseg.cli.app import build_app

        with warnings.catch_warnings():
            warnings.showwarning = _in_one_line(warnings.showwarning)
            build_app()(arguments, prog_name="focusseg")
    except KeyboardInterrupt:
        _interrupted()
    except SystemExit as end:
        if end.code == 130:  # how Typer ends after Ctrl-C, without a word
            _interrupted()
        raise
    except (ValueError, OSError, ImportError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and not _is_ours(error):
            raise
        print(f"focusseg: {_sentence(error)}", file=sys.stderr)
        sys.exit(2)
    finally:
        if silent:
            signal.signal(signal.SIGINT, signal.SIG_DFL)


def _in_one_line(show: Callable[..., None]) -> Callable[..., None]:
    """Shows warnings for users in one line, without the place in the code; others as `show`.

    Pillow's about large pictures is left out: the readers refuse these themselves, and say so.
    """

    def shown(message: Warning | str, category: type[Warning], *place: Any) -> None:
        if category.__name__ == "DecompressionBombWarning":
            return
        if issubclass(category, UserWarning):
            print(f"focusseg: {' '.join(str(message).split())}", file=sys.stderr)
        else:
            show(message, category, *place)

    return shown


def _interrupted() -> NoReturn:
    print("focusseg: interrupted", file=sys.stderr)
    sys.exit(130)


def _sentence(error: Exception) -> str:
    """The error in one line; those of the system say first which file they are about."""
    if isinstance(error, OSError) and error.strerror and error.filename is not None:
        return f"{error.filename}: {error.strerror}."
    return " ".join(str(error).split("\n"))


def _is_ours(error: RuntimeError) -> bool:
    """Whether its class is one of this library, such as `TrainingDiverged`."""
    return type(error).__module__.split(".")[0] == "keras_focusseg"
