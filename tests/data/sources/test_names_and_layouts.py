"""Layouts, names and masks as people have them beside what the benchmarks' own archives hold."""

from __future__ import annotations

import base64
import io
import json
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from keras_focusseg import data, label_spaces
from keras_focusseg.data.sources.camvid_frames import split_frames
from tests.data import layouts
from tests.data.conftest import refused

IDS = np.array([[0, 0, 1, 1], [0, 2, 2, 1], [0, 0, 0, 0]], "uint8")
PHOTO = np.full((*IDS.shape, 3), 90, "uint8")


def pair(image: Path, mask: Path, ids: np.ndarray = IDS) -> None:
    layouts.save(image, PHOTO)
    layouts.save(mask, ids)


class TestFolders:
    @pytest.mark.parametrize(
        ("images", "masks", "split"),
        [
            ("img_dir/train", "ann_dir/train", "train"),
            ("img_dir/val", "ann_dir/val", "val"),
            ("my_set/img_dir/train", "my_set/ann_dir/train", "train"),
            ("imgs", "gts", "all"),
            ("RGB", "GT", "all"),
            ("images_prepped_train", "annotations_prepped_train", "train"),
            ("images_prepped_test", "annotations_prepped_test", "test"),
            ("train_img", "train_label", "train"),
            ("val_img", "val_label", "val"),
            ("img_train", "lbl_train", "train"),
            ("TrainImages", "TrainGroundTruth", "train"),
            ("ISIC2018_Task1-2_Training_Input", "ISIC2018_Task1_Training_GroundTruth", "train"),
            ("train/rgb", "train/gts", "train"),
            ("Train/Imgs", "Train/GT", "train"),
            ("image_dir", "label_dir", "all"),
            ("rgb_images", "semantic_labels", "all"),
            ("CameraRGB", "CameraSeg", "all"),
            ("original", "mask", "all"),
            ("color", "gt_labels", "all"),
            ("train_x", "train_y", "train"),
            ("val_images_prepped", "val_annotations_prepped", "val"),
            ("trainimages", "trainmasks", "train"),
            ("training/image_2", "training/semantic", "train"),
            ("default", "defaultannot", "default"),
        ],
    )
    def test_recognised(self, tmp_path, images, masks, split):
        for name in "ab":
            pair(tmp_path / images / f"{name}.png", tmp_path / masks / f"{name}.png")
        (tmp_path / "README.md").write_text("about")
        assert data.recognize(tmp_path) == "folder" and data.splits("auto", tmp_path) == (split,)
        source = data.open_folder(tmp_path, split)
        assert [s.name for s in source] == ["a", "b"]
        np.testing.assert_array_equal(source.load(0).mask, IDS)

    def test_both_splits_by_name(self, tmp_path):
        for split in ("train", "test"):
            folders = (f"images_prepped_{split}", f"annotations_prepped_{split}")
            pair(*(tmp_path / folder / f"{split}.png" for folder in folders))
        assert data.splits("auto", tmp_path) == ("train", "test")
        assert [s.name for s in data.open_folder(tmp_path, "test")] == ["test"]

    @pytest.mark.parametrize("images", ["train_img", "leftImg8bit", "images/train"])
    def test_cityscapes_names(self, tmp_path, images):
        """With the files that its archive has beside the ids."""
        masks = {"train_img": "train_label", "leftImg8bit": "gtFine"}.get(images, "masks/train")
        for number in range(2):
            stem = f"aachen_00000{number}_000019"
            pair(
                tmp_path / images / f"{stem}_leftImg8bit.png",
                tmp_path / masks / f"{stem}_gtFine_labelIds.png",
                np.array([[7, 26], [1, 255]], "uint8").repeat(2, 1)[:, :4],
            )
            layouts.save(tmp_path / images / f"{stem}_leftImg8bit.png", PHOTO[:2])
            base = tmp_path / masks / f"{stem}_gtFine"
            layouts.save(Path(f"{base}_instanceIds.png"), IDS.astype("uint16"))
            layouts.save(Path(f"{base}_color.png"), PHOTO)
        source = data.open_source("auto", tmp_path, "all" if masks == "gtFine" else "train")
        assert source.label_space == label_spaces.get("cityscapes") and len(source) == 2
        assert source.load(0).mask[:, ::2].tolist() == [[0, 13], [255, 255]]
        assert "by the names of the files" in source.layout


class TestAccents:
    """Archives that were packed on a Mac have names in which accents are characters apart."""

    @pytest.mark.parametrize("layout", ["folder", "together", "voc", "camvid"])
    def test_images_and_masks_of_two_forms(self, tmp_path, layout):
        name = "Straße é"
        apart, one = (unicodedata.normalize(form, name) for form in ("NFD", "NFC"))
        assert apart != one
        if layout == "folder":
            pair(tmp_path / "images" / apart / "1.png", tmp_path / "masks" / one / "1.png")
            source = data.open_folder(tmp_path, "all")
        elif layout == "together":
            pair(tmp_path / f"{apart}.png", tmp_path / f"{one}_mask.png")
            source = data.open_folder(tmp_path, "all")
        elif layout == "voc":
            pair(
                tmp_path / "JPEGImages" / f"{apart}.png",
                tmp_path / "SegmentationClass" / f"{one}.png",
            )
            (tmp_path / "ImageSets" / "Segmentation").mkdir(parents=True)
            (tmp_path / "ImageSets" / "Segmentation" / "train.txt").write_text(apart)
            source = data.PascalVOC(tmp_path, "train")
        else:
            pair(tmp_path / "train" / f"{apart}.png", tmp_path / "trainannot" / f"{one}.png")
            (tmp_path / "train.txt").write_text(f'"/x/train/{one}.png" "/x/trainannot/{apart}.png"')
            source = data.CamVid(tmp_path)
        assert source.sample_name(0).startswith(one) and len(source) == 1
        np.testing.assert_array_equal(source.load(0).mask, IDS)

    def test_one_name_in_both_forms_is_refused(self, tmp_path):
        for form in ("NFC", "NFD"):
            name = unicodedata.normalize(form, "é.png")
            pair(tmp_path / "images" / name, tmp_path / "masks" / name)
        with refused("two files of one name", match="form of its accents"):
            data.open_folder(tmp_path, "all")

    @pytest.mark.parametrize("on_disk", ["NFC", "NFD"])
    def test_typed_in_another_form_than_on_disk(self, tmp_path, on_disk):
        """Each path that a source is given: roots, folders, files, and the name of a split."""
        there, typed = (
            [unicodedata.normalize(form, word) for word in ("Übung", "bilder/é", "ö", "pré.json")]
            for form in (on_disk, "NFD" if on_disk == "NFC" else "NFC")
        )
        root = tmp_path / there[0]
        pair(root / there[1] / there[2] / "a.png", root / "masks" / there[2] / "a.png")
        (root / f"{there[2]}.txt").write_text("a\nb\nc")
        write_labelme(root / "labelme" / there[2] / "a.json", "a.png")
        layouts.save(root / "labelme" / there[2] / "a.png", PHOTO)
        images = [{"id": 1, "file_name": "a.png", "height": 3, "width": 4}]
        content = {"images": images, "categories": [{"id": 1, "name": "car"}], "annotations": []}
        (root / there[3]).write_text(json.dumps(content))
        folders = {"images": typed[1], "masks": "masks"}
        opened = tmp_path / typed[0]
        assert (opened != root) and not opened.exists()
        for split in ("all", typed[2]):
            assert len(data.open_source("folder", opened, split, **folders)) == 1
        paths = {"images": f"{typed[1]}/{typed[2]}", "annotations": typed[3]}
        assert len(data.COCO(opened, "all", **paths)) == 1
        assert len(data.Labelme(opened / "labelme", typed[2])) == 1
        pairs = opened / typed[1], opened / "masks"
        assert data.Folder(*pairs, table=opened / f"{typed[2]}.txt").label_space.num_classes == 3
        with refused("folder that is not there", match="Übüng: the root folder is not there"):
            data.recognize(tmp_path / "Übüng")

    def test_the_home_folder(self, tmp_path, monkeypatch):
        monkeypatch.setenv("HOME", str(tmp_path))
        pair(tmp_path / "own" / "images" / "a.png", tmp_path / "own" / "masks" / "a.png")
        assert len(data.open_source("auto", "~/own", "all")) == 1

    def test_labelme(self, tmp_path):
        apart, one = (unicodedata.normalize(form, "é") for form in ("NFD", "NFC"))
        (tmp_path / "labels.txt").write_text(f"__ignore__\n{apart}\n", "utf-8")
        write_labelme(tmp_path / "a.json", f"{one}.png", label=one)
        layouts.save(tmp_path / f"{apart}.png", PHOTO)
        assert data.Labelme(tmp_path, "all").load(0).mask.any()


def write_labelme(path: Path, image_path: object, label: str = "car", **more: object) -> None:
    shape = {"label": label, "points": [[0, 0], [3, 0], [3, 2]], "shape_type": "polygon"}
    content = {
        "shapes": [shape], "imagePath": image_path, "imageData": None, "imageHeight": 3,
        "imageWidth": 4, **more,
    }  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")


class TestLabelmePaths:
    @pytest.mark.parametrize(
        "named",
        [
            "p0.png",
            "C:\\Users\\ann\\photos\\p0.png",
            "C:p0.png",
            "/home/x/p0.png",
            "\\\\server\\share\\p0.png",
            "//server/share/p0.png",
            "file:///home/x/p0.png",
            "..\\old\\p0.png",
            "../../../p0.png",
            "old/p0.png/",
            "C:\\old\\p0.png\\",
            " p0.png ",
            "p0.jpg",  # converted since
            "P0.PNG",
            "IMG_0001.jpg",  # both renamed since
            "",
            ".",
            "..",
            "/",
            "C:\\",
            None,
        ],
    )
    def test_the_picture_beside_the_json_is_found(self, tmp_path, named):
        layouts.save(tmp_path / "p0.png", np.zeros((5, 5, 3), "uint8"))  # outside the root
        root = tmp_path / "root"
        layouts.save(root / "in" / "p0.png", PHOTO)
        write_labelme(root / "in" / "p0.json", named)
        source = data.Labelme(root, "all")
        assert source.files(0)[0] == root / "in" / "p0.png"
        assert source.load(0).image.shape == (3, 4, 3)

    @pytest.mark.parametrize("named", ["C:\\x\\p0.png", "/x/p0.png", "../x/p0.png"])
    def test_and_in_a_folder_of_images(self, tmp_path, named):
        layouts.save(tmp_path / "Images" / "train" / "p0.png", PHOTO)
        write_labelme(tmp_path / "annotations" / "train" / "other.json", named)
        assert data.Labelme(tmp_path, "train").files(0)[0].name == "p0.png"

    def test_the_image_in_the_json_serves_where_there_is_no_file(self, tmp_path):
        buffer = io.BytesIO()
        Image.fromarray(PHOTO).save(buffer, "PNG")
        text = base64.b64encode(buffer.getvalue()).decode()
        write_labelme(tmp_path / "p0.json", "", imageData=text)
        assert data.Labelme(tmp_path, "all").load(0).image.shape == (3, 4, 3)

    def test_two_json_files_of_one_image(self, tmp_path):
        layouts.save(tmp_path / "p0.png", PHOTO)
        write_labelme(tmp_path / "p0.json", "p0.png")
        write_labelme(tmp_path / "p1.json", "/old/p0.png")
        with refused("broken annotation", tmp_path / "p1.json", "is that of .*p0.json as well"):
            data.Labelme(tmp_path, "all")

    def test_shapes_are_judged_when_opened(self, tmp_path):
        layouts.save(tmp_path / "p0.png", PHOTO)
        good = {"label": "car", "points": [[0, 0], [4, 0], [4, 2], [0, 2]]}
        bad = {"label": "car", "points": [[0, 2], [1, 2]]}
        write_labelme(tmp_path / "p0.json", "p0.png", shapes=[good, bad])
        with refused("degenerate outline", tmp_path / "p0.json", "shape 1: a polygon needs 3"):
            data.Labelme(tmp_path, "all")
        source = data.Labelme(tmp_path, "all", strict=False)
        assert source.layout.endswith("1 shapes left out")
        assert source.load(0).mask.sum() == 8
        report = data.check("labelme", tmp_path)
        assert "degenerate outline" in [found.kind for found in report.findings]

    @pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-be"])
    def test_other_encodings(self, tmp_path, encoding):
        layouts.save(tmp_path / "p0.png", PHOTO)
        path = tmp_path / "p0.json"
        write_labelme(path, "p0.png", label="été", padding="x" * (1 << 17))
        path.write_bytes(path.read_text("utf-8").encode(encoding))
        source = data.open_source("auto", tmp_path, "all")
        assert source.label_space.classes == ("background", "été")
        path.write_bytes(path.read_bytes().decode(encoding).encode("latin-1"))
        with refused("text in another encoding", path):
            data.open_source("auto", tmp_path, "all")


class TestADE20K:
    def test_sample_archive(self, tmp_path):
        """Flat, `ADE_val_` in the names: 0 is unlabelled, the others one too high."""
        for number in (1, 2):
            name = f"ADE_val_{number:08}"
            layouts.save(tmp_path / "sample" / "images" / f"{name}.jpg", PHOTO)
            layouts.save(tmp_path / "sample" / "annotations" / f"{name}.png", IDS)
        for root in (tmp_path / "sample", tmp_path):
            assert data.recognize(root) == "ade20k" and data.splits("auto", root) == ("val",)
        source = data.open_source("auto", tmp_path, "val")
        assert source.label_space == label_spaces.get("ade20k")
        assert source.load(0).mask.tolist() == [
            [255, 255, 0, 0], [255, 1, 1, 0], [255, 255, 255, 255],
        ]  # fmt: skip

    @pytest.mark.parametrize("masks", ["masks", "labels"])
    def test_its_masks_in_other_folders(self, tmp_path, masks):
        name = "ADE_train_00000001"
        layouts.save(tmp_path / "images" / f"{name}.jpg", PHOTO)
        layouts.save(tmp_path / masks / f"{name}.png", IDS)
        source = data.open_source("auto", tmp_path, "all")
        assert source.label_space == label_spaces.get("ade20k")
        assert source.load(0).mask[0].tolist() == [255, 255, 0, 0]

    @pytest.mark.parametrize(
        ("image", "mask"),
        [
            ("images/training/a/abbey/{}.jpg", "images/training/a/abbey/{}_seg.png"),
            (
                "ADE20K_2021_17_01/images/ADE/training/urban/street/{}.jpg",
                "ADE20K_2021_17_01/images/ADE/training/urban/street/{}_seg.png",
            ),
            ("{}.jpg", "{}_seg.png"),
            ("images/{}.jpg", "masks/{}_seg.png"),
            ("images/train/{}.jpg", "annotations/train/{}.png"),
        ],
    )
    def test_full_dataset_is_named(self, tmp_path, image, mask):
        for number in (1, 2):
            name = f"ADE_train_{number:08}"
            layouts.save(tmp_path / image.format(name), PHOTO)
            codes = np.stack([IDS * 10, IDS, IDS], -1)  # class in red and green, object in blue
            layouts.save(tmp_path / mask.format(name), codes)
        with refused("another dataset", match="full ADE20K.*Get ADEChallengeData2016.zip"):
            data.open_source("auto", tmp_path, "train")
        assert data.check("auto", tmp_path).exit_code == 1


class TestSegNetTrees:
    COLORS = np.array([(0, 0, 0), (10, 200, 30), (250, 0, 90)], "uint8")

    @pytest.mark.parametrize("frames", [("a", "b"), ("0001TP_006690", "0001TP_006720")])
    @pytest.mark.parametrize("split", ["train", "default"])
    def test_cvats_camvid(self, tmp_path, frames, split):
        """Masks in the colours of `label_colors.txt`, lists with paths from the root on."""
        lines = []
        for frame in frames:
            layouts.save(tmp_path / split / f"{frame}.png", PHOTO)
            layouts.save(tmp_path / f"{split}annot" / f"{frame}.png", self.COLORS[IDS])
            lines.append(f"/{split}/{frame}.png /{split}annot/{frame}.png\n")
        (tmp_path / f"{split}.txt").write_text("".join(lines))
        names = ("background", "grass", "roof")
        rows = [f"{r} {g} {b} {n}\n" for (r, g, b), n in zip(self.COLORS, names, strict=True)]
        (tmp_path / "label_colors.txt").write_text("".join(rows))
        for name in ("camvid", "auto"):
            source = data.open_source(name, tmp_path, split)
            assert source.label_space.classes == names and "label_colors.txt" in source.layout
            np.testing.assert_array_equal(source.load(1).mask, IDS)

    def test_camvids_own_colours(self, tmp_path):
        root = layouts.make_camvid_segnet(tmp_path)
        groups = label_spaces.grouping("camvid32", "segnet")
        rng = np.random.default_rng(0)
        for path in root.glob("*annot/*.png"):
            layouts.save(path, layouts.camvid_label(rng))
        pairs = zip(groups.colors, groups.names, strict=True)
        rows = [f"{r} {g} {b}\t{n}\n" for (r, g, b), n in pairs]
        for table in ("", "".join(rows)):
            if table:
                (root / "label_colors.txt").write_text(table)
            source = data.open_source("auto", root, "train")
            assert source.label_space == label_spaces.get("camvid11")
            assert "32 colours, grouping 'segnet'" in source.layout
            assert set(np.unique(source.load(0).mask)) == {*range(11), 255}


class TestSplitsThatAreSaid:
    def test_part_of_the_official_split(self, tmp_path):
        for make in (layouts.make_camvid_kaggle, layouts.make_camvid_lists):
            root = make(tmp_path / make.__name__)
            source = data.open_camvid(root, "val")
            assert "at random" not in source.note
        assert "2 of the 101 frames of the official split" in source.note

    def test_part_of_the_official_split_in_kaggles_folders(self, tmp_path):
        rng = np.random.default_rng(0)
        for split in ("train", "val", "test"):
            for frame in split_frames(split)[:3]:
                layouts.save(tmp_path / split / f"{frame}.png", layouts.picture(rng))
                mask = layouts.camvid_label(rng)
                layouts.save(tmp_path / f"{split}_labels" / f"{frame}_L.png", mask)
        for split, count in (("train", 367), ("test", 233)):
            note = data.open_camvid(tmp_path, split).note
            assert f"3 of the {count} frames of the official split" in note
            assert "at random" not in note and "do not compare" in note


class TestNamesInVOCTrees:
    @pytest.fixture
    def root(self, tmp_path):
        for name in ("street_1", "street_2"):
            pair(
                tmp_path / "JPEGImages" / f"{name}.png",
                tmp_path / "SegmentationClass" / f"{name}.png",
            )
        return tmp_path

    def test_vocs_names_are_said(self, root):
        source = data.open_source("auto", root, "all")
        assert source.label_space.classes[1] == "aeroplane"
        assert "named after Pascal VOC's 21" in source.note and source.note in repr(source)
        official = layouts.make_pascal_voc(root / "official")
        assert not data.PascalVOC(official, "train").note

    @pytest.mark.parametrize(
        ("file", "text"),
        [
            ("labelmap.txt", "sky:0,0,0::\nroad:9,9,9::\ncar:1,2,3::\n"),
            ("classes.txt", "sky\nroad\ncar\n"),
            ("class_names.txt", "sky\nroad\ncar\n"),
            ("labels.txt", "sky\nroad\ncar\n"),
            ("class_dict.csv", "name,r,g,b\nsky,0,0,0\nroad,9,9,9\ncar,1,2,3\n"),
            ("classes.json", '["sky", "road", "car"]'),
            ("classes.json", '{"2": "car", "0": "sky", "1": "road"}'),
            ("classes.json", '{"sky": 0, "road": 1, "car": 2}'),
            ("classes.json", '{"classes": ["sky", "road", "car"], "palette": [[0, 0, 0], '
             '[9, 9, 9], [1, 2, 3]]}'),
            ("dataset_meta.json", '{"label_map": {"0": "sky", "1": "road", "2": "car"}, '
             '"segmentation_colors": [[0, 0, 0], [9, 9, 9], [1, 2, 3]], "background_label": "0"}'),
        ],
    )  # fmt: skip
    def test_names_come_from_a_class_file(self, root, file, text):
        for encoding in ("utf-8", "utf-16"):
            (root / file).write_text(text, encoding)
            source = data.PascalVOC(root, "all")
            assert source.label_space.classes == ("sky", "road", "car") and not source.note
            assert file in source.layout
            np.testing.assert_array_equal(source.load(0).mask, IDS)


def test_lists_as_windows_writes_them(tmp_path):
    root = layouts.make_camvid_segnet(tmp_path)
    for path in root.glob("*.txt"):
        path.write_text(path.read_text(), "utf-16")
    assert len(data.CamVid(root)) == 3


def test_stray_pixels_are_allowed_only_where_there_is_such_an_option(tmp_path):
    stray = np.zeros((*IDS.shape, 3), "uint8")
    stray[0, 0] = 9
    layouts.save(tmp_path / "images" / "a.png", PHOTO)
    layouts.save(tmp_path / "masks" / "a.png", stray)
    (tmp_path / "class_dict.csv").write_text("name,r,g,b\nsky,0,0,0\n")
    with refused("colours outside the table", tmp_path / "masks" / "a.png") as caught:
        data.open_folder(tmp_path, "all").load(0)
    assert "stray" not in caught.value.fix
    root = layouts.make_camvid_lists(tmp_path / "camvid")
    source = data.open_camvid(root)
    layouts.save(source.files(0)[1], np.full((*layouts.SIZE, 3), 9, "uint8"))
    with refused("colours outside the table", match="max_stray="):
        source.load(0)
