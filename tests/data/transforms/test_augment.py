"""Augmentation: image and mask stay together, ids stay ids, the rest is ignored."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageEnhance

from keras_focusseg.data import Augment
from keras_focusseg.data.transforms.augment import Params, warp_mask

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
    "all": {"scale": (0.4, 2.5), "aspect": 1.4, "translate": 0.3, "rotate": 45.0},
}
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


class TestGeometry:
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
        assert np.min(here) > 0.98
        # Half a pixel would cost half of what a whole one does, and not the same to both sides.
        assert 1 - np.mean(here) < 0.35 * (1 - np.mean(beside))

    def test_half_pixel_centres_at_scale_2(self):
        """A border at column k lies at 2k in both, exactly."""
        mask = np.zeros((20, 20), "uint8")
        mask[:, 7:] = 1
        params = Params(size=(40, 40), center=(10, 10), scale=(2.0, 2.0))
        image, warped = Augment().apply(params, painted(mask), mask)
        assert (warped == (np.arange(40) >= 14)).all()
        assert ((image[..., 0] > 127) == (np.arange(40) >= 14)).all()
        np.testing.assert_allclose(image[0, 13:15, 0], [0.25 * 255, 0.75 * 255], atol=1)

    def test_half_pixel_centres_at_scale_one_half(self):
        mask = np.zeros((40, 40), "uint8")
        mask[:, 14:] = 1
        params = Params(size=(20, 20), center=(20, 20), scale=(0.5, 0.5))
        image, warped = Augment().apply(params, painted(mask), mask)
        assert (warped == (np.arange(20) >= 7)).all()
        assert ((image[..., 0] > 127) == (np.arange(20) >= 7)).all()

    def test_flip_mirrors_exactly(self):
        image = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), "uint8")
        augment = Augment(scale=(1, 1), flip=1.0, **STILL)
        flipped, mask = augment(image, blobs(0), np.random.default_rng(0))
        np.testing.assert_array_equal(flipped, image[:, ::-1])
        np.testing.assert_array_equal(mask, blobs(0)[:, ::-1])

    def test_crop_at_scale_1_copies_pixels(self):
        image = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), "uint8")
        augment = Augment(crop_size=(31, 43), scale=(1, 1), flip=0.0, **STILL)
        rng = np.random.default_rng(1)
        for _ in range(5):
            params = augment.sample(rng, SIZE)
            top, left = (int(c - n / 2) for c, n in zip(params.center, params.size, strict=True))
            crop, mask = augment.apply(params, image, blobs(0))
            np.testing.assert_array_equal(crop, image[top : top + 31, left : left + 43])
            np.testing.assert_array_equal(mask, blobs(0)[top : top + 31, left : left + 43])

    def test_positive_angles_turn_the_content_counter_clockwise(self):
        mask = np.zeros((41, 41), "uint8")
        mask[20, 35] = 1  # right of the middle
        params = Params(size=(41, 41), center=(20.5, 20.5), angle=90.0)
        assert np.argwhere(warp_mask(params, mask) == 1).tolist() == [[5, 20]]  # above it

    def test_matrix_maps_the_middle_to_the_center(self):
        params = Params(size=(10, 30), center=(7.0, 9.0), scale=(0.7, 1.9), angle=33.0, flip=True)
        np.testing.assert_allclose(params.matrix() @ [15, 5, 1], [9.0, 7.0])

    def test_crops_reach_every_edge_and_stay_inside(self):
        augment = Augment(crop_size=(30, 40), scale=(1, 1))
        rng = np.random.default_rng(0)
        centers = np.array([augment.sample(rng, SIZE).center for _ in range(3000)])
        np.testing.assert_array_equal(centers.min(axis=0), [15, 20])
        np.testing.assert_array_equal(centers.max(axis=0), [75, 100])

    def test_small_sources_lie_anywhere_in_the_crop_and_are_all_there(self):
        augment = Augment(crop_size=(40, 50), scale=(1, 1), flip=0.0)
        mask = np.ones((10, 12), "uint8")
        rng = np.random.default_rng(0)
        starts = set()
        for _ in range(200):
            warped = warp_mask(augment.sample(rng, mask.shape), mask)
            assert (warped == 1).sum() == mask.size
            starts.add(int(np.argmax((warped == 1).any(axis=1))))
        assert min(starts) == 0 and max(starts) == 30

    def test_shrinking_does_not_alias(self):
        checkers = painted((np.indices(SIZE).sum(axis=0) % 2).astype("uint8"))
        params = Params(size=(30, 40), center=(45, 60), scale=(1 / 3, 1 / 3))
        image, _ = Augment().apply(params, checkers, blobs(0))
        assert np.ptp(image.astype(int)) < 60 and abs(image.mean() - 127.5) < 5

    def test_large_sources_give_the_same_as_their_visible_part(self):
        mask = blobs(0, (300, 400))
        image = np.asarray(Image.fromarray(painted(mask)).resize((400, 300)))
        params = Params(size=(50, 60), center=(150.0, 200.0), scale=(1.3, 1.3), angle=20.0)
        whole = Augment().apply(params, image, mask)
        part = Augment().apply(
            replace(params, center=(70.0, 90.0)), image[80:230, 110:300], mask[80:230, 110:300]
        )
        np.testing.assert_array_equal(whole[0], part[0])
        np.testing.assert_array_equal(whole[1], part[1])


class TestIds:
    @settings(max_examples=80, deadline=None)
    @given(
        ids=st.lists(st.integers(0, 255), min_size=1, max_size=6),
        seed=st.integers(0, 2**32),
        scale=st.floats(0.2, 4),
        stretch=st.floats(1, 3),
        translate=st.floats(0, 1),
        rotate=st.floats(0, 180),
        crop=st.none() | st.tuples(st.integers(1, 70), st.integers(1, 70)),
        share=st.none() | st.floats(0.1, 1),
    )
    def test_no_id_is_invented(self, ids, seed, scale, stretch, translate, rotate, crop, share):
        rng = np.random.default_rng(seed)
        mask = rng.choice(np.array(ids, "uint8"), (23, 31))
        image = rng.integers(0, 256, (23, 31, 3), "uint8")
        augment = Augment(
            crop_size=crop, scale=(scale, scale * 1.5), aspect=stretch, translate=translate,
            rotate=rotate, hue=0.5, brightness=1.0, contrast=1.0, saturation=1.0, blur=1.0,
            max_class_share=share,
        )  # fmt: skip
        new_image, new_mask = augment(image, mask, rng)
        assert new_image.dtype == new_mask.dtype == np.uint8
        assert new_mask.shape == new_image.shape[:2] == (crop or mask.shape)
        assert set(np.unique(new_mask)) <= {*ids, 255}

    @pytest.mark.parametrize("options", GEOMETRY.values(), ids=GEOMETRY)
    def test_what_comes_into_view_is_ignored_and_filled(self, options):
        augment = Augment(fill=FILL, **(STILL | {"brightness": 0.5, "hue": 0.3}), **options)
        white, mask = np.full((*SIZE, 3), 255, "uint8"), np.zeros(SIZE, "uint8")
        seen = 0
        for seed in range(20):
            image, warped = augment(white, mask, np.random.default_rng(seed))
            outside = warped == 255
            filled = (image == FILL).all(axis=-1)
            # Along the border the shrunken image and the mask may differ by one pixel.
            near = np.zeros_like(outside)
            for dy, dx in np.ndindex(3, 3):
                near |= np.roll(outside, (dy - 1, dx - 1), (0, 1)) != outside
            np.testing.assert_array_equal(filled[~near], outside[~near])
            assert (filled != outside).mean() < 0.02
            seen += outside.sum()
        assert (seen > 0) == (
            options not in (GEOMETRY["crop"], GEOMETRY["flip"], GEOMETRY["larger"])
        )

    def test_view_that_misses_the_source(self):
        params = Params(size=(5, 6), center=(-500.0, 40.0))
        image, mask = Augment(fill=FILL).apply(params, painted(blobs(0)), blobs(0))
        assert (mask == 255).all() and (image == FILL).all()


class TestColor:
    IMAGE = np.random.default_rng(0).integers(70, 180, (*SIZE, 3), "uint8")

    def recolored(self, **changes) -> np.ndarray:
        params = Params(size=SIZE, center=(45, 60), **changes)
        image, mask = Augment().apply(params, self.IMAGE, blobs(0))
        np.testing.assert_array_equal(mask, blobs(0))
        return image.astype(int)

    def test_nothing_changes_nothing(self):
        np.testing.assert_array_equal(self.recolored(), self.IMAGE)

    @pytest.mark.parametrize("factor", [0.6, 1.3])
    @pytest.mark.parametrize(
        ("name", "enhance"),
        [
            ("brightness", ImageEnhance.Brightness),
            ("saturation", ImageEnhance.Color),
            ("contrast", ImageEnhance.Contrast),
        ],
    )
    def test_factors_mean_what_pillow_means(self, name, enhance, factor):
        expected = np.asarray(enhance(Image.fromarray(self.IMAGE)).enhance(factor)).astype(int)
        assert np.abs(self.recolored(**{name: factor}) - expected).max() <= 2

    def test_hue_turns_the_colour_and_keeps_the_luma(self):
        luma = np.array([0.299, 0.587, 0.114])
        turned = self.recolored(hue=0.1)
        assert np.abs(turned - self.IMAGE).max() > 10
        kept = (turned > 0).all(axis=-1) & (turned < 255).all(axis=-1)
        np.testing.assert_allclose((turned @ luma)[kept], (self.IMAGE @ luma)[kept], atol=1.5)
        assert np.abs(self.recolored(hue=1.0) - self.IMAGE).max() <= 1

    def test_values_are_clipped_not_wrapped(self):
        assert self.recolored(brightness=2.0).max() == 255
        assert self.recolored(contrast=4.0).min() == 0

    def test_blur_smooths_the_image_only(self):
        blurred = self.recolored(blur=2.0)
        assert blurred.std() < 0.5 * self.IMAGE.std()
        assert abs(blurred.mean() - self.IMAGE.mean()) < 1


class TestSampling:
    def test_same_generator_same_result(self):
        augment = Augment(crop_size=(50, 60), rotate=20, aspect=1.5, blur=1, max_class_share=0.6)
        first = augment(TestColor.IMAGE, blobs(1), np.random.default_rng((3, 1, 4)))
        again = augment(TestColor.IMAGE, blobs(1), np.random.default_rng((3, 1, 4)))
        other = augment(TestColor.IMAGE, blobs(1), np.random.default_rng((3, 1, 5)))
        np.testing.assert_array_equal(first[0], again[0])
        np.testing.assert_array_equal(first[1], again[1])
        assert (first[0] != other[0]).any()

    def test_call_is_sample_then_apply(self):
        augment = Augment(crop_size=(50, 60), rotate=20)
        params = augment.sample(np.random.default_rng(5), SIZE)
        one = augment.apply(params, TestColor.IMAGE, blobs(1))
        two = augment(TestColor.IMAGE, blobs(1), np.random.default_rng(5))
        np.testing.assert_array_equal(one[0], two[0])
        np.testing.assert_array_equal(one[1], two[1])

    def test_ranges(self):
        augment = Augment(
            scale=(0.5, 2.0), aspect=1.5, flip=0.25, rotate=10, brightness=0.1, contrast=0.2,
            saturation=0.3, hue=0.05, blur=2.0,
        )  # fmt: skip
        rng = np.random.default_rng(0)
        drawn = [augment.sample(rng, SIZE) for _ in range(4000)]
        scales = np.array([p.scale for p in drawn])
        magnification, ratio = np.sqrt(scales.prod(axis=1)), scales[:, 1] / scales[:, 0]
        for values, low, high in (
            (magnification, 0.5, 2.0),
            (ratio, 1 / 1.5, 1.5),
            (np.array([p.angle for p in drawn]), -10, 10),
            (np.array([p.brightness for p in drawn]), 0.9, 1.1),
            (np.array([p.contrast for p in drawn]), 0.8, 1.2),
            (np.array([p.saturation for p in drawn]), 0.7, 1.3),
            (np.array([p.hue for p in drawn]), -0.05, 0.05),
            (np.array([p.blur for p in drawn]), 0, 2),
        ):
            assert low <= values.min() < low + 0.02 * (high - low)
            assert high - 0.02 * (high - low) < values.max() <= high
        assert abs(np.mean([p.flip for p in drawn]) - 0.25) < 0.03

    def test_a_class_may_not_fill_the_crop_where_another_position_helps(self):
        mask = np.zeros((100, 100), "uint8")
        mask[60:, 60:] = 1
        mask[:10] = 255  # ignored pixels do not count
        image = painted(mask % 2)

        def share(augment: Augment) -> float:
            over = 0
            for seed in range(200):
                _, crop = augment(image, mask, np.random.default_rng(seed))
                counts = np.bincount(crop[crop != 255], minlength=1)
                over += counts.max() > 0.75 * counts.sum()
            return over / 200

        plain = Augment(crop_size=(40, 40), scale=(1, 1))
        assert share(plain) > 0.6
        # Eleven positions, the first and ten more, have to fail.
        limited = share(replace(plain, max_class_share=0.75))
        assert abs(limited - share(plain) ** 11) < 0.05

    def test_masks_of_one_class_or_none_still_come_through(self):
        augment = Augment(crop_size=(20, 20), max_class_share=0.75)
        for value in (0, 255):
            mask = np.full(SIZE, value, "uint8")
            _, crop = augment(TestColor.IMAGE, mask, np.random.default_rng(0))
            assert set(np.unique(crop)) <= {value, 255}


class TestBaseSize:
    def test_images_of_any_shape_are_brought_to_one_size(self):
        """The sizes that 2048x512 means for ADE20K: whichever side reaches its limit first."""
        augment = Augment(base_size=(512, 2048), scale=(1, 1))
        for size, expected in (
            ((512, 683), (512, 683)),
            ((1024, 1536), (512, 768)),
            ((256, 300), (512, 600)),  # enlarged as well
            ((600, 400), (768, 512)),  # on its side
            ((100, 1000), (205, 2048)),  # long and narrow: the longer side is the limit
            ((1000, 100), (2048, 205)),
        ):
            params = augment.sample(np.random.default_rng(0), size)
            assert params.size == expected
            np.testing.assert_allclose(params.scale, expected[0] / size[0], rtol=0.01)
            np.testing.assert_allclose(params.center, np.array(size) / 2, atol=0.5)

    def test_scale_counts_from_there(self):
        rng = np.random.default_rng(0)
        augment = Augment(base_size=(180, 480), crop_size=(64, 64), scale=(0.5, 2.0))
        scales = np.array([augment.sample(rng, SIZE).scale[0] for _ in range(2000)])
        assert 1.0 <= scales.min() < 1.02 and 3.98 < scales.max() <= 4.0

    def test_what_fills_the_view_is_the_whole_image(self):
        image, mask = np.full((30, 50, 3), 255, "uint8"), np.ones((30, 50), "uint8")
        augment = Augment(base_size=(60, 200), scale=(1, 1), fill=FILL, **STILL)
        big, ids = augment(image, mask, np.random.default_rng(0))
        assert big.shape == (60, 100, 3) and (big == 255).all() and (ids == 1).all()


class TestShiftInPixels:
    AUGMENT = Augment(scale=(1, 1), flip=0.0, shift_pixels=10, fill=FILL, **STILL)

    def test_pixels_are_copied_and_the_rest_is_ignored(self):
        image = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), "uint8")
        shifts = set()
        for seed in range(300):
            center = self.AUGMENT.sample(np.random.default_rng(seed), SIZE).center
            dy, dx = int(center[0] - SIZE[0] / 2), int(center[1] - SIZE[1] / 2)
            shifts.add((dy, dx))
            if seed >= 20:
                continue
            moved, mask = self.AUGMENT(image, blobs(0), np.random.default_rng(seed))
            expected, ids = np.full_like(image, FILL), np.full(SIZE, 255, "uint8")
            to = np.s_[max(0, -dy) : SIZE[0] - max(0, dy), max(0, -dx) : SIZE[1] - max(0, dx)]
            source = np.s_[max(0, dy) : SIZE[0] + min(0, dy), max(0, dx) : SIZE[1] + min(0, dx)]
            expected[to], ids[to] = image[source], blobs(0)[source]
            np.testing.assert_array_equal(moved, expected)
            np.testing.assert_array_equal(mask, ids)
        drawn = np.array(sorted(shifts))
        assert drawn.min(axis=0).tolist() == [-10, -10] and drawn.max(axis=0).tolist() == [10, 10]

    def test_policies_without_it_draw_nothing_more(self):
        """Runs that are repeated or resumed after an update get the augmentations they had."""
        params = Augment(crop_size=(50, 60), rotate=20).sample(np.random.default_rng(5), SIZE)
        rng = np.random.default_rng(5)
        rng.random(2 + 2 + 2)  # magnification and stretch, position, translation
        assert params.flip == (rng.random() < 0.5)
        assert params.angle == pytest.approx(20 * rng.uniform(-1, 1, 5)[0])


class TestConfig:
    def test_survives_json(self):
        augment = Augment(crop_size=(288, 384), rotate=5.0, fill=FILL, max_class_share=0.75)
        again = Augment.from_config(json.loads(json.dumps(augment.to_config())))
        assert again == augment and hash(again) == hash(augment)

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"crop_size": (0, 5)}, "crop_size"),
            ({"crop_size": (5,)}, "crop_size"),
            ({"crop_size": (5.5, 5)}, "crop_size"),
            ({"scale": (2.0, 0.5)}, "scale"),
            ({"scale": (0.0, 1.0)}, "scale"),
            ({"aspect": 0.5}, "aspect"),
            ({"flip": 1.5}, "flip"),
            ({"translate": -0.1}, "translate"),
            ({"rotate": 270}, "rotate"),
            ({"brightness": 1.2}, "brightness"),
            ({"contrast": -0.2}, "contrast"),
            ({"saturation": 2}, "saturation"),
            ({"hue": 0.7}, "hue"),
            ({"blur": -1}, "blur"),
            ({"max_class_share": 0}, "max_class_share"),
            ({"fill": (0, 0, 300)}, "fill"),
            ({"fill": (0, 0)}, "fill"),
            ({"base_size": (0, 512)}, "base_size"),
            ({"base_size": (2048, 512)}, "base_size"),
            ({"shift_pixels": -1}, "shift_pixels"),
            ({"shift_pixels": 1.5}, "shift_pixels"),
        ],
    )
    def test_values_out_of_range(self, options, message):
        with pytest.raises(ValueError, match=f"Augment: {message} must be .* got"):
            Augment(**options)

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
