"""Draws docs/images: scenes of the renderer and what shipped presets make of them.

python docs/make_pictures.py
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from keras_focusseg import data, presets, visualization

IMAGES = Path(__file__).resolve().parent / "images"
CARDS = IMAGES / "cards"
CARD_SCENE = 3
CARD_SIZE = (180, 240)
PRESET = "fornet_mobilenet_v2_synthetic_streets"
SCENES = (0, 4, 7)
SIZE = (240, 320)
# What the pages of these networks show of one scene: starts of the captions.
SIGNALS = {
    "scrnet_mobilenet_v2_camvid": (
        "refined offsets P3",
        "refined offsets P2: pure",
        "refined offsets P2: arrows",
        "neighbours' weights P2",
        "pairwise attention",
        "unary attention",
    ),
    "sernet_former_mobilenet_v2_camvid": (
        "gate 1",
        "added by gate 1",
        "gate 2",
        "added by gate 2",
        "gate 5",
        "added by gate 5",
    ),
}


def card(name: str) -> Image.Image:
    """One scene, its classes by a preset, and the first two signals inside."""
    model = presets.load(name)
    image = data.SyntheticStreets(CARD_SCENE + 1, seed=2026, split="test").load(CARD_SCENE).image
    seen = model.inspect(image[None])
    labels = seen["logits"][0].argmax(-1).astype("uint8")
    inside = visualization.signal_pictures(image, seen, model.panels)
    prediction = visualization.overlay(image, labels, model.label_space, 0.75)
    height, width = CARD_SIZE
    pictures = [Image.fromarray(image), prediction, *list(inside.values())[:2]]
    small = [p.resize((width, height), Image.Resampling.LANCZOS) for p in pictures]
    return Image.fromarray(np.concatenate([np.asarray(p) for p in small], axis=1))


def main() -> None:
    """Writes every picture."""
    CARDS.mkdir(parents=True, exist_ok=True)
    for name in presets.names():
        if presets.record(name).weights is not None:
            card(name).save(CARDS / f"{name}.jpg", quality=85, optimize=True)
    model = presets.load(PRESET)
    source = data.SyntheticStreets(max(SCENES) + 1, seed=2026, split="test")
    rows = []
    for scene in SCENES:
        image = source.load(scene).image
        seen = model.inspect(image[None])
        labels = seen["logits"][0].argmax(-1).astype("uint8")
        pictures = (
            Image.fromarray(image),
            visualization.overlay(image, labels, model.label_space, 0.75),
            visualization.heatmap(seen["importance"][0], labels.shape),
            visualization.region_map(image, seen["masks"][0]),
        )
        height, width = SIZE
        small = [p.resize((width, height), Image.Resampling.LANCZOS) for p in pictures]
        rows.append(np.concatenate([np.asarray(p) for p in small], axis=1))
    sheet = Image.fromarray(np.concatenate(rows))
    sheet.save(IMAGES / "streets.jpg", quality=90, optimize=True)
    visualization.legend(model.label_space, columns=6).save(IMAGES / "legend.png")
    visualization.flow_wheel(96).save(IMAGES / "wheel.png")
    image = source.load(SCENES[0]).image
    for preset, captions in SIGNALS.items():
        _signal_sheet(preset, captions, image).save(
            IMAGES / f"{preset}.jpg", quality=88, optimize=True
        )


def _signal_sheet(preset: str, captions: tuple[str, ...], image: np.ndarray) -> Image.Image:
    """Scene, prediction and six signals, four a row."""
    model = presets.load(preset)
    seen = model.inspect(image[None])
    drawn = visualization.signal_pictures(image, seen, model.panels)
    labels = seen["logits"][0].argmax(-1).astype("uint8")
    pictures = [
        Image.fromarray(image),
        visualization.overlay(image, labels, model.label_space, 0.75),
    ]
    for start in captions:
        pictures.append(next(p for caption, p in drawn.items() if caption.startswith(start)))
    height, width = SIZE
    tiles = [np.asarray(p.resize((width, height), Image.Resampling.LANCZOS)) for p in pictures]
    return Image.fromarray(
        np.concatenate([np.concatenate(tiles[i : i + 4], axis=1) for i in (0, 4)])
    )


if __name__ == "__main__":
    main()
