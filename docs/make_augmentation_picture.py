"""Draws docs/images/augmentation.png: each step on rendered streets, image above mask.

python docs/make_augmentation_picture.py
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from keras_focusseg import data

OUT = Path(__file__).resolve().parent / "images" / "augmentation.png"
SIZE = (120, 160)
# What is drawn, its caption, and a seed that shows it well.
TILES = [
    (data.Flip(0.0), "a scene", 0),
    (data.ScaleCrop(SIZE, scale=(0.5, 2.0)), "ScaleCrop, enlarged", 4),
    (data.ScaleCrop(SIZE, scale=(0.5, 0.7)), "ScaleCrop, shrunk", 2),
    (data.ClassUniformCrop(SIZE, scale=(2.5, 2.5)), "ClassUniformCrop", 5),
    (data.Flip(1.0), "Flip", 0),
    (data.Rotate(20.0), "Rotate(20)", 3),
    (data.Shear(15.0), "Shear(15)", 1),
    (data.Translate(0.3), "Translate(0.3)", 3),
    (data.ColorJitter(0.5, 0.5, 0.5, 0.1), "ColorJitter", 5),
    (data.Blur(4.0, 1.0), "Blur(4)", 4),
    (data.Grayscale(1.0), "Grayscale", 0),
    (data.RandAugment(3, 9.0), "RandAugment(3, 9)", 10),
    (data.CutMix(1.0, (0.2, 0.4)), "CutMix", 2),
    (data.ClassMix(1.0), "ClassMix", 3),
    (
        data.Compose([data.ScaleCrop(SIZE), data.Flip(), data.Rotate(10.0), data.ColorJitter()]),
        "four steps, one map",
        9,
    ),
]
COLUMNS = 5
CAPTION = 17


def main() -> None:
    """Writes the picture."""
    source = data.SyntheticStreets(2, size=SIZE, seed=2026, split="test")
    scene, other = source.load(0), source.load(1)
    palette = np.zeros((256, 3), "uint8")
    palette[: source.label_space.num_classes] = source.label_space.colors

    def partner(number: int) -> tuple[np.ndarray, np.ndarray, np.random.Generator]:
        return other.image, other.mask, np.random.default_rng(number)

    height, width = 2 * SIZE[0] + CAPTION, SIZE[1]
    rows = -(-len(TILES) // COLUMNS)
    sheet = Image.new("RGB", (COLUMNS * (width + 4) - 4, rows * (height + 6) - 6), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=12)
    for number, (step, caption, seed) in enumerate(TILES):
        augment = data.Compose([step])
        image, mask = augment(scene.image, scene.mask, np.random.default_rng(seed), partner=partner)
        x, y = number % COLUMNS * (width + 4), number // COLUMNS * (height + 6)
        draw.text((x + 2, y), caption, "black", font)
        sheet.paste(Image.fromarray(image), (x, y + CAPTION))
        sheet.paste(Image.fromarray(palette[mask]), (x, y + CAPTION + SIZE[0]))
    sheet.quantize(128, dither=Image.Dither.NONE).save(OUT, optimize=True)


if __name__ == "__main__":
    main()
