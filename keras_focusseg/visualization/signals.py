"""What `inspect` returned, as pictures: a network is known by the names of its signals."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from PIL import Image

from keras_focusseg.visualization.flow import flow_arrows, flow_colors
from keras_focusseg.visualization.pictures import heatmap, region_map

Pictures = dict[str, Image.Image]
LEVELS = ("p2", "p3", "p4")
GATES = range(1, 6)
ARROWS = 3  # most offsets are shorter than a cell


def signal_pictures(image: np.ndarray, seen: Mapping[str, np.ndarray]) -> Pictures:
    """Draws what a network saw in one picture.

    FoR-Net: importance and regions. SCRNet: the offsets of each upsampling as colours and, for the
    finest, as arrows; where its weight mask looks beyond the pixel itself; how much each position
    and each channel is attended to. SERNet-Former: the mean multiplier of each gate, and the mean
    size of what it adds. Signals that are absent are left out.

    Args:
        image: (H, W, 3) uint8.
        seen: What `model.inspect(image[None])` returned: arrays whose first axis is 1.

    Returns:
        Pictures of the size of the image by caption; the captions name ranges and units.

    Example:
        ```python
        for caption, picture in signal_pictures(image, model.inspect(image[None])).items():
            print(caption, picture.size)
        ```
    """
    one = {name: np.asarray(value, "float32")[0] for name, value in seen.items()}
    return {**_regions(image, one), **_refinement(image, one), **_gates(image, one)}


def _regions(image: np.ndarray, seen: Mapping[str, np.ndarray]) -> Pictures:
    pictures = {}
    if "importance" in seen:
        pictures["importance"] = heatmap(seen["importance"], image.shape[:2])
    if "importance" in seen and "masks" in seen:
        pictures["regions"] = region_map(image, seen["masks"])
    return pictures


def _refinement(image: np.ndarray, seen: Mapping[str, np.ndarray]) -> Pictures:
    size = image.shape[:2]
    pictures: Pictures = {}
    for level in LEVELS:
        offsets = seen.get(f"offsets_{level}")
        if offsets is None:
            continue
        longest = float(np.linalg.norm(offsets, axis=-1).max(initial=0.0))
        caption = f"offsets {level}: up to {longest:.1f} cells"
        pictures[caption] = _enlarged(flow_colors(offsets), size)
        if level == LEVELS[0]:
            caption = f"offsets {level} as arrows, {ARROWS} times as long"
            pictures[caption] = flow_arrows(image, offsets, step=16, scale=ARROWS)
        weights = seen.get(f"offset_weights_{level}")
        if weights is not None:
            away = 1.0 - weights[..., 4]  # the middle of the 3x3 neighbourhood is the pixel itself
            pictures[f"mask {level}: weight of the neighbours, 0 to 1"] = heatmap(away, size)
    if "unary_attention" in seen:
        height, width = seen["unary_attention"].shape[:2]
        saliency, top = _scaled(seen["unary_attention"])
        # Columns: how much all queries together look at each position.
        pairs, pairs_top = _scaled(seen["spatial_attention"].mean(0).reshape(height, width))
        positions = height * width
        caption = f"position attention: up to {pairs_top * positions:.1f} times the mean"
        pictures[caption] = heatmap(pairs, size)
        caption = f"saliency: up to {top * positions:.1f} times the mean"
        pictures[caption] = heatmap(saliency, size)
    if "channel_attention" in seen:
        affinity, top = _scaled(seen["channel_attention"])
        channels = len(affinity)
        pictures[f"channel attention, {channels} x {channels}: up to {top:.2f}"] = heatmap(
            affinity, size
        )
    return pictures


def _gates(image: np.ndarray, seen: Mapping[str, np.ndarray]) -> Pictures:
    pictures = {}
    for n in GATES:
        if f"gate{n}" in seen:
            multiplier = seen[f"gate{n}"].mean(-1)
            pictures[f"gate {n}: mean multiplier, 0 to 1"] = heatmap(multiplier, image.shape[:2])
        if f"boost{n}" in seen:
            added, top = _scaled(np.abs(seen[f"boost{n}"]).mean(-1))
            pictures[f"boost {n}: mean size, up to {top:.2f}"] = heatmap(added, image.shape[:2])
    return pictures


def _scaled(values: np.ndarray) -> tuple[np.ndarray, float]:
    """The map divided by its largest value, and that value."""
    top = float(values.max(initial=0.0))
    return values / max(top, 1e-12), top


def _enlarged(colors: np.ndarray, size: tuple[int, int]) -> Image.Image:
    height, width = size
    return Image.fromarray(colors).resize((width, height), Image.Resampling.NEAREST)
