"""Whether a picture fits into memory: a network's tensors grow with its pixels."""

from __future__ import annotations

import functools
from pathlib import Path

import keras

from keras_focusseg.inference.profile import profile
from keras_focusseg.models.segmenter import Segmenter

SMALL = 2_000_000
"""Pictures of fewer pixels are not asked about."""
_MEASURED_AT = (512, 512)


def needed_memory(model: Segmenter, height: int, width: int) -> int:
    """Bytes that the tensors of one picture take at their peak, see `profile`.

    Scratch memory inside operations and the picture itself come on top, so it is a lower bound.
    """
    return int(_bytes_per_pixel(model) * height * width)


@functools.lru_cache(maxsize=8)
def _bytes_per_pixel(model: keras.Model) -> float:
    height, width = _MEASURED_AT
    peak = profile(model, _MEASURED_AT, outputs="logits", runs=0).peak_activation_bytes
    return peak / (height * width)


def available_memory(
    proc: Path = Path("/proc"), cgroup: Path = Path("/sys/fs/cgroup")
) -> int | None:
    """Bytes that this process may still take of the machine's memory; `None` where not known."""
    found = []
    try:
        lines = (proc / "meminfo").read_text(encoding="ascii").splitlines()
        values = dict(line.split(":", 1) for line in lines if ":" in line)
        found.append(1024 * int(values["MemAvailable"].split()[0]))
    except (OSError, KeyError, ValueError):
        pass
    try:  # in a container
        limit = int((cgroup / "memory.max").read_text(encoding="ascii"))
        found.append(limit - int((cgroup / "memory.current").read_text(encoding="ascii")))
    except (OSError, ValueError):  # no container, or "max"
        pass
    return min(found, default=None)


def check_memory(
    needed: int, size: tuple[int, int], network: str, window: tuple[int, int] | None = None
) -> None:
    """Refuses a picture for which there is not enough memory, before the process is killed by it.

    Args:
        needed: Bytes that it needs at least.
        size: Its height and width.
        network: Name of the network.
        window: Height and width of the windows that it is cut into, `None` if it is taken whole.

    Raises:
        ValueError: With what it needs and what is free.
    """
    free = available_memory()
    if free is None or needed <= free:
        return
    how = f" in windows of {window[0]}x{window[1]}" if window else ""
    fix = "Take smaller windows" if window else "Cut it into overlapping windows: --window 1024"
    raise ValueError(
        f"A picture of {size[0]}x{size[1]} (height x width) needs at least {needed / 1e9:.1f} GB "
        f"of memory in {network}{how}, and {free / 1e9:.1f} GB are free. {fix} (window=1024 in "
        "Python), or scale it down."
    )
