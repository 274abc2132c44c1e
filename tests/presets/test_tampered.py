"""Preset folders that somebody changed: one sentence with file, field, value and expectation."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from keras_focusseg import files, label_spaces, presets
from keras_focusseg.presets import registry
from tests.testers import randomize_weights, tiny_fornet

SPACE = label_spaces.from_names(["road", "sky", "car"])
RECORD, WEIGHTS = "preset.json", "mine.safetensors"


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    keras.utils.set_random_seed(0)
    folder = tmp_path_factory.mktemp("original") / "mine"
    presets.save(tiny_fornet(), folder, name="mine", label_space=SPACE)
    return folder


@pytest.fixture
def folder(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(original, tmp_path / "mine"))


def change(folder: Path, edit: Callable[[dict[str, Any]], Any]) -> None:
    record = json.loads((folder / RECORD).read_text())
    edit(record)
    (folder / RECORD).write_text(json.dumps(record))


def put(path: str, value: Any) -> Callable[[dict[str, Any]], None]:
    """Sets "weights.file" and the like."""

    def edit(record: dict[str, Any]) -> None:
        *parents, last = path.split(".")
        for name in parents:
            record = record[name]
        record[last] = value

    return edit


SCORE = {"dataset": "a", "split": "val", "resolution": "1x1", "mean_iou": 0.5}


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (put("name", 3), "field 'name' is 3; expected text"),
        (put("name", "../evil"), "field 'name': '../evil' is no name"),
        (put("name", "n" * 300), "field 'name': 'nnn.* is no name"),
        (put("description", None), "field 'description' is missing; expected text"),
        (put("network", []), r"field 'network' is \[\]; expected text"),
        (put("network", "AdamW"), "There is no network 'AdamW'"),
        (put("network", "Segmenter"), "There is no network 'Segmenter'"),
        (put("config", 3), "field 'config' is 3; expected an object"),
        (put("config", {}), "'config.num_classes' is missing; expected a whole number"),
        (put("config.num_classes", 10**9), "num_classes' is 1000000000; expected 3, as many as"),
        (put("config.num_classes", 3.0), "num_classes' is 3.0; expected a whole number"),
        (put("config.num_classes", True), "num_classes' is True; expected a whole number"),
        (put("config.filters", 10**9), "filters is 1e.09; no weight of the preset has a side"),
        (put("config.kernel_sizes", [999, 3, 5, 7]), "kernel_sizes is 999; no weight .* above 7"),
        (put("config.kernel_sizes", [[999, 9]]), "kernel_sizes is 999; no weight .* above 7"),
        (put("config.backbone_options", {"alpha": 40}), "alpha is 40; no weight of the preset"),
        (put("config.filters", 16), "has shape"),
        (put("config.filters", "many"), "cannot be built from field 'config'"),
        (put("config.filters", -1), "cannot be built from field 'config'"),
        (put("config.stranger", 1), "cannot be built from field 'config': .*stranger"),
        (put("config.backbone_weights", "hf://a/b/c.bin"), "backbone_weights is 'hf:.*no weights"),
        (put("config.backbone", "resnet"), "cannot be built from field 'config'"),
        (put("config.backbone", {"class_name": "x"}), "cannot be built from field 'config'"),
        (put("config.kernel_sizes", {"a": 1}), "cannot be built from field 'config'"),
        (put("label_space", []), "field 'label_space' is .*; expected an object"),
        (put("label_space", {}), "'label_space' describes no classes: .*missing"),
        (put("label_space.classes", 3), "'label_space' describes no classes"),
        (put("label_space.classes", ["a", "b"]), "'label_space' describes no classes"),
        (put("label_space.colors", [1, 2, 3]), "'label_space' describes no classes"),
        (put("label_space.ids", ["x"] * 3), "'label_space' describes no classes"),
        (put("label_space", label_spaces.get("voc").to_config()), "is 3; expected 21, as many as"),
        (put("weights", 3), "field 'weights' is 3; expected an object or null"),
        (put("weights", {}), "'weights.file' is missing; expected a name without folders"),
        (put("weights", None), "No public weights exist"),
        (put("weights.file", "/etc/passwd"), "'weights.file' is '/etc/passwd'; expected a name"),
        (put("weights.file", ".."), "'weights.file' is '..'; expected a name without"),
        (put("weights.file", "other.safetensors"), "The weights of 'mine' are missing"),
        (put("weights.sha256", 3), "'weights.sha256' is 3; expected 64 hexadecimal digits"),
        (put("weights.sha256", "0" * 64), "is not the file of 'mine': its SHA-256"),
        (put("weights.bytes", "many"), "'weights.bytes' is 'many'; expected a number above 0"),
        (put("weights.dtype", 16), "'weights.dtype' is 16; expected text"),
        (put("recipe", []), "field 'recipe' is .*expected an object"),
        (put("recipe", {"dataset": 3}), "field 'recipe.dataset' is 3; expected text"),
        (put("recipe", {"val_options": []}), r"'recipe.val_options' is \[\]; expected an object"),
        (put("training", 1), "field 'training' is 1; expected an object"),
        (put("scores", {}), "field 'scores' is {}; expected a list"),
        (put("scores", [3]), r"field 'scores\[0\]' is 3; expected an object"),
        (put("scores", [{**SCORE, "split": 1}]), r"'scores\[0\]', split is 1; expected text"),
        (put("scores", [{**SCORE, "mean_iou": None}]), "mean_iou is missing; expected a number 0"),
        (put("scores", [{**SCORE, "mean_iou": 71.2}]), "mean_iou is 71.2; expected a number 0..1"),
        (put("license", "MIT"), "field 'license' is 'MIT'; expected an object"),
        (put("paper", {}), "field 'paper' is {}; expected text"),
        (put("colour", 1), "it has a field 'colour'; known are name, .* If a newer version"),
        (lambda record: record.pop("network"), "it has no field 'network'"),
    ],
)
def test_records(folder: Path, edit: Callable[[dict[str, Any]], Any], message: str) -> None:
    change(folder, edit)
    with pytest.raises(ValueError, match=message) as caught:
        presets.load(folder)
    assert str(folder) in str(caught.value) or "mine" in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is not JSON"),
        (b"{", "is not JSON"),
        (b"\xff\xfe", "is not JSON"),
        (b"3", "its content is 3; expected an object"),
        (b"[]", r"its content is \[\]; expected an object"),
        (b'{"a":' * 50_000, "is nested too deep"),
    ],
)
def test_records_that_are_no_json(folder: Path, content: bytes, message: str) -> None:
    (folder / RECORD).write_bytes(content)
    with pytest.raises(ValueError, match=message):
        presets.record(folder)


def rewrite(folder: Path, edit: Callable[[dict[str, np.ndarray]], Any]) -> None:
    """Changes the weights, and the record so that the file is the recorded one."""
    arrays = load_file(folder / WEIGHTS)
    edit(arrays)
    save_file(arrays, folder / WEIGHTS)
    change(folder, put("weights.sha256", files.sha256(folder / WEIGHTS)))


KERNEL = "classifier/kernel"


def filled(value: float) -> Callable[[dict[str, np.ndarray]], None]:
    def edit(arrays: dict[str, np.ndarray]) -> None:
        arrays[KERNEL] = arrays[KERNEL].copy()
        arrays[KERNEL].flat[0] = value

    return edit


def as_type(dtype: str) -> Callable[[dict[str, np.ndarray]], None]:
    return lambda arrays: arrays.update({KERNEL: np.ones(arrays[KERNEL].shape, dtype)})


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (filled(np.nan), f"weight '{KERNEL}' holds values that are not finite"),
        (filled(np.inf), f"weight '{KERNEL}' holds values that are not finite"),
        (as_type("int32"), f"weight '{KERNEL}' is of type I32; weights are F32 or F16"),
        (as_type("bool"), f"weight '{KERNEL}' is of type BOOL"),
        (as_type("float64"), f"weight '{KERNEL}' is of type F64"),
        (lambda arrays: arrays.pop(KERNEL), r"1 weights missing \['classifier/kernel'\]"),
    ],
)
def test_weights_that_fit_their_sum(
    folder: Path, edit: Callable[[dict[str, np.ndarray]], Any], message: str
) -> None:
    rewrite(folder, edit)
    with pytest.raises(ValueError, match=message):
        presets.load(folder)


@pytest.mark.parametrize("content", [b"", b"\0" * 64, b"\xff" * 4096, None])
def test_files_that_are_no_weights(folder: Path, content: bytes | None) -> None:
    whole = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(whole[:1000] if content is None else content)
    change(folder, put("weights.sha256", files.sha256(folder / WEIGHTS)))
    with pytest.raises(ValueError, match="mine.safetensors is not a readable safetensors file"):
        presets.load(folder)


@pytest.mark.parametrize("step", ["weights", "record"])
def test_a_kill_while_saving_leaves_the_earlier_preset(
    folder: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    before = presets.load(folder).get_weights()
    another = tiny_fornet()
    randomize_weights(another, seed=5)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(registry, {"weights": "save_weights", "record": "write_record"}[step], killed)
        presets.save(another, folder, name="mine", label_space=SPACE)
    for found, expected in zip(presets.load(folder).get_weights(), before, strict=True):
        np.testing.assert_array_equal(found, expected)

    for _ in range(3):  # the names take turns, and none is left behind
        presets.save(another, folder, name="mine", label_space=SPACE)
        assert len(list(folder.iterdir())) == 2
        for found, expected in zip(
            presets.load(folder).get_weights(), another.get_weights(), strict=True
        ):
            np.testing.assert_allclose(found, expected)


def test_saving_leaves_what_else_lies_there(folder: Path) -> None:
    (folder / "README.md").write_text("mine")
    presets.save(tiny_fornet(), folder, name="other", label_space=SPACE)
    left = {path.name for path in folder.iterdir()}
    assert left == {"README.md", "mine.safetensors", "other.safetensors", "preset.json"}
    with pytest.raises(ValueError, match="'a/b' is no name of a preset"):
        presets.save(tiny_fornet(), folder, name="a/b", label_space=SPACE)
    with pytest.raises(ValueError, match="README.md is a file; name a folder"):
        presets.save(tiny_fornet(), folder / "README.md", name="a", label_space=SPACE)
