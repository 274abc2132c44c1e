"""Wrong command lines: one sentence, no traceback, before any work, and nothing is left behind."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from keras_focusseg import inference
from tests.cli.conftest import Done

LONG = "n" * 250
RECIPE = """from keras_focusseg.training import Recipe
recipe = Recipe(name="r", network="FoRNet", dataset="synthetic_streets", {})
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of things to be wrong about, which the program runs in."""
    monkeypatch.chdir(tmp_path)
    Image.fromarray(np.zeros((32, 32, 3), "uint8")).save("a.png")
    Image.fromarray(np.zeros((32, 32, 3), "uint8")).save(f"{LONG}.png")
    Path("empty").mkdir()
    Path("file").write_text("text")
    Path("two").mkdir()
    Path("outer/inner").mkdir(parents=True)
    for name in ("a.png", "a.jpg"):
        Image.fromarray(np.zeros((32, 32, 3), "uint8")).save(Path("two") / name)
    for name, more in (
        ("good", ""),
        ("unknown", "lr=1"),
        ("kind", "epochs='many'"),
        ("network", "seed=1"),
        ("config", "network_config={'width': 1}"),
        ("weights", "backbone_weights='nowhere.safetensors'"),
    ):
        text = RECIPE.format(more)
        Path(f"{name}.py").write_text(text.replace("FoRNet", "Net") if name == "network" else text)
    Path("syntax.py").write_text("recipe = (")
    return tmp_path


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("segment nowhere.png", "There is no picture nowhere.png."),
        ("recipes empty", "empty holds no recipes. Recipes are Python files"),
        ("runs empty", "empty holds no runs: a run is a folder with recipe.json"),
        ("runs empty --plot curves.jpg", "what is written here ends in .png."),
        ("train good.py --set batchsize=4", "A recipe has no 'batchsize'; did you mean batch_size"),
        ("train good.py --log-to visdom", "log_to must be 'wandb' or 'mlflow', got 'visdom'."),
        ("segment a.png nowhere/b.png", "There is no picture nowhere/b.png."),
        ("segment empty", "empty holds no picture"),
        ("segment outer", "those in its folders are 'outer/**'"),
        ("segment two", "two/a.jpg and two/a.png would both be written as a_overlay.png"),
        ("segment a.png --output file", "file is a file; name a folder"),
        ("segment a.png --output file/deeper", "file"),
        ("segment a.png --output " + "n" * 300, "File name too long"),
        (f"segment {LONG}.png", "File name too long"),
        ("segment a.png --opacity 7", "--opacity must be in 0..1, got 7.0."),
        ("segment a.png --pad-to-multiple 0", "--pad-to-multiple must be 1 or more, got 0."),
        ("segment a.png --write mask", "Results are labels, overlay, "),
        ("segment a.png --ids mine", "--ids must be train or dataset"),
        ("segment a.png --window large", "--window must be auto, none, a side"),
        ("segment a.png --window 7", "window must be a side or a height and width of 16"),
        ("segment a.png --overlap 1", "overlap must be 0 or more and below 1"),
        ("segment a.png --scales 1,x", "--scales must be numbers"),
        ("segment a.png --scales 0", "scales must be one or more numbers above 0"),
        ("segment a.png --engine spark", "--engine must be local or ray, got 'spark'."),
        ("segment a.png --workers 2", "--workers goes with --engine ray"),
        ("segment a.png --batch-size 0", "batch_size must be 1 or more"),
        ("segment a.png --smoothing 1", "--smoothing must be 0 or more and below 1"),
        ("segment a.png --smoothing 0.5", "--smoothing and --frames go with videos"),
        ("segment a.png --frames 3", "--smoothing and --frames go with videos"),
        ("segment two/*.gif", "No picture is called two/*.gif"),
        ("segment a.png --preset nowhere", "There is no preset 'nowhere'"),
        ("segment a.png --preset empty", "There is no preset 'empty'"),
        ("segment a.png --preset file", "file is a file; a preset is a folder"),
        ("segment a.png --preset fornet_resnet101_cityscapes", "No public weights exist"),
        ("evaluate nowhere", "There is no preset 'nowhere'"),
        ("evaluate PRESET --output empty", "empty is a folder; name a file to write."),
        ("evaluate PRESET --output file/scores.json", "file is a file"),
        ("evaluate PRESET --output " + "n" * 300, "File name too long"),
        ("evaluate PRESET --output a.png", "a.png is there already, and is no result"),
        ("evaluate PRESET --output scores.txt", "scores.txt would not be what its name says"),
        ("evaluate PRESET --output scores", "what is written here ends in .json."),
        ("evaluate PRESET --csv scores.tsv", "what is written here ends in .csv."),
        ("evaluate PRESET --html page", "what is written here ends in .html, .htm."),
        ("compare PRESET PRESET --output x.csv", "what is written here ends in .json."),
        ("profile PRESET --output x.csv", "what is written here ends in .json."),
        ("inspect a.png --output x.png", "what is written here ends in .html, .htm."),
        ("data show two --out x.txt", "what is written here ends in .png, .jpg, .jpeg."),
        ("data check two --json x.txt", "what is written here ends in .json."),
        ("data check two --html x.txt", "what is written here ends in .html, .htm."),
        ("evaluate PRESET --data nothing", "no source 'nothing'"),
        ("evaluate PRESET --data camvid", "root"),
        ("evaluate PRESET --data camvid --data-root nowhere", "nowhere"),
        ("train good.py --data-root two", "trains on synthetic_streets, which lie in no folder"),
        ("evaluate PRESET --data-root two", "name that of two by --data, such as --data auto"),
        ("compare PRESET fornet_mobilenet_v2_camvid --data-root two", "name that of two by --data"),
        ("evaluate PRESET --split nothing", "split is 'nothing'"),
        ("evaluate PRESET --count 0", "count is 0"),
        ("evaluate PRESET --count 1 --tolerance -1", "tolerance"),
        ("evaluate PRESET --average all", "--average must be one of 'split', 'image'"),
        ("evaluate PRESET --csv empty", "empty is a folder; name a file"),
        ("compare PRESET", "Name two presets or more"),
        ("compare PRESET nowhere", "There is no preset 'nowhere'"),
        ("inspect nowhere.png", "nowhere.png: the image does not exist"),
        ("inspect a.png --output empty", "empty is a folder; name a file"),
        ("profile nowhere", "There is no preset 'nowhere'"),
        ("profile PRESET --size 64", "--size must be HEIGHTxWIDTH"),
        ("profile PRESET --size 2x2 --no-latency", "too small"),
        ("profile PRESET --runs 0", "--runs must be 1 or more"),
        ("profile PRESET --sparse --all-outputs", "leave one of them out"),
        ("profile PRESET --output empty", "empty is a folder; name a file"),
        ("presets nothing", "There is no preset 'nothing'"),
        ("presets hf://nothing", "'hf://nothing' is no address of a preset"),
        ("segment a.png --preset hf://nothing", "'hf://nothing' is no address of a preset"),
        ("presets nothing*", "No preset matches 'nothing*'"),
        ("export PRESET --size 64", "--size must be HEIGHTxWIDTH"),
        ("export PRESET --size 64x64 --format nothing", "--format must be one of onnx, litert"),
        ("export PRESET --size 64x64 --format saved_model --precision int8", "openvino are."),
        ("export PRESET --size 64x64 --output file.onnx --verify", "file.onnx.json cannot be read"),
        ("export PRESET --size 64x64 --split val", "--split goes with --data"),
        ("export PRESET --size 64x64 --calibration-count 3", "goes with --precision int8."),
        (
            "export PRESET --size 64x64 --precision int8 --calibration-split val",
            "--calibration-split goes with --data",
        ),
        ("demo --out file", "file is a file; name a folder"),
        ("demo --out two", "two holds files, and is no gallery"),
        ("demo --count 0", "count is 0"),
        ("train nowhere.py", "nowhere.py is not a recipe: there is no such file; expected"),
        ("train file", "file is not a recipe: expected"),
        ("train empty", "empty is not a recipe"),
        ("train syntax.py", "syntax.py, line 1: is not Python: '(' was never closed."),
        ("train unknown.py", "unknown.py, line 2: TypeError: "),
        ("train kind.py", "kind.py, line 2: epochs must be a whole number, got 'many'."),
        ("train network.py", "There is no network 'Net'; there are FoRNet, SCRNet, SERNetFormer"),
        ("train config.py", "FoRNet cannot be built from network_config: "),
        ("train weights.py", "There is no file nowhere.safetensors"),
        ("train good.py --backbone-weights no.pth", "There is no file no.pth"),
        ("train good.py --run-folder file", "file is a file; name a folder"),
        ("train good.py --run-folder file/run", "file"),
        ("train good.py --run-folder " + "n" * 300, "File name too long"),
        ("train good.py --resume", "There is nothing to resume: runs/r/checkpoints holds no epoch"),
        ("train good.py --run-folder empty --resume", "In empty there is nothing."),
        ("train good.py --epochs 0", "epochs must be above 0"),
        ("train good.py --batch-size -1", "batch_size must be above 0"),
        ("train good.py --learning-rate nan", "learning_rate must be finite"),
        ("train good.py --seed -1", "seed must be 0 or more"),
        ("data check nothing", "no source 'nothing'"),
        ("data check nowhere/at/all", "nowhere/at/all"),
        ("data check synthetic_streets --option count", "wants NAME=VALUE"),
        ("data check synthetic_streets --html empty", "empty is a folder; name a file"),
        ("data check synthetic_streets --json a.png", "a.png is there already"),
        ("data prepare synthetic_streets --out file", "file is a file; name a folder"),
        ("data prepare two", "two: no known layout"),
        ("data show synthetic_streets --out empty", "empty is a folder; name a file"),
        ("data show synthetic_streets --out file", "file is there already"),
        ("data show synthetic_streets --recipe nowhere.py", "nowhere.py is not a recipe"),
    ],
)
def test_mistakes(
    run: Callable[..., Done],
    preset: Path,
    here: Path,
    monkeypatch: pytest.MonkeyPatch,
    line: str,
    message: str,
) -> None:
    def work(*_: object, **__: object) -> None:
        raise AssertionError("the work has begun")

    if "tolerance" not in line and "--preset" not in line:
        monkeypatch.setattr(inference, "evaluate", work)
        monkeypatch.setattr(inference, "segment", work)
    before = sorted(here.rglob("*"))
    done = run(*(preset if word == "PRESET" else word for word in line.split()))
    assert done.returncode == 2, done
    assert done.stderr.startswith("focusseg: ") and done.stderr.count("\n") == 1, done.stderr
    assert message in done.stderr and "Traceback" not in done.stderr
    assert sorted(here.rglob("*")) == before


def test_names_that_a_terminal_cannot_show(
    run: Callable[..., Done], preset: Path, here: Path
) -> None:
    name = b"b\xff.png".decode("utf-8", "surrogateescape")
    Path("a.png").rename(name)
    done = run("segment", name, "--preset", preset, "--output", "out")
    assert done.returncode == 0, done.stderr
    assert len(list(Path("out").glob("b*"))) == 2
