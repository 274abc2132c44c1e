"""Your own folder: what is found, how the masks are read, and what is refused with what fix."""

from __future__ import annotations

import os

import numpy as np
import pytest
from PIL import Image

from keras_focusseg import data, label_spaces
from keras_focusseg.data.sources.folders.folder import folder_splits, open_folder, recognizes_folder
from keras_focusseg.pictures.contents import discover_colors, mask_contents
from tests.data.conftest import random_pair

BLUE, RED, BLACK = (0, 0, 200), (210, 10, 20), (0, 0, 0)
COLORS = np.array([BLUE, RED, BLACK], "uint8")
TABLE = "name,r,g,b\nsea,0,0,200\nvoid,0,0,0\nboat,210,10,20\n"
IDS = np.array([[0, 0, 1, 1], [0, 2, 2, 1], [0, 0, 0, 0]], "uint8")


def save(path, array, palette=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(np.asarray(array))
    if palette is not None:
        picture.putpalette(np.asarray(palette, "uint8").tobytes())
    picture.save(path)


def photo(path):
    save(path, np.full((*IDS.shape, 3), 90, "uint8"))


def own(root, masks, palette=None, names="ab"):
    """`images` and `masks` below a root."""
    for name, mask in zip(names, masks, strict=False):
        photo(root / "images" / f"{name}.png")
        save(root / "masks" / f"{name}.png", mask, palette)
    return root


class TestFolder:
    SPACE = label_spaces.from_names([f"class {i}" for i in range(11)], ignored_ids=(11,))

    @pytest.fixture
    def root(self, tmp_path):
        for number, name in enumerate(["b", "a", "sub/c"]):
            image, mask = random_pair(number)
            for folder, array, suffix in (("images", image, ".jpg"), ("masks", mask, ".png")):
                path = tmp_path / folder / f"{name}{suffix}"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(array).save(path)
        return tmp_path

    def folder(self, root, **options):
        return data.Folder(root / "images", root / "masks", self.SPACE, **options)

    def test_pairs_by_stem(self, root):
        source = self.folder(root)
        assert [s.name for s in source] == ["a", "b", "sub/c"]
        assert (source.name, source.split, source.label_space) == ("folder", "all", self.SPACE)
        _, mask = random_pair(1)
        np.testing.assert_array_equal(source.load(0).mask, np.where(mask == 11, 255, mask))

    def test_label_space_by_name(self, root):
        source = data.Folder(root / "images", root / "masks", "camvid11")
        assert source.label_space == label_spaces.get("camvid11")

    def test_mask_suffix(self, root):
        for path in [p for p in (root / "masks").rglob("*.png")]:
            path.rename(path.with_name(f"{path.stem}_L.png"))
        assert len(self.folder(root, mask_suffix="_L")) == 3
        with pytest.raises(data.DataError, match=r"no partner.*holds 'a_L\.png'.*mask_suffix"):
            self.folder(root, mask_suffix="")
        assert len(self.folder(root)) == 3  # found
        with pytest.raises(data.DataError, match=r"does not end in '_M'"):
            self.folder(root, mask_suffix="_M")

    @pytest.mark.parametrize(("folder", "name"), [("images", "x.jpg"), ("masks", "x.png")])
    def test_unpaired_on_either_side(self, root, folder, name):
        Image.new("L", (4, 4)).save(root / folder / name)
        with pytest.raises(data.DataError, match=rf"{folder}: 1 of 4 files have no .*'{name}'"):
            self.folder(root)

    def test_many_unpaired_are_summed_up(self, root):
        for number in range(9):
            Image.new("L", (4, 4)).save(root / "images" / f"x{number}.png")
        with pytest.raises(data.DataError, match=r"'x4\.png' and 4 more"):
            self.folder(root)

    def test_two_files_of_one_name(self, root):
        Image.new("L", (4, 4)).save(root / "images" / "a.png")
        with pytest.raises(data.DataError, match=r"same name as 'a\.jpg'|same name as 'a\.png'"):
            self.folder(root)

    def test_other_files_do_not_count(self, root):
        (root / "images" / "README.txt").write_text("about")
        (root / "images" / ".hidden.png").write_bytes(b"")
        (root / "masks" / ".cache").mkdir()
        (root / "masks" / ".cache" / "a.png").write_bytes(b"")
        assert len(self.folder(root)) == 3

    def test_missing_and_empty_folders(self, root, tmp_path):
        with pytest.raises(data.DataError, match=r"labels: the mask folder is not there"):
            data.Folder(root / "images", root / "labels", self.SPACE)
        (root / "none").mkdir()
        with pytest.raises(data.DataError, match="no picture there"):
            data.Folder(root / "none", root / "none", self.SPACE)

    @pytest.mark.skipif(os.name == "nt", reason="links need rights on Windows")
    def test_links_out_of_the_folder_are_refused(self, root, tmp_path):
        outside = tmp_path / "outside.png"
        (root / "masks" / "a.png").rename(outside)
        (root / "masks" / "a.png").symlink_to(outside)
        with pytest.raises(data.DataError, match="is a link to"):
            self.folder(root)


def masks_of(source):
    return [source.load_mask(i).tolist() for i in range(len(source))]


class TestEncoding:
    def test_colours_from_a_table(self, tmp_path):
        own(tmp_path, [COLORS[IDS], COLORS[IDS[::-1]]])
        (tmp_path / "class_dict.csv").write_text(TABLE)
        source = open_folder(tmp_path, "all")
        assert source.layout == "coloured masks, 3 colours from class_dict.csv, 2 pairs"
        assert source.label_space.classes == ("sea", "boat")
        by_hand = [[0, 0, 1, 1], [0, 255, 255, 1], [0, 0, 0, 0]]
        assert masks_of(source) == [by_hand, by_hand[::-1]]
        assert source.load(0).image.shape == (3, 4, 3)
        assert data.Folder(tmp_path / "images", tmp_path / "masks").layout == source.layout

    def test_colour_that_the_table_lacks(self, tmp_path):
        mask = COLORS[IDS].copy()
        mask[0, 0] = (1, 2, 3)
        own(tmp_path, [COLORS[IDS], mask])
        (tmp_path / "class_dict.csv").write_text(TABLE)
        with pytest.raises(data.DataError, match=r"b\.png: 1 of 12 pixels.*\(1, 2, 3\) \(1\)"):
            open_folder(tmp_path, "all").load(1)

    def test_colours_discovered_over_all_splits(self, tmp_path):
        for split, ids in (("train", [0, 0, 2]), ("val", [0, 1, 1])):
            photo(tmp_path / "images" / split / "a.png")
            save(tmp_path / "masks" / split / "a.png", COLORS[np.array([ids] * 3)])
        train, val = open_folder(tmp_path, "train"), open_folder(tmp_path, "val")
        assert train.label_space == val.label_space
        assert val.label_space.colors == (BLACK, BLUE, RED)  # sorted by colour
        assert val.label_space.classes[2] == "color_210_10_20"
        assert train.load_mask(0)[0].tolist() == [1, 1, 0]
        assert val.load_mask(0)[0].tolist() == [1, 2, 2]
        assert val.layout == "coloured masks, 3 colours discovered in 2 masks, 1 pair"
        found = discover_colors(sorted((tmp_path / "masks").rglob("*.png")))
        assert found == {BLACK: 3, BLUE: 9, RED: 6} and list(found) == sorted(found)
        path = tmp_path / "class_dict.csv"
        label_spaces.write_class_dict(path, label_spaces.name_colors(found))
        path.write_text(path.read_text().replace("color_0_0_0", "void"))
        assert open_folder(tmp_path, "train").load_mask(0)[0].tolist() == [0, 0, 255]

    def test_a_benchmark_is_recognised_by_its_colours(self, tmp_path):
        camvid = label_spaces.get("camvid32")
        own(tmp_path, [np.array([camvid.colors[:12]], "uint8").reshape(3, 4, 3)])
        source = open_folder(tmp_path, "all")
        assert source.label_space == camvid and "(camvid32)" in source.layout
        assert masks_of(source) == [np.arange(12).reshape(3, 4).tolist()]

    def test_ids_discovered(self, tmp_path):
        own(tmp_path, [IDS, np.where(IDS == 2, 255, 7 * IDS).astype("uint8")])
        source = open_folder(tmp_path, "all")
        assert source.label_space.classes == ("class_0", "class_1", "class_2", "class_7")
        assert source.label_space.ids == (0, 1, 2, 7)
        assert source.layout == "id masks, 4 classes discovered in 2 masks, 2 pairs"
        assert source.load_mask(1).tolist() == [[0, 0, 3, 3], [0, 255, 255, 3], [0, 0, 0, 0]]

    @pytest.mark.parametrize(
        ("levels", "names"),
        [
            ([0, 255], "'background', 'object'"),
            ([255], "'background'"),
            ([0, 128, 255], "'object_128', 'object_255'"),
        ],
    )
    def test_grey_levels_are_not_guessed(self, tmp_path, levels, names):
        own(tmp_path, [np.resize(np.array(levels, "uint8"), IDS.shape)])
        with pytest.raises(data.DataError, match="by convention 255 means ignored") as caught:
            open_folder(tmp_path, "all")
        message = str(caught.value)
        assert names in message and f"ids={levels}, ignored_ids=[])" in message

    def test_the_fixes_for_grey_levels_work(self, tmp_path):
        own(tmp_path, [np.where(IDS == 1, 255, 0).astype("uint8")])
        with pytest.raises(data.DataError) as caught:
            open_folder(tmp_path, "all")
        said = str(caught.value)
        call = said[said.index("label_spaces.from_names") : -1]
        space = eval(call, {"label_spaces": label_spaces})
        expected = (IDS == 1).astype(int).tolist()
        assert masks_of(open_folder(tmp_path, "all", label_space=space)) == [expected]
        rows = said[said.index("name,r,g,b") : said.index("; or say")].split(" / ")
        (tmp_path / "class_dict.csv").write_text("\n".join(rows))
        source = open_folder(tmp_path, "all")
        assert masks_of(source) == [expected] and "grey levels" in source.layout

    def test_black_and_white_is_refused_where_white_is_ignored(self, tmp_path):
        own(tmp_path, [np.where(IDS == 1, 255, 0).astype("uint8")])
        space = label_spaces.from_names(["ground", "object"])
        with pytest.raises(data.DataError, match="255 means ignored"):
            open_folder(tmp_path, "all", label_space=space)
        (tmp_path / "classes.txt").write_text("ground\nobject\n")
        with pytest.raises(data.DataError, match="255 means ignored"):
            open_folder(tmp_path, "all")
        own(tmp_path, [IDS % 2], names="b")  # some mask shows an object: 255 may be ignored
        assert masks_of(open_folder(tmp_path, "all"))[1] == (IDS % 2).tolist()

    def test_table_without_colours(self, tmp_path):
        own(tmp_path, [IDS])
        (tmp_path / "classes.txt").write_text("sea\nboat\nvoid\n")
        source = open_folder(tmp_path, "all")
        assert source.layout == "id masks, 2 classes from classes.txt, 1 pair"
        assert masks_of(source) == [np.where(IDS == 2, 255, IDS).tolist()]
        save(tmp_path / "masks" / "a.png", COLORS[IDS])
        with pytest.raises(data.DataError, match=r"coloured, but .*classes\.txt has no colours"):
            open_folder(tmp_path, "all")

    def test_table_may_lie_elsewhere(self, tmp_path):
        own(tmp_path, [IDS])
        (tmp_path / "about").mkdir()
        (tmp_path / "about" / "names.txt").write_text("sea\nboat\nrock\n")
        source = open_folder(tmp_path, "all", table="about/names.txt")
        assert source.label_space.classes == ("sea", "boat", "rock")

    def test_broken_table(self, tmp_path):
        own(tmp_path, [IDS])
        (tmp_path / "classes.txt").write_text("sea\n\nboat\n")
        with pytest.raises(data.DataError, match=r"classes\.txt, line 2: is empty"):
            open_folder(tmp_path, "all")

    def test_grey_pictures_are_no_masks(self, tmp_path):
        own(tmp_path, [np.arange(201, dtype="uint8").reshape(3, 67)])
        with pytest.raises(data.DataError, match="201 ids, more than 150, and look like grey"):
            open_folder(tmp_path, "all")

    def test_blended_colours(self, tmp_path):
        blended = np.random.default_rng(0).integers(0, 256, (30, 40, 3), "uint8")
        own(tmp_path, [blended])
        with pytest.raises(data.DataError, match=r"a\.png: .*more than 255 colours.*blending"):
            open_folder(tmp_path, "all")
        with pytest.raises(data.DataError, match="2 masks: .*more than 255 colours"):
            own(tmp_path, [blended[:10, :20], blended[10:20, :20]])
            open_folder(tmp_path, "all")

    def test_16_bit_ids(self, tmp_path):
        own(tmp_path, [IDS.astype("uint16")])
        assert masks_of(open_folder(tmp_path, "all")) == [IDS.tolist()]
        own(tmp_path, [IDS.astype("uint16") * 1000])
        with pytest.raises(data.DataError, match=r"the id 2000 \(2 pixels\); ids are 0 to 255"):
            open_folder(tmp_path, "all")


class TestPalette:
    def test_index_is_the_id_and_colours_are_shown(self, tmp_path):
        own(tmp_path, [IDS, IDS % 2], [BLUE, RED, BLACK])
        source = open_folder(tmp_path, "all")
        assert source.label_space.colors == (BLUE, RED, BLACK)
        assert source.layout == "palette masks, 3 classes discovered in 2 masks, 2 pairs"
        assert masks_of(source)[0] == IDS.tolist()

    def test_palettes_that_disagree_are_read_by_colour(self, tmp_path):
        own(tmp_path, [IDS], [BLUE, RED, BLACK])
        photo(tmp_path / "images" / "b.png")
        save(tmp_path / "masks" / "b.png", 2 - IDS, [BLACK, RED, BLUE])
        source = open_folder(tmp_path, "all")
        assert source.label_space.colors == (BLACK, BLUE, RED) and "colours" in source.layout
        expected = np.array([1, 2, 0])[IDS].tolist()
        assert masks_of(source) == [expected, expected]

    def test_meaningless_indices_and_a_table(self, tmp_path):
        own(tmp_path, [IDS + 40], [(9, 9, 9)] * 40 + [BLUE, RED, BLACK])
        (tmp_path / "class_dict.csv").write_text(TABLE)
        source = open_folder(tmp_path, "all")
        assert masks_of(source) == [np.array([0, 1, 255])[IDS].tolist()]
        assert source.layout.startswith("coloured masks")

    def test_index_fits_the_table_and_colours_do_not(self, tmp_path):
        own(tmp_path, [IDS % 2 * 2], [(1, 1, 1), (2, 2, 2), (3, 3, 3)])
        (tmp_path / "class_dict.csv").write_text(TABLE)
        assert masks_of(open_folder(tmp_path, "all")) == [(IDS % 2).tolist()]

    def test_index_and_colour_agree(self, tmp_path):
        own(tmp_path, [IDS], [BLUE, BLACK, RED])
        (tmp_path / "class_dict.csv").write_text(TABLE)
        source = open_folder(tmp_path, "all")
        assert masks_of(source) == [np.array([0, 255, 1])[IDS].tolist()]
        assert source.layout == "palette masks, 2 classes from class_dict.csv, 1 pair"

    def test_index_and_colour_contradict(self, tmp_path):
        own(tmp_path, [IDS], [BLUE, RED, BLACK])
        (tmp_path / "class_dict.csv").write_text(TABLE)
        with pytest.raises(
            data.DataError,
            match=r"two ways.*class_dict\.csv allows both: index 1 is ignored.* is 'boat'. Say enc",
        ):
            open_folder(tmp_path, "all")
        by = {e: masks_of(open_folder(tmp_path, "all", encoding=e))[0] for e in ("ids", "colors")}
        assert by["ids"] == np.array([0, 255, 1])[IDS].tolist()
        assert by["colors"] == np.array([0, 1, 255])[IDS].tolist()


class TestKinds:
    @pytest.mark.parametrize("table", [False, True])
    def test_kinds_are_not_mixed(self, tmp_path, table):
        own(tmp_path, [IDS, COLORS[IDS]])
        if table:
            (tmp_path / "class_dict.csv").write_text(TABLE)
        with pytest.raises(data.DataError, match="different kinds: 1 of colors, 1 of ids"):
            open_folder(tmp_path, "all")

    @pytest.mark.parametrize(
        ("mask", "encoding", "message"),
        [
            (COLORS[IDS], "ids", "encoding='ids', but some masks are of another kind"),
            (IDS, "palette", "encoding='palette', but"),
            (IDS, "colors", "encoding='colors', but the masks have one channel"),
            (IDS, "rgb", "encoding is 'rgb'; it can be 'auto', 'ids'"),
        ],
    )
    def test_encoding_is_held_to(self, tmp_path, mask, encoding, message):
        own(tmp_path, [mask])
        with pytest.raises(data.DataError, match=message):
            open_folder(tmp_path, "all", encoding=encoding)

    def test_label_space_with_colours(self, tmp_path):
        own(tmp_path, [COLORS[IDS]])
        space = label_spaces.from_names(["boat", "sea"], colors=[RED, BLUE])
        source = open_folder(tmp_path, "all", label_space=space)
        assert masks_of(source) == [np.array([1, 0, 255])[IDS].tolist()]
        named = label_spaces.from_names(["boat", "sea"], ignore_color=(7, 7, 7))
        with pytest.raises(data.DataError, match=r"coloured \(\(0, 0, 200\).*Say which colours"):
            open_folder(tmp_path, "all", label_space=named)
        with pytest.raises(data.DataError, match="12 of 12 pixels"):
            open_folder(tmp_path, "all", label_space=named, strict=False).load(0)

    def test_wrong_label_space(self, tmp_path):
        own(tmp_path, [IDS])
        with pytest.raises(data.DataError, match="label_space: There is no label space 'camvid'"):
            open_folder(tmp_path, "all", label_space="camvid")
        with pytest.raises(data.DataError, match="label_space: "):
            open_folder(tmp_path, "all", label_space={"name": "x"})

    def test_a_broken_mask_while_looking(self, tmp_path):
        own(tmp_path, [IDS, IDS])
        (tmp_path / "masks" / "b.png").write_bytes(b"broken")
        with pytest.raises(data.DataError, match=r"b\.png: the mask cannot be read"):
            open_folder(tmp_path, "all")
        source = open_folder(tmp_path, "all", strict=False)
        assert len(source) == 2 and source.label_space.num_classes == 3
        (tmp_path / "masks" / "a.png").write_bytes(b"broken")
        with pytest.raises(
            data.DataError,
            match=r"none of the 2 masks can be read; the first, a\.png: the mask cannot be read, "
            r".* Restore it from its source\.",
        ):
            open_folder(tmp_path, "all", strict=False)

    def test_looking_is_remembered_until_a_file_changes(self, tmp_path, monkeypatch):
        path = tmp_path / "a.png"
        save(path, IDS)
        seen = []
        first = mask_contents([path], progress=lambda done, total: seen.append((done, total)))
        assert first[0].ids == {0: 7, 1: 3, 2: 2} and seen == [(1, 1)]
        monkeypatch.setattr("keras_focusseg.pictures.contents._look", None)
        assert mask_contents([path]) == first
        monkeypatch.undo()
        save(path, COLORS[np.tile(IDS, (5, 5))])
        assert mask_contents([path])[0].colors == {BLUE: 175, RED: 75, BLACK: 50}


class TestLayouts:
    @pytest.mark.parametrize(
        ("image", "mask"),
        [
            ("images/{}/a.jpg", "masks/{}/a.png"),
            ("{}/images/a.jpg", "{}/labels/a.png"),
            ("set/Images/{}/a.jpg", "set/SegmentationClass/{}/a.png"),
            ("imgs/{}/a.JPG", "gt/{}/a_mask.PNG"),
            ("{}/a.jpg", "{}_labels/a_L.png"),
            ("{}/a.jpg", "{}annot/a.png"),
            ("{}_images/a.png", "{}_masks/a.png"),
            ("images_{}/a.png", "labels_{}/a.png"),
            ("{}/a.jpg", "{}/a_mask.png"),
            ("{}/a_sat.jpg", "{}/a_mask.png"),
            ("{}/image/x/a.jpg", "{}/mask/x/a.png"),
        ],
    )
    @pytest.mark.parametrize("val", ["val", "valid"])
    def test_splits(self, tmp_path, image, mask, val):
        for split in ("train", val):
            photo(tmp_path / image.format(split))
            save(tmp_path / mask.format(split), IDS)
        assert recognizes_folder(tmp_path) and folder_splits(tmp_path) == ("train", "val")
        source = open_folder(tmp_path, "val")
        assert [s.name.split("/")[-1] for s in source] == ["a"] and source.split == "val"
        assert masks_of(source) == [IDS.tolist()]
        assert source.files(0) == (
            (tmp_path / image.format(val)).resolve(), (tmp_path / mask.format(val)).resolve()
        )  # fmt: skip
        with pytest.raises(data.DataError, match="split 'test' is not there"):
            open_folder(tmp_path, "test")

    @pytest.mark.parametrize(
        ("image", "mask"),
        [
            ("images/{}.jpg", "masks/{}.png"),
            ("{}.jpg", "masks/{}.png"),
            ("{}.jpg", "{}_mask.png"),
            ("JPEGImages/{}.jpg", "annotations/{}_gtFine_labelIds.png"),
            ("images/{}_leftImg.jpg", "masks/{}_leftImg-seg.png"),
        ],
    )
    def test_no_splits(self, tmp_path, image, mask):
        for name in ("1", "10", "street_1"):
            photo(tmp_path / image.format(name))
            save(tmp_path / mask.format(name), IDS)
        assert folder_splits(tmp_path) == ("all",)
        assert len(open_folder(tmp_path, "all")) == 3
        with pytest.raises(data.DataError, match=r"Use split='all' to take \S+ as a whole\.$"):
            open_folder(tmp_path, "train")

    def test_no_validation_split(self, tmp_path):
        """`split='all'` holds the training split: the advice is to hold pairs out."""
        own(tmp_path, [IDS, IDS])
        for folder in ("images", "masks"):
            (tmp_path / folder / "train").mkdir()
            for path in (tmp_path / folder).glob("*.*"):
                path.rename(path.parent / "train" / path.name)
        (tmp_path / "masks").rename(tmp_path / "labels")
        with pytest.raises(
            data.DataError,
            match=r"Put its pairs into images/val and labels/val\. .* whole, other splits included",
        ):
            open_folder(tmp_path, "val")

    def test_folders_named_by_more_than_one_word(self, tmp_path):
        own(tmp_path, [IDS, IDS])
        (tmp_path / "images").rename(tmp_path / "original_images")
        (tmp_path / "masks").rename(tmp_path / "label_images_semantic")
        assert recognizes_folder(tmp_path) and folder_splits(tmp_path) == ("all",)
        assert len(open_folder(tmp_path, "all")) == 2
        photo(tmp_path / "other_images" / "a.png")  # now it is not clear which
        assert not recognizes_folder(tmp_path)

    @pytest.mark.parametrize("same", [True, False])
    def test_splits_are_joined(self, tmp_path, same):
        for split, name in (("train", "a"), ("val", "a" if same else "b")):
            photo(tmp_path / "images" / split / f"{name}.jpg")
            save(tmp_path / "masks" / split / f"{name}.png", IDS if split == "train" else 2 - IDS)
        source = data.open_source("folder", tmp_path, "train+val")
        names = ["train/a", "val/a"] if same else ["a", "b"]
        assert source.split == "train+val" and [s.name for s in source] == names
        assert [source.sample_name(i) for i in range(2)] == names
        assert masks_of(source) == [IDS.tolist(), (2 - IDS).tolist()]
        assert source.files(1)[1] == tmp_path / "masks" / "val" / f"{'a' if same else 'b'}.png"
        with pytest.raises(IndexError, match="sample 2 of 2"):
            source.load(2)
        with pytest.raises(data.DataError, match="names a split twice"):
            data.open_source("folder", tmp_path, "val+val")

    def test_splits_of_different_classes_are_not_joined(self, tmp_path):
        for split, table in (("train", "a\nb\nc"), ("val", "a\nc\nb")):
            photo(tmp_path / split / "images" / "a.jpg")
            save(tmp_path / split / "masks" / "a.png", IDS)
            (tmp_path / split / "classes.txt").write_text(table)
        with pytest.raises(data.DataError, match="'train' and 'val' of 'folder' have different"):
            data.open_source("folder", tmp_path, "train+val")

    def test_named_folders(self, tmp_path):
        photo(tmp_path / "left" / "train" / "a.png")
        save(tmp_path / "right" / "train" / "a.png", IDS)
        assert len(open_folder(tmp_path, "train", images="left", masks="right")) == 1
        assert not recognizes_folder(tmp_path)
        with pytest.raises(data.DataError, match="no images with masks found; it holds 'left', 'r"):
            open_folder(tmp_path, "train")
        with pytest.raises(data.DataError, match=r"wrong is missing"):
            open_folder(tmp_path, "train", images="left", masks="wrong")

    def test_nothing_is_recognised_and_nothing_raised(self, tmp_path):
        (tmp_path / "file").write_text("")
        for path in (tmp_path, tmp_path / "none", tmp_path / "file", "\0"):
            assert not recognizes_folder(path) and folder_splits(path) == ()

    def test_case_is_a_difference_that_is_named(self, tmp_path):
        own(tmp_path, [IDS])
        (tmp_path / "masks" / "a.png").rename(tmp_path / "masks" / "A.png")
        with pytest.raises(data.DataError, match="For 'a' there is 'A.png'"):
            open_folder(tmp_path, "all")

    def test_not_strict(self, tmp_path):
        own(tmp_path, [IDS, IDS, IDS], names="abc")
        (tmp_path / "images" / "a.png").unlink()
        (tmp_path / "masks" / "b.png").unlink()
        source = open_folder(tmp_path, "all", strict=False)
        assert [s.name for s in source] == ["c"]
        assert source.unpaired == [tmp_path / "images" / "b.png", tmp_path / "masks" / "a.png"]
        assert source.layout.endswith("1 pair, 2 without partner left out")
        (tmp_path / "images" / "c.png").unlink()
        with pytest.raises(data.DataError, match="none of its 1 images has a mask"):
            open_folder(tmp_path, "all", strict=False)

    def test_pictures_in_one_folder_that_cannot_be_told_apart(self, tmp_path):
        photo(tmp_path / "a.png")
        photo(tmp_path / "b.png")
        with pytest.raises(data.DataError, match="no ending tells the 2 pictures apart"):
            data.Folder(tmp_path, tmp_path)
        save(tmp_path / "a!.png", IDS)
        save(tmp_path / "b!.png", IDS)
        assert len(data.Folder(tmp_path, tmp_path, mask_suffix="!")) == 2

    @pytest.mark.skipif(os.name == "nt", reason="links need rights on Windows")
    def test_links_out_of_the_root(self, tmp_path):
        outside, root = tmp_path / "outside", tmp_path / "root"
        own(outside, [IDS])
        (root / "images").mkdir(parents=True)
        photo(root / "images" / "a.png")
        (root / "masks").symlink_to(outside / "masks")
        with pytest.raises(data.DataError, match="is a link to .*outside"):
            open_folder(root, "all")
        (root / "masks").unlink()
        save(root / "masks" / "a.png", IDS)
        photo(root / "images" / "c" / "a.png")
        (root / "images" / "more").symlink_to(root / "images" / "c")
        with pytest.raises(data.DataError, match="is a link to another folder"):
            open_folder(root, "all")
        (root / "images" / "more").unlink()
        (root / "images" / "b.png").symlink_to(root / "images" / "b.png")
        with pytest.raises(data.DataError, match="leads nowhere|no partner"):
            open_folder(root, "all")

    @pytest.mark.skipif(os.name == "nt", reason="names are text there")
    def test_names_that_are_no_text(self, tmp_path):
        own(tmp_path, [IDS], names=[os.fsdecode(b"stra\xdfe")])
        source = open_folder(tmp_path, "all")
        assert source.load(0).name == "stra\\udcdfe"
        source.load(0).name.encode()
        os.unlink(source.files(0)[1])
        with pytest.raises(data.DataError) as caught:
            source.load(0)
        str(caught.value).encode()

    def test_folder_that_may_not_be_read(self, tmp_path, monkeypatch):
        own(tmp_path, [IDS])

        def denied(path):
            raise PermissionError(13, "Permission denied", str(path))

        monkeypatch.setattr(os, "scandir", denied)
        with pytest.raises(data.DataError, match=r"cannot be read \(Permission denied\)"):
            open_folder(tmp_path, "all")
        assert not recognizes_folder(tmp_path)
