"""SRM. Item numbers: section 6 of SCRNet's specification."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

from keras_focusseg import metrics
from keras_focusseg.layers import SemanticRefinement, refine_offsets, resize_to
from tests.testers import compiled, to_numpy


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def maps(channels: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """A coarse map of 5x7 cells and a fine one of 10x14."""
    return noise(2, 5, 7, channels), noise(2, 10, 14, channels, seed=1)


def with_offset(dx: float, dy: float) -> SemanticRefinement:
    """An SRM whose every initial offset is (dx, dy)."""
    layer = SemanticRefinement()
    layer(*maps())
    layer.offset.bias.assign([dx, dy])
    return layer


def moved(u: np.ndarray, dx: int, dy: int) -> np.ndarray:
    """`u` read at (column + dx, row + dy), borders repeated."""
    rows = np.clip(np.arange(u.shape[1]) + dy, 0, u.shape[1] - 1)
    columns = np.clip(np.arange(u.shape[2]) + dx, 0, u.shape[2] - 1)
    return u[:, rows][:, :, columns]


@pytest.mark.parametrize("mask", ["softmax", "sigmoid", None])
def test_a_fresh_layer_is_bilinear_upsampling(mask: str | None):
    """Item 1."""
    low, high = maps()
    layer = SemanticRefinement(mask=mask)
    found, fields = layer(low, high, return_fields=True)
    np.testing.assert_allclose(to_numpy(found), to_numpy(resize_to(low, (10, 14))), atol=1e-6)
    assert not to_numpy(fields["offsets"]).any()


@pytest.mark.parametrize(("dx", "dy"), [(1, 0), (0, 1), (-2, 3)])
def test_a_whole_offset_reads_that_neighbour(dx: int, dy: int):
    """Item 2: dx = 1 reads from the right, dy = 1 from below."""
    low, high = maps()
    u = to_numpy(resize_to(low, (10, 14)))
    found = to_numpy(with_offset(dx, dy)(low, high))
    np.testing.assert_allclose(found, moved(u, dx, dy), atol=1e-5)


def test_half_an_offset_is_the_mean_of_two():
    """Item 2."""
    low, high = maps()
    u = to_numpy(resize_to(low, (10, 14)))
    found = to_numpy(with_offset(0.5, 0.0)(low, high))
    np.testing.assert_allclose(found, (u + moved(u, 1, 0)) / 2, atol=1e-5)


def test_a_one_hot_mask_picks_the_neighbour_it_names():
    """Item 3: the nine in order, row by row from the upper left."""
    offsets = noise(1, 4, 6, 2)
    one_hot = np.broadcast_to(np.eye(9, dtype="float32")[:, None, None], (9, 4, 6, 9))
    found = to_numpy(compiled(refine_offsets)(np.repeat(offsets, 9, axis=0), one_hot))
    for index in range(9):
        dy, dx = divmod(index, 3)
        expected = moved(offsets, dx - 1, dy - 1)[0]
        np.testing.assert_array_equal(found[index], expected, err_msg=f"neighbour {index}")


def test_the_mask_is_a_convex_combination():
    """Items 3 and 4: >= 0, sums to 1; a constant field stays so up to the border, and refined
    offsets lie between the least and the greatest of their neighbourhood."""
    low, high = maps()
    layer = SemanticRefinement()
    layer(low, high)
    rng = np.random.default_rng(0)
    for conv in (layer.offset, layer.weight):
        conv.kernel.assign(rng.normal(0, 1, conv.kernel.shape))
    layer.offset.bias.assign([0.7, -1.2])
    _, fields = layer(low, high, return_fields=True)
    fields = to_numpy(fields)
    weights = fields["offset_weights"]
    assert weights.min() >= 0 and weights.std() > 0.05
    np.testing.assert_allclose(weights.sum(-1), 1.0, atol=1e-6)

    constant = np.broadcast_to(np.array([1.5, -0.25], "float32"), (2, 10, 14, 2))
    np.testing.assert_allclose(to_numpy(refine_offsets(constant, weights)), constant, atol=1e-6)
    initial = fields["initial_offsets"]
    around = np.stack([moved(initial, dx, dy) for dx in (-1, 0, 1) for dy in (-1, 0, 1)])
    assert initial.std() > 0.5
    assert (fields["offsets"] >= around.min(0) - 1e-5).all()
    assert (fields["offsets"] <= around.max(0) + 1e-5).all()


def train(
    layer: Any, low: np.ndarray, high: np.ndarray, target: np.ndarray, steps: int, rate: float
):
    """Trains the layer alone, by mean squared error; the loss of each step."""
    inputs = keras.Input(low.shape[1:]), keras.Input(high.shape[1:])
    model = keras.Model(inputs, layer(*inputs))
    model.compile(keras.optimizers.Adam(rate), "mse")
    return [float(model.train_on_batch([low, high], target)) for _ in range(steps)]


def test_offsets_move_first_and_the_mask_from_the_second_step_on():
    """Item 6: the mask's gradient is a difference of neighbouring offsets, all 0 at the start."""
    low, high = maps()
    layer = SemanticRefinement()
    target = moved(to_numpy(resize_to(low, (10, 14))), 1, 0)
    train(layer, low, high, target, steps=1, rate=1e-2)
    assert np.abs(to_numpy(layer.offset.kernel)).max() > 0
    assert not to_numpy(layer.weight.kernel).any()
    train(layer, low, high, target, steps=2, rate=1e-2)
    assert np.abs(to_numpy(layer.weight.kernel)).max() > 0


def misaligned(count: int = 4, side: int = 32) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Item 7: smooth fields; the coarse map is blurred, halved and shifted by 2 fine pixels
    in each drawing's own direction, which the fine map (edges of the truth) tells."""
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:side, :side]
    truth = np.zeros((count, side, side, 2), "float32")
    shifted = np.zeros_like(truth)
    for i in range(count):
        shift = 2 if i % 2 else -2
        for channel in range(2):
            for _ in range(3):
                y, x, radius = rng.uniform(4, side - 4, 2).tolist() + [rng.uniform(3, 8)]
                for field, dx in ((truth, 0), (shifted, shift)):
                    inside = (rows - y) ** 2 + (columns - x - dx) ** 2 < radius**2
                    field[i, ..., channel] = np.maximum(field[i, ..., channel], inside)
    low = shifted.reshape(count, side // 2, 2, side // 2, 2, 2).mean(axis=(2, 4))
    return low.astype("float32"), truth, truth


@pytest.mark.backend_free
def test_srm_beats_bilinear_where_maps_are_misaligned():
    """Item 7: it learns where to read; bilinear upsampling cannot."""
    low, high, target = misaligned()
    bilinear = float(np.mean((to_numpy(resize_to(low, (32, 32))) - target) ** 2))
    layer = SemanticRefinement(filters=16)
    losses = train(layer, low, high, target, steps=150, rate=1e-2)
    assert losses[0] == pytest.approx(bilinear, rel=1e-4)
    assert losses[-1] < 0.5 * bilinear

    # Item 24: what it gains lies at the boundaries.
    truth = (target > 0.5).astype("uint8")
    gains = []
    for inside in (True, False):
        scores = []
        for prediction in (resize_to(low, (32, 32)), layer(low, high)):
            predicted = (to_numpy(prediction) > 0.5).astype("uint8")
            counts = metrics.ConfusionMatrix(2)
            for b, c in np.ndindex(len(truth), 2):
                band = metrics.trimap(truth[b, ..., c], 3) == inside
                counts.update(np.where(band, truth[b, ..., c], 255), predicted[b, ..., c])
            scores.append(float(metrics.mean_iou(counts.matrix)))
        gains.append(scores[1] - scores[0])
    assert gains[0] > 0.1
    assert gains[0] > 3 * gains[1]


def test_mixed_precision_keeps_the_offsets_in_float32(mixed_precision: str):
    """Item 8."""
    low, high = maps()
    layer = with_offset(0.5, 0.0)
    found, fields = layer(low, high, return_fields=True)
    assert keras.backend.standardize_dtype(found.dtype) == mixed_precision
    for name, field in fields.items():
        assert keras.backend.standardize_dtype(field.dtype) == "float32", name
    u = to_numpy(resize_to(low, (10, 14)))
    found = to_numpy(ops.cast(found, "float32"))
    np.testing.assert_allclose(found, (u + moved(u, 1, 0)) / 2, atol=0.05)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mask": "tanh"}, "mask must be one of"),
        ({"padding": "same"}, "padding must be one of"),
    ],
)
def test_wrong_arguments_are_told(options: dict[str, Any], message: str):
    with pytest.raises(ValueError, match=message):
        SemanticRefinement(**options)


@pytest.mark.parametrize(("mask", "fields"), [("softmax", 11), (None, 2)])
def test_multiply_accumulates(mask: str | None, fields: int):
    layer = SemanticRefinement(4, mask)
    assert layer.macs((1, 5, 7, 4), (1, 10, 14, 4)) == 140 * 4 * (8 + 9 * fields)
