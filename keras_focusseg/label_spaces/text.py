"""Text that other systems wrote: its encoding, and the form of its accents."""

from __future__ import annotations

import json
import unicodedata


def decoded(content: bytes) -> str:
    """Text in UTF-8, or in UTF-16 or UTF-32 as Windows writes them, without its byte order mark.

    Raises:
        UnicodeDecodeError: if it is in another encoding.
    """
    return content.decode(json.detect_encoding(content))


def composed(name: str) -> str:
    """A name with its accents in one character each, by which all names are compared.

    Macs keep "e" and the accent apart in names of files, other systems do not.
    """
    return unicodedata.normalize("NFC", name)
