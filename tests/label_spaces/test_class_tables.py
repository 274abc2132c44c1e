"""Class tables in the forms that people have: what they mean, and what is refused."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from keras_focusseg import label_spaces
from keras_focusseg.label_spaces import load_table, read_class_table, write_class_dict

ROAD, CAR, VOID = (128, 64, 128), (0, 0, 142), (10, 20, 30)
KAGGLE = "name,r,g,b\nroad,128,64,128\nVoid,10,20,30\ncar,0,0,142\n"


def table(tmp_path, name, text):
    path = tmp_path / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


@pytest.mark.parametrize(
    "text",
    [
        KAGGLE,
        "\ufeffName, R, G, B\r\nroad, 128, 64, 128\r\nVoid, 10, 20, 30\r\ncar, 0, 0, 142\r\n",
        "name;r;g;b\nroad;128;64;128\nVoid;10;20;30\ncar;0;0;142",
        "b\tname\tg\tr\n128\troad\t64\t128\n30\tVoid\t20\t10\n\n142\tcar\t0\t0\n",
        'id,Class_Name,Red,Green,Blue\n0,"road",128,64,128\n1,Void,10,20,30\n2,car,0,0,142\n',
    ],
)
def test_kaggle(tmp_path, text):
    space = read_class_table(table(tmp_path, "class_dict.csv", text))
    assert (space.classes, space.colors) == (("road", "car"), (ROAD, CAR))
    assert (space.ids, space.ignored_ids) == ((0, 2), (1, 255))  # a row's number is its id
    assert (space.ignore_name, space.ignore_color) == ("Void", VOID)


@pytest.mark.parametrize(
    ("name", "text", "classes", "ids", "ignored"),
    [
        ("_classes.csv", "Pixel Value, Class\n0, background\n7, crack\n255, ignore\n",
         ("background", "crack"), (0, 7), (255,)),
        ("classes.csv", "name\nroad\nunlabelled\ncar\n", ("road", "car"), (0, 2), (1, 255)),
        ("classes.txt", "road\ncar with # sign\n\n", ("road", "car with # sign"), (0, 1), (255,)),
        ("codes.txt", "road\r\nVoid\r\ncar", ("road", "car"), (0, 2), (1, 255)),
        ("labels.txt", "__ignore__\n_background_\nroad\n", ("_background_", "road"), (0, 1),
         (255,)),
        ("a.json", '["road", {"name": "void"}, "car"]', ("road", "car"), (0, 2), (1, 255)),
        ("a.json", '[{"name": "road", "id": 9}, {"name": "car", "id": 255}]', ("road", "car"),
         (9, 255), ()),
    ],
)  # fmt: skip
def test_tables_without_colours(tmp_path, name, text, classes, ids, ignored):
    path = table(tmp_path, name, text)
    space = read_class_table(path)
    assert (space.classes, space.ids, space.ignored_ids) == (classes, ids, ignored)
    assert space.colors == label_spaces.distinct_colors(len(classes))
    with pytest.raises(ValueError, match="no colours.*Add the columns r, g and b"):
        load_table(path).grouping()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("labelmap.txt", "# label:color_rgb:parts:actions\nroad:128,64,128::\n\n"
         "void:10,20,30::\ncar:0,0,142:wheel,door:moving\n"),
        ("label_colors.txt", "128 64 128\troad\n10 20 30\t\tVoid\n0 0 142 car\n"),
        ("a.json", '[{"name": "road", "color": [128, 64, 128]}, {"name": "void", "color": '
         '[10, 20, 30]}, {"name": "car", "color": [0, 0, 142]}]'),
    ],
)  # fmt: skip
def test_other_forms_with_colours(tmp_path, name, text):
    loaded = load_table(table(tmp_path, name, text))
    assert loaded.label_space().classes == ("road", "car")
    mask = np.array([[ROAD, CAR, VOID]], "uint8")
    assert loaded.grouping().to_train_ids(mask).tolist() == [[0, 1, 255]]


def test_labelmap_without_colours(tmp_path):
    loaded = load_table(table(tmp_path, "labelmap.txt", "road:::\ncar:::\n"))
    assert (loaded.names, loaded.colors) == (("road", "car"), ())


def test_stored_label_space(tmp_path):
    space = label_spaces.from_names(["a", "void"], ids=[3, 200], ignored_ids=[9], name="mine")
    path = table(tmp_path, "label_space.json", json.dumps(space.to_config()))
    assert read_class_table(path) == space  # a class called void stays one


def test_ignored_can_be_said(tmp_path):
    path = table(tmp_path, "class_dict.csv", KAGGLE)
    assert read_class_table(path, ignored=()).classes == ("road", "Void", "car")
    assert read_class_table(path, ignored=["ROAD"]).classes == ("Void", "car")
    with pytest.raises(ValueError, match=r"class_dict\.csv: every row is ignored \('road', 'Void'"):
        read_class_table(path, ignored=["road", "void", "car"])
    with pytest.raises(ValueError, match="single string 'road'"):
        read_class_table(path, ignored="road")


def test_every_void_colour_is_ignored(tmp_path):
    text = KAGGLE + "unlabeled,1,2,3\nvoid,4,5,6\nvoid,7,8,9\n"
    groups = load_table(table(tmp_path, "class_dict.csv", text)).grouping()
    mask = np.array([[VOID, (1, 2, 3), (4, 5, 6), (7, 8, 9), CAR]], "uint8")
    assert groups.to_train_ids(mask).tolist() == [[255, 255, 255, 255, 1]]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.csv", "name,r,g\nroad,1,2\n", r"a\.csv, line 1: the header is 'name', 'r', 'g'"),
        ("a.csv", "road,1,2,3\n", r"line 1: the header is 'road'.*expected name,r,g,b"),
        ("a.csv", "name,r,g,b\nroad,1,2,3\ncar,1,2\n", r"a\.csv, line 3: has 3 cells"),
        ("a.csv", "name,r,g,b\nroad,1,2,256\n", r"line 2: the colour is \['1', '2', '256'\]"),
        ("a.csv", "name,r,g,b\nroad,1,2.5,3\n", r"line 2: the colour is"),
        ("a.csv", "name,r,g,b\nroad,-1,2,3\n", r"line 2: the colour is"),
        ("a.csv", "name,r,g,b\nroad,1,2,3\nroad,1,2,4\n", r"line 3: 'road' stands there twice.*2"),
        ("a.csv", "name,r,g,b\n,1,2,3\n", "line 2: the name is ''"),
        ("a.csv", "name,r,g,b\n", "lists no class"),
        ("a.csv", "", "lists no class"),
        ("a.csv", 'name\n"road\n', "is not CSV"),
        ("a.csv", "Pixel Value,Class\n300,road\n", "line 2: the id is '300'.*0 to 255"),
        ("a.csv", "Pixel Value,Class\nx,road\n", "line 2: the id is 'x'"),
        ("a.csv", "id,name\n3,road\n3,car\n", r"a\.csv: The ids .* appear twice: \[3\]"),
        ("a.txt", "road\n\ncar\n", r"a\.txt, line 2: is empty.*no gaps"),
        ("a.txt", "ro\x07ad\n", r"line 1: the name is 'ro\\x07ad'"),
        ("a.txt", "\n".join(map(str, range(300))), r"line 257: '256' has id 256"),
        ("a.txt", "\n".join(map(str, range(256))), r"a\.txt: .*256 classes"),
        ("labelmap.txt", "road:1,2,3::\ncar\n", "line 2: 'car' is not of the form name:r,g,b"),
        ("labelmap.txt", "road:1,2,3::\ncar:::\n", "line 2: 'car' has no colour while other"),
        ("labelmap.txt", "road:1,2::\n", "line 1: the colour is"),
        ("a.json", "{", "is not JSON"),
        ("a.json", "[" * 100_000, "is not JSON"),
        ("a.json", "7", "holds int"),
        ("a.json", '[{"id": 1}]', "entry 0: .* is no class"),
        ("a.json", '["a", 3]', "entry 1: 3 is no class"),
        ("a.json", '[{"name": "a", "color": "red"}]', "entry 0: color is red"),
        ("a.json", '[{"name": "a", "id": true}]', "entry 0: the id is 'True'"),
        ("a.json", '{"name": "x", "classes": ["a"]}', "is no label space"),
        ("a.txt", b"\xff\xfe\x00", "another encoding than UTF-8"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(tmp_path, name, text, message):
    with pytest.raises(ValueError, match=message) as caught:
        read_class_table(table(tmp_path, name, text))
    assert str(tmp_path / name) in str(caught.value)


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(ValueError, match="cannot be read"):
        read_class_table(tmp_path / "none.csv")
    with pytest.raises(ValueError, match="cannot be read"):
        read_class_table(tmp_path)
    with pytest.raises(ValueError, match="1,000,001 bytes"):
        read_class_table(table(tmp_path, "a.txt", "a" * 1_000_001))


def test_same_colour_twice_is_refused_for_colours_only(tmp_path):
    path = table(tmp_path, "class_dict.csv", "name,r,g,b\nroad,1,2,3\ncar,1,2,3\n")
    assert read_class_table(path).num_classes == 2
    with pytest.raises(ValueError, match=r"csv: 'road' and 'car' have the same colour \(1, 2, 3\)"):
        load_table(path).grouping()


def test_find_table(tmp_path):
    inner = tmp_path / "inner"
    inner.mkdir()
    table(tmp_path, "class_dict.csv", KAGGLE)
    assert label_spaces.find_table([inner]) is None
    assert label_spaces.find_table([inner, tmp_path]) == tmp_path / "class_dict.csv"
    table(inner, "labels.txt", "a")
    assert label_spaces.find_table([inner, tmp_path]) == inner / "labels.txt"


def test_written_class_dict_gives_the_same_classes(tmp_path):
    space = label_spaces.get("camvid11")
    path = write_class_dict(tmp_path / "class_dict.csv", space)
    again = read_class_table(path)
    assert (again.classes, again.colors) == (space.classes, space.colors)
    assert again.ignore_color == space.ignore_color
    assert load_table(path).grouping().colors == label_spaces.by_color(space).colors
    with pytest.raises(ValueError, match="is there already"):
        write_class_dict(path, space)
    cityscapes = label_spaces.by_color(label_spaces.get("cityscapes"))
    write_class_dict(path, cityscapes, overwrite=True)
    assert load_table(path).grouping().train_ids == cityscapes.train_ids
    assert [p.name for p in tmp_path.iterdir()] == ["class_dict.csv"]


def test_by_color():
    space = label_spaces.from_names(["road", "car"], colors=[ROAD, CAR], ignore_color=VOID)
    groups = label_spaces.by_color(space)
    assert (groups.colors, groups.train_ids) == ((ROAD, CAR, VOID), (0, 1, 255))
    black = label_spaces.from_names(["ground", "car"], colors=[(0, 0, 0), CAR])
    assert label_spaces.by_color(black).train_ids == (0, 1)  # black is a class, not void
    cityscapes = label_spaces.by_color(label_spaces.get("cityscapes"))
    # Pole groups look like poles there, licence plates like cars: a class wins.
    rows = sorted(label_spaces.table("cityscapes")["raw"], key=lambda row: not row["ignore"])
    drawn = {tuple(row["color"]): row["train_id"] % 256 for row in rows}
    assert dict(zip(cityscapes.colors, cityscapes.train_ids, strict=True)) == drawn
    with pytest.raises(ValueError, match="same colour"):
        label_spaces.by_color(label_spaces.get("ade20k"))


# Text that gets past the first checks, mixed with any bytes.
_PIECES = st.sampled_from(
    ["name", "r", "g", "b", ",", ";", ":", "::", "\n", "\r\n", "\t", " ", "0", "128", "255", "256",
     "-1", "void", "__ignore__", "road", '"', "#", "{", "}", "[", "]", '"color"', '"name"', '"id"',
     "null", "1e999", "\x00", "\x85", "\ud800", "é"]
)  # fmt: skip


@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.sampled_from(label_spaces.class_tables.TABLE_FILES),
    st.one_of(
        st.binary(max_size=200),
        st.lists(_PIECES, max_size=40).map(lambda p: "".join(p).encode("utf-8", "surrogatepass")),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
            lambda inner: (
                st.lists(inner, max_size=4)
                | st.dictionaries(
                    st.sampled_from(["name", "color", "id", "classes", "colors", "ids"]),
                    inner,
                    max_size=6,
                )
            ),
            max_leaves=12,
        ).map(lambda value: json.dumps(value).encode()),
    ),
)
@example("label_space.json", b'{"name": "a", "classes": ["a"], "colors": [[1, 1, 1e999]]}')
@example("classes.json", b'[{"name": "a", "id": ' + b"9" * 5000 + b"}]")
def test_garbage_gives_value_errors_only(tmp_path_factory, name, content):
    path = tmp_path_factory.getbasetemp() / name
    path.write_bytes(content)
    try:
        loaded = load_table(path)
        space = loaded.label_space()
        assert loaded.grouping().label_space == space
    except ValueError as error:
        assert str(path) in str(error) or "same colour" in str(error)
