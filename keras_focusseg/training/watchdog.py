"""Ends a process that trains with others and does not go on, so that nobody waits for it."""

from __future__ import annotations

import contextlib
import faulthandler
import math
import os
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import keras

# A process that waits longer for the others gives up. Must exceed what one process does alone:
# write a checkpoint, compile a step of validation.
TIMEOUT_SECONDS = 600
# The engines' own limits come first: after their errors Python ends in order.
GRACE_SECONDS = 30
# So many times the limit may pass until the first step, while data are opened, and from the first
# to the second, which includes its compilation.
STARTING = 3


class Watchdog(keras.callbacks.Callback):
    """Ends this process, with a message, when no further step of it begins for a time limit.

    A process that hangs, in its feed for instance, keeps all others waiting. The threads by which
    it tells them that it lives go on, and whatever it hangs in cannot be made to raise an error. So
    a thread of this one looks at the clock, says where each thread stands, and ends the process;
    the others then miss it, or find that their own limit has passed.

    It looks where a step begins: where one ends, Keras would read the loss for it.

    `training.train` has one. A `fit` or `evaluate` of your own takes it as a callback, within
    `on_guard`: Keras does not tell a callback that an error has ended `fit`.

    Args:
        process: Number of this process among those that train together.
        processes: How many they are; nothing is watched if it is one.
        advice: What the message ends with: how to go on.

    Attributes:
        limit: Seconds from the begin of a step, of training or of validation, to the next, 630 at
            first; three times as many until the first step, and where a step compiles.

    Example:
        ```python
        spread = training.distribution("auto")
        watchdog = training.Watchdog(spread.process, spread.processes)
        with spread.scope(), watchdog.on_guard():
            model = models.FoRNet(num_classes=11, backbone="mobilenet_v2")
            model.compile()
            model.fit(train, validation_data=val, callbacks=[watchdog])
        ```
    """

    def __init__(
        self, process: int, processes: int, advice: str = "Start all of them again."
    ) -> None:
        super().__init__()
        self.process, self.processes, self.advice = process, processes, advice
        self.limit: float = TIMEOUT_SECONDS + GRACE_SECONDS
        self._patience, self._due = math.inf, math.inf
        self._compiled: set[str] = set()
        self._guards = processes == 1  # nobody is kept waiting

    @contextlib.contextmanager
    def on_guard(self) -> Iterator[None]:
        """Where the process is watched; ends with the block, whatever ends that."""
        if self.processes == 1:
            yield
            return
        over = threading.Event()
        self._wait(STARTING)
        threading.Thread(target=self._watch, args=(over,), daemon=True).start()
        self._guards = True
        try:
            yield
        finally:
            over.set()
            self._guards = False

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Refuses a training that it would not watch.

        Raises:
            ValueError: `fit` was not called within `on_guard`.
        """
        if not self._guards:
            raise ValueError(
                "A Watchdog among the callbacks watches nothing by itself: call fit inside "
                "`with watchdog.on_guard():`."
            )

    def on_train_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Starts the clock anew."""
        self._begins("training")

    def on_test_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Starts the clock anew."""
        self._begins("validation")

    def _begins(self, step: str) -> None:
        self._wait(1 if step in self._compiled else STARTING)
        self._compiled.add(step)

    def _wait(self, times: int) -> None:
        self._patience = times * self.limit
        self._due = time.monotonic() + self._patience

    def _watch(self, over: threading.Event) -> None:
        while time.monotonic() <= self._due:
            if over.wait(0.5):
                return
        faulthandler.dump_traceback(2)  # the error output, also where Python has another
        print(
            f"Process {self.process} of {self.processes} ends: it began no further step for "
            f"{self._patience:.0f} seconds. Either it hangs, in what the lines above show, or it "
            f"waits for another process, whose own output says more. {self.advice}",
            file=sys.stderr,
            flush=True,
        )
        os._exit(1)
