"""The mean of the weights of several presets."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from keras_focusseg import label_spaces, presets, training
from tests.training.small import Small

CLASSES = label_spaces.from_names(["road", "car", "sky"])


def saved(folder: Path, value: float, **details: object) -> Path:
    """A network all of whose weights are one number."""
    network = Small(num_classes=3)
    network.set_weights([np.full_like(w, value) if w.dtype == "float32" else w
                         for w in network.get_weights()])  # fmt: skip
    presets.save(network, folder, name="small", **{"label_space": CLASSES, **details})
    return folder


def test_weights_and_statistics_are_averaged(tmp_path: Path) -> None:
    one, other = saved(tmp_path / "one", 1.0), saved(tmp_path / "run" / "best", 4.0).parent
    third = saved(tmp_path / "third", 4.0)
    record = training.average([one, other, third], tmp_path / "mean")
    assert record.training["averaged"] == [str(one), str(other), str(third)]
    assert record.scores == ()
    for weight in presets.load(tmp_path / "mean").weights:
        if "seed" not in weight.path:
            np.testing.assert_array_equal(weight.numpy(), np.full(weight.shape, 3.0, "float32"))
    with pytest.raises(ValueError, match="mean holds a preset already"):
        training.average([one, other], tmp_path / "mean")


def test_what_is_not_alike_is_not_averaged(tmp_path: Path) -> None:
    one = saved(tmp_path / "one", 1.0)
    with pytest.raises(ValueError, match="needs two presets or runs at least, got 1"):
        training.average([one], tmp_path / "mean")
    with pytest.raises(ValueError, match="are a tests>Small and a FoRNet"):
        training.average([one, "fornet_mobilenet_v2_camvid"], tmp_path / "mean")
    others = label_spaces.from_names(["road", "sky", "car"])
    other = saved(tmp_path / "other", 1.0, label_space=others)
    with pytest.raises(ValueError, match="have other classes, or the same in another order"):
        training.average([one, other], tmp_path / "mean")
    names = ["fornet_mobilenet_v2_camvid", "fornet_mobilenet_v2_synthetic_streets"]
    with pytest.raises(ValueError, match="differ in class_weights: .* and None"):
        training.average(names, tmp_path / "mean")
    assert not (tmp_path / "mean").exists()
