"""What is particular to one loss: hand-computed values, limits, agreement with PyTorch."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from keras_focusseg import losses
from tests.losses.cases import CLASS_WEIGHTS, NUM_CLASSES, SHAPE, random_masks


def number(value) -> float:
    return float(keras.ops.convert_to_numpy(value))


def scores_of(labels, num_classes=NUM_CLASSES, sure=60.0):
    """Logits that are as good as certain of `labels`."""
    return sure * np.eye(num_classes, dtype="float32")[labels]


def test_perfect_logits_cost_nothing():
    masks = random_masks(np.random.default_rng(0))
    logits = scores_of(np.where(masks == 255, 0, masks))
    for loss in (
        losses.CrossEntropy(),
        losses.CrossEntropy(ohem_threshold=0.7),
        losses.Dice(),
        losses.Tversky(gamma=0.75),
        losses.Focal(),
        losses.Lovasz(),
        losses.Lovasz(classes="all", per_image=True),
    ):
        assert number(loss(masks, logits)) == pytest.approx(0.0, abs=1e-5)


def test_dice_of_a_hand_computed_example():
    # Two classes, uniform: p = 1/2 everywhere; class 0 on one pixel, class 1 on two, one ignored.
    masks = np.array([[[0, 1], [1, 255]]], "uint8")
    logits = np.zeros((1, 2, 2, 2), "float32")
    d0 = (2 * 0.5 + 1) / (1.5 + 1 + 1)
    d1 = (2 * 1.0 + 1) / (1.5 + 2 + 1)
    assert number(losses.Dice()(masks, logits)) == pytest.approx(1 - (d0 + d1) / 2, abs=1e-6)
    # Class 1 alone: class 0 is absent and does not count, whatever is predicted there.
    masks = np.array([[[1, 1], [1, 255]]], "uint8")
    d1 = (2 * 1.5 + 1) / (1.5 + 3 + 1)
    assert number(losses.Dice()(masks, logits)) == pytest.approx(1 - d1, abs=1e-6)


def test_dice_sums_over_the_batch_before_it_divides():
    masks = np.array([[[0, 0]], [[0, 1]]], "uint8")
    logits = np.random.default_rng(0).normal(size=(2, 1, 2, 2)).astype("float32")
    together = number(losses.Dice()(masks, logits))
    apart = np.mean([number(losses.Dice()(masks[i : i + 1], logits[i : i + 1])) for i in (0, 1)])
    assert abs(together - apart) > 1e-3


def test_tversky_with_equal_halves_is_dice():
    rng = np.random.default_rng(1)
    masks = random_masks(rng)
    logits = rng.normal(size=(*SHAPE, NUM_CLASSES)).astype("float32")
    tversky = losses.Tversky(alpha=0.5, beta=0.5, smooth=0.5)(masks, logits)
    assert number(tversky) == pytest.approx(number(losses.Dice()(masks, logits)), abs=1e-6)


def test_tversky_beta_weighs_what_was_missed():
    masks = np.array([[[0, 1, 1, 1]]], "uint8")
    missed, invented = np.array([[[0, 0, 1, 1]]]), np.array([[[1, 1, 1, 1]]])
    careful = losses.Tversky(alpha=0.1, beta=0.9)
    daring = losses.Tversky(alpha=0.9, beta=0.1)

    def of_class_1(loss, prediction):  # class 0 is ignored: only class 1 is scored
        only = type(loss)(**{**loss.get_config(), "ignore_class": None})
        return number(only(masks, scores_of(prediction, 2)))

    assert of_class_1(careful, missed) != pytest.approx(of_class_1(daring, missed), abs=1e-3)
    assert of_class_1(careful, invented) != pytest.approx(of_class_1(daring, invented), abs=1e-3)


def test_focal_without_focus_is_cross_entropy():
    rng = np.random.default_rng(1)
    masks = random_masks(rng)
    logits = rng.normal(size=(*SHAPE, NUM_CLASSES)).astype("float32")
    focal = number(losses.Focal(gamma=0, class_weights=CLASS_WEIGHTS)(masks, logits))
    plain = number(losses.CrossEntropy(class_weights=CLASS_WEIGHTS)(masks, logits))
    assert focal == pytest.approx(plain, rel=1e-6)


def test_lovasz_of_certain_predictions_is_one_minus_iou():
    rng = np.random.default_rng(2)
    masks = random_masks(rng, absent=3)
    predicted = rng.integers(0, NUM_CLASSES, SHAPE)
    valid = masks != 255
    loss = []
    for c in range(NUM_CLASSES):
        truth, guess = (masks == c) & valid, (predicted == c) & valid
        loss.append(1 - (truth & guess).sum() / (truth | guess).sum())
    present = number(losses.Lovasz()(masks, scores_of(predicted)))
    everything = number(losses.Lovasz(classes="all")(masks, scores_of(predicted)))
    assert present == pytest.approx(np.mean(loss[:3]), abs=1e-5)
    assert everything == pytest.approx(np.mean(loss), abs=1e-5)


def test_lovasz_keeps_its_digits_on_many_pixels():
    # Textbook differences of neighbouring Jaccard values cancel in float32 at this size.
    rng = np.random.default_rng(3)
    n = 300_000
    masks = (rng.random((1, 1, n)) < 0.3).astype("int32")
    logits = rng.normal(size=(1, 1, n, 2)).astype("float32")
    value = number(losses.Lovasz()(masks, logits))
    p = 1 / (1 + np.exp(logits[0, 0, :, 0].astype("float64") - logits[0, 0, :, 1]))
    expected = []
    for g, q in ((masks[0, 0], p), (1 - masks[0, 0], 1 - p)):
        errors = np.abs(g - q)
        order = np.argsort(-errors)
        true = g[order]
        jaccard = 1 - (true.sum() - np.cumsum(true)) / (true.sum() + np.cumsum(1 - true))
        expected.append(np.sum(errors[order] * np.diff(jaccard, prepend=0)))
    assert value == pytest.approx(np.mean(expected), rel=1e-5)


def test_ohem_keeps_the_hardest_pixels_and_only_them():
    # Probabilities of the true class, one pixel each; the last is ignored.
    p = np.array([0.05, 0.2, 0.4, 0.6, 0.8, 0.9, 0.95, 0.99, 0.999, 0.9999, 0.01])
    logits = np.stack([np.log(p), np.log1p(-p)], -1).astype("float32")[None, None]
    masks = np.zeros((1, 1, 11), "int32")
    masks[..., -1] = 255

    def kept(threshold, share):
        loss = losses.CrossEntropy(ohem_threshold=threshold, ohem_min_kept=share)
        return number(loss(masks, logits))

    assert kept(0.5, 0.1) == pytest.approx(-np.log(p[:3]).mean(), rel=1e-5)
    assert kept(0.01, 0.2) == pytest.approx(-np.log(p[:2]).mean(), rel=1e-5)
    assert kept(0.01, 0.001) == pytest.approx(-np.log(p[0]), rel=1e-5)
    assert kept(1.0, 0.1) == pytest.approx(-np.log(p[:10]).mean(), rel=1e-5)
    assert kept(0.5, 1.0) == pytest.approx(-np.log(p[:10]).mean(), rel=1e-5)


def test_a_common_factor_of_weights_changes_nothing():
    rng = np.random.default_rng(4)
    masks = random_masks(rng)
    logits = rng.normal(size=(*SHAPE, NUM_CLASSES)).astype("float32")
    light = losses.CrossEntropy(class_weights=CLASS_WEIGHTS, label_smoothing=0.1)
    heavy = losses.CrossEntropy(class_weights=10 * np.array(CLASS_WEIGHTS), label_smoothing=0.1)
    expected = number(light(masks, logits))
    assert number(heavy(masks, logits)) == pytest.approx(expected, rel=1e-6)
    weights = np.full(SHAPE, 0.01, "float32")
    assert number(light(masks, logits, weights)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.skipif(keras.backend.backend() != "torch", reason="compares with PyTorch's own loss")
@pytest.mark.parametrize("smooth", [0.0, 0.15])
@pytest.mark.parametrize("class_weights", [None, CLASS_WEIGHTS])
def test_cross_entropy_is_that_of_pytorch(smooth, class_weights):
    import torch

    rng = np.random.default_rng(5)
    masks = random_masks(rng)
    logits = torch.tensor(rng.normal(size=(*SHAPE, NUM_CLASSES)), dtype=torch.float32)
    weight = None if class_weights is None else torch.tensor(class_weights)
    expected = torch.nn.functional.cross_entropy(
        logits.permute(0, 3, 1, 2),
        torch.tensor(masks, dtype=torch.int64),
        weight=weight,
        ignore_index=255,
        label_smoothing=smooth,
    )
    loss = losses.CrossEntropy(class_weights=class_weights, label_smoothing=smooth)
    assert number(loss(masks, logits)) == pytest.approx(float(expected), rel=1e-5)
