"""The files of a prepared dataset: what lies in its folder, and checksums.

A prepared dataset is a folder that TensorFlow Datasets wrote and reads, with two files beside its
own: `focusseg.json`, which says how large every file is, and `SHA256SUMS`, as `sha256sum` writes
it. Nothing here needs TensorFlow Datasets or TensorFlow.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from keras_focusseg.data.sources.base import inside
from keras_focusseg.errors import DataError
from keras_focusseg.files import sha256, write_text
from keras_focusseg.label_spaces import json_files

INDEX = "focusseg.json"
"""The size of every file."""

SUMS = "SHA256SUMS"
"""SHA-256 of every other file of the folder, for `sha256sum -c` too."""

METADATA = "metadata.json"
"""Where TensorFlow Datasets keeps what a dataset says of itself: label space, names, notes."""

VERSION = 2
"""Of the contents of `focusseg.json` and `metadata.json`."""

AGAIN = "Prepare the dataset again, with `focusseg data prepare ... --overwrite`."
"""What to do about a damaged dataset, as a sentence."""

_MAX_JSON = 256 << 20  # bytes; a million samples take about a tenth


def read_json(path: Path, root: Path) -> dict[str, Any]:
    """Reads one of the JSON files of a prepared dataset that lies in the resolved root."""
    return json_files.read_json(inside(path, root), _MAX_JSON, fix=AGAIN)


def write_sums(folder: Path) -> None:
    """Writes `SHA256SUMS`, for every other file in the folder; folders in it do not count."""
    files = sorted(p for p in folder.iterdir() if p.is_file() and p.name != SUMS)
    write_text(folder / SUMS, "".join(f"{sha256(path)}  {path.name}\n" for path in files))


def check_sums(folder: Path) -> None:
    """Compare all files of a prepared dataset with `SHA256SUMS`, byte for byte."""
    root, sums = folder.resolve(), folder / SUMS
    try:
        lines = inside(sums, root).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise damaged(sums, f"the checksums cannot be read ({error})") from error
    for number, line in enumerate(lines, start=1):
        digest, _, name = line.partition("  ")
        if len(digest) != 64 or not is_plain(name):
            expected = "64 hexadecimal digits, two spaces and a file name"
            raise damaged(sums, f"{line[:100]!r}", f"line {number}", expected)
        path = folder / name
        try:
            found = sha256(inside(path, root))
        except OSError as error:
            raise damaged(path, f"cannot be read ({error})") from error
        if found != digest.lower():
            raise damaged(
                path,
                f"was altered since it was written: its SHA-256 is {found}, and {SUMS} says "
                f"{digest}",
            )


def damaged(file: Path, found: str, part: str = "", expected: str = "") -> DataError:
    """What to say of a prepared dataset that is not what was written."""
    return DataError(
        found, kind="damaged records", file=file, part=part, expected=expected, fix=AGAIN
    )


def is_plain(name: object) -> bool:
    """Whether it is the name of a file, without any folder."""
    return (
        isinstance(name, str) and name not in ("", ".", "..") and not set(name) & set("/\\\0\r\n")
    )
