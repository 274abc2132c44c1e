"""The boundary target: the drawings of the specification, and a brute force at every size."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from keras_focusseg import losses
from tests.losses import references
from tests.testers import gradient


def target_of(labels, stride, num_classes=4, **options):
    pair = losses.boundary_target(labels, stride, num_classes, **options)
    return tuple(keras.ops.convert_to_numpy(x) for x in pair)


def test_vertical_step_on_a_cell_border():
    labels = np.zeros((1, 24, 64), "uint8")
    labels[:, :, 32:] = 1
    target, weight = target_of(labels, 8)
    assert target.shape == weight.shape == (1, 3, 8, 1)
    for row in target[0, :, :, 0]:
        assert row.tolist() == [0, 0.25, 0.5, 1, 1, 0.5, 0.25, 0]
    assert (weight == 1).all()


def test_step_inside_a_cell_marks_that_cell_alone():
    labels = np.zeros((1, 8, 40), "uint8")
    labels[:, :, 20:] = 1
    assert target_of(labels, 8)[0][0, 0, :, 0].tolist() == [0.25, 0.5, 1, 0.5, 0.25]


def test_border_to_ignored_pixels_alone_is_no_edge():
    labels = np.ones((1, 16, 32), "uint8")
    labels[:, :, 12:20] = 255
    labels[:, 5:9, 3] = 77  # neither a class nor the ignore id
    target, weight = target_of(labels, 4)
    assert not target.any()
    assert weight[0, 0, :, 0].tolist() == [1, 1, 1, 0, 0, 1, 1, 1]


def test_classes_that_meet_across_one_ignored_pixel_have_no_edge_there():
    # The 3x3 window of a valid pixel sees its own class and the ignored column only.
    labels = np.array([[[0, 0, 255, 1, 1, 1]] * 4], "uint8")
    assert not target_of(labels, 2)[0].any()


def test_all_ignored_gives_neither_target_nor_weight():
    target, weight = target_of(np.full((2, 9, 9), 255, "uint8"), 4)
    assert not target.any() and not weight.any()


def test_ignored_rows_take_target_and_weight_from_their_cells():
    labels = np.zeros((1, 16, 16), "uint8")
    labels[:, :, 8:] = 1
    full = target_of(labels, 4)[0]
    labels[:, 8:12] = 255
    target, weight = target_of(labels, 4)
    assert not target[:, 2].any() and not weight[:, 2].any()
    kept = [0, 1, 3]
    np.testing.assert_array_equal(target[:, kept], full[:, kept])
    assert (weight[:, kept] == 1).all()


@pytest.mark.parametrize("stride", [1, 2, 3, 5, 8])
def test_equals_brute_force_at_any_size(stride):
    rng = np.random.default_rng(stride)
    for height, width in [(16, 24), (11, 13), (1, 9), (7, 1)]:
        blocks = rng.integers(0, 4, (2, -(-height // 4), -(-width // 4)))
        labels = blocks.repeat(4, 1).repeat(4, 2)[:, :height, :width].astype("int32")
        labels[rng.random(labels.shape) < 0.1] = 255
        labels[rng.random(labels.shape) < 0.02] = 99
        labels[0, : stride + 1, : 2 * stride] = 3
        for options in ({}, {"band": 0}, {"band": 3, "decay": 0.25}, {"ignore_class": 3}):
            expected = references.boundary_target(labels, stride, 4, **options)
            for ours, theirs in zip(target_of(labels, stride, **options), expected, strict=True):
                assert ours.dtype == np.float32
                np.testing.assert_array_equal(ours, theirs.astype("float32"))


def test_no_gradient_flows_through_the_target():
    labels = np.arange(16, dtype="int32").reshape(1, 4, 4) % 3
    z = np.zeros((1, 2, 2, 1), "float32")
    target, weight = target_of(labels, 2, 3)

    def value(x):
        # If gradient passed the target, it would come back through this cast.
        ours, valid = losses.boundary_target(labels, 2, 3)
        return keras.ops.sum(ours * valid * x)

    np.testing.assert_array_equal(gradient(value, z), target * weight)


def test_bce_by_hand():
    labels = np.zeros((1, 2, 16), "uint8")
    labels[:, :, 8:] = 1
    z = np.linspace(-2, 3, 8, dtype="float32").reshape(1, 1, 8, 1)
    t = np.array([0, 0.25, 0.5, 1, 1, 0.5, 0.25, 0])
    p = 1 / (1 + np.exp(-z[0, 0, :, 0].astype("float64")))
    expected = -np.mean(t * np.log(p) + (1 - t) * np.log(1 - p))
    value = losses.BoundaryTargetBCE(num_classes=2, stride=2)(labels, z)
    assert float(keras.ops.convert_to_numpy(value)) == pytest.approx(expected, abs=1e-6)


def test_a_grid_that_is_not_the_masks_grid_is_refused():
    loss = losses.BoundaryTargetBCE(num_classes=2, stride=8)
    with pytest.raises(ValueError, match=r"\(1, 2, 3\).*\(1, 2, 2, 1\)"):
        loss(np.zeros((1, 16, 20), "uint8"), np.zeros((1, 2, 2, 1), "float32"))
