"""Read one image or one mask from disk, or say exactly what is wrong with it."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from keras_focusseg.errors import DataError, Place

MAX_PIXELS = 89_000_000
"""Larger pictures are refused: just under the size at which Pillow itself warns of a bomb."""

# A closed list: Pillow also opens formats that start other programs (EPS) or hold no pixels.
FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "WEBP", "PPM", "GIF")
SUFFIXES = (
    ".png",
    ".jpg",
    ".jpeg",
    ".bmp",
    ".tif",
    ".tiff",
    ".webp",
    ".ppm",
    ".pgm",
    ".gif",
)
"""Suffixes, in lower case, of files that are listed as pictures."""

_COLOR_MODES = ("RGB", "L", "P", "1", "RGBA", "LA", "PA", "CMYK", "YCbCr")
_ID_MODES = ("L", "P", "1", "I", "I;16", "I;16B", "I;16L")
_MASK_COLOR_MODES = ("RGB", "RGBA", "P", "PA")
_LOSSY = ("JPEG", "MPO")
_EXIF_ORIENTATION = 0x0112
_TIFF_WIDTH, _TIFF_HEIGHT, _TIFF_BITS = 256, 257, 258


def read_image(path: str | Path) -> np.ndarray:
    """Reads a picture as RGB.

    A photograph that carries an EXIF orientation is turned upright. Grey and palette pictures
    become RGB; an alpha channel is dropped if it is opaque throughout.

    Args:
        path: PNG, JPEG, BMP, TIFF, WebP, PPM or GIF file.

    Returns:
        (H, W, 3) uint8.

    Raises:
        DataError: If the file is missing, broken, truncated, too large, partly transparent or
            has more than 8 bits a channel.
    """
    place = Place(Path(path))
    return _image_of(place, _open(place, "image"))


def image_from_bytes(content: bytes, place: Place) -> np.ndarray:
    """Decode a picture as RGB that lies inside another file, at `place`; see `read_image`."""
    return _image_of(place, _decode(io.BytesIO(content), place, "image"))


def mask_from_bytes(content: bytes, place: Place) -> np.ndarray:
    """Decode a mask (H, W) that lies inside another file, at `place`; see `read_mask`."""
    return _ids_of(place, _decode(io.BytesIO(content), place, "mask"))


def image_size(path: str | Path) -> tuple[int, int]:
    """Height and width that `read_image` would give, from the head of the file."""
    place = Place(Path(path))
    _refuse_missing(place, "image")
    try:
        with Image.open(place.file, formats=FORMATS) as picture:
            _refuse_large(picture, place, "image")
            turned = orientation(picture) >= 5
            width, height = picture.size
            if picture.format == "TIFF":  # newer Pillow gives the upright size of these alone
                width, height = picture.tag_v2[_TIFF_WIDTH], picture.tag_v2[_TIFF_HEIGHT]  # type: ignore[attr-defined]
            return (width, height) if turned else (height, width)
    except DataError:
        raise
    except Exception as error:
        raise _broken(place, "image", error) from error


def orientation(picture: Image.Image) -> int:
    """EXIF's orientation of a picture, 1..8: 1 is upright, 5 and more lie on their side."""
    found = picture.getexif().get(_EXIF_ORIENTATION, 1)
    return found if found in range(2, 9) else 1


def lies_on_its_side(path: str | Path) -> bool:
    """Whether EXIF says that a picture has to be turned by a quarter; never raises."""
    try:
        with Image.open(path, formats=FORMATS) as picture:
            return orientation(picture) >= 5
    except Exception:  # decoders of broken files raise almost anything
        return False


def read_mask(path: str | Path) -> np.ndarray:
    """Reads the ids that a mask file holds, as they stand on disk.

    Args:
        path: Single-channel file; in a palette file the palette index is the id.

    Returns:
        (H, W) integers, not yet train ids (see `LabelSpace.to_train_ids`).

    Raises:
        DataError: If the file is missing, broken, truncated or too large, if it is coloured, or
            if it is a JPEG, whose compression alters ids.
    """
    place = Place(Path(path))
    return _ids_of(place, _open(place, "mask"))


def read_color_mask(path: str | Path) -> np.ndarray:
    """Reads a mask whose colours are the classes.

    Args:
        path: Colour file, with or without a palette.

    Returns:
        (H, W, 3) uint8, RGB, not yet train ids (see `Grouping.to_train_ids`).

    Raises:
        DataError: If the file cannot be read (see `read_image`), if it has one channel and
            therefore no colours, or if it is a JPEG, whose compression alters colours.
    """
    place = Place(Path(path))
    picture = _open(place, "mask")
    _refuse_lossy(place, picture)
    if picture.mode in _ID_MODES and picture.mode != "P":
        raise place.error(
            f"the mask has mode {picture.mode!r}, one channel of numbers",
            "ids where colours are expected",
            expected="the colours of the classes",
            fix="Restore the label image of the dataset.",
        )
    if picture.mode not in _MASK_COLOR_MODES:
        raise place.error(
            f"the mask has mode {picture.mode!r} ({'+'.join(picture.getbands())})",
            "ids where colours are expected",
            expected="the colours of the classes as RGB or a palette",
            fix="Save it as RGB PNG from the original labels.",
        )
    _refuse_deep(place, picture, "mask")
    return _to_rgb(place, picture, "mask")


def palette_colors(picture: Image.Image) -> np.ndarray:
    """The colours of a palette picture: (N, 3) uint8, one row an index, N at most 256."""
    if picture.palette is None:
        return np.zeros((0, 3), "uint8")
    return np.array(picture.getpalette("RGB"), "uint8").reshape(-1, 3)


def open_mask(path: str | Path) -> Image.Image:
    """The decoded picture of a mask, upright, for those who have to look at its mode."""
    place = Place(Path(path))
    picture = _open(place, "mask")
    _refuse_lossy(place, picture)
    _refuse_deep(place, picture, "mask")
    return picture


def mask_kind(mask: Path) -> str:
    """How a mask stands on disk, by the head of its file: "ids", "palette" or "colors".

    "" for what is no picture: reading says what is wrong with it.
    """
    try:
        with Image.open(mask, formats=FORMATS) as picture:
            mode = picture.mode
    except Exception:  # decoders of broken files raise almost anything
        return ""
    return {"P": "palette", "L": "ids", "1": "ids"}.get(mode, "ids" if mode[0] == "I" else "colors")


def _open(place: Place, role: str) -> Image.Image:
    """The decoded picture, turned upright."""
    _refuse_missing(place, role)
    return _decode(place.file, place, role)


def _decode(source: Path | io.BytesIO, place: Place, role: str) -> Image.Image:
    try:
        with Image.open(source, formats=FORMATS) as picture:
            _refuse_large(picture, place, role)
            frames = getattr(picture, "n_frames", 1)
            if frames > 1 and picture.format not in _LOSSY:  # a phone's JPEG holds a preview
                raise place.error(
                    f"the {role} file holds {frames} frames",
                    "file of several frames",
                    expected="one",
                    fix="Save each frame as a file of its own.",
                )
            file_format, depth = picture.format, _bit_depth(source, picture)
            lossy = _is_lossy(source, picture)
            picture.load()
            ImageOps.exif_transpose(picture, in_place=True)
            picture.format = file_format  # a turned picture has lost it
            picture.info = {**picture.info, "focusseg": (depth, lossy)}
            return picture
    except DataError:
        raise
    # Decoders of broken files raise almost anything: OSError, SyntaxError, struct.error,
    # ValueError, zlib.error, EOFError, OverflowError. Each means the same to the user.
    except Exception as error:
        raise _broken(place, role, error) from error


def _refuse_missing(place: Place, role: str) -> None:
    path = place.file
    try:
        size = path.stat().st_size if path.is_file() else None
        there = path.exists()
    except OSError as error:  # a folder that may not be entered
        raise _broken(place, role, error) from error
    if size is None:
        what = "is not a file" if there else "does not exist"
        raise place.error(f"the {role} {what}", "file that is not there")
    if size == 0:
        raise place.error(
            f"the {role} file is empty (0 bytes)", "empty file", fix="Restore it from its source."
        )


def _refuse_large(picture: Image.Image, place: Place, role: str) -> None:
    width, height = picture.size
    if width * height > MAX_PIXELS:
        raise _too_large(place, role, f"has {width} x {height} = {width * height:,} pixels")


def _too_large(place: Place, role: str, what: str) -> DataError:
    return place.error(
        f"the {role} {what}; at most {MAX_PIXELS:,} are read",
        "picture that is too large",
        fix="Scale it down or cut it into tiles.",
    )


def _broken(place: Place, role: str, error: Exception) -> DataError:
    if isinstance(error, PermissionError):
        return place.error(
            f"the {role} may not be read (no permission)",
            "file without permission",
            fix="Give yourself the right to read the file and to enter its folders.",
        )
    if isinstance(error, Image.DecompressionBombError):
        return _too_large(place, role, f"is too large ({error})")
    return place.error(
        f"the {role} cannot be read, it is broken, truncated or not one of {', '.join(FORMATS)} "
        f"({type(error).__name__}: {error})",
        f"broken {role}",
        fix="Restore it from its source.",
    )


def _image_of(place: Place, picture: Image.Image) -> np.ndarray:
    if picture.mode not in _COLOR_MODES:
        raise place.error(
            f"the image has mode {picture.mode!r}",
            "image of a mode that is not read",
            expected="8 bits a channel in RGB or grey",
            fix="Convert it to an 8-bit RGB file.",
        )
    _refuse_deep(place, picture, "image")
    return _to_rgb(place, picture, "image")


def _ids_of(place: Place, picture: Image.Image) -> np.ndarray:
    _refuse_lossy(place, picture)
    if picture.mode not in _ID_MODES:
        raise place.error(
            f"the mask has mode {picture.mode!r} with {len(picture.getbands())} channels "
            f"({'+'.join(picture.getbands())})",
            "coloured mask where ids are expected",
            expected="one channel of class ids or a palette",
            fix=_to_one_channel(picture),
        )
    ids = np.asarray(picture)
    depth, _ = picture.info["focusseg"]
    if picture.mode == "L" and depth in (2, 4):
        return ids // (255 // (2**depth - 1))  # Pillow has stretched them to 0..255
    return ids


def _to_one_channel(picture: Image.Image) -> str:
    """What to do about a mask of several channels."""
    bands = [np.asarray(band) for band in picture.split()[:3]]
    if picture.mode in ("RGB", "RGBA") and all((band == bands[0]).all() for band in bands):
        return "Its three channels are equal, so it holds ids already: save one of them."
    if picture.mode == "LA":
        return "Drop the alpha channel and save one."
    if picture.mode == "F":
        return "Round it to whole numbers and save 8 bits."
    return (
        "Convert its colours to ids (0, 1, 2, ...) and save one channel; where all masks are "
        "coloured, open them as 'folder', which reads colours."
    )


def _to_rgb(place: Place, picture: Image.Image, role: str) -> np.ndarray:
    """The colours (H, W, 3) uint8, if nothing shines through."""
    if picture.has_transparency_data:
        lowest = int(np.asarray(picture.convert("RGBA"))[..., 3].min())
        if lowest < 255:
            raise place.error(
                f"the {role} is partly transparent (alpha down to {lowest}), so its colours are "
                "not defined",
                f"transparent {role}",
                fix="Flatten it onto a background and save it as RGB.",
            )
    return np.asarray(picture if picture.mode == "RGB" else picture.convert("RGB"))


def _refuse_lossy(place: Place, picture: Image.Image) -> None:
    _, lossy = picture.info["focusseg"]
    if lossy:
        what = "JPEG" if picture.format in _LOSSY else f"{picture.format} with lossy compression"
        raise place.error(
            f"the mask is a {what}, whose compression alters the ids at every edge",
            "mask with lossy compression",
            fix="Save the mask as PNG from the original labels.",
        )


def _refuse_deep(place: Place, picture: Image.Image, role: str) -> None:
    """Pillow keeps the upper 8 bits of 16-bit colours and says nothing."""
    depth, _ = picture.info["focusseg"]
    if depth is not None and depth > 8 and picture.mode not in _ID_MODES:
        raise place.error(
            f"the {role} has {depth} bits a channel",
            "image of a mode that is not read"
            if role == "image"
            else "coloured mask of more than 8 bits",
            expected="8",
            fix="Save it with 8 bits.",
        )


def _bit_depth(source: Path | io.BytesIO, picture: Image.Image) -> int | None:
    """Bits a channel of a PNG or TIFF, from its header; None for other formats."""
    if picture.format == "PNG":
        return _head(source, 25)[24]
    if picture.format == "TIFF":
        bits = picture.tag_v2.get(_TIFF_BITS, 1)  # type: ignore[attr-defined]
        return int(max(bits) if isinstance(bits, tuple) else bits)
    return None


def _is_lossy(source: Path | io.BytesIO, picture: Image.Image) -> bool:
    if picture.format == "WEBP":
        return _is_lossy_webp(_head(source, 1 << 16))
    return picture.format in _LOSSY or picture.info.get("compression") == "jpeg"


def _is_lossy_webp(head: bytes) -> bool:
    """Whether the pixels of a WebP lie in a `VP8 ` chunk; `VP8L` is the one that keeps them."""
    place = 12
    while place + 8 <= len(head):
        kind, length = (
            head[place : place + 4],
            int.from_bytes(head[place + 4 : place + 8], "little"),
        )
        if kind in (b"VP8 ", b"VP8L"):
            return kind == b"VP8 "
        place += 8 + length + length % 2
    return True


def _head(source: Path | io.BytesIO, count: int) -> bytes:
    if isinstance(source, io.BytesIO):
        return source.getvalue()[:count]
    with open(source, "rb") as file:
        return file.read(count)
