"""Looking at one sample: is it whole, what does it hold, is anything odd about its files."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from keras_focusseg.data.checkup.report import Severity
from keras_focusseg.data.feeds.statistics import count_classes
from keras_focusseg.data.sources.base import Source, check_sample
from keras_focusseg.errors import DataError, printable
from keras_focusseg.label_spaces import LabelSpace
from keras_focusseg.pictures.readers import FORMATS, SUFFIXES, orientation, read_image, read_mask

OUTLINE = 16
"""The outline of a picture has so many rows and bits a row."""

_FLATTEST = 4.0  # grey values; below, an outline is noise

_OTHER = "sample that cannot be read"


@dataclass(frozen=True)
class Remark:
    """Something about one file, or about none: a `Finding` with the value that was found."""

    severity: Severity
    kind: str
    path: Path | None
    value: str
    fix: str


@dataclass
class Look:
    """What one sample holds; small, since there is one for each sample of a dataset.

    Attributes:
        index: Which sample.
        name: What it is called.
        whole: Whether image and mask could be read and fit each other.
        size: (H, W) of the image; None if it cannot be read.
        counts: (C + 1,) int32, pixels of each class, then ignored; None if there is no mask.
        image: Hash of the image's pixels; empty if it cannot be read.
        mask: Hash of the mask; empty if it cannot be read.
        outline: Which way the brightness changes, 256 bits; None for a picture without contrast.
        remarks: What is wrong or odd.
    """

    index: int
    name: str = ""
    whole: bool = False
    size: tuple[int, int] | None = None
    counts: np.ndarray | None = None
    image: bytes = b""
    mask: bytes = b""
    outline: np.ndarray | None = None
    remarks: list[Remark] = field(default_factory=list)


def look(source: Source, index: int) -> Look:
    """Reads one sample and notes all that is wrong or odd about it; never raises."""
    seen = Look(index)
    image = mask = None
    files: tuple[Path, ...] = ()
    # A checkup goes on whatever happens to one sample, be it a bug in a source of the user's own.
    try:
        files = source.files(index)
        image, mask, seen.name = check_sample(source.load(index), source)
        seen.whole = True
    except Exception as error:
        seen.name = _name(source, index)
        seen.remarks.append(failure(error, files))
        image, mask = _what_is_left(source, index, files, seen)
    if image is not None:
        seen.size = image.shape[:2]
        seen.image = _digest(image)
        seen.outline = outline(image)
    if mask is not None:
        seen.mask = _digest(mask)
        seen.counts = count_classes(mask, source.label_space.num_classes).astype("int32")
    if seen.size is not None and files:
        seen.remarks += _odd_image(files[0])
    if mask is not None and len(files) == 2 and files[1].suffix.lower() in SUFFIXES:
        seen.remarks += _odd_mask(files[1], getattr(source, "encoding", None))
    return seen


def _name(source: Source, index: int) -> str:
    try:
        return source.sample_name(index)
    except Exception:  # of a source that has to read a sample to know its name
        return f"sample {index}"


def failure(error: Exception, paths: Sequence[Path] = ()) -> Remark:
    """An exception as a remark; one without a file is about the last of `paths`."""
    fix = "Restore what is wrong or missing from its source."
    if not isinstance(error, DataError):
        text = f"{type(error).__name__}: {printable(str(error)) or 'no message'}"
        return Remark("error", _OTHER, paths[-1] if paths else None, text.removesuffix("."), fix)
    path = error.file or (paths[-1] if paths else None)
    value = f"{error.part}: {error.fault}" if error.part else error.fault
    return Remark("error", error.kind or _OTHER, path, value.removesuffix("."), error.fix or fix)


def outline(image: np.ndarray) -> np.ndarray | None:
    """A difference hash, (256,) bool: nearly equal for scaled or compressed copies.

    The picture is shrunk to 17 x 16 grey values; a bit says whether one is darker than the next.
    None for a picture that is nearly of one grey.
    """
    gray = Image.fromarray(image).convert("L")
    small = gray.resize((OUTLINE + 1, OUTLINE), Image.Resampling.BOX, reducing_gap=2.0)
    values = np.asarray(small, "int16")
    if values.std() < _FLATTEST:
        return None
    return (values[:, 1:] > values[:, :-1]).ravel()


def _what_is_left(
    source: Source, index: int, files: tuple[Path, ...], seen: Look
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Image and mask of a broken sample, each on its own; notes a second thing that is wrong."""
    image = mask = None
    if files:
        try:
            image = read_image(files[0])
        except Exception as error:
            _add(seen, failure(error, files[:1]))
        try:
            mask = source.load_mask(index)
        except Exception as error:
            _add(seen, failure(error, files))
    first = seen.remarks[0]
    if first.kind == "ids outside the table" and first.path and (hint := _gray(source, first.path)):
        seen.remarks[0] = Remark("error", "coloured mask turned to grey", first.path, *hint)
    return image, mask


def _add(seen: Look, remark: Remark) -> None:
    if remark.value not in (other.value for other in seen.remarks):
        seen.remarks.append(remark)


def _gray(source: Source, path: Path) -> tuple[str, str] | None:
    """Whether the ids are the grey values of the classes' colours; value and fix if so."""
    space = source.label_space
    colors = np.array([*space.colors, space.ignore_color], "uint8")
    grays = set(np.asarray(Image.fromarray(colors[None]).convert("L")).ravel().tolist())
    try:
        found = np.unique(read_mask(path)).tolist()
    except Exception:
        return None
    if len(found) < 2 or not grays.issuperset(found):
        return None
    return (
        f"holds {', '.join(str(value) for value in found[:5])}{', ...' if len(found) > 5 else ''}, "
        f"the grey values of the colours of {space.name!r}, not ids",
        "Restore the coloured masks, or convert these to ids.",
    )


def _odd_image(path: Path) -> list[Remark]:
    """What is odd about an image that can be read."""
    try:
        with Image.open(path, formats=FORMATS) as picture:
            mode, file_format = picture.mode, picture.format
            turned = orientation(picture)
    except Exception:  # has been read before: nothing that a message would help with
        return []
    found = f"a {file_format} of mode {mode!r}"
    remarks = []
    if mode in ("CMYK", "YCbCr"):
        fix = (
            "It is read as RGB without its colour profile, so its colours may be off. Save it as "
            "RGB."
        )
        remarks.append(Remark("warning", f"{mode} image", path, found, fix))
    elif mode in ("RGBA", "LA", "PA"):
        fix = "The channel is opaque throughout and is dropped. Nothing has to be done."
        remarks.append(Remark("note", "image with an alpha channel", path, found, fix))
    if mode in ("L", "LA", "1"):
        fix = "It is read as RGB with three equal channels. Nothing has to be done."
        remarks.append(Remark("note", "grey image", path, found, fix))
    if turned != 1:
        value = f"EXIF orientation {turned}: the picture is turned upright as it is read"
        fix = (
            "Look whether the mask is made for the upright picture; if it is, save the picture "
            "upright and without the tag."
        )
        remarks.append(Remark("warning", "EXIF-rotated image", path, value, fix))
    return remarks


def _odd_mask(path: Path, encoding: object) -> list[Remark]:
    """What is odd about a mask that can be read."""
    try:
        with Image.open(path, formats=FORMATS) as picture:
            if picture.mode[0] == "I":
                fix = "Its ids are all in the table. 8 bits would do."
                value = f"a {picture.format} of mode {picture.mode!r}"
                return [Remark("note", "16-bit mask", path, value, fix)]
            if picture.mode != "P" or not isinstance(encoding, LabelSpace):
                return []
            ids = np.unique(np.asarray(picture)).tolist()
            palette = np.array(picture.getpalette("RGB"), "uint8").reshape(-1, 3).tolist()
    except Exception:
        return []
    return _odd_palette(path, encoding, {i: tuple(palette[i]) for i in ids if i < len(palette)})


def _odd_palette(path: Path, space: LabelSpace, found: dict[int, tuple[int, ...]]) -> list[Remark]:
    """Whether the colours of a palette are those of other classes than its ids."""
    meant: dict[tuple[int, ...], str] = {space.ignore_color: space.ignore_name}
    meant |= dict(zip(space.colors, space.classes, strict=True))
    read = dict.fromkeys(space.ignored_ids, space.ignore_name)
    read |= dict(zip(space.ids, space.classes, strict=True))
    if len(found) < 2 or not all(color in meant for color in found.values()):
        return []
    wrong = [i for i, color in found.items() if i in read and meant[color] != read[i]]
    if not wrong:
        return []
    first = wrong[0]
    value = (
        f"id {first} is {read[first]!r} but has the colour {found[first]} of "
        f"{meant[found[first]]!r}; {len(wrong)} of {len(found)} ids differ so"
    )
    fix = (
        "Its palette was made anew, so its indices are no ids. Restore the masks, or open them as "
        "'folder' with encoding='colors', which reads them by their colours."
    )
    return [Remark("error", "palette whose colours contradict its ids", path, value, fix)]


def _digest(array: np.ndarray) -> bytes:
    digest = hashlib.blake2b(repr(array.shape).encode(), digest_size=16)
    digest.update(np.ascontiguousarray(array).data)
    return digest.digest()
