"""A process that hangs while others train with it; `test_distribution.py` has it in processes."""

import os
import threading

import pytest

from keras_focusseg.training.watchdog import Watchdog


def test_a_process_that_hangs_says_where_and_ends(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    codes, ended = [], threading.Event()

    def end(code: int) -> None:
        codes.append(code)
        ended.set()

    monkeypatch.setattr(os, "_exit", end)

    def wait_for_a_file() -> None:
        assert ended.wait(10)

    watchdog = Watchdog(process=1, processes=2)
    watchdog.limit = 1
    with watchdog.on_guard():
        for step in range(2):  # the first one compiles, and may take longer
            watchdog.on_train_batch_begin(step)
        wait_for_a_file()
    said = capfd.readouterr().err
    assert codes == [1]
    assert "in wait_for_a_file" in said
    assert "Process 1 of 2 ends: it began no further step for 1 seconds." in said
    assert "Start all of them again with --resume" in said


def test_who_trains_alone_is_not_watched() -> None:
    before = threading.active_count()
    with Watchdog(process=0, processes=1).on_guard():
        assert threading.active_count() == before
