"""Labelme's JSON files against masks painted by hand, and what is wrong with one is named."""

from __future__ import annotations

import base64
import copy
import io
import json
import os

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from keras_focusseg import data, label_spaces
from keras_focusseg.data import DataError, Labelme
from keras_focusseg.data.sources.polygons import labelme

HEIGHT, WIDTH = 8, 10


def encoded(array, image_format="PNG"):
    buffer = io.BytesIO()
    Image.fromarray(np.asarray(array)).save(buffer, image_format)
    return base64.b64encode(buffer.getvalue()).decode()


def shape(label, points, shape_type="polygon", **more):
    return {"label": label, "points": points, "shape_type": shape_type, "flags": {}, **more}


SHAPES = [
    shape("car", [[1, 1], [7, 1], [7, 6], [1, 6]]),
    shape("dog", [[5, 5], [3, 3]], "rectangle"),
    shape("__ignore__", [[8, 0], [10, 0], [10, 2], [8, 2]], None),
    shape("dog", [[7, 6], [9, 7]], "mask", mask=encoded(np.array([[1, 0, 1], [1, 1, 1]], bool))),
]
BY_HAND = np.array(
    [list(row) for row in (
        "0000000099",
        "0111111099",
        "0111111000",
        "0112211000",
        "0112211000",
        "0111111000",
        "0000000202",
        "0000000222",
    )]
).astype("uint8")  # fmt: skip
BY_HAND[BY_HAND == 9] = 255


def content(shapes=SHAPES, image_path="a.jpg", **more):
    return {
        "version": "5.4.1", "flags": {}, "shapes": shapes, "imagePath": image_path,
        "imageData": None, "imageHeight": HEIGHT, "imageWidth": WIDTH, **more,
    }  # fmt: skip


def photo(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (WIDTH, HEIGHT), (40, 50, 60)).save(path)


def write(root, name="a", value=None, image=True):
    root.mkdir(parents=True, exist_ok=True)
    (root / f"{name}.json").write_text(json.dumps(content() if value is None else value))
    if image:
        photo(root / f"{name}.jpg")
    return root


class TestMasks:
    def test_by_hand(self, tmp_path):
        source = Labelme(write(tmp_path), "all")
        assert source.label_space.classes == ("background", "car", "dog")
        sample = source.load(0)
        np.testing.assert_array_equal(sample.mask, BY_HAND)
        np.testing.assert_array_equal(source.load_mask(0), BY_HAND)
        assert sample.image.shape == (HEIGHT, WIDTH, 3) and sample.name == "a"
        assert source.files(0) == (tmp_path / "a.jpg", tmp_path / "a.json")
        assert source.layout == "Labelme JSON, 2 labels found in 1 files, 1 images"

    def test_later_shapes_lie_on_top(self, tmp_path):
        write(tmp_path, value=content([SHAPES[1], SHAPES[0]]))
        mask = Labelme(tmp_path, "all").load_mask(0)
        assert (mask == 1).sum() == 30 and not (mask == 2).any()

    @pytest.mark.parametrize(
        ("drawn", "options", "rows"),
        [
            (shape("x", [[2.5, 2.5], [2.5, 4.5]], "circle"), {},
             ["0010000000", "0111000000", "1111100000", "0111000000", "0010000000"]),
            (shape("x", [[2.5, 2.5]], "point"), {"point_radius": 1},
             ["0000000000", "0010000000", "0111000000", "0010000000", "0000000000"]),
            (shape("x", [[2.1, 2.5], [5.9, 2.5]], "line"), {"line_width": 1},
             ["0000000000", "0000000000", "0011110000", "0000000000", "0000000000"]),
            (shape("x", [[0.5, 0.5], [3.5, 0.5], [3.5, 3.5]], "linestrip"), {"line_width": 1},
             ["1111000000", "0001000000", "0001000000", "0001000000", "0000000000"]),
        ],
    )  # fmt: skip
    def test_other_shapes(self, tmp_path, drawn, options, rows):
        write(tmp_path, value=content([drawn]))
        mask = Labelme(tmp_path, "all", **options).load_mask(0)
        assert ["".join(map(str, row)) for row in mask[:5]] == rows and not mask[5:].any()

    def test_widths_are_labelmes_unless_said(self, tmp_path):
        shapes = [shape("x", [[0, 4], [10, 4]], "line")]
        write(tmp_path, value=content(shapes))
        assert (Labelme(tmp_path, "all").load_mask(0) == 1).all()
        with pytest.raises(DataError, match="line_width is 0"):
            Labelme(tmp_path, "all", line_width=0)

    def test_background_may_be_ignored(self, tmp_path):
        source = Labelme(write(tmp_path), "all", background=None)
        assert source.label_space.classes == ("car", "dog")
        expected = np.array([255, 0, 1] + [0] * 252 + [255])[BY_HAND]
        np.testing.assert_array_equal(source.load_mask(0), expected)

    def test_image_in_the_json(self, tmp_path):
        image = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), "uint8")
        write(tmp_path, value=content(imageData=encoded(image)), image=False)
        source = Labelme(tmp_path, "all")
        np.testing.assert_array_equal(source.load(0).image, image)
        np.testing.assert_array_equal(source.load_mask(0), BY_HAND)
        assert source.files(0) == (tmp_path / "a.json",)

    def test_size_is_checked_against_the_image(self, tmp_path):
        source = Labelme(write(tmp_path, value=content(imageWidth=11)), "all")
        for read in (source.load, source.load_mask):
            with pytest.raises(DataError, match=r"a\.jpg: the image is 10 x 8, but .*says 11 x 8"):
                read(0)
        exif = Image.Exif()
        exif[0x0112] = 6
        Image.open(tmp_path / "a.jpg").save(tmp_path / "a.jpg", exif=exif)
        with pytest.raises(DataError, match="turned upright by its EXIF"):
            Labelme(write(tmp_path, value=content(SHAPES[:3]), image=False), "all").load(0)
        source = Labelme(write(tmp_path, value=content(imageHeight=None)), "all")
        np.testing.assert_array_equal(source.load_mask(0), BY_HAND)


class TestClasses:
    def test_labels_file(self, tmp_path):
        write(tmp_path)
        (tmp_path / "labels.txt").write_text("__ignore__\n_background_\ndog\ncat\ncar\n")
        source = Labelme(tmp_path, "all")
        assert source.label_space.classes == ("_background_", "dog", "cat", "car")
        assert source.layout == "Labelme JSON, 4 labels from labels.txt, 1 images"
        expected = np.array([0, 3, 1] + [0] * 252 + [255])[BY_HAND]
        np.testing.assert_array_equal(source.load_mask(0), expected)
        (tmp_path / "labels.txt").write_text("dog\ncar\n")
        assert Labelme(tmp_path, "all").label_space.classes == ("background", "dog", "car")
        (tmp_path / "labels.txt").write_text("dog\n")
        with pytest.raises(
            DataError, match=r"a\.json: shape 0: has label 'car', which is no class"
        ):
            Labelme(tmp_path, "all")

    def test_table_with_colours(self, tmp_path):
        write(tmp_path)
        (tmp_path / "class_dict.csv").write_text("name,r,g,b\ncar,1,2,3\ndog,4,5,6\n")
        space = Labelme(tmp_path, "all").label_space
        assert dict(zip(space.classes, space.colors, strict=True)) == {
            "background": (0, 0, 0), "car": (1, 2, 3), "dog": (4, 5, 6)
        }  # fmt: skip

    def test_label_space(self, tmp_path):
        space = label_spaces.from_names(["dog", "background", "car"])
        source = Labelme(write(tmp_path), "all", label_space=space)
        assert source.label_space == space
        expected = np.array([1, 2, 0] + [0] * 252 + [255])[BY_HAND]
        np.testing.assert_array_equal(source.load_mask(0), expected)

    def test_splits_have_the_same_classes(self, tmp_path):
        write(tmp_path / "train", value=content(SHAPES[:1]))
        write(tmp_path / "valid", value=content(SHAPES[1:2]))
        train, val = Labelme(tmp_path, "train"), Labelme(tmp_path, "val")
        assert train.label_space == val.label_space
        assert (train.load_mask(0).max(), val.load_mask(0).max()) == (1, 2)
        assert Labelme.splits(tmp_path) == ("train", "val") and Labelme.recognizes(tmp_path)

    def test_nothing_to_learn(self, tmp_path):
        write(tmp_path, value=content([]))
        with pytest.raises(DataError, match="no label at all"):
            Labelme(tmp_path, "all", background=None)


class TestFiles:
    @pytest.mark.parametrize(
        ("json_folder", "image", "named"),
        [
            ("all/json", "all/images/a.jpg", "..\\images\\a.jpg"),
            ("json", "images/a.jpg", "../images/a.jpg"),
            ("annotations", "images/a.jpg", "a.jpg"),
            ("annotations/train", "images/train/a.jpg", "somewhere/else/a.jpg"),
        ],
    )
    def test_json_in_a_folder_of_its_own(self, tmp_path, json_folder, image, named):
        write(tmp_path / json_folder, value=content(image_path=named), image=False)
        photo(tmp_path / image)
        source = data.open_source("labelme", tmp_path, "all")
        assert [str(p.relative_to(tmp_path.resolve())) for p in source.files(0)] == [
            image, f"{json_folder}/a.json"
        ]  # fmt: skip
        np.testing.assert_array_equal(source.load(0).mask, BY_HAND)

    def test_split_in_annotations(self, tmp_path):
        write(tmp_path / "labels" / "val", value=content(image_path="a.jpg"), image=False)
        photo(tmp_path / "images" / "val" / "a.jpg")
        assert Labelme.splits(tmp_path) == ("val",)
        assert len(Labelme(tmp_path, "val")) == 1
        with pytest.raises(
            DataError, match="split 'test' is not there; found the folders 'images'"
        ):
            Labelme(tmp_path, "test")

    def test_partners(self, tmp_path):
        write(tmp_path)
        photo(tmp_path / "b.jpg")
        with pytest.raises(DataError, match=r"1 images have no JSON file: 'b\.jpg'"):
            Labelme(tmp_path, "all")
        write(tmp_path, "c", content(image_path="c.jpg"), image=False)
        with pytest.raises(DataError, match=r"c\.json: its image 'c\.jpg' is not there"):
            Labelme(tmp_path, "all")
        source = Labelme(tmp_path, "all", strict=False)
        assert len(source) == 1
        assert source.unpaired == [tmp_path / "c.json", tmp_path / "b.jpg"]
        assert source.layout.endswith("1 images, 2 without partner left out")

    @pytest.mark.parametrize(
        ("named", "message"),
        [
            ("../../outside.jpg", "is not there, .*outside of which nothing is read"),
            ("/etc/passwd", "is not there"),
            ("C:\\x.jpg", "is not there"),
            ("", "is not there"),
            ("a\0.jpg", "is no path"),
            (3, "'imagePath' is 3; expected text"),
        ],
    )
    def test_nothing_outside_is_read(self, tmp_path, named, message):
        photo(tmp_path / "outside.jpg")
        write(tmp_path / "root" / "in", value=content(image_path=named), image=False)
        with pytest.raises(DataError, match=rf"a\.json: .*{message}"):
            Labelme(tmp_path / "root", "all")

    @pytest.mark.skipif(os.name == "nt", reason="links need rights on Windows")
    def test_links_out_of_the_root(self, tmp_path):
        photo(tmp_path / "outside.jpg")
        write(tmp_path / "root", image=False)
        (tmp_path / "root" / "a.jpg").symlink_to(tmp_path / "outside.jpg")
        with pytest.raises(DataError, match="outside"):
            Labelme(tmp_path / "root", "all")

    def test_not_recognised(self, tmp_path):
        (tmp_path / "a.json").write_text('{"images": []}')
        for path in (tmp_path, tmp_path / "none", tmp_path / "a.json", "\0"):
            assert not Labelme.recognizes(path) and Labelme.splits(path) == ()
        with pytest.raises(DataError, match=r"a\.json: has no 'shapes'"):
            Labelme(tmp_path, "all")
        (tmp_path / "a.json").unlink()
        with pytest.raises(DataError, match="no JSON file there"):
            Labelme(tmp_path, "all")


class TestWrong:
    @pytest.mark.parametrize(
        ("value", "message"),
        [
            ([], "expected a JSON object"),
            (content(3), "'shapes' is 3; expected a list"),
            (content([3]), "shape 0: is 3; expected an object"),
            (content([{"points": []}]), "shape 0: has no 'label'"),
            (content([shape(" ", [])]), "shape 0: its label is empty"),
            (content([shape("x", [], "blob")]), "shape 0: shape_type is 'blob'; it can be"),
            (content([shape("x", None)]), "shape 0: the points are None"),
            (content([shape("x", [[1, 2], [3, 4]])]), "a polygon needs 3 points or more, it has 2"),
            (content([shape("x", [[1, 2]], "rectangle")]), "a rectangle needs 2 points"),
            (content([shape("x", [[1, 2, 3]], "point")]), r"\[1, 2, 3\] is no point"),
            (content([shape("x", [[1, float("nan")]], "point")]), "is no point"),
            (content([shape("x", [[0, 0], [1, 1]], "mask")]), "shape 0: has no 'mask'"),
            (content([{**SHAPES[3], "mask": "!"}]), "shape 0: mask: is no base64"),
            (content([{**SHAPES[3], "mask": "aGVsbG8="}]), "shape 0: mask: the mask cannot be"),
            (content([{**SHAPES[3], "points": [[0, 0], [3, 3]]}]), "its mask is 3 x 2, its points"),
            (content([{**SHAPES[3], "points": [[8, 6], [10, 7]]}]), "out of the image of 10 x 8"),
            (content([{**SHAPES[3], "points": [[-1, 6], [1, 7]]}]), "out of the image"),
        ],
    )
    def test_shape_is_named(self, tmp_path, value, message):
        with pytest.raises(DataError, match=rf"a\.json: .*{message}"):
            Labelme(write(tmp_path, value=value), "all").load_mask(0)

    @pytest.mark.parametrize(
        ("text", "message"),
        [("!!", "imageData: is no base64"), (3, "imageData: is 3; expected base64"),
         (encoded(np.zeros((2, 2), "uint16"), "TIFF"), "imageData: the image has mode"),
         ("aGVsbG8=", "imageData: the image cannot be read")],
    )  # fmt: skip
    def test_broken_image_data(self, tmp_path, text, message):
        write(tmp_path, value=content(imageData=text), image=False)
        with pytest.raises(DataError, match=rf"a\.json: {message}"):
            Labelme(tmp_path, "all").load(0)

    def test_limits(self, tmp_path, monkeypatch):
        write(tmp_path)
        monkeypatch.setattr(labelme, "MAX_JSON", 10)
        with pytest.raises(DataError, match="at most 10 are read"):
            Labelme(tmp_path, "all")


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4)
    | st.sampled_from(["car", "mask", "circle", "line", "points", "../a.jpg", "a.jpg", [[0, 9]],
                       [[0, 0], [2, 1]], encoded(np.ones((2, 3), bool))]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(
        st.sampled_from(["label", "points", "shape_type", "mask", "imagePath", "shapes"]), inner,
        max_size=5),
    max_leaves=12,
)  # fmt: skip
_PLACES = [("shapes",), ("imagePath",), ("imageData",), ("imageHeight",), ("imageWidth",)] + [
    ("shapes", i, key)
    for i in range(len(SHAPES))
    for key in ("label", "points", "shape_type", "mask")
]


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.tuples(st.sampled_from(_PLACES), _VALUES), min_size=1, max_size=3))
def test_garbage_gives_data_errors_only(tmp_path_factory, changes):
    root = tmp_path_factory.getbasetemp() / "labelme"
    if not root.exists():
        write(root)
        photo(root.parent / "a.jpg")
    value = copy.deepcopy(content())
    for path, new in changes:
        inner = value
        try:
            for key in path[:-1]:
                inner = inner[key]
            inner[path[-1]] = new
        except (TypeError, KeyError, IndexError):
            continue  # an earlier change has taken the place away
    (root / "a.json").write_text(json.dumps(value))
    try:
        source = Labelme(root, "all", line_width=3)
        image, mask, _ = source.load(0)
        assert image.shape[:2] == mask.shape
        assert set(np.unique(mask)) <= {*range(source.label_space.num_classes), 255}
        assert source.files(0)[0].resolve().is_relative_to(root.resolve())
    except DataError as error:
        str(error).encode()
