"""The command line from outside: help, work, and one clear line for each mistake."""

import json
import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from PIL import Image

from keras_focusseg import files, inference, presets
from keras_focusseg.data import opening
from tests.cli.conftest import Done

VERBS = (
    "train",
    "average",
    "evaluate",
    "compare",
    "segment",
    "inspect",
    "export",
    "profile",
    "presets",
    "demo",
    "serve",
)


def test_help_of_the_program_and_of_each_verb(run: Callable[..., Done]) -> None:
    whole = run("--help")
    assert whole.returncode == 0
    assert all(verb in whole.stdout for verb in VERBS)
    for verb in VERBS:
        done = run(verb, "--help")
        assert done.returncode == 0 and "Example: focusseg" in done.stdout


def test_the_help_of_evaluate_names_every_source(run: Callable[..., Done]) -> None:
    text = run("evaluate", "--help").stdout
    assert all(name in text for name in (*opening.source_names(), "auto"))


def test_tensorflow_says_nothing_of_tracing(run: Callable[..., Done], tmp_path: Path) -> None:
    run("recipes", tmp_path)
    for said, kept in (("5 of 5 calls triggered tf.function retracing.", False), ("Hot!", True)):
        record = logging.LogRecord("tensorflow", logging.WARNING, "", 0, said, None, None)
        assert bool(logging.getLogger("tensorflow").filter(record)) is kept


def test_presets_lists_and_shows_cards(run: Callable[..., Done]) -> None:
    listed = run("presets")
    assert all(name in listed.stdout for name in presets.names())  # whole, to be copied
    assert listed.returncode == 0 and "fornet_resnet101_cityscapes" in listed.stdout
    card = run("presets", "fornet_resnet101_cityscapes")
    assert "none are public" in card.stdout
    missing = run("presets", "nope")
    assert missing.returncode == 2 and "no preset 'nope'" in missing.stderr


def test_segment_writes_overlay_and_labels(
    run: Callable[..., Done], preset: Path, tmp_path: Path
) -> None:
    image = np.random.default_rng(0).integers(0, 256, (45, 67, 3)).astype("uint8")
    Image.fromarray(image).save(tmp_path / "street.png")
    done = run("segment", tmp_path / "street.png", "--preset", preset, "--output", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    labels = Image.open(tmp_path / "out" / "street_labels.png")
    assert labels.mode == "P" and labels.size == (67, 45)
    assert np.asarray(labels).max() < 11
    assert Image.open(tmp_path / "out" / "street_overlay.png").size == (67, 45)


def test_evaluate_prints_and_writes_the_same_figures(
    run: Callable[..., Done], preset: Path, tmp_path: Path
) -> None:
    done = run("evaluate", preset, "--count", 2, "--output", tmp_path / "scores.json")
    assert done.returncode == 0, done.stderr
    scores = json.loads((tmp_path / "scores.json").read_text())
    assert scores["frames"] == 2 and scores["resolution"] == "64x96"
    assert f"{100 * scores['mean_iou']:.2f}" in done.stdout
    assert "Bicyclist" in done.stdout


def test_evaluate_writes_tables_and_a_page(
    run: Callable[..., Done], preset: Path, tmp_path: Path
) -> None:
    pytest.importorskip("matplotlib")
    files = [tmp_path / "deeper" / f"scores.{kind}" for kind in ("json", "csv", "html")]
    options = ("--output", files[0], "--csv", files[1], "--html", files[2])
    words = ("evaluate", preset, "--count", 2, "--average", "image", "--flip", *options)
    done = run(*words)
    assert done.returncode == 0, done.stderr
    assert "single scale, flip, void ignored" in done.stdout
    assert "as mean over the image, absent classes left out" in done.stdout
    assert "boundary F1, 10 px" in done.stdout and "expected calibration error" in done.stdout
    scores = json.loads(files[0].read_text())
    assert scores["convention"]["average"] == "image" and scores["test_time"].endswith(", flip")
    assert scores["preset"] == str(preset)
    assert f"<title>{preset} on synthetic_streets val</title>" in files[2].read_text()
    assert files[1].read_text().startswith("class,iou,iou_low,")
    assert run(*words).returncode == 0  # over its own results


def test_compare_prints_and_writes_differences(
    run: Callable[..., Done], preset: Path, tmp_path: Path
) -> None:
    words = ("compare", preset, "fornet_mobilenet_v2_synthetic_streets", "--count", 2)
    done = run(*words, "--output", tmp_path / "a.json")
    assert done.returncode == 0, done.stderr
    assert "Images on which they differ most" in done.stdout
    found = json.loads((tmp_path / "a.json").read_text())
    assert found["images"] == 2 and len(found["differences"]) == 1


def test_the_star_of_compare_is_no_bullet_of_its_help(run: Callable[..., Done]) -> None:
    """Markdown takes a line that begins with a star for an item of a list."""
    text = run("compare", "--help").stdout
    assert "A star marks a difference" in text and "\u2022" not in text


def test_inspect_writes_one_page(run: Callable[..., Done], preset: Path, tmp_path: Path) -> None:
    Image.fromarray(np.full((48, 64, 3), 90, "uint8")).save(tmp_path / "a.png")
    done = run("inspect", tmp_path / "a.png", "--preset", preset, "--output", tmp_path / "a.html")
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "a.html").read_text()
    assert page.count("data:image/png;base64,") == 6  # picture, four of the preset, legend
    assert not re.search(r"(src|href)=\"(?!data:)", page)


def test_profile_prints_and_writes_the_same_figures(
    run: Callable[..., Done], preset: Path, tmp_path: Path
) -> None:
    options = ("--size", "64x96", "--runs", 1, "--output", tmp_path / "costs.json")
    done = run("profile", preset, *options)
    assert done.returncode == 0, done.stderr
    costs = json.loads((tmp_path / "costs.json").read_text())
    assert (costs["height"], costs["width"], costs["latency"]["runs"]) == (64, 96, 1)
    assert costs["macs"] == sum(part["macs"] for part in costs["parts"])
    assert f"{costs['parameters']:,}" in done.stdout and f"{costs['macs'] / 1e9:.2f}" in done.stdout
    assert "tiny" in done.stdout and "median of 1 runs" in done.stdout
    counted = run("profile", preset, "--size", "64x96", "--no-latency")
    assert counted.returncode == 0 and "latency" not in counted.stdout
    chosen = ("--sparse", "--ratios", "0.1", "--output", tmp_path / "chosen.json")
    fewer = run("profile", preset, "--size", "64x96", "--no-latency", *chosen)
    assert fewer.returncode == 0, fewer.stderr
    assert f"{preset}, one image of 64x96, up to 'logits', --ratios 0.1, --sparse" in fewer.stdout
    chosen_costs = json.loads((tmp_path / "chosen.json").read_text())
    assert chosen_costs["macs"] < costs["macs"] and chosen_costs["network"] == costs["network"]
    assert chosen_costs["sparse"] and chosen_costs["ratios"] == [0.1]
    wrong = run("profile", preset, "--size", "64")
    assert wrong.returncode == 2 and "--size must be HEIGHTxWIDTH" in wrong.stderr


def test_export_writes_a_file_that_profile_measures(
    run: Callable[..., Done], preset: Path, tmp_path: Path
) -> None:
    on_torch = keras.backend.backend() == "torch"
    if not on_torch:
        pytest.importorskip("tensorflow")
    format, out = ("torch", tmp_path / "a.pt2") if on_torch else ("saved_model", tmp_path / "a")
    options = ("--format", format, "--size", "64x80", "--output", out, "--ratios", 0.1)
    done = run("export", preset, *options)
    assert done.returncode == 0, done.stderr
    assert "100.000 % of the labels equal" in done.stdout and f"Written: {out}" in done.stdout
    again = run("export", preset, *options, "--verify")
    assert again.returncode == 0, again.stderr
    measured = run("profile", out, "--runs", 1, "--output", tmp_path / "costs.json")
    assert f"FoRNet as {format} in float32, 64x80, cells 10 %" in measured.stdout
    assert "ms, median of 1 runs of 64x80" in measured.stdout
    costs = json.loads((tmp_path / "costs.json").read_text())
    assert (costs["height"], costs["width"], costs["runs"]) == (64, 80, 1)
    other = run("profile", out, "--ratios", 0.1)
    assert other.returncode == 2 and "holds one network in one form" in other.stderr
    for wrong, message in [
        (("--size", "64x96"), "was exported with --size 64x80, not 64x96"),
        (("--precision", "int8"), "is in float32, not in int8"),
        (("--labels",), "was exported without --labels"),
        (("--uint8",), "was exported without --uint8"),
        (("--format", "litert"), f"is in {format}, not in litert"),
        (("--signal", "importance"), "was exported without --signal importance"),
        (("--ratios", 0.2), "holds shares of 0.1 of the cells, the network 0.2"),
    ]:
        other = run("export", preset, *options, "--verify", *wrong)
        assert other.returncode == 2 and message in other.stderr
    Path(f"{out}.json").write_text(json.dumps({"origin": files.MARK}))  # of another verb
    foreign = run("export", preset, *options)
    assert foreign.returncode == 2 and "no result of focusseg" in foreign.stderr


def test_export_leaves_what_is_not_its_own(
    run: Callable[..., Done], preset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a.bin", "b.xml.json", f"{preset.name}.onnx"):
        Path(name).write_text("mine")
    common = ("export", preset, "--size", "64x80", "--format")
    for line, name in [
        (("openvino", "--output", "a.xml"), "a.bin"),
        (("openvino", "--output", "b.xml"), "b.xml.json"),
        (("onnx",), f"{preset.name}.onnx"),
    ]:
        done = run(*common, *line)
        assert done.returncode == 2 and f"{name} is there already" in done.stderr
    monkeypatch.chdir(preset)
    (preset / f"{preset.name}.onnx").write_text("mine")
    done = run("export", ".", "--size", "64x80")
    (preset / f"{preset.name}.onnx").unlink()
    assert done.returncode == 2 and f"{preset.name}.onnx is there already" in done.stderr


def test_profile_writes_beside_the_preset_again(run: Callable[..., Done], preset: Path) -> None:
    line = ("profile", preset, "--size", "64x96", "--no-latency", "--output", f"{preset}.json")
    assert run(*line).returncode == 0
    assert run(*line).returncode == 0  # NAME.json is not what export wrote
    Path(f"{preset}.json").unlink()


def test_demo_writes_a_page_with_all_its_pictures(
    run: Callable[..., Done], preset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled = []

    def evaluate(model: Any, *args: Any, **options: Any) -> Any:
        compiled.append(model.labels_model.sizes_met)
        return scored(model, *args, **options)

    scored = inference.evaluate
    monkeypatch.setattr(inference, "evaluate", evaluate)
    done = run("demo", "--count", 1, "--out", tmp_path, "--preset", preset)
    assert done.returncode == 0, done.stderr
    assert compiled == [1]  # what is timed is not the first pass
    assert presets.record(preset).name in done.stdout
    page = (tmp_path / "index.html").read_text()
    pictures = re.findall(r'src="([^"]+)"', page)
    assert len(pictures) == 7  # legend, image and truth, four of the preset
    assert all((tmp_path / picture).is_file() for picture in pictures)
