"""Text that other systems wrote: its encoding, and the form of its accents in names and paths."""

from __future__ import annotations

import contextlib
import json
import os
import unicodedata
from pathlib import Path


def decoded(content: bytes) -> str:
    """Text in UTF-8, or in UTF-16 or UTF-32 as Windows writes them, without its byte order mark.

    Raises:
        UnicodeDecodeError: If it is in another encoding.
    """
    return content.decode(json.detect_encoding(content))


def composed(name: str) -> str:
    """A name with its accents in one character each, by which all names are compared.

    Macs keep "e" and the accent apart in names of files, other systems do not.
    """
    return unicodedata.normalize("NFC", name)


def as_on_disk(path: str | Path) -> Path:
    """A path that somebody typed as it lies on disk, if it does not lie there as it was typed.

    Each part may have its accents in another form there, and `~` is the home folder. What lies
    there in no form stays as it is.
    """
    path = Path(path)
    with contextlib.suppress(OSError, RuntimeError):  # told by whoever opens it
        if path.exists():
            return path
        path = path.expanduser()
        found = Path(path.anchor)
        for part in path.parts[len(found.parts) :]:
            if not (found / part).exists():
                names = {composed(name): name for name in os.listdir(found)}
                part = names.get(composed(part), part)
            found /= part
        return found
    return path
