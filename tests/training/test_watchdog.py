"""A process that hangs while others train with it; `test_distribution.py` has it in processes."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator

import keras
import numpy as np
import pytest

from keras_focusseg.training import Watchdog


def feed(ended: threading.Event) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Four batches; the last one comes when somebody has ended the process."""
    for step in range(4):
        if step == 3:
            assert ended.wait(10)
        yield np.ones((2, 1), "float32"), np.ones((2, 1), "float32")


def model() -> keras.Model:
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    return model


@pytest.fixture
def ended(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Set where the process would have been ended."""
    event = threading.Event()
    monkeypatch.setattr(os, "_exit", lambda code: event.set() if code == 1 else None)
    return event


def test_a_process_that_hangs_in_its_feed_says_where_and_ends(
    ended: threading.Event, capfd: pytest.CaptureFixture[str]
) -> None:
    watchdog = Watchdog(process=1, processes=2)
    watchdog.limit = 1
    with watchdog.on_guard():
        model().fit(feed(ended), steps_per_epoch=4, verbose=0, callbacks=[watchdog])
    said = capfd.readouterr().err
    assert ended.is_set()
    assert "test_watchdog.py" in said and "in feed" in said
    assert "Process 1 of 2 ends: it began no further step for 1 seconds." in said
    assert said.endswith("says more. Start all of them again.\n")


def test_nobody_is_watched_after_an_error(ended: threading.Event) -> None:
    watchdog = Watchdog(process=0, processes=2)
    watchdog.limit = 0.01
    before = set(threading.enumerate())
    with pytest.raises(KeyError), watchdog.on_guard():
        (watching,) = set(threading.enumerate()) - before
        raise KeyError
    watching.join(5)
    assert not watching.is_alive() and not ended.is_set()


def test_fit_has_to_be_within_the_watch() -> None:
    with pytest.raises(ValueError, match="call fit inside `with watchdog.on_guard"):
        model().fit(np.ones((2, 1)), np.ones((2, 1)), callbacks=[Watchdog(0, processes=2)])


def test_who_trains_alone_is_not_watched() -> None:
    before = threading.active_count()
    watchdog = Watchdog(process=0, processes=1)
    with watchdog.on_guard():
        assert threading.active_count() == before
    model().fit(np.ones((2, 1)), np.ones((2, 1)), verbose=0, callbacks=[watchdog])
