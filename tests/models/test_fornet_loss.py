"""FoR-Net's loss, Eq. (8), as the network gives it. Item numbers: section 5 of the specification.

The terms themselves are tested in tests/losses; here, that the network joins them as the paper
does, at its own stride and with its own arguments.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from keras import ops

from keras_focusseg import models
from tests.models import tiny
from tests.testers import compiled, gradient, to_numpy

CLASSES = 4


@pytest.fixture(scope="module")
def model() -> models.FoRNet:
    return tiny.network(CLASSES)


def outputs_for(labels: np.ndarray, seed: int = 0, classes: int = CLASSES) -> tiny.Arrays:
    """Random logits and scores on the grids of some masks."""
    rng = np.random.default_rng(seed)
    batch, height, width = labels.shape
    return {
        "logits": rng.normal(size=(batch, height, width, classes)).astype("float32"),
        "selector_logits": rng.normal(size=(batch, -(-height // 8), -(-width // 8), 1)).astype(
            "float32"
        ),
    }


def terms_of(model: models.FoRNet, labels: np.ndarray, outputs: Any) -> dict[str, float]:
    tensors = {name: ops.convert_to_tensor(value) for name, value in outputs.items()}
    terms = model.loss_terms(labels, tensors)
    return {name: float(value) for name, value in to_numpy(terms).items()}


def taught(model: models.FoRNet, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Target and weight (B, h, w) that the selector's term holds against z.

    Read from the term itself: its slope is (S - target) * weight / sum of weights, at two z.
    """
    z = np.zeros_like(outputs_for(labels)["selector_logits"])
    logits = np.zeros((*labels.shape, CLASSES), "float32")

    def term(scores: Any) -> Any:
        return model.loss_terms(labels, {"logits": logits, "selector_logits": scores})["selector"]

    at_half = gradient(compiled(term), z)  # S = 1/2
    at_one = gradient(compiled(term), z + 30)  # S = 1
    share = 2 * (at_one - at_half)  # weight / sum of weights
    weight = (share > 0).astype("float32")
    target = (weight - at_one * weight.sum())[..., 0]
    return np.round(target, 5), weight[..., 0]


def test_target_of_a_vertical_step(model: models.FoRNet):
    """Item 17."""
    labels = np.zeros((1, 24, 64), "uint8")
    labels[:, :, 32:] = 1
    target, weight = taught(model, labels)
    assert target[0].tolist() == [[0, 0.25, 0.5, 1, 1, 0.5, 0.25, 0]] * 3
    assert (weight == 1).all()


def test_borders_to_ignored_pixels_are_not_taught(model: models.FoRNet):
    """Item 18."""
    labels = np.ones((1, 24, 64), "uint8")
    labels[:, :, 20:44] = 255
    target, weight = taught(model, labels)
    assert not target.any()
    assert weight[0, 0].tolist() == [1, 1, 1, 0, 0, 1, 1, 1]


def test_a_batch_without_valid_pixel_costs_nothing(model: models.FoRNet):
    """Item 18, and gap 16: everything is 0 and finite, the gradients too."""
    labels = np.full((2, 24, 40), 255, "uint8")
    outputs = outputs_for(labels)
    assert terms_of(model, labels, outputs) == {"cross_entropy": 0, "dice": 0, "selector": 0}
    for name in outputs:

        def value(x: Any, name: str = name) -> Any:
            tensors = {n: ops.convert_to_tensor(v) for n, v in outputs.items()}
            return sum(model.loss_terms(labels, {**tensors, name: x}).values())

        assert not gradient(compiled(value), outputs[name]).any()


def test_cells_without_valid_pixel_are_not_taught(model: models.FoRNet):
    """Item 19: a row of cells is ignored; beside it the boundary is taught as before."""
    labels = np.zeros((1, 40, 64), "uint8")
    labels[:, :, 32:] = 1
    labels[:, 16:24] = 255
    target, weight = taught(model, labels)
    assert not target[0, 2].any() and not weight[0, 2].any()
    for row in (0, 1, 3, 4):
        assert target[0, row].tolist() == [0, 0.25, 0.5, 1, 1, 0.5, 0.25, 0]
        assert (weight[0, row] == 1).all()


def test_band_and_decay_are_arguments():
    labels = np.zeros((1, 8, 64), "uint8")
    labels[:, :, 32:] = 1
    model = tiny.network(CLASSES, boundary_band=3, boundary_decay=0.25)
    target, _ = taught(model, labels)
    expected = [0.25**3, 0.25**2, 0.25, 1, 1, 0.25, 0.25**2, 0.25**3]
    np.testing.assert_allclose(target[0, 0], expected, atol=1e-5)


def test_logits_at_ignored_pixels_do_not_matter(model: models.FoRNet):
    """Item 20; labels that are no class are ignored as well (gap 17)."""
    labels = tiny.masks(40, 48)
    labels[:, 10:14] = 77
    outputs = outputs_for(labels)
    before = terms_of(model, labels, outputs)
    outputs["logits"][labels >= CLASSES] = 50 * outputs["logits"][labels >= CLASSES] + 9
    assert terms_of(model, labels, outputs) == pytest.approx(before, abs=1e-6)


def test_perfect_logits_cost_nothing(model: models.FoRNet):
    """Item 20."""
    labels = tiny.masks(40, 48)
    outputs = outputs_for(labels)
    outputs["logits"] = 40 * np.eye(CLASSES, dtype="float32")[labels % CLASSES]
    terms = terms_of(model, labels, outputs)
    assert terms["cross_entropy"] == pytest.approx(0, abs=1e-6)
    assert terms["dice"] == pytest.approx(0, abs=1e-6)


def test_dice_by_hand(model: models.FoRNet):
    """Item 21: 2 x 2 pixels, one ignored; the fourth class is predicted but absent."""
    labels = np.array([[[0, 1], [1, 255]]], "uint8")
    probabilities = np.array(
        [
            [[0.7, 0.2, 0.0, 0.1], [0.3, 0.6, 0.0, 0.1]],
            [[0.25, 0.5, 0.0, 0.25], [0.1, 0.1, 0.4, 0.4]],
        ]
    )
    outputs = outputs_for(labels)
    outputs["logits"] = np.log(probabilities + 1e-12).astype("float32")[None]
    # class 0: I 0.7, P 1.25, G 1; class 1: I 1.1, P 1.3, G 2; the others are absent
    expected = 1 - ((2 * 0.7 + 1) / (1.25 + 1 + 1) + (2 * 1.1 + 1) / (1.3 + 2 + 1)) / 2
    terms = terms_of(model, labels, outputs)
    assert terms["dice"] == pytest.approx(expected, abs=1e-6)
    expected = -(np.log(0.7) + np.log(0.6) + np.log(0.5)) / 3
    assert terms["cross_entropy"] == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("dice_weight", "selector_weight"), [(1.0, 0.5), (0.0, 0.5), (0.25, 0.0), (0.0, 0.0)]
)
def test_total_is_the_weighted_sum(
    model: models.FoRNet, dice_weight: float, selector_weight: float
):
    """Item 22: a term of weight 0 is neither computed nor logged."""
    labels = tiny.masks(40, 48)
    outputs = outputs_for(labels)
    all_terms = terms_of(model, labels, outputs)
    other = tiny.network(CLASSES, dice_weight=dice_weight, selector_weight=selector_weight)
    other.compile()
    tensors = {name: ops.convert_to_tensor(value) for name, value in outputs.items()}
    total = float(to_numpy(other.compute_loss(y=labels, y_pred=tensors)))
    expected = all_terms["cross_entropy"] + dice_weight * all_terms["dice"]
    expected += selector_weight * all_terms["selector"]
    assert total == pytest.approx(expected, rel=1e-5)

    expected_logs = {"loss", "compile_metrics", "cross_entropy"}
    expected_logs |= {"dice"} if dice_weight else set()
    expected_logs |= {"selector"} if selector_weight else set()
    assert {metric.name for metric in other.metrics} == expected_logs


def test_class_weights_weigh_the_cross_entropy_alone(model: models.FoRNet):
    """Ours."""
    labels = np.array([[[0, 1], [1, 255]]], "uint8")
    outputs = outputs_for(labels)
    log_p = outputs["logits"] - np.log(np.exp(outputs["logits"]).sum(-1, keepdims=True))
    weights = (3.0, 0.5, 1.0, 1.0)
    weighted = terms_of(tiny.network(CLASSES, class_weights=weights), labels, outputs)
    plain = terms_of(model, labels, outputs)
    expected = -(3 * log_p[0, 0, 0, 0] + 0.5 * (log_p[0, 0, 1, 1] + log_p[0, 1, 0, 1])) / 4
    assert weighted["cross_entropy"] == pytest.approx(float(expected), rel=1e-5)
    for name in ("dice", "selector"):
        assert weighted[name] == plain[name]


def test_another_ignored_class():
    labels = tiny.masks(40, 48, num_classes=3)
    model = tiny.network(3, ignore_class=2)
    outputs = outputs_for(labels, classes=3)
    renamed = np.where(labels == 2, 255, labels).astype("uint8")
    assert terms_of(model, labels, outputs) == pytest.approx(
        terms_of(tiny.network(3), renamed, outputs), rel=1e-6
    )
