"""Cameras: what they are called, and pictures that come until somebody ends it."""

from __future__ import annotations

import contextlib
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

# How FFmpeg calls what speaks to cameras on Linux, macOS and Windows, and what draws test pictures;
# and what it has to be told. Cameras of Macs refuse the 29.97 frames a second that it asks for.
_DEVICES: dict[str, dict[str, str]] = {
    "v4l2": {},
    "avfoundation": {"framerate": "30"},
    "dshow": {},
    "lavfi": {},
}
_LINUX = "/dev/video"
_PAUSE = 0.005  # seconds until a camera that had no frame is asked again


def is_camera(path: str | Path) -> bool:
    """Whether a path names a camera and no file.

    Such are `/dev/video0` on Linux, `avfoundation:0` on macOS, `dshow:video=NAME` on Windows, and
    `lavfi:testsrc`, the test picture of FFmpeg.
    """
    return str(path).startswith((_LINUX, *(f"{device}:" for device in _DEVICES)))


def result_stem(path: Path) -> str:
    """Name of the results of a file or a camera, without suffix: `dshow_video_NAME`."""
    return re.sub(r"\W+", "_", path.name).strip("_") if is_camera(path) else path.stem


def open_camera(path: str | Path) -> Any:
    """The container of a camera, as PyAV has it."""
    import av

    device, _, name = str(path).partition(":")
    if device not in _DEVICES:
        device, name = "v4l2", str(path)
    return av.open(name, format=device, options=_DEVICES[device])


def live_packets(container: Any, streams: list[Any]) -> Iterator[Any]:
    """The packets of a camera, which may have none ready when it is asked."""
    while True:
        try:
            yield from container.demux(streams)
            return
        except BlockingIOError:
            time.sleep(_PAUSE)


@contextlib.contextmanager
def noted_interrupt() -> Iterator[Callable[[], bool]]:
    """Where the first Ctrl-C is only noted, so that what is being written is finished.

    Yields:
        What says whether there was one. A second one interrupts, and so does the first outside of
        the main thread, which alone can catch it. A process that ignores Ctrl-C, as a shell's
        background does, goes on ignoring it.
    """
    noted = threading.Event()
    ignored = signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    if ignored or threading.current_thread() is not threading.main_thread():
        yield noted.is_set
        return

    def note(number: int, frame: Any) -> None:
        noted.set()
        signal.signal(signal.SIGINT, before)

    before = signal.signal(signal.SIGINT, note)
    try:
        yield noted.is_set
    finally:
        signal.signal(signal.SIGINT, before)
