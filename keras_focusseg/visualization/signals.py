"""What `inspect` of any network returns, as pictures with captions."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

import numpy as np
from PIL import Image

from keras_focusseg.visualization.flow import flow_arrows, flow_colors
from keras_focusseg.visualization.pictures import heatmap, region_map

_AROUND = (232, 235, 240)  # beside a square picture in a wide frame
_ARROW_STEP = 24  # pixels

# A signal of each kind, what its pictures are called, and what they show.
_NOTES = (
    (
        "importance",
        "Importance",
        "is the selector's score, dark 0 to light 1: it was taught to find class boundaries.",
    ),
    (
        "masks",
        "Regions",
        "are the cells that the branches look at again: the lightest go to every branch, the dark "
        "violet ones to the last branch alone, grey ones to none.",
    ),
    (
        "spatial_attention",
        "Attention",
        "shows how much all positions take from each one: by the pairwise term, averaged over "
        "those that take, and by the unary term, the same for all. The matrix has a row for each "
        "channel and shows what it gathers from the others.",
    ),
    (
        "offsets",
        "Offsets",
        "point from a cell to the place whose features it takes when a map is enlarged: the hue is "
        "the direction, as on the wheel, white is no offset, and the darkened ones, 1 % of them, "
        "are longer than told. Lengths are in cells of the map, four pixels a side for P2, eight "
        "for P3, sixteen for P4. The initial ones are predicted cell by cell; the refined ones are "
        "their weighted sums over 3 x 3 neighbours, with weights that are dark where all count "
        "alike and light where one decides.",
    ),
    (
        "gate",
        "Gates",
        "multiply a map by values between 0 and 1, here averaged over the channels; what is added "
        "is the mean size of the product. Brightness is scaled picture by picture, as told above "
        "each.",
    ),
)


def signal_pictures(image: np.ndarray, seen: Mapping[str, np.ndarray]) -> dict[str, Image.Image]:
    """Pictures of the signals of any network of this library, those that are there.

    Args:
        image: (H, W, 3) uint8.
        seen: What `model.inspect(image[None])` returned.

    Returns:
        Pictures of the size of the image by caption, which tells what dark, light and pure colours
        stand for. FoR-Net: importance and regions. SCRNet: what both attentions look at, the offset
        fields of each SRM as colours (initial and refined ones on one scale), the finest as arrows,
        and how decided the weights of the neighbours are. SERNet-Former: each gate's multiplier
        and what it adds. Signals of other names are left out.

    Raises:
        ValueError: A signal is not of one image, or has not the shape that its name promises.

    Example:
        ```python
        from keras_focusseg.visualization import signal_pictures

        for caption, picture in signal_pictures(image, model.inspect(image[None])).items():
            picture.save(f"{caption.split(':')[0]}.png")
        ```
    """
    pictures: dict[str, Image.Image] = {}
    for draw in (_fornet, _attention, _offsets, _gates):
        pictures.update(draw(image, seen))
    return pictures


def signal_notes(names: Iterable[str]) -> list[tuple[str, str]]:
    """What the pictures of `signal_pictures` mean: a title and a sentence about it, each.

    Args:
        names: Names of the signals of one or more networks.
    """
    kinds = {re.sub(r"(_p)?\d+$", "", name) for name in names}
    return [(title, text) for kind, title, text in _NOTES if kind in kinds]


Captioned = Iterator[tuple[str, Image.Image]]


def _fornet(image: np.ndarray, seen: Mapping[str, np.ndarray]) -> Captioned:
    if "importance" in seen:
        yield "importance", heatmap(_one(seen, "importance", 3), image.shape[:2])
    if "masks" in seen:
        yield "regions", region_map(image, _one(seen, "masks", 3))


def _attention(image: np.ndarray, seen: Mapping[str, np.ndarray]) -> Captioned:
    if "spatial_attention" in seen:
        pairs = _one(seen, "spatial_attention", 2)  # (N, N), each row sums to 1
        height, width = image.shape[:2]
        grid = (-(-height // 32), -(-width // 32))
        if "unary_attention" in seen:
            grid = np.shape(seen["unary_attention"])[1:3]
        if grid[0] * grid[1] != pairs.shape[1]:
            raise ValueError(
                f"spatial_attention is among {pairs.shape[1]} positions; expected "
                f"{grid[0]} x {grid[1]} for a picture of {height}x{width}."
            )
        received = pairs.mean(0).reshape(grid)
        yield _share("pairwise attention", received), _heat(image, received / received.max())
    if "unary_attention" in seen:
        received = _one(seen, "unary_attention", 3)[..., 0]
        yield _share("unary attention", received), _heat(image, received / received.max())
    if "channel_attention" in seen:
        matrix = _one(seen, "channel_attention", 2)
        caption = f"channel attention: {len(matrix)} x {len(matrix)}, 0 to {matrix.max():.2g}"
        yield caption, _matrix(matrix / matrix.max(), image.shape[:2])


def _offsets(image: np.ndarray, seen: Mapping[str, np.ndarray]) -> Captioned:
    levels = sorted(
        (name.removeprefix("offsets_") for name in seen if re.fullmatch(r"offsets_p\d", name)),
        reverse=True,  # from coarse to fine, as the decoder goes
    )
    initial, weights = [], []
    for level in levels:
        fields = {"refined": _one(seen, f"offsets_{level}", 3)}
        if f"initial_offsets_{level}" in seen:
            fields["initial"] = _one(seen, f"initial_offsets_{level}", 3)
        limit = max(_length(field, 99) for field in fields.values())  # one scale for both
        told = f"pure colours {limit:.2g} cells" if limit > 0 else "all 0"
        for kind, field in fields.items():
            caption = f"{kind} offsets {level.upper()}: {told}"
            colors = Image.fromarray(flow_colors(_fit(image, field), limit or None))
            if kind == "initial":
                initial.append((caption, colors))
            else:
                yield caption, colors
        if f"offset_weights_{level}" in seen:
            shares = _one(seen, f"offset_weights_{level}", 3)  # (h, w, 9)
            shares = shares / shares.sum(-1, keepdims=True)
            entropy = -(shares * np.log(shares.clip(1e-12))).sum(-1) / np.log(shares.shape[-1])
            caption = f"neighbours' weights {level.upper()}: dark alike, light one alone"
            weights.append((caption, _heat(image, 1 - entropy)))
    if levels:
        field = _one(seen, f"offsets_{levels[-1]}", 3)
        stride = _covered(image, field)[0] / len(field)
        longest = max(stride * _length(field, 100), 1e-6)
        scale = float(f"{np.clip(_ARROW_STEP / longest, 1, 100):.1g}")
        arrows = flow_arrows(image, _fit(image, field) * stride, _ARROW_STEP, scale)
        size = "true length" if scale == 1 else f"{scale:g} times as long"
        yield f"refined offsets {levels[-1].upper()}: arrows, {size}", arrows
    yield from initial
    yield from weights


def _gates(image: np.ndarray, seen: Mapping[str, np.ndarray]) -> Captioned:
    numbers = sorted({int(name[4:]) for name in seen if re.fullmatch(r"gate\d+", name)})
    for number in numbers:
        values = _one(seen, f"gate{number}", 3).mean(-1)
        low, high = float(values.min()), float(values.max())
        spread = (values - low) / (high - low) if high > low else np.full_like(values, 0.5)
        yield f"gate {number}: {low:.2f} dark to {high:.2f} light", _heat(image, spread)
        if f"boost{number}" in seen:
            added = np.abs(_one(seen, f"boost{number}", 3)).mean(-1)
            most = float(added.max())
            caption = f"added by gate {number}: 0 dark to {most:.2g} light"
            yield caption, _heat(image, added / (most or 1.0))


def _one(seen: Mapping[str, np.ndarray], name: str, axes: int) -> np.ndarray:
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


def _share(name: str, received: np.ndarray) -> str:
    return f"{name}: up to {received.max() / received.mean():.1f} times the mean"


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


def _matrix(values: np.ndarray, size: tuple[int, int]) -> Image.Image:
    """A matrix as a square of sharp cells in the middle of a frame."""
    height, width = size
    side = min(size)
    how = Image.Resampling.NEAREST if len(values) < side else Image.Resampling.BOX
    square = np.asarray(Image.fromarray(values).resize((side, side), how))
    frame = Image.new("RGB", (width, height), _AROUND)
    frame.paste(heatmap(square, (side, side)), ((width - side) // 2, (height - side) // 2))
    return frame
