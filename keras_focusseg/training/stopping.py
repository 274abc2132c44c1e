"""Signals that end a run: SIGTERM of schedulers and spot machines, and Ctrl-C."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterator
from typing import Any

RELAYED_SECONDS = 1.0
"""A second Ctrl-C within them is taken for the first one, passed on."""


class TrainingStopped(KeyboardInterrupt):
    """A signal ended a run; the message says what is saved and how to go on.

    Args:
        number: Of the signal.
        where: What the message goes on with: where it stopped, what is saved, how to go on.

    Attributes:
        exit_code: What a process that ends by it returns: 143 for SIGTERM, 130 for Ctrl-C.
    """

    def __init__(self, number: int, where: str) -> None:
        name = "Ctrl-C" if number == signal.SIGINT else signal.Signals(number).name
        super().__init__(f"Stopped by {name} {where}")
        self.exit_code = 128 + number


class Signals:
    """Catches SIGTERM and Ctrl-C: at once, or, while a network trains, at the end of a step.

    Attributes:
        received: The signal that waits for the end of a step, or None.
    """

    def __init__(self) -> None:
        self.received: int | None = None
        self._wait, self._since = False, 0.0

    @contextlib.contextmanager
    def caught(self) -> Iterator[None]:
        """Where signals end the run by `TrainingStopped`; the main thread alone can catch them."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        numbers = (signal.SIGTERM, signal.SIGINT)
        before = {number: signal.signal(number, self._handle) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        """Where a signal is only noted, and somebody looks at `received` after each step."""
        self._wait = True
        try:
            yield
        finally:
            self._wait = False

    def _handle(self, number: int, frame: Any) -> None:
        if not self._wait:
            raise TrainingStopped(
                number, "outside of the training steps; the last checkpoint, if any, stays."
            )
        if self.received is not None:
            # What is sent to a whole group comes again from the process that started this one.
            if number == signal.SIGINT and time.monotonic() - self._since > RELAYED_SECONDS:
                raise TrainingStopped(number, "a second time; the last checkpoint, if any, stays.")
            return
        self.received, self._since = number, time.monotonic()
        if number == signal.SIGINT:  # not by print, which a handler may have interrupted
            os.write(2, b"\nSaving a checkpoint after this step. Ctrl-C again stops at once.\n")
