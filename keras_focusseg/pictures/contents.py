"""What mask files hold: ids, palette indices or colours, counted without a table of classes."""

from __future__ import annotations

import functools
import os
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from keras_focusseg.errors import DataError
from keras_focusseg.pictures.readers import open_mask, palette_colors, read_color_mask, read_mask

Color = tuple[int, int, int]
Progress = Callable[[int, int], None]

MAX_COLORS = 255
_WORKERS = 4


class MaskContent(NamedTuple):
    """What one mask file holds.

    Attributes:
        kind: "ids" for one channel of numbers, "palette", or "colors" for RGB.
        ids: Pixels of each number; of each index for a palette; empty for colours.
        colors: Pixels of each colour; empty for ids.
        palette: The colour of each index that occurs, for a palette.
    """

    kind: Literal["ids", "palette", "colors"]
    ids: dict[int, int]
    colors: dict[Color, int]
    palette: dict[int, Color]


def mask_content(path: str | Path) -> MaskContent:
    """Counts the numbers or colours in a mask file; remembered until the file changes."""
    try:
        status = os.stat(path)
    except OSError:  # the reader says what is wrong
        return _look(str(path))
    return _remembered(str(path), status.st_size, status.st_mtime_ns)


def mask_contents(
    paths: Sequence[str | Path], progress: Progress | None = None, strict: bool = True
) -> list[MaskContent]:
    """The contents of many mask files in their order, read by several threads.

    `progress` is called with (done, total) after each. A file that cannot be read is an error if
    `strict`, else it is left out.
    """
    found = []
    with ThreadPoolExecutor(_WORKERS) as pool:
        for done, content in enumerate(pool.map(_content_or_error, paths), 1):
            if isinstance(content, MaskContent):
                found.append(content)
            elif strict:
                pool.shutdown(cancel_futures=True)
                raise content
            if progress is not None:
                progress(done, len(paths))
    return found


def discover_colors(
    paths: Sequence[str | Path], progress: Progress | None = None
) -> dict[Color, int]:
    """The colours that occur in masks, with their pixel counts.

    Args:
        paths: Coloured masks: RGB, or palette files, whose colours count.
        progress: Called with (done, total) after each file.

    Returns:
        Pixels of each colour, sorted by colour. `label_spaces.name_colors` names them, and
        `label_spaces.write_class_dict` writes them into a table for you to name.

    Raises:
        DataError: If a file cannot be read or has no colours, or there are more than 255 colours,
            as blending and JPEG compression make them.

    Example:
        ```python
        colors = data.discover_colors(sorted(Path("masks").glob("*.png")))
        label_spaces.write_class_dict("class_dict.csv", label_spaces.name_colors(colors))
        ```
    """
    contents = mask_contents(paths, progress)
    for path, content in zip(paths, contents, strict=True):
        if content.kind == "ids":
            raise DataError(
                "the mask has one channel of numbers, no colours",
                kind="ids where colours are expected",
                file=path,
                fix="Read it by its ids.",
            )
    return dict(sorted(count_colors(contents).items()))


def count_colors(contents: Sequence[MaskContent]) -> Counter[Color]:
    """Pixels of each colour over all masks, 255 colours at most."""
    total: Counter[Color] = Counter()
    for content in contents:
        total.update(content.colors)
        if len(total) > MAX_COLORS:
            raise _too_many(total, f"{len(contents)} masks")
    return total


def count_ids(contents: Sequence[MaskContent]) -> Counter[int]:
    """Pixels of each number over all masks."""
    total: Counter[int] = Counter()
    for content in contents:
        total.update(content.ids)
    return total


def _content_or_error(path: str | Path) -> MaskContent | DataError:
    try:
        return mask_content(path)
    except DataError as error:
        return error


@functools.lru_cache(maxsize=1 << 16)
def _remembered(path: str, size: int, changed: int) -> MaskContent:
    return _look(path)


def _look(path: str) -> MaskContent:
    picture = open_mask(path)
    if picture.mode == "P":
        numbers = np.bincount(np.asarray(picture).ravel(), minlength=256)
        counts = {int(index): int(numbers[index]) for index in np.flatnonzero(numbers)}
        table = [(red, green, blue) for red, green, blue in palette_colors(picture).tolist()]
        palette = {i: table[i] if i < len(table) else (0, 0, 0) for i in sorted(counts)}
        colors: Counter[Color] = Counter()
        for index, count in counts.items():
            colors[palette[index]] += count
        return MaskContent("palette", counts, dict(colors), palette)
    if len(picture.getbands()) == 1:
        values, pixels = np.unique(read_mask(path), return_counts=True)
        ids = dict(zip(values.astype(int).tolist(), pixels.tolist(), strict=True))
        return MaskContent("ids", ids, {}, {})
    return MaskContent("colors", {}, _count_rgb(path), {})


def _count_rgb(path: str) -> dict[Color, int]:
    rgb = read_color_mask(path).astype("uint32")
    codes = (rgb[..., 0] << 16 | rgb[..., 1] << 8 | rgb[..., 2]).ravel()
    # Neighbours are mostly equal: counting runs is several times faster than sorting pixels.
    starts = np.flatnonzero(np.concatenate([[True], codes[1:] != codes[:-1]]))
    lengths = np.diff(np.append(starts, codes.size))
    values, place = np.unique(codes[starts], return_inverse=True)
    counts = np.bincount(place.ravel(), weights=lengths).astype(int)
    colors = {
        (int(code) >> 16, int(code) >> 8 & 255, int(code) & 255): int(count)
        for code, count in zip(values, counts, strict=True)
    }
    if len(colors) > MAX_COLORS:
        raise _too_many(Counter(colors), "the mask", Path(path))
    return colors


def _too_many(colors: Counter[Color], what: str, file: Path | None = None) -> DataError:
    rare = min(colors.items(), key=lambda item: (item[1], item[0]))
    return DataError(
        f"{what}: more than {MAX_COLORS} colours ({len(colors)}; {rare[0]} on {rare[1]} pixels), "
        "too many for classes",
        kind="too many colours",
        file=file,
        fix="Resizing with blending, JPEG compression and smoothed outlines make them: restore the "
        "original masks, or give the colours of the classes in a class_dict.csv. If this is a "
        "photograph, images and masks are swapped.",
    )
