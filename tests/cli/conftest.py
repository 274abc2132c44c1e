"""The program in this process, and a small preset for it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import keras
import pytest

from keras_focusseg import label_spaces, models, presets
from keras_focusseg.cli import main


@dataclasses.dataclass
class Done:
    """How a command ended."""

    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Done]:
    """Runs a command line in this process."""
    monkeypatch.setenv("COLUMNS", "160")

    def call(*arguments: object) -> Done:
        capsys.readouterr()
        code = 0
        try:
            main([str(argument) for argument in arguments])
        except SystemExit as end:
            code = int(end.code or 0)
        return Done(code, *capsys.readouterr())

    return call


@pytest.fixture(scope="module")
def preset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    keras.utils.set_random_seed(0)
    model = models.FoRNet(
        num_classes=11, backbone="resnet18", filters=8, kernel_sizes=(1,), dilation_rates=(1,),
        ratios=(0.2,),
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("preset")
    presets.save(
        model,
        folder,
        name="small",
        label_space=label_spaces.get("camvid11"),
        recipe={"dataset": "synthetic_streets", "dataset_options": {"size": [64, 96]}},
    )
    return folder
