"""Median frequency balancing: by hand, what is left out, and on CamVid."""

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


def test_classes_that_are_never_shown_weigh_one_and_move_no_median() -> None:
    weights = data.class_weights(Few([[1, 1, 1, 255], [2, 1, 1, 1]]))
    np.testing.assert_allclose(weights, [1.0, 3.5 / 6, 3.5, 1.0])


def test_what_cannot_be_weighted_is_refused() -> None:
    with pytest.raises(data.DataError, match="shows no class"):
        data.class_weights(Few([[255]]))
    with pytest.raises(data.DataError, match="the mask holds 4"):
        data.class_weights(Few([[4]]))
    with pytest.raises(ValueError, match="method must be 'median_frequency', got 'inverse'"):
        data.class_weights(Few([[0]]), method="inverse")
    with pytest.raises(ValueError, match="clip must be above 0"):
        data.class_weights(Few([[0]]), clip=0)


@pytest.mark.shared
def test_camvid_has_the_weights_that_segnet_published(shared_dir: Path) -> None:
    """Up to a factor; the sign is left out, whose published weight is 2.5 times as high."""
    weights = data.class_weights(data.CamVid(shared_dir / "data" / "camvid", "train"))
    published = [0.2595, 0.1826, 4.5640, 0.1417, 0.9051, 0.3826, 9.6446, 1.8418, 0.6823, 6.2478]
    published.append(7.3614)
    ratio = np.delete(np.array(weights) / published, 6)
    assert max(weights) < 10 and np.median(weights) == 1.0
    np.testing.assert_allclose(ratio / np.median(ratio), 1.0, atol=0.12)
