"""COCO's annotations against masks painted by hand, and what is wrong with a file is named."""

from __future__ import annotations

import copy
import json
import os
import unicodedata

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from keras_focusseg import data
from keras_focusseg.data import COCO, DataError
from keras_focusseg.data.sources.polygons import coco
from tests.data.conftest import refused
from tests.pictures.test_shapes import packed

HEIGHT, WIDTH = 8, 10


def box(x0, y0, x1, y1):
    return [[x0, y0, x1, y0, x1, y1, x0, y1]]


CONTENT = {
    "info": {"description": "toy"},
    "images": [
        {"id": 7, "file_name": "b.jpg", "height": HEIGHT, "width": WIDTH},
        {"id": 3, "file_name": "a.jpg", "height": HEIGHT, "width": WIDTH},
    ],
    "categories": [
        {"id": 18, "name": "dog", "supercategory": "animal"},
        {"id": 2, "name": "car", "supercategory": "vehicle"},
    ],
    "annotations": [
        # The small one comes first and stays on top of the large one.
        {"id": 1, "image_id": 7, "category_id": 18, "iscrowd": 0, "segmentation": box(3, 3, 5, 5)},
        {"id": 2, "image_id": 7, "category_id": 2, "iscrowd": 0, "area": 1,
         "segmentation": box(1, 1, 7, 6)},
        # A crowd, down the columns: rows 6 and 7 of columns 5 to 9.
        {"id": 3, "image_id": 7, "category_id": 18, "iscrowd": 1,
         "segmentation": {"size": [8, 10], "counts": [46, 2, 6, 2, 6, 2, 6, 2, 6, 2]}},
    ],
}  # fmt: skip
BY_HAND_CAR = np.pad(np.ones((2, 2), bool), ((3, 3), (3, 5)))
BY_HAND = np.array(
    [list(row) for row in (
        "0000000000",
        "0111111000",
        "0111111000",
        "0112211000",
        "0112211000",
        "0111111000",
        "0000022222",
        "0000022222",
    )]
).astype("uint8")  # fmt: skip


def write(root, content=CONTENT, json_path="annotations/instances_val2017.json", images="val2017"):
    path = root / json_path
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    for name in ("a.jpg", "b.jpg"):
        (root / images).mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (WIDTH, HEIGHT), (40, 50, 60)).save(root / images / name)
    return root


def changed(*path_and_value):
    """The content with one value replaced, or removed if it is None."""
    *path, value = path_and_value
    content = copy.deepcopy(CONTENT)
    inner = content
    for key in path[:-1]:
        inner = inner[key]
    if value is None:
        del inner[path[-1]]
    else:
        inner[path[-1]] = value
    return content


class TestMasks:
    def test_by_hand(self, tmp_path):
        source = COCO(write(tmp_path), "val")
        assert source.label_space.classes == ("background", "car", "dog")
        assert source.label_space.colors[0] == (0, 0, 0)
        assert [source.sample_name(i) for i in range(2)] == ["b", "a"]
        sample = source.load(0)
        np.testing.assert_array_equal(sample.mask, BY_HAND)
        assert sample.image.shape == (HEIGHT, WIDTH, 3) and sample.mask.dtype == np.uint8
        np.testing.assert_array_equal(source.load_mask(0), BY_HAND)
        assert not source.load(1).mask.any()  # no annotation: background
        assert source.files(0) == (tmp_path / "val2017" / "b.jpg", source.json)
        assert source.layout == (
            "annotations/instances_val2017.json, 2 categories, 2 images, 1 without objects"
        )

    def test_background_may_be_ignored(self, tmp_path):
        source = COCO(write(tmp_path), "val", background=None)
        assert source.label_space.classes == ("car", "dog")
        assert set(np.unique(source.load_mask(0))) == {0, 1, 255}
        assert (source.load_mask(1) == 255).all()

    def test_category_called_background(self, tmp_path):
        content = changed("categories", 0, "name", "Background")
        source = COCO(write(tmp_path, content), "val")
        assert source.label_space.classes == ("Background", "car")
        assert set(np.unique(source.load_mask(0))) == {0, 1}

    def test_a_crowd_lies_below_larger_objects(self, tmp_path):
        content = changed("annotations", 2, "segmentation", "counts", [17, 2, 61])  # column 2
        assert COCO(write(tmp_path, content), "val").load_mask(0)[1:3, 2].tolist() == [1, 1]

    def test_crowds_may_be_ignored(self, tmp_path):
        mask = COCO(write(tmp_path), "val", crowd="ignored").load_mask(0)
        assert (mask[7, 6:] == 255).all() and mask[4, 4] == 2
        with pytest.raises(DataError, match="crowd is 'no'"):
            COCO(tmp_path, "val", crowd="no")

    def test_packed_runs_are_the_same_as_plain_ones(self, tmp_path):
        plain = COCO(write(tmp_path / "plain"), "val").load_mask(0)
        text = packed([46, 2, 6, 2, 6, 2, 6, 2, 6, 2]).decode()
        content = changed("annotations", 2, "segmentation", "counts", text)
        np.testing.assert_array_equal(
            COCO(write(tmp_path / "packed", content), "val").load_mask(0), plain
        )

    def test_parts_of_one_object_are_joined(self, tmp_path):
        parts = box(0, 0, 4, 4) + box(2, 2, 6, 6)
        mask = COCO(
            write(tmp_path, changed("annotations", 1, "segmentation", parts)), "val"
        ).load_mask(0)
        assert mask[2, 2] == 1 and (mask == 1).sum() == 28 - 4  # the dog covers 4 of them

    def test_size_is_checked_against_the_image(self, tmp_path):
        content = changed("images", 0, "width", 11)
        del content["annotations"][2]  # runs, which say the size themselves
        write(tmp_path, content)
        for read in (COCO(tmp_path, "val").load, COCO(tmp_path, "val").load_mask):
            with pytest.raises(DataError, match=r"b\.jpg: the image is 10 x 8, but .* says 11 x 8"):
                read(0)
        write(tmp_path, changed("images", 0, {"id": 7, "file_name": "b.jpg"}))
        np.testing.assert_array_equal(COCO(tmp_path, "val").load_mask(0)[1:4, 0], 0)

    def test_turned_image(self, tmp_path):
        write(tmp_path)
        exif = Image.Exif()
        exif[0x0112] = 6
        Image.new("RGB", (WIDTH, HEIGHT)).save(tmp_path / "val2017" / "b.jpg", exif=exif)
        with pytest.raises(DataError, match="is 8 x 10, but .*turned upright by its EXIF"):
            COCO(tmp_path, "val").load_mask(0)

    def test_numbers_are_packed_while_parsing(self, tmp_path):
        source = COCO(write(tmp_path), "val")
        outline = source._pictures[0].objects[0].outline
        assert isinstance(outline, tuple) and outline[0].dtype == np.float32


class TestLayouts:
    @pytest.mark.parametrize(
        ("json_path", "images", "split"),
        [
            ("annotations/instances_val2017.json", "val2017", "val"),
            ("annotations/instances_val2017.json", "images/val2017", "val"),
            ("annotations/instances_val.json", "images/val", "val"),
            ("coco/annotations/instances_val.json", "coco/val", "val"),
            ("annotations/val.json", "images", "val"),
            ("valid/_annotations.coco.json", "valid", "val"),
            ("annotations/instances_default.json", "images", "all"),
            ("_annotations.coco.json", ".", "all"),
        ],
    )
    def test_found(self, tmp_path, json_path, images, split):
        write(tmp_path, CONTENT, json_path, images)
        assert COCO.recognizes(tmp_path) and COCO.splits(tmp_path) == (split,)
        source = data.open_source("coco", tmp_path, split)
        assert len(source) == 2 and source.load(0).mask[4, 4] == 2
        with pytest.raises(
            DataError, match=f"no COCO annotations of split 'train'; .*'{split[:3]}"
        ):
            COCO(tmp_path, "train")

    def test_named_files(self, tmp_path):
        write(tmp_path, CONTENT, "about/them.json", "photos")
        assert not COCO.recognizes(tmp_path)
        source = COCO(tmp_path, "x", annotations="about/them.json", images="photos")
        assert len(source) == 2 and source.split == "x"
        with pytest.raises(DataError, match="annotation file is not there"):
            COCO(tmp_path, annotations="none.json")
        with pytest.raises(DataError, match="outside"):
            COCO(tmp_path / "photos", annotations="../about/them.json")

    def test_other_json_is_not_recognised(self, tmp_path):
        write(tmp_path, {"shapes": []}, "annotations/val.json", "images")
        assert not COCO.recognizes(tmp_path)
        for path in (tmp_path / "none", tmp_path / "images" / "a.jpg", "\0"):
            assert not COCO.recognizes(path)

    def test_missing_files(self, tmp_path):
        write(tmp_path)
        (tmp_path / "val2017" / "a.jpg").unlink()
        with pytest.raises(DataError, match=r"image 3: its file .*a\.jpg is not there"):
            COCO(tmp_path, "val")
        source = COCO(tmp_path, "val", strict=False)
        assert len(source) == 1 and source.unpaired == [tmp_path / "val2017" / "a.jpg"]
        assert source.layout.endswith("0 without objects, 1 without file left out")
        (tmp_path / "val2017" / "b.jpg").unlink()
        with pytest.raises(DataError, match="lists no image that is there"):
            COCO(tmp_path, "val", strict=False)

    def test_pictures_that_are_not_listed_are_said(self, tmp_path):
        write(tmp_path)
        Image.new("RGB", (4, 4)).save(tmp_path / "val2017" / "c.png")
        source = COCO(tmp_path, "val")
        assert len(source) == 2 and not source.unpaired
        assert source.layout.endswith(", 1 pictures beside them that it does not list")

    @pytest.mark.parametrize(
        "file_name",
        ["C:\\work\\b.jpg", "/home/x/b.jpg", "//server/share/b.jpg", "old/b.jpg", "../x/b.jpg"],
    )
    def test_stale_path_is_found_by_its_name(self, tmp_path, file_name):
        write(tmp_path, changed("images", 0, "file_name", file_name))
        source = COCO(tmp_path, "val")
        assert source.files(0)[0] == tmp_path / "val2017" / "b.jpg"

    def test_two_entries_of_one_file(self, tmp_path):
        write(tmp_path, changed("images", 0, "file_name", "old/a.jpg"))
        with refused("broken annotation", match="image 3: its file .* is that of image 7 as well"):
            COCO(tmp_path, "val")

    @pytest.mark.parametrize("listed", ["NFC", "NFD"])
    def test_accents_of_either_form(self, tmp_path, listed):
        on_disk = "NFD" if listed == "NFC" else "NFC"
        name = unicodedata.normalize(listed, "allée/é.jpg")
        write(tmp_path, changed("images", 0, "file_name", name))
        folder = tmp_path / "val2017" / unicodedata.normalize(on_disk, "allée")
        folder.mkdir()
        (tmp_path / "val2017" / "b.jpg").rename(folder / unicodedata.normalize(on_disk, "é.jpg"))
        source = COCO(tmp_path, "val")
        np.testing.assert_array_equal(source.load(0).mask, BY_HAND)
        assert source.sample_name(0) == "allée/é" and len(source.layout) < 90

    @pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
    def test_other_encodings(self, tmp_path, encoding):
        write(tmp_path, changed("categories", 0, "name", "chien né"), "annotations/val.json", "val")
        path = tmp_path / "annotations" / "val.json"
        path.write_bytes(
            json.dumps(json.loads(path.read_text()), ensure_ascii=False).encode(encoding)
        )
        assert data.recognize(tmp_path) == "coco"
        assert COCO(tmp_path, "val").label_space.classes[2] == "chien né"

    def test_an_encoding_that_cannot_be_known_is_named(self, tmp_path):
        write(tmp_path)
        path = tmp_path / "annotations" / "instances_val2017.json"
        path.write_bytes(path.read_bytes().replace(b"dog", b"chien n\xe9"))
        with refused("text in another encoding", path, "Save it as UTF-8"):
            COCO(tmp_path, "val")

    @pytest.mark.skipif(os.name == "nt", reason="links need rights on Windows")
    def test_links_out_of_the_root(self, tmp_path):
        write(tmp_path / "root")
        (tmp_path / "root" / "val2017").rename(tmp_path / "outside")
        (tmp_path / "root" / "val2017").symlink_to(tmp_path / "outside")
        with pytest.raises(DataError, match="outside"):
            COCO(tmp_path / "root", "val")

    def test_roboflows_first_category_is_no_class(self, tmp_path):
        content = changed("categories", 0, {"id": 0, "name": "pets", "supercategory": "none"})
        content["categories"] += [{"id": 18, "name": "dog", "supercategory": "pets"}]
        content["categories"][1]["supercategory"] = "pets"
        assert COCO(write(tmp_path, content), "val").label_space.classes[1:] == ("car", "dog")


class TestWrong:
    @pytest.mark.parametrize(
        ("content", "message"),
        [
            ([], "holds a list of 0 entries|holds \\[\\]; expected a JSON object"),
            ({}, "has no 'categories'; expected a list"),
            (changed("images", 3), "'images' is 3; expected a list"),
            (changed("images", []), "lists no images"),
            (changed("annotations", None), "has no 'annotations'"),
            (changed("categories", []), "has no categories"),
            (changed("images", 0, "x"), "image at place 0: is 'x'"),
            (changed("images", 0, "id", None), "image at place 0: has no 'id'"),
            (changed("images", 0, "id", 3), "image 3: its id .* is there twice"),
            (changed("images", 0, "file_name", "a.jpg"), "'a.jpg' is there twice"),
            (changed("images", 0, "file_name", 3), "image 7: 'file_name' is 3; expected text"),
            (changed("images", 0, "file_name", "../../etc/passwd"), "leads out of the folder"),
            (changed("images", 0, "file_name", "..\\..\\x.jpg"), "leads out of the folder"),
            (changed("images", 0, "file_name", "/etc/passwd"), "no relative path"),
            (changed("images", 0, "file_name", "C:\\x.jpg"), "no relative path"),
            (changed("images", 0, "file_name", "a\0.jpg"), "no relative path"),
            (changed("images", 0, "file_name", "\ud800.jpg"), "no relative path"),
            (changed("images", 0, "width", -3), r"image 7: is -3 x 8"),
            (changed("images", 0, "width", 10**9), "expected 1 to"),
            (changed("images", 0, "width", "10"), "'width' is '10'; expected a whole number"),
            (changed("categories", 0, "id", 2), "category 1: id 2 is also that of 'dog'"),
            (changed("categories", 0, "name", "car"), "appear twice: \\['car'\\]"),
            (changed("categories", 0, "id", True), "'id' is True; expected a whole number"),
            (changed("annotations", 0, "image_id", 99), "annotation 1: its image_id 99 is in no"),
            (changed("annotations", 0, "category_id", 99), "category_id 99 is no category.*'2'"),
            (changed("annotations", 0, "category_id", None), "annotation 1: has no 'category_id'"),
            (changed("annotations", 0, "segmentation", []), "annotation 1: has no outline"),
            (changed("annotations", 0, "segmentation", None), "annotation 1: has no outline"),
            (changed("annotations", 0, 5), "annotation at place 0: is 5"),
        ],
    )
    def test_entry_is_named(self, tmp_path, content, message):
        with pytest.raises(DataError, match=message) as caught:
            COCO(write(tmp_path, content), "val")
        assert "instances_val2017.json" in str(caught.value)

    @pytest.mark.parametrize(
        ("outline", "message"),
        [
            ("x", "its segmentation is 'x'"),
            ([[1, 2, 3, 4]], "of 3 points or more"),
            ([[1, 2, 3, 4, 5, 6, 7]], "x and y in turn"),
            ([[1, 2, 3, 4, 5, "6"]], "no point; expected two numbers"),
            ([[1, 2, 3, 4, 5, float("nan")]], "no point"),
            ([[1, 2, 3, 4, 5, float("inf")]], "no point"),
            ([[1, 2, 3, 4, 5, 10**400]], "no point"),
            ([[1, 2, 3, 4, True, 5]], "no point"),
            ([3], r"its segmentation is \[3\]; expected polygons"),
            ([1, 1, 9, 1, 9, 9], r"its segmentation is \[1, 1, .*; expected polygons"),
            ([None], "a polygon of its segmentation is None"),
            ({"counts": [80]}, "its runs are for size None; the image has"),
            ({"size": [10, 8], "counts": [80]}, r"for size \[10, 8\]"),
            ({"size": [8, 10], "counts": [79]}, "add up to 79; expected 10 x 8 = 80"),
            ({"size": [8, 10], "counts": [81, -1]}, "the counts of its runs are"),
            ({"size": [8, 10], "counts": [10**30]}, "the counts of its runs are"),
            ({"size": [8, 10], "counts": None}, "the counts of its runs are None"),
            ({"size": [8, 10], "counts": "é"}, "a character that cannot occur"),
            ({"size": [8, 10], "counts": "o"}, "in the middle of a number"),
        ],
    )
    def test_outline_is_refused_when_the_file_is_opened(self, tmp_path, outline, message):
        write(tmp_path, changed("annotations", 0, "segmentation", outline))
        with pytest.raises(DataError, match=message) as caught:
            COCO(tmp_path, "val")
        error = caught.value
        assert error.file == tmp_path / "annotations" / "instances_val2017.json"
        assert error.part == "annotation 1" and "strict=False" in error.fix
        # Left out, the dog uncovers the car below it.
        source = COCO(tmp_path, "val", strict=False)
        assert source.layout.endswith(", 1 broken outlines left out")
        assert [fault.part for fault in source.faults] == ["annotation 1"]
        np.testing.assert_array_equal(source.load_mask(0), np.where(BY_HAND_CAR, 1, BY_HAND))

    def test_bad_parts_alone_are_left_out(self, tmp_path):
        """Annotation tools write points and lines by themselves."""
        parts = [[26, 31, 50, 31], [2, 2], [], *box(3, 3, 5, 5), [1, 1, 4]]
        write(tmp_path, changed("annotations", 0, "segmentation", parts))
        with refused("degenerate outline", "instances_val2017.json", "annotation 1: .*3 points"):
            COCO(tmp_path, "val")
        source = COCO(tmp_path, "val", strict=False)
        np.testing.assert_array_equal(source.load_mask(0), BY_HAND)
        assert source.layout.endswith("4 broken outlines left out")

    def test_annotations_of_nothing_are_left_out(self, tmp_path):
        for place, value in (("image_id", 99), ("category_id", 99), ("category_id", None)):
            write(tmp_path, changed("annotations", 0, place, value))
            source = COCO(tmp_path, "val", strict=False)
            assert source.layout.endswith("1 annotations of nothing that is there left out")
            assert source.faults[0].part == "annotation 1"

    def test_a_checkup_says_what_was_left_out(self, tmp_path):
        write(tmp_path, changed("annotations", 0, "segmentation", [[1, 2, 3, 4]]))
        report = data.check("coco", tmp_path, ["val"])
        (found,) = (f for f in report.findings if f.kind == "degenerate outline")
        assert report.exit_code == 1 and found.examples[0].value.startswith("annotation 1: ")
        assert found.examples[0].file == "annotations/instances_val2017.json"

    def test_boxes_alone_may_be_left_out(self, tmp_path):
        write(tmp_path, changed("annotations", 0, "segmentation", []))
        source = COCO(tmp_path, "val", strict=False)
        assert source.layout.endswith("1 annotations without outline left out")
        assert source.load_mask(0)[4, 4] == 1

    @pytest.mark.parametrize(
        ("text", "message"),
        [(b"{", "is not JSON"), (b"\xe9", "another encoding than UTF-8"),
         (b"[" * 10**5, "is not JSON"),
         (b"[" + b"1" * 5000 + b"]", "is not JSON"), (b"7", "expected a JSON object")],
    )  # fmt: skip
    def test_no_json(self, tmp_path, text, message):
        write(tmp_path)
        (tmp_path / "annotations" / "instances_val2017.json").write_bytes(text)
        with pytest.raises(DataError, match=rf"instances_val2017\.json: .*{message}"):
            COCO(tmp_path, "val")

    def test_too_large(self, tmp_path, monkeypatch):
        monkeypatch.setattr(coco, "MAX_JSON", 10)
        with pytest.raises(DataError, match="at most 10 are read"):
            COCO(write(tmp_path), "val")


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4)
    | st.sampled_from([3, 7, 2, 18, "a.jpg", "b.jpg", "../a.jpg", [[0, 0, 9, 0, 9, 9]], [8, 10]]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(
        st.sampled_from(["id", "image_id", "category_id", "segmentation", "size", "counts", "name",
                         "file_name", "height", "width", "iscrowd", "supercategory"]),
        inner, max_size=6),
    max_leaves=15,
)  # fmt: skip


def paths_in(value, path=()):
    """Every place in the content."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in items if not isinstance(value, (str, int)) else ():
        if isinstance(inner, (dict, list)):
            yield from paths_in(inner, (*path, key))
        else:
            yield (*path, key)


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.lists(
        st.tuples(st.sampled_from([p for p in paths_in(CONTENT) if p]), _VALUES),
        min_size=1,
        max_size=3,
    )
)
def test_garbage_gives_data_errors_only(tmp_path_factory, changes):
    root = tmp_path_factory.getbasetemp() / "coco"
    if not root.exists():
        write(root)
        (root.parent / "a.jpg").write_bytes(b"outside")
    content = copy.deepcopy(CONTENT)
    for path, value in changes:
        inner = content
        try:
            for key in path[:-1]:
                inner = inner[key]
            inner[path[-1]] = value
        except (TypeError, KeyError, IndexError):
            continue  # an earlier change has taken the place away
    (root / "annotations" / "instances_val2017.json").write_text(json.dumps(content))
    try:
        source = COCO(root, "val")
        for i in range(len(source)):
            image, mask, _ = source.load(i)
            assert image.shape[:2] == mask.shape
            assert set(np.unique(mask)) <= {*range(source.label_space.num_classes), 255}
            assert source.files(i)[0].resolve().is_relative_to(root.resolve())
    except DataError as error:
        str(error).encode()
