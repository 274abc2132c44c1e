"""Cityscapes, BDD100K and ADE20K: tiny trees that are true to the layouts, good and damaged."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from keras_focusseg import data, label_spaces
from keras_focusseg.data.sources.camvid import camvid_splits, recognizes_camvid
from keras_focusseg.data.sources.pascal_voc import PascalVOC
from tests.data import layouts
from tests.data.conftest import refused

HEIGHT, WIDTH = 6, 8


def save(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


def picture(value: int) -> np.ndarray:
    return np.full((HEIGHT, WIDTH, 3), value, "uint8")


def ids(*values: int) -> np.ndarray:
    """A mask that holds these ids, each in a row of its own."""
    return np.repeat(np.resize(np.array(values, "uint8"), HEIGHT)[:, None], WIDTH, axis=1)


def cityscapes(root: Path) -> None:
    for split, city, frames in (
        ("train", "aachen", (0, 1)),
        ("train", "bochum", (0,)),
        ("val", "munster", (0,)),
        ("test", "berlin", (0,)),
    ):
        for frame in frames:
            stem = f"{city}/{city}_000000_{frame:06}"
            save(root / "leftImg8bit" / split / f"{stem}_leftImg8bit.png", picture(10 * frame))
            base = root / "gtFine" / split / f"{stem}_gtFine"
            # 1 is the ego vehicle and 29 a caravan, both ignored; 255 a licence plate.
            save(Path(f"{base}_labelIds.png"), ids(7, 26, 33, 1, 29, 255))
            save(Path(f"{base}_instanceIds.png"), np.full((HEIGHT, WIDTH), 26001, "uint16"))
            save(Path(f"{base}_color.png"), picture(0))
            Path(f"{base}_polygons.json").write_text("{}")
    (root / "README").write_text("about")


def bdd100k(root: Path) -> None:
    for split, names in (("train", "abc"), ("val", "d"), ("test", "e")):
        for name in names:
            save(root / f"images/10k/{split}/{name}.jpg", picture(50))
            save(root / f"images/100k/{split}/{name}{name}.jpg", picture(50))
            if split != "test":
                save(root / f"labels/sem_seg/masks/{split}/{name}.png", ids(0, 18, 255))
                save(root / f"labels/sem_seg/colormaps/{split}/{name}.png", picture(0))


def bdd100k_older(root: Path) -> None:
    for split, names in (("train", "abc"), ("val", "d"), ("test", "e")):
        for name in names:
            save(root / f"seg/images/{split}/{name}.jpg", picture(50))
            if split != "test":
                save(root / f"seg/labels/{split}/{name}_train_id.png", ids(0, 18, 255))
                save(root / f"seg/color_labels/{split}/{name}_train_color.png", picture(0))


def ade20k(root: Path) -> None:
    for folder, split, count in (("training", "train", 3), ("validation", "val", 1)):
        for number in range(1, count + 1):
            name = f"ADE_{split}_{number:08}"
            save(root / f"images/{folder}/{name}.jpg", picture(50))
            save(root / f"annotations/{folder}/{name}.png", ids(0, 1, 150))
    (root / "sceneCategories.txt").write_text("ADE_train_00000001 airport_terminal\n")


# Name of the source, maker, first image and first mask of "train".
TREES = {
    "cityscapes": (
        "cityscapes",
        cityscapes,
        "leftImg8bit/train/aachen/aachen_000000_000000_leftImg8bit.png",
        "gtFine/train/aachen/aachen_000000_000000_gtFine_labelIds.png",
    ),
    "bdd100k": (
        "bdd100k",
        bdd100k,
        "images/10k/train/a.jpg",
        "labels/sem_seg/masks/train/a.png",
    ),
    "bdd100k_older": (
        "bdd100k",
        bdd100k_older,
        "seg/images/train/a.jpg",
        "seg/labels/train/a_train_id.png",
    ),
    "ade20k": (
        "ade20k",
        ade20k,
        "images/training/ADE_train_00000001.jpg",
        "annotations/training/ADE_train_00000001.png",
    ),
}


@pytest.fixture(params=TREES)
def tree(request, tmp_path):
    """Name of the source, root, first image and first mask of its training split."""
    name, make, image, mask = TREES[request.param]
    root = tmp_path / "unpacked" / request.param
    root.mkdir(parents=True)
    make(root)
    return name, root, root / image, root / mask


def opened(name: str, root: Path, split: str = "train") -> data.Source:
    return data.open_source(name, root, split)


class TestEveryBenchmark:
    def test_splits(self, tree):
        name, root, image, _ = tree
        train, val = opened(name, root), opened(name, root, "val")
        assert (len(train), len(val)) == (3, 1) and (train.name, val.split) == (name, "val")
        assert train.label_space is label_spaces.get(name) and not train.note
        both = opened(name, root, "train+val")
        assert [s.name for s in both] == [s.name for s in (*train, *val)]
        assert image.name.startswith(train.load(0).name)

    def test_root_one_above(self, tree):
        name, root, _, _ = tree
        assert len(opened(name, root.parent)) == 3

    def test_root_one_below(self, tree):
        name, root, _, mask = tree
        below = root / mask.relative_to(root).parts[0]
        with pytest.raises(data.DataError, match=rf"not there; .* {root} is where it lies"):
            opened(name, below)

    def test_wrong_root(self, tree, tmp_path):
        name, _, _, _ = tree
        (tmp_path / "other" / "photos").mkdir(parents=True)
        with pytest.raises(data.DataError, match=r"not there; found 'photos'.*Unpack .*"):
            opened(name, tmp_path / "other")
        with pytest.raises(data.DataError, match=r"Other: .*not there; .*holds 'other'"):
            opened(name, tmp_path / "Other")

    def test_no_labels_for_test(self, tree):
        name, root, _, _ = tree
        with pytest.raises(data.DataError, match=r"has no labels for split 'test'.*split 'val'"):
            opened(name, root, "test")

    @pytest.mark.parametrize(("split", "message"), [
        ("training", "no split 'training'; it has 'train', 'val', and several as in 'train.val'"),
        ("train+", "no split ''"),
        ("val+val", "'val.val' names a split twice"),
    ])  # fmt: skip
    def test_wrong_split(self, tree, split, message):
        name, root, _, _ = tree
        with pytest.raises(data.DataError, match=message):
            opened(name, root, split)

    @pytest.mark.parametrize("which", ["image", "mask"])
    def test_missing_partner(self, tree, which):
        name, root, image, mask = tree
        gone, left = (image, mask) if which == "image" else (mask, image)
        gone.unlink()
        message = rf"1 of 3 files have no partner .*{left.name}'\. .*holds '.*Unpack"
        with pytest.raises(data.DataError, match=message):
            opened(name, root)

    @pytest.mark.parametrize("which", ["image", "mask"])
    def test_missing_folder(self, tree, which):
        """Of a split, of all its images or of all its masks."""
        name, root, image, mask = tree
        path = image if which == "image" else mask
        folder = path.parent.parent if name == "cityscapes" else path.parent
        folder.rename(folder.with_name("moved"))
        message = rf"{folder}: the {which} folder is not there; .* 'moved'.*Unpack"
        with pytest.raises(data.DataError, match=message):
            opened(name, root)

    def test_empty_split(self, tree):
        name, root, image, mask = tree
        for folder, ending in ((image.parent, image.suffix), (mask.parent, mask.suffix)):
            around = folder.parent if name == "cityscapes" else folder
            for path in list(around.rglob(f"*{ending}")):
                path.unlink()
        with pytest.raises(data.DataError, match=r"no file .* has a name that ends in .*Unpack"):
            opened(name, root)

    def test_hidden_files_do_not_count(self, tree):
        name, root, image, mask = tree
        for path in (image, mask):
            path.with_name(f"._{path.name}").write_bytes(b"resource fork")
        (image.parent / "Thumbs.db").write_bytes(b"")
        assert len(opened(name, root)) == 3

    @pytest.mark.skipif(os.name == "nt", reason="links need rights on Windows")
    @pytest.mark.parametrize("which", ["image", "mask", "folder"])
    def test_links_out_of_the_root_are_refused(self, tree, tmp_path, which):
        name, root, image, mask = tree
        path = {"image": image, "mask": mask, "folder": mask.parent}[which]
        path.rename(tmp_path / "outside")
        path.symlink_to(tmp_path / "outside")
        with pytest.raises(data.DataError, match=r"is a link to .*outside, outside"):
            opened(name, root)

    @pytest.mark.skipif(os.name == "nt", reason="links need rights on Windows")
    def test_links_inside_the_root_and_to_it_are_followed(self, tree, tmp_path):
        name, root, image, _ = tree
        image.rename(root / "elsewhere")
        image.symlink_to(root / "elsewhere")
        (tmp_path / "link").symlink_to(root)
        assert opened(name, tmp_path / "link").load(0).image.shape == (HEIGHT, WIDTH, 3)

    def test_bad_id_names_file_and_value(self, tree):
        name, root, _, mask = tree
        save(mask, ids(200))
        source = opened(name, root)
        with pytest.raises(data.DataError, match=rf"{mask.name}: id 200 \(48 of 48 pixels\)"):
            source.load(0)

    def test_mask_of_colours_or_another_size(self, tree):
        name, root, _, mask = tree
        save(mask, picture(0))
        with pytest.raises(data.DataError, match=rf"{mask.name}: the mask has mode 'RGB'"):
            opened(name, root).load(0)
        save(mask, ids(1)[:3])
        with pytest.raises(data.DataError, match=rf"{mask.name}: the mask is 8 x 3 but its image"):
            opened(name, root).load(0)

    @pytest.mark.parametrize("which", ["image", "mask"])
    def test_not_strict_leaves_out_and_lists(self, tree, which):
        name, root, image, mask = tree
        gone, left = (image, mask) if which == "image" else (mask, image)
        whole = data.open_source(name, root, "train", strict=False)
        assert not whole.unpaired and whole.layout.endswith(", 3 pairs")
        gone.unlink()
        source = data.open_source(name, root, "train+val", strict=False)
        assert source.unpaired == [left] and len(source) == 3
        assert source.layout.endswith(", 3 pairs, 1 without partner left out")
        assert source.sample_name(0) == whole.sample_name(1)

    def test_no_pair_left_is_an_error_all_the_same(self, tree):
        name, root, image, mask = tree
        around = mask.parent.parent if name == "cityscapes" else mask.parent
        for path in list(around.rglob(f"*{mask.name[-8:]}" if name == "cityscapes" else "*.png")):
            path.unlink()
        with pytest.raises(data.DataError, match=r"none of its 3 images has a mask|encodings"):
            data.open_source(name, root, "train", strict=False)

    @pytest.mark.parametrize("suffix", [str.upper, str.title])
    def test_case_of_suffixes_does_not_matter(self, tree, suffix):
        name, root, image, mask = tree
        for path in (image, mask):
            path.rename(path.with_suffix(suffix(path.suffix)))
        source = opened(name, root)
        assert len(source) == 3 and source.load(0).image.shape == (HEIGHT, WIDTH, 3)

    def test_near_name_is_named(self, tree):
        name, root, _, mask = tree
        mask.rename(mask.with_name(mask.name.swapcase()))
        with pytest.raises(data.DataError, match=rf"1 of 3 .*there is '{mask.name.swapcase()}'"):
            opened(name, root)

    def test_missing_split_names_what_is_there(self, tree):
        name, root, _, mask = tree
        around = mask.parent.parent if name == "cityscapes" else mask.parent
        around.rename(around.with_name("moved"))
        kind = type(opened(name, root, "val"))
        assert kind.splits(root) == ("val",)
        with pytest.raises(data.DataError, match=r"'moved', .*'val(idation)?'"):
            opened(name, root)

    def test_unreadable_folder(self, tree, monkeypatch):
        name, root, image, _ = tree
        kind = type(opened(name, root))
        scandir = os.scandir

        def refuse(path):
            if Path(path) == image.parent:
                raise PermissionError(13, "Permission denied")
            return scandir(path)

        monkeypatch.setattr(os, "scandir", refuse)
        with refused("folder that cannot be read", image.parent, "Permission denied"):
            opened(name, root)
        assert kind.recognizes(root)

    @pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read all")
    def test_folder_without_rights(self, tree):
        name, root, image, _ = tree
        image.parent.chmod(0)
        try:
            with pytest.raises(data.DataError, match=r"Permission denied"):
                opened(name, root)
        finally:
            image.parent.chmod(0o755)

    @pytest.mark.skipif(os.name == "nt", reason="file names are text there")
    def test_names_that_are_no_utf8(self, tree):
        name, root, image, mask = tree
        stem = os.path.commonprefix([image.name, mask.name]).rstrip("._")
        for path in (image, mask):
            path.rename(path.with_name(os.fsdecode(b"caf\xe9") + path.name.removeprefix(stem)))
        source = opened(name, root)
        index = [source.sample_name(i) for i in range(3)].index("caf\\udce9")
        assert source.load(index).image.shape == (HEIGHT, WIDTH, 3)
        source.files(index)[1].unlink()
        with pytest.raises(data.DataError, match="caf") as caught:
            opened(name, root)
        str(caught.value).encode("utf-8")


MAKERS = {
    "cityscapes": layouts.make_cityscapes,
    "bdd100k": layouts.make_bdd100k,
    "ade20k": layouts.make_ade20k,
    "camvid": layouts.make_camvid_segnet,
    "camvid lists": layouts.make_camvid_lists,
    "camvid fastai": layouts.make_camvid_fastai,
    "camvid kaggle": layouts.make_camvid_kaggle,
    "camvid original": lambda root: layouts.make_camvid_original(root, ["val"]),
    "pascal_voc": layouts.make_pascal_voc,
    "cvat": lambda root: layouts.make_pascal_voc(root, style="cvat"),
}
RECOGNIZES = {
    "cityscapes": data.Cityscapes.recognizes,
    "bdd100k": data.BDD100K.recognizes,
    "ade20k": data.ADE20K.recognizes,
    "camvid": recognizes_camvid,
    "pascal_voc": PascalVOC.recognizes,
}
SPLITS = {
    "cityscapes": data.Cityscapes.splits,
    "bdd100k": data.BDD100K.splits,
    "ade20k": data.ADE20K.splits,
    "camvid": camvid_splits,
    "pascal_voc": PascalVOC.splits,
}


class TestRecognition:
    @pytest.mark.parametrize("which", MAKERS)
    def test_each_tree_by_its_own_source_alone(self, which, tmp_path):
        owner = {"cvat": "pascal_voc"}.get(which, which.split(" ")[0])
        root = MAKERS[which](tmp_path / "data" / which)
        for place in (root, root.parent)[: 1 if which == "pascal_voc" else 2]:
            assert [name for name, look in RECOGNIZES.items() if look(place)] == [owner]
        splits = {"cvat": ("default",), "camvid original": ("val",), "camvid fastai": None}
        expected = splits.get(which, ("train", "val", "test")) or ("train", "val")
        if owner in ("cityscapes", "bdd100k", "ade20k") or which == "pascal_voc":
            expected = ("train", "val")
        assert SPLITS[owner](root) == expected

    def test_nothing_raises(self, tmp_path, monkeypatch):
        file = tmp_path / "file"
        file.write_text("")
        for look in (*RECOGNIZES.values(), *SPLITS.values()):
            for root in (tmp_path, file, tmp_path / "none", "bad\0name"):
                assert not look(root)

        def refuse(path):
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr(os, "scandir", refuse)
        for look in (*RECOGNIZES.values(), *SPLITS.values()):
            assert not look(tmp_path)

    def test_folders_of_others(self, tmp_path):
        """Chase DB1 and the like use ADE20K's folders, and anybody `images` and `labels`."""
        for folder, name in (("annotations/training", "Image_01L.png"), ("labels", "a_L.png")):
            save(tmp_path / folder / name, ids(1))
        (tmp_path / "images" / "training").mkdir(parents=True)
        (tmp_path / "train.txt").write_text("a\n")
        assert not any(look(tmp_path) for look in RECOGNIZES.values())

    def test_resource_forks_are_no_second_copy(self, tmp_path):
        bdd100k(tmp_path / "bdd100k")
        (tmp_path / "__MACOSX" / "labels" / "sem_seg" / "masks").mkdir(parents=True)
        assert len(data.BDD100K(tmp_path)) == 3

    @pytest.mark.skipif(os.name == "nt", reason="links need rights on Windows")
    def test_links_out_of_the_root_are_not_recognised(self, tmp_path):
        layouts.make_cityscapes(tmp_path / "elsewhere")
        (tmp_path / "root").mkdir()
        for folder in ("leftImg8bit", "gtFine"):
            (tmp_path / "root" / folder).symlink_to(tmp_path / "elsewhere" / folder)
        assert not data.Cityscapes.recognizes(tmp_path / "root")


class TestMasks:
    def test_cityscapes_raw_ids(self, tmp_path):
        cityscapes(tmp_path)
        mask = data.Cityscapes(tmp_path, "val").load(0).mask
        assert mask[:, 0].tolist() == [0, 13, 18, 255, 255, 255]

    @pytest.mark.parametrize("both", [True, False])
    def test_cityscapes_train_ids_only_where_there_is_nothing_else(self, tmp_path, both):
        cityscapes(tmp_path)
        for path in list((tmp_path / "gtFine").rglob("*_labelIds.png")):
            save(path.with_name(path.name.replace("labelIds", "labelTrainIds")), ids(7, 18, 255))
            if not both:
                path.unlink()
        mask = data.Cityscapes(tmp_path, "train+val").load(3).mask
        expected = [0, 13, 18, 255, 255, 255] if both else [7, 18, 255, 7, 18, 255]
        assert mask[:, 0].tolist() == expected

    def test_cityscapes_does_not_mix_encodings(self, tmp_path):
        """Raw id 7 is road and train id 7 a traffic sign: a gap may not be filled in silence."""
        cityscapes(tmp_path)
        path = next((tmp_path / "gtFine" / "train").rglob("*_labelIds.png"))
        path.rename(path.with_name(path.name.replace("labelIds", "labelTrainIds")))
        with pytest.raises(data.DataError, match="1 of 3 files have no partner"):
            data.Cityscapes(tmp_path, "train")

    def test_cityscapes_in_a_folder_an_archive(self, tmp_path):
        cityscapes(tmp_path)
        for folder in ("leftImg8bit", "gtFine"):
            (tmp_path / f"{folder}_trainvaltest").mkdir()
            (tmp_path / folder).rename(tmp_path / f"{folder}_trainvaltest" / folder)
        assert [s.name for s in data.Cityscapes(tmp_path, "train")] == [
            "aachen_000000_000000", "aachen_000000_000001", "bochum_000000_000000",
        ]  # fmt: skip

    def test_cityscapes_pairs_within_a_city(self, tmp_path):
        cityscapes(tmp_path)
        masks = tmp_path / "gtFine" / "train"
        (masks / "bochum").rename(masks / "bremen")
        with pytest.raises(data.DataError, match=r"'bochum/bochum_000000_000000_leftImg8bit\.png'"):
            data.Cityscapes(tmp_path, "train")

    def test_cityscapes_layout_is_said(self, tmp_path):
        root = layouts.make_cityscapes(tmp_path, together=False)
        source = data.Cityscapes(root, "train+val")
        assert source.layout == (
            "leftImg8bit with gtFine labelIds (raw ids to 19 classes), 5 pairs"
        )
        assert data.Cityscapes.recognizes(root) and data.Cityscapes.splits(root) == ("train", "val")

    def test_cityscapes_labels_by_choice(self, tmp_path):
        root = layouts.make_cityscapes(tmp_path, encodings=("labelIds", "labelTrainIds"))
        raw = data.Cityscapes(root)
        train = data.Cityscapes(root, labels="labelTrainIds")
        assert "labelIds" in raw.layout and "labelTrainIds (19 train ids" in train.layout
        assert [f.name.split("_")[-1] for f in (raw.files(0)[1], train.files(0)[1])] == [
            "labelIds.png", "labelTrainIds.png",
        ]  # fmt: skip
        for index in range(3):
            np.testing.assert_array_equal(raw.load_mask(index), train.load_mask(index))
        with pytest.raises(data.DataError, match="labels='trainIds'; expected"):
            data.Cityscapes(root, labels="trainIds")

    def test_cityscapes_without_city_folders(self, tmp_path):
        flat = data.Cityscapes(layouts.make_cityscapes(tmp_path / "flat", cities=False))
        deep = data.Cityscapes(layouts.make_cityscapes(tmp_path / "deep"))
        assert [s.name for s in flat] == sorted(s.name for s in deep)
        np.testing.assert_array_equal(flat.load(0).mask, deep.load(0).mask)

    def test_cityscapes_coarse(self, tmp_path):
        root = layouts.make_cityscapes(tmp_path, {"train": 2, "train_extra": 3}, coarse=True)
        source = data.Cityscapes(root, "train+train_extra", annotations="gtCoarse")
        assert len(source) == 5 and "do not compare" in source.note
        assert "gtCoarse labelIds" in source.layout and not data.Cityscapes.splits(root)
        with refused("dataset that is not there", root, "looked for 'gtFine/train'"):
            data.Cityscapes(root)

    @pytest.mark.parametrize("make", [bdd100k, bdd100k_older])
    def test_bdd100k(self, tmp_path, make):
        make(tmp_path / "bdd100k")
        sample = data.BDD100K(tmp_path, "val").load(0)
        assert sample.name == "d" and sample.mask[:3, 0].tolist() == [0, 18, 255]

    def test_bdd100k_with_both_layouts(self, tmp_path):
        bdd100k(tmp_path)
        bdd100k_older(tmp_path)
        assert "masks" in data.BDD100K(tmp_path).pairs[0][2].parts

    @pytest.mark.parametrize(
        ("layout", "images", "moved_to", "masks", "masks_to"),
        [
            ("today", "images", "bdd100k_images_10k/bdd100k/images", "labels", "l/bdd100k/labels"),
            ("today", "images/10k", "bdd100k_images_10k/10k", "labels", "bdd100k/labels"),
            ("today", "images/10k", "10k", "labels", "bdd100k_sem_seg_labels/bdd100k/labels"),
            ("older", "seg", "bdd100k_seg/bdd100k/seg", "none", "none"),
            ("older", "seg/images", "bdd100k_images_10k/10k",
             "seg/labels", "bdd100k_seg_maps/labels"),
        ],
    )  # fmt: skip
    def test_bdd100k_as_its_archives_unpack(
        self, tmp_path, layout, images, moved_to, masks, masks_to
    ):
        layouts.make_bdd100k(tmp_path / "made", layout=layout)
        root = tmp_path / "root"
        for old, new in ((images, moved_to), (masks, masks_to)):
            if (path := tmp_path / "made" / "bdd100k" / old).is_dir():
                (root / new).parent.mkdir(parents=True, exist_ok=True)
                path.rename(root / new)
        assert data.BDD100K.recognizes(root) and data.BDD100K.splits(root) == ("train", "val")
        source = data.BDD100K(root, "train+val")
        assert len(source) == 5 and [*source][4].mask.shape == layouts.SIZE
        assert f"{moved_to.split('/')[0]}" in source.layout

    def test_bdd100k_known_mismatch(self, tmp_path):
        bdd100k(tmp_path)
        (tmp_path / "labels/sem_seg/masks/train/b.png").unlink()
        with pytest.raises(data.DataError, match=r"'b\.jpg'.*before June 2021.*strict=False"):
            data.BDD100K(tmp_path)

    def test_ade20k_of_another_kind(self, tmp_path):
        save(tmp_path / "full/images/training/a/abbey/ADE_train_00000001.jpg", picture(0))
        save(tmp_path / "full/images/training/a/abbey/ADE_train_00000001_seg.png", picture(9))
        assert data.recognize(tmp_path) == "ade20k"
        with refused("another dataset", tmp_path, r"full ADE20K .* ADEChallengeData2016\.zip"):
            data.open_source("auto", tmp_path)
        (tmp_path / "half" / "images" / "training").mkdir(parents=True)
        with refused("dataset that is not there", match="found 'images', looked for 'annotations"):
            data.ADE20K(tmp_path / "half")

    @pytest.mark.parametrize("mode", ["L", "CMYK"])
    def test_ade20k_has_grey_and_four_component_images(self, tmp_path, mode):
        root = layouts.make_ade20k(tmp_path)
        path = data.ADE20K(root).files(0)[0]
        Image.open(path).convert(mode).save(path)
        sample = data.ADE20K(root).load(0)
        assert sample.image.shape == (*layouts.SIZE, 3)
        assert set(np.unique(sample.mask)) == {0, 1, 2, 12, 99, 149, 255}

    def test_ade20k(self, tmp_path):
        ade20k(tmp_path / "ADEChallengeData2016")
        sample = data.ADE20K(tmp_path, "val").load(0)
        assert sample.name == "ADE_val_00000001"
        assert sample.mask[:3, 0].tolist() == [255, 0, 149]


@pytest.mark.parametrize("name", ["ade20k", "bdd100k", "camvid720", "cityscapes"])
def test_root_is_needed(name):
    with pytest.raises(data.DataError, match=f"'{name}' needs root="):
        data.open_source(name)
