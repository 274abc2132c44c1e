"""Remote folders are copied whole, compared, and copied once; fsspec's memory stands for them."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from keras_focusseg import data, remote

fsspec = pytest.importorskip("fsspec")
FILES = {"a.bin": b"first" * 1000, "b.json": b"{}"}
URL = "memory://bucket/prepared"


@pytest.fixture
def bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setenv("FOCUSSEG_HOME", str(tmp_path))
    system = fsspec.filesystem("memory")
    write(system, FILES)
    yield system
    system.rm("/bucket", recursive=True)


def write(system: Any, contents: dict[str, bytes], **sums: str) -> None:
    sums = {name: hashlib.sha256(body).hexdigest() for name, body in contents.items()} | sums
    for name, body in contents.items():
        system.pipe_file(f"/bucket/prepared/{name}", body)
    lines = "".join(f"{digest}  {name}\n" for name, digest in sums.items())
    system.pipe_file(f"/bucket/prepared/{remote.SUMS}", lines.encode())


def test_a_remote_folder_is_copied_once(bucket: Any):
    folder = Path(remote.local(URL))
    assert {name: (folder / name).read_bytes() for name in FILES} == FILES
    bucket.rm("/bucket/prepared/a.bin")
    # A URL that went through a Path, as from the command line.
    assert remote.local(Path(URL)) == folder
    write(bucket, {"a.bin": b"second"})
    assert Path(remote.local(URL)) != folder


def test_processes_of_a_machine_share_a_copy(bucket: Any, monkeypatch: pytest.MonkeyPatch):
    """Each stands for one: a lock is an open file's, whoever opened it."""
    copied, copy, both = [], remote._copy, threading.Barrier(2)
    listed = remote._listed

    def slowly(file: Any, path: Path, *rest: Any) -> None:
        copied.append(path.name)
        copy(file, path, *rest)

    def together(*arguments: Any) -> bytes:
        both.wait(10)  # neither looks for the copy before the other asks for it
        return listed(*arguments)

    monkeypatch.setattr(remote, "_copy", slowly)
    monkeypatch.setattr(remote, "_listed", together)
    with ThreadPoolExecutor(2) as pool:
        folders = set(pool.map(remote.local, [URL, URL]))
    assert len(folders) == 1 and sorted(copied) == sorted(FILES)


def test_addresses_without_a_host(bucket: Any, tmp_path: Path):
    """Three slashes, which are one after a `Path`."""
    folder = remote.local(URL)
    assert remote.local("memory:///bucket/prepared") == folder
    for url in (f"file://{folder}", Path(f"file://{folder}"), f"local://{folder}"):
        assert remote.local(url) == folder


def test_local_folders_stay_as_they_are():
    for path in ("CamVid", Path("data/camvid"), "C:/data", "C:\\data", "/data/camvid"):
        assert remote.local(path) is path


@pytest.mark.parametrize(
    ("sums", "message"),
    [
        ({"a.bin": 64 * "0"}, r"a\.bin: its SHA-256 is .*, and SHA256SUMS says 0000"),
        ({"../outside": 64 * "0"}, r"SHA256SUMS, line 3: .*\.\./outside.*; expected 64 hexa"),
        ({"c.bin": 64 * "0"}, r"memory://bucket/prepared cannot be read: .*c\.bin"),
    ],
)
def test_what_was_altered_leaves_nothing(
    bucket: Any, tmp_path: Path, sums: dict[str, str], message: str
):
    write(bucket, FILES, **sums)
    with pytest.raises(data.DataError, match=message):
        remote.local(URL)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_what_grew_or_is_too_large_is_not_copied(bucket: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(type(bucket), "size", lambda self, path: 2)
    with pytest.raises(data.DataError, match=r"a\.bin has more bytes than 2"):
        remote.local(URL)
    monkeypatch.setattr(type(bucket), "size", lambda self, path: 1 << 60)
    with pytest.raises(data.DataError, match="has room for .*FOCUSSEG_HOME"):
        remote.local(URL)
    monkeypatch.setattr(remote, "_MAX_SUMS", 10)
    with pytest.raises(data.DataError, match="SHA256SUMS has more than"):
        remote.local(URL)


def test_a_folder_without_checksums(bucket: Any):
    bucket.rm(f"/bucket/prepared/{remote.SUMS}")
    with pytest.raises(data.DataError, match="cannot be read.*must be the folder that holds SHA"):
        data.open_source("records", URL)
