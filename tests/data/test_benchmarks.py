"""Cityscapes, BDD100K and ADE20K: tiny trees that are true to the layouts, good and damaged."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from keras_focusseg import data, label_spaces

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

    @pytest.mark.parametrize("make", [bdd100k, bdd100k_older])
    def test_bdd100k(self, tmp_path, make):
        make(tmp_path / "bdd100k")
        sample = data.BDD100K(tmp_path, "val").load(0)
        assert sample.name == "d" and sample.mask[:3, 0].tolist() == [0, 18, 255]

    def test_bdd100k_with_both_layouts(self, tmp_path):
        bdd100k(tmp_path)
        bdd100k_older(tmp_path)
        assert "masks" in data.BDD100K(tmp_path).pairs[0][2].parts

    def test_ade20k(self, tmp_path):
        ade20k(tmp_path / "ADEChallengeData2016")
        sample = data.ADE20K(tmp_path, "val").load(0)
        assert sample.name == "ADE_val_00000001"
        assert sample.mask[:3, 0].tolist() == [255, 0, 149]


@pytest.mark.parametrize("name", ["ade20k", "bdd100k", "camvid720", "cityscapes"])
def test_root_is_needed(name):
    with pytest.raises(data.DataError, match=f"'{name}' needs root="):
        data.open_source(name)
