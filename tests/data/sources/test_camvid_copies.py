"""CamVid as people have it: which copy it is, whose split it has, and what it refuses."""

from __future__ import annotations

import os
import shutil

import numpy as np
import pytest
from PIL import Image

from keras_focusseg import data, label_spaces
from keras_focusseg.data.sources.camvid import (
    CamVidCopy,
    camvid_splits,
    open_camvid,
    recognizes_camvid,
)
from keras_focusseg.data.sources.camvid_frames import split_frames
from tests.data import layouts
from tests.data.conftest import refused

WHOLE = {"train": 369, "val": 100, "test": 232}
"""Kaggle's counts."""


@pytest.fixture(scope="module")
def kaggle(tmp_path_factory):
    """All 701 frames in Kaggle's folders; not to be changed."""
    return layouts.make_camvid_kaggle(tmp_path_factory.mktemp("kaggle"), WHOLE, size=(8, 16))


def names(source):
    return [source.sample_name(i) for i in range(len(source))]


def expected_mask(source, index, grouping="segnet"):
    """The mask of a label image, by the table of colours alone."""
    groups = label_spaces.grouping("camvid32", grouping)
    with Image.open(source.files(index)[1]) as label:
        colors = np.asarray(label.convert("RGB"))
    place = (colors[..., None, :] == np.array(groups.colors)).all(-1).argmax(-1)
    return np.array(groups.train_ids)[place]


class TestWhichCopy:
    @pytest.mark.parametrize(
        ("make", "kind", "said"),
        [
            (layouts.make_camvid_segnet, data.CamVid, "SegNet's copy with lists"),
            (layouts.make_camvid_original, data.CamVid720, "701_StillsRaw_full with Labeled"),
            (layouts.make_camvid_lists, CamVidCopy, "images with labels/*_L.png, lists 'train"),
            (layouts.make_camvid_fastai, CamVidCopy, "labels/*_P.png, lists 'valid.txt' (32 ids)"),
            (layouts.make_camvid_kaggle, CamVidCopy, "Kaggle's folders (32 colours)"),
        ],
    )
    def test_opens_as(self, tmp_path, make, kind, said):
        root = make(tmp_path / "unpacked" / "CamVid")
        for place in (root, root.parent):
            source = open_camvid(place, "val")
            assert type(source) is kind and said in source.layout
            assert f"{len(source)} pairs" in source.layout
            assert source.label_space == label_spaces.get("camvid11")
            sample = source.load(0)
            assert set(np.unique(sample.mask)) == {*range(11), 255}  # each class is drawn
            np.testing.assert_array_equal(source.load_mask(0), sample.mask)

    def test_nothing_there_says_what_could_be(self, tmp_path):
        (tmp_path / "photos").mkdir()
        with pytest.raises(data.DataError, match=r"found 'photos'.*SegNet.*Kaggle"):
            open_camvid(tmp_path)
        with pytest.raises(data.DataError, match=r"the CamVid folder is not there"):
            open_camvid(tmp_path / "CamVid")
        assert not recognizes_camvid(tmp_path) and camvid_splits(tmp_path) == ()

    def test_images_and_labels_without_lists_are_the_original_frames(self, tmp_path):
        layouts.make_camvid_original(tmp_path, ["val"], folders=("images", "labels"))
        source = open_camvid(tmp_path, "val")
        assert type(source) is data.CamVid720 and names(source) == split_frames("val")
        assert source.note == "32 colours, grouping 'segnet'"
        assert open_camvid(tmp_path, "val", grouping="mathworks").note.endswith("'mathworks'")

    @pytest.mark.parametrize("make", [layouts.make_camvid_segnet, layouts.make_camvid_kaggle])
    def test_names_of_other_frames_are_not_recognised(self, tmp_path, make):
        root = make(tmp_path)
        for path in [p for p in root.rglob("*.png")]:
            path.rename(path.with_name(f"mine_{path.name}"))
        assert not recognizes_camvid(root)

    def test_options_that_do_not_apply(self, tmp_path):
        root = layouts.make_camvid_segnet(tmp_path)
        assert len(open_camvid(root, grouping="segnet", official_split=True)) == 3
        with pytest.raises(data.DataError, match="masks hold 11 classes"):
            open_camvid(root, grouping="mathworks")

    @pytest.mark.shared
    def test_the_real_one(self, shared_dir):
        root = shared_dir / "data" / "camvid"
        assert recognizes_camvid(root) and camvid_splits(root) == ("train", "val")
        for split, count in (("train", 367), ("val", 101)):
            source = open_camvid(root, split)
            assert source.layout == (
                f"SegNet's copy with lists (ids 0..10, 11 void), {count} pairs"
            )


class TestKaggle:
    def test_its_split_is_its_own_and_said_to_be(self, kaggle):
        assert camvid_splits(kaggle) == ("train", "val", "test")
        for split, count in WHOLE.items():
            source = open_camvid(kaggle, split)
            assert len(source) == count
            assert "do not compare with those on the official split" in source.note
            assert source.note in repr(source)

    def test_official_split(self, kaggle):
        for split, count in {"train": 367, "val": 101, "test": 233}.items():
            source = open_camvid(kaggle, split, official_split=True)
            assert names(source) == split_frames(split) and len(source) == count
            assert source.note == "32 colours, grouping 'segnet'"
        np.testing.assert_array_equal(source.load_mask(5), expected_mask(source, 5))

    def test_official_split_needs_its_frames(self, tmp_path):
        root = layouts.make_camvid_kaggle(tmp_path)
        with pytest.raises(data.DataError, match=r"split 'val' needs 101 frames, and \d+ of them"):
            open_camvid(root, "val", official_split=True)

    def test_another_table_of_classes_is_refused(self, tmp_path):
        root = layouts.make_camvid_kaggle(tmp_path)
        table = root / "CamVid" / "class_dict.csv"
        table.write_text(table.read_text().replace("Bicyclist,0,128,192", "Bicyclist,0,128,92"))
        with pytest.raises(
            data.DataError,
            match=r"class_dict\.csv: 'Bicyclist' has colour \(0, 128, 92\).*\(0, 128, 192\)",
        ):
            open_camvid(root)
        table.write_text("name,r,g,b\nCar,64,0,128\nCrack,1,2,3\n")
        with pytest.raises(data.DataError, match=r"'Crack' .* in CamVid it has no place"):
            open_camvid(root)
        table.unlink()
        assert len(open_camvid(root)) == 3

    def test_damage_in_another_split_does_not_count(self, tmp_path):
        root = layouts.make_camvid_kaggle(tmp_path)
        label = next((root / "CamVid" / "test_labels").iterdir())
        label.unlink()
        assert len(open_camvid(root, "train+val")) == 5
        with pytest.raises(data.DataError, match=rf"'{label.name[:-6]}\.png'.*Restore"):
            open_camvid(root, "test")
        source = open_camvid(root, "test", strict=False)
        assert [path.stem for path in source.unpaired] == [label.name[:-6]]
        assert source.layout.endswith("1 pair, 1 without partner left out")

    def test_sequences_and_grouping(self, kaggle):
        source = open_camvid(kaggle, "train", sequences="Seq05VD", grouping=None)
        assert source.label_space.num_classes == 31
        assert {name.split("_")[0] for name in names(source)} == {"Seq05VD"}
        with pytest.raises(data.DataError, match="no grouping 'pidnet'"):
            open_camvid(kaggle, grouping="pidnet")
        with pytest.raises(data.DataError, match="no split 'all'; it has 'train', 'val', 'test'"):
            open_camvid(kaggle, "all")


class TestLists:
    @pytest.mark.parametrize("style", ["pairs", "files", "names"])
    @pytest.mark.parametrize("suffix", [".txt", ".lst"])
    def test_lists_decide(self, tmp_path, style, suffix):
        root = layouts.make_camvid_lists(tmp_path, style=style, suffix=suffix)
        moved = (root / f"val{suffix}").read_text().splitlines()[-1]
        (root / f"val{suffix}").write_text((root / f"val{suffix}").read_text().splitlines()[0])
        with open(root / f"train{suffix}", "a") as file:
            file.write(f"\n{moved}\n")
        train, val = open_camvid(root, "train"), open_camvid(root, "val")
        assert names(train) == [*split_frames("train")[:3], split_frames("val")[1]]
        assert names(val) == split_frames("val")[:1]
        assert "split by" in train.note and "do not compare" in train.note
        assert camvid_splits(root) == ("train", "val", "test")

    def test_official_lists_need_no_warning(self, tmp_path):
        root = layouts.make_camvid_lists(tmp_path, {"val": 101, "test": 2})
        assert open_camvid(root, "val").note == "32 colours, grouping 'segnet'"
        assert "do not compare" in open_camvid(root, "test").note

    def test_lists_beside_the_folders(self, tmp_path):
        """As PIDNet has them: data/camvid, data/list/camvid."""
        root = tmp_path / "data"
        layouts.make_camvid_lists(root / "camvid", suffix=".lst")
        (root / "list" / "camvid").mkdir(parents=True)
        for path in list((root / "camvid").glob("*.lst")):
            path.rename(root / "list" / "camvid" / path.name)
        assert len(open_camvid(root, "train")) == 3
        assert camvid_splits(root) == ("train", "val", "test")

    @pytest.mark.parametrize(
        ("line", "message"),
        [
            ("images/a.png labels/b.png x\n", r"train\.txt, line 4: .*got 3 columns"),
            ("images/a.png labels/b_L.png\n", r"line 4: 'b_L\.png' is not the mask of 'a\.png'"),
            ("0001TP_006780.png\n", r"line 4: '0001TP_006780' is listed, but not in .*images"),
            ("0001tp_006690.png\n", r"There is '0001TP_006690': the names must be equal"),
            ("0001TP_006690.png\n", r"line 4: .* listed twice"),
            ("../../../etc/passwd\n", r"line 4: 'passwd' is listed"),
        ],
    )
    def test_wrong_line(self, tmp_path, line, message):
        root = layouts.make_camvid_lists(tmp_path)
        with open(root / "train.txt", "a") as file:
            file.write(line)
        with pytest.raises(data.DataError, match=message):
            open_camvid(root)

    def test_missing_label_image(self, tmp_path):
        root = layouts.make_camvid_lists(tmp_path)
        frame = split_frames("train")[1]
        (root / "labels" / f"{frame}_L.png").unlink()
        with refused("file without partner", root / "train.txt", f"line 2: '{frame}'.*labels"):
            open_camvid(root)
        source = open_camvid(root, strict=False)
        assert names(source) == [split_frames("train")[0], split_frames("train")[2]]
        assert source.unpaired == [root / "images" / f"{frame}.png"]

    def test_frame_in_two_lists(self, tmp_path):
        root = layouts.make_camvid_lists(tmp_path)
        shutil.copy(root / "train.txt", root / "val.txt")
        with pytest.raises(data.DataError, match=r"3 frames stand twice in 'train\+val'"):
            open_camvid(root, "train+val")

    @pytest.mark.skipif(os.name == "nt", reason="links need rights on Windows")
    def test_list_out_of_the_root(self, tmp_path):
        root = layouts.make_camvid_lists(tmp_path / "root")
        (root / "train.txt").rename(tmp_path / "outside.txt")
        (root / "train.txt").symlink_to(tmp_path / "outside.txt")
        with pytest.raises(data.DataError, match=r"is a link to .*outside\.txt, outside"):
            open_camvid(root)


class TestFastai:
    def test_what_is_not_in_valid_is_for_training(self, tmp_path):
        root = layouts.make_camvid_fastai(tmp_path, {"train": 3, "val": 101, "test": 2})
        train, val = open_camvid(root, "train"), open_camvid(root, "val")
        assert names(train) == sorted(split_frames("train")[:3] + split_frames("test")[:2])
        assert "holds 2 of the official test split's frames" in train.note
        assert names(val) == split_frames("val") and "split" not in val.note

    @pytest.mark.parametrize("grouping", ["segnet", "mathworks", "exact_colour", None])
    def test_ids_become_what_the_colours_would(self, tmp_path, grouping):
        root = layouts.make_camvid_fastai(tmp_path)
        source = open_camvid(root, "val", grouping=grouping)
        groups = label_spaces.grouping("camvid32", grouping)
        with Image.open(source.files(0)[1]) as picture:
            ids = np.asarray(picture)
        np.testing.assert_array_equal(source.load_mask(0), np.array(groups.train_ids)[ids])

    def test_unknown_id(self, tmp_path):
        root = layouts.make_camvid_fastai(tmp_path)
        path = open_camvid(root, "val").files(0)[1]
        layouts.save(path, np.full(layouts.SIZE, 32, "uint8"))
        with pytest.raises(data.DataError, match=rf"{path.name}: id 32 \(768 of 768 pixels\)"):
            open_camvid(root, "val").load(0)

    def test_other_codes_are_refused(self, tmp_path):
        root = layouts.make_camvid_fastai(tmp_path)
        codes = root / "codes.txt"
        lines = codes.read_text().splitlines()
        for changed, message in (
            ([*lines[:4], lines[5], lines[4], *lines[6:]], "is 'Car' instead of 'Building'"),
            (lines[:-1], r"lists 31 classes, CamVid has 32; .* 'nothing' instead of 'Wall'"),
            ([*lines, "Crack"], r"lists 33 classes, .* 'Crack' instead of 'nothing'"),
        ):
            codes.write_text("\n".join(changed))
            with pytest.raises(data.DataError, match=rf"codes\.txt: .*{message}"):
                open_camvid(root)
        codes.unlink()
        with pytest.raises(data.DataError, match=r"codes\.txt, which says what they mean"):
            open_camvid(root)

    def test_small_copy_without_a_list(self, tmp_path):
        root = layouts.make_camvid_fastai(tmp_path)
        (root / "valid.txt").unlink()
        assert camvid_splits(root) == ("all",)
        source = open_camvid(root, "all")
        assert len(source) == 7 and "do not compare" in source.note
        with pytest.raises(data.DataError, match="has no split 'train'; it has 'all'"):
            open_camvid(root, "train")

    def test_whole_copy_without_a_list(self, tmp_path):
        counts = {split: len(split_frames(split)) for split in layouts.OFFICIAL}
        root = layouts.make_camvid_fastai(tmp_path, counts, size=(4, 8))
        assert len(open_camvid(root, "train")) == 600
        assert names(open_camvid(root, "test", official_split=True)) == split_frames("test")
        (root / "valid.txt").unlink()
        assert camvid_splits(root) == layouts.OFFICIAL
        test = open_camvid(root, "test")
        assert names(test) == split_frames("test") and test.note == "32 ids, grouping 'segnet'"
