"""What `inspect` of any network returns, as pictures with captions, one function a kind."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

import numpy as np
from PIL import Image

from keras_focusseg.models.panels import Drawing, Panel
from keras_focusseg.visualization.flow import flow_arrows, flow_colors
from keras_focusseg.visualization.pictures import heatmap, region_map

_AROUND = (232, 235, 240)  # beside a square picture in a wide frame
_ARROW_STEP = 24  # pixels

Signals = Mapping[str, np.ndarray]
# What the colours of a picture stand for, and the picture.
Captioned = tuple[str, Image.Image]


def signal_pictures(
    image: np.ndarray, seen: Signals, panels: Iterable[Panel]
) -> dict[str, Image.Image]:
    """Pictures of the signals of a network, as it declares them, those that are there.

    Args:
        image: (H, W, 3) uint8.
        seen: What `model.inspect(image[None])` returned.
        panels: How its signals are drawn: `model.panels`.

    Returns:
        Pictures of the size of the image by caption, which tells what dark, light and pure colours
        stand for.

    Raises:
        ValueError: A signal is not of one image, has not the shape that its kind promises, or the
            kind is unknown.

    Example:
        ```python
        from keras_focusseg.visualization import signal_pictures

        seen = model.inspect(image[None])
        for caption, picture in signal_pictures(image, seen, model.panels).items():
            picture.save(f"{caption.split(':')[0]}.png")
        ```
    """
    pictures = {}
    for drawing in drawings_of(seen, panels):
        if drawing.kind not in KINDS:
            raise ValueError(
                f"{drawing.title!r} is declared as {drawing.kind!r}; known kinds of pictures are "
                f"{', '.join(KINDS)}."
            )
        told, picture = KINDS[drawing.kind](image, seen, drawing)
        pictures[f"{drawing.title}: {told}" if told else drawing.title] = picture
    return pictures


def signal_notes(seen: Iterable[str], panels: Iterable[Panel]) -> list[tuple[str, str]]:
    """What the pictures of `signal_pictures` mean: a title and a sentence about it, each.

    Args:
        seen: Names of the signals that are there.
        panels: How they are drawn, of one or more networks.
    """
    names = set(seen)
    return [(panel.title, panel.note) for panel in panels if any(drawings_of(names, [panel]))]


def drawings_of(seen: Iterable[str], panels: Iterable[Panel]) -> Iterator[Drawing]:
    """The drawings whose signals are there."""
    names = set(seen)
    return (drawing for panel in panels for drawing in panel.drawings if drawing.signal in names)


# Kinds ---------------------------------------------------------------------------------------


def _heatmap(image: np.ndarray, seen: Signals, drawing: Drawing) -> Captioned:
    """Values in 0..1, (h, w, 1)."""
    return "", heatmap(_one(seen, drawing.signal, 3), image.shape[:2])


def _regions(image: np.ndarray, seen: Signals, drawing: Drawing) -> Captioned:
    """Nested masks (h, w, R) of zeros and ones, smallest first."""
    return "", region_map(image, _one(seen, drawing.signal, 3))


def _pairs(image: np.ndarray, seen: Signals, drawing: Drawing) -> Captioned:
    """Softmaxes among all N positions of a map, (N, N): how much each is taken from, on average."""
    pairs = _one(seen, drawing.signal, 2)  # each row sums to 1
    grid = np.shape(seen[str(drawing.beside)])[1:3]
    if grid[0] * grid[1] != pairs.shape[1]:
        raise ValueError(
            f"{drawing.signal} is among {pairs.shape[1]} positions; {drawing.beside} has "
            f"{grid[0]} x {grid[1]}."
        )
    return _share(image, pairs.mean(0).reshape(grid))


def _shares(image: np.ndarray, seen: Signals, drawing: Drawing) -> Captioned:
    """A softmax over the positions of a map, (h, w, 1)."""
    return _share(image, _one(seen, drawing.signal, 3)[..., 0])


def _share(image: np.ndarray, received: np.ndarray) -> Captioned:
    told = f"up to {received.max() / received.mean():.1f} times the mean"
    return told, _heat(image, received / received.max())


def _matrix(image: np.ndarray, seen: Signals, drawing: Drawing) -> Captioned:
    """A square matrix of values from 0, (N, N), as sharp cells in the middle of a frame."""
    matrix = _one(seen, drawing.signal, 2)
    (height, width), count = image.shape[:2], len(matrix)
    side = min(height, width)
    how = Image.Resampling.NEAREST if count < side else Image.Resampling.BOX
    square = np.asarray(Image.fromarray(matrix / matrix.max()).resize((side, side), how))
    frame = Image.new("RGB", (width, height), _AROUND)
    frame.paste(heatmap(square, (side, side)), ((width - side) // 2, (height - side) // 2))
    return f"{count} x {count}, 0 to {matrix.max():.2g}", frame


def _offsets(image: np.ndarray, seen: Signals, drawing: Drawing) -> Captioned:
    """Offsets (h, w, 2) as colours, on one scale with those that they are drawn beside."""
    names = [name for name in (drawing.signal, drawing.beside) if name in seen]
    fields = [_one(seen, str(name), 3) for name in names]
    limit = max(_length(field, 99) for field in fields)
    colors = Image.fromarray(flow_colors(_fit(image, fields[0]), limit or None))
    return (f"pure colours {limit:.2g} cells" if limit > 0 else "all 0"), colors


def _arrows(image: np.ndarray, seen: Signals, drawing: Drawing) -> Captioned:
    """Offsets (h, w, 2) as arrows, lengthened where they are short."""
    field = _one(seen, drawing.signal, 3)
    stride = _covered(image, field)[0] / len(field)
    longest = max(stride * _length(field, 100), 1e-6)
    scale = float(f"{np.clip(_ARROW_STEP / longest, 1, 100):.1g}")
    arrows = flow_arrows(image, _fit(image, field) * stride, _ARROW_STEP, scale)
    size = "true length" if scale == 1 else f"{scale:g} times as long"
    return f"arrows, {size}", arrows


def _choice(image: np.ndarray, seen: Signals, drawing: Drawing) -> Captioned:
    """Weights (h, w, n) from 0: how far they are from counting all alike, by their entropy."""
    shares = _one(seen, drawing.signal, 3)
    shares = shares / shares.sum(-1, keepdims=True)
    entropy = -(shares * np.log(shares.clip(1e-12))).sum(-1) / np.log(shares.shape[-1])
    return "dark alike, light one alone", _heat(image, 1 - entropy)


def _gate(image: np.ndarray, seen: Signals, drawing: Drawing) -> Captioned:
    """Multipliers (h, w, C), averaged over the channels, from the least to the greatest."""
    values = _one(seen, drawing.signal, 3).mean(-1)
    low, high = float(values.min()), float(values.max())
    spread = (values - low) / (high - low) if high > low else np.full_like(values, 0.5)
    return f"{low:.2f} dark to {high:.2f} light", _heat(image, spread)


def _size(image: np.ndarray, seen: Signals, drawing: Drawing) -> Captioned:
    """Any values (h, w, C): the mean of their sizes over the channels, from 0."""
    sizes = np.abs(_one(seen, drawing.signal, 3)).mean(-1)
    most = float(sizes.max())
    return f"0 dark to {most:.2g} light", _heat(image, sizes / (most or 1.0))


KINDS: dict[str, Callable[[np.ndarray, Signals, Drawing], Captioned]] = {
    "heatmap": _heatmap,
    "regions": _regions,
    "pairs": _pairs,
    "shares": _shares,
    "matrix": _matrix,
    "offsets": _offsets,
    "arrows": _arrows,
    "choice": _choice,
    "gate": _gate,
    "size": _size,
}


# Helpers -------------------------------------------------------------------------------------


def _one(seen: Signals, name: str, axes: int) -> np.ndarray:
    """The signal of the one image, float32 (half precision comes in types of its own)."""
    signal = np.asarray(seen[name])
    if signal.ndim != 1 + axes or signal.shape[0] != 1:
        raise ValueError(
            f"Signal {name!r} has shape {signal.shape}; expected (1{', n' * axes}): give what "
            "inspect returned for one image."
        )
    return signal[0].astype("float32")


def _length(field: np.ndarray, percent: float) -> float:
    """Length that `percent` of the known offsets (h, w, 2) keep below; the greatest if it is 0."""
    length = np.hypot(field[..., 0], field[..., 1])
    length = np.append(length[np.isfinite(length)], 0.0)
    return float(np.percentile(length, percent) or length.max())


def _covered(image: np.ndarray, values: np.ndarray) -> tuple[int, int]:
    """Height and width in pixels that a map of cells covers: a padded image has more than it shows.

    The strides of the backbones are powers of two; a map of another stride covers the image.
    """
    (height, width), (rows, columns) = image.shape[:2], values.shape[:2]
    stride = 2 ** int(np.ceil(np.log2(max(height / rows, width / columns, 1))))
    covered = (rows * stride, columns * stride)
    return covered if covered[0] >= height and covered[1] >= width else (height, width)


def _fit(image: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Maps (h, w) or (h, w, C) at the size of the image, bilinearly, padding cut off."""
    height, width = _covered(image, values)
    channels = values.reshape(*values.shape[:2], -1).transpose(2, 0, 1)
    size, how = (width, height), Image.Resampling.BILINEAR
    large = [np.asarray(Image.fromarray(channel).resize(size, how)) for channel in channels]
    shown = np.stack(large, axis=-1)[: image.shape[0], : image.shape[1]]
    return shown if values.ndim == 3 else shown[..., 0]


def _heat(image: np.ndarray, values: np.ndarray) -> Image.Image:
    return heatmap(_fit(image, values), image.shape[:2])
