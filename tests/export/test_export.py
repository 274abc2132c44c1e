"""Exported files: what they say, what is refused, and that nothing wrong is kept."""

from __future__ import annotations

import errno
import hashlib
import importlib.util
import json
import shutil
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from keras_focusseg import export, label_spaces
from keras_focusseg.data import Sample, Source, SyntheticStreets
from keras_focusseg.export import comparing, exporting, writing
from keras_focusseg.export.formats import check_possible
from keras_focusseg.export.runtimes import digest, facts_path, open_runtime, parts
from tests.models.test_scrnet import network as scrnet
from tests.testers import randomize_weights, tiny_fornet

BACKEND = keras.backend.backend()
SIZE = (64, 80)


def needs(format: str) -> None:
    """Skips where a format cannot be written or run, with the reason."""
    try:
        check_possible(format, SIZE, "float32", BACKEND)
    except (ValueError, ImportError) as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def model() -> Any:
    network = tiny_fornet(num_classes=11)
    randomize_weights(network)
    network.label_space = label_spaces.get("camvid11")
    return network


@pytest.fixture(scope="module")
def onnx_file(model: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    needs("onnx")
    path = tmp_path_factory.mktemp("onnx") / "street.onnx"
    export.export(model, path, "onnx", SIZE)
    return path


def test_onnx_says_what_keras_says(model: Any, onnx_file: Path) -> None:
    image = SyntheticStreets(1, size=SIZE).load(0).image[None]
    file = export.open_exported(onnx_file)
    np.testing.assert_allclose(file(image), model.predict(image, verbose=0), atol=1e-3)
    assert file.size == SIZE
    assert sorted(path.name for path in onnx_file.parent.iterdir()) == [
        "street.onnx",
        "street.onnx.json",
    ]


def test_the_json_says_how_to_use_the_file(onnx_file: Path) -> None:
    facts = json.loads(Path(f"{onnx_file}.json").read_text("utf-8"))
    assert (facts["input"]["height"], facts["input"]["width"]) == SIZE
    sky = {"id": 0, "name": "Sky", "color": [128, 128, 128], "dataset_id": 0}
    assert facts["classes"][0] == sky
    assert facts["output"]["dtype"] == "float32"
    assert facts["comparison"]["equal_labels"] > 0.999
    assert facts["sha256"] == hashlib.sha256(onnx_file.read_bytes()).hexdigest()


def flip(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 0xFF
    file.write_bytes(content)


def truncate(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-1])


@pytest.mark.backend_free
@pytest.mark.parametrize("damage", [flip, truncate, Path.unlink])
@pytest.mark.parametrize("format", export.FORMATS)
def test_a_damaged_file_is_refused(format: str, damage: Any, tmp_path: Path) -> None:
    path = tmp_path / f"street{export.FORMATS[format].suffix}"
    contents = parts(path)
    if format == "saved_model":
        contents = [path / "saved_model.pb", path / "variables" / "variables.index"]
    for number, part in enumerate(contents):
        part.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(b"weights of a network" + bytes([number]))
    facts = {
        **{"network": "FoRNet", "format": format, "precision": "float32", "classes": []},
        "input": {"dtype": "float32", "height": 64, "width": 80},
        "output": {"name": "logits"},
    }
    about = facts_path(path)
    about.write_text(json.dumps({**facts, "sha256": digest(path)}))
    for part in contents:
        whole = part.read_bytes()
        damage(part)
        with pytest.raises(ValueError, match="is damaged|is missing"):
            export.open_exported(path)
        if not part.exists() and format != "saved_model":
            with pytest.raises(ValueError, match=f"{part.name} is missing"):
                export.open_exported(path)
        part.write_bytes(whole)
    for wrong in (
        {"sha256": None},
        {"input": None},
        {"input": {"dtype": "uint9", "height": 64, "width": 80}},
        {"input": {"dtype": "uint8", "height": "64", "width": 80}},
        {"input": {"dtype": "uint8", "height": 64, "width": None}},
        {"input": {"dtype": "uint8", "height": None, "width": None, "least_side": "16"}},
        {"output": {}},
        {"output": "logits"},
        {"precision": "int4"},
    ):
        about.write_text(json.dumps({**facts, "sha256": digest(path), **wrong}))
        with pytest.raises(ValueError, match="does not describe an exported network"):
            export.open_exported(path)
    with pytest.raises(ValueError, match="other.onnx.json cannot be read"):
        export.open_exported(tmp_path / "other.onnx")


def test_a_file_of_other_weights_is_refused(model: Any, onnx_file: Path) -> None:
    other = tiny_fornet(num_classes=11)
    randomize_weights(other, seed=1)
    with pytest.raises(export.ExportDiffers, match="does not say what Keras says"):
        export.verify(other, onnx_file)


@pytest.mark.parametrize(
    "wrong", ["classes swapped", "other ids", "a class less", "another network"]
)
def test_a_json_of_another_network_is_refused(
    model: Any, onnx_file: Path, tmp_path: Path, wrong: str
) -> None:
    path = tmp_path / "street.onnx"
    shutil.copyfile(onnx_file, path)
    facts = json.loads(facts_path(onnx_file).read_text("utf-8"))
    first, second, *rest = facts["classes"]
    changed, message = {
        "classes swapped": (
            {"classes": [{**second, "id": 0}, {**first, "id": 1}, *rest]},
            "says Building in .* of class 0, the network Sky in",
        ),
        "other ids": (
            {"classes": [{**first, "dataset_id": 7}, second, *rest]},
            "in the dataset 7 of class 0, the network Sky in .*, in the dataset 0. Export again",
        ),
        "a class less": ({"classes": facts["classes"][1:]}, "10 classes, the network has 11"),
        "another network": ({"network": "SCRNet"}, "describes SCRNet, the network is FoRNet"),
    }[wrong]
    facts_path(path).write_text(json.dumps({**facts, **changed}), "utf-8")
    with pytest.raises(ValueError, match=message):
        export.verify(model, path)


def test_images_of_another_shape_are_refused(onnx_file: Path) -> None:
    file = export.open_exported(onnx_file)
    for shape in [(1, 64, 96, 3), (2, *SIZE, 3), (1, *SIZE, 4), (*SIZE, 3)]:
        with pytest.raises(ValueError, match=r"takes images \(1, 64, 80, 3\), got"):
            file(np.zeros(shape, "uint8"))


@pytest.mark.backend_free
def test_images_too_small_for_a_network_are_refused(tmp_path: Path) -> None:
    facts = {"input": {"dtype": "float32", "height": None, "width": None}}
    file = export.ExportedModel(tmp_path / "street.onnx", facts, lambda images: [images])
    assert file(np.zeros((1, 16, 16, 3))).shape == (1, 16, 16, 3)
    with pytest.raises(ValueError, match="16 pixels a side or more, got .1, 15, 80, 3"):
        file(np.zeros((1, 15, 80, 3)))


@pytest.mark.skipif(BACKEND != "tensorflow", reason="TensorFlow writes files of any size")
def test_openvino_refuses_images_that_spoil_what_it_says_later(model: Any, tmp_path: Path) -> None:
    needs("openvino")
    export.export(model, tmp_path / "street.xml", "openvino")
    file = export.open_exported(tmp_path / "street.xml")
    small = np.zeros((1, 32, 48, 3), "float32")
    for run, error in ((file, ValueError), (file.run, RuntimeError)):
        with pytest.raises(error):
            run(small)
    assert file.facts["input"]["least_side"] == 33
    assert file(np.zeros((1, 33, 48, 3))).shape == (1, 33, 48, 11)


def test_other_networks_are_refused(tmp_path: Path) -> None:
    images = keras.Input((None, None, 3))
    other = keras.Model(images, keras.layers.Conv2D(3, 3)(images))
    with pytest.raises(ValueError, match="Expected a network of this library, .* got Functional"):
        export.export(other, tmp_path / "street.onnx", "onnx", SIZE)
    with pytest.raises(ValueError, match="Expected a network of this library"):
        export.verify(other, tmp_path / "street.onnx")


class Written:
    """Stands for converter and runtime: what is written says what the network says."""

    def __init__(self, model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        self.fails = ""
        self.model = model
        monkeypatch.setattr(exporting.writing, "write", self.write)
        monkeypatch.setattr(exporting, "open_runtime", lambda path, format: self.run)

    def write(self, model: Any, form: Any, path: Path, *rest: Any, **options: Any) -> None:
        if self.fails == "converter":
            raise KeyError("no such operation")
        for part in parts(path):
            part.write_text("new")

    def run(self, images: np.ndarray) -> list[np.ndarray]:
        if self.fails == "runtime":
            raise KeyError("no such kernel")
        return [self.model.logits_model.predict_on_batch(images)]


@pytest.mark.parametrize(
    ("fails", "message"),
    [
        ("converter", "cannot be written as openvino on .*no such operation"),
        ("runtime", "openvino does not run the openvino file: .*no such kernel"),
    ],
)
def test_what_fails_on_the_way_is_not_kept(
    model: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: str, message: str
) -> None:
    needs("openvino")
    Written(model, monkeypatch).fails = fails
    with pytest.raises(export.ExportDiffers, match=message):
        export.export(model, tmp_path / "street.xml", "openvino", SIZE)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("missing", ["street.xml.json", "street.bin"])
def test_where_one_of_its_files_cannot_be_written_the_old_ones_stay(
    model: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    needs("openvino")
    Written(model, monkeypatch)
    (tmp_path / "street.xml").write_text("old")
    (tmp_path / missing).mkdir()
    with pytest.raises(ValueError, match=f"{missing} is a folder"):
        export.export(model, tmp_path / "street.xml", "openvino", SIZE)
    (tmp_path / missing).rmdir()
    export.export(model, tmp_path / "street.xml", "openvino", SIZE)

    def full(text: str, *rest: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    (tmp_path / "street.bin").write_text("old")
    monkeypatch.setattr(exporting.files, "json_text", full)
    with pytest.raises(OSError, match="No space left"):
        export.export(model, tmp_path / "street.xml", "openvino", SIZE)
    assert (tmp_path / "street.bin").read_text() == "old"
    names = ["street.bin", "street.xml", "street.xml.json"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names


def test_small_images_and_no_calibration(
    model: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    needs("openvino")
    Written(model, monkeypatch)
    path = tmp_path / "street.xml"
    export.export(model, path, "openvino", (32, 48))
    assert export.is_exported(path) and not export.is_exported(tmp_path / "other.xml")
    for count in (0, 4.0, True):
        with pytest.raises(ValueError, match=f"whole number of images above 0, got {count}"):
            export.export(model, path, "openvino", SIZE, calibration_count=count)


def test_what_differs_is_not_kept(
    model: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    needs("onnx")
    (tmp_path / "street.onnx").write_text("as it was")
    monkeypatch.setattr(
        "keras_focusseg.export.exporting.writing.write", lambda *a, **k: a[2].write_bytes(b"")
    )
    monkeypatch.setattr(
        "keras_focusseg.export.exporting.open_runtime",
        lambda path, name: lambda images: [np.zeros((1, *SIZE, 11), "float32")],
    )
    with pytest.raises(export.ExportDiffers):
        export.export(model, tmp_path / "street.onnx", "onnx", SIZE)
    assert [path.name for path in tmp_path.iterdir()] == ["street.onnx"]
    assert (tmp_path / "street.onnx").read_text() == "as it was"


def test_what_its_runtime_does_not_open_is_not_kept(
    model: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    needs("onnx")
    monkeypatch.setattr(
        "keras_focusseg.export.exporting.writing.write", lambda *a, **k: a[2].write_bytes(b"no")
    )
    with pytest.raises(export.ExportDiffers, match="cannot be opened by onnxruntime"):
        export.export(model, tmp_path / "street.onnx", "onnx", SIZE)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "format",
    {
        "tensorflow": ("saved_model", "litert"),
        "jax": ("saved_model",),
        "torch": ("torch", "openvino"),
    }[BACKEND],
)
def test_labels_of_uint8_images(model: Any, tmp_path: Path, format: str) -> None:
    needs(format)
    path = tmp_path / f"street{export.FORMATS[format].suffix}"
    written = export.export(model, path, format, SIZE, labels=True, uint8=True)
    assert written.comparison.equal_labels > 0.999
    assert written.comparison.largest_difference is None
    file = export.open_exported(path)
    labels = file(SyntheticStreets(1, size=SIZE).load(0).image[None])
    assert labels.shape == (1, *SIZE) and labels.dtype == np.uint8
    seconds, size = export.latency(path, runs=1)
    assert seconds > 0 and size == written.bytes


def test_more_classes_than_a_byte_holds(tmp_path: Path) -> None:
    format = "torch" if BACKEND == "torch" else "saved_model"
    needs(format)
    network = tiny_fornet(num_classes=300)
    randomize_weights(network)
    path = tmp_path / f"street{export.FORMATS[format].suffix}"
    export.export(network, path, format, SIZE, labels=True)
    file = export.open_exported(path)
    labels = file(SyntheticStreets(1, size=SIZE).load(0).image[None])
    assert labels.max() > 255 and labels.dtype == file.facts["output"]["dtype"] == "int32"
    assert [found["name"] for found in file.facts["classes"]] == [f"class {i}" for i in range(300)]


def test_openvino_has_one_size_and_one_named_output(model: Any, tmp_path: Path) -> None:
    needs("openvino")
    import openvino

    export.export(model, tmp_path / "street.xml", "openvino", SIZE)
    file = openvino.Core().read_model(tmp_path / "street.xml")
    (images,), (logits,) = file.inputs, file.outputs
    assert images.get_names() == {"images"} and logits.get_names() == {"logits"}
    assert list(images.get_shape()) == [1, *SIZE, 3] and list(logits.get_shape()) == [1, *SIZE, 11]


@pytest.mark.skipif(BACKEND != "tensorflow", reason="LiteRT is written on TensorFlow")
def test_int8_takes_bytes_and_gives_labels(tmp_path: Path) -> None:
    needs("litert")
    network = scrnet(num_classes=11)
    randomize_weights(network)
    options = {"precision": "int8", "labels": True, "uint8": True, "calibration_count": 4}
    written = export.export(network, tmp_path / "street.tflite", "litert", SIZE, **options)
    assert written.comparison.equal_labels > 0.9


@pytest.mark.skipif(BACKEND != "tensorflow", reason="TensorFlow's converter is asked")
def test_exact_gelu_leaves_tensorflow_as_onnx(tmp_path: Path) -> None:
    needs("onnx")
    images = keras.Input((None, None, 3))
    x, pyramid = images, {}
    for level in range(1, 6):
        x = keras.layers.Conv2D(4, 3, 2 if level < 4 else 1, "same", activation="gelu")(x)
        pyramid[f"P{level}"] = x
    del pyramid["P1"]
    network = tiny_fornet(backbone=keras.Model(images, pyramid))
    randomize_weights(network)
    export.export(network, tmp_path / "street.onnx", "onnx", SIZE)


@pytest.mark.skipif(BACKEND != "torch", reason="PyTorch's converter is asked")
def test_scrnet_leaves_pytorch_as_onnx(tmp_path: Path) -> None:
    needs("onnx")
    network = scrnet(num_classes=11)
    randomize_weights(network)
    written = export.export(network, tmp_path / "street.onnx", "onnx", SIZE)
    assert written.comparison.equal_labels > 0.999


def test_chosen_cells_alone_leave_keras(model: Any, tmp_path: Path) -> None:
    needs("onnx")
    path = tmp_path / "chosen.onnx"
    model.sparse_inference()
    try:
        export.export(model, path, "onnx", SIZE)
    finally:
        model.sparse_inference(False)
    largest = export.verify(model, path).largest_difference  # beside the dense form
    assert largest is not None and largest < 1e-4


class Striped(Source):
    """Two labelled pictures of stripes."""

    name, split = "striped", "val"
    label_space = label_spaces.get("camvid11")

    def __len__(self) -> int:
        return 2

    def load(self, index: int) -> Sample:
        mask = np.repeat(np.arange(4, dtype="uint8"), SIZE[0] // 4)[:, None]
        mask = np.broadcast_to(mask, SIZE).copy()
        return Sample(np.stack([mask * 60] * 3, axis=-1), mask, str(index))


def test_signals_come_with_the_labels(model: Any, tmp_path: Path) -> None:
    needs("onnx")
    path = tmp_path / "street.onnx"
    written = export.export(
        model, path, "onnx", SIZE, labels=True, uint8=True, signals=("importance", "masks")
    )
    assert set(written.comparison.signals) == {"importance", "masks"}
    assert "importance differs by" in str(written)
    image = SyntheticStreets(1, size=SIZE).load(0).image[None]
    file, seen = export.open_exported(path), model.inspect(image)
    assert (file(image) == seen["logits"].argmax(-1)).mean() > 0.999
    told = file.signals(image)
    np.testing.assert_allclose(told["importance"], seen["importance"], atol=1e-4)
    np.testing.assert_array_equal(told["masks"], seen["masks"])


def test_signals_that_differ_are_a_fault() -> None:
    scores = comparing.Scores(seconds=0.1)
    comparison = comparing.Comparison(
        1, "drawn streets", None, None, 1.0, scores, scores, {"importance": 0.5}
    )
    assert comparison.faults(export.BOUNDS["float32"]) == [
        "importance differs by 50 % of the spread on average, not 0.1 %"
    ]


@pytest.mark.parametrize(
    ("format", "signals", "message"),
    [
        ("torch", ["importance"], "in onnx, not in torch"),
        ("onnx", ["gate"], "FoRNet has no signal"),
        ("onnx", ["importance", "importance"], "Each signal is given once"),
    ],
)
def test_signals_that_cannot_be_are_refused(
    model: Any, tmp_path: Path, format: str, signals: list[str], message: str
) -> None:
    needs(format)
    path = tmp_path / f"street{export.FORMATS[format].suffix}"
    with pytest.raises(ValueError, match=message):
        export.export(model, path, format, SIZE, signals=signals)


@pytest.mark.parametrize("size", [64, (64.0, 80), "64x80", (64, 80, 3)])
def test_sizes_that_are_none_are_told(model: Any, onnx_file: Path, size: Any) -> None:
    for call in (
        lambda: export.export(model, onnx_file, "onnx", size),
        lambda: export.latency(onnx_file, size),
    ):
        with pytest.raises(ValueError, match=r"size must be \(height, width\), .*; got"):
            call()


def test_a_list_is_a_size_as_well(onnx_file: Path) -> None:
    assert export.latency(onnx_file, [*SIZE], runs=1)[0] > 0


def test_one_signal_is_no_list(model: Any, tmp_path: Path) -> None:
    needs("onnx")
    with pytest.raises(ValueError, match="a list of names, got the single text 'importance'"):
        export.export(model, tmp_path / "street.onnx", "onnx", SIZE, signals="importance")


def test_scores_stand_side_by_side(model: Any, onnx_file: Path) -> None:
    comparison = export.verify(model, onnx_file, Striped())
    assert comparison.keras.mean_iou == pytest.approx(comparison.file.mean_iou, abs=1e-3)
    assert "mIoU" in str(comparison) and "boundary F1" in str(comparison)


def test_images_of_other_classes_are_refused(
    model: Any, onnx_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, space = Striped(), Striped.label_space
    source.label_space = label_spaces.from_names(space.classes[::-1])
    monkeypatch.setattr(exporting.writing, "write", lambda *a, **k: pytest.fail("was written"))
    for call in (
        lambda: export.export(model, onnx_file, "onnx", SIZE, source=source),
        lambda: export.verify(model, onnx_file, source),
    ):
        with pytest.raises(ValueError, match=f"Class 0 is 'Sky' .* and '{space.classes[-1]}' in"):
            call()


def test_sources_without_images_are_refused(
    model: Any, onnx_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An empty source of calibration counts as false; drawn streets were taken in its place."""
    monkeypatch.setattr(Striped, "__len__", lambda self: 0)
    monkeypatch.setattr(exporting.writing, "write", lambda *a, **k: pytest.fail("was written"))
    for call in (
        lambda: export.export(model, onnx_file, "onnx", SIZE, source=Striped()),
        lambda: export.export(model, onnx_file, "onnx", SIZE, calibration=Striped()),
        lambda: export.verify(model, onnx_file, Striped()),
    ):
        with pytest.raises(ValueError, match="striped val has no images"):
            call()


def test_images_of_another_size_are_refused(model: Any, onnx_file: Path) -> None:
    with pytest.raises(ValueError, match="64x96, and the file takes 64x80"):
        export.verify(model, onnx_file, SyntheticStreets(1, size=(64, 96)))


def test_half_the_weights_in_onnx(model: Any, onnx_file: Path, tmp_path: Path) -> None:
    half = tmp_path / "half.onnx"
    shutil.copyfile(onnx_file, half)
    writing._halve_onnx_weights(half)
    assert half.stat().st_size < onnx_file.stat().st_size
    image = SyntheticStreets(1, size=SIZE).load(0).image[None].astype("float32")
    found, wanted = (open_runtime(path, "onnx")(image)[0] for path in (half, onnx_file))
    np.testing.assert_allclose(found, wanted, atol=0.02 * wanted.std())


@pytest.mark.parametrize(
    ("format", "size", "precision", "backend", "message"),
    [
        ("tflite", SIZE, "float32", "torch", "no format 'tflite'"),
        ("onnx", SIZE, "int4", "torch", "no precision 'int4'"),
        ("onnx", None, "float32", "torch", "On torch it holds one size"),
        ("onnx", SIZE, "float32", "jax", "set KERAS_BACKEND=tensorflow"),
        ("torch", None, "float32", "torch", "give height and width"),
        ("torch", SIZE, "int8", "torch", "onnx, litert, openvino are"),
    ],
)
def test_what_cannot_be_is_refused_with_the_nearest_thing(
    format: str, size: Any, precision: str, backend: str, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        check_possible(format, size, precision, backend)


def test_missing_packages_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match="pip install onnx tf2onnx"):
        check_possible("onnx", SIZE, "float32", "tensorflow")
