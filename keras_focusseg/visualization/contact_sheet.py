"""A sheet of samples: each image beside its classes, with names, and a legend with shares."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from keras_focusseg.data.feeds.plan import Plan
from keras_focusseg.data.feeds.statistics import count_classes
from keras_focusseg.data.sources.base import Source
from keras_focusseg.data.transforms.base import as_augmentation
from keras_focusseg.errors import DataError, printable
from keras_focusseg.label_spaces import LabelSpace
from keras_focusseg.visualization.pictures import overlay

_GAP = 12
_LINE = 20
_BROKEN = 6 * _LINE  # height of the place of a sample that cannot be read
_MANY = 40  # classes; of more, the legend has those on the sheet only
_INK, _PALE, _ALARM = (28, 36, 48), (104, 114, 128), (176, 32, 32)
_GROUND, _CARD = (250, 251, 252), (233, 237, 242)


class _Cell(NamedTuple):
    """One sample, small: its two pictures and what is written below; None if it is broken."""

    pictures: tuple[Image.Image, Image.Image] | None
    name: str
    said: str
    counts: np.ndarray


def contact_sheet(
    source: Source,
    count: int = 12,
    seed: int = 0,
    augment: Callable[[np.ndarray, np.ndarray, np.random.Generator], tuple[np.ndarray, np.ndarray]]
    | None = None,
    width: int = 1600,
    opacity: float = 0.6,
) -> Image.Image:
    """Draws some samples of a source: each image, and beside it the image under its classes.

    Below each pair stands its name and its most frequent classes; below all, the colours of the
    classes with their share of the labelled pixels on the sheet. A sample that cannot be read has
    a place with the reason.

    Args:
        source: Where the samples come from.
        count: How many, at most; the sheet has as many as there are.
        seed: Which ones, and the randomness of `augment`; the same seed gives the same sheet.
        augment: What training would do to image and mask, see `data.Augment`.
        width: Of the sheet, in pixels.
        opacity: Of the classes, 0..1.

    Returns:
        The sheet, RGB.

    Raises:
        ValueError: If `count` is below 1 or the sheet too narrow.

    Example:
        ```python
        contact_sheet(data.SyntheticStreets(12), count=6).save("sheet.png")
        ```
    """
    if count < 1:
        raise ValueError(f"count must be 1 or more, got {count}.")
    if width < 400:
        raise ValueError(f"width must be 400 pixels or more, got {width}.")
    rng = np.random.default_rng(seed)
    chosen = np.sort(rng.choice(len(source), min(count, len(source)), replace=False))
    across = min(1 if width < 1000 else 2 if len(chosen) <= 12 else 3, len(chosen))
    pair_width = (width - _GAP * (across + 1)) // across
    box = ((pair_width - 2) // 2, pair_width * 3 // 8)
    plan = Plan(source, 1, None if augment is None else as_augmentation(augment), seed=seed)
    cells = [_cell(plan, int(i), box, opacity) for i in chosen]
    row_heights = [
        max(
            cell.pictures[0].height if cell.pictures else _BROKEN
            for cell in cells[at : at + across]
        )
        + 2 * _LINE
        + _GAP
        for at in range(0, len(cells), across)
    ]
    classes = _legend(source.label_space, np.sum([c.counts for c in cells], 0), width - 2 * _GAP)
    head = 2 * _LINE + 2 * _GAP
    height = head + sum(row_heights) + classes.height + _GAP
    sheet = Image.new("RGB", (width, height), _GROUND)
    draw = ImageDraw.Draw(sheet)
    _write(draw, (_GAP, _GAP), _title(source, len(chosen), augment), 16, _INK, width - 2 * _GAP)
    _write(draw, (_GAP, _GAP + _LINE + 2), _subtitle(source), 13, _PALE, width - 2 * _GAP)
    top = head
    for number, cell in enumerate(cells):
        left = _GAP + number % across * (pair_width + _GAP)
        _draw_cell(sheet, cell, left, top, pair_width)
        if number % across == across - 1:
            top += row_heights[number // across]
    sheet.paste(classes, (_GAP, height - classes.height - _GAP // 2))
    return sheet


def thumbnails(
    image: np.ndarray,
    mask: np.ndarray,
    label_space: LabelSpace,
    box: tuple[int, int],
    opacity: float = 0.6,
) -> tuple[Image.Image, Image.Image]:
    """Image and image under its classes, made to fit a box.

    Args:
        image: (H, W, 3) uint8.
        mask: (H, W) uint8, train ids.
        label_space: Colours of the classes.
        box: Width and height in pixels; small pictures are enlarged in whole squares.
        opacity: Of the classes, 0..1.

    Returns:
        Both, of the same size.
    """
    small, ids = Image.fromarray(image), Image.fromarray(mask)
    size = fitted(small.size, box)
    how = Image.Resampling.NEAREST if size[0] > small.width else Image.Resampling.LANCZOS
    small = small.resize(size, how)
    ids = ids.resize(size, Image.Resampling.NEAREST)
    return small, overlay(np.asarray(small), np.asarray(ids), label_space, opacity)


def fitted(size: tuple[int, int], box: tuple[int, int]) -> tuple[int, int]:
    """The largest size of the same shape that fits a box; width before height in both."""
    scale = min(box[0] / size[0], box[1] / size[1])
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def _cell(plan: Plan, index: int, box: tuple[int, int], opacity: float) -> _Cell:
    source, space = plan.source, plan.source.label_space
    try:
        image, mask = plan.sample(0, index)
    except DataError as error:
        name = printable(source.files(index)[0].name) if source.files(index) else f"sample {index}"
        return _Cell(None, name, str(error), np.zeros(space.num_classes + 1, "int64"))
    counts = count_classes(mask, space.num_classes)
    pictures = thumbnails(image, mask, space, box, opacity)
    return _Cell(
        pictures,
        f"{printable(source.sample_name(index))}, {image.shape[1]} x {image.shape[0]}",
        _most(counts, space),
        counts,
    )


def _most(counts: np.ndarray, space: LabelSpace) -> str:
    """The most frequent classes of a mask, in words."""
    order = [i for i in np.argsort(-counts[:-1], kind="stable")[:5] if counts[i]]
    parts = [f"{space.classes[i]} {_percent(counts[i], counts.sum())}" for i in order]
    if counts[-1]:
        parts.append(f"{space.ignore_name} {_percent(counts[-1], counts.sum())}")
    return ", ".join(parts)


def _percent(part: float, whole: float) -> str:
    """A share in percent; what is there never reads as nothing."""
    share = 100 * part / max(1, whole)
    return f"{share:.0f} %" if share >= 9.5 else f"{share:.1f} %" if share >= 0.05 else "< 0.1 %"


def _draw_cell(sheet: Image.Image, cell: _Cell, left: int, top: int, width: int) -> None:
    draw = ImageDraw.Draw(sheet)
    if cell.pictures is None:
        bottom = top + _BROKEN
        draw.rectangle((left, top, left + width - 1, bottom - 1), fill=_CARD)
        for number, line in enumerate(_wrapped(cell.said, 13, width - 20)[: _BROKEN // _LINE - 1]):
            _write(draw, (left + 10, top + 8 + number * _LINE), line, 13, _ALARM, width - 20)
    else:
        image, classes = cell.pictures
        sheet.paste(image, (left, top))
        sheet.paste(classes, (left + image.width + 2, top))
        bottom = top + image.height
        _write(draw, (left, bottom + _LINE), cell.said, 12, _PALE, width)
    _write(draw, (left, bottom + 3), cell.name, 13, _INK, width)


def _wrapped(text: str, size: int, width: float) -> list[str]:
    """A text as lines; a word that is too long for a line is broken."""
    font = ImageFont.load_default(size=size)
    lines = [""]
    for word in text.split():
        if lines[-1] and font.getlength(f"{lines[-1]} {word}") > width:
            lines.append("")
        line = f"{lines[-1]} {word}".strip()
        while font.getlength(line) > width and len(line) > 1:
            cut = next(
                n
                for n in range(len(line) - 1, 0, -1)
                if n == 1 or font.getlength(line[:n]) <= width
            )
            lines[-1:] = [line[:cut], line[cut:]]
            line = lines[-1]
        lines[-1] = line
    return lines


def _title(source: Source, shown: int, augment: object) -> str:
    how = ", augmented" if augment is not None else ""
    return f"{source.name} {source.split}: {shown} of {len(source)} samples{how}"


def _subtitle(source: Source) -> str:
    said = "; ".join(printable(text) for text in (source.layout, source.note) if text)
    return said or f"{source.label_space.num_classes} classes"


def _legend(space: LabelSpace, counts: np.ndarray, width: int) -> Image.Image:
    """Colour, name and share of each class, in rows as wide as the sheet."""
    entries = [
        (color, name, counts[i])
        for i, (name, color) in enumerate(zip(space.classes, space.colors, strict=True))
        if counts[i] or space.num_classes <= _MANY
    ]
    labeled = int(counts[:-1].sum())
    texts = [(color, name, _percent(n, labeled) if n else "none") for color, name, n in entries]
    ignored = _percent(counts[-1], counts.sum()) + " of all" if counts[-1] else "none"
    texts.append((space.ignore_color, f"{space.ignore_name} (ignored)", ignored))
    font = ImageFont.load_default(size=13)
    cell = min(width, 46 + max(int(font.getlength(f"{name}  {share}")) for _, name, share in texts))
    columns = max(1, width // cell)
    cell = width // columns
    rows = -(-len(texts) // columns)
    picture = Image.new("RGB", (width, rows * 24 + 2), _GROUND)
    draw = ImageDraw.Draw(picture)
    for number, (color, name, share) in enumerate(texts):
        x, y = number % columns * cell, number // columns * 24
        draw.rectangle((x, y + 3, x + 22, y + 19), fill=tuple(color), outline=_PALE)
        if number == len(texts) - 1:  # ignored pixels keep the colours of the photograph
            draw.rectangle((x, y + 3, x + 22, y + 19), fill=_GROUND, outline=_PALE)
            draw.line((x, y + 19, x + 22, y + 3), fill=_PALE)
        end = _write(draw, (x + 30, y + 3), name, 13, _INK, cell - 36)
        _write(draw, (end + 8, y + 3), share, 13, _PALE, cell)
    return picture


def _write(
    draw: ImageDraw.ImageDraw,
    place: tuple[float, float],
    text: str,
    size: int,
    color: tuple[int, int, int],
    width: float,
) -> float:
    """Writes one line, cut off where it gets too long; gives where it ends."""
    font = ImageFont.load_default(size=size)
    text = " ".join(text.split())
    if font.getlength(text) > width:
        while text and font.getlength(f"{text}...") > width:
            text = text[:-1]
        text += "..."
    draw.text(place, text, fill=color, font=font)
    return place[0] + font.getlength(text)
