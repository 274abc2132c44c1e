"""Writes files and folders so that they are there whole or not at all. Standard library only.

Everything is written beside its place under a temporary name, brought to the disk, and renamed. A
process that is killed, or a disk that is full, leaves what was there before. A killed one may also
leave the temporary file; its name starts with `.writing-`.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import hashlib
import json
import math
import os
import secrets
import shutil
import stat
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

MARK = "written by focusseg"
"""Stands near the beginning of every file that the program writes, whatever its kind."""

TEMPORARY = ".writing-"
"""What the names of temporary files and folders start with."""

_NEAR = 4096
_VIDEOS = (".mp4", ".mkv")  # those that the program writes


@contextlib.contextmanager
def written(path: str | Path) -> Iterator[Path]:
    """Gives an empty file to write; it takes the place of `path` at the end, or goes on an error.

    The file ends with the suffix of `path`. It gets the mode that the umask gives to new files,
    whatever wrote it. A device or a pipe, such as `/dev/null`, is written itself.

    Args:
        path: File to write or replace; its folder must be there. Of a symbolic link, what it
            points to is replaced.

    Yields:
        The path to write to.

    Example:
        ```python
        with files.written("scores.csv") as temporary:
            temporary.write_text("class,iou")
        ```
    """
    path = Path(path)
    if path.exists() and not (path.is_file() or path.is_dir()):
        yield path
        return
    path = path.resolve()
    temporary = _temporary(path)
    # Made here, and not by whoever writes: this says at once whether it can be written at all.
    descriptor = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
    mode = stat.S_IMODE(os.fstat(descriptor).st_mode)
    os.close(descriptor)
    try:
        yield temporary
        os.chmod(temporary, mode)
        _sync(temporary)
        os.replace(temporary, path)
        _sync(path.parent)
    except OSError as error:
        if error.errno == errno.ENOSPC and error.filename is None:
            error.filename = str(path)  # the system does not say which file found the disk full
        raise
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def written_folder(path: str | Path) -> Iterator[Path]:
    """Gives an empty folder to fill; it takes the place of `path` at the end, or goes on an error.

    A folder that was there before goes out of its place in the same step, where the system can
    (Linux, on most of its file systems), and is then removed with all that is in it. Elsewhere it
    is put aside until the new one is in its place: a process that is killed in between leaves it
    there under its temporary name.

    Args:
        path: Folder to write or replace; its parent must be there.

    Yields:
        The path of the folder to fill.

    Example:
        ```python
        with files.written_folder("epoch_0001") as temporary:
            (temporary / "state.json").write_text("{}")
        ```
    """
    path = Path(path).resolve()
    temporary, aside = _temporary(path), _temporary(path)
    temporary.mkdir()
    try:
        yield temporary
        for folder, _, names in os.walk(temporary):
            for name in names:
                _sync(Path(folder, name))
            _sync(Path(folder))
        if not _exchanged(temporary, path):  # else the old one has the temporary name now
            try:
                if path.exists():
                    os.replace(path, aside)
                os.replace(temporary, path)
            except BaseException:
                if aside.exists() and not path.exists():
                    os.replace(aside, path)
                raise
        _sync(path.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        if path.exists():
            shutil.rmtree(aside, ignore_errors=True)


def lock(file: IO[str]) -> None:
    """Locks an open file until it is closed, or raises `OSError` if another process has it."""
    if sys.platform == "win32":
        import msvcrt

        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


@contextlib.contextmanager
def one_at_a_time(path: str | Path) -> Iterator[None]:
    """Lets one process through after the other; where the disk knows no locks, all at once.

    Args:
        path: File that is locked, and removed at the end: one that comes later than those who wait
            may then be beside one of them.
    """
    with open(path, "a") as file:
        while True:
            try:
                lock(file)
            except (BlockingIOError, PermissionError):
                time.sleep(0.1)
                continue
            except OSError:
                pass
            break
        try:
            yield
        finally:
            with contextlib.suppress(OSError):  # Windows removes no open file
                os.unlink(path)


def write_text(path: str | Path, text: str) -> None:
    """Writes a text file in UTF-8, whole or not at all.

    Names of files need not be UTF-8: bytes that are not are written as a backslash, `udc` and two
    digits, which is how JSON spells them.

    Args:
        path: File to write or replace.
        text: Its content.
    """
    with written(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace", newline="")


def write_json(path: str | Path, value: Any) -> None:
    """Writes a JSON file, whole or not at all; NaN and infinity become `null`.

    Args:
        path: File to write or replace.
        value: Dicts, lists, tuples, strings, numbers, booleans and `None`; of paths their text, of
            NumPy's numbers and arrays Python's numbers and lists.

    Example:
        ```python
        files.write_json("scores.json", {"mean_iou": 0.7, "boundary_f1": math.nan})
        ```
    """
    write_text(path, json_text(value))


def json_text(value: Any, indent: int | None = 1) -> str:
    """The text of a JSON file; NaN and infinity, which JSON does not have, become `null`.

    Args:
        value: As for `write_json`.
        indent: Spaces a level; `None` puts everything on one line.
    """
    return json.dumps(_finite(value), indent=indent, ensure_ascii=False, allow_nan=False) + "\n"


def read_json(path: str | Path) -> Any:
    """What a JSON file of this library holds.

    Raises:
        ValueError: It is missing, cannot be read, or is not JSON; the message names the file.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}.") from error
    except RecursionError as error:
        raise ValueError(f"{path} is not a file of this library: it is nested too deep.") from error
    except ValueError as error:
        raise ValueError(f"{path} is not JSON: {error}.") from error


def sha256(path: str | Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def is_result(path: str | Path) -> bool:
    """Whether the program wrote a file, by its mark; an empty file is nobody's.

    The mark stands near the beginning, and in videos near the end.
    """
    try:
        with open(path, "rb") as file:
            start = file.read(_NEAR)
            file.seek(max(0, os.path.getsize(path) - _NEAR))
            end = file.read(_NEAR)
    except OSError:
        return False
    return (
        not start
        or MARK.encode() in start
        or (Path(path).suffix in _VIDEOS and MARK.encode() in end)
    )


def check_file(path: str | Path) -> None:
    """Refuses, before any work is done, a path that no file could be written to.

    Args:
        path: A file that is to be written; folders that are not there yet are no mistake.

    Raises:
        ValueError: It is a folder, its name is too long, or its folder is a file or read-only.
    """
    check_files([path])


def check_files(paths: Iterable[str | Path]) -> None:
    """Refuses paths as `check_file` does; each folder is tried once, however many lie in it.

    Args:
        paths: Files that are to be written.

    Raises:
        ValueError: No file could be written to one of them.
    """
    tried: set[Path] = set()
    for path in map(Path, paths):
        _check(path, tried)
        if path.is_dir():
            raise ValueError(f"{path} is a folder; name a file to write.")


def check_folder(path: str | Path) -> None:
    """Refuses, before any work is done, a path that no folder could be made at.

    Args:
        path: A folder that is to be filled; it and those above it are made if absent.

    Raises:
        ValueError: It is a file, its name is too long, or it lies in a file or is read-only.
    """
    path = Path(path)
    with contextlib.suppress(OSError):  # told by what follows
        if path.is_file():
            raise ValueError(f"{path} is a file; name a folder to write into.")
    _check(path / "file", set())


def check_space(folder: str | Path, needed: int, largest: int) -> None:
    """Refuses, before any work is done, a folder without room for what is to be written.

    Args:
        folder: A folder that is there.
        needed: Bytes of all files.
        largest: Bytes of the largest of them.

    Raises:
        ValueError: The disk has less room, or the process may not write a file of that size.
    """
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise ValueError(
            f"{folder} needs up to {needed / 1e6:,.1f} MB, and its disk has {free / 1e6:,.1f} MB "
            "of room. Make room, or name a folder on another disk."
        )
    with contextlib.suppress(ImportError):  # Windows has no such limits
        import resource

        limit = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
        if limit not in (-1, resource.RLIM_INFINITY) and limit < largest:
            raise ValueError(
                f"{folder} gets a file of up to {largest / 1e6:,.1f} MB, and this process may "
                f"write {limit / 1e6:,.1f} MB at most: raise the limit (ulimit -f)."
            )


def _check(path: Path, tried: set[Path]) -> None:
    """Whether something can be made at the path: tried in the nearest folder that is there.

    A folder in which that worked is added to `tried`, and is not tried again.
    """
    folder = path.parent
    try:
        if folder in tried:
            path.exists()  # raises where the name is too long
            return
        while not folder.exists():
            folder = folder.parent
        for part in path.relative_to(folder).parts:
            (folder / part).exists()  # raises where the name is too long
        if not folder.is_dir():
            raise ValueError(f"{path} cannot be written: {folder} is a file.")
        if not path.exists() or path.is_file():
            tempfile.TemporaryFile(dir=folder, prefix=TEMPORARY).close()
            tried.add(path.parent)
    except OSError as error:
        raise ValueError(f"{path} cannot be written: {error.strerror}.") from error


def _finite(value: Any) -> Any:
    """The value as JSON can hold it, with `None` in place of every number that is not finite."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {name: _finite(entry) for name, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(entry) for entry in value]
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if hasattr(value, "tolist"):  # NumPy's, which this file does not import
        return _finite(value.tolist())
    return value


def _temporary(path: Path) -> Path:
    """A name beside the path, short whatever the path's own name is."""
    return path.with_name(f"{TEMPORARY}{secrets.token_hex(6)}{path.suffix[:16]}")


def _exchanged(one: Path, other: Path) -> bool:
    """Whether two folders have got each other's name, in one step, as some systems can.

    Python has no function for it.
    """
    if sys.platform != "linux":
        return False
    rename = getattr(ctypes.CDLL(None), "renameat2", None)  # glibc 2.28 and newer
    here, exchange = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
    paths = os.fsencode(one), os.fsencode(other)
    return rename is not None and rename(here, paths[0], here, paths[1], exchange) == 0


def _sync(path: Path) -> None:
    """Brings a file, or the names in a folder, to the disk."""
    with contextlib.suppress(OSError):  # some systems cannot do it to a folder
        descriptor = os.open(path, os.O_RDWR if path.is_file() else os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
