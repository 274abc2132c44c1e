"""CamVid at its own size: which frames make which split, colours, and damaged copies."""

from __future__ import annotations

import importlib
import os
from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from keras_focusseg import data, label_spaces
from keras_focusseg.data.sources.camvid_frames import split_frames
from keras_focusseg.inference.procedure import ClassMap
from tests.data.conftest import refused

OFFICIAL = ("train", "val", "test")
AUTHOR = ("author_random_train", "author_random_test", "author_random_rest")
IMAGE = np.random.default_rng(0).integers(0, 256, (4, 8, 3), "uint8")
COLORS = np.array(label_spaces.grouping("camvid32").colors, "uint8")  # (32, 3)
LABEL = COLORS.reshape(4, 8, 3)  # every colour once


def make(root, frames, images="701_StillsRaw_full", masks="LabeledApproved_full"):
    """A tree of equal tiny frames, as hard links."""
    for folder, ending, array in ((images, ".png", IMAGE), (masks, "_L.png", LABEL)):
        (root / folder).mkdir(parents=True)
        first = root / folder / f"{frames[0]}{ending}"
        Image.fromarray(array).save(first)
        for frame in frames[1:]:
            os.link(first, root / folder / f"{frame}{ending}")
    return root


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """All 701 frames; not to be changed."""
    return make(tmp_path_factory.mktemp("camvid"), [f for s in OFFICIAL for f in split_frames(s)])


@pytest.fixture
def val(tmp_path):
    """A copy that has the frames of "val" only."""
    return make(tmp_path / "CamVid", split_frames("val"))


def replace_label(root, frame, array):
    path = root / "LabeledApproved_full" / f"{frame}_L.png"
    path.unlink()  # the others are links to the same file
    Image.fromarray(array).save(path)


def sequences(frames):
    counts = Counter(frame.split("_")[0] for frame in frames)
    return tuple(counts[s] for s in ("0001TP", "0006R0", "0016E5", "Seq05VD"))


class TestSplits:
    def test_official(self):
        frames = {split: split_frames(split) for split in OFFICIAL}
        assert sequences(frames["train"]) == (62, 101, 204, 0)
        assert sequences(frames["val"]) == (0, 0, 101, 0)
        assert sequences(frames["test"]) == (62, 0, 0, 171)
        assert len(set().union(*frames.values())) == 367 + 101 + 233 == 701

    @pytest.mark.shared
    def test_official_lists(self, shared_dir):
        for split in ("train", "val"):
            tutorial = data.CamVid(shared_dir / "data" / "camvid", split)
            assert split_frames(split) == [name for name, _, _ in tutorial.pairs]

    def test_author_random(self):
        """What is known of the author's two lists of frames: order, sequences, official splits."""
        train, test, rest = (split_frames(split) for split in AUTHOR)
        assert test[:5] == [
            "0016E5_00540", "0016E5_07620", "0001TP_009840", "0016E5_08029", "0016E5_00600",
        ]  # fmt: skip
        assert sequences(test) == (42, 28, 103, 58)
        final = test[:141] + train[378:] + rest[1:48]  # the list with the published figures
        assert sequences(final) == (45, 23, 106, 57)
        for frames, shared in ((test, (115, 40, 76)), (final, (111, 43, 77))):
            assert tuple(len(set(frames) & set(split_frames(s))) for s in OFFICIAL) == shared
        assert (len(train), len(test), len(rest)) == (421, 231, 49)
        assert len({*train, *test, *rest}) == 701

    def test_author_random_leaks(self):
        """Why the split is not comparable, as the documentation says it."""

        def place(frame):
            sequence, number = frame.split("_")
            return sequence, int(number.lstrip("f"))

        train = [place(frame) for frame in split_frames("author_random_train")]
        near = [
            any(sequence == s and abs(number - n) <= 31 for s, n in train)
            for sequence, number in map(place, split_frames("author_random_test"))
        ]
        assert (sum(near), len(near)) == (201, 231)


class TestSource:
    @pytest.mark.parametrize("split", [*OFFICIAL, *AUTHOR, "train+val"])
    def test_every_split_opens(self, whole, split):
        source = data.CamVid720(whole, split)
        expected = [f for part in split.split("+") for f in split_frames(part)]
        assert [name for name, _, _ in source.pairs] == expected
        sample = source.load(len(source) - 1)
        np.testing.assert_array_equal(sample.image, IMAGE)
        assert sample.name == expected[-1]

    def test_scores_on_the_authors_split_carry_a_warning(self, whole):
        official = data.CamVid720(whole, "test")
        author = data.CamVid720(whole, "author_random_train+author_random_rest")
        assert official.note == "32 colours, grouping 'mathworks'"
        assert "neighbouring video frames" in author.note
        for source in (author, data.Cached(author)):
            assert author.note in repr(source)

    def test_the_warning_is_in_the_record_of_a_score(self, val, monkeypatch):
        module = importlib.import_module("keras_focusseg.inference.evaluate")
        labels = np.zeros((4, 8), "uint8")
        found = ClassMap(labels, np.ones((4, 8), "float32"))
        monkeypatch.setattr(module.Procedure, "class_maps", lambda *_: [found])
        source = data.CamVid720(val, "val")
        score = module.evaluate(
            SimpleNamespace(num_classes=11, label_space=None, ignore_class=255), source
        ).to_score()
        assert score["note"] == source.note and score["split"] == "val"

    @pytest.mark.parametrize("grouping", ["mathworks", "segnet", "exact_colour", None])
    def test_colours(self, whole, grouping):
        source = data.open_source("camvid720", whole, "val", grouping=grouping)
        groups = label_spaces.grouping("camvid32", grouping)
        assert source.label_space == groups.label_space
        assert source.label_space.num_classes == (11 if grouping else 31)
        mask = source.load(0).mask
        np.testing.assert_array_equal(mask.ravel(), groups.train_ids)
        if grouping in ("mathworks", None):
            assert (mask == 255).sum() == 1  # void, and nothing else

    def test_sequences(self, whole):
        held_out = data.CamVid720(whole, "train", sequences="0006R0")
        assert len(held_out) == 101
        assert len(data.CamVid720(whole, "train", exclude_sequences=("0006R0",))) == 266

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"split": "train+author_random_test"}, "two families, which overlap"),
            ({"split": "all"}, "no split 'all'; it has 'train', 'val', 'test', 'author_random_"),
            ({"split": "val+val"}, "names a split twice"),
            ({"grouping": "pidnet"}, "no grouping 'pidnet'"),
            ({"sequences": "Seq05VD"}, "split 'train' has no sequence 'Seq05VD'"),
        ],
    )
    def test_wrong_choice(self, whole, options, message):
        with pytest.raises(data.DataError, match=message):
            data.CamVid720(whole, **options)


class TestLayout:
    def test_images_and_labels(self, tmp_path):
        make(tmp_path, split_frames("val"), "images", "labels")
        assert len(data.CamVid720(tmp_path, "val")) == 101

    def test_root_one_above_or_below(self, val):
        assert len(data.CamVid720(val.parent, "val")) == 101
        with pytest.raises(data.DataError, match=r"CamVid is where it lies: open that folder"):
            data.CamVid720(val / "701_StillsRaw_full", "val")

    def test_two_copies(self, val):
        make(val.parent / "copy", split_frames("val"), "images", "labels")
        assert len(data.CamVid720(val.parent, "val")) == 101  # the archives' own layout first
        make(val.parent / "third", split_frames("val"))
        with pytest.raises(data.DataError, match="there 2 times, in 'CamVid', 'third'"):
            data.CamVid720(val.parent, "val")

    def test_nothing_there(self, tmp_path):
        (tmp_path / "train").mkdir()
        with refused(
            "dataset that is not there",
            tmp_path,
            "found 'train', looked for 'LabeledApproved_full', 'labels'.*701_StillsRaw_full",
        ):
            data.CamVid720(tmp_path, "val")

    def test_images_missing(self, val):
        (val / "701_StillsRaw_full").rename(val / "raw")
        with pytest.raises(data.DataError, match=r"the image folder is not there; .*'raw'"):
            data.CamVid720(val, "val")

    @pytest.mark.parametrize(("split", "message"), [
        ("train", "split 'train' needs 367 frames, and 367 of them are missing: '0001TP_006690'"),
        ("author_random_test", r"needs 701 frames, and 600 of them .* 101 frames were found"),
    ])  # fmt: skip
    def test_frames_of_a_split_missing(self, val, split, message):
        with pytest.raises(data.DataError, match=message):
            data.CamVid720(val, split)

    def test_partner_missing(self, val):
        (val / "LabeledApproved_full" / "0016E5_07959_L.png").unlink()
        with refused("file without partner", val / "701_StillsRaw_full", "'0016E5_07959'"):
            data.CamVid720(val, "val")

    def test_not_strict(self, val):
        (val / "LabeledApproved_full" / "0016E5_07959_L.png").unlink()
        (val / "701_StillsRaw_full" / "0016E5_07961.png").unlink()
        source = data.CamVid720(val, "val", strict=False)
        assert [path.name for path in source.unpaired] == [
            "0016E5_07959.png", "0016E5_07961_L.png",
        ]  # fmt: skip
        assert [name for name, _, _ in source.pairs] == split_frames("val")[2:]
        assert source.layout == (
            "701_StillsRaw_full with LabeledApproved_full (label images in 32 colours), "
            "99 pairs, 2 without partner left out"
        )
        with pytest.raises(data.DataError, match="split 'train' needs 367 frames"):
            data.CamVid720(val, "train", strict=False)

    def test_recognised_with_the_splits_that_are_whole(self, val, whole):
        assert data.CamVid720.recognizes(whole) and data.CamVid720.splits(whole) == OFFICIAL
        assert data.CamVid720.splits(val.parent) == ("val",)
        (val / "LabeledApproved_full" / "0016E5_07959_L.png").unlink()
        assert data.CamVid720.recognizes(val) and data.CamVid720.splits(val) == ()

    def test_frame_that_is_not_camvids(self, val):
        make(val / "more", ["0016E5_07960"])
        for folder in ("701_StillsRaw_full", "LabeledApproved_full"):
            for path in (val / "more" / folder).iterdir():
                path.rename(val / folder / path.name)
        with pytest.raises(data.DataError, match=r"1 of 102 frames are none .*'0016E5_07960'"):
            data.CamVid720(val, "val")

    def test_other_files_do_not_count(self, val):
        (val / "701_StillsRaw_full" / "Thumbs.db").write_bytes(b"")
        (val / "LabeledApproved_full" / "._0016E5_07959_L.png").write_bytes(b"")
        assert len(data.CamVid720(val, "val")) == 101

    @pytest.mark.skipif(os.name == "nt", reason="links need rights on Windows")
    @pytest.mark.parametrize("what", ["file", "folder"])
    def test_links_out_of_the_root_are_refused(self, val, tmp_path, what):
        path = val / "LabeledApproved_full"
        if what == "file":
            path = path / "0016E5_07959_L.png"
        path.rename(tmp_path / "outside")
        path.symlink_to(tmp_path / "outside")
        with pytest.raises(data.DataError, match=r"is a link to .*outside, outside"):
            data.CamVid720(val, "val")


class TestLabelImages:
    def stray(self, count):
        """The known frame's label image, or any: so many pixels of blended colours."""
        label = np.zeros((20, 20, 3), "uint8")
        label.reshape(-1, 3)[:count] = (128, 128, 102)
        return label

    def test_stray_colours(self, val):
        replace_label(val, "0016E5_07961", self.stray(7)[:4, :8])
        with pytest.raises(
            data.DataError,
            match=r"0016E5_07961_L\.png: 7 of 32 pixels .*\(128, 128, 102\) \(7\)",
        ):
            data.CamVid720(val, "val", max_stray=6).load(1)
        assert (data.CamVid720(val, "val", max_stray=7).load(1).mask == 255).all()

    @pytest.mark.parametrize(("count", "passes"), [(175, True), (176, False)])
    def test_the_frame_known_for_them(self, tmp_path, count, passes):
        root = make(tmp_path, split_frames("test"))
        replace_label(root, "Seq05VD_f02610", self.stray(count))
        image = root / "701_StillsRaw_full" / "Seq05VD_f02610.png"
        image.unlink()
        Image.new("RGB", (20, 20)).save(image)
        source = data.CamVid720(root, "test")
        index = split_frames("test").index("Seq05VD_f02610")
        if passes:
            assert (source.load(index).mask == 255).all()
        else:
            with pytest.raises(data.DataError, match=r"f02610_L\.png: 176 of 400"):
                source.load(index)

    @pytest.mark.parametrize(
        ("array", "message"),
        [
            (np.zeros((4, 8), "uint8"), "mode 'L', one channel of numbers; expected the colours"),
            (np.zeros((8, 4, 3), "uint8"), r"the mask is 4 x 8 but its image .* is 8 x 4"),
            (np.zeros((4, 8, 4), "uint8"), "the mask is partly transparent"),
        ],
    )
    def test_other_pictures(self, val, array, message):
        replace_label(val, "0016E5_07959", array)
        with pytest.raises(data.DataError, match=rf"0016E5_07959_L\.png: .*{message}"):
            data.CamVid720(val, "val").load(0)

    def test_jpeg_in_disguise(self, val):
        path = val / "LabeledApproved_full" / "0016E5_07959_L.png"
        path.unlink()
        Image.fromarray(LABEL).save(path, "JPEG")
        with pytest.raises(data.DataError, match="the mask is a JPEG"):
            data.CamVid720(val, "val").load(0)

    def test_palette_of_colours(self, val):
        picture = Image.fromarray(np.arange(32, dtype="uint8").reshape(4, 8), "P")
        picture.putpalette(COLORS.ravel().tolist())
        path = val / "LabeledApproved_full" / "0016E5_07959_L.png"
        path.unlink()
        picture.save(path)
        mask = data.CamVid720(val, "val").load(0).mask
        groups = label_spaces.grouping("camvid32", "mathworks")
        np.testing.assert_array_equal(mask.ravel(), groups.train_ids)
