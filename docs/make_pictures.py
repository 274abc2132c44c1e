"""Draws docs/images: scenes of the renderer and what a shipped preset makes of them.

python docs/make_pictures.py
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from keras_focusseg import data, presets, visualization

IMAGES = Path(__file__).resolve().parent / "images"
PRESET = "fornet_mobilenet_v2_synthetic_streets"
SCENES = (0, 4, 7)
SIZE = (240, 320)


def main() -> None:
    """Writes every picture."""
    IMAGES.mkdir(exist_ok=True)
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


if __name__ == "__main__":
    main()
