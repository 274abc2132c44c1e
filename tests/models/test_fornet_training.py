"""FoR-Net learns, and its switches work. Item numbers: section 5 of the specification."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

from keras_focusseg import losses, models
from tests.models import tiny
from tests.testers import to_numpy


def drawings(count: int = 2, height: int = 80, width: int = 128) -> tuple[np.ndarray, np.ndarray]:
    """Images of a disc, a box and a thin line on a noisy ground, and their masks (4 classes)."""
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:height, :width]
    images, labels = [], []
    for i in range(count):
        label = np.zeros((height, width), "uint8")
        label[44 + 4 * i : 68, 72:108] = 2
        label[(rows - 26) ** 2 + (columns - 28 - 8 * i) ** 2 < 17**2] = 1
        label[:, 58 + 4 * i : 62 + 4 * i] = 3
        colors = np.array([[90, 110, 90], [200, 60, 50], [60, 80, 210], [230, 220, 60]])
        images.append(colors[label] + rng.normal(0, 12, (height, width, 3)))
        labels.append(label)
    return np.clip(images, 0, 255).astype("float32"), np.stack(labels)


def test_overfits_two_drawings_and_finds_their_boundaries():
    """Item 26: loss falls, mIoU above 0.95, and M_1 lies on boundary cells."""
    images, labels = drawings()
    model = models.FoRNet(4, tiny.backbone(16), filters=24, low_level_filters=16)
    model.compile(keras.optimizers.Adam(1e-2))
    steps = [np.concatenate([data] * 90) for data in (images, labels)]  # one compiled epoch
    before = model.evaluate(images, labels, verbose=0, return_dict=True)
    model.fit(*steps, batch_size=2, shuffle=False, verbose=0)
    after = model.evaluate(images, labels, verbose=0, return_dict=True)
    assert after["loss"] < 0.25 * before["loss"]
    assert after["mean_iou"] > 0.95

    masks = tiny.outputs(model, images)["masks"]
    target, _ = losses.boundary_target(labels, 8, 4)
    boundary = to_numpy(target)[..., 0] == 1
    precision = boundary[masks[..., 0] == 1].mean()
    assert precision > 0.9
    assert precision > 2.5 * boundary.mean()  # what chance would find


@pytest.mark.parametrize(
    ("options", "absent"),
    [
        ({"ratios": (1.0, 1.0, 1.0, 1.0)}, set()),
        ({"context_filters": 0}, {"context_pool", "context_squeeze", "context_add"}),
        (
            {"kernel_sizes": (3,), "dilation_rates": (1,), "ratios": (0.25,)},
            {"branch1", "branch2", "branch3"},
        ),
        ({"selector_weight": 0.0}, set()),
    ],
    ids=["no selection", "no context", "one branch", "lambda2 = 0"],
)
def test_ablations(options: dict[str, Any], absent: set[str]):
    """Item 27: each variant builds, trains a step, and lacks what was switched off."""
    model = tiny.network(**options)
    names = {layer.name for layer in model.layers}
    assert not names & absent
    assert {"branch0", "selector_logits", "aggregate"} <= names
    model.compile()
    images, labels = tiny.images(32, 48), tiny.masks(32, 48)
    before = model.get_weights()
    logs = model.train_on_batch(images, labels, return_dict=True)
    assert all(np.isfinite(value) for value in logs.values())
    assert ("selector" in logs) == ("selector_weight" not in options)
    changed = [(a != b).any() for a, b in zip(before, model.get_weights(), strict=True)]
    assert np.mean(changed) > 0.9

    masks = tiny.outputs(model, images)["masks"]
    ratios = options.get("ratios", (0.1, 0.2, 0.3, 0.4))
    expected = [max(1, round(ratio * 24)) for ratio in ratios]
    assert masks.sum(axis=(1, 2)).tolist() == [expected] * 2
