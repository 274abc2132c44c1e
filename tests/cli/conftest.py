"""The program in this process, and a small preset for it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path

import keras
import pytest

from keras_focusseg import backbones, label_spaces, models, presets
from keras_focusseg.cli import main
from tests.models import tiny


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
def preset(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """On a backbone of four convolutions, known by name while a file's tests run."""
    keras.utils.set_random_seed(0)
    folder = tmp_path_factory.mktemp("preset")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(backbones._CONSTRUCTORS, "tiny", lambda **options: tiny.backbone())
        model = models.FoRNet(
            num_classes=11, backbone="tiny", filters=8, low_level_filters=4, kernel_sizes=(1,),
            dilation_rates=(1,), ratios=(0.2,),
        )  # fmt: skip
        presets.save(
            model,
            folder,
            name="small",
            label_space=label_spaces.get("camvid11"),
            recipe={"dataset": "synthetic_streets", "dataset_options": {"size": [64, 96]}},
        )
        yield folder
