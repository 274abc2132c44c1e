"""`focusseg data check` and `data show`: tables, files, and what they end with."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import typer
from PIL import Image
from typer.testing import CliRunner, Result

from keras_focusseg import data
from keras_focusseg.cli import data_check, data_show, data_source


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Your own data: three pairs to train and two to validate, of two classes."""
    rng = np.random.default_rng(1)
    for split, count in (("train", 3), ("val", 2)):
        for number in range(count):
            for kind, array in (
                ("images", rng.integers(0, 256, (24, 32, 3), "uint8")),
                ("masks", rng.integers(0, 2, (24, 32), "uint8")),
            ):
                path = tmp_path / "own" / kind / split / f"{split}_{number}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(array).save(path)
    (tmp_path / "own" / "classes.txt").write_text("wall\ncrack\n")
    return tmp_path / "own"


def run(*words: object) -> Result:
    app = typer.Typer()
    app.command()(data_check.check)
    app.command()(data_show.show)
    return CliRunner().invoke(app, [str(word) for word in words], env={"COLUMNS": "160"})


def test_check_of_what_is_whole(folder: Path) -> None:
    done = run("check", folder)
    assert done.exit_code == 0
    assert "Fit for training: nothing found." in done.output and "Findings" not in done.output
    assert "crack" in done.output and "32 x 24" in done.output and "folder val: 2" in done.output


def test_check_of_what_is_broken_writes_page_and_figures(folder: Path, tmp_path: Path) -> None:
    (folder / "masks" / "train" / "train_1.png").write_bytes(b"")
    page, figures = tmp_path / "out" / "report.html", tmp_path / "out" / "report.json"
    done = run("check", "folder", "--data-root", folder, "--html", page, "--json", figures)
    assert done.exit_code == 1
    for text in ("empty file (train)", "masks/train/train_1.png", "0 bytes", "Restore it"):
        assert text in done.output
    assert "Not fit for training: 1 error" in done.output
    content = json.loads(figures.read_text())
    assert content["exit_code"] == 1 and content["findings"][0]["kind"] == "empty file"
    assert page.read_text().startswith("<!doctype html>")


def test_advice_with_long_words_is_not_cut_off(folder: Path) -> None:
    (folder / "classes.txt").unlink()
    for path in folder.glob("masks/*/*.png"):
        Image.fromarray(255 * np.array(Image.open(path))).save(path)
    done = run("check", folder)
    assert done.exit_code == 1 and "from_names(" in done.output and "\u2026" not in done.output


def test_options_reach_the_source(folder: Path) -> None:
    one = run("check", "synthetic_streets", "--option", "count=2", "--option", "size=[64,64]",
              "--split", "val")  # fmt: skip
    assert one.exit_code == 0 and "synthetic_streets val: 2 samples" in one.output
    table = folder.parent / "others.txt"
    table.write_text("plaster\nhole\n")
    two = run("check", folder, "--label-table", table)
    assert "plaster" in two.output and "crack" not in two.output
    assert data_source.options(["a=1", "b=x", "c=[1, 2]"]) == {"a": 1, "b": "x", "c": [1, 2]}
    assert data_source.place("camvid", None) == ("camvid", None)
    assert data_source.place(str(folder), None) == ("auto", folder)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["check", "nope"], "no source 'nope'"),
        (["check", "camvid"], "needs root="),
        (["check", "missing/folder"], "the root folder is not there"),
        (["check", "synthetic_streets", "--option", "count"], "wants NAME=VALUE"),
        (["show", "synthetic_streets", "--option", "count=2", "--count", "0"], "1 or more"),
    ],
)
def test_wrong_use_is_told(words: list[str], message: str) -> None:
    # The program itself turns such an error into one line and code 2.
    error = run(*words).exception
    assert isinstance(error, ValueError) and message in str(error)


def test_show_writes_the_sheet_and_shows_a_recipe(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "sheet.png"
    done = run("show", folder, "--out", out, "--split", "val", "--count", 2)
    assert done.exit_code == 0 and "'val': 2 samples" in done.output
    first = Image.open(out)
    assert first.format == "PNG" and first.width == 1600
    recipe = tmp_path / "recipe.py"
    recipe.write_text(
        "from keras_focusseg.training import Recipe\n"
        "recipe = Recipe(name='a', network='FoRNet', dataset='folder',\n"
        "                augment={'steps': [{'step': 'ScaleCrop', 'size': (12, 16)}]})\n"
    )
    assert run("show", folder, "--out", out, "--split", "val", "--recipe", recipe).exit_code == 0
    assert Image.open(out).tobytes() != first.tobytes()
    assert [path.name for path in out.parent.iterdir()] == ["sheet.png"]


def test_show_leaves_out_what_has_no_partner(folder: Path, tmp_path: Path) -> None:
    (folder / "masks" / "train" / "train_2.png").unlink()
    done = run("show", folder, "--out", tmp_path / "sheet.png")
    assert done.exit_code == 0 and "2 samples" in done.output
    with pytest.raises(data.DataError):
        data.open_source("auto", folder)
