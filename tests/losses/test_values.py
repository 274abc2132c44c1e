"""Each loss and its gradient against the float64 references, on whichever backend runs."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from tests.losses import references
from tests.losses.cases import CASES, NUM_CLASSES, SHAPE, random_masks
from tests.testers import gradient

NAMES = sorted(CASES)


def number(value) -> float:
    return float(keras.ops.convert_to_numpy(value))


@pytest.mark.parametrize("name", NAMES)
def test_value_equals_reference(name):
    case = CASES[name]
    rng = np.random.default_rng(3)
    masks = random_masks(rng)
    logits = 2 * rng.normal(size=case.logits_shape())
    loss = case.build(255)
    of_image = np.array([0.5, 2.0], "float32")
    of_pixel = rng.choice([0.0, 0.5, 1.0, 3.0], SHAPE).astype("float32")
    spread = of_image[:, None, None]
    for sample_weight, factor in [(None, 1.0), (of_image, spread), (of_pixel, of_pixel)]:
        weights = references.valid_weights(masks, NUM_CLASSES, 255, factor)
        expected = case.reference(masks, logits, weights, 255)
        value = loss(masks, logits.astype("float32"), sample_weight)
        assert tuple(value.shape) == ()
        assert keras.backend.standardize_dtype(value.dtype) == "float32"
        assert expected > 0
        assert number(value) == pytest.approx(expected, rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_gradient_equals_reference(name):
    case = CASES[name]
    rng = np.random.default_rng(4)
    masks = random_masks(rng)
    logits = 2 * rng.normal(size=case.logits_shape())
    weights = references.valid_weights(masks, NUM_CLASSES)
    expected = references.numeric_gradient(lambda x: case.reference(masks, x, weights, 255), logits)
    loss = case.build(255)
    ours = gradient(lambda x: loss(masks, x), logits.astype("float32"))
    assert np.abs(expected).max() > 1e-3
    np.testing.assert_allclose(ours, expected, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_numbers_at_the_edge(name):
    """All ignored is exactly 0, extreme logits stay finite, half precision is only an input."""
    case = CASES[name]
    rng = np.random.default_rng(5)
    loss = case.build(255)
    logits = rng.normal(size=case.logits_shape()).astype("float32")

    nothing = np.full(SHAPE, 255, "uint8")
    assert number(loss(nothing, logits)) == 0.0
    assert not gradient(lambda x: loss(nothing, x), logits).any()  # a NaN would count as any
    everywhere = np.zeros(SHAPE, "uint8")
    assert number(loss(everywhere, logits, np.zeros(SHAPE[0], "float32"))) == 0.0

    masks = random_masks(rng)
    for scale in (0.0, 1e4):
        assert np.isfinite(number(loss(masks, scale * logits)))
        assert np.isfinite(gradient(lambda x: loss(masks, x), scale * logits)).all()

    half = keras.ops.convert_to_tensor(logits, dtype="float16")
    value = loss(masks, half)
    assert keras.backend.standardize_dtype(value.dtype) == "float32"
    full = keras.ops.convert_to_numpy(half).astype("float32")
    assert number(value) == pytest.approx(number(loss(masks, full)), abs=1e-7)


@pytest.mark.parametrize("name", ["cross_entropy", "dice", "lovasz", "boundary"])
def test_mixed_precision_policy_changes_nothing(name, mixed_precision):
    case = CASES[name]
    rng = np.random.default_rng(6)
    masks = random_masks(rng)
    logits = rng.normal(size=case.logits_shape())
    value = case.build(255)(masks, logits.astype("float32"))
    weights = references.valid_weights(masks, NUM_CLASSES)
    assert keras.backend.standardize_dtype(value.dtype) == "float32"
    assert number(value) == pytest.approx(case.reference(masks, logits, weights, 255), rel=1e-5)


@pytest.mark.parametrize("name", ["cross_entropy_ohem_share", "lovasz", "tversky", "boundary"])
def test_masks_may_have_a_channel_and_any_integer_type(name):
    case = CASES[name]
    rng = np.random.default_rng(7)
    masks = random_masks(rng)
    logits = rng.normal(size=case.logits_shape()).astype("float32")
    loss = case.build(255)
    expected = number(loss(masks, logits))
    for dtype in ("uint8", "uint16", "int32", "int64"):
        assert number(loss(masks.astype(dtype), logits)) == expected
        assert number(loss(masks[..., None].astype(dtype), logits)) == expected
