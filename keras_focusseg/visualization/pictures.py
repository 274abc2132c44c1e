"""Class maps and importance maps as pictures, with NumPy and Pillow alone."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo

from keras_focusseg import files
from keras_focusseg.label_spaces import IGNORE, LabelSpace

# Twelve stops of a dark-to-light map whose brightness rises evenly: black, violet, orange, cream.
_HEAT = np.array(
    [
        (4, 5, 20), (27, 16, 68), (62, 18, 104), (98, 24, 116), (134, 35, 112), (170, 48, 98),
        (202, 66, 78), (227, 92, 54), (243, 126, 30), (249, 165, 24), (244, 208, 74),
        (252, 252, 190),
    ],
    "float32",
)  # fmt: skip
_ROWS = 256


def colorize(labels: np.ndarray, label_space: LabelSpace) -> np.ndarray:
    """Class maps in the colours of their label space.

    Args:
        labels: Train ids, (..., H, W); 255 is ignored.
        label_space: Colours of the classes.

    Returns:
        (..., H, W, 3) uint8.

    Raises:
        ValueError: The labels are no whole numbers, or hold what is no class and not 255.
    """
    labels = np.asarray(labels)
    if labels.dtype.kind not in "iub":
        raise ValueError(
            f"labels must be train ids, got {labels.dtype}: of logits take the argmax."
        )
    count = label_space.num_classes
    strange = labels[((labels < 0) | (labels >= count)) & (labels != IGNORE)]
    if strange.size:
        raise ValueError(
            f"labels hold {strange[0]}, but label space {label_space.name!r} has the classes 0.."
            f"{count - 1}, and {IGNORE} is ignored."
        )
    return label_space.palette()[labels.astype("uint8")]


def overlay(
    image: np.ndarray, labels: np.ndarray, label_space: LabelSpace, opacity: float = 0.55
) -> Image.Image:
    """A picture under its class colours, class borders drawn as light lines.

    Args:
        image: (H, W, 3) uint8.
        labels: Train ids (H, W); the picture shows uncoloured where they are 255.
        label_space: Colours of the classes.
        opacity: 0 shows the picture, 1 the colours.

    Raises:
        ValueError: The image is none, sizes differ, labels are no classes, or `opacity` is outside
            0..1.
    """
    image, labels = np.asarray(image), np.asarray(labels)
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(
            f"image must be (height, width, 3) uint8, RGB in 0..255; got {image.shape}, "
            f"{image.dtype}."
        )
    if image.shape[:2] != labels.shape:
        raise ValueError(f"image is {image.shape[:2]}, labels are {labels.shape}; sizes differ.")
    if not 0 <= opacity <= 1:
        raise ValueError(f"opacity must be in 0..1, got {opacity}.")
    edge = np.zeros(labels.shape, bool)
    edge[:, 1:] |= labels[:, 1:] != labels[:, :-1]
    edge[1:] |= labels[1:] != labels[:-1]
    mixed = np.empty_like(image)
    for top in range(0, len(image), _ROWS):  # in float64 a large photograph would be huge
        rows = slice(top, top + _ROWS)
        strength = np.where(labels[rows] == 255, 0.0, opacity)[..., None]
        part = image[rows] * (1 - strength) + colorize(labels[rows], label_space) * strength
        part = np.where(edge[rows, :, None], part + 0.5 * opacity * (255 - part), part)
        mixed[rows] = part.round().clip(0, 255)
    return Image.fromarray(mixed)


def heatmap(values: np.ndarray, size: tuple[int, int]) -> Image.Image:
    """A map of values in 0..1 as colours from dark (0) to light (1), enlarged bilinearly.

    Args:
        values: (h, w), or (h, w, 1).
        size: Height and width of the picture.

    Raises:
        ValueError: The values are no map.
    """
    values = np.asarray(values, "float32")
    if values.shape[2:] not in ((), (1,)) or values.ndim < 2:
        raise ValueError(
            f"values must be one map (height, width) or (height, width, 1), got {values.shape}."
        )
    values = values.reshape(values.shape[:2]).clip(0, 1)
    height, width = size
    gray = Image.fromarray(values).resize((width, height), Image.Resampling.BILINEAR)
    position = np.asarray(gray) * (len(_HEAT) - 1)
    low = np.floor(position).astype(int).clip(0, len(_HEAT) - 2)
    part = (position - low)[..., None]
    colors = _HEAT[low] * (1 - part) + _HEAT[low + 1] * part
    return Image.fromarray(colors.round().astype("uint8"))


def region_map(image: np.ndarray, masks: np.ndarray) -> Image.Image:
    """FoR-Net's nested Top-K masks over a darkened picture: the smaller the set, the lighter.

    Args:
        image: (H, W, 3) uint8.
        masks: (h, w, branches) of zeros and ones, nested, smallest first.
    """
    height, width = image.shape[:2]
    depth = np.asarray(masks, "float32").sum(-1) / masks.shape[-1]  # 1 where all branches look
    # Cells stay sharp squares: they are what the branches see.
    cells = Image.fromarray((depth * 255).round().astype("uint8"))
    depth = np.asarray(cells.resize((width, height), Image.Resampling.NEAREST)) / 255.0
    gray = image.mean(-1, keepdims=True) * 0.45
    colors = np.asarray(heatmap(0.35 + 0.6 * depth, (height, width)), "float32")
    chosen = (depth > 0)[..., None]
    mixed = np.where(chosen, 0.45 * image + 0.55 * colors, gray)
    return Image.fromarray(mixed.round().clip(0, 255).astype("uint8"))


def error_map(image: np.ndarray, wrong: np.ndarray) -> Image.Image:
    """A picture (H, W, 3) in light grey, with the pixels of `wrong` (H, W) in red."""
    gray = np.repeat(image.mean(-1, keepdims=True) * 0.5 + 90, 3, axis=-1)
    return Image.fromarray(np.where(wrong[..., None], (220, 40, 40), gray).astype("uint8"))


def legend(label_space: LabelSpace, columns: int = 4) -> Image.Image:
    """Colours and names of all classes as a picture.

    Args:
        label_space: The classes.
        columns: How many stand side by side.
    """
    font = ImageFont.load_default(size=14)
    widest = max(font.getlength(name) for name in label_space.classes)
    cell, row = int(widest) + 40, 24
    rows = -(-label_space.num_classes // columns)
    picture = Image.new("RGB", (cell * columns, row * rows), "white")
    draw = ImageDraw.Draw(picture)
    for i, (name, color) in enumerate(zip(label_space.classes, label_space.colors, strict=True)):
        x, y = (i % columns) * cell, (i // columns) * row
        draw.rectangle((x + 4, y + 4, x + 24, y + 20), fill=tuple(color), outline="black")
        draw.text((x + 30, y + 4), name, fill="black", font=font)
    return picture


def png_mark() -> PngInfo:
    """What says that this library wrote a picture, for `PIL.Image.Image.save(..., pnginfo=)`."""
    info = PngInfo()
    info.add_text("Software", files.MARK)
    return info
