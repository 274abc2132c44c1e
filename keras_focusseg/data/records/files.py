"""The files of a prepared dataset: what lies in its folder, checksums, and one record taken apart.

A prepared dataset is a folder that TensorFlow Datasets wrote and can read, with two files beside
its own: `focusseg.json`, which says which record is which sample and how large every file is, and
`SHA256SUMS`, as `sha256sum` writes it. Nothing here needs TensorFlow Datasets or TensorFlow.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from keras_focusseg.data.errors import DataError
from keras_focusseg.data.sources import json_files
from keras_focusseg.data.sources.base import inside, some
from keras_focusseg.files import write_text

INDEX = "focusseg.json"
"""Which record is which sample, and the size of every file."""

SUMS = "SHA256SUMS"
"""SHA-256 of every other file of the folder, for `sha256sum -c` too."""

METADATA = "metadata.json"
"""Where TensorFlow Datasets keeps what a dataset says of itself: label space, names, notes."""

VERSION = 1
"""Of the contents of `focusseg.json` and `metadata.json`."""

AGAIN = "Prepare the dataset again, with `focusseg data prepare ... --overwrite`."
"""What to do about a damaged dataset, as a sentence."""

_MAX_JSON = 256 << 20  # bytes; a million samples take about a tenth
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


def read_json(path: Path, root: Path) -> dict[str, Any]:
    """Read one of the JSON files of a prepared dataset.

    Args:
        path: the file.
        root: resolved folder that nothing may be read outside of.

    Returns:
        Its content.

    Raises:
        DataError: if it is missing, too large, broken or no JSON object.
    """
    return json_files.read_json(inside(path, root), _MAX_JSON, fix=AGAIN)


def sha256(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_sums(folder: Path) -> None:
    """Write `SHA256SUMS`, for every other file in the folder.

    Args:
        folder: of the prepared dataset; folders in it do not count.
    """
    files = sorted(p for p in folder.iterdir() if p.is_file() and p.name != SUMS)
    write_text(folder / SUMS, "".join(f"{sha256(path)}  {path.name}\n" for path in files))


def check_sums(folder: Path, files: Iterable[str] | None = None) -> None:
    """Compare files with `SHA256SUMS`, byte for byte.

    Args:
        folder: of the prepared dataset.
        files: names of those to compare; None takes all that are listed.

    Raises:
        DataError: if the list is missing or broken, or a file is missing, not listed or altered;
            names the file.
    """
    root, sums = folder.resolve(), folder / SUMS
    try:
        lines = inside(sums, root).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{sums}: the checksums cannot be read ({error}). {AGAIN}") from error
    listed: dict[str, str] = {}
    for number, line in enumerate(lines, start=1):
        digest, _, name = line.partition("  ")
        if len(digest) != 64 or not is_plain(name):
            raise DataError(
                f"{sums}, line {number}: expected 64 hexadecimal digits, two spaces and a file "
                f"name, got {line[:100]!r}. {AGAIN}"
            )
        listed[name] = digest.lower()
    wanted = sorted(listed if files is None else set(files))
    if unlisted := [name for name in wanted if name not in listed]:
        raise DataError(f"{sums}: does not list {some(unlisted)}. {AGAIN}")
    for name in wanted:
        path = folder / name
        try:
            found = sha256(inside(path, root))
        except OSError as error:
            raise DataError(f"{path}: cannot be read ({error}). {AGAIN}") from error
        if found != listed[name]:
            raise DataError(
                f"{path}: was altered since it was written: its SHA-256 is {found}, and {SUMS} "
                f"says {listed[name]}. {AGAIN}"
            )


def is_plain(name: object) -> bool:
    """Whether it is the name of a file, without any folder."""
    return (
        isinstance(name, str) and name not in ("", ".", "..") and not set(name) & set("/\\\0\r\n")
    )


def array_record_reader(path: Path) -> Any:
    """Open one shard for random access.

    Args:
        path: `array_record` file.

    Returns:
        The reader; several threads may use it.

    Raises:
        ImportError: if the package `array_record` is not installed.
        DataError: if the file cannot be opened.
    """
    try:
        from array_record.python import array_record_module
    except ImportError as error:
        raise ImportError(
            "Prepared records are read with the package array_record, which there is for Linux "
            "and macOS: pip install 'keras-focusseg[tfds]'. TensorFlow is not needed."
        ) from error
    try:
        # As its own data source does for random access: nothing is read ahead.
        return array_record_module.ArrayRecordReader(
            str(path), options="readahead_buffer_size:0", file_reader_buffer_size=1 << 15
        )
    except (RuntimeError, ValueError, OSError) as error:
        raise DataError(f"{path}: cannot be opened as array_record ({error}). {AGAIN}") from error


def parse_example(record: bytes, where: str) -> dict[str, bytes]:
    """Take a serialised `tf.train.Example` apart, without TensorFlow.

    The message is a map from names to lists; only lists of bytes are of interest here.

    Args:
        record: the message.
        where: what to call it in an error.

    Returns:
        The first value of each feature that is bytes.

    Raises:
        DataError: if it is no such message.
    """
    found: dict[str, bytes] = {}
    try:
        for features in _fields(memoryview(record), 1):  # Example.features
            for entry in _fields(features, 1):  # Features.feature, a map
                key = b"".join(_fields(entry, 1))
                for feature in _fields(entry, 2):
                    for values in _fields(feature, 1):  # Feature.bytes_list
                        for value in _fields(values, 1):
                            found.setdefault(key.decode("utf-8"), bytes(value))
    except (IndexError, ValueError) as error:
        raise DataError(f"{where}: is no tf.train.Example ({error}). {AGAIN}") from error
    return found


def _fields(message: memoryview, number: int) -> Iterator[memoryview]:
    """Contents of the fields of that number that are strings, bytes or messages."""
    place = 0
    while place < len(message):
        tag, place = _varint(message, place)
        kind = tag & 7
        if kind == _VARINT:
            _, place = _varint(message, place)
            continue
        if kind == _BYTES:
            size, place = _varint(message, place)
        elif kind in (_FIXED64, _FIXED32):
            size = 8 if kind == _FIXED64 else 4
        else:
            raise ValueError(f"wire type {kind} at byte {place}")
        if place + size > len(message):
            raise ValueError(f"a field of {size} bytes goes beyond the end at byte {place}")
        if kind == _BYTES and tag >> 3 == number:
            yield message[place : place + size]
        place += size


def _varint(message: memoryview, place: int) -> tuple[int, int]:
    """The number that starts there, and where it ends."""
    value = 0
    for shift in range(0, 64, 7):
        byte = message[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place
    raise ValueError(f"a number of more than 64 bits at byte {place}")
