"""Named steps: image and mask stay together, geometry is one map, configs survive JSON."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageEnhance

from keras_focusseg import data
from keras_focusseg.data import (
    Blur,
    ClassMix,
    ClassUniformCrop,
    ColorJitter,
    Compose,
    CutMix,
    Flip,
    Grayscale,
    KerasAugment,
    RandAugment,
    Rotate,
    ScaleCrop,
    Shear,
    Translate,
)
from keras_focusseg.data.transforms import color, geometry, warp
from keras_focusseg.data.transforms.compose import STEPS
from keras_focusseg.data.transforms.rand_augment import _OPERATIONS
from tests.data.transforms.test_augment import FILL, SIZE, agreement, blobs, painted

GEOMETRIC_OPS = ("rotate", "shear_x", "shear_y", "translate_x", "translate_y")
COLOR_OPS = tuple(name for name in _OPERATIONS if name not in GEOMETRIC_OPS)
MOVING = {
    "scale-crop": ScaleCrop((64, 80), scale=(0.4, 2.5), max_class_share=None),
    "crop larger than the source": ScaleCrop((150, 133), scale=(0.5, 1.0)),
    "stretched crop": ScaleCrop(None, scale=(0.8, 1.5), aspect=1.7),
    "base size": ScaleCrop((64, 64), base_size=(70, 400), scale=(0.5, 1.5)),
    "class-uniform crop": ClassUniformCrop((40, 50), scale=(0.5, 2.0)),
    "flip": Flip(1.0),
    "vertical flip": Flip(1.0, vertical=True),
    "rotate": Rotate(45.0),
    "turn anywhere": Rotate(180.0),
    "shear": Shear(20.0),
    "translate": Translate(0.4),
    "rand-augment": RandAugment(3, 10.0, GEOMETRIC_OPS),
    "all": Compose([ScaleCrop((64, 80)), Flip(), Rotate(20.0), Shear(10.0), Translate(0.1)]),
}
COLORS = {
    "jitter": ColorJitter(0.9, 0.9, 0.9, 0.3),
    "light alone": ColorJitter(0.9, 0.9, 0.0, 0.0),
    "blur": Blur(3.0, probability=1.0),
    "grey": Grayscale(1.0),
    **{f"rand-augment: {name}": RandAugment(1, 10.0, (name,)) for name in COLOR_OPS},
}
IMAGE = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), "uint8")
NEAREST, BILINEAR = Image.Resampling.NEAREST, Image.Resampling.BILINEAR


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


class TestGeometry:
    @pytest.mark.parametrize("step", MOVING.values(), ids=MOVING)
    def test_image_and_mask_stay_aligned(self, step):
        here, beside = [], []
        for seed in range(16):
            mask = blobs(seed)
            image, moved = Compose([step], fill=(0, 0, 0))(painted(mask), mask, rng(seed))
            here.append(agreement(image, moved))
            beside += [agreement(image, moved, *d) for d in ((0, 1), (1, 0), (0, -1), (-1, 0))]
        assert np.min(here) > 0.97
        # Half a pixel would cost half of what a whole one does, and not the same to both sides.
        assert 1 - np.mean(here) < 0.35 * (1 - np.mean(beside))

    @pytest.mark.parametrize("step", MOVING.values(), ids=MOVING)
    def test_new_area_is_ignored_and_filled_and_nothing_else_is(self, step):
        policy = Compose([step, ColorJitter(0.5, 0.5, 0.5, 0.2)], fill=FILL)
        white, mask = np.full((*SIZE, 3), 255, "uint8"), np.zeros(SIZE, "uint8")
        for seed in range(12):
            image, moved = policy(white, mask, rng(seed))
            outside, filled = moved == 255, (image == FILL).all(axis=-1)
            near = np.zeros_like(outside)  # where rotated, the border is soft
            for dy, dx in np.ndindex(3, 3):
                near |= np.roll(outside, (dy - 1, dx - 1), (0, 1)) != outside
            np.testing.assert_array_equal(filled[~near], outside[~near])
            assert (filled != outside).mean() < 0.05
            if not isinstance(step, Compose | Rotate | Shear | RandAugment):
                np.testing.assert_array_equal(filled, outside)

    def test_neighbouring_steps_are_one_map(self):
        """There and back again gives every pixel as it was, which resampling twice would not."""

        class Turn(data.Step):
            def __init__(self, degrees):
                self.degrees = degrees

            def run(self, canvas, rng):
                geometry.turn(canvas, self.degrees)
                geometry.slant(canvas, self.degrees / 90, 0.0)
                canvas.edit(lambda image: image)
                geometry.slant(canvas, -self.degrees / 90, 0.0)

        for turns in ((30, -30), (17, 20, -37), (90, 90, 90, 90)):
            image, mask = Compose([Turn(turn) for turn in turns])(IMAGE, blobs(0), rng())
            np.testing.assert_array_equal(image, IMAGE)
            np.testing.assert_array_equal(mask, blobs(0))

    def test_the_image_is_read_once(self, monkeypatch):
        reads = []
        see_image = warp.see_image
        monkeypatch.setattr(
            warp, "see_image", lambda *options: reads.append(1) or see_image(*options)
        )
        steps = [ScaleCrop((50, 60)), ColorJitter(), Flip(), Blur(), Rotate(9.0), RandAugment()]
        Compose(steps)(IMAGE, blobs(0), rng())
        assert len(reads) == 1

    def test_flips_mirror_and_translations_copy(self):
        for step, expected in (
            (Flip(1.0), np.s_[:, ::-1]),
            (Flip(1.0, vertical=True), np.s_[::-1]),
            (Compose([Flip(1.0), Flip(1.0, vertical=True)]), np.s_[::-1, ::-1]),
        ):
            image, mask = step(IMAGE, blobs(0), rng())
            np.testing.assert_array_equal(image, IMAGE[expected])
            np.testing.assert_array_equal(mask, blobs(0)[expected])
        class_9 = np.zeros(SIZE, "uint8")
        class_9[40, 50] = 9
        places = set()
        for seed in range(60):
            image, mask = Translate(0.2)(IMAGE, class_9, rng(seed))
            ((y, x),) = np.argwhere(mask == 9)
            assert (image[y, x] == IMAGE[40, 50]).all()
            places.add((int(y), int(x)))
        ys, xs = np.array(sorted(places)).T
        assert ys.min() < 26 and ys.max() > 54 and abs(ys - 40).max() <= 18
        assert xs.min() < 30 and xs.max() > 70 and abs(xs - 50).max() <= 24

    def test_positive_angles_turn_counter_clockwise(self):
        mask = np.zeros((41, 41), "uint8")
        mask[20, 35] = 1  # right of the middle
        canvas = data.transforms.Canvas(painted(mask), mask)
        geometry.turn(canvas, 90.0)
        image, mask = canvas.arrays()
        assert np.argwhere(mask == 1).tolist() == [[5, 20]]  # above it
        assert image[5, 20, 0] > 200

    def test_half_pixel_centres(self):
        for size, border, scale in ((20, 7, 2.0), (40, 14, 0.5)):
            mask = np.zeros((size, size), "uint8")
            mask[:, border:] = 1
            result = int(size * scale)
            crop = ScaleCrop((result, result), scale=(scale, scale), max_class_share=None)
            image, moved = crop(painted(mask), mask, rng())
            assert (moved == (np.arange(result) >= border * scale)).all()
            assert ((image[..., 0] > 127) == (np.arange(result) >= border * scale)).all()

    def test_shrinking_does_not_alias(self):
        checkers = painted((np.indices(SIZE).sum(axis=0) % 2).astype("uint8"))
        for steps in ([], [Rotate(30.0)]):
            shrink = ScaleCrop((30, 40), scale=(1 / 3, 1 / 3))
            image, mask = Compose([shrink, *steps])(checkers, blobs(0), rng(3))
            inner = image[8:-8, 8:-8].astype(int)
            assert np.ptp(inner) < 60 and abs(inner.mean() - 127.5) < 5

    def test_images_of_any_shape_are_brought_to_a_base_size(self):
        crop = ScaleCrop(None, base_size=(51, 204), scale=(1.0, 1.0))
        for size, expected in (((51, 68), (51, 68)), ((102, 153), (51, 76)), ((60, 40), (76, 51))):
            image, mask = crop(np.full((*size, 3), 255, "uint8"), np.ones(size, "uint8"), rng())
            assert mask.shape == expected and (mask == 1).all() and (image == 255).all()

    def test_scales_and_shapes_are_drawn_from_their_ranges(self):
        crop, scales = ScaleCrop((64, 64), (0.5, 2.0), None, (180, 480), 1.5), []
        for seed in range(2000):
            canvas = data.transforms.Canvas(IMAGE, blobs(0))
            crop.run(canvas, rng(seed))
            scales.append(canvas._view.scale)
        scales = np.array(scales)
        for values, low, high in (
            (np.sqrt(scales.prod(axis=1)), 1.0, 4.0),  # twice the source, as the base size says
            (scales[:, 1] / scales[:, 0], 1 / 1.5, 1.5),
        ):
            assert low <= values.min() * 1.0001 and values.min() < low + 0.02 * (high - low)
            assert high - 0.02 * (high - low) < values.max() <= high * 1.0001

    def test_crops_reach_every_edge_and_stay_inside(self):
        starts = []
        for seed in range(3000):
            canvas = data.transforms.Canvas(IMAGE, blobs(0))
            ScaleCrop((30, 40), (1, 1), None).run(canvas, rng(seed))
            starts.append(canvas._view.matrix[::-1, 2])
        np.testing.assert_array_equal(np.min(starts, axis=0), [0, 0])
        np.testing.assert_array_equal(np.max(starts, axis=0), [60, 80])

    def test_small_sources_lie_anywhere_in_the_crop_and_are_all_there(self):
        crop = ScaleCrop((40, 50), scale=(1, 1))
        mask, starts = np.ones((10, 12), "uint8"), set()
        for seed in range(200):
            _, moved = crop(painted(mask), mask, rng(seed))
            assert (moved == 1).sum() == mask.size
            starts.add(int(np.argmax((moved == 1).any(axis=1))))
        assert min(starts) == 0 and max(starts) == 30

    def test_steps_start_from_the_source_and_not_from_the_crop(self):
        """What a rotation brings into a crop is the picture around it, where there is any."""
        mask = np.zeros((200, 200), "uint8")
        policy = Compose([ScaleCrop((60, 60), scale=(1, 1), max_class_share=None), Rotate(45.0)])
        shares = [(policy(painted(mask), mask, rng(seed))[1] == 255).mean() for seed in range(40)]
        alone = [(Rotate(45.0)(painted(mask), mask, rng(seed))[1] == 255).mean() for seed in (0, 1)]
        assert np.mean(shares) < 0.01 and min(alone) > 0.01


class TestReading:
    @pytest.mark.parametrize("seed", range(6))
    def test_four_reads_of_the_nearest_pixel_make_a_bilinear_one(self, seed, monkeypatch):
        random = rng(seed)
        linear = random.uniform(-0.7, 0.7, (2, 2)) + np.diag([0.3, 0.3])
        matrix = np.column_stack([linear, [30, 25] - linear @ [100, 90]])
        view = warp.View(matrix, (180, 200))
        smooth = np.asarray(Image.fromarray(IMAGE[::6, ::6]).resize(SIZE[::-1]))
        fast = warp.see_image(view, smooth, FILL).astype(int)
        monkeypatch.setattr(warp, "_FIXED_POINT_LIMIT", 0)  # from here on, Pillow's own
        exact = warp.see_image(view, smooth, FILL).astype(int)
        y, x = np.indices(view.size) + 0.5
        x, y = np.tensordot(linear, (x, y), 1) + matrix[:, 2, None, None]
        margin = np.minimum(np.minimum(x, SIZE[1] - x), np.minimum(y, SIZE[0] - y))
        inner, outer = margin > 1.5, margin < -1.5  # the border itself is soft
        assert inner.sum() > 500 and outer.any()
        assert np.abs(fast - exact)[inner].max() <= 2
        assert (fast[outer] == FILL).all()

    @pytest.mark.parametrize("seed", range(8))
    @pytest.mark.parametrize("mirrored", [(1, 1), (-1, 1), (1, -1)])
    def test_the_straight_path_reads_what_the_general_one_reads(self, mirrored, seed, monkeypatch):
        """Crop, enlarge and mirror: masks exactly, images within one grey level."""
        random = rng(seed)
        steps = random.uniform(0.3, 1.0, 2) if seed else np.ones(2)
        size = (70, 90)
        room = np.array(SIZE) - steps * size - 4
        start = 2 + random.uniform(0, room) if seed else np.array([4.0, 9.0])
        matrix = np.array([[steps[1], 0, start[1]], [0, steps[0], start[0]]])
        for axis, sign in enumerate(mirrored[::-1]):
            if sign < 0:
                matrix[axis, 2] += matrix[axis, axis] * size[::-1][axis]
                matrix[axis, axis] *= -1
        view = warp.View(matrix, size)
        assert view.is_straight
        smooth = np.asarray(Image.fromarray(IMAGE[::6, ::6]).resize(SIZE[::-1]))
        straight = warp.read_straight(view, smooth, BILINEAR, FILL).astype(int)
        blended = np.abs(straight - warp.read_general(view, smooth, BILINEAR, FILL))
        assert blended.max() <= 2 and (blended > 1).mean() < 0.01  # its three blends round
        monkeypatch.setattr(warp, "_FIXED_POINT_LIMIT", 0)  # from here on, Pillow's bilinear read
        assert np.abs(straight - warp.read_general(view, smooth, BILINEAR, FILL)).max() <= 1
        mask = blobs(seed)
        np.testing.assert_array_equal(
            warp.read_straight(view, mask, NEAREST, 255),
            warp.read_general(view, mask, NEAREST, 255),
        )

    def test_the_straight_path_leaves_the_source_where_the_general_one_does(self):
        """Beyond the border both are ignored; on it the general path blends with the fill."""
        view = warp.View(np.array([[0.613, 0, -20.3], [0, 0.457, -9.8]]), (300, 310))
        mask = np.zeros(SIZE, "uint8")
        both = (warp.read_straight, warp.read_general)
        outside, other = (read(view, mask, NEAREST, 255) for read in both)
        np.testing.assert_array_equal(outside, other)
        white = np.full((*SIZE, 3), 255, "uint8")
        straight, general = (read(view, white, BILINEAR, FILL) for read in both)
        np.testing.assert_array_equal((straight == FILL).all(-1), outside == 255)
        blended = ~((general == FILL).all(-1) | (general == 255).all(-1))
        assert blended.any() and (straight != general).any(-1)[~blended].mean() < 0.02

    def test_shrinking_is_one_average_and_not_two(self):
        view = warp.View(np.array([[1.7, 0, 3.2], [0, 1.4, 2.1]]), (50, 60))
        smooth = np.asarray(Image.fromarray(IMAGE[::6, ::6]).resize(SIZE[::-1]))
        straight, general = (
            read(view, smooth, BILINEAR, FILL).astype(int)
            for read in (warp.read_straight, warp.read_general)
        )
        assert 0 < np.abs(straight - general).mean() < 2 and straight.std() > general.std()

    @pytest.mark.parametrize("sigma", [0.3, 0.7, 1.0, 2.5, 4.0])
    def test_blur_is_gaussian(self, sigma):
        ndimage = pytest.importorskip("scipy.ndimage")
        blurred = np.asarray(color.blur(Image.fromarray(IMAGE), sigma)).astype(float)
        for channel in range(3):
            expected = ndimage.gaussian_filter(
                IMAGE[..., channel].astype(float), sigma, mode="nearest"
            )
            assert np.abs(blurred[..., channel] - expected).max() < 5
            assert np.abs(blurred[..., channel] - expected).mean() < 0.7

    @pytest.mark.parametrize("value", [0, 1, 254, 255])
    def test_blur_keeps_flat_pictures(self, value):
        flat = Image.new("RGB", (9, 7), (value,) * 3)
        for sigma in (0.0, 0.2, 0.9, 4.0, 9.0):
            assert (np.asarray(color.blur(flat, sigma)) == value).all()


class TestIds:
    @settings(max_examples=120, deadline=None)
    @given(
        ids=st.lists(st.integers(0, 255), min_size=1, max_size=6),
        seed=st.integers(0, 2**32),
        size=st.tuples(st.integers(1, 40), st.integers(1, 40)),
        crop=st.none() | st.tuples(st.integers(1, 50), st.integers(1, 50)),
        scale=st.floats(0.1, 4),
        share=st.none() | st.floats(0.1, 1),
        degrees=st.floats(0, 60),
        names=st.lists(st.sampled_from(sorted(set(STEPS) - {"KerasAugment"})), max_size=5),
        target=st.none() | st.integers(0, 254),
    )
    def test_no_id_is_invented_and_all_repeats(
        self, ids, seed, size, crop, scale, share, degrees, names, target
    ):
        random = rng(seed)
        mask = random.choice(np.array(ids, "uint8"), size)
        image = random.integers(0, 256, (*size, 3), "uint8")
        options = {
            "ScaleCrop": {"size": crop, "scale": (scale, 1.5 * scale), "max_class_share": share},
            "ClassUniformCrop": {"size": crop, "scale": (scale, 1.5 * scale), "aspect": 1.5},
            "Rotate": {"degrees": degrees},
            "Shear": {"degrees": degrees},
            "Translate": {"share": 1.0},
            "RandAugment": {"num_ops": 3, "magnitude": 10},
            "Blur": {"sigma": 5.0},
        }
        steps = [STEPS[name](**options.get(name, {})) for name in names]
        policy = Compose(steps)

        def partner(number):
            return image[::-1], mask[::-1], rng(number)

        def run():
            return policy(image, mask, rng((seed, 1)), target=target, partner=partner)

        before = image.copy(), mask.copy()
        new_image, new_mask = run()
        assert new_image.dtype == new_mask.dtype == np.uint8
        assert new_image.shape == (*new_mask.shape, 3)
        last = [step for step in steps if isinstance(step, ScaleCrop | ClassUniformCrop)]
        assert new_mask.shape == (crop if last and crop else size)
        assert policy.crop_size == (crop if last else None)
        assert set(np.unique(new_mask)) <= {*ids, 255}
        for first, again in zip((new_image, new_mask), run(), strict=True):
            np.testing.assert_array_equal(first, again)
        np.testing.assert_array_equal(image, before[0])
        np.testing.assert_array_equal(mask, before[1])

    @pytest.mark.parametrize("step", COLORS.values(), ids=COLORS)
    def test_colours_leave_the_mask_alone(self, step):
        mask = blobs(0)
        changed = 0
        for seed in range(4):
            image, same = step(IMAGE, mask, rng(seed))
            np.testing.assert_array_equal(same, mask)
            assert image.shape == IMAGE.shape and image.dtype == np.uint8
            changed += (image != IMAGE).any()
        still = ("autocontrast", "identity")  # noise fills the range already
        assert bool(changed) == (getattr(step, "ops", ("",))[0] not in still)


class TestColor:
    MID = IMAGE // 3 + 70  # no value is clipped by small changes

    def recolored(self, **changes) -> np.ndarray:
        edit = color.jitter(**changes)
        return np.asarray(edit(Image.fromarray(self.MID))).astype(int)

    def test_nothing_changes_nothing(self):
        np.testing.assert_array_equal(self.recolored(), self.MID)

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
        expected = np.asarray(enhance(Image.fromarray(self.MID)).enhance(factor)).astype(int)
        assert np.abs(self.recolored(**{name: factor}) - expected).max() <= 2

    def test_hue_turns_the_colour_and_keeps_the_luma(self):
        luma = np.array([0.299, 0.587, 0.114])
        turned = self.recolored(hue=0.1)
        assert np.abs(turned - self.MID).max() > 10
        kept = (turned > 0).all(axis=-1) & (turned < 255).all(axis=-1)
        np.testing.assert_allclose((turned @ luma)[kept], (self.MID @ luma)[kept], atol=1.5)
        assert np.abs(self.recolored(hue=1.0) - self.MID).max() <= 1

    def test_values_are_clipped_not_wrapped(self):
        assert self.recolored(brightness=2.0).max() == 255
        assert self.recolored(contrast=4.0).min() == 0

    def test_ranges(self, monkeypatch):
        drawn = []
        monkeypatch.setattr(color, "jitter", lambda *factors: drawn.append(factors))
        monkeypatch.setattr(color, "blur", lambda image, sigma: drawn.append((sigma,)) or image)
        for step, limits in (
            (ColorJitter(0.1, 0.2, 0.3, 0.05), [(0.9, 1.1), (0.8, 1.2), (0.7, 1.3), (-0.05, 0.05)]),
            (Blur(2.0, probability=1.0), [(0, 2)]),
        ):
            drawn.clear()
            for seed in range(2000):
                canvas = data.transforms.Canvas(IMAGE[:2, :2], blobs(0)[:2, :2])
                step.run(canvas, rng(seed))
                if isinstance(step, Blur):
                    canvas.arrays()
            for values, (low, high) in zip(np.array(drawn).T, limits, strict=True):
                assert low <= values.min() < low + 0.02 * (high - low)
                assert high - 0.02 * (high - low) < values.max() <= high

    def test_rand_augment_grows_with_its_magnitude(self):
        image = np.asarray(Image.fromarray(IMAGE[::9, ::9] // 2 + 60).resize(SIZE[::-1]))
        for name in COLOR_OPS:
            if name in ("identity", "autocontrast", "equalize"):
                continue
            changes = [
                np.mean([
                    np.abs(RandAugment(1, level, (name,))(image, blobs(0), rng(seed))[0] - 1.0
                           - image + 1.0).mean()
                    for seed in range(6)
                ])
                for level in (0, 3, 6, 10)
            ]  # fmt: skip
            assert changes[0] == 0 and changes[0] <= changes[1] < changes[2] < changes[3], name

    def test_rand_augment_moves_by_table_6(self):
        """Largest values: 30 degrees, 0.3 of slant, 150 of 331 pixels."""
        for name, expected in {
            "rotate": [[np.cos(np.pi / 6), 0.5], [-0.5, np.cos(np.pi / 6)]],
            "shear_x": [[1, 0.3], [0, 1]],
            "shear_y": [[1, 0], [0.3, 1]],
        }.items():
            canvas = data.transforms.Canvas(IMAGE, blobs(0))
            RandAugment(1, 10.0, (name,)).run(canvas, rng())
            found = canvas._view.matrix[:, :2]
            np.testing.assert_allclose(np.abs(found), np.abs(expected), atol=1e-12)
        canvas = data.transforms.Canvas(IMAGE, blobs(0))
        RandAugment(1, 10.0, ("translate_x",)).run(canvas, rng())
        assert abs(canvas._view.matrix[0, 2]) == round(0.45 * SIZE[1])


class TestClasses:
    def test_a_class_may_not_fill_the_crop_where_another_position_helps(self):
        mask = np.zeros((100, 100), "uint8")
        mask[60:, 60:] = 1
        mask[:10] = 255  # ignored pixels do not count

        def share(most: float | None) -> float:
            over = 0
            for seed in range(200):
                crop = ScaleCrop((40, 40), scale=(1, 1), max_class_share=most)
                _, seen = Compose([crop, Flip()])(painted(mask % 2), mask, rng(seed))
                counts = np.bincount(seen[seen != 255], minlength=1)
                over += counts.max() > 0.75 * counts.sum()
            return over / 200

        assert share(None) > 0.6
        # Eleven positions, the first and ten more, have to fail.
        assert abs(share(0.75) - share(None) ** 11) < 0.05

    def test_class_uniform_crops_show_every_class_alike(self):
        mask = np.zeros((120, 160), "uint8")
        mask[:, 80:] = 1
        mask[50:53, 60:63] = 7
        mask[110:, :4] = 255
        crop = ClassUniformCrop((24, 24), scale=(0.5, 1.5), max_class_share=None)
        plain = ScaleCrop((24, 24), scale=(0.5, 1.5), max_class_share=None)
        shown = {"uniform": 0, "plain": 0}
        for seed in range(300):
            for name, step in (("uniform", crop), ("plain", plain)):
                shown[name] += 7 in step(painted(mask % 2), mask, rng(seed))[1]
        assert 0.28 < shown["uniform"] / 300 < 0.45 and shown["plain"] / 300 < 0.1

    @pytest.mark.parametrize(
        "augment",
        [
            ScaleCrop((24, 24), scale=(0.7, 2.0), max_class_share=0.9),
            ClassUniformCrop((24, 24), scale=(0.7, 2.0), max_class_share=0.9),
            Compose([Flip(), ScaleCrop((24, 24), (0.7, 2.0)), ColorJitter()]),
            Compose([ScaleCrop((200, 300), (1, 1)), ScaleCrop((24, 24), (1, 1))]),
            data.Augment((24, 24), scale=(0.7, 2.0), max_class_share=0.9),
        ],
        ids=["scale-crop", "class-uniform crop", "after a flip", "twice", "Augment"],
    )
    def test_a_wanted_class_is_in_the_crop(self, augment):
        mask = np.zeros((120, 160), "uint8")
        mask[2:4, 150:153], mask[60:70, 80:90] = 7, 5
        starts = set()
        for seed in range(60):
            for target in (5, 7):
                _, seen = augment(painted(mask % 2), mask, rng(seed), target=target)
                assert target in seen
                assert 255 not in seen or isinstance(augment, Compose)  # never leaves the source
            starts.add(int(np.argwhere(seen == 7)[0][1]))
        assert len(starts) > 3  # not always at the same place
        _, seen = augment(painted(mask % 2), mask, rng(0), target=9)  # not there: any crop
        assert seen.shape == (24, 24)


def constant(value: int, mask: np.ndarray, seed: int = 0):
    """A partner that always is this."""
    return lambda number: (np.full((*mask.shape, 3), value, "uint8"), mask, rng((seed, number)))


class TestMixing:
    @pytest.mark.parametrize("share", [0.05, 0.3, (0.2, 0.6), 1.0])
    def test_cut_mix_moves_a_rectangle_of_image_and_labels(self, share):
        mask, other = np.zeros((60, 90), "uint8"), np.full((60, 90), 3, "uint8")
        other[::7] = 255
        low, high = (share, share) if isinstance(share, float) else share
        shapes = set()
        for seed in range(80):
            image, mixed = CutMix(1.0, share)(
                painted(mask), mask, rng(seed), partner=constant(200, other)
            )
            pasted = image[..., 0] == 200
            np.testing.assert_array_equal(mixed, np.where(pasted, other, mask))
            rows, columns = np.flatnonzero(pasted.any(1)), np.flatnonzero(pasted.any(0))
            area = (np.ptp(rows) + 1) * (np.ptp(columns) + 1)
            assert pasted.sum() == area  # a full rectangle
            assert 0.85 * low < area / mask.size < 1.15 * high
            shapes.add((len(rows), len(columns), rows[0], columns[0]))
        assert len(shapes) > 40 or share == 1.0

    @pytest.mark.parametrize("classes", [1, 2, 5, 8])
    def test_class_mix_pastes_half_of_the_classes(self, classes):
        other = np.random.default_rng(1).integers(0, classes, (40, 50)).astype("uint8")
        other[:5] = 255
        mask = np.full((40, 50), 9, "uint8")
        chosen = set()
        for seed in range(60):
            image, mixed = ClassMix(1.0)(
                painted(mask % 9), mask, rng(seed), partner=constant(200, other)
            )
            pasted = set(np.unique(mixed)) - {9}
            assert len(pasted) == -(-classes // 2) and 255 not in pasted
            where = np.isin(other, list(pasted))
            np.testing.assert_array_equal(mixed, np.where(where, other, 9))
            np.testing.assert_array_equal(image[..., 0] == 200, where)
            chosen |= pasted
        assert chosen == set(range(classes))

    def test_a_partner_without_classes_changes_nothing(self):
        mask = blobs(0)
        image, mixed = ClassMix(1.0)(
            IMAGE, mask, rng(), partner=constant(0, np.full(SIZE, 255, "uint8"))
        )
        np.testing.assert_array_equal(image, IMAGE)
        np.testing.assert_array_equal(mixed, mask)

    @pytest.mark.parametrize("mixing", [CutMix, ClassMix])
    def test_probability_and_laziness(self, mixing):
        asked = []

        def partner(number):
            asked.append(number)
            return painted(blobs(1)), blobs(1), rng()

        policy = Compose([Flip(), mixing(0.3), mixing(0.0)])
        for seed in range(300):
            policy(painted(blobs(0)), blobs(0), rng(seed), partner=partner)
        assert set(asked) == {1} and 60 < len(asked) < 120

    def test_partners_go_through_the_steps_before_in_a_draw_of_their_own(self):
        """And not through mixing steps, nor through what comes after."""
        seen = []

        def spy(image, mask, random):
            seen.append(("spy", mask.shape, int(mask[0, 0]), float(random.random())))
            return image, mask

        def late(image, mask, random):
            seen.append(("late", mask.shape, None, float(random.random())))
            return image, mask

        crop = ScaleCrop((10, 10), scale=(1, 1))
        policy = Compose([crop, spy, CutMix(1.0), ColorJitter(), ClassMix(1.0), late])
        other = np.full((50, 20), 4, "uint8")
        _, mask = policy(IMAGE, np.zeros(SIZE, "uint8"), rng(7), partner=constant(9, other, 1))
        assert [entry[0] for entry in seen] == ["spy", "spy", "spy", "late"]
        assert [entry[1] for entry in seen] == [(10, 10)] * 4
        assert [entry[2] for entry in seen[:3]] == [0, 4, 4]
        assert len({entry[3] for entry in seen}) == 4
        assert set(np.unique(mask)) == {4}

    def test_no_partner_or_one_of_another_size(self):
        for augment in (CutMix(0.0), Compose([Flip(), CutMix(0.1)])):
            assert augment.needs_partner
            with pytest.raises(ValueError, match="CutMix mixes in a second sample.*partner="):
                augment(IMAGE, blobs(0), rng())
        assert not Compose([Flip()]).needs_partner
        with pytest.raises(ValueError, match=r"is 5 x 6 after.* first 90 x 120 .*put a ScaleCrop"):
            ClassMix(1.0)(IMAGE, blobs(0), rng(), partner=constant(0, np.zeros((5, 6), "uint8")))


EVERY = [
    ScaleCrop((288, 384), (0.5, 1.5), None, (512, 2048), 1.2),
    ScaleCrop(None),
    ClassUniformCrop((64, 64), jitter=0.2),
    Flip(0.3, True),
    Rotate(5.0, 0.5),
    Shear(3.0),
    Translate(0.1, pixels=3),
    ColorJitter(0.1, 0.2, 0.3, 0.04, 0.5),
    Blur(1.5),
    Grayscale(),
    RandAugment(3, 5.0, ("color", "rotate")),
    CutMix(0.5, 0.25),
    ClassMix(),
]


class TestConfig:
    def test_survives_json(self):
        policy = Compose(EVERY, fill=FILL)
        assert {type(step) for step in EVERY} == set(STEPS.values()) - {KerasAugment}
        config = json.loads(json.dumps(policy.to_config()))
        assert data.augmentation(config) == policy
        assert data.augmentation({"steps": config["steps"]}) == Compose(EVERY)
        assert hash(data.augmentation(config)) == hash(policy)
        assert config["steps"][3] == {"step": "Flip", "probability": 0.3, "vertical": True}
        assert type(EVERY[0]).from_config(config["steps"][0]) == EVERY[0]

    def test_at_scale_1(self):
        policy = Compose([ScaleCrop((8, 8)), ClassUniformCrop((8, 8)), Flip()], FILL).at_scale_1()
        assert policy.fill == FILL and policy.steps[2] == Flip()
        assert [step.scale for step in policy.steps[:2]] == [(1.0, 1.0)] * 2

    def test_policies_in_policies_are_flat(self):
        inner = Compose([Flip(), CutMix()])
        assert Compose([inner, Blur()]).steps == (Flip(), CutMix(), Blur())
        assert Compose([ScaleCrop((5, 6)), Flip(), ScaleCrop(None), Blur()]).crop_size == (5, 6)

    def test_own_functions_are_carried_out_in_their_place(self):
        def dark(image, mask, random):
            assert image.shape == (50, 60, 3)
            return image // 2, mask

        policy = Compose([ScaleCrop((50, 60)), dark, Flip()])
        image, _ = policy(IMAGE, blobs(0), rng())
        assert image.max() <= 127 and policy.crop_size == (50, 60)
        with pytest.raises(ValueError, match="dark.* is not one of the named steps"):
            policy.to_config()

    @pytest.mark.parametrize(
        ("config", "message"),
        [
            ({"steps": [{"step": "Mirror"}]}, "no step 'Mirror'.*ScaleCrop, .*ClassMix"),
            ({"steps": [{"probability": 1.0}]}, "no step None"),
            ({"steps": ["Flip"]}, "no step None .in 'Flip'"),
            ({"steps": [{"step": "Flip", "chance": 1.0}]}, "Flip has no argument 'chance'; it has"),
            ({"steps": [{"step": "Rotate"}]}, r"Rotate needs 'degrees'; got \[\]"),
            ({"steps": [{"step": "Flip", "probability": 2}]}, "Flip: probability must be a number"),
            ({"steps": [], "fill": [1, 2]}, "Compose: fill must be"),
            ([{"step": "Flip"}], r'augment must be {"steps": .*; got \[{'),
            ({"steps": {"step": "Flip"}}, r'augment must be {"steps": '),
            ({"steps": [], "crop_size": [1, 2]}, r'augment must be {"steps": '),
            ({"crop_size": [1, 2]}, r"to_config\(\) gives it; got {'crop_size'"),
        ],
    )
    def test_what_is_wrong_is_named(self, config, message):
        with pytest.raises(ValueError, match=message):
            data.augmentation(config)

    @pytest.mark.parametrize("step", [{"step": "Flip"}, "Flip", Flip])
    def test_what_is_no_step(self, step):
        with pytest.raises(
            ValueError, match="steps must be steps or functions .*data.augmentation"
        ):
            Compose([step])

    @pytest.mark.parametrize(
        ("step", "options", "field"),
        [
            (ScaleCrop, {"size": (0, 5)}, "size"),
            (ScaleCrop, {"size": 5}, "size"),
            (ScaleCrop, {"size": (5, 5), "scale": (2.0, 0.5)}, "scale"),
            (ScaleCrop, {"size": (5, 5), "scale": 2.0}, "scale"),
            (ScaleCrop, {"size": (5, 5), "scale": ("a", "b")}, "scale"),
            (ScaleCrop, {"size": (5, 5), "max_class_share": 0}, "max_class_share"),
            (ScaleCrop, {"size": (5, 5), "base_size": (9, 5)}, "base_size"),
            (ScaleCrop, {"size": (5, 5), "aspect": 0.5}, "aspect"),
            (ClassUniformCrop, {"size": (5, 5), "jitter": 1.5}, "jitter"),
            (ClassUniformCrop, {"size": (5.5, 5)}, "size"),
            (Flip, {"probability": "often"}, "probability"),
            (Flip, {"probability": True}, "probability"),
            (Flip, {"probability": float("nan")}, "probability"),
            (Flip, {"vertical": 1}, "vertical"),
            (Rotate, {"degrees": -5}, "degrees"),
            (Shear, {"degrees": 90}, "degrees"),
            (Translate, {"share": 2}, "share"),
            (Translate, {"pixels": -1}, "pixels"),
            (Translate, {"pixels": 0.5}, "pixels"),
            (ColorJitter, {"brightness": 1.5}, "brightness"),
            (ColorJitter, {"hue": 0.7}, "hue"),
            (Blur, {"sigma": -1}, "sigma"),
            (Grayscale, {"probability": 3}, "probability"),
            (RandAugment, {"num_ops": 1.5}, "num_ops"),
            (RandAugment, {"magnitude": 11}, "magnitude"),
            (RandAugment, {"ops": ("cutout",)}, "ops"),
            (RandAugment, {"ops": ()}, "ops"),
            (RandAugment, {"ops": "rotate"}, "ops"),
            (CutMix, {"share": 0}, "share"),
            (CutMix, {"share": (0.5, 0.2)}, "share"),
            (ClassMix, {"probability": -1}, "probability"),
        ],
    )
    def test_values_out_of_range(self, step, options, field):
        with pytest.raises(ValueError, match=f"{step.__name__}: {field} must be .* got"):
            step(**options)

    def test_wrong_arrays(self):
        for image, mask in (
            (np.zeros((4, 4, 3)), np.zeros((4, 4), "uint8")),
            (np.zeros((4, 4, 3), "uint8"), np.zeros((4, 5), "uint8")),
        ):
            with pytest.raises(ValueError, match="must be uint8"):
                Compose([Flip()])(image, mask, rng())
