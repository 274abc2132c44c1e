"""CamVid, folders and `open_source`: what they find, and how they refuse what is wrong."""

from __future__ import annotations

import dataclasses
import json
import os

import numpy as np
import pytest
from PIL import Image

from keras_focusseg import data, label_spaces
from keras_focusseg.data.sources.base import check_sample
from tests.data import layouts
from tests.data.conftest import FRAMES, random_pair, refused


def append(path, text):
    path.write_text(path.read_text() + text)


class TestCamVid:
    def test_samples(self, camvid):
        source = data.CamVid(camvid, "train")
        assert len(source) == 5 and (source.name, source.split) == ("camvid", "train")
        assert [s.name for s in source] == FRAMES["train"]
        for number, sample in enumerate(source):
            image, mask = random_pair(number + 500)
            np.testing.assert_array_equal(sample.image, image)
            np.testing.assert_array_equal(sample.mask, np.where(mask == 11, 255, mask))
            assert sample.image.dtype == sample.mask.dtype == np.uint8

    def test_splits_join(self, camvid):
        source = data.CamVid(camvid, "train+val")
        assert [s.name for s in source] == FRAMES["train"] + FRAMES["val"]

    @pytest.mark.parametrize(
        ("options", "expected"),
        [
            ({"sequences": ("0001TP",)}, FRAMES["train"][:2]),
            ({"sequences": "0001TP"}, FRAMES["train"][:2]),
            ({"exclude_sequences": ["0001TP", "0006R0"]}, FRAMES["train"][3:]),
            (
                {"sequences": ("0001TP", "0016E5"), "exclude_sequences": "0016E5"},
                FRAMES["train"][:2],
            ),
        ],
    )
    def test_sequences(self, camvid, options, expected):
        assert [s.name for s in data.CamVid(camvid, **options)] == expected

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"sequences": ("0002XX",)}, r"no sequence '0002XX'; it has '0001TP', '0006R0'"),
            ({"exclude_sequences": ("0002XX",)}, "no sequence '0002XX'"),
            ({"sequences": ("0001TP",), "exclude_sequences": ("0001TP",)}, "no frame is left"),
            ({"split": "test"}, "This copy of CamVid has no split 'test'; it has 'train', 'val'"),
            ({"split": "train+test"}, "no split 'test'"),
            ({"split": "../train"}, r"no split '\.\./train'"),
            ({"split": "train+"}, "no split ''"),
        ],
    )
    def test_wrong_choice(self, camvid, options, message):
        with pytest.raises(data.DataError, match=message):
            data.CamVid(camvid, **options)

    def test_missing_root_names_its_neighbours(self, camvid):
        with pytest.raises(data.DataError, match=r"Camvid: .*not there.*holds 'CamVid'"):
            data.CamVid(camvid.parent / "Camvid")

    def test_folder_without_lists(self, tmp_path):
        with refused("dataset that is not there", tmp_path, "looked for 'trainannot'"):
            data.CamVid(tmp_path)

    def test_missing_image_folder(self, camvid):
        (camvid / "valannot").rename(camvid / "val_annot")
        with pytest.raises(data.DataError, match=r"valannot.*not there.*'val_annot'"):
            data.CamVid(camvid, "val")

    @pytest.mark.parametrize("folder", ["train", "trainannot"])
    def test_missing_partner(self, camvid, folder):
        (camvid / folder / "0006R0_f00930.png").unlink()
        with refused("file without partner", camvid / "train.txt", rf"line 3: .*/{folder}\."):
            data.CamVid(camvid)

    def test_name_that_differs_by_case(self, camvid):
        file = camvid / "train" / "0006R0_f00930.png"
        file.rename(file.with_name("0006R0_F00930.PNG"))
        with pytest.raises(data.DataError, match=r"There is '0006R0_F00930'"):
            data.CamVid(camvid)

    @pytest.mark.parametrize("folder", ["train", "trainannot"])
    def test_file_that_is_not_listed(self, camvid, folder):
        Image.new("L", (4, 4)).save(camvid / folder / "new.png")
        with pytest.raises(data.DataError, match=r"1 of 6 pictures are not in .*'new\.png'"):
            data.CamVid(camvid)

    def test_hidden_files_do_not_count(self, camvid):
        (camvid / "train" / "._0001TP_000030.png").write_bytes(b"resource fork")
        (camvid / "train" / "Thumbs.db").write_bytes(b"")
        assert len(data.CamVid(camvid)) == 5

    @pytest.mark.parametrize(
        ("line", "message"),
        [
            ("a.png\n", r"line 6: 'a' is listed, but not in"),
            ("a.png b.png c.png\n", "got 3 columns"),
            ("a.png b.png\n", r"line 6: 'b\.png' is not the mask of 'a\.png'"),
            ("/x/0001TP_000030.png /x/0001TP_000030.png\n", "listed twice, first in line 1"),
            ("../../../../etc/passwd ../../etc/passwd\n", "line 6: 'passwd' is listed, but not in"),
        ],
    )
    def test_wrong_line(self, camvid, line, message):
        append(camvid / "train.txt", line)
        with pytest.raises(data.DataError, match=message):
            data.CamVid(camvid)

    def test_list_of_another_system(self, camvid):
        lines = (camvid / "train.txt").read_text().replace("/", "\\").replace("\n", "\r\n")
        (camvid / "train.txt").write_bytes(b"\xef\xbb\xbf" + lines.encode() + b"\r\n")
        assert len(data.CamVid(camvid)) == 5

    def test_list_that_is_no_text(self, camvid):
        (camvid / "train.txt").write_bytes(b"\xff\x80")
        with pytest.raises(data.DataError, match=r"train\.txt: the list cannot be read"):
            data.CamVid(camvid)
        (camvid / "train.txt").write_text("\n\n")
        with pytest.raises(data.DataError, match="the list is empty"):
            data.CamVid(camvid)

    def test_paths_in_the_list_are_not_followed(self, camvid, tmp_path):
        elsewhere = tmp_path / "elsewhere"
        elsewhere.mkdir()
        image, mask = random_pair(1)
        Image.fromarray(image[::-1]).save(elsewhere / "0001TP_000030.png")
        name = "0001TP_000030.png"
        (camvid / "train.txt").write_text(
            (camvid / "train.txt").read_text().replace(f"/SegNet/CamVid/train/{name}",
                                                       str(elsewhere / name))
        )  # fmt: skip
        np.testing.assert_array_equal(data.CamVid(camvid).load(0).image, random_pair(500)[0])

    @pytest.mark.skipif(os.name == "nt", reason="links need rights on Windows")
    def test_links_out_of_the_root_are_refused(self, camvid, tmp_path):
        file = camvid / "train" / "0001TP_000030.png"
        outside = tmp_path / "outside.png"
        file.rename(outside)
        file.symlink_to(outside)
        with pytest.raises(data.DataError, match=r"is a link to .*outside\.png, outside"):
            data.CamVid(camvid)

    @pytest.mark.skipif(os.name == "nt", reason="links need rights on Windows")
    def test_the_root_itself_may_be_a_link(self, camvid, tmp_path):
        (tmp_path / "link").symlink_to(camvid)
        assert data.CamVid(tmp_path / "link").load(0).name == "0001TP_000030"

    def test_bad_id_names_file_and_value(self, camvid):
        path = camvid / "trainannot" / "0001TP_000060.png"
        mask = np.asarray(Image.open(path)).copy()
        mask[0, :3] = 12
        Image.fromarray(mask).save(path)
        with pytest.raises(data.DataError, match=r"0001TP_000060\.png: id 12 \(3 of 768 pixels\)"):
            data.CamVid(camvid).load(1)

    def test_what_was_found_is_said(self, camvid):
        source = data.CamVid(camvid.parent, "train+val")  # one above
        assert source.layout == "SegNet's copy with lists (ids 0..10, 11 void), 7 pairs"
        assert data.CamVid.recognizes(camvid) and data.CamVid.splits(camvid) == ("train", "val")
        (camvid / "valannot").rename(camvid / "moved")
        assert data.CamVid.splits(camvid) == ("train",)

    @pytest.mark.parametrize(
        ("folder", "partner"), [("train", "trainannot"), ("trainannot", "train")]
    )
    def test_not_strict(self, camvid, folder, partner):
        frame = "0006R0_f00930.png"
        (camvid / folder / frame).unlink()
        Image.new("L", (4, 4)).save(camvid / folder / "new.png")
        source = data.CamVid(camvid, strict=False)
        assert source.unpaired == [camvid / partner / frame, camvid / folder / "new.png"]
        assert [name for name, _, _ in source.pairs] == [*FRAMES["train"][:2], *FRAMES["train"][3:]]
        assert source.layout.endswith("4 pairs, 2 without partner left out")

    def test_copy_without_lists(self, camvid):
        for path in list(camvid.glob("*.txt")):
            path.unlink()
        source = data.CamVid(camvid, "val")
        assert [s.name for s in source] == FRAMES["val"] and "no lists" in source.layout
        with pytest.raises(data.DataError, match="no split 'test'"):
            data.CamVid(camvid, "test")
        (camvid / "valannot" / f"{FRAMES['val'][0]}.png").unlink()
        with pytest.raises(data.DataError, match=rf"1 of 2 .*'{FRAMES['val'][0]}\.png'"):
            data.CamVid(camvid, "val")

    @pytest.mark.shared
    def test_real_counts_and_pixel_shares(self, shared_dir):
        root = shared_dir / "data" / "camvid"
        train, val = data.CamVid(root, "train"), data.CamVid(root, "val")
        assert (len(train), len(val)) == (367, 101)
        counts = np.zeros(256, "int64")
        for sample in train:
            assert sample.image.shape == (360, 480, 3)
            counts += np.bincount(sample.mask.ravel(), minlength=256)
        shares = counts[[*range(11), 255]] / counts.sum()
        table = label_spaces.table("camvid11")["pixel_share_train"]
        np.testing.assert_allclose(shares, table, atol=1e-4)

    @pytest.mark.shared
    def test_real_sequences(self, shared_dir):
        root = shared_dir / "data" / "camvid"
        counts = {s: len(data.CamVid(root, sequences=s)) for s in ("0001TP", "0006R0", "0016E5")}
        assert counts == {"0001TP": 62, "0006R0": 101, "0016E5": 204}
        assert len(data.CamVid(root, exclude_sequences=("0001TP",))) == 305


class TestOpenSource:
    def test_camvid(self, camvid):
        source = data.open_source("camvid", camvid, "val", sequences=("0016E5",))
        assert isinstance(source, data.CamVid) and source.split == "val" and len(source) == 2

    @pytest.mark.parametrize("layout", ["images/train", "train/images"])
    def test_folder_with_splits(self, tmp_path, layout):
        for folder in (layout, layout.replace("images", "masks")):
            (tmp_path / folder).mkdir(parents=True)
            Image.new("L", (4, 4)).save(tmp_path / folder / "a.png")
        source = data.open_source("folder", tmp_path, "train", label_space="camvid11")
        assert len(source) == 1 and source.split == "train"
        with pytest.raises(data.DataError, match="split 'val' is not there"):
            data.open_source("folder", tmp_path, "val", label_space="camvid11")

    def test_folder_without_splits_is_never_two_splits(self, tmp_path):
        for folder in ("photos", "labels"):
            (tmp_path / folder).mkdir()
            Image.new("L", (4, 4)).save(tmp_path / folder / "a.png")
        options = {"images": "photos", "masks": "labels", "label_space": "camvid11"}
        assert len(data.open_source("folder", tmp_path, "all", **options)) == 1
        with pytest.raises(data.DataError, match="Use split='all'"):
            data.open_source("folder", tmp_path, "train", **options)

    def test_folder_takes_a_label_space_as_records_store_it(self, tmp_path):
        for folder in ("images", "masks"):
            (tmp_path / folder).mkdir()
            Image.new("L", (4, 4), 128).save(tmp_path / folder / "a.png")
        space = label_spaces.from_names(["background", "crack"], ids=[0, 128])
        stored = json.loads(json.dumps(dataclasses.asdict(space)))
        source = data.open_source("folder", tmp_path, "all", label_space=stored)
        assert source.label_space == space
        assert (source.load(0).mask == 1).all()

    def test_synthetic_streets(self):
        options = {"count": 2, "size": (64, 80), "seed": 5}
        source = data.open_source("synthetic_streets", split="val", **options)
        assert isinstance(source, data.SyntheticStreets)
        assert (len(source), source.split) == (2, "val")
        direct = data.SyntheticStreets(split="val", **options)
        np.testing.assert_array_equal(source.load(1).image, direct.load(1).image)

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"name": "pascal"}, "no source 'pascal'; there are ade20k, .*, synthetic_streets"),
            ({"name": "pascal"}, r"Nor is there a folder of that name\.$"),
            ({"name": "recipes"}, r"To open the folder recipes, say 'auto' and root='recipes'\.$"),
            ({"name": "camvid"}, r"'camvid' needs root= \(--data-root on the command line\)"),
            ({"name": "folder", "root": "recipes"}, "no images with masks found"),
            ({"name": "synthetic_streets", "color": 1}, r"has no such option: 'color'\.$"),
        ],
    )
    def test_wrong_call(self, arguments, message):
        with pytest.raises(data.DataError, match=message):
            data.open_source(**arguments)


class TestRecognize:
    def test_by_its_old_name(self) -> None:
        assert data.recognise is data.recognize

    MAKERS = {
        "cityscapes": layouts.make_cityscapes,
        "bdd100k": layouts.make_bdd100k,
        "ade20k": layouts.make_ade20k,
        "camvid": layouts.make_camvid_segnet,
        "pascal_voc": layouts.make_pascal_voc,
    }
    COPIES = (
        layouts.make_camvid_original,
        layouts.make_camvid_lists,
        layouts.make_camvid_fastai,
        layouts.make_camvid_kaggle,
    )

    @pytest.mark.parametrize(
        ("name", "make"), [*MAKERS.items(), *(("camvid", make) for make in COPIES)]
    )
    def test_benchmarks_one_folder_down(self, tmp_path, name, make):
        # VOC has a folder VOCdevkit of its own around everything.
        make(tmp_path if name == "pascal_voc" else tmp_path / "archive")
        assert data.recognize(tmp_path) == name
        found = data.splits("auto", tmp_path)
        assert {"train", "val"} <= set(found)
        for split in found:
            source = data.open_source("auto", tmp_path, split)
            assert len(source) and source.layout in repr(source) and source.layout
            sample = check_sample(source.load(0), source)
            np.testing.assert_array_equal(sample.mask, source.load_mask(0))
            assert sample.name == source.sample_name(0)
            assert all(file.is_file() for file in source.files(0))

    def test_nothing_known(self, tmp_path):
        (tmp_path / "notes").mkdir()
        with pytest.raises(data.DataError, match="no known layout; it holds 'notes'.*cityscapes"):
            data.recognize(tmp_path)

    def test_a_folder_that_may_not_be_read_is_named(self, tmp_path, monkeypatch):
        (tmp_path / "masks").mkdir()
        scandir = os.scandir

        def refuse(path):
            if str(path).endswith("masks"):
                raise PermissionError(13, "Permission denied", str(path))
            return scandir(path)

        monkeypatch.setattr(os, "scandir", refuse)
        with pytest.raises(data.DataError, match=r"masks.*(cannot be read|may not be read)"):
            data.recognize(tmp_path)


def test_what_annotation_tools_export_otherwise_is_told(tmp_path):
    """An archive that was not unpacked, a project file, and labels that are no pictures."""
    (tmp_path / "masks.zip").write_bytes(b"PK")
    with refused("folder that is not there", match="root folder is a file. .* has to be unpacked"):
        data.recognize(tmp_path / "masks.zip")
    (tmp_path / "via_project.json").write_text('{"_via_settings": {}}')
    with refused("folder of no known layout", match="export COCO, Pascal VOC or Labelme"):
        data.recognize(tmp_path)
    for folder, name in (("images", "1.png"), ("labels", "1.txt")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / name).write_text("0 0.1 0.1 0.9 0.1 0.9 0.9")
    with refused("file without partner", match=r"there is '1\.txt', which is no picture"):
        data.open_folder(tmp_path, "all")
