"""Pascal VOC, and folders in its style: classes, lists, encodings, and what is refused."""

from __future__ import annotations

import os
import shutil

import numpy as np
import pytest
from PIL import Image

from keras_focusseg import data, label_spaces
from keras_focusseg.data.sources.pascal_voc import PascalVOC
from tests.data import layouts


@pytest.fixture
def voc(tmp_path):
    return layouts.make_pascal_voc(tmp_path / "unpacked")


@pytest.fixture
def cvat(tmp_path):
    return layouts.make_pascal_voc(tmp_path / "export", style="cvat", masks="rgb")


def names(source):
    return [source.sample_name(i) for i in range(len(source))]


def ids_of(source, index):
    with Image.open(source.files(index)[1]) as picture:
        assert picture.mode in ("P", "L")
        return np.asarray(picture)


class TestVOC:
    def test_table(self):
        space = label_spaces.get("voc")
        assert space.classes == ("background", *layouts.VOC_NAMES)
        palette = layouts.voc_palette()  # by the bit rule
        np.testing.assert_array_equal(space.palette()[:21], palette[:21])
        assert space.ignore_color == tuple(palette[255]) == (224, 224, 192)
        assert (space.ids, space.ignored_ids) == (tuple(range(21)), (255,))

    def test_official(self, voc):
        for place in (voc, voc / "VOCdevkit", voc / "VOCdevkit" / "VOC2012"):
            train, val = PascalVOC(place), PascalVOC(place, "val")
            assert names(train) == ["2007_000032", "2007_000033", "2007_000034"]
            assert names(val) == ["2007_000035", "2007_000036"]
            assert PascalVOC.splits(place) == ("train", "val") and PascalVOC.recognizes(place)
        assert names(PascalVOC(voc, "trainval")) == names(PascalVOC(voc, "train+val"))
        assert train.layout == "SegmentationClass (VOC's 21 ids), lists, 3 pairs"
        sample = train.load(1)
        np.testing.assert_array_equal(sample.mask, ids_of(train, 1))  # 255 stays 255
        assert sample.image.shape == (*layouts.SIZE, 3) and (sample.mask == 255).any()

    def test_augmented_masks(self, tmp_path):
        root = layouts.make_pascal_voc(tmp_path, masks="grey")
        base = root / "VOCdevkit" / "VOC2012"
        folder = base / "ImageSets" / "SegmentationAug"
        folder.mkdir()
        (folder / "train_aug.txt").write_text(
            "".join(
                f"/JPEGImages/2007_{n:06}.jpg /SegmentationClassAug/2007_{n:06}.png\n"
                for n in (32, 34)
            )
        )
        source = PascalVOC(root, "train_aug", masks="SegmentationClassAug")
        assert names(source) == ["2007_000032", "2007_000034"]
        assert source.layout.startswith("SegmentationClassAug (VOC's 21 ids)")
        np.testing.assert_array_equal(source.load_mask(0), PascalVOC(root).load_mask(0))

    def test_masks_in_vocs_colours(self, voc):
        source = PascalVOC(voc)
        expected = [source.load_mask(i) for i in range(3)]
        for index in range(3):
            layouts.save(source.files(index)[1], layouts.voc_palette()[ids_of(source, index)])
        again = PascalVOC(voc)
        assert "VOC's colours" in again.layout
        for index in range(3):
            np.testing.assert_array_equal(again.load_mask(index), expected[index])

    def test_splits_without_labels_are_not_listed(self, voc):
        folder = voc / "VOCdevkit" / "VOC2012" / "ImageSets" / "Segmentation"
        (folder / "test.txt").write_text("2008_000006\n")
        assert PascalVOC.splits(voc) == ("train", "val")

    def test_own_label_space(self, voc):
        space = label_spaces.from_names([f"class {i}" for i in range(21)])
        source = PascalVOC(voc, label_space=space)
        assert source.label_space is space and "ids of label space 'custom'" in source.layout
        assert PascalVOC(voc, label_space="voc").label_space == label_spaces.get("voc")


class TestInItsStyle:
    @pytest.mark.parametrize("masks", ["rgb", "palette"])
    def test_labelmap(self, tmp_path, masks):
        root = layouts.make_pascal_voc(tmp_path, style="cvat", masks=masks)
        source = PascalVOC(root, "default")
        assert PascalVOC.splits(root) == ("default",)
        assert source.label_space.classes == ("background", "road", "zebra crossing")
        assert source.label_space.colors[1] == (128, 64, 128)
        assert source.layout == "SegmentationClass (colours of labelmap.txt), lists, 3 pairs"
        with Image.open(source.files(0)[1]) as picture:
            colors = np.asarray(picture.convert("RGB"))
        mask = source.load_mask(0)
        assert set(np.unique(mask)) == {0, 1, 2}
        np.testing.assert_array_equal(mask == 2, (colors == (250, 250, 55)).all(-1))

    def test_labelmap_of_voc_with_borders(self, cvat):
        """Datumaro calls the colour of VOC's borders "ignored"."""
        with open(cvat / "labelmap.txt", "a") as file:
            file.write("ignored:224,224,192::\n")
        path = PascalVOC(cvat, "default").files(0)[1]
        with Image.open(path) as picture:
            colors = np.asarray(picture).copy()
        colors[:4] = (224, 224, 192)
        layouts.save(path, colors)
        source = PascalVOC(cvat, "default")
        assert source.label_space.num_classes == 3 and (source.load_mask(0)[:4] == 255).all()

    def test_labelmap_with_masks_of_one_channel(self, cvat):
        source = PascalVOC(cvat, "default")
        expected = [source.load_mask(i) for i in range(3)]
        for index in range(3):
            layouts.save(source.files(index)[1], expected[index])
        again = PascalVOC(cvat, "default")
        assert "ids of 3 classes in labelmap.txt" in again.layout
        np.testing.assert_array_equal(again.load_mask(2), expected[2])

    def test_labelmes_names(self, cvat):
        (cvat / "labelmap.txt").unlink()
        (cvat / "class_names.txt").write_text("_background_\nroad\nzebra\n")
        source = PascalVOC(cvat, "default")
        rgb = source.files(0)[1]
        with pytest.raises(data.DataError, match=rf"{rgb.name}: the mask has mode 'RGB'"):
            source.load(0)
        ids = layouts.blocks(np.random.default_rng(0), 3)
        layouts.save_palette(rgb, ids, layouts.voc_palette())
        source = PascalVOC(cvat, "default")
        assert source.label_space.classes[1:] == ("road", "zebra")
        np.testing.assert_array_equal(source.load_mask(0), ids)

    def test_labelmes_arrays_are_not_its_masks(self, cvat):
        (cvat / "SegmentationClass").rename(cvat / "SegmentationClassPNG")
        (cvat / "SegmentationClass").mkdir()
        (cvat / "SegmentationClass" / "default_0.npy").write_bytes(b"")
        assert PascalVOC(cvat, "default").files(0)[1].parent.name == "SegmentationClassPNG"

    def test_no_lists(self, cvat):
        shutil.rmtree(cvat / "ImageSets")
        assert PascalVOC.splits(cvat) == ("all",)
        source = PascalVOC(cvat, "all")
        assert len(source) == 3 and "no lists, paired by name" in source.layout
        with pytest.raises(data.DataError, match="no split 'train'; it has 'all'"):
            PascalVOC(cvat, "train")

    def test_names_with_spaces_folders_and_other_suffixes(self, cvat):
        listed = cvat / "ImageSets" / "Segmentation" / "default.txt"
        for folder, suffix in (("JPEGImages", ".jpg"), ("SegmentationClass", ".png")):
            (cvat / folder / "day 1").mkdir()
            (cvat / folder / f"default_0{suffix}").rename(
                cvat / folder / "day 1" / f"frame 0.5{suffix.upper()}"
            )
        listed.write_text("day 1/frame 0.5\ndefault_1.jpg\n")
        source = PascalVOC(cvat, "default")
        assert names(source) == ["day 1/frame 0.5", "default_1"]
        assert source.load(0).image.shape == (*layouts.SIZE, 3)


class TestDamage:
    @pytest.mark.parametrize("which", [0, 1])
    def test_listed_without_partner(self, voc, which):
        files = PascalVOC(voc).files(1)
        files[which].unlink()
        message = r"train\.txt, line 2: '2007_000033' is listed, but not in .*strict"
        with pytest.raises(data.DataError, match=message):
            PascalVOC(voc)
        source = PascalVOC(voc, strict=False)
        assert names(source) == ["2007_000032", "2007_000034"]
        assert source.unpaired == [files[1 - which]]
        assert source.layout.endswith("2 pairs, 1 without partner left out")

    def test_near_name(self, cvat):
        mask = PascalVOC(cvat, "default").files(0)[1]
        mask.rename(mask.with_name("Default_0.png"))
        with pytest.raises(data.DataError, match=r"There is 'Default_0': the names must be equal"):
            PascalVOC(cvat, "default")

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"split": "test"}, "no split 'test'; it has 'train', 'val', 'trainval'"),
            ({"split": "train+trainval"}, r"'2007_000032'.* stand twice in 'train\+trainval'"),
            ({"masks": "../x"}, "expected the name of a folder beside JPEGImages"),
            ({"masks": "Masks"}, r"is not there; .* looked for 'Masks'\. Unpack"),
            ({"label_space": "coco"}, "no label space 'coco'"),
        ],
    )
    def test_wrong_choice(self, voc, options, message):
        with pytest.raises(data.DataError, match=message):
            PascalVOC(voc, **options)

    def test_export_without_images(self, cvat):
        shutil.rmtree(cvat / "JPEGImages")
        assert not PascalVOC.recognizes(cvat) and PascalVOC.splits(cvat) == ()
        with pytest.raises(data.DataError, match=r"image folder is not there.*with its images"):
            PascalVOC(cvat, "default")

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("road:128,64::\n", r"labelmap\.txt.*colour"),
            ("road:1,2,3::\ncar:1,2,3::\n", "same colour"),
            ("void:0,0,0::\n", r"no class"),
        ],
    )
    def test_labelmap_that_is_none(self, cvat, text, message):
        (cvat / "labelmap.txt").write_text(text)
        with pytest.raises(data.DataError, match=message):
            PascalVOC(cvat, "default")

    def test_colour_outside_the_labelmap(self, cvat):
        text = (cvat / "labelmap.txt").read_text().replace("zebra crossing:250", "zebra:251")
        (cvat / "labelmap.txt").write_text(text)
        with pytest.raises(data.DataError, match=r"\.png: \d+ of 768 pixels .*\(250, 250, 55\)"):
            PascalVOC(cvat, "default").load(0)

    def test_names_do_not_lead_out(self, voc):
        folder = voc / "VOCdevkit" / "VOC2012" / "ImageSets" / "Segmentation"
        (folder / "val.txt").write_text("../../../../etc/passwd\n")
        with pytest.raises(data.DataError, match=r"val\.txt, line 1: .*passwd' is listed, but"):
            PascalVOC(voc, "val")

    @pytest.mark.skipif(os.name == "nt", reason="links need rights on Windows")
    @pytest.mark.parametrize("what", ["mask", "list", "folder"])
    def test_links_out_of_the_root_are_refused(self, voc, tmp_path, what):
        base = voc / "VOCdevkit" / "VOC2012"
        path = {
            "mask": base / "SegmentationClass" / "2007_000032.png",
            "list": base / "ImageSets" / "Segmentation" / "train.txt",
            "folder": base / "JPEGImages",
        }[what]
        path.rename(tmp_path / "outside")
        path.symlink_to(tmp_path / "outside")
        with pytest.raises(data.DataError, match=r"is a link to .*outside, outside"):
            PascalVOC(voc)
