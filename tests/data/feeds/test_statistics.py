"""Class counts: right, without reading images, and kept only as long as nothing has changed."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from keras_focusseg import data, label_spaces
from keras_focusseg.data.feeds.statistics import class_counts
from keras_focusseg.remote import cache_folder


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[int]:
    """Which masks CamVid sources read; the counts are kept in a folder of this test's own."""
    monkeypatch.setenv("FOCUSSEG_HOME", str(tmp_path / "home"))
    seen: list[int] = []
    load_mask = data.CamVid.load_mask

    def counted(source: data.CamVid, index: int) -> np.ndarray:
        seen.append(index)
        return load_mask(source, index)

    monkeypatch.setattr(data.CamVid, "load_mask", counted)
    return seen


def kept(folder: Path | None = None) -> list[Path]:
    return sorted(((folder or cache_folder()) / "class_counts").glob("*"))


def test_counts_are_those_of_the_masks(camvid: Path, reads: list[int]) -> None:
    source = data.CamVid(camvid, "train")
    for path in (camvid / "train").glob("*.png"):
        path.write_bytes(b"no picture: nobody may look")
    steps: list[tuple[int, int]] = []
    counts = class_counts(source, lambda *step: steps.append(step), workers=2)
    assert counts.shape == (5, 12) and counts.dtype == np.int64
    assert steps == [(done, 5) for done in range(1, 6)]
    for index, row in enumerate(counts):
        on_disk = np.asarray(Image.open(source.files(index)[1]))
        np.testing.assert_array_equal(row, np.bincount(on_disk.ravel(), minlength=12))


def test_the_same_files_are_counted_once(camvid: Path, reads: list[int], tmp_path: Path) -> None:
    first = class_counts(data.CamVid(camvid, "train"))
    assert len(reads) == 5 and len(kept()) == 1
    shutil.copytree(camvid, tmp_path / "elsewhere")
    steps: list[tuple[int, int]] = []
    again = class_counts(data.CamVid(tmp_path / "elsewhere"), lambda *step: steps.append(step))
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(first, class_counts(data.Cached(data.CamVid(camvid))))
    assert steps == [(5, 5)]
    assert data.class_weights(data.CamVid(camvid)) == data.class_weights(
        data.CamVid(camvid), cache=tmp_path / "other"
    )
    assert len(kept(tmp_path / "other")) == 1
    # Another five reads each: the wrapped source, which reads whole samples, and the other folder.
    assert len(reads) == 10


def change_a_pixel(root: Path) -> None:
    path = root / "trainannot" / "0006R0_f00930.png"
    mask = np.array(Image.open(path))
    mask[3, 4] = 5 if mask[3, 4] != 5 else 6
    Image.fromarray(mask).save(path)


def swap_two(root: Path) -> None:
    names = [root / "trainannot" / f"0016E5_{number}.png" for number in ("00390", "00420")]
    contents = [name.read_bytes() for name in names]
    names[0].write_bytes(contents[1])
    names[1].write_bytes(contents[0])


def reorder(root: Path) -> None:
    lines = (root / "train.txt").read_text().splitlines()
    (root / "train.txt").write_text("\n".join(lines[::-1]) + "\n")


@pytest.mark.parametrize("change", [change_a_pixel, swap_two, reorder])
def test_any_change_of_the_labels_counts_anew(
    change: Callable[[Path], None], camvid: Path, reads: list[int]
) -> None:
    before = class_counts(data.CamVid(camvid))
    change(camvid)
    after = class_counts(data.CamVid(camvid))
    assert (before != after).any() and len(kept()) == 2
    np.testing.assert_array_equal(after, class_counts(data.CamVid(camvid), cache=False))


def test_another_encoding_counts_anew(camvid: Path, reads: list[int]) -> None:
    source = data.CamVid(camvid)
    before = class_counts(source)
    names = [f"class {number}" for number in range(11)]
    swapped = [1, 0, *range(2, 11)]
    source.encoding = label_spaces.from_names(names, ids=swapped, ignored_ids=[11])
    np.testing.assert_array_equal(class_counts(source), before[:, [*swapped, 11]])


@pytest.mark.parametrize("broken", [b"", b"no zip", "cut", "other"])
def test_broken_counts_are_ignored_and_written_anew(
    broken: bytes | str, camvid: Path, reads: list[int]
) -> None:
    right = class_counts(data.CamVid(camvid))
    (path,) = kept()
    whole = path.read_bytes()
    if broken == "cut":
        path.write_bytes(whole[: len(whole) // 2])
    elif broken == "other":
        np.savez_compressed(path, counts=np.array([{"an": "object"}], object))
    else:
        path.write_bytes(broken)  # type: ignore[arg-type]
    np.testing.assert_array_equal(class_counts(data.CamVid(camvid)), right)
    assert kept() == [path]
    with np.load(path) as file:
        np.testing.assert_array_equal(file["counts"], right)


def test_what_has_no_files_or_no_place_is_not_kept(
    camvid: Path, reads: list[int], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    class_counts(data.SyntheticStreets(1, size=(64, 64)))
    assert not kept()
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("FOCUSSEG_HOME", str(tmp_path / "file"))
    assert class_counts(data.CamVid(camvid)).sum() == 5 * 24 * 32


def test_a_wrong_mask_is_an_error_and_nothing_is_kept(camvid: Path, reads: list[int]) -> None:
    path = camvid / "trainannot" / "0001TP_000060.png"
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(data.DataError, match="0001TP_000060.png: the mask cannot be read"):
        class_counts(data.CamVid(camvid))
    source = data.CamVid(camvid)
    path.unlink()
    with pytest.raises(data.DataError, match="0001TP_000060.png: the mask does not exist"):
        class_counts(source)
    assert not kept()
