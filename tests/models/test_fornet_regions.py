"""Selection, untouched regions and gradients. Item numbers: section 5 of the specification."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

from keras_focusseg import losses, models
from tests.models import tiny
from tests.testers import (
    compiled,
    gradient,
    outputs_and_gradients,
    randomize_weights,
    tiny_backbone,
    tiny_fornet,
)

COUNTS = [10, 19, 29, 38]  # of the 8 x 12 cells of a 64 x 96 image
KERNELS = ((1, 1), (3, 1), (5, 1), (7, 16))  # side and dilation of each branch
CHOSEN = [f"branch{i}_mask" for i in range(4)]  # X_i, what each branch sees


class Opened:
    """A network with random weights, cut open: its tensors and their values by layer name."""

    def __init__(self) -> None:
        self.model = tiny.network()
        randomize_weights(self.model)
        self.images = tiny.images()
        self.labels = tiny.masks()
        self.tensors = {"images": self.model.input, **tiny.tensors(self.model)}
        names = ["images", "low_level", "transition", "context_add", "top_k"]
        names += ["selector_logits", *CHOSEN, *(f"branch{i}" for i in range(4))]
        names += ["aggregate", "logits"]
        values = self.part(["images"], *names).predict(self.images, verbose=0)
        self.values = dict(zip(names, values, strict=True))

    def part(self, inputs: list[str], *outputs: str) -> keras.Model:
        """The network between some layers and others."""
        found = [self.tensors[name] for name in outputs]
        return keras.Model(
            [self.tensors[name] for name in inputs], found if len(found) > 1 else found[0]
        )

    def run(self, inputs: list[str], output: str, **changed: np.ndarray) -> np.ndarray:
        """Value of a layer from the values of some others, of which a few are changed."""
        values = {**self.values, **changed}
        return self.part(inputs, output).predict([values[name] for name in inputs], verbose=0)

    def loss_slope(self, at: str, inputs: list[str]) -> np.ndarray:
        """Gradient of the cross-entropy with respect to one of the layers where it is cut."""
        part = self.part(inputs, "logits")
        cross_entropy = losses.CrossEntropy()

        def value(x: Any) -> Any:
            tensors = [x if n == at else ops.convert_to_tensor(self.values[n]) for n in inputs]
            return cross_entropy(self.labels, part(tensors))

        return gradient(compiled(value), self.values[at])


@pytest.fixture(scope="module")
def opened() -> Opened:
    return Opened()


def predict(model: keras.Model, images: np.ndarray) -> dict[str, np.ndarray]:
    return tiny.outputs(model, images)


def counts(masks: np.ndarray) -> list[list[int]]:
    return masks.sum(axis=(1, 2)).astype(int).tolist()


# Selection


def test_masks_have_exact_counts_and_are_nested(opened: Opened):
    """Items 4 and 5, of the network; more in tests/layers/test_topk.py."""
    masks = opened.values["top_k"]
    assert counts(masks) == [COUNTS] * 2
    assert (np.diff(masks, axis=-1) >= 0).all()
    assert set(np.unique(masks)) == {0.0, 1.0}


def test_512_cells():
    """Item 4, as the specification counts: a 128 x 256 image."""
    masks = predict(tiny.network(), tiny.images(128, 256, batch=1))["masks"]
    assert counts(masks) == [[51, 102, 154, 205]]


def test_equal_scores_leave_the_counts(opened: Opened):
    """Item 4: with a selector that ends in zeros all cells are equal."""
    model = tiny.copy(opened.model)
    last = model.get_layer("selector_logits")
    last.set_weights([np.zeros((1, 1, 8, 1), "float32"), np.full(1, 0.5, "float32")])
    outputs = predict(model, opened.images)
    assert (outputs["selector_logits"] == 0.5).all()
    assert counts(outputs["masks"]) == [COUNTS] * 2


def test_permuting_the_batch_permutes_everything(opened: Opened):
    """Item 5."""
    swapped = predict(opened.model, opened.images[::-1])
    np.testing.assert_array_equal(swapped["masks"], opened.values["top_k"][::-1])
    np.testing.assert_allclose(swapped["logits"], opened.values["logits"][::-1], atol=1e-5)


def test_shifted_and_stretched_scores_change_nothing_else(opened: Opened):
    """Item 6: z becomes 4 z + 2."""
    model = tiny.copy(opened.model)
    last = model.get_layer("selector_logits")
    kernel, bias = last.get_weights()
    last.set_weights([4 * kernel, 4 * bias + 2])
    outputs = predict(model, opened.images)
    z = opened.values["selector_logits"]
    np.testing.assert_allclose(outputs["selector_logits"], 4 * z + 2, atol=1e-4)
    np.testing.assert_array_equal(outputs["masks"], opened.values["top_k"])
    np.testing.assert_allclose(outputs["logits"], opened.values["logits"], atol=1e-5)


@pytest.mark.each_backend
def test_branches_see_the_mask_bit_for_bit(opened: Opened):
    """Item 7: X_i is F_ctx where M_i is 1, and exactly 0 elsewhere."""
    f_context, masks = opened.values["context_add"], opened.values["top_k"]
    # XLA computes F_ctx anew for each of its readers, and may round it differently.
    rounding = 1e-7 if keras.backend.backend() == "jax" else 0.0
    for index, name in enumerate(CHOSEN):
        found, mask = opened.values[name], masks[..., index : index + 1]
        assert not (found * (1 - mask)).any()
        np.testing.assert_allclose(found, f_context * mask, rtol=0, atol=rounding)


def test_all_ratios_one_is_no_selection(opened: Opened):
    """Item 8: the same result as with F_ctx itself at the branches' inputs."""
    outputs = predict(tiny.copy(opened.model, ratios=(1.0,) * 4), opened.images)
    assert (outputs["masks"] == 1).all()
    unmasked = dict.fromkeys(CHOSEN, opened.values["context_add"])
    inputs = ["images", "low_level", "transition", *CHOSEN]
    expected = opened.run(inputs, "logits", **unmasked)
    np.testing.assert_allclose(outputs["logits"], expected, atol=1e-5)
    assert np.abs(expected - opened.values["logits"]).max() > 1e-2


def test_a_tiny_ratio_selects_one_cell(opened: Opened):
    """Item 8."""
    outputs = predict(tiny.copy(opened.model, ratios=(0.001,) * 4), opened.images)
    assert counts(outputs["masks"]) == [[1] * 4] * 2
    for z, mask in zip(outputs["selector_logits"], outputs["masks"], strict=True):
        assert z.argmax() == mask[..., 0].argmax()


def test_a_raised_cell_enters_every_mask(opened: Opened):
    """Item 9: its features reach all branches."""
    z = opened.values["selector_logits"].copy()
    row, column = np.unravel_index(z[1, ..., 0].argmin(), z.shape[1:3])
    z[1, row, column] = z.max() + 1
    inputs = ["transition", "selector_logits"]
    for index, name in enumerate(CHOSEN):
        assert not opened.values["top_k"][1, row, column, index]
        chosen = opened.run(inputs, name, selector_logits=z)
        np.testing.assert_allclose(
            chosen[1, row, column], opened.values["context_add"][1, row, column], atol=1e-5
        )


# Untouched regions


def reached(mask: np.ndarray, side: int, dilation: int) -> np.ndarray:
    """Positions (H, W) whose kernel window holds a selected cell, tap by tap."""
    height, width = mask.shape
    taps = dilation * (np.arange(side) - side // 2)
    found = np.zeros((height, width), bool)
    for row in range(height):
        for column in range(width):
            rows, columns = row + taps, column + taps
            rows = rows[(rows >= 0) & (rows < height)]
            columns = columns[(columns >= 0) & (columns < width)]
            found[row, column] = mask[np.ix_(rows, columns)].any()
    return found


def branch(opened: Opened, index: int, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """F_ctx of a random map, and what a branch makes of it under a mask (H, W)."""
    rng = np.random.default_rng(index)
    f_context = rng.normal(size=(1, *mask.shape, 16)).astype("float32")
    z = rng.normal(size=(1, *mask.shape, 1)).astype("float32")
    masks = np.zeros((1, *mask.shape, 4), "float32")
    masks[0, ..., index] = mask
    part = opened.part(["context_add", "top_k", "selector_logits"], f"branch{index}")
    return f_context, part.predict([f_context, masks, z], verbose=0)


@pytest.mark.parametrize("index", range(4))
def test_windows_without_a_selected_cell_give_the_norms_constant(opened: Opened, index: int):
    """Item 10: ReLU(beta - gamma mean / sqrt(var + eps)), one value a channel."""
    mask = np.zeros((9, 40), "float32")
    mask[2:5, :2] = 1
    _, region = branch(opened, index, mask)
    gamma, beta, mean, variance = opened.model.get_layer(f"branch{index}").norm.get_weights()
    constant = np.maximum(beta - gamma * mean / np.sqrt(variance + 1e-5), 0)
    assert constant.any()

    inside = reached(mask, *KERNELS[index])
    assert 0 < inside.sum() < inside.size
    np.testing.assert_allclose(
        region[0, ~inside], np.broadcast_to(constant, region[0, ~inside].shape), atol=1e-6
    )
    assert (np.abs(region[0, inside] - constant).max(axis=-1) > 1e-4).all()


def test_silent_branches_leave_the_residual(opened: Opened):
    """Item 11: with gamma = beta = 0 in the branches F_agg is F, to the bit."""
    model = tiny.copy(opened.model)
    for index in range(4):
        norm = model.get_layer(f"branch{index}").norm
        _, _, mean, variance = norm.get_weights()
        norm.set_weights([np.zeros_like(mean), np.zeros_like(mean), mean, variance])
    signals = model.inspect(opened.images)
    np.testing.assert_array_equal(signals["aggregated"], signals["features"])
    assert np.abs(opened.values["aggregate"] - opened.values["transition"]).max() > 0.1


def test_aggregation_is_a_plain_sum(opened: Opened):
    """Eq. (6): F + R_1 + R_2 + R_3 + R_4; the residual is F, not F_ctx."""
    regions = sum(opened.values[f"branch{i}"] for i in range(4))
    np.testing.assert_allclose(
        opened.values["aggregate"], opened.values["transition"] + regions, atol=1e-5
    )


@pytest.mark.parametrize("side", [16, 17])
def test_on_small_maps_the_dilated_branch_is_its_centre_tap(opened: Opened, side: int):
    """Item 12: up to 16 cells; with 17, the outer taps reach the opposite border."""
    mask = np.ones((side, side), "float32")
    f_context, region = branch(opened, 3, mask)
    kernel, gamma, beta, mean, variance = opened.model.get_layer("branch3").get_weights()
    center = (f_context @ kernel[3, 3] - mean) / np.sqrt(variance + 1e-5) * gamma + beta
    differs = np.abs(region - np.maximum(center, 0)).max(axis=-1)[0] > 1e-5
    outer = np.zeros((side, side), bool)
    if side == 17:
        outer[[0, 16], :] = outer[:, [0, 16]] = True
    np.testing.assert_array_equal(differs, outer)


# Gradients


@pytest.mark.each_backend
def test_segmentation_alone_teaches_the_selector(opened: Opened):
    """Item 13, of the weights: lambda 2 is 0, the selector still gets a gradient."""
    model = tiny.copy(opened.model, selector_weight=0.0)

    def loss(outputs: dict[str, Any]) -> Any:
        terms = model.loss_terms(opened.labels, outputs)
        assert set(terms) == {"cross_entropy", "dice"}
        return sum(terms.values())

    weights = [
        model.get_layer("selector").conv.kernel,
        model.get_layer("selector_logits").kernel,
        model.get_layer("selector_logits").bias,
    ]
    _, slopes = outputs_and_gradients(model, loss, opened.images, weights)
    for slope in slopes:
        assert np.abs(slope).max() > 1e-6


def test_slope_of_the_scores_is_that_of_the_straight_through_mask(opened: Opened):
    """Items 13 and 15: dL/dz = S (1 - S) sum over branches and channels of F_ctx dL/dX_i."""
    cut = ["images", "low_level", "transition"]
    to_z = opened.loss_slope("selector_logits", [*cut, "selector_logits"])
    masks = opened.values["top_k"]
    for selected in (masks[..., :1] == 1, masks[..., 3:] == 0):
        assert np.abs(to_z[selected]).min() > 0

    s = 1 / (1 + np.exp(-opened.values["selector_logits"]))
    to_mask = sum(
        (opened.values["context_add"] * opened.loss_slope(name, [*cut, *CHOSEN])).sum(-1)
        for name in CHOSEN
    )
    expected = s * (1 - s) * to_mask[..., None]
    np.testing.assert_allclose(to_z, expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize("index", range(4))
def test_features_outside_the_mask_get_no_gradient_from_the_branch(opened: Opened, index: int):
    """Item 14."""
    part = opened.part(["context_add", "top_k", "selector_logits"], f"branch{index}")
    masks, z = opened.values["top_k"], opened.values["selector_logits"]
    upstream = np.random.default_rng(0).normal(size=(*z.shape[:3], 16)).astype("float32")

    def value(f_context: Any) -> Any:
        region = part([f_context, ops.convert_to_tensor(masks), ops.convert_to_tensor(z)])
        return ops.sum(ops.multiply(region, upstream))

    slope = gradient(compiled(value), opened.values["context_add"])
    outside = masks[..., index] == 0
    assert not slope[outside].any()
    assert (np.abs(slope[~outside]).max(axis=-1) > 0).all()


def test_neither_ranking_nor_target_carries_a_gradient(opened: Opened):
    """Item 16: through the masks alone nothing reaches z, and the selector's term has the slope of
    a cross-entropy against a constant: (S - target) * weight / sum of weights."""
    masks_of = opened.part(["selector_logits"], "top_k")
    z = opened.values["selector_logits"]
    weight = np.random.default_rng(0).normal(size=(2, 8, 12, 4)).astype("float32")

    def of_masks(scores: Any) -> Any:
        return ops.sum(ops.multiply(masks_of(scores), weight)) + 0.0 * ops.sum(scores)

    assert not gradient(compiled(of_masks), z).any()

    def of_selector(scores: Any) -> Any:
        outputs = {"logits": np.zeros((2, 64, 96, 4), "float32"), "selector_logits": scores}
        return opened.model.loss_terms(opened.labels, outputs)["selector"]

    target, valid = losses.boundary_target(opened.labels, 8, 4)
    target, valid = keras.tree.map_structure(ops.convert_to_numpy, (target, valid))
    expected = (1 / (1 + np.exp(-z)) - target) * valid / valid.sum()
    np.testing.assert_allclose(gradient(compiled(of_selector), z), expected, atol=1e-7)


def test_chosen_cells_alone_give_the_same_logits() -> None:
    model = tiny_fornet(kernel_sizes=(1, 5), ratios=(0.3, 0.6))
    randomize_weights(model)
    images = np.random.default_rng(0).integers(0, 256, (2, 70, 93, 3)).astype("uint8")
    dense = model.predict(images, verbose=0)
    model.sparse_inference()
    np.testing.assert_allclose(model.predict(images, verbose=0), dense, atol=1e-5)
    np.testing.assert_array_equal(
        model.predict_labels(images, verbose=0)["labels"].shape, dense.shape[:3]
    )
    model.sparse_inference(False)
    np.testing.assert_array_equal(model.predict(images, verbose=0), dense)


def test_cells_that_a_subclass_chooses_have_no_sparse_form() -> None:
    class Easy(models.FoRNet):
        @staticmethod
        def choose_cells(z: Any, ratios: Any) -> Any:
            return models.FoRNet.choose_cells(-z, ratios)

    options = {"kernel_sizes": (1,), "dilation_rates": (1,), "ratios": (0.3,), "filters": 8}
    model = Easy(num_classes=3, backbone=tiny_backbone(), low_level_filters=4, **options)
    with pytest.raises(ValueError, match="Easy chooses its cells itself"):
        model.sparse_inference()
    model.sparse_inference(False)
