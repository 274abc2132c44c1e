"""Files and folders appear whole or not at all, and JSON holds nothing that JSON has not."""

from __future__ import annotations

import errno
import json
import math
import os
import stat
import tempfile
from pathlib import Path
from typing import IO

import numpy as np
import pytest
from safetensors.numpy import save_file

from keras_focusseg import files


def everything(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def test_a_file_is_there_at_the_end(tmp_path: Path) -> None:
    target = tmp_path / "scores.csv"
    with files.written(target) as temporary:
        assert temporary.parent == tmp_path and temporary.suffix == ".csv"
        temporary.write_text("new")
        assert not target.exists()
    assert target.read_text() == "new" and everything(tmp_path) == ["scores.csv"]


def test_an_error_leaves_what_was_there(tmp_path: Path) -> None:
    target = tmp_path / "scores.csv"
    target.write_text("old")
    with pytest.raises(KeyboardInterrupt), files.written(target) as temporary:
        temporary.write_text("half")
        raise KeyboardInterrupt
    assert target.read_text() == "old" and everything(tmp_path) == ["scores.csv"]


def test_a_full_disk_names_the_file(tmp_path: Path) -> None:
    with pytest.raises(OSError) as caught, files.written(tmp_path / "a.json"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert caught.value.filename == str(tmp_path / "a.json") and not everything(tmp_path)


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
def test_the_mode_is_the_umask_s_whoever_wrote(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        with files.written(tmp_path / "w.safetensors") as temporary:
            save_file({"a": np.zeros(2)}, temporary)  # by itself: 0o600
        with files.written_folder(tmp_path / "folder") as folder:
            (folder / "a.txt").write_text("")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "w.safetensors").stat().st_mode) == 0o666 & ~umask
    assert stat.S_IMODE((tmp_path / "folder").stat().st_mode) == 0o777 & ~umask


def test_long_names_links_and_devices(tmp_path: Path) -> None:
    long = tmp_path / ("n" * 250 + ".txt")
    files.write_text(long, "a")
    assert long.read_text() == "a"
    (tmp_path / "link").symlink_to(tmp_path / "real")
    files.write_text(tmp_path / "link", "b")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "real").read_text() == "b"
    files.write_text("/dev/null", "c")
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)


def test_a_folder_replaces_the_old_one_as_a_whole(tmp_path: Path) -> None:
    target = tmp_path / "best"
    for name in ("one", "two"):
        with files.written_folder(target) as temporary:
            (temporary / "deeper").mkdir()
            (temporary / "deeper" / name).write_text(name)
            assert name == "one" or (target / "deeper" / "one").is_file()
    assert everything(tmp_path) == ["best", "best/deeper", "best/deeper/two"]


def test_a_folder_is_replaced_in_one_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that is killed finds the old folder or the new one in its place, never none."""
    target = tmp_path / "best"
    (target / "old").mkdir(parents=True)
    if not files._exchanged(target, target):
        pytest.skip("this system cannot exchange two folders in one step")

    def never(*_: object) -> None:
        raise AssertionError("a step in which the place is empty")

    monkeypatch.setattr(os, "replace", never)
    with files.written_folder(target) as temporary:
        (temporary / "new").write_text("")
    assert everything(tmp_path) == ["best", "best/new"]


def test_a_folder_that_fails_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "best"
    target.mkdir()
    (target / "old").write_text("")
    with pytest.raises(ValueError), files.written_folder(target) as temporary:
        (temporary / "new").write_text("")
        raise ValueError
    assert everything(tmp_path) == ["best", "best/old"]

    monkeypatch.setattr(files, "_exchanged", lambda one, other: False)
    replace, calls = os.replace, []

    def second_fails(source: Path, place: Path) -> None:
        calls.append(place)
        if len(calls) == 2:
            raise OSError("no space left")
        replace(source, place)

    monkeypatch.setattr(os, "replace", second_fails)
    with pytest.raises(OSError), files.written_folder(target) as temporary:
        (temporary / "new").write_text("")
    assert everything(tmp_path) == ["best", "best/old"]


def test_json_has_null_for_what_is_no_number(tmp_path: Path) -> None:
    value = {
        "nan": math.nan,
        "deep": [math.inf, {"low": (-math.inf, 1.5)}],
        "numpy": np.float64("nan"),
        "text": "Ärmel",
        "name of a file": os.fsdecode(b"a\x80.png"),
        "flag": True,
    }
    files.write_json(tmp_path / "a.json", value)
    text = (tmp_path / "a.json").read_text(encoding="utf-8")

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    read = json.loads(text, parse_constant=refuse)
    assert read["nan"] is None and read["numpy"] is None and read["flag"] is True
    assert read["deep"] == [None, {"low": [None, 1.5]}]
    assert "Ärmel" in text and read["name of a file"] == value["name of a file"]


def test_json_of_paths_and_arrays(tmp_path: Path) -> None:
    value = {"path": tmp_path, "list": [Path("a")], "array": np.ones((1, 2)), "one": np.float32(2)}
    files.write_json(tmp_path / "a.json", value)
    expected = {"path": str(tmp_path), "list": ["a"], "array": [[1, 1]], "one": 2}
    assert files.read_json(tmp_path / "a.json") == expected


def test_json_that_is_none_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    files.write_json(path, {"a": [1]})
    assert files.read_json(path) == {"a": [1]}
    for content in (b"{", b"\xff", b"[" * 100_000, b"1" * 5000):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"a\.json is not"):
            files.read_json(path)
    with pytest.raises(ValueError, match=r"b\.json cannot be read: No such file"):
        files.read_json(tmp_path / "b.json")


def test_places_that_cannot_be_written_are_told_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    for good in ("file", "new", "new/deeper/still"):
        files.check_file(tmp_path / good)
    files.check_file("/dev/null")
    for good in ("folder", "new", "new/deeper"):
        files.check_folder(tmp_path / good)
    for wrong, message in (
        ("folder", "folder is a folder; name a file"),
        ("file/a.json", "file is a file"),
        ("file/deeper/a.json", "file is a file|Not a directory"),
        ("n" * 256, "File name too long"),
        ("new/" + "n" * 256 + "/a", "File name too long"),
    ):
        with pytest.raises(ValueError, match=message):
            files.check_file(tmp_path / wrong)
    for wrong, message in (
        ("file", "file is a file; name a folder"),
        ("file/deeper", "file is a file|Not a directory"),
        ("n" * 256, "File name too long"),
    ):
        with pytest.raises(ValueError, match=message):
            files.check_folder(tmp_path / wrong)
    assert everything(tmp_path) == ["file", "folder"]

    def read_only(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tempfile.TemporaryFile", read_only)
    with pytest.raises(ValueError, match="new cannot be written: Permission denied"):
        files.check_file(tmp_path / "new")


def test_a_folder_of_many_files_is_tried_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "folder").mkdir()
    tried: list[Path] = []
    temporary_file = tempfile.TemporaryFile

    def counted(dir: Path, prefix: str) -> IO[bytes]:
        tried.append(dir)
        return temporary_file(dir=dir, prefix=prefix)

    monkeypatch.setattr("tempfile.TemporaryFile", counted)
    many = [tmp_path / folder / f"{i}.png" for folder in ("folder", "new/deeper") for i in range(9)]
    files.check_files(many)
    assert tried == [tmp_path / "folder", tmp_path]
    for wrong, message in (
        ("folder", "folder is a folder; name a file"),
        ("n" * 256, "File name too long"),
    ):
        with pytest.raises(ValueError, match=message):
            files.check_files([tmp_path / "first", tmp_path / wrong])
