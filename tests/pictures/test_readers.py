"""Reading one file: every kind of damage ends in a `DataError` that names file and value."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFile

from keras_focusseg import label_spaces
from keras_focusseg.data import DataError
from keras_focusseg.data.sources.pairs import read_pair
from keras_focusseg.errors import Place
from keras_focusseg.pictures import readers
from keras_focusseg.pictures.readers import (
    image_from_bytes,
    image_size,
    mask_from_bytes,
    read_color_mask,
    read_image,
    read_mask,
)
from tests.data.conftest import random_pair

SPACE = label_spaces.get("camvid11")


def png_bytes(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "PNG")
    return buffer.getvalue()


def gray_png(rows: list[bytes], width: int, depth: int, color_type: int = 0) -> bytes:
    """A grey PNG of any bit depth, written by hand, since Pillow writes 8 and 16 only."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    header = struct.pack(">IIBBBBB", width, len(rows), depth, color_type, 0, 0, 0)
    pixels = zlib.compress(b"".join(b"\0" + row for row in rows))
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    )  # fmt: skip


@pytest.fixture
def pair(tmp_path):
    image, mask = random_pair(3)
    Image.fromarray(image).save(tmp_path / "image.png")
    Image.fromarray(mask).save(tmp_path / "mask.png")
    return tmp_path / "image.png", tmp_path / "mask.png"


def test_pair(pair):
    image, mask = read_pair(*pair, SPACE)
    expected_image, raw = random_pair(3)
    np.testing.assert_array_equal(image, expected_image)
    np.testing.assert_array_equal(mask, SPACE.to_train_ids(raw))


@pytest.mark.parametrize("mode", ["L", "P", "1", "CMYK", "RGBA", "LA"])
def test_images_of_other_modes_become_rgb(tmp_path, mode):
    picture = Image.fromarray(random_pair(0)[0]).convert(mode)
    path = tmp_path / ("image.tif" if mode == "CMYK" else "image.png")
    picture.save(path)
    image = read_image(path)
    assert image.shape == (24, 32, 3) and image.dtype == np.uint8
    np.testing.assert_array_equal(image, np.asarray(picture.convert("RGB")))


def test_transparent_image_is_refused(tmp_path):
    picture = Image.fromarray(random_pair(0)[0]).convert("RGBA")
    picture.putpixel((3, 3), (1, 2, 3, 40))
    picture.save(tmp_path / "image.png")
    with pytest.raises(DataError, match=r"image\.png: .*transparent \(alpha down to 40\)"):
        read_image(tmp_path / "image.png")


@pytest.mark.parametrize(("dtype", "mode"), [("uint16", "I;16"), ("float32", "F")])
def test_image_of_more_than_8_bits_is_refused(tmp_path, dtype, mode):
    path = tmp_path / "image.tif"
    Image.fromarray(np.full((4, 4), 700, dtype)).save(path)
    with pytest.raises(DataError, match=rf"image\.tif: .*mode '{mode}'.*8-bit"):
        read_image(path)


def test_palette_index_is_the_id(tmp_path):
    _, mask = random_pair(1)
    picture = Image.fromarray(mask)
    picture.putpalette(label_spaces.get("camvid11").palette().tobytes())
    assert picture.mode == "P"
    picture.save(tmp_path / "mask.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "mask.png"), mask)


def test_two_valued_mask(tmp_path):
    ids = np.array([[0, 1], [1, 1]], bool)
    Image.fromarray(ids).save(tmp_path / "mask.png")
    mask = read_mask(tmp_path / "mask.png")
    assert label_spaces.from_names(["off", "on"]).to_train_ids(mask).tolist() == [[0, 1], [1, 1]]


@pytest.mark.parametrize(
    ("depth", "row", "expected"),
    [(4, b"\x01\xf3", [0, 1, 15, 3]), (2, b"\x1b", [0, 1, 2, 3]), (1, b"\x50", [0, 1, 0, 1])],
)
def test_ids_of_few_bits_are_not_stretched(tmp_path, depth, row, expected):
    (tmp_path / "mask.png").write_bytes(gray_png([row], width=4, depth=depth))
    assert read_mask(tmp_path / "mask.png").astype(int).tolist() == [expected]


def test_16_bit_ids_are_read_and_checked(tmp_path):
    raw = np.array([[3, 11], [26001, 0]], "uint16")
    Image.fromarray(raw).save(tmp_path / "mask.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "mask.png"), raw)
    Image.new("RGB", (2, 2)).save(tmp_path / "image.png")
    with pytest.raises(DataError, match=r"mask\.png: id 26001 \(1 of 4 pixels\)"):
        read_pair(tmp_path / "image.png", tmp_path / "mask.png", SPACE)


@pytest.mark.parametrize(("mode", "channels"), [("RGB", 3), ("RGBA", 4), ("LA", 2)])
def test_coloured_mask_says_what_arrived(tmp_path, mode, channels):
    Image.new(mode, (8, 8)).save(tmp_path / "mask.png")
    with pytest.raises(DataError, match=rf"mask\.png: .*mode '{mode}' with {channels} channels"):
        read_mask(tmp_path / "mask.png")


@pytest.mark.parametrize("read", [read_mask, read_color_mask])
@pytest.mark.parametrize(
    ("name", "options", "what"),
    [
        ("mask.jpg", {}, "a JPEG"),
        ("mask.png", {"format": "JPEG"}, "a JPEG"),
        ("mask.webp", {"quality": 90}, "a WEBP with lossy compression"),
        ("mask.webp", {"quality": 90, "exif": Image.Exif(), "xmp": b"x" * 90}, "a WEBP with lossy"),
        ("mask.tif", {"compression": "jpeg"}, "a TIFF with lossy compression"),
    ],
)
def test_lossy_masks_are_refused(tmp_path, read, name, options, what):
    mask = Image.fromarray(random_pair(0)[1])
    (mask if read is read_mask and "webp" not in name else mask.convert("RGB")).save(
        tmp_path / name, **options
    )
    with pytest.raises(DataError, match=rf"{name}: the mask is {what}"):
        read(tmp_path / name)


def test_lossless_webp_and_tiff_are_masks(tmp_path):
    colors = random_pair(0)[0]
    for name, options in (("a.webp", {"lossless": True}), ("a.tif", {"compression": "tiff_lzw"})):
        Image.fromarray(colors).save(tmp_path / name, **options)
        np.testing.assert_array_equal(read_color_mask(tmp_path / name), colors)


@pytest.mark.parametrize(
    ("mode", "name", "message"),
    [
        ("L", "mask.png", "mode 'L', one channel of numbers; expected the colours"),
        ("I;16", "mask.png", "mode 'I;16', one channel of numbers"),
        ("LA", "mask.png", r"mode 'LA' \(L\+A\); expected the colours of the classes as RGB"),
        ("CMYK", "mask.tif", r"mode 'CMYK' \(C\+M\+Y\+K\).*Save it as RGB PNG"),
    ],
)
def test_colour_mask_of_another_mode(tmp_path, mode, name, message):
    Image.new(mode, (8, 8)).save(tmp_path / name)
    with pytest.raises(DataError, match=message):
        read_color_mask(tmp_path / name)


def test_colour_mask_with_alpha(tmp_path):
    picture = Image.fromarray(random_pair(0)[0]).convert("RGBA")
    picture.save(tmp_path / "mask.png")
    np.testing.assert_array_equal(read_color_mask(tmp_path / "mask.png"), random_pair(0)[0])
    picture.putpixel((3, 3), (1, 2, 3, 0))
    picture.save(tmp_path / "mask.png")
    with pytest.raises(DataError, match=r"mask is partly transparent \(alpha down to 0\)"):
        read_color_mask(tmp_path / "mask.png")


@pytest.mark.parametrize(
    ("mode", "color", "fix"),
    [
        ("RGB", (3, 3, 3), "three channels are equal, so it holds ids already: save one"),
        (
            "RGB",
            (3, 3, 4),
            "Convert its colours to ids .* open them as 'folder'",
        ),
        ("LA", (3, 255), "Drop the alpha channel"),
        ("CMYK", (3, 3, 3, 3), "Convert its colours"),
        ("F", 3.0, "Round it to whole numbers"),
    ],
)
def test_what_to_do_about_several_channels(tmp_path, mode, color, fix):
    Image.new(mode, (8, 8), color).save(tmp_path / "mask.tif")
    with pytest.raises(DataError, match=rf"mask\.tif: .*mode '{mode}'.*{fix}"):
        read_mask(tmp_path / "mask.tif")


def deep_png(width: int = 2, height: int = 2) -> bytes:
    """An RGB PNG of 16 bits a channel, which Pillow reads but does not write."""
    return gray_png([b"\x12\x34" * 3 * width] * height, width, 16, color_type=2)


@pytest.mark.parametrize(("read", "role"), [(read_image, "image"), (read_color_mask, "mask")])
def test_16_bits_a_channel_are_refused(tmp_path, read, role):
    (tmp_path / "a.png").write_bytes(deep_png())
    with pytest.raises(DataError, match=rf"a\.png: the {role} has 16 bits a channel; expected 8"):
        read(tmp_path / "a.png")


@pytest.mark.parametrize("orientation", range(1, 9))
def test_image_size_is_that_of_the_upright_image(tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    for name in ("a.jpg", "a.png", "a.tif"):
        Image.fromarray(random_pair(0, 16, 32)[0]).save(tmp_path / name, exif=exif)
        assert image_size(tmp_path / name) == read_image(tmp_path / name).shape[:2]


def test_image_size_names_what_is_wrong(tmp_path, monkeypatch):
    for content, message in ((b"", "empty"), (b"no picture", "cannot be read")):
        (tmp_path / "a.png").write_bytes(content)
        with pytest.raises(DataError, match=rf"a\.png: .*{message}"):
            image_size(tmp_path / "a.png")
    (tmp_path / "a.png").write_bytes(png_bytes(random_pair(0)[1]))
    monkeypatch.setattr(readers, "MAX_PIXELS", 100)
    with pytest.raises(DataError, match="at most 100"):
        image_size(tmp_path / "a.png")


def test_bytes_are_read_as_files_are():
    image, mask = random_pair(0)
    np.testing.assert_array_equal(image_from_bytes(png_bytes(image), Place(Path("x"))), image)
    np.testing.assert_array_equal(mask_from_bytes(png_bytes(mask), Place(Path("x"))), mask)
    for read in (image_from_bytes, mask_from_bytes):
        with pytest.raises(DataError, match="x: inner: the .* cannot be read"):
            read(b"\x89PNG broken", Place(Path("x"), "inner"))


@pytest.mark.parametrize("read", [read_image, read_mask, image_size])
def test_file_that_may_not_be_read(pair, monkeypatch, read):
    def denied(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(readers.Image, "open", denied)
    with pytest.raises(DataError, match=r"mask\.png: the .* may not be read \(no permission\)"):
        read(pair[1])


def test_size_mismatch(tmp_path, pair):
    Image.new("L", (30, 24)).save(pair[1])
    with pytest.raises(DataError, match=r"mask\.png: the mask is 30 x 24 but .*image\.png is 32 x"):
        read_pair(*pair, SPACE)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_photographs_are_turned_upright(tmp_path, orientation):
    upright, _ = random_pair(0, 16, 32)
    stored = {
        1: upright, 2: upright[:, ::-1], 3: upright[::-1, ::-1], 4: upright[::-1],
        5: upright.swapaxes(0, 1), 6: np.rot90(upright), 7: np.rot90(upright, 2).swapaxes(0, 1),
        8: np.rot90(upright, -1),
    }[orientation]  # fmt: skip
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "image.png"
    Image.fromarray(np.ascontiguousarray(stored)).save(path, exif=exif)
    np.testing.assert_array_equal(read_image(path), upright)


def test_mask_for_the_unturned_photograph(tmp_path):
    image, mask = random_pair(0)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(image).save(tmp_path / "image.jpg", exif=exif)
    Image.fromarray(mask).save(tmp_path / "mask.png")
    with pytest.raises(DataError, match="turned upright by its EXIF orientation"):
        read_pair(tmp_path / "image.jpg", tmp_path / "mask.png", SPACE)


@pytest.mark.parametrize("read", [read_image, read_mask])
class TestDamage:
    def test_missing(self, tmp_path, read):
        with pytest.raises(DataError, match=r"none\.png: the .* does not exist"):
            read(tmp_path / "none.png")

    def test_folder(self, tmp_path, read):
        with pytest.raises(DataError, match="is not a file"):
            read(tmp_path)

    def test_empty(self, tmp_path, read):
        (tmp_path / "a.png").write_bytes(b"")
        with pytest.raises(DataError, match=r"a\.png: .*empty"):
            read(tmp_path / "a.png")

    @pytest.mark.parametrize("content", [b"not a picture", b"\x89PNG\r\n\x1a\n", b"%!PS-Adobe-3.0"])
    def test_not_a_picture(self, tmp_path, read, content):
        (tmp_path / "a.png").write_bytes(content)
        with pytest.raises(DataError, match=r"a\.png: the .* cannot be read"):
            read(tmp_path / "a.png")

    @pytest.mark.parametrize("share", [0.2, 0.5, 0.9])
    def test_truncated(self, tmp_path, read, share):
        content = png_bytes(np.random.default_rng(0).integers(0, 11, (64, 64), "uint8"))
        (tmp_path / "a.png").write_bytes(content[: int(share * len(content))])
        with pytest.raises(DataError, match=r"a\.png: the .* cannot be read.*truncated"):
            read(tmp_path / "a.png")

    def test_too_large(self, tmp_path, read, monkeypatch):
        monkeypatch.setattr(readers, "MAX_PIXELS", 100)
        Image.new("L", (11, 10)).save(tmp_path / "a.png")
        with pytest.raises(DataError, match=r"a\.png: .*11 x 10 = 110 pixels; at most 100"):
            read(tmp_path / "a.png")

    def test_a_bomb_is_not_unpacked(self, tmp_path, read):
        (tmp_path / "a.png").write_bytes(gray_png([b"\0"], width=2**15, depth=8).replace(
            struct.pack(">II", 2**15, 1), struct.pack(">II", 2**15, 2**15)
        ))  # fmt: skip
        with pytest.raises(DataError, match=r"a\.png"):
            read(tmp_path / "a.png")

    def test_several_frames(self, tmp_path, read):
        frames = [Image.fromarray(np.full((8, 8), value, "uint8")) for value in (0, 9)]
        frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
        with pytest.raises(DataError, match=r"a\.gif: .*2 frames"):
            read(tmp_path / "a.gif")


def test_fuzzed_files_never_raise_anything_else(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fuzz")
    image, mask = random_pair(0)
    jpeg = io.BytesIO()
    Image.fromarray(image).save(jpeg, "JPEG")
    originals = [png_bytes(image), png_bytes(mask), jpeg.getvalue()]

    @settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.sampled_from(originals), st.lists(st.tuples(st.integers(0), st.integers(0, 255))))
    def fuzz(content, changes):
        damaged = bytearray(content)
        for position, value in changes:
            damaged[position % len(damaged)] = value
        (folder / "a.png").write_bytes(damaged)
        for read in (read_image, read_mask, read_color_mask):
            try:
                assert read(folder / "a.png").ndim in (2, 3)
            except DataError as error:
                assert "a.png" in str(error)

    fuzz()
    assert not ImageFile.LOAD_TRUNCATED_IMAGES
