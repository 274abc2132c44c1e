"""Whatever bytes and names lie on disk, a source gives a valid sample or a `DataError`."""

from __future__ import annotations

import io
import os
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from keras_focusseg import data, label_spaces
from keras_focusseg.data.sources.base import check_sample
from keras_focusseg.pictures import readers
from tests.data.conftest import random_pair

SETTINGS = settings(
    max_examples=60,
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "WEBP", "GIF", "PPM")
MODES = ("1", "L", "P", "RGB", "RGBA", "LA", "CMYK", "YCbCr", "I;16", "I", "F")


def encoded(mode: str, file_format: str, seed: int) -> bytes | None:
    """A small picture of that mode in that format, or None where the format has no such mode."""
    rng = np.random.default_rng(seed)
    picture = Image.fromarray(rng.integers(0, 256, (9, 13, 3), "uint8"))
    picture = picture.convert("L").convert(mode) if mode == "I;16" else picture.convert(mode)
    stream = io.BytesIO()
    try:
        picture.save(stream, file_format)
    except (OSError, ValueError):
        return None
    return stream.getvalue()


pictures = st.builds(
    encoded, st.sampled_from(MODES), st.sampled_from(FORMATS), st.integers(0, 99)
).filter(lambda content: content is not None)


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A picture cut off, with bytes changed, put in or taken out; or no picture at all."""
    if draw(st.integers(0, 9)) == 0:
        return draw(st.binary(max_size=200))
    content = bytearray(draw(pictures))
    for _ in range(draw(st.integers(0, 6))):
        at = draw(st.integers(0, len(content)))
        kind = draw(st.sampled_from(("change", "insert", "delete", "cut")))
        if kind == "change" and at < len(content):
            content[at] = draw(st.integers(0, 255))
        elif kind == "insert":
            content[at:at] = draw(st.binary(max_size=8))
        elif kind == "delete":
            del content[at : at + draw(st.integers(1, 8))]
        else:
            del content[at:]
    return bytes(content)


def outcome(read, *arguments):
    """What a reader returns, or None if it raised its one error; any other error goes through."""
    try:
        return read(*arguments)
    except data.DataError as error:
        assert "x.png" in str(error) or "y.png" in str(error), "the message names no file"
        return None


@SETTINGS
@given(content=damaged())
def test_readers_of_damaged_files(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "x.png"
    file.write_bytes(content)
    image = outcome(readers.read_image, file)
    if image is not None:
        assert image.dtype == np.uint8 and image.ndim == 3 and image.shape[-1] == 3
    mask = outcome(readers.read_mask, file)
    if mask is not None:
        assert mask.dtype.kind in "uib" and mask.ndim == 2
    colors = outcome(readers.read_color_mask, file)
    if colors is not None:
        assert colors.dtype == np.uint8 and colors.ndim == 3 and colors.shape[-1] == 3


@SETTINGS
@given(image=damaged(), mask=damaged())
def test_folder_of_damaged_files(image: bytes, mask: bytes, tmp_path: Path) -> None:
    for name, content in (("images", image), ("masks", mask)):
        (tmp_path / name).mkdir(exist_ok=True)
        (tmp_path / name / "x.png").write_bytes(content)
    space = label_spaces.get("camvid11")
    folders = (tmp_path / "images", tmp_path / "masks")
    try:
        source = data.Folder(*folders, space)
    except data.DataError:  # coloured masks are seen at once, and none has CamVid's colours
        return
    sample = outcome(source.load, 0)
    if sample is not None:
        check_sample(sample, source)
    labels = outcome(source.load_mask, 0)
    assert sample is None or (labels == sample.mask).all()


def png(width: int, height: int, rows: bytes) -> bytes:
    """An 8-bit grey PNG whose header may promise other sizes than its rows have."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        check = zlib.crc32(kind + content)
        return len(content).to_bytes(4) + kind + content + check.to_bytes(4)

    header = width.to_bytes(4) + height.to_bytes(4) + bytes([8, 0, 0, 0, 0])
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def test_header_that_promises_a_bomb_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    file = tmp_path / "x.png"
    file.write_bytes(png(60_000, 60_000, b"\0" * 100))
    for read in (readers.read_image, readers.read_mask):
        with pytest.raises(data.DataError, match="3600000000 pixels.*Scale it down"):
            read(file)


@SETTINGS
@given(
    lines=st.lists(
        st.one_of(
            st.sampled_from(
                [
                    "/SegNet/CamVid/val/0016E5_07959.png /SegNet/CamVid/valannot/0016E5_07959.png",
                    "../../etc/passwd ../../etc/passwd",
                    "C:\\x\\0016E5_07961.png valannot\\0016E5_07961.png",
                ]
            ),
            st.text(max_size=30),
        ),
        max_size=4,
    )
)
def test_lists_of_any_text(camvid: Path, lines: list[str]) -> None:
    (camvid / "val.txt").write_bytes("\n".join(lines).encode("utf-8", "surrogatepass"))
    try:
        source = data.CamVid(camvid, "val")
    except data.DataError:
        return
    for index in range(len(source)):
        assert all(file.resolve().is_relative_to(camvid) for file in source.files(index))


@pytest.mark.skipif(os.name != "posix", reason="file names are bytes on POSIX only")
def test_names_that_are_not_utf8(tmp_path: Path) -> None:
    image, mask = random_pair(0)
    for folder, array in (("images", image), ("masks", mask)):
        (tmp_path / folder).mkdir()
        raw = os.fsencode(tmp_path / folder) + b"/stra\xdfe.png"
        try:
            with open(raw, "wb") as file:
                Image.fromarray(array).save(file, "PNG")
        except OSError:
            pytest.skip("this file system takes UTF-8 names only")
    source = data.Folder(tmp_path / "images", tmp_path / "masks", label_spaces.get("camvid11"))
    np.testing.assert_array_equal(source.load(0).image, image)
    (tmp_path / "masks" / os.fsdecode(b"stra\xdfe.png")).write_bytes(b"")
    with pytest.raises(data.DataError, match="empty") as caught:
        source.load(0)
    str(caught.value).encode("utf-8")  # can be printed and logged
