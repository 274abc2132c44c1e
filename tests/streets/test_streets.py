"""The synthetic streets: same seed same scene, exact masks, every class, any size."""

from __future__ import annotations

import ast
import functools
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import binary_fill_holes

from keras_focusseg import data, streets
from keras_focusseg.data.sources.base import check_sample
from keras_focusseg.data.sources.synthetic_streets import SyntheticStreets
from keras_focusseg.streets import canvas, people, vehicles, weather

SIZE = (120, 160)
CLASSES = 11


@functools.cache
def scenes(count: int = 50, size: tuple[int, int] = (180, 240)) -> list[data.Sample]:
    source = SyntheticStreets(count, size)
    return [source.load(index) for index in range(count)]


def camera(size: tuple[int, int] = (360, 480), **changes: float) -> canvas.Camera:
    settings = dict(height=1.5, horizon=0.5, zoom=1.0, yaw=0.0, curve=0.0, offset=0.0, roll=0.0)
    return canvas.Camera(size=size, **{**settings, **changes})


def blank(size: tuple[int, int] = (360, 480)) -> canvas.Canvas:
    return canvas.Canvas(camera(size), (0.5, 0.5, 0.5), 0.0)


def light() -> weather.Weather:
    rng = np.random.default_rng(0)
    return next(w for w in iter(lambda: weather.sample_weather(rng), None) if w.kind == "clear")


# -- the source ------------------------------------------------------------------------------------


def test_is_a_source() -> None:
    source = data.open_source("synthetic_streets", split="val", count=3, size=SIZE)
    assert isinstance(source, data.Source)
    assert (len(source), source.name, source.split) == (3, "synthetic_streets", "val")
    assert source.label_space.num_classes == CLASSES
    samples = [check_sample(sample, source) for sample in source]
    assert len({sample.name for sample in samples}) == 3


def test_default_is_camvids_size() -> None:
    source = SyntheticStreets()
    image, mask, _ = source.load(7)
    assert len(source) == 200
    assert image.shape == (360, 480, 3) and mask.shape == (360, 480)


@pytest.mark.parametrize(
    "size", [(64, 64), (97, 131), (65, 300), (400, 64), (64, 700), (361, 479)], ids=str
)
def test_any_size(size: tuple[int, int]) -> None:
    source = SyntheticStreets(3, size)
    for sample in source:
        check_sample(sample, source)
        assert sample.mask.shape == size
        assert sample.image.std() > 10


@pytest.mark.parametrize("size", [(63, 200), (200, 63), (0, 0), (100,), (64, 64, 3)], ids=str)
def test_too_small_or_no_size(size: tuple[int, ...]) -> None:
    with pytest.raises(data.DataError, match=r"size is \(.*expected \(height, width\), each 64"):
        SyntheticStreets(1, size)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(split="all"), "split is 'all'; synthetic_streets has train, val, test"),
        (dict(count=0), "count is 0"),
        (dict(seed=-1), "seed is -1"),
    ],
)
def test_bad_arguments(arguments: dict, message: str) -> None:
    with pytest.raises(data.DataError, match=message):
        SyntheticStreets(**arguments)


@pytest.mark.parametrize("index", [-1, 2])
def test_index_outside(index: int) -> None:
    with pytest.raises(IndexError, match=f"scene {index} of 2"):
        SyntheticStreets(2, SIZE).load(index)


# -- chance ----------------------------------------------------------------------------------------


def test_same_seed_same_scene() -> None:
    first = [SyntheticStreets(4, SIZE, seed=5).load(k) for k in range(4)]
    other = SyntheticStreets(40, SIZE, seed=5)
    again = [other.load(k) for k in reversed(range(4))][::-1]  # neither count nor order matters
    for a, b in zip(first, again, strict=True):
        assert a.name == b.name
        np.testing.assert_array_equal(a.image, b.image)
        np.testing.assert_array_equal(a.mask, b.mask)


def test_threads_do_not_disturb_each_other() -> None:
    source = SyntheticStreets(8, SIZE)
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(source.load, range(8)))
    for index, sample in enumerate(together):
        np.testing.assert_array_equal(sample.image, source.load(index).image)


def test_splits_and_seeds_share_no_scene() -> None:
    seen = set()
    for seed in (0, 1):
        for split in ("train", "val", "test"):
            for sample in SyntheticStreets(2, SIZE, seed, split):
                seen.add((sample.name, sample.mask.tobytes()))
    assert len(seen) == len({name for name, _ in seen}) == len({mask for _, mask in seen}) == 12


def test_size_changes_resolution_not_composition() -> None:
    agreement = []
    for index in range(6):
        small = SyntheticStreets(6, (120, 160)).load(index).mask
        # Pixel centres of the small mask are pixel centres of one three times as large.
        large = SyntheticStreets(6, (360, 480)).load(index).mask[1::3, 1::3]
        agreement.append((small == large).mean())
    assert min(agreement) > 0.93 and np.mean(agreement) > 0.96


# -- classes ---------------------------------------------------------------------------------------


def test_only_the_eleven_classes() -> None:
    ids = np.unique(np.stack([sample.mask for sample in scenes()]))
    np.testing.assert_array_equal(ids, np.arange(CLASSES))


def test_every_class_is_common() -> None:
    names = SyntheticStreets().label_space.classes
    counts = np.stack([np.bincount(s.mask.ravel(), minlength=CLASSES) for s in scenes()])
    present = dict(zip(names, (counts > 20).mean(axis=0), strict=True))
    assert min(present.values()) >= 0.5, present
    for name in ("Sky", "Building", "Road", "Pavement", "Tree", "Car"):
        assert present[name] >= 0.9, present
    share = dict(zip(names, counts.sum(axis=0) / counts.sum(), strict=True))
    assert 0.2 < share["Road"] < 0.45 and 0.08 < share["Sky"] < 0.3, share
    assert share["Pole"] > 0.005 and share["Pedestrian"] > 0.003, share


def test_weather_has_every_kind() -> None:
    rng = np.random.default_rng(3)
    drawn = [weather.sample_weather(rng) for _ in range(300)]
    assert {w.kind for w in drawn} == set(weather.KINDS)
    for w in drawn:
        assert np.linalg.norm(w.sun) == pytest.approx(1.0) and w.sun[1] > 0


def test_sky_is_above_the_road() -> None:
    for sample in scenes()[:20]:
        rows = np.arange(180)[:, None]
        sky, road = sample.mask == canvas.SKY, sample.mask == canvas.ROAD
        assert (rows * sky).sum() / sky.sum() < 90 < (rows * road).sum() / road.sum()
        assert rows.repeat(240, 1)[road].min() > 60


# -- image and mask belong together ----------------------------------------------------------------


def inside_by(corners: np.ndarray, height: int, width: int) -> np.ndarray:
    """How far (pixels) each pixel centre lies inside a convex polygon; negative outside."""
    y, x = np.mgrid[:height, :width] + 0.5
    depth = np.full((height, width), np.inf)
    for a, b in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        normal = np.array([b[1] - a[1], a[0] - b[0]]) / np.hypot(*(b - a))
        depth = np.minimum(depth, -((x - a[0]) * normal[0] + (y - a[1]) * normal[1]))
    return depth


@pytest.mark.parametrize("seed", range(20))
def test_edges_of_image_and_mask_are_half_a_pixel_from_the_truth(seed: int) -> None:
    rng = np.random.default_rng(seed)
    corners = canvas.hull(rng.uniform(8, 72, (5, 2)))
    cv = blank((80, 80))
    cv.shape(np.array([(0, 0), (80, 0), (80, 80), (0, 80)]), (0, 0, 0), canvas.ROAD, 1.0)
    cv.shape(corners, (1, 1, 1), canvas.CAR, 1.0)
    colors, _, mask, _, _ = cv.resolve()
    drawn, covered = mask == canvas.CAR, colors[0] / 255.0
    depth = inside_by(corners, 80, 80)
    assert drawn[depth > 0.5].all() and not drawn[depth < -0.5].any()
    # A pixel whose square is wholly inside (or outside) by half a pixel has the full colour (none).
    assert (covered[depth > 1.21] == 1).all() and (covered[depth < -1.21] == 0).all()
    # And the two agree with each other: what is mostly covered is in the mask.
    assert drawn[covered > 0.7].all() and not drawn[covered < 0.3].any()


def test_edges_of_whole_scenes_agree() -> None:
    """Moved against its mask, a picture fits best where it is, to half a pixel."""
    shifts = np.arange(-2, 3)
    fit = np.zeros((2, 5))
    for sample in scenes()[:16]:
        gray = sample.image.astype(float).mean(axis=2)
        # The outline of the sky, where contrast is high and nothing is drawn afterwards.
        sky = sample.mask == canvas.SKY
        for axis in (0, 1):
            edge = np.diff(sky.astype(int), axis=axis)[tuple([slice(4, -4)] * 2)]
            step = np.diff(gray, axis=axis)
            for k, shift in enumerate(shifts):
                moved = np.roll(step, -shift, axis=axis)[tuple([slice(4, -4)] * 2)]
                fit[axis, k] += (np.abs(moved) * (edge != 0)).sum()
    for row in fit:
        best = int(row.argmax())
        assert best == 2, row
        bend = row[1] - 2 * row[2] + row[3]
        assert abs(0.5 * (row[1] - row[3]) / bend) < 0.5, row


def test_later_things_cover_earlier_ones_in_both() -> None:
    cv = blank((64, 64))
    square = np.array([(10, 10), (50, 10), (50, 50), (10, 50)], float)
    cv.shape(square, (1, 0, 0), canvas.CAR, 10.0)
    cv.shape(square / 2 + 15, (0, 0, 1), canvas.PEDESTRIAN, 5.0)
    colors, cover, mask, _, _ = cv.resolve()
    assert mask[30, 30] == canvas.PEDESTRIAN and tuple(colors[:, 30, 30]) == (0, 0, 255)
    assert mask[15, 15] == canvas.CAR and tuple(colors[:, 15, 15]) == (255, 0, 0)
    assert mask[5, 5] == canvas.SKY and cover[5, 5] == 1 and cover[15, 15] == 0


def test_a_veil_changes_the_class_and_no_colour() -> None:
    cv = blank((64, 64))
    square = np.array([(-10, 10), (80, 10), (80, 50), (-10, 50)], float)
    cv.shape(square, (0, 1, 0), canvas.PAVEMENT)
    cv.veil(square * (1, 0.5), canvas.FENCE)
    cv.shape(square * 0.2, (1, 1, 1), canvas.CAR, 5.0)  # nearer than the fence
    colors, cover, mask, _, _ = cv.resolve()
    assert mask[22, 30] == canvas.FENCE and mask[40, 30] == canvas.PAVEMENT
    assert mask[8, 3] == canvas.CAR
    np.testing.assert_array_equal(colors[:, 22, 30], colors[:, 40, 30])
    assert cover[22, 30] == cover[40, 30] == 1


# -- perspective -----------------------------------------------------------------------------------


def rows_of(cv: canvas.Canvas, label: int) -> tuple[int, int]:
    mask = cv.resolve()[2]
    rows = np.flatnonzero((mask == label).any(axis=1))
    return int(rows[0]), int(rows[-1]) + 1


@pytest.mark.parametrize("z", [8.0, 16.0, 32.0])
def test_people_stand_on_the_ground_at_their_size(z: float) -> None:
    rng = np.random.default_rng(1)
    person = people.sample_person(rng, 0.0, z, 0.0, 0.0, False, False)
    cv = blank()
    people.draw_person(cv, light(), person, 1.0)
    top, foot = rows_of(cv, canvas.PEDESTRIAN)
    scale = cv.camera.focal / z
    assert foot == pytest.approx(180 + 1.5 * scale, abs=0.08 * scale + 1)
    assert foot - top == pytest.approx(person.height * scale, rel=0.08, abs=1.5)


@pytest.mark.parametrize("body", sorted(vehicles.BODIES))
@pytest.mark.parametrize("heading", [0.0, np.pi / 2, np.pi, 2.0])
def test_cars_stand_on_the_ground_without_holes(body: str, heading: float) -> None:
    car = vehicles.Car(1.0, 18.0, heading, body, (0.5, 0.1, 0.1), False)
    cv = blank()
    vehicles.draw_car(cv, light(), car, 1.0)
    mask = cv.resolve()[2] == canvas.CAR
    rows = np.flatnonzero(mask.any(axis=1))
    near = cv.camera.focal / car.near
    # Between the road under the nearest end and the underside, at most 0.4 m higher.
    assert 180 + (1.5 - 0.4) * near - 1 <= rows[-1] <= 180 + 1.5 * near + 1
    assert rows[-1] - rows[0] < 1.15 * vehicles.BODIES[body][2] * near
    np.testing.assert_array_equal(binary_fill_holes(mask), mask)


def test_things_far_away_meet_at_the_vanishing_point() -> None:
    view = camera(yaw=0.1, offset=2.0)
    points = np.stack([view.street(s, y, 1e6) for s in (-5.0, 5.0) for y in (0.0, 9.0)])
    cx, cy = view.center
    expected = np.tile((cx + 0.1 * view.focal, cy), (4, 1))
    np.testing.assert_allclose(view.project(points), expected, atol=0.01)


def test_ground_behind_the_camera_is_cut_off() -> None:
    cv = blank((64, 64))
    cv.ground([-3, 3, 3, -3], [-20, -20, 40, 40], (1, 1, 1), canvas.ROAD)
    cv.ground([-3, 3, 3, -3], [-20, -20, -4, -4], (1, 1, 1), canvas.CAR)
    mask = cv.resolve()[2]
    assert (mask[-1] == canvas.ROAD).all()
    assert (mask[:32] == canvas.SKY).all() and not (mask == canvas.CAR).any()


def test_a_hidden_lamp_does_not_glow() -> None:
    for hidden in (False, True):
        cv = blank((64, 64))
        lamp = np.array([(28, 28), (36, 28), (36, 36), (28, 36)], float)
        cv.shape(lamp, (1, 1, 1), canvas.CAR, 9.0)
        cv.glow(np.array([32.0, 32.0]), 6.0, (1, 1, 1), 1.0, canvas.CAR, (1, 1, 1), 9.0)
        if hidden:
            cv.shape(lamp, (0.1, 0.1, 0.1), canvas.CAR, 5.0)
        image, _ = weather.finish(cv, light(), np.random.default_rng(0))
        assert (image[32, 32].min() > 150) is not hidden


# -- what it needs ---------------------------------------------------------------------------------


def test_needs_numpy_and_pillow_only() -> None:
    allowed = set(sys.stdlib_module_names) | {"numpy", "PIL", "keras_focusseg"}
    for path in Path(streets.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [f"{node.module}.{alias.name}" for alias in node.names]
            for name in names:
                assert name.split(".")[0] in allowed, (path.name, name)
                if name.startswith("keras_focusseg"):
                    assert name.startswith("keras_focusseg.streets"), name
