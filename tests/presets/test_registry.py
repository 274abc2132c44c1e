"""Presets: names, records, loading with and without weights, and what is refused."""

import json
import re
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from keras_focusseg import label_spaces, layers, models, presets
from keras_focusseg.files import sha256
from keras_focusseg.presets.record import CATALOG, WEIGHTS
from keras_focusseg.presets.weights_file import load_weights, save_weights
from tests.conftest import REPOSITORY
from tests.testers import GOLDEN, assert_matches_golden, randomize_weights, tiny_fornet

# With weights in the package: neither without any, nor with an address where they lie.
SHIPPED = [
    n for n in presets.names() if "address" not in (presets.record(n).weights or ("address",))
]
SPACE = label_spaces.from_names(["road", "sky", "car"])


def logits(model: models.Segmenter, images: np.ndarray) -> np.ndarray:
    return np.asarray(model.predict(images, verbose=0))


@pytest.fixture
def saved(tmp_path: Path) -> tuple[models.FoRNet, Path]:
    model = tiny_fornet()
    randomize_weights(model, seed=3)
    presets.save(model, tmp_path / "mine", name="mine", label_space=SPACE)
    return model, tmp_path / "mine"


def images() -> np.ndarray:
    return np.random.default_rng(0).uniform(0, 255, (1, 32, 48, 3)).astype("float32")


def test_names_are_sorted_and_take_wildcards() -> None:
    assert presets.names() == sorted(presets.names())
    assert "fornet_resnet101_cityscapes" in presets.names("fornet_resnet*")
    assert presets.names("nothing*") == []


def test_the_best_preset_of_each_network() -> None:
    best = {presets.record(name).network: presets.record(name) for name in presets.best()}
    shipped = [presets.record(name) for name in SHIPPED]
    assert set(best) == {record.network for record in shipped} and len(presets.best()) == len(best)
    for record in shipped:
        for score in record.scores[:1]:
            assert best[record.network].scores[0]["mean_iou"] >= score["mean_iou"]


def test_what_learned_the_validation_split_has_no_score_there() -> None:
    for record in map(presets.record, SHIPPED):
        splits = record.recipe["train_split"].split("+")
        scored = {score["split"] for score in record.scores}
        assert not scored & set(splits), record.name
        assert scored or record.recipe["val_split"] in splits, record.name


@pytest.mark.parametrize("name", presets.names())
def test_every_record_prints_as_a_card_and_fits_its_classes(name: str) -> None:
    record = presets.record(name)
    assert record.name == name and name in str(record)
    assert record.classes().num_classes == record.config["num_classes"]
    for score in record.scores:
        assert {"split", "resolution", "classes", "void", "test_time", "command"} <= set(score)
        assert score["split"] != "test" or score["measured_by"] in str(record)
        assert 0 < score["mean_iou"] < 1


@pytest.mark.parametrize("name", SHIPPED)
def test_records_say_how_their_runs_can_be_repeated(name: str) -> None:
    record = presets.record(name)
    told = record.training
    assert {"data", "start", "steps", "seeds", "machine", "wall_time"} <= set(told)
    samples = re.search(r"(\d+) (frames|scenes)", told["data"])
    assert samples is not None
    steps = int(samples[1]) // record.recipe["batch_size"] * told["epochs"]
    assert told["steps"].startswith(f"{steps} of {record.recipe['batch_size']} ")
    assert f"seed {record.recipe['seed']}" in told["seeds"]
    notes = json.loads((REPOSITORY / "recipes" / "notes" / f"{name}.json").read_text("utf-8"))
    assert notes["training"].items() <= told.items()
    for field in ("description", "license", "paper"):
        assert getattr(record, field) == notes[field]


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_weights_are_the_recorded_ones(name: str) -> None:
    weights = presets.record(name).weights
    path = WEIGHTS / weights["file"]
    assert sha256(path) == weights["sha256"]
    assert path.stat().st_size == weights["bytes"]


def coarse_logits(name: str) -> np.ndarray:
    noise = np.random.default_rng(0).integers(0, 256, (1, 64, 96, 3)).astype("uint8")
    return logits(presets.load(name), noise)[:, ::4, ::4]


def test_shipped_presets_have_the_logits_they_had() -> None:
    """Those of the first release, whatever has become of the code that builds the networks."""
    assert_matches_golden("shipped_presets", {name: coarse_logits(name) for name in SHIPPED})


@pytest.mark.each_backend
def test_a_shipped_preset_has_the_same_logits_on_every_backend() -> None:
    """One: each network and each backbone has outputs of its own that all backends must give."""
    name = presets.best()[0]
    with np.load(GOLDEN / "shipped_presets.npz", allow_pickle=False) as stored:
        np.testing.assert_allclose(coarse_logits(name), stored[name], rtol=1e-4, atol=1e-4)


def test_saved_folder_loads_with_the_same_logits(saved: tuple[models.FoRNet, Path]) -> None:
    model, folder = saved
    loaded = presets.load(folder)
    np.testing.assert_allclose(logits(loaded, images()), logits(model, images()), atol=1e-6)
    assert loaded.label_space == SPACE


def test_scalar_weights_keep_their_shape(tmp_path: Path) -> None:
    """SCRNet's channel attention has one."""
    images_in = keras.Input((None, None, 3))
    model = keras.Model(images_in, layers.ChannelAttention(name="channel")(images_in))
    model.get_layer("channel").gamma.assign(0.25)
    save_weights(model, tmp_path / "scalar.safetensors")
    model.get_layer("channel").gamma.assign(0.0)
    load_weights(model, tmp_path / "scalar.safetensors")
    assert float(model.get_layer("channel").gamma) == 0.25


def test_half_precision_is_half_the_size_and_close(
    saved: tuple[models.FoRNet, Path], tmp_path: Path
) -> None:
    model, folder = saved
    half = presets.save(model, tmp_path / "half", name="h", label_space=SPACE, dtype="float16")
    assert half.weights["bytes"] < 0.7 * presets.record(folder).weights["bytes"]
    found = logits(presets.load(tmp_path / "half"), images())
    np.testing.assert_allclose(found, logits(model, images()), atol=2e-2)


def test_other_classes_keep_everything_but_the_classifier(
    saved: tuple[models.FoRNet, Path],
) -> None:
    model, folder = saved
    tuned = presets.load(folder, num_classes=5)
    assert tuned.output["logits"].shape[-1] == 5 and tuned.label_space is None
    for ours, theirs in zip(tuned.weights, model.weights, strict=True):
        if not ours.path.startswith("classifier"):
            np.testing.assert_array_equal(
                keras.ops.convert_to_numpy(ours), keras.ops.convert_to_numpy(theirs)
            )


def test_other_classes_of_the_same_number(saved: tuple[models.FoRNet, Path]) -> None:
    """The classifier would name ground where it learned road."""
    _, folder = saved
    kept = presets.load(folder).get_layer("classifier").get_weights()[0]
    same = label_spaces.from_names(["Road", "sky", "CAR"])
    others = label_spaces.from_names(["sky", "road", "car"])
    for space, is_kept in ((same, True), (others, False)):
        model = presets.load(folder, label_space=space)
        assert model.label_space == space
        found = model.get_layer("classifier").get_weights()[0]
        assert np.array_equal(found, kept) == is_kept
        assert (model.constructor_config()["class_weights"] is None) or is_kept
    four = label_spaces.from_names(["a", "b", "c", "d"])
    assert models.FoRNet.from_preset(folder, label_space=four).label_space == four
    with pytest.raises(ValueError, match="num_classes=3, but label space .* has 4 classes"):
        presets.load(folder, 3, label_space=four)


@pytest.mark.parametrize("count", [0, -1, 2.5, "3", True])
def test_numbers_of_classes_that_are_none(count: object) -> None:
    with pytest.raises(ValueError, match="num_classes must be a whole number above 0, got"):
        presets.load("fornet_mobilenet_v2_camvid", num_classes=count)


@pytest.mark.parametrize("space", ["camvid11", ["road", "sky"]])
def test_classes_that_are_no_label_space(
    space: object, saved: tuple[models.FoRNet, Path], tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="label_space must be a LabelSpace, such as label_spaces"):
        presets.load("fornet_mobilenet_v2_camvid", label_space=space)
    with pytest.raises(ValueError, match="label_space must be a LabelSpace, such as label_spaces"):
        presets.save(saved[0], tmp_path, name="mine", label_space=space)


def test_a_file_is_no_preset(saved: tuple[models.FoRNet, Path]) -> None:
    with pytest.raises(ValueError, match="preset.json is a file; a preset is a folder with"):
        presets.load(saved[1] / "preset.json")


def test_a_dtype_that_is_none_is_told(saved: tuple[models.FoRNet, Path]) -> None:
    with pytest.raises(ValueError, match="from field 'config', dtype='float17': Cannot convert"):
        presets.load(saved[1], dtype="float17")


def test_what_could_not_be_loaded_is_not_saved(saved: tuple[models.FoRNet, Path]) -> None:
    model, folder = saved
    before = {path: path.read_bytes() for path in folder.iterdir()}
    score = {"dataset": "a", "split": "val", "resolution": "1x1", "mean_iou": 71.2}
    for details, message in (
        ({"scores": (score,)}, r"'scores\[0\]', mean_iou is 71.2; expected a number 0..1"),
        ({"scores": ({"mean_iou": 0.7},)}, r"'scores\[0\]', dataset is missing; expected text"),
        ({"description": None}, "field 'description' is missing; expected text"),
        ({"dtype": "float64"}, "stored as float32 or float16, not as 'float64'"),
        ({"dtype": "int8"}, "stored as float32 or float16, not as 'int8'"),
    ):
        with pytest.raises(ValueError, match=message):
            presets.save(model, folder, **{"name": "mine", "label_space": SPACE, **details})
        assert before == {path: path.read_bytes() for path in folder.iterdir()}
    measured = {**score, "mean_iou": np.float32(0.5)}
    presets.save(model, folder, name="mine", label_space=SPACE, scores=(measured,))
    assert presets.record(folder).scores[0]["mean_iou"] == 0.5


def test_architecture_only_needs_to_be_asked_for(saved: tuple[models.FoRNet, Path]) -> None:
    with pytest.raises(ValueError, match="No public weights exist .*load_weights=False"):
        presets.load("fornet_resnet101_cityscapes")
    _, folder = saved
    model = presets.load(folder, load_weights=False)
    assert isinstance(model, models.FoRNet)


def test_unknown_names_list_the_known_ones() -> None:
    with pytest.raises(ValueError, match="no preset 'fornett'.*fornet_resnet101_cityscapes"):
        presets.load("fornett")


def test_the_folder_of_a_run_points_to_its_best_weights(
    saved: tuple[models.FoRNet, Path], tmp_path: Path
) -> None:
    shutil.copytree(saved[1], tmp_path / "run" / "best")
    with pytest.raises(ValueError, match="run is the folder of a run, .* weights: .*best$"):
        presets.load(tmp_path / "run")


def test_damaged_or_missing_weights_are_an_error(saved: tuple[models.FoRNet, Path]) -> None:
    _, folder = saved
    file = folder / "mine.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(bytes(content))
    with pytest.raises(ValueError, match="is not the file of 'mine'.*SHA-256"):
        presets.load(folder)
    file.unlink()
    with pytest.raises(ValueError, match="weights of 'mine' are missing"):
        presets.load(folder)


def test_weights_outside_the_folder_are_not_read(saved: tuple[models.FoRNet, Path]) -> None:
    _, folder = saved
    record = json.loads((folder / "preset.json").read_text())
    record["weights"]["file"] = "../mine/mine.safetensors"
    (folder / "preset.json").write_text(json.dumps(record))
    with pytest.raises(ValueError, match="weights.file.*expected a name without folders"):
        presets.load(folder)


def test_records_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "preset.json").write_text("{")
    with pytest.raises(ValueError, match="is not a preset record"):
        presets.load(tmp_path)


def test_terms_under_their_name_of_before(tmp_path: Path) -> None:
    values = json.loads((CATALOG / "fornet_mobilenet_v2_camvid.json").read_text("utf-8"))
    terms = values.pop("license")
    (tmp_path / "preset.json").write_text(json.dumps({**values, "licence": terms}))
    assert presets.record(tmp_path).license == terms
    assert presets.record(tmp_path).licence == terms


def test_weights_must_match_name_by_name(tmp_path: Path) -> None:
    model = tiny_fornet()
    save_weights(model, tmp_path / "w.safetensors")
    before = [w.copy() for w in model.get_weights()]
    arrays = load_file(tmp_path / "w.safetensors")
    name = "classifier/kernel"
    cases = {
        "1 weights missing": {k: v for k, v in arrays.items() if k != name},
        "1 weights unknown": {**arrays, "stranger": arrays[name]},
        "has shape": {**arrays, name: arrays[name][..., :1].copy()},
    }
    for message, content in cases.items():
        save_file(content, tmp_path / "bad.safetensors")
        with pytest.raises(ValueError, match=message):
            load_weights(model, tmp_path / "bad.safetensors")
    (tmp_path / "bad.safetensors").write_bytes(b"nonsense")
    with pytest.raises(ValueError, match="not a readable safetensors file"):
        load_weights(model, tmp_path / "bad.safetensors")
    for found, expected in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(found, expected)


def test_infinite_weights_are_not_written(tmp_path: Path) -> None:
    model = tiny_fornet()
    model.get_layer("classifier").bias.assign([1e6, 0.0, 0.0])
    with pytest.raises(ValueError, match="not finite in float16"):
        save_weights(model, tmp_path / "w.safetensors", "float16")
    assert not list(tmp_path.iterdir())


def test_classes_of_network_and_label_space_must_agree(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="network has 3 classes, .* has 2"):
        presets.save(
            tiny_fornet(), tmp_path, name="x", label_space=label_spaces.from_names(["a", "b"])
        )
