"""Fields of offsets as pictures: the colour wheel of optical flow, and arrows.

An offset is (dx, dy) in pixels of its own map, positive to the right and downwards. For a
`SemanticRefinement` it points from a pixel to the place whose value the pixel takes.
"""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

# Baker et al., "A Database and Evaluation Methodology for Optical Flow", IJCV 2011: full colours
# around the circle, from "to the right" clockwise (rows grow downwards), with the share of it that
# each transition takes, so that neighbouring directions differ about equally to the eye.
_WHEEL = np.array(
    [
        (255, 0, 0), (255, 255, 0), (0, 255, 0), (0, 255, 255), (0, 0, 255), (255, 0, 255),
        (255, 0, 0),
    ],
    "float64",
)  # fmt: skip
_STARTS = np.cumsum([0, 15, 6, 4, 11, 13, 6]) / 55
_BEYOND = 0.75  # brightness of offsets longer than the limit
_SMOOTH = 3  # arrows are drawn larger and scaled down, which rounds their edges


def flow_colors(offsets: np.ndarray, limit: float | None = None) -> np.ndarray:
    """Offsets as colours: the hue is the direction, the saturation the length.

    White is no offset. Pure colours have the length `limit`: red to the right, yellow downwards,
    blue-green to the left, violet upwards. Longer ones are darkened, unknown ones (NaN, infinite)
    black. `flow_wheel` draws the legend.

    Args:
        offsets: (..., h, w, 2): dx and dy in pixels.
        limit: Length of pure colours, in pixels; by default the greatest length there is.

    Returns:
        (..., h, w, 3) uint8.

    Raises:
        ValueError: The last axis is not 2, or `limit` is not above 0.

    Example:
        ```python
        from keras_focusseg.visualization import flow_colors

        offsets = model.inspect(images)["offsets_p2"][0]    # (h, w, 2)
        Image.fromarray(flow_colors(offsets, limit=4.0))
        ```
    """
    offsets = np.asarray(offsets, "float64")
    if offsets.ndim < 1 or offsets.shape[-1] != 2:
        raise ValueError(f"offsets must be (..., 2): dx and dy; got shape {offsets.shape}.")
    if limit is not None and not limit > 0:
        raise ValueError(f"limit must be above 0 pixels, got {limit}.")
    known = np.isfinite(offsets).all(-1)
    offsets = np.where(known[..., None], offsets, 0.0)
    length = np.hypot(offsets[..., 0], offsets[..., 1])
    if limit is None:
        limit = float(length.max(initial=0.0)) or 1.0
    share = np.arctan2(offsets[..., 1], offsets[..., 0]) / (2 * np.pi) % 1.0
    hue = np.stack([np.interp(share, _STARTS, channel) for channel in _WHEEL.T], axis=-1)
    radius = (length / limit)[..., None]
    colors = np.where(radius <= 1 + 1e-6, 255 - radius.clip(0, 1) * (255 - hue), _BEYOND * hue)
    return np.where(known[..., None], colors.round(), 0).astype("uint8")


def flow_wheel(size: int = 128) -> Image.Image:
    """The legend of `flow_colors`: a disc whose colours stand for the offset from its centre.

    Args:
        size: Side of the picture in pixels; the disc fills it, on white.
    """
    fine = _SMOOTH * size
    at = (np.arange(fine) + 0.5) * 2 / fine - 1
    offsets = np.stack(np.meshgrid(at, at), axis=-1)
    inside = np.hypot(offsets[..., 0], offsets[..., 1]) <= 1
    colors = np.where(inside[..., None], flow_colors(offsets, limit=1.0), 255).astype("uint8")
    return Image.fromarray(colors).resize((size, size), Image.Resampling.BOX)


def flow_arrows(
    image: np.ndarray, offsets: np.ndarray, step: int = 24, scale: float = 1.0
) -> Image.Image:
    """Offsets as arrows over a dimmed picture, one every `step` pixels.

    An arrow starts at a pixel and ends where its offset points; it has the hue of `flow_colors`.
    Offsets below half a pixel of the picture are dots, unknown ones (NaN, infinite) are left out.

    Args:
        image: (H, W, 3) uint8.
        offsets: (h, w, 2): dx and dy in pixels of this map, which may be smaller than the picture
            and covers it: an offset of 1 is drawn W / w pixels long.
        step: Distance of the arrows in pixels of the picture.
        scale: Length factor, where offsets are too short to see.

    Raises:
        ValueError: A shape is not as above, or `step` or `scale` is not above 0.

    Example:
        ```python
        from keras_focusseg.visualization import flow_arrows

        flow_arrows(image, model.inspect(image[None])["offsets_p2"][0]).save("offsets.png")
        ```
    """
    offsets = np.asarray(offsets, "float64")
    if offsets.ndim != 3 or offsets.shape[-1] != 2:
        raise ValueError(f"offsets must be (height, width, 2), got shape {offsets.shape}.")
    if image.ndim != 3 or image.shape[-1] != 3:
        raise ValueError(f"image must be (height, width, 3), got shape {image.shape}.")
    if step < 1 or not scale > 0:
        raise ValueError(f"step and scale must be above 0, got {step} and {scale}.")
    (height, width), (rows, columns) = image.shape[:2], offsets.shape[:2]
    picture = Image.fromarray(dimmed(image))
    layer = Image.new("RGBA", (_SMOOTH * width, _SMOOTH * height), (0, 0, 0, 0))
    draw = ImageDraw.Draw(layer)
    for y in _centered(height, step):
        for x in _centered(width, step):
            offset = offsets[int(y * rows / height), int(x * columns / width)]
            if np.isfinite(offset).all():
                dx, dy = scale * offset[0] * width / columns, scale * offset[1] * height / rows
                _arrow(draw, x, y, dx, dy, 0.6 * step)
    layer = layer.resize((width, height), Image.Resampling.BOX)
    picture.paste(layer, (0, 0), layer)
    return picture


def dimmed(image: np.ndarray) -> np.ndarray:
    """A picture (H, W, 3), darker and greyer, as ground to draw on."""
    gray = image.mean(-1, keepdims=True)
    return (0.55 * (0.6 * gray + 0.4 * image)).round().astype("uint8")


def _centered(side: int, step: int) -> np.ndarray:
    """Centres of the whole steps that fit into a side, the rest shared by both ends."""
    count = max(1, side // step)
    return (side - (count - 1) * step) / 2 + step * np.arange(count)


def _arrow(
    draw: ImageDraw.ImageDraw, x: float, y: float, dx: float, dy: float, longest_head: float
) -> None:
    """Shaft and head, first in black and wider, so that they stand out on any ground."""
    length = float(np.hypot(dx, dy))
    if length < 0.5:
        x, y = _SMOOTH * x, _SMOOTH * y
        draw.ellipse((x - 4, y - 4, x + 4, y + 4), fill=(0, 0, 0, 255))
        draw.ellipse((x - 2.5, y - 2.5, x + 2.5, y + 2.5), fill=(255, 255, 255, 255))
        return
    along = np.array([dx, dy]) / length
    across = np.array([-along[1], along[0]])
    start = np.array([x, y])
    tip = start + (dx, dy)
    head = min(max(0.4 * length, 3.5), 7.0, longest_head)
    neck = tip - head * along
    color = tuple(int(c) for c in flow_colors(0.75 * along, limit=1.0))  # pure blue is too dark
    for fill, extra in (((0, 0, 0, 255), 0.8), ((*color, 255), 0.0)):
        base = neck - extra * along
        points = (tip + 1.8 * extra * along, base + (0.5 * head + 1.2 * extra) * across,
                  base - (0.5 * head + 1.2 * extra) * across)  # fmt: skip
        if length > head:
            ends = [tuple(_SMOOTH * (start - extra * along)), tuple(_SMOOTH * neck)]
            draw.line(ends, fill=fill, width=round(_SMOOTH * (1.8 + 2 * extra)))
        draw.polygon([tuple(_SMOOTH * point) for point in points], fill=fill)
