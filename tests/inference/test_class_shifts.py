"""Shifts of the logits that raise mean IoU after training."""

import numpy as np
import pytest

from keras_focusseg import inference, label_spaces, metrics
from keras_focusseg.inference.class_shifts import _best_shifts
from tests.data.conftest import ArraySource
from tests.testers import randomize_weights, tiny_fornet


def mean_iou(logits: np.ndarray, labels: np.ndarray) -> float:
    confusion = metrics.ConfusionMatrix(logits.shape[-1])
    confusion.update(labels, logits.argmax(-1))
    return metrics.mean_iou(confusion.matrix)


def test_a_known_offset_is_taken_back() -> None:
    rng = np.random.default_rng(0)
    labels = rng.choice(4, 4000, p=(0.6, 0.3, 0.07, 0.03))
    fair = 2.0 * np.eye(4)[labels] + rng.normal(0, 1, (4000, 4))
    skewed = fair + (0.0, 0.0, 1.0, 3.0)  # names the rare classes too often
    shifts = _best_shifts(skewed, labels)
    found = mean_iou(skewed + shifts, labels)
    assert found > mean_iou(skewed, labels) + 0.1
    assert found >= mean_iou(fair, labels) - 0.01
    # What was found on one half of the pixels holds on the other.
    half = _best_shifts(skewed[::2], labels[::2])
    assert mean_iou(skewed[1::2] + half, labels[1::2]) > mean_iou(skewed[1::2], labels[1::2]) + 0.1


def test_the_network_takes_the_shifts_into_its_classifier() -> None:
    model = tiny_fornet(num_classes=11)
    randomize_weights(model, seed=1)
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (3, 32, 48, 3)).astype("uint8")
    masks = rng.choice([0, 1, 2, 255], (3, 32, 48), p=(0.5, 0.3, 0.1, 0.1)).astype("uint8")
    source = ArraySource(3, lambda index: (images[index], masks[index]))
    before = np.stack([inference.predict_logits(model, image) for image in images])
    done: list[int] = []
    shifts = inference.class_shifts(model, source, stride=1, on_image=done.append)
    assert shifts.shape == (11,) and done == [1, 2, 3]
    inference.shift_classes(model, shifts)
    after = np.stack([inference.predict_logits(model, image) for image in images])
    np.testing.assert_allclose(after, before + shifts, atol=1e-4)
    counted = masks < 255
    assert mean_iou(after[counted], masks[counted]) > mean_iou(before[counted], masks[counted])
    assert inference.class_shifts(model, source, every=2, stride=2).shape == (11,)
    with pytest.raises(ValueError, match="every and stride must be 1 or more, got 0 and 4"):
        inference.class_shifts(model, source, every=0)
    source.label_space = label_spaces.get("camvid32")
    with pytest.raises(ValueError, match="The network has 11 classes, .* has 31"):
        inference.class_shifts(model, source)
    void = ArraySource(1, lambda index: (images[0], np.full((32, 48), 255, "uint8")))
    with pytest.raises(ValueError, match="No pixel of .* has a class"):
        inference.class_shifts(model, void)
