"""Folders on remote storage, copied once: `gs://`, `s3://`, `https://` and what else fsspec reads.

Such a folder has to hold `SHA256SUMS`, as `sha256sum` writes it. Every file that it lists is copied
into a folder of this library's cache, and compared; what was altered or cut off on the way is an
error and leaves nothing. The copy is named after the checksums, so another state of the remote
folder is another copy, and the same is not copied twice.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from pathlib import Path
from typing import Any

from keras_focusseg import files
from keras_focusseg.errors import DataError

SUMS = "SHA256SUMS"
_MAX_SUMS = 16 << 20  # bytes; a folder of a hundred thousand files has half of it
_CHUNK = 4 << 20
# A drive letter of Windows is no protocol; a `Path` of a URL has kept one slash.
_URL = re.compile(r"([a-z][a-z0-9+.-]+):(/+)(?=[^/])", re.IGNORECASE)
_WITHOUT_HOST = ("file", "local")  # their URLs have three slashes


def cache_folder() -> Path:
    """Where the library keeps things: `FOCUSSEG_HOME`, or `~/.cache/keras_focusseg`."""
    home = os.environ.get("FOCUSSEG_HOME")
    return Path(home) if home else Path.home() / ".cache" / "keras_focusseg"


def local(path: str | Path) -> str | Path:
    """A folder that can be read from disk: itself, or the copy of a remote one.

    Args:
        path: A folder, or the URL of one, also if it went through a `Path`.

    Returns:
        `path`, or the folder of the copy.

    Raises:
        DataError: The remote folder is not there, has no checksums, or is not what they say.
        ImportError: The extra `remote` is not installed.

    Example:
        ```python
        remote.local("CamVid")    # 'CamVid'
        remote.local("gs://bucket/prepared/camvid_records/1.0.0")    # a folder of the cache
        ```
    """
    found = _URL.match(str(path))
    if found is None:
        return path
    scheme, slashes = found.groups()
    if slashes == "/":
        slashes = "///" if scheme.lower() in _WITHOUT_HOST else "//"
    return _copied(f"{scheme}:{slashes}{str(path)[found.end() :]}")


def _copied(url: str) -> Path:
    try:
        import fsspec
    except ImportError as error:
        raise ImportError(
            f"{url} is read through fsspec: pip install 'keras-focusseg[remote]', and what fsspec "
            "needs for this protocol, such as gcsfs or s3fs."
        ) from error
    try:
        system, root = fsspec.core.url_to_fs(url)
        listed = _listed(system, f"{root.rstrip('/')}/{SUMS}", url)
        final = cache_folder() / "remote" / hashlib.sha256(listed).hexdigest()[:32]
        if final.is_dir():
            return final
        final.parent.mkdir(parents=True, exist_ok=True)
        digests = _digests(listed, url)
        sizes = {name: int(system.size(f"{root.rstrip('/')}/{name}")) for name in digests}
        with files.one_at_a_time(final.with_suffix(".lock")):
            if final.is_dir():  # another process of this machine was first
                return final
            _check_room(sum(sizes.values()), final.parent, url)
            with files.written_folder(final) as folder:
                for name, digest in digests.items():
                    with system.open(f"{root.rstrip('/')}/{name}", "rb") as file:
                        _copy(file, folder / name, sizes[name], digest, f"{url}/{name}")
                (folder / SUMS).write_bytes(listed)
    except (OSError, ImportError, ValueError, TypeError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(
            f"{url} cannot be read: {error}",
            kind="remote folder that cannot be read",
            fix=f"It must be the folder that holds {SUMS}, such as prepared/camvid_records/1.0.0 "
            "of `focusseg data prepare`.",
        ) from error
    return final


def _listed(system: Any, path: str, url: str) -> bytes:
    """The bytes of the list of checksums."""
    with system.open(path, "rb") as file:
        listed: bytes = file.read(_MAX_SUMS + 1)
    if len(listed) > _MAX_SUMS:
        raise _altered(f"{url}/{SUMS} has more than {_MAX_SUMS >> 20} MiB")
    return listed


def _digests(listed: bytes, url: str) -> dict[str, str]:
    """SHA-256 by name of a file; only names without a folder are taken."""
    digests = {}
    for number, line in enumerate(listed.decode("utf-8", errors="replace").splitlines(), 1):
        found = re.fullmatch(r"([0-9a-fA-F]{64})  ([^/\\\0]+)", line)
        if found is None or found[2] in (".", "..", SUMS):
            raise _altered(
                f"{url}/{SUMS}, line {number}: {line[:100]!r}; expected 64 hexadecimal digits, two "
                "spaces and a file name"
            )
        digests[found[2]] = found[1].lower()
    return digests


def _copy(file: Any, path: Path, size: int, digest: str, name: str) -> None:
    """Copies an open remote file, no more than it is said to hold, and compares it."""
    known, left = hashlib.sha256(), size
    with open(path, "wb") as copy:
        while chunk := file.read(min(_CHUNK, left + 1)):
            left -= len(chunk)
            if left < 0:
                break
            known.update(chunk)
            copy.write(chunk)
    if left:
        raise _altered(f"{name} has {'more' if left < 0 else 'fewer'} bytes than {size}")
    if known.hexdigest() != digest:
        raise _altered(f"{name}: its SHA-256 is {known.hexdigest()}, and {SUMS} says {digest}")


def _check_room(size: int, folder: Path, url: str) -> None:
    free = shutil.disk_usage(folder).free
    if size > free:
        raise DataError(
            f"{url} holds {size:,} bytes, and {folder} has room for {free:,}",
            kind="disk that is full",
            fix="Make room, or name another place by FOCUSSEG_HOME.",
        )


def _altered(found: str) -> DataError:
    return DataError(
        found,
        kind="remote file that was altered",
        fix="Copy it there again from where it was prepared.",
    )
