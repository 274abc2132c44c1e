"""What lies under ignored pixels moves no value and no gradient: every loss, every metric."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from keras_focusseg import metrics
from tests.losses.cases import CASES, NUM_CLASSES, SHAPE, STRIDE
from tests.testers import gradient

# An id outside the classes, one of the classes, none: then only ids outside the classes.
IGNORE_CLASSES = [255, 3, None]


def number(value) -> float:
    return float(keras.ops.convert_to_numpy(value))


def keras_mean_iou(ignore_class, truth, prediction):
    metric = metrics.MeanIoU(NUM_CLASSES, ignore_class=ignore_class)
    metric.update_state(truth, np.eye(NUM_CLASSES, dtype="float32")[prediction])
    return [number(metric.result()), *metric.confusion_matrix().ravel()]


def keras_mean_iou_of_ids(ignore_class, truth, prediction):
    metric = metrics.MeanIoU(NUM_CLASSES, ignore_class=ignore_class)
    metric.update_state(truth, prediction)
    return metric.confusion_matrix().ravel()


def confusion_matrix(ignore_class, truth, prediction):
    confusion = metrics.ConfusionMatrix(NUM_CLASSES, ignore_class)
    confusion.update(truth, prediction)
    return confusion.matrix.ravel()


def boundary_scores(ignore_class, truth, prediction):
    scores = metrics.BoundaryScores(NUM_CLASSES, ignore_class, tolerance=1, band_pixels=2)
    scores.update(truth, prediction)
    return np.concatenate([np.ravel(v) for v in scores.result().values()])


METRICS = [keras_mean_iou, keras_mean_iou_of_ids, confusion_matrix, boundary_scores]
MEASURES = sorted(CASES) + METRICS


def some_masks(rng):
    """Masks with classes 0 .. 2, and the pixels to ignore: single ones and a whole block."""
    ignored = rng.random(SHAPE) < 0.3
    ignored[1, :STRIDE, :STRIDE] = True
    return rng.integers(0, 3, SHAPE).astype("int32"), ignored


def ignored_labels(rng, ignore_class):
    """Labels that all mean "ignored", of as many kinds as there are."""
    strange = [NUM_CLASSES, 17, 200, 254, 255, -1, -100, 2**31 - 1]
    return rng.choice(strange + ([] if ignore_class is None else 5 * [ignore_class]), SHAPE)


def plain_ignored(ignore_class):
    return 255 if ignore_class is None else ignore_class


@pytest.mark.parametrize("measure", MEASURES, ids=lambda m: m if isinstance(m, str) else m.__name__)
def test_ignored_pixels_move_nothing(measure):
    for ignore_class in IGNORE_CLASSES:
        check = check_metric if callable(measure) else check_loss
        check(measure, ignore_class)


def check_metric(measure, ignore_class):
    rng = np.random.default_rng(11)
    labels, ignored = some_masks(rng)
    masks = np.where(ignored, plain_ignored(ignore_class), labels)
    prediction = rng.integers(0, NUM_CLASSES, SHAPE)
    expected = measure(ignore_class, masks, prediction)
    assert np.nansum(expected) > 0
    for _ in range(5):
        masks = np.where(ignored, ignored_labels(rng, ignore_class), labels)
        noise = rng.integers(0, NUM_CLASSES, SHAPE)
        result = measure(ignore_class, masks, np.where(ignored, noise, prediction))
        np.testing.assert_array_equal(result, expected)


def hidden_cells(ignored):
    """Cells of the selector's grid in which every pixel is ignored."""
    pad = [(0, 0), *((0, -size % STRIDE) for size in SHAPE[1:])]
    cells = np.pad(ignored, pad, constant_values=True)
    batch, height, width = cells.shape
    cells = cells.reshape(batch, height // STRIDE, STRIDE, width // STRIDE, STRIDE)
    return cells.all(axis=(2, 4))


def check_loss(name, ignore_class):
    rng = np.random.default_rng(11)
    labels, ignored = some_masks(rng)
    masks = np.where(ignored, plain_ignored(ignore_class), labels)
    case = CASES[name]
    loss = case.build(ignore_class)
    hidden = hidden_cells(ignored) if case.grid else ignored
    logits = rng.normal(size=case.logits_shape()).astype("float32")
    value = number(loss(masks, logits))
    slope = gradient(lambda x: loss(masks, x), logits)
    assert hidden.any() and value > 0 and np.abs(slope).max() > 0
    assert not slope[hidden].any()
    for _ in range(2):
        masks = np.where(ignored, ignored_labels(rng, ignore_class), labels)
        noise = (10 * rng.normal(size=logits.shape)).astype("float32")
        noisy = np.where(hidden[..., None], noise, logits)
        # Sums of zeros and non-zeros may be grouped in another order: the last bit is free.
        assert number(loss(masks, noisy)) == pytest.approx(value, rel=3e-7)
        moved = gradient(lambda x: loss(masks, x), noisy)  # noqa: B023
        np.testing.assert_allclose(moved, slope, rtol=1e-5, atol=1e-9)
        assert not moved[hidden].any()
    # The test can fail: one pixel that counts moves the value.
    seen = np.where(hidden[..., None], logits, logits + noise)
    assert number(loss(masks, seen)) != pytest.approx(value, rel=1e-4)


@pytest.mark.parametrize("name", [n for n in sorted(CASES) if not CASES[n].grid])
def test_pixels_of_no_sample_weight_move_nothing(name):
    """The same for any label, classes too, where the sample weight is 0."""
    rng = np.random.default_rng(12)
    labels, ignored = some_masks(rng)
    case = CASES[name]
    loss = case.build(255)
    logits = rng.normal(size=case.logits_shape()).astype("float32")
    weights = np.where(ignored, 0.0, 1.0).astype("float32")
    masks = np.where(ignored, 255, labels)
    value = number(loss(masks, logits))
    slope = gradient(lambda x: loss(masks, x), logits)
    noisy = np.where(ignored[..., None], -5 * logits, logits)
    changed = np.where(ignored, rng.integers(0, NUM_CLASSES, SHAPE), labels)
    assert number(loss(changed, noisy, weights)) == pytest.approx(value, rel=3e-7)
    moved = gradient(lambda x: loss(changed, x, weights), noisy)
    np.testing.assert_allclose(moved, slope, rtol=1e-5, atol=1e-9)
