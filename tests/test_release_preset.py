"""The script that makes presets of runs."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY


def test_starts_and_teachers_are_named_and_not_where_they_lay() -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(REPOSITORY / "tools"))
        script = importlib.import_module("release_preset")
    recipe = {
        "backbone_weights": "/home/me/edgetpu.npz",
        "pretrained": "/home/me/runs/crops/best",
        "teacher": ["fornet_mobilenet_v2_camvid", Path("/home/me/runs/other/best"), "hf://a/b@c"],
    }
    teachers = ["fornet_mobilenet_v2_camvid", "other", "hf://a/b@c"]
    expected = {"backbone_weights": "edgetpu.npz", "pretrained": "crops", "teacher": teachers}
    assert script.starts(recipe) == expected
    alone = {"backbone_weights": "imagenet", "pretrained": None, "teacher": "runs/one/best"}
    assert script.starts(alone) == {**alone, "teacher": "one"}
