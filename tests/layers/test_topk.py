"""Top-K masks and the straight-through gradient. Item numbers: section 5 of the specification."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import ops

from keras_focusseg.layers import (
    ConvNormAct,
    RankedCells,
    SelectedConvNormAct,
    StraightThroughMask,
    TopKMasks,
    top_k_count,
)
from tests.testers import check_config_round_trip, compiled, gradient, to_numpy

RATIOS = (0.10, 0.20, 0.30, 0.40)


def scores(batch: int = 2, height: int = 16, width: int = 32, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(batch, height, width, 1)).astype("float32")


def masks_of(z: np.ndarray, ratios: tuple[float, ...] = RATIOS) -> np.ndarray:
    return to_numpy(TopKMasks(ratios)(z))


def counts(masks: np.ndarray) -> list[list[int]]:
    """Ones of each image and mask."""
    return masks.sum(axis=(1, 2)).astype(int).tolist()


def test_count_rounds_as_python_does_at_every_size():
    sizes = np.arange(1, 40_001, dtype="int32")
    for ratio in RATIOS:
        expected = [min(n, max(1, round(ratio * n))) for n in range(1, 40_001)]
        assert [top_k_count(ratio, n) for n in range(1, 40_001)] == expected
        assert to_numpy(top_k_count(ratio, ops.convert_to_tensor(sizes))).tolist() == expected


@pytest.mark.parametrize(
    ("height", "width", "expected"),
    [
        (64, 64, [410, 819, 1229, 1638]),
        (64, 128, [819, 1638, 2458, 3277]),
        (96, 96, [922, 1843, 2765, 3686]),
        (128, 256, [3277, 6554, 9830, 13107]),
    ],
)
def test_counts_of_the_specification(height: int, width: int, expected: list[int]):
    assert [top_k_count(ratio, height * width) for ratio in RATIOS] == expected


@pytest.mark.parametrize("ratio", [0.001, 0.5, 0.123, 1 / 3, 0.999, 1.0])
def test_other_ratios_stay_between_one_and_all(ratio: float):
    sizes = np.arange(1, 2001, dtype="int32")
    found = to_numpy(top_k_count(ratio, ops.convert_to_tensor(sizes)))
    assert ((found >= 1) & (found <= sizes)).all()
    assert np.abs(found - np.clip(ratio * sizes, 1, sizes)).max() <= 0.5 + 1e-3
    assert found.tolist() == [top_k_count(ratio, int(n)) for n in sizes]


def test_exact_counts_and_nested_binary_masks():
    """Items 4 and 5."""
    masks = masks_of(scores())  # 512 cells
    assert masks.shape == (2, 16, 32, 4) and masks.dtype == np.float32
    assert counts(masks) == [[51, 102, 154, 205]] * 2
    assert set(np.unique(masks)) == {0.0, 1.0}
    for smaller, larger in zip(range(3), range(1, 4), strict=True):
        assert (masks[..., smaller] <= masks[..., larger]).all()


def test_the_highest_scores_are_chosen():
    z = scores()
    masks = masks_of(z)
    for image in range(2):
        for index in range(4):
            chosen = masks[image, ..., index] == 1
            assert z[image, chosen].min() > z[image, ~chosen].max()


def test_exact_counts_under_ties_and_the_earlier_cell_wins():
    """Item 4: constant scores, and scores of three values."""
    masks = masks_of(np.full((2, 16, 32, 1), 0.25, "float32"))
    assert counts(masks) == [[51, 102, 154, 205]] * 2
    assert (masks[0, ..., 0].ravel()[:51] == 1).all()

    few = np.random.default_rng(0).integers(0, 3, (2, 16, 32, 1)).astype("float32")
    masks = masks_of(few)
    assert counts(masks) == [[51, 102, 154, 205]] * 2
    order = np.argsort(-few.reshape(2, -1), axis=1, kind="stable")
    for image in range(2):
        assert (masks[image, ..., 1].ravel()[order[image, :102]] == 1).all()


def test_each_image_is_ranked_on_its_own():
    """Item 5: a permuted batch gives permuted masks, another image's scale changes nothing."""
    z = scores(batch=3)
    masks = masks_of(z)
    np.testing.assert_array_equal(masks_of(z[[2, 0, 1]]), masks[[2, 0, 1]])
    louder = z * np.array([1, 100, 0.01], "float32").reshape(3, 1, 1, 1)
    np.testing.assert_array_equal(masks_of(louder), masks)


def test_shifting_and_stretching_scores_changes_nothing():
    """Item 6, of the layer. Quarters, so that the sums are exact and make no ties."""
    z = np.random.default_rng(0).permutation(512).reshape(1, 16, 32, 1).astype("float32") / 4
    masks = masks_of(z)
    np.testing.assert_array_equal(masks_of(z + 5), masks)
    np.testing.assert_array_equal(masks_of(z * 8), masks)


def test_all_and_almost_none():
    """Item 8: a ratio of 1 selects all, a tiny one selects the best cell."""
    z = scores()
    masks = masks_of(z, (1.0, 1e-4))
    assert (masks[..., 0] == 1).all()
    assert counts(masks[..., 1:]) == [[1], [1]]
    best = z.reshape(2, -1).argmax(axis=1)
    assert (masks[..., 1].reshape(2, -1)[[0, 1], best] == 1).all()


def test_a_raised_cell_enters_every_mask():
    """Item 9."""
    z = scores()
    row, column = np.unravel_index(z[0, ..., 0].argmin(), (16, 32))
    assert masks_of(z)[0, row, column].sum() == 0
    z[0, row, column] = 9.0
    assert (masks_of(z)[0, row, column] == 1).all()


def test_sizes_known_only_at_run_time():
    """One trace with unknown batch, height and width (TensorFlow), jitted (JAX)."""
    layer = TopKMasks(RATIOS)
    function = compiled(lambda z: layer(z))
    for batch, height, width in [(2, 16, 32), (1, 5, 7), (3, 1, 1)]:
        z = scores(batch, height, width)
        found = to_numpy(function(z))
        np.testing.assert_array_equal(found, masks_of(z))
        n = height * width
        assert counts(found) == [[min(n, max(1, round(r * n))) for r in RATIOS]] * batch


def test_no_gradient_passes_the_ranking():
    """Item 16."""
    weight = scores(seed=1)
    layer = TopKMasks(RATIOS)
    function = compiled(lambda z: ops.sum(ops.multiply(layer(z), weight)) + 0.0 * ops.sum(z))
    slope = gradient(function, scores())
    assert not slope.any()


def test_masks_are_float32_and_ranked_in_float32(mixed_precision: str):
    """Item 25: scores that bfloat16 cannot tell apart are still told apart."""
    z = 1.0 + np.arange(512, dtype="float32").reshape(1, 16, 32, 1) * 1e-5
    masks = TopKMasks(RATIOS)(z)
    assert keras.backend.standardize_dtype(masks.dtype) == "float32"
    assert (to_numpy(masks)[..., 0].ravel()[-51:] == 1).all()


def test_symbolic_shape():
    z = keras.Input((None, None, 1))
    masks = TopKMasks((0.1, 0.5))(z)
    assert masks.shape == (None, None, None, 2)
    assert masks.dtype == "float32"


@pytest.mark.parametrize("ratios", [(), (0.0,), (0.1, 1.5), (-0.1,), (float("nan"),)])
def test_ratios_out_of_range_are_refused(ratios: tuple[float, ...]):
    with pytest.raises(ValueError, match=r"ratios must be in \(0, 1\]"):
        TopKMasks(ratios)


def test_config_round_trip():
    copy = check_config_round_trip(TopKMasks((0.25, 1.0), name="picks"))
    assert copy.ratios == (0.25, 1.0) and copy.name == "picks"
    assert check_config_round_trip(StraightThroughMask(2)).index == 2


def straight_through(index: int = 1) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features, masks and logits of one small map."""
    rng = np.random.default_rng(3)
    features = rng.normal(size=(2, 4, 6, 5)).astype("float32")
    z = scores(2, 4, 6, seed=4) * 3
    return features, masks_of(z), z


def test_straight_through_is_the_mask_bit_for_bit():
    """Item 7: also for scores at which the sigmoid saturates."""
    features, masks, z = straight_through()
    z[0, 0, :3, 0] = [-200.0, 200.0, 0.0]
    masks = masks_of(z)
    ones = np.ones_like(features)
    for index in range(4):
        layer = StraightThroughMask(index)
        mask = masks[..., index : index + 1]
        function = compiled(lambda x, m, s, layer=layer: layer(x, m, s))
        assert (to_numpy(function(ones, masks, z)) == mask).all()
        assert (to_numpy(function(features, masks, z)) == features * mask).all()


def test_straight_through_gradients():
    """The score's slope is S (1 - S) at every cell; the features' slope is the mask."""
    features, masks, z = straight_through()
    layer = StraightThroughMask(1)
    upstream = np.random.default_rng(5).normal(size=features.shape).astype("float32")

    def value(x, m, s):
        return ops.sum(ops.multiply(layer(x, m, s), upstream))

    to_z = gradient(compiled(lambda s: value(features, masks, s)), z)
    s = 1 / (1 + np.exp(-z))
    expected = s * (1 - s) * (features * upstream).sum(-1, keepdims=True)
    np.testing.assert_allclose(to_z, expected, rtol=1e-4, atol=1e-6)

    to_x = gradient(compiled(lambda x: value(x, masks, z)), features)
    np.testing.assert_array_equal(to_x, masks[..., 1:2] * upstream)


def test_straight_through_keeps_the_dtype_of_the_features(mixed_precision: str):
    features, masks, z = straight_through()
    x = ops.cast(features, mixed_precision)
    chosen = StraightThroughMask(0)(x, masks, z)
    assert keras.backend.standardize_dtype(chosen.dtype) == mixed_precision
    expected = to_numpy(ops.cast(x, "float32")) * masks[..., :1]
    np.testing.assert_array_equal(to_numpy(ops.cast(chosen, "float32")), expected)


@pytest.mark.parametrize("side", [3, 4])
def test_chosen_cells_alone_give_what_the_masked_map_gives(side: int) -> None:
    z = np.round(scores(height=9, width=7))  # many are equal
    x = np.random.default_rng(1).normal(size=(2, 9, 7, 4)).astype("float32")
    layer = ConvNormAct(6, side, dilation_rate=2, activation="linear")
    dense = to_numpy(layer(x * masks_of(z, (0.3,))))
    chosen = SelectedConvNormAct(layer, 0.3)
    found = to_numpy(chosen(ops.convert_to_tensor(x), RankedCells()(z)))
    np.testing.assert_allclose(found, dense, atol=1e-5)
    assert chosen.macs((1, 9, 7, 4)) == 19 * 4 * side**2 * 6
