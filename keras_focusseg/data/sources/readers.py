"""Read one image or one mask from disk, or say exactly what is wrong with it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from keras_focusseg.data.errors import DataError
from keras_focusseg.label_spaces import Grouping, LabelSpace

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
"""File names that the sources take for pictures, lower case."""

_COLOR_MODES = ("RGB", "L", "P", "1", "RGBA", "LA", "PA", "CMYK", "YCbCr")
_ID_MODES = ("L", "P", "1", "I", "I;16", "I;16B", "I;16L")
_LOSSY = ("JPEG", "MPO")


def read_image(path: str | Path) -> np.ndarray:
    """Read a picture as RGB.

    A photograph that carries an EXIF orientation is turned upright. Grey and palette pictures
    become RGB; an alpha channel is dropped if it is opaque throughout.

    Args:
        path: PNG, JPEG, BMP, TIFF, WebP, PPM or GIF file.

    Returns:
        (H, W, 3) uint8.

    Raises:
        DataError: if the file is missing, broken, truncated, too large, partly transparent or
            has more than 8 bits a channel.
    """
    picture = _open(Path(path), "image")
    if picture.mode not in _COLOR_MODES:
        raise DataError(
            f"{path}: the image has mode {picture.mode!r}; expected 8 bits a channel in RGB or "
            "grey. Convert it to an 8-bit RGB file."
        )
    return _to_rgb(path, picture, "image")


def read_mask(path: str | Path) -> np.ndarray:
    """Read the ids that a mask file holds, as they stand on disk.

    Args:
        path: single-channel file; in a palette file the palette index is the id.

    Returns:
        (H, W) integers, not yet train ids (see `LabelSpace.to_train_ids`).

    Raises:
        DataError: if the file is missing, broken, truncated or too large, if it is coloured, or
            if it is a JPEG, whose compression alters ids.
    """
    picture = _open(Path(path), "mask")
    _refuse_jpeg(path, picture)
    if picture.mode not in _ID_MODES:
        raise DataError(
            f"{path}: the mask has mode {picture.mode!r} with {len(picture.getbands())} channels "
            f"({'+'.join(picture.getbands())}); expected one channel of class ids or a palette. "
            "Convert its colours to ids (0, 1, 2, ...) and save one channel."
        )
    ids = np.asarray(picture)
    depth = _bit_depth(path, picture)
    if picture.mode == "L" and depth in (2, 4):
        return ids // (255 // (2**depth - 1))  # Pillow has stretched them to 0..255
    return ids


def read_color_mask(path: str | Path) -> np.ndarray:
    """Read a mask whose colours are the classes.

    Args:
        path: colour file, with or without a palette.

    Returns:
        (H, W, 3) uint8, RGB, not yet train ids (see `Grouping.to_train_ids`).

    Raises:
        DataError: if the file cannot be read (see `read_image`), if it has one channel and
            therefore no colours, or if it is a JPEG, whose compression alters colours.
    """
    picture = _open(Path(path), "mask")
    _refuse_jpeg(path, picture)
    if picture.mode not in ("RGB", "RGBA", "P", "PA"):
        raise DataError(
            f"{path}: the mask has mode {picture.mode!r}, one channel of numbers; expected the "
            "colours of the classes. Restore the label image of the dataset."
        )
    return _to_rgb(path, picture, "mask")


def read_pair(
    image_path: str | Path,
    mask_path: str | Path,
    encoding: LabelSpace | Grouping,
    max_stray: int = 0,
) -> tuple[np.ndarray, np.ndarray]:
    """Read an image and its mask, and hold them against each other and what the mask may hold.

    Args:
        image_path: picture, see `read_image`.
        mask_path: ids, see `read_mask`, or colours, see `read_color_mask`.
        encoding: what the ids on disk mean (a label space), or the colours (a grouping).
        max_stray: up to so many pixels of colours without a class are ignored.

    Returns:
        image (H, W, 3) uint8 and mask (H, W) uint8 of train ids, 255 where ignored.

    Raises:
        DataError: if either cannot be read, if the sizes differ, or if an id or colour is
            unknown.
    """
    image = read_image(image_path)
    mask = read_labels(mask_path, encoding, max_stray)
    if image.shape[:2] != mask.shape:
        turned = (
            " The image was turned upright by its EXIF orientation; make the mask for the "
            "upright image, or remove the tag."
            if image.shape[:2] == mask.shape[::-1]
            else ""
        )
        raise DataError(
            f"{mask_path}: the mask is {_size(mask)} but its image {image_path} is "
            f"{_size(image)} (width x height). Both must have the same size.{turned}"
        )
    return image, mask


def read_labels(
    path: str | Path, encoding: LabelSpace | Grouping, max_stray: int = 0
) -> np.ndarray:
    """Read a mask as train ids.

    Args:
        path: ids, see `read_mask`, or colours, see `read_color_mask`.
        encoding: what the ids on disk mean (a label space), or the colours (a grouping).
        max_stray: up to so many pixels of colours without a class are ignored.

    Returns:
        (H, W) uint8: 0..C-1, 255 where ignored.

    Raises:
        DataError: if it cannot be read, or an id or colour is unknown.
    """
    try:
        if isinstance(encoding, Grouping):
            return encoding.to_train_ids(read_color_mask(path), str(path), max_stray)
        return encoding.to_train_ids(read_mask(path), str(path))
    except ValueError as error:
        raise error if isinstance(error, DataError) else DataError(str(error)) from error


def _open(path: Path, role: str) -> Image.Image:
    """The decoded picture, turned upright."""
    if not path.is_file():
        what = "is not a file" if path.exists() else "does not exist"
        raise DataError(f"{path}: the {role} {what}.")
    if path.stat().st_size == 0:
        raise DataError(f"{path}: the {role} file is empty (0 bytes). Restore it from its source.")
    try:
        with Image.open(path, formats=FORMATS) as picture:
            width, height = picture.size
            if width * height > MAX_PIXELS:
                raise DataError(
                    f"{path}: the {role} has {width} x {height} = {width * height:,} pixels; at "
                    f"most {MAX_PIXELS:,} are read. Scale it down or cut it into tiles."
                )
            frames = getattr(picture, "n_frames", 1)
            if frames > 1 and picture.format not in _LOSSY:  # a phone's JPEG holds a preview
                raise DataError(
                    f"{path}: the {role} file holds {frames} frames; expected one. "
                    "Save each frame as a file of its own."
                )
            file_format = picture.format
            picture.load()
            upright = ImageOps.exif_transpose(picture)
            upright.format = file_format  # a turned copy has lost it
            return upright
    except DataError:
        raise
    # Decoders of broken files raise almost anything: OSError, SyntaxError, struct.error,
    # ValueError, zlib.error, EOFError, OverflowError. Each means the same to the user.
    except Exception as error:
        raise DataError(
            f"{path}: the {role} cannot be read, it is broken, truncated or not one of "
            f"{', '.join(FORMATS)} ({type(error).__name__}: {error}). Restore it from its source."
        ) from error


def _to_rgb(path: str | Path, picture: Image.Image, role: str) -> np.ndarray:
    """The colours (H, W, 3) uint8, if nothing shines through."""
    if picture.has_transparency_data:
        lowest = int(np.asarray(picture.convert("RGBA"))[..., 3].min())
        if lowest < 255:
            raise DataError(
                f"{path}: the {role} is partly transparent (alpha down to {lowest}), so its "
                "colours are not defined. Flatten it onto a background and save it as RGB."
            )
    return np.asarray(picture.convert("RGB"))


def _refuse_jpeg(path: str | Path, picture: Image.Image) -> None:
    if picture.format in _LOSSY:
        raise DataError(
            f"{path}: the mask is a JPEG, whose compression alters the ids at every edge. "
            "Save the mask as PNG from the original labels."
        )


def _bit_depth(path: str | Path, picture: Image.Image) -> int | None:
    """Bits a channel of a PNG, from its header; None for other formats."""
    if picture.format != "PNG":
        return None
    with open(path, "rb") as file:
        return file.read(25)[24]


def _size(array: np.ndarray) -> str:
    return f"{array.shape[1]} x {array.shape[0]}"
