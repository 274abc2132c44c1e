"""How the program `focusseg` starts. It imports next to nothing, so that it runs first."""

from __future__ import annotations

import os
import signal
import sys


def is_command_line() -> bool:
    """Whether this process is `focusseg ...` or `python -m keras_focusseg.cli ...`."""
    program = sys.argv[0] if sys.argv else ""
    if program == "-m":  # what Python puts there until it has found the module
        return "keras_focusseg.cli" in sys.orig_argv
    return os.path.basename(program).lower() in ("focusseg", "focusseg.exe")


def end_at_ctrl_c() -> None:
    """Lets Ctrl-C end the process in silence, until `cli.main` is there to say a word.

    Python would show where in its imports it was, in thirty lines.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # nobody wants it ignored
        signal.signal(signal.SIGINT, signal.SIG_DFL)
