"""Boundary IoU and F1 against a brute force of their definitions, on distance transforms."""

from __future__ import annotations

import math

import numpy as np
import pytest

from keras_focusseg import metrics

ndimage = pytest.importorskip("scipy.ndimage")


def touching(labels, valid, c, reach):
    """Valid pixels of class c with a valid pixel of another class within Chebyshev `reach`."""
    found = np.zeros(labels.shape, bool)
    for y, x in np.argwhere(valid & (labels == c)):
        window = (slice(max(0, y - reach), y + reach + 1), slice(max(0, x - reach), x + reach + 1))
        found[y, x] = (valid[window] & (labels[window] != c)).any()
    return found


def reached(points, tolerance):
    """Pixels within Euclidean `tolerance` of a point."""
    if not points.any():
        return points
    return ndimage.distance_transform_edt(~points) <= tolerance


def brute_force(images, num_classes, ignore_class=255, tolerance=2, band=0.02, band_pixels=None):
    counts = np.zeros((num_classes, 6))
    for truth, prediction in images:
        valid = (truth >= 0) & (truth < num_classes) & (truth != ignore_class)
        reach = band_pixels or max(
            1, round(band * math.sqrt(truth.shape[0] ** 2 + truth.shape[1] ** 2))
        )
        for c in range(num_classes):
            bands = [touching(x, valid, c, reach) for x in (truth, prediction)]
            edges = [touching(x, valid, c, 1) for x in (truth, prediction)]
            counts[c] += [
                (bands[0] & bands[1]).sum(),
                (bands[0] | bands[1]).sum(),
                (edges[1] & reached(edges[0], tolerance)).sum(),
                edges[1].sum(),
                (edges[0] & reached(edges[1], tolerance)).sum(),
                edges[0].sum(),
            ]
    iou, f1 = np.full(num_classes, np.nan), np.full(num_classes, np.nan)
    for c, (both, either, hits, predicted, found, true) in enumerate(counts):
        if either:
            iou[c] = both / either
        if predicted or true:
            precision, recall = hits / max(predicted, 1), found / max(true, 1)
            f1[c] = 2 * precision * recall / (precision + recall) if hits and found else 0.0
    return iou, f1


def some_pair(rng, num_classes, height, width):
    """Blocks of classes, a prediction that strays from them, ignored patches."""
    blocks = rng.integers(0, num_classes, (-(-height // 6), -(-width // 6)))
    truth = blocks.repeat(6, 0).repeat(6, 1)[:height, :width].astype("uint8")
    prediction = np.roll(truth, (1, 2), (0, 1))
    noise = rng.random(truth.shape) < 0.03
    prediction[noise] = rng.integers(0, num_classes, noise.sum())
    truth[rng.random(truth.shape) < 0.05] = 255
    truth[: height // 4, width // 2 :] = 255
    return truth, prediction


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"tolerance": 0},
        {"tolerance": 1.5, "band": 0.1},
        {"tolerance": 5, "band_pixels": 4},
        {"ignore_class": 2},
        {"ignore_class": None, "band_pixels": 100},
    ],
)
@pytest.mark.parametrize("num_classes", [3, 11])
def test_equals_brute_force(num_classes, options):
    rng = np.random.default_rng(num_classes)
    images = [some_pair(rng, num_classes, *size) for size in [(30, 40), (17, 23), (5, 1)]]
    scores = metrics.BoundaryScores(num_classes, **options)
    for truth, prediction in images:
        scores.update(truth, prediction)
    iou, f1 = brute_force(images, num_classes, **options)
    if options.get("ignore_class") is not None:
        iou[options["ignore_class"]] = f1[options["ignore_class"]] = np.nan
    result = scores.result()
    np.testing.assert_allclose(result["boundary_iou_per_class"], iou, atol=1e-12)
    np.testing.assert_allclose(result["boundary_f1_per_class"], f1, atol=1e-12)
    assert result["boundary_iou"] == pytest.approx(np.nanmean(iou))
    assert result["boundary_f1"] == pytest.approx(np.nanmean(f1))
    assert 0 < result["boundary_iou"] < 1 and 0 < result["boundary_f1"] <= 1


def test_more_classes_than_bits():
    rng = np.random.default_rng(1)
    pair = some_pair(rng, 150, 48, 48)
    scores = metrics.BoundaryScores(150)
    scores.update(*pair)
    iou, f1 = brute_force([pair], 150)
    np.testing.assert_allclose(scores.result()["boundary_iou_per_class"], iou)
    np.testing.assert_allclose(scores.result()["boundary_f1_per_class"], f1)


def test_a_batch_is_its_images():
    rng = np.random.default_rng(2)
    pairs = [some_pair(rng, 4, 20, 20) for _ in range(3)]
    together, apart = metrics.BoundaryScores(4), metrics.BoundaryScores(4)
    together.update(*(np.stack(x) for x in zip(*pairs, strict=True)))
    for pair in pairs:
        apart.update(*pair)
    for key, value in together.result().items():
        np.testing.assert_array_equal(value, apart.result()[key])
    apart.reset()
    assert np.isnan(apart.result()["boundary_f1"])


def test_perfect_and_shifted():
    truth = np.zeros((40, 40), "uint8")
    truth[10:30, 10:30] = 1
    for shift, expected in [(0, 1.0), (2, 1.0), (3, 0.0)]:
        scores = metrics.BoundaryScores(2, tolerance=2)
        stripes = np.zeros((40, 40), "uint8")
        stripes[:, 20:] = 1  # a straight border: a shift moves all of it by as much
        scores.update(
            stripes,
            np.roll(stripes, shift, 1)
            if shift == 0
            else ((np.arange(40) >= 20 + shift)[None].repeat(40, 0).astype("uint8")),
        )
        assert scores.result()["boundary_f1"] == expected
    scores = metrics.BoundaryScores(2)
    scores.update(truth, truth)
    result = scores.result()
    assert (result["boundary_iou"], result["boundary_f1"]) == (1.0, 1.0)


def test_a_border_to_ignored_pixels_or_of_the_image_is_no_boundary():
    truth = np.ones((20, 30), "uint8")
    truth[:, 10:18] = 255
    prediction = np.ones_like(truth)
    prediction[:, 12:15] = 0  # only where nobody looks
    scores = metrics.BoundaryScores(3)
    scores.update(truth, prediction)
    assert np.isnan(scores.result()["boundary_f1_per_class"]).all()
    assert np.isnan(scores.result()["boundary_iou"])


def test_image_border_counts_when_asked_as_in_the_published_code():
    # Erosion of the zero-padded mask, as Cheng et al. draw their bands.
    rng = np.random.default_rng(3)
    blobs = ndimage.gaussian_filter(rng.normal(size=(2, 40, 50)), (0, 4, 4)) > 0
    truth, prediction = blobs.astype("uint8")
    d = 3
    expected = []
    for c in (0, 1):
        bands = []
        for labels in (truth, prediction):
            mask = np.pad(labels == c, 1)
            inside = ndimage.binary_erosion(mask, np.ones((3, 3)), iterations=d)
            bands.append((mask & ~inside)[1:-1, 1:-1])
        expected.append((bands[0] & bands[1]).sum() / (bands[0] | bands[1]).sum())
    scores = metrics.BoundaryScores(2, band_pixels=d, image_border=True)
    scores.update(truth, prediction)
    np.testing.assert_allclose(scores.result()["boundary_iou_per_class"], expected)


def test_width_of_the_band_is_a_share_of_the_diagonal():
    truth = np.zeros((30, 40), "uint8")  # diagonal 50
    truth[:, 20:] = 1
    prediction = np.zeros_like(truth)
    prediction[:, 21:] = 1
    scores = metrics.BoundaryScores(2, band=0.1)  # 5 pixels
    scores.update(truth, prediction)
    # Class 0: columns 15-19 against 16-20; class 1: 20-24 against 21-25.
    np.testing.assert_allclose(scores.result()["boundary_iou_per_class"], [4 / 6, 4 / 6])


def test_wrong_input_is_refused():
    scores = metrics.BoundaryScores(3)
    ids = np.zeros((4, 4), "uint8")
    with pytest.raises(TypeError, match="truth.*float32"):
        scores.update(ids.astype("float32"), ids)
    with pytest.raises(ValueError, match=r"\(4, 4\).*\(4, 3\)"):
        scores.update(ids, ids[:, :3])
    with pytest.raises(ValueError, match=r"\(4,\)"):
        scores.update(ids[0], ids[0])
    with pytest.raises(ValueError, match="prediction 5"):
        scores.update(ids, ids + 5)
    wrong = ({"tolerance": -1}, {"tolerance": np.inf}, {"tolerance": [1, np.nan]})
    for options in (*wrong, {"band": 0}, {"band_pixels": 0}):
        with pytest.raises(ValueError, match=next(iter(options))):
            metrics.BoundaryScores(3, **options)


@pytest.mark.parametrize("width", [1, 3])
def test_trimap_is_what_lies_near_another_class(width):
    rng = np.random.default_rng(0)
    masks = rng.integers(0, 3, (5, 6)).repeat(4, axis=0).repeat(4, axis=1).astype("uint8")
    masks[:3, :5] = 255
    found = metrics.trimap(masks, width)
    for i, j in np.ndindex(masks.shape):
        around = masks[max(0, i - width) : i + width + 1, max(0, j - width) : j + width + 1]
        other = (around != masks[i, j]) & (around != 255)
        assert found[i, j] == (masks[i, j] != 255 and other.any()), (i, j)
    with pytest.raises(ValueError, match="at least 1 pixel, got shape .* and width 0"):
        metrics.trimap(masks, 0)
