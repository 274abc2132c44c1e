"""`Augment`: which steps it makes, and that image and mask stay together through all of them."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from keras_focusseg.data import (
    Augment,
    Blur,
    ColorJitter,
    Compose,
    Flip,
    Rotate,
    ScaleCrop,
    Translate,
    augmentation,
)
from keras_focusseg.data.transforms import warp

SIZE = (90, 120)
FILL = (1, 2, 3)
STILL = {"brightness": 0.0, "contrast": 0.0, "saturation": 0.0, "hue": 0.0}
GEOMETRY = {
    "crop": {"scale": (1.0, 1.0), "flip": 0.0},
    "flip": {"scale": (1.0, 1.0), "flip": 1.0},
    "larger": {"scale": (1.0, 3.0)},
    "smaller": {"scale": (0.3, 1.0)},
    "aspect": {"scale": (0.8, 1.2), "aspect": 2.0},
    "translate": {"scale": (1.0, 1.0), "translate": 0.5},
    "rotate": {"scale": (1.0, 1.0), "rotate": 180.0},
    "all": {
        "scale": (0.4, 2.5), "aspect": 1.4, "translate": 0.3, "rotate": 45.0, "shift_pixels": 5
    },
}  # fmt: skip
CROPS = {"crop 64x80": (64, 80), "crop larger than the source": (150, 133), "source size": None}


def blobs(seed: int, size: tuple[int, int] = SIZE) -> np.ndarray:
    """Two classes, 0 and 1, with smooth borders: a mask that bilinear reading can be held to."""
    noise = np.random.default_rng(seed).integers(0, 256, (5, 6), "uint8")
    smooth = Image.fromarray(noise).resize(size[::-1], Image.Resampling.BICUBIC)
    return (np.asarray(smooth) > 127).astype("uint8")


def painted(mask: np.ndarray) -> np.ndarray:
    """An image that shows the mask: black and white."""
    return np.repeat(mask[..., None] * np.uint8(255), 3, axis=-1)


def agreement(image: np.ndarray, mask: np.ndarray, dy: int = 0, dx: int = 0) -> float:
    """Share of the labelled pixels where the image, moved by (dy, dx), shows the mask."""
    seen = np.roll(image[..., 0] > 127, (dy, dx), (0, 1))
    inner = np.zeros(mask.shape, bool)
    inner[2:-2, 2:-2] = True
    inner &= mask != 255
    return float((seen == (mask == 1))[inner].mean()) if inner.any() else 1.0


class TestSteps:
    def test_each_argument_makes_its_step(self):
        colors = ColorJitter(0.2, 0.2, 0.2, 0.02)
        crop = ScaleCrop(None, (0.5, 2.0), None)
        assert Augment() == Compose([crop, Flip(0.5), colors])
        assert Augment(flip=0.0, **STILL) == Compose([crop])
        everything = Augment(
            crop_size=(48, 64), scale=(0.8, 1.5), aspect=1.2, flip=0.3, translate=0.1, rotate=5.0,
            brightness=0.1, contrast=0.2, saturation=0.3, hue=0.04, blur=1.5,
            max_class_share=0.75, fill=FILL, base_size=(60, 90), shift_pixels=9,
        )  # fmt: skip
        steps = [
            Translate(0.1),
            ScaleCrop((48, 64), (0.8, 1.5), 0.75, (60, 90), 1.2),
            Translate(pixels=9),
            Flip(0.3),
            Rotate(5.0),
            ColorJitter(0.1, 0.2, 0.3, 0.04),
            Blur(1.5, probability=1.0),
        ]
        assert everything == Compose(steps, FILL)

    def test_it_can_be_stored_and_kept_at_its_scale(self):
        augment = Augment((288, 384), rotate=5.0, fill=FILL, max_class_share=0.75)
        assert augmentation(json.loads(json.dumps(augment.to_config()))) == augment
        assert augment.crop_size == (288, 384) and augment.takes_target
        assert not augment.needs_partner
        assert augment.at_scale_1() == Augment(
            (288, 384), (1.0, 1.0), rotate=5.0, fill=FILL, max_class_share=0.75
        )

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"crop_size": (0, 5)}, "ScaleCrop: size"),
            ({"crop_size": (5,)}, "ScaleCrop: size"),
            ({"crop_size": (5.5, 5)}, "ScaleCrop: size"),
            ({"scale": (2.0, 0.5)}, "ScaleCrop: scale"),
            ({"aspect": 0.5}, "ScaleCrop: aspect"),
            ({"flip": 1.5}, "Flip: probability"),
            ({"translate": -0.1}, "Translate: share"),
            ({"rotate": 270}, "Rotate: degrees"),
            ({"brightness": 1.2}, "ColorJitter: brightness"),
            ({"contrast": -0.2}, "ColorJitter: contrast"),
            ({"saturation": 2}, "ColorJitter: saturation"),
            ({"hue": 0.7}, "ColorJitter: hue"),
            ({"blur": -1}, "Blur: sigma"),
            ({"max_class_share": 0}, "ScaleCrop: max_class_share"),
            ({"fill": (0, 0, 300)}, "Compose: fill"),
            ({"base_size": (2048, 512)}, "ScaleCrop: base_size"),
            ({"shift_pixels": -1}, "Translate: pixels"),
            ({"shift_pixels": 1.5}, "Translate: pixels"),
        ],
    )
    def test_values_out_of_range(self, options, message):
        with pytest.raises(ValueError, match=f"{message} must be .* got"):
            Augment(**options)


class TestResults:
    @pytest.mark.parametrize("crop", CROPS.values(), ids=CROPS)
    @pytest.mark.parametrize("options", GEOMETRY.values(), ids=GEOMETRY)
    def test_image_and_mask_stay_aligned(self, options, crop):
        augment = Augment(crop_size=crop, fill=(0, 0, 0), **STILL, **options)
        here, beside = [], []
        for seed in range(12):
            mask = blobs(seed)
            image, warped = augment(painted(mask), mask, np.random.default_rng(seed))
            assert image.shape == (*(crop or SIZE), 3) and warped.shape == (crop or SIZE)
            here.append(agreement(image, warped))
            beside += [agreement(image, warped, *d) for d in ((0, 1), (1, 0), (0, -1), (-1, 0))]
        assert np.min(here) > 0.97
        # Half a pixel would cost half of what a whole one does, and not the same to both sides.
        assert 1 - np.mean(here) < 0.35 * (1 - np.mean(beside))

    @pytest.mark.parametrize("options", GEOMETRY.values(), ids=GEOMETRY)
    def test_only_what_turns_is_warped(self, options, monkeypatch):
        """The straight path is several times as fast: nothing else may leave it."""
        warped = []
        general = warp.read_general
        monkeypatch.setattr(
            warp, "read_general", lambda *given: warped.append(1) or general(*given)
        )
        augment = Augment((64, 80), blur=1.0, **options)
        for seed in range(3):
            augment(painted(blobs(0)), blobs(0), np.random.default_rng(seed))
        assert len(warped) == (6 if "rotate" in options else 0)  # image and mask

    def test_a_shift_in_pixels_copies_them_and_the_rest_is_ignored(self):
        augment = Augment(scale=(1, 1), flip=0.0, shift_pixels=10, fill=FILL, **STILL)
        image = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), "uint8")
        marked = np.zeros(SIZE, "uint8")
        marked[40, 50] = 9
        shifts = set()
        for seed in range(300):
            moved, mask = augment(image, marked, np.random.default_rng(seed))
            ((y, x),) = np.argwhere(mask == 9)
            dy, dx = int(y) - 40, int(x) - 50
            shifts.add((dy, dx))
            expected, ids = np.full_like(image, FILL), np.full(SIZE, 255, "uint8")
            to = np.s_[max(0, dy) : SIZE[0] + min(0, dy), max(0, dx) : SIZE[1] + min(0, dx)]
            source = np.s_[max(0, -dy) : SIZE[0] - max(0, dy), max(0, -dx) : SIZE[1] - max(0, dx)]
            expected[to], ids[to] = image[source], marked[source]
            np.testing.assert_array_equal(moved, expected)
            np.testing.assert_array_equal(mask, ids)
        drawn = np.array(sorted(shifts))
        assert drawn.min(axis=0).tolist() == [-10, -10] and drawn.max(axis=0).tolist() == [10, 10]

    def test_a_shift_by_shares_counts_in_the_source(self):
        """At any scale of the crop the content leaves the view by up to that share of it."""
        augment = Augment((180, 240), (2.0, 2.0), flip=0.0, translate=0.25, **STILL)
        mask, ignored = np.zeros(SIZE, "uint8"), []
        for seed in range(100):
            _, moved = augment(painted(mask), mask, np.random.default_rng(seed))
            ignored.append((moved == 255).all(axis=1).sum() / 180)
        assert 0.22 < max(ignored) <= 0.25

    def test_same_generator_same_result(self):
        augment = Augment(crop_size=(50, 60), rotate=20, aspect=1.5, blur=1, max_class_share=0.6)
        image = np.random.default_rng(0).integers(70, 180, (*SIZE, 3), "uint8")
        first = augment(image, blobs(1), np.random.default_rng((3, 1, 4)))
        again = augment(image, blobs(1), np.random.default_rng((3, 1, 4)))
        other = augment(image, blobs(1), np.random.default_rng((3, 1, 5)))
        np.testing.assert_array_equal(first[0], again[0])
        np.testing.assert_array_equal(first[1], again[1])
        assert (first[0] != other[0]).any()

    def test_masks_of_one_class_or_none_still_come_through(self):
        augment = Augment(crop_size=(20, 20), max_class_share=0.75)
        for value in (0, 255):
            mask = np.full(SIZE, value, "uint8")
            _, crop = augment(painted(mask), mask, np.random.default_rng(0))
            assert set(np.unique(crop)) <= {value, 255}

    @pytest.mark.parametrize(
        ("image", "mask", "message"),
        [
            (np.zeros((4, 4, 3)), np.zeros((4, 4), "uint8"), r"float64 \(4, 4, 3\)"),
            (np.zeros((4, 4), "uint8"), np.zeros((4, 4), "uint8"), r"uint8 \(4, 4\)"),
            (np.zeros((4, 4, 3), "uint8"), np.zeros((4, 4), "int32"), r"int32 \(4, 4\)"),
            (np.zeros((4, 4, 3), "uint8"), np.zeros((4, 5), "uint8"), r"uint8 \(4, 5\)"),
        ],
    )
    def test_wrong_arrays(self, image, mask, message):
        with pytest.raises(ValueError, match=message):
            Augment()(image, mask, np.random.default_rng(0))
