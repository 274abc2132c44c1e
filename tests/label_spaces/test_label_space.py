"""Label spaces: the way from ids on disk to train ids, and what refuses to go it."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keras_focusseg import label_spaces
from keras_focusseg.label_spaces import IGNORE, LabelSpace

CLASS_COUNTS = {
    "ade20k": 150,
    "bdd100k": 19,
    "camvid11": 11,
    "camvid32": 31,
    "cityscapes": 19,
    "voc": 21,
}
TOY = LabelSpace("toy", ("road", "car"), ((128, 64, 128), (0, 0, 142)), ids=(7, 26))


def test_names_are_the_benchmarks():
    assert label_spaces.names() == sorted(CLASS_COUNTS)


@pytest.mark.parametrize("name", sorted(CLASS_COUNTS))
def test_every_table_parses(name):
    space = label_spaces.get(name)
    assert space.num_classes == CLASS_COUNTS[name] == len(space.colors) == len(space.ids)
    assert label_spaces.table(name)["classes"][0]["name"] == space.classes[0]


def test_camvid11():
    space = label_spaces.get("camvid11")
    assert space.classes == (
        "Sky", "Building", "Pole", "Road", "Pavement", "Tree",
        "SignSymbol", "Fence", "Car", "Pedestrian", "Bicyclist",
    )  # fmt: skip
    raw = np.arange(12, dtype="uint8").reshape(3, 4)
    assert space.to_train_ids(raw).ravel().tolist() == [*range(11), IGNORE]
    assert (space.ignore_name, space.ignore_color) == ("Unlabelled", (0, 0, 0))


def test_cityscapes_maps_raw_ids():
    space = label_spaces.get("cityscapes")
    table = label_spaces.table("cityscapes")["raw_id_to_index"]
    raw = np.arange(34, dtype="uint8")
    assert space.to_train_ids(raw).tolist() == table
    assert space.to_train_ids(np.array([255], "uint8")) == IGNORE  # licence plates
    assert dict(zip(space.classes, space.ids, strict=True))["car"] == 26


def test_ade20k_shifts_by_one():
    raw = np.array([0, 1, 150], "uint8")
    assert label_spaces.get("ade20k").to_train_ids(raw).tolist() == [IGNORE, 0, 149]


def test_bdd100k_masks_hold_the_index():
    space = label_spaces.get("bdd100k")
    raw = np.array([0, 18, 255], "uint8")
    assert space.to_train_ids(raw).tolist() == [0, 18, IGNORE]
    assert space.classes[13] == "car"


def test_camvid32_void_takes_no_train_id():
    space = label_spaces.get("camvid32")
    assert "Void" not in space.classes and space.classes[30] == "Wall"
    assert space.to_train_ids(np.array([29, 30, 31])).tolist() == [29, IGNORE, 30]


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "int32", "int64"])
def test_unknown_id_is_named_with_count_and_file(dtype):
    raw = np.array([[7, 26, 99], [99, 255, 7]], dtype)
    with pytest.raises(ValueError, match=r"street\.png: id 99 \(2 of 6 pixels\).*'toy'.*7, 26"):
        TOY.to_train_ids(raw, where="street.png")


@pytest.mark.parametrize("value", [-1, 256, 7 + 256, 70000])
def test_ids_beyond_8_bits_do_not_wrap_around(value):
    with pytest.raises(ValueError, match=rf"id {value} \(1 of 2"):
        TOY.to_train_ids(np.array([7, value], "int64"))


def test_message_stays_short_with_many_unknown_ids():
    with pytest.raises(ValueError, match="and 248 other values") as caught:
        TOY.to_train_ids(np.arange(256, dtype="uint8"))
    assert len(str(caught.value)) < 500


def test_floats_are_refused_and_booleans_are_ids():
    with pytest.raises(ValueError, match="integers, got float32"):
        TOY.to_train_ids(np.zeros((2, 2), "float32"))
    space = label_spaces.from_names(["off", "on"])
    assert space.to_train_ids(np.array([True, False])).tolist() == [1, 0]


@given(st.lists(st.integers(0, 254), min_size=1, max_size=40, unique=True), st.integers(0, 2**32))
def test_any_numbering_is_undone(ids, seed):
    space = label_spaces.from_names([f"class {i}" for i in ids], ids=ids)
    truth = np.random.default_rng(seed).integers(0, len(ids) + 1, 50)
    raw = np.array([*ids, 255])[truth].astype("uint8")
    expected = np.where(truth == len(ids), IGNORE, truth)
    result = space.to_train_ids(raw)
    assert result.dtype == np.uint8
    np.testing.assert_array_equal(result, expected)


def test_palette():
    palette = TOY.palette()
    assert palette.shape == (256, 3) and palette.dtype == np.uint8
    assert palette[:2].tolist() == [[128, 64, 128], [0, 0, 142]]
    assert not palette[2:].any()


@pytest.mark.parametrize("name", [*sorted(CLASS_COUNTS), "own"])
def test_config_survives_json(name):
    space = label_spaces.from_names(["a", "b"]) if name == "own" else label_spaces.get(name)
    again = LabelSpace.from_config(json.loads(json.dumps(space.to_config())))
    assert again == space and hash(again) == hash(space)


def test_from_names_defaults():
    space = label_spaces.from_names(["background", "crack"])
    assert (space.name, space.ids, space.ignored_ids) == ("custom", (0, 1), (255,))
    assert space == label_spaces.from_names(["background", "crack"])


@pytest.mark.parametrize("count", [1, 2, 19, 255])
def test_colors_are_distinct_and_always_the_same(count):
    colors = label_spaces.distinct_colors(count)
    assert len(set(colors)) == count and colors == label_spaces.distinct_colors(count)
    assert (0, 0, 0) not in colors and (255, 255, 255) not in colors


def test_the_first_colors_differ_clearly():
    colors = np.array(label_spaces.distinct_colors(12), float)
    distance = np.linalg.norm(colors[:, None] - colors[None], axis=-1)
    assert distance[~np.eye(12, dtype=bool)].min() > 80


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"names": []}, "0 classes"),
        ({"names": [str(i) for i in range(256)], "colors": [(0, 0, 0)] * 256}, "256 classes"),
        ({"names": "road"}, "single string 'road'"),
        ({"names": ["a", "a"]}, r"appear twice: \['a'\]"),
        ({"names": ["a", "b"], "ids": [3, 3]}, r"appear twice: \[3\]"),
        ({"names": ["a", "b"], "ids": [3, 255]}, "255 .* means 'b' and ignored pixels at once"),
        ({"names": {"a": 3, "b": 4}}, "names must be a list .*, got a dict"),
        ({"names": {"a", "b"}}, "names must be a list .*, got a set"),
        ({"names": ["a"], "colors": ["#ff0000"]}, "are 3 whole numbers 0..255, got '#ff0000'"),
        ({"names": ["a"], "colors": [128]}, "are 3 whole numbers 0..255, got 128"),
        ({"names": ["a"], "colors": [(0, 0, 0.5)]}, r"3 whole numbers 0..255, got \(0, 0, 0.5\)"),
        ({"names": ["a", "b"], "ids": [1]}, "2 classes but 1 ids"),
        ({"names": ["a", "b"], "ids": [1, 300]}, r"0\.\.255, got \[300\]"),
        ({"names": ["a"], "colors": []}, "1 classes but 0 colors"),
        ({"names": ["a"], "colors": [(0, 0)]}, "3 whole numbers"),
        ({"names": ["a"], "colors": [(0, 0, 256)]}, "0..255"),
    ],
)
def test_contradictions_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        label_spaces.from_names(**arguments)


def test_unknown_name_lists_the_known_ones():
    with pytest.raises(ValueError, match="'camvid12'.*camvid11"):
        label_spaces.get("camvid12")


@pytest.mark.shared
@pytest.mark.parametrize("name", sorted(set(CLASS_COUNTS) - {"voc"}))
def test_tables_are_those_of_the_survey(name, shared_dir):
    source = shared_dir / "labels" / f"{name}.json"
    assert label_spaces.table(name) == json.loads(source.read_text(encoding="utf-8"))
