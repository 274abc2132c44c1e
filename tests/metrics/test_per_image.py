"""Figures from counts of images against plain loops over pixels, written from the definitions."""

import numpy as np
import pytest

from keras_focusseg import metrics
from keras_focusseg.metrics import per_image
from tests.metrics.test_boundary import some_pair

CLASSES = 4
WIDTHS = (1, 3)


def pairs(count=3):
    rng = np.random.default_rng(5)
    found = []
    for _ in range(count):
        truth, prediction = some_pair(rng, CLASSES, 20, 26)
        found.append((truth, prediction, rng.random(truth.shape).astype("float32")))
    return found


def counts_of(images, ignore_class=255):
    boundary = metrics.BoundaryScores(CLASSES, ignore_class, (2, 1, 3))
    return per_image.ImageCounts.stacked(
        [per_image.count_image(*image, boundary, WIDTHS) for image in images]
    )


def dice_to_iou(truth, prediction, c):
    """IoU by way of the Dice coefficient, from sets of pixels."""
    a = {tuple(p) for p in np.argwhere(truth == c).tolist()}
    b = {tuple(p) for p in np.argwhere(prediction == c).tolist()}
    if not a | b:
        return None
    dice = 2 * len(a & b) / (len(a) + len(b))
    return dice / (2 - dice)


def test_conventions_of_mean_iou():
    images = pairs()
    images[1][0][images[1][0] == 3] = 255  # class 3 is absent from the second
    images[1][1][images[1][1] == 3] = 0
    pixels = counts_of(images).pixels
    clean = [(np.where(t == 255, 99, t), np.where(t == 255, 99, p)) for t, p, _ in images]
    raw = [(t, p) for t, p, _ in images]
    for void, used in (("ignored", clean), ("false positive", raw)):
        whole = tuple(np.stack(x).reshape(-1, 26) for x in zip(*used, strict=True))
        split = [dice_to_iou(*whole, c) for c in range(CLASSES)]
        found = per_image.mean_iou_under(pixels, void=void)
        assert found == pytest.approx(sum(split) / CLASSES)
        for absent, value in (("left out", None), ("zero", 0.0), ("one", 1.0)):
            means = []
            for pair in used:
                of_image = [dice_to_iou(*pair, c) for c in range(CLASSES)]
                of_image = [value if iou is None else iou for iou in of_image]
                known = [iou for iou in of_image if iou is not None]
                means.append(sum(known) / len(known))
            found = per_image.mean_iou_under(pixels, average="image", absent=absent, void=void)
            assert found == pytest.approx(sum(means) / len(means))
    assert (
        len(pixels) == 3 and per_image.class_iou(pixels[1])[3] != per_image.class_iou(pixels[1])[3]
    )


def test_trimap_counts_the_pixels_near_true_boundaries():
    images = pairs()
    total = counts_of(images).weighed(np.ones(3, int))
    for k, width in enumerate(WIDTHS):
        hits, true, found = np.zeros((3, CLASSES), int)
        for truth, prediction, _ in images:
            for y, x in np.ndindex(truth.shape):
                if truth[y, x] == 255:
                    continue
                near = truth[max(0, y - width) : y + width + 1, max(0, x - width) : x + width + 1]
                if set(near.ravel().tolist()) - {255, truth[y, x]}:
                    true[truth[y, x]] += 1
                    found[prediction[y, x]] += 1
                    hits[truth[y, x]] += truth[y, x] == prediction[y, x]
        np.testing.assert_array_equal(total.trimap[k], [hits, true, found])


def test_calibration_error():
    images = pairs()
    total = counts_of(images).weighed(np.ones(3, int))
    rows = [
        (float(c), bool(t == p))
        for image in images
        for t, p, c in zip(*(x.ravel() for x in image), strict=True)
        if t != 255
    ]
    error = 0.0
    for b in range(15):
        inside = [row for row in rows if b / 15 <= row[0] < (b + 1) / 15]
        if inside:
            sure = sum(c for c, _ in inside) / len(inside)
            right = sum(hit for _, hit in inside) / len(inside)
            error += len(inside) / len(rows) * abs(sure - right)
    assert per_image.calibration_error(total.calibration) == pytest.approx(error, abs=1e-6)
    assert np.isnan(per_image.calibration_error(np.zeros((3, 15))))


def test_boundary_counts_at_every_tolerance():
    images = pairs()
    total = counts_of(images).weighed(np.ones(3, int))
    for k, tolerance in enumerate((2, 1, 3)):
        alone = metrics.BoundaryScores(CLASSES, tolerance=tolerance)
        for truth, prediction, _ in images:
            alone.update(truth, prediction)
        np.testing.assert_array_equal(total.boundary.edges[k], alone.counts.edges[0])
    np.testing.assert_array_equal(total.boundary.bands, alone.counts.bands)
    several = metrics.BoundaryScores(CLASSES, tolerance=(2, 1, 3))
    several.update(*images[0][:2])
    f1 = several.result()["boundary_f1_at"]
    assert f1[0] == several.result()["boundary_f1"] and f1[1] < f1[0] < f1[2]


def test_an_ignored_class_of_its_own():
    counts = counts_of(pairs(), ignore_class=2)
    assert np.isnan(per_image.class_iou(counts.pixels, ignore_class=2)[:, 2]).all()
    assert (counts.pixels[:, 1, 2] == 0).all() and (counts.trimap[:, :, 1, 2] == 0).all()


def test_bootstrap_draws_images():
    drawn = per_image.resamples(7, 2000)
    assert drawn.shape == (2000, 7) and (drawn.sum(1) == 7).all()
    np.testing.assert_array_equal(drawn, per_image.resamples(7, 2000))
    assert abs(drawn.mean(0) - 1).max() < 0.1
    # The mean of the draws of a sample has its standard error, and the interval is 1.96 of them.
    values = np.random.default_rng(0).normal(size=400)
    means = per_image.resamples(400, 2000) @ values / 400
    low, high = per_image.interval(means)
    error = values.std() / 20
    assert low == pytest.approx(values.mean() - 1.96 * error, abs=0.15 * error)
    assert high == pytest.approx(values.mean() + 1.96 * error, abs=0.15 * error)
    assert np.isnan(per_image.interval(np.full(3, np.nan))).all()
