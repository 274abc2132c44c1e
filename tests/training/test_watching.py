"""What a person watches: the report, pictures, lists of runs, services, what is noted of a run."""

import base64
import io
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import keras
import numpy as np
import pytest
from PIL import Image

from keras_focusseg import backbones, files, presets, training
from keras_focusseg.training.report import Speed
from keras_focusseg.training.run_folder import locked
from keras_focusseg.training.runs import find_runs
from keras_focusseg.visualization import plots
from tests.models import tiny
from tests.training.test_recipe_fields import RECIPE

WATCHED = RECIPE.replace(name="watched", epochs=2, val_options={"count": 5})


class Service(keras.callbacks.Callback):
    """Stands for the callback that a service brings."""


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Any]]:
    """A run with a report, told to a stand-in for Weights & Biases; what that was told."""
    folder, told = tmp_path_factory.mktemp("runs") / "one", []

    class Metrics(Service):
        def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
            told.append(sorted(logs or {}))

    wandb, integration = ModuleType("wandb"), ModuleType("wandb.integration.keras")
    wandb.init = lambda **options: told.append(options)  # type: ignore[attr-defined]
    wandb.finish = lambda: told.append("finish")  # type: ignore[attr-defined]
    wandb.Error = OSError  # type: ignore[attr-defined]
    integration.WandbMetricsLogger = Metrics  # type: ignore[attr-defined]
    modules = {"wandb": wandb, "wandb.integration.keras": integration}
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(backbones._CONSTRUCTORS, "tiny", lambda **options: tiny.backbone())
        for name, module in modules.items():
            patch.setitem(sys.modules, name, module)
        training.train(WATCHED, run_folder=folder, verbose=0, report=True, log_to="wandb")
    return folder, told


def embedded(page: str) -> list[Image.Image]:
    found = re.findall(r'src="data:image/\w+;base64,([^"]+)"', page)
    return [Image.open(io.BytesIO(base64.b64decode(content))) for content in found]


def test_the_report_is_one_file(watched: tuple[Path, list[Any]]) -> None:
    page = (watched[0] / "report.html").read_text()
    assert "The run is over: 2 of 2 epochs. Best: mIoU" in page
    for part in ("The same frames", "Worst of 5 images", "Best of 5 images", "pixel accuracy"):
        assert part in page
    assert "&quot;name&quot;: &quot;watched&quot;" in page and "&quot;packages&quot;" in page
    assert not re.search(r'(src|href)="(?!data:)', page) and "@import" not in page
    plotted = 3 if plots.can_plot() else 0
    pictures = embedded(page)
    assert len(pictures) == plotted + 3 + 3 + 3
    assert pictures[-1].size == (3 * 64 + 8, 64)
    scores = [float(x) for x in re.findall(r": mIoU ([\d.]+) %</figcaption>", page)]
    assert scores[:3] == sorted(scores[:3]) and scores[3:] == sorted(scores[3:], reverse=True)


def test_without_matplotlib_there_are_tables(
    watched: tuple[Path, list[Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from keras_focusseg.visualization import run_page

    monkeypatch.setattr(plots, "can_plot", lambda: False)
    run = find_runs(watched[0])[0]
    space = presets.record(watched[0] / "best").classes()
    counts = np.eye(space.num_classes, dtype="int64")
    page = run_page.RunPage("<run>", "State.", run.history, {}, {}, space, counts)
    text = run_page.write(tmp_path / "page.html", page).read_text()
    assert "pip install &#x27;keras-focusseg[viz]&#x27;" in text and "val_mean_iou</th>" in text
    assert "&lt;run&gt;" in text and not embedded(text)


def test_tensorboard_has_pictures(watched: tuple[Path, list[Any]]) -> None:
    content = b"".join(path.read_bytes() for path in watched[0].glob("tensorboard/*.pictures"))
    for tag in (b"image-truth-prediction", b"importance", b"regions"):
        assert tag in content


def test_what_a_run_notes(watched: tuple[Path, list[Any]]) -> None:
    noted = files.read_json(watched[0] / "run.json")
    assert noted["epochs"] == 2 and noted["backend"] == keras.backend.backend()
    assert noted["packages"]["keras"] == keras.__version__ and noted["devices"]
    record = presets.record(watched[0] / "best")
    assert {**record.training, **noted} == record.training
    assert record.recipe["seed"] == 0


def test_a_service_is_told(watched: tuple[Path, list[Any]]) -> None:
    start, *epochs, last = watched[1]
    assert (start["name"], start["config"]["name"], last) == ("watched", "watched", "finish")
    assert len(epochs) == 2 and {"loss", "val_mean_iou"} <= set(epochs[-1])


def test_other_services(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from keras_focusseg.training.loggers import end, logger

    told: list[Any] = []
    mlflow, callbacks = ModuleType("mlflow"), ModuleType("mlflow.keras")
    for name in ("set_experiment", "start_run", "log_dict", "end_run"):
        setattr(mlflow, name, lambda *a, _name=name, **k: told.append((_name, a, k)))
    mlflow.MlflowException = OSError  # type: ignore[attr-defined]
    callbacks.MlflowCallback = Service  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "mlflow", mlflow)
    monkeypatch.setitem(sys.modules, "mlflow.keras", callbacks)
    assert isinstance(logger("mlflow", WATCHED, tmp_path), Service)
    end("mlflow")
    assert [name for name, _, _ in told] == ["set_experiment", "start_run", "log_dict", "end_run"]
    assert told[1][2] == {"run_name": "watched"}

    def refuse(name: str) -> None:
        raise OSError("The filesystem backend (e.g., './mlruns') is closed. Use a database.")

    monkeypatch.setattr(mlflow, "set_experiment", refuse)
    with pytest.raises(
        ValueError, match=r"MLflow takes no run \(The filesystem.* is closed\): .*sqlite:///mlflow"
    ):
        logger("mlflow", WATCHED, tmp_path)
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(ValueError, match=r"needs the package wandb.*'keras-focusseg\[wandb\]'"):
        logger("wandb", WATCHED, tmp_path)
    with pytest.raises(ValueError, match="log_to must be 'wandb' or 'mlflow', got 'visdom'"):
        logger("visdom", WATCHED, tmp_path)


def test_runs_of_a_folder(watched: tuple[Path, list[Any]], tmp_path: Path) -> None:
    runs = find_runs(watched[0].parent)
    assert [(run.name, run.state, run.epochs) for run in runs] == [("watched", "finished", 2)]
    scores = [row["val_mean_iou"] for row in runs[0].history]
    assert runs[0].best == (max(scores), 1 + scores.index(max(scores)))
    other = tmp_path / "other"
    other.mkdir()
    files.write_json(other / "recipe.json", WATCHED.to_config())
    (run,) = find_runs(tmp_path)
    assert (run.state, run.epochs, run.best, run.history) == ("stopped", None, None, ())
    with locked(other):
        assert find_runs(other)[0].state == "running"
    with open(other / "log.csv", "w") as log:
        log.write("epoch,val_mean_iou\n1,0.2\n2,0.3\n3,\n4,0.1\n5,\n")
    for patience, state in ((2, "finished"), (3, "stopped"), (None, "stopped")):
        files.write_json(other / "recipe.json", WATCHED.replace(patience=patience).to_config())
        assert find_runs(other)[0].state == state
    with pytest.raises(ValueError, match="absent is no folder: a run is a folder with recipe.json"):
        find_runs(tmp_path / "absent")
    if plots.can_plot():
        plots.save(plots.curves({"a": runs[0].history, "b": ()}), tmp_path / "curves.png")
        with Image.open(tmp_path / "curves.png") as picture:
            assert picture.width > 600 and picture.info["Software"] == "written by focusseg"


def test_the_bar_shows_images_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([10.0, 12.0])
    monkeypatch.setattr("time.monotonic", lambda: next(clock))
    speed, logs = Speed(8), {"loss": 1.0}
    speed.on_epoch_begin(0)
    speed.on_train_batch_begin(4)
    speed.on_train_batch_end(6, logs)
    assert logs == {"loss": 1.0, "images_per_second": 12.0}
