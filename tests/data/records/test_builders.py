"""TensorFlow Datasets' own tests of builders on tiny trees; examples equal the sources' samples."""

from __future__ import annotations

import atexit
import functools
import importlib
import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("tensorflow_datasets", reason="needs the extra tfds")
pytest.importorskip("tensorflow", reason="the tests of TensorFlow Datasets use TensorFlow")

import tensorflow_datasets as tfds

from keras_focusseg import data, label_spaces
from keras_focusseg.data.records import tfds_builders
from tests.data import layouts

MAKERS = {
    "camvid": layouts.make_camvid_segnet,
    "bdd100k": layouts.make_bdd100k,
    "ade20k": layouts.make_ade20k,
}


@functools.cache
def tree(name: str) -> Path:
    """A tree of that dataset, made once and removed at the end."""
    folder = Path(tempfile.mkdtemp(prefix="focusseg-tfds-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return MAKERS[name](folder)


class BuilderTests(tfds.testing.DatasetBuilderTestCase):
    """What TensorFlow Datasets asks of a builder; a subclass names the builder."""

    __test__ = False

    @classmethod
    def setUpClass(cls):
        cls.EXAMPLE_DIR = str(tree(cls.dataset))
        super().setUpClass()


class TestCamVid(BuilderTests):
    __test__ = True
    DATASET_CLASS = tfds_builders.FocussegCamvid
    BUILDER_CONFIG_NAMES_TO_TEST = ["segnet"]
    SPLITS = {"train": 3, "validation": 2, "test": 2}
    dataset = "camvid"


class TestBDD100K(BuilderTests):
    __test__ = True
    DATASET_CLASS = tfds_builders.FocussegBdd100k
    SPLITS = {"train": 3, "validation": 2}
    dataset = "bdd100k"


class TestADE20K(BuilderTests):
    __test__ = True
    DATASET_CLASS = tfds_builders.FocussegAde20k
    SPLITS = {"train": 3, "validation": 2}
    dataset = "ade20k"


def load(name: str, manual_dir: Path, data_dir: Path, **more):
    """`tfds.load` of a tree, as a user would."""
    config = tfds.download.DownloadConfig(manual_dir=str(manual_dir))
    return tfds.load(
        name,
        data_dir=str(data_dir),
        download_and_prepare_kwargs={"download_config": config},
        with_info=True,
        **more,
    )


@pytest.mark.parametrize("name", MAKERS)
def test_load_gives_what_the_source_gives(name, tmp_path):
    datasets, info = load(f"focusseg_{name}", tree(name), tmp_path)
    for split in data.splits(name, tree(name)):
        source = data.open_source(name, tree(name), split)
        wanted = {sample.name: sample for sample in source}
        found = datasets[tfds_builders.source_builder.tfds_split(split)]
        assert len(found) == len(source)
        for example in found:
            sample = wanted.pop(example["name"].numpy().decode())
            image, mask = tfds_builders.image_and_mask(example)
            assert mask.dtype == "int32" and np.array_equal(mask, sample.mask)
            assert image.dtype == "uint8" and image.shape == sample.image.shape
            # TensorFlow's and Pillow's JPEG decoders round differently.
            worst = np.abs(image.numpy().astype(int) - sample.image).max()
            assert worst <= (0 if name == "camvid" else 3)
    assert tuple(info.features["segmentation_mask"].names) == source.label_space.classes
    restored = label_spaces.LabelSpace.from_config(info.metadata["label_space"])
    assert restored == source.label_space
    assert info.full_name.startswith(f"focusseg_{name}/") and info.citation


@pytest.mark.parametrize(("config", "grouping"), [
    ("segnet", "segnet"), ("mathworks", "mathworks"), ("all_classes", None),
])  # fmt: skip
def test_camvid_groupings(config, grouping, tmp_path):
    root = layouts.make_camvid_kaggle(tmp_path / "kaggle", {"train": 2, "val": 1, "test": 1})
    download = tfds.download.DownloadConfig(manual_dir=str(root))
    builder = tfds.builder(f"focusseg_camvid/{config}", data_dir=str(tmp_path))
    builder.download_and_prepare(download_config=download, file_format="array_record")
    source = data.open_camvid(root, "train", grouping=grouping)
    records = data.Records(tmp_path / "focusseg_camvid", "train", verify=True)
    assert records.label_space == source.label_space and records.note == source.note
    assert [s.name for s in records] == [s.name for s in source]
    for mine, theirs in zip(records, source, strict=True):
        np.testing.assert_array_equal(mine.mask, theirs.mask)
        np.testing.assert_array_equal(mine.image, theirs.image)


def test_first_samples_alone(tmp_path):
    """TensorFlow Datasets' way to try a builder on a little."""
    builder = tfds.builder("focusseg_bdd100k", data_dir=str(tmp_path))
    config = tfds.download.DownloadConfig(manual_dir=str(tree("bdd100k")), max_examples_per_split=2)
    builder.download_and_prepare(download_config=config, file_format="array_record")
    records, source = data.Records(tmp_path), data.BDD100K(tree("bdd100k"))
    assert [sample.name for sample in records] == [source.sample_name(i) for i in range(2)]


def test_damaged_file_stops_the_builder_and_leaves_nothing(tmp_path):
    root = layouts.make_bdd100k(tmp_path / "raw")
    mask = next((root / "bdd100k/labels/sem_seg/masks/val").iterdir())
    layouts.save(mask, np.full(layouts.SIZE, 77, "uint8"))
    with pytest.raises(data.DataError, match=rf"{mask.name}: id 77"):
        load("focusseg_bdd100k", root, tmp_path / "prepared")
    assert not [p for p in (tmp_path / "prepared").rglob("*") if p.is_file()]


@pytest.mark.parametrize("name", MAKERS)
def test_manual_dir_that_holds_something_else(name, tmp_path):
    (tmp_path / "raw" / "photos").mkdir(parents=True)
    with pytest.raises(data.DataError, match="raw: .*photos"):
        load(f"focusseg_{name}", tmp_path / "raw", tmp_path)


def test_without_tensorflow_datasets_the_extra_is_named(monkeypatch):
    package = "keras_focusseg.data.records.tfds_builders"
    monkeypatch.delitem(sys.modules, package)
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    with pytest.raises(ImportError, match=r"pip install 'keras-focusseg\[tfds\]'"):
        importlib.import_module(package)
