"""Class weights: each method by hand, what is left out, and on CamVid."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from keras_focusseg import data, label_spaces


class Few(data.Source):
    """Masks given as nested lists."""

    name, split = "few", "train"

    def __init__(self, *masks: list[list[int]], num_classes: int = 4) -> None:
        self.masks = [np.array(mask, "uint8") for mask in masks]
        self.label_space = label_spaces.from_names([f"c{i}" for i in range(num_classes)])

    def __len__(self) -> int:
        return len(self.masks)

    def load(self, index: int) -> data.Sample:
        mask = self.masks[index]
        return data.Sample(np.zeros((*mask.shape, 3), "uint8"), mask, str(index))


def test_weights_are_those_computed_by_hand() -> None:
    # Of 4 and 8 pixels. Class 0: 3 of 12; 1: 4 of 8; 2: 1 of 4; 3: 1 of 8.
    source = Few([[0, 0], [2, 255]], [[0, 1, 1, 255], [1, 1, 3, 255]])
    seen: list[tuple[int, int]] = []
    weights = data.class_weights(source, progress=lambda *counts: seen.append(counts), workers=2)
    assert weights == (1.0, 0.5, 1.0, 2.0)
    assert seen == [(1, 2), (2, 2)]
    assert data.class_weights(source, clip=1.5) == (1.0, 0.5, 1.0, 1.5)


def test_inverse_log_is_that_of_enet() -> None:
    # Of 7 pixels that are not ignored: 4, 2 and 1. Classes that fill all, or next to nothing, have
    # the weights that the formula bounds them by.
    source = Few([[0, 0, 0, 0], [1, 1, 2, 255]], num_classes=4)
    weights = data.class_weights(source, "inverse_log")
    expected = [1 / np.log(1.02 + share) for share in (4 / 7, 2 / 7, 1 / 7)]
    np.testing.assert_allclose(weights, [*expected, 1.0])
    np.testing.assert_allclose(
        data.class_weights(Few([[0]], num_classes=1), "inverse_log"), 1.4222, 1e-4
    )
    rare = Few([[0] * 999_999 + [1]], num_classes=2)
    np.testing.assert_allclose(data.class_weights(rare, "inverse_log")[1], 50.496, 1e-3)
    assert data.class_weights(rare, "inverse_log", clip=10)[1] == 10


def test_effective_number_counts_images() -> None:
    # Class 0 is in three images, 1 in two, 2 in one: 1 - 0.5^n is 7/8, 6/8 and 4/8.
    source = Few([[0, 0, 0]], [[0, 1, 255]], [[2, 1, 0]])
    weights = np.array(data.class_weights(source, "effective_number", beta=0.5))
    raw = np.array([8 / 7, 8 / 6, 2])
    np.testing.assert_allclose(weights, [*(raw / raw.mean()), 1.0])
    assert data.class_weights(source, "effective_number", beta=0) == (1.0, 1.0, 1.0, 1.0)
    near_one = np.array(data.class_weights(source, "effective_number", beta=1 - 1e-15))
    np.testing.assert_allclose(near_one[:3] / near_one[0], [1, 3 / 2, 3], rtol=1e-12)


def test_classes_that_are_never_shown_weigh_one_and_move_no_median() -> None:
    weights = data.class_weights(Few([[1, 1, 1, 255], [2, 1, 1, 1]]))
    np.testing.assert_allclose(weights, [1.0, 3.5 / 6, 3.5, 1.0])


def test_what_cannot_be_weighted_is_refused() -> None:
    with pytest.raises(data.DataError, match="shows no class"):
        data.class_weights(Few([[255]]))
    with pytest.raises(data.DataError, match="the mask holds 4"):
        data.class_weights(Few([[4]]))
    with pytest.raises(ValueError, match="method must be one of .*'inverse_log'.*; got 'inverse'"):
        data.class_weights(Few([[0]]), method="inverse")
    with pytest.raises(ValueError, match="clip must be above 0"):
        data.class_weights(Few([[0]]), clip=0)
    with pytest.raises(ValueError, match="beta must be at least 0 and below 1, got 1"):
        data.class_weights(Few([[0]]), "effective_number", beta=1)


@pytest.mark.shared
def test_camvid_has_the_weights_that_segnet_published(shared_dir: Path) -> None:
    """Up to a factor; the sign is left out, whose published weight is 2.5 times as high."""
    weights = data.class_weights(data.CamVid(shared_dir / "data" / "camvid", "train"))
    published = [0.2595, 0.1826, 4.5640, 0.1417, 0.9051, 0.3826, 9.6446, 1.8418, 0.6823, 6.2478]
    published.append(7.3614)
    ratio = np.delete(np.array(weights) / published, 6)
    assert max(weights) < 10 and np.median(weights) == 1.0
    np.testing.assert_allclose(ratio / np.median(ratio), 1.0, atol=0.12)
