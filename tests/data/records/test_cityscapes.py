"""Cityscapes through TensorFlow Datasets' own builder, fed with tiny archives."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("tensorflow_datasets", reason="needs the extra tfds")
pytest.importorskip("tensorflow", reason="TensorFlow Datasets' builder needs TensorFlow")

import tensorflow as tf
import tensorflow_datasets as tfds

from keras_focusseg import data
from keras_focusseg.data.records import tfds_builders
from tests.data import layouts

SIZE = (1024, 2048)
"""What that builder insists on."""


@pytest.fixture(scope="module")
def prepared(tmp_path_factory) -> tuple[Path, Path]:
    """The unpacked dataset, and the folder that TensorFlow Datasets prepared it in."""
    folder = tmp_path_factory.mktemp("cityscapes")
    root = layouts.make_cityscapes(folder / "raw", {"train": 2, "val": 1, "test": 1})
    for name in ("leftImg8bit", "gtFine"):
        archive = folder / f"{name}_trainvaltest.zip"
        with zipfile.ZipFile(archive, "w") as file:
            for path in sorted((root / name).rglob("*.png")):
                file.write(path, path.relative_to(root))
    builder = tfds.builder("cityscapes", data_dir=str(folder / "prepared"))
    builder.download_and_prepare(
        file_format="array_record",
        download_config=tfds.download.DownloadConfig(manual_dir=str(folder)),
    )
    return root, folder / "prepared"


@pytest.mark.parametrize("split", ["train", "val", "train+val"])
def test_equals_our_source(prepared, split):
    root, folder = prepared
    ours = {sample.name: sample for sample in data.Cityscapes(root, split)}
    theirs = tfds_builders.TFDSCityscapes(folder, split)
    assert len(theirs) == len(ours) and "TensorFlow Datasets" in theirs.layout
    for index, sample in enumerate(theirs):
        mine = ours.pop(sample.name)
        np.testing.assert_array_equal(sample.image, mine.image)
        np.testing.assert_array_equal(sample.mask, mine.mask)
        np.testing.assert_array_equal(theirs.load_mask(index), mine.mask)


def test_its_examples_hold_raw_ids(prepared):
    """`segmentation_label` has the ids of `gtFine_labelIds`; `image_and_mask` maps them."""
    root, folder = prepared
    builder = tfds.builder("cityscapes", data_dir=str(folder))
    (example,) = builder.as_data_source("validation")
    sample = data.Cityscapes(root, "val").load(0)
    assert {7, 26, 33, 1} <= set(np.unique(example["segmentation_label"]).tolist())
    for given in (example, {key: tf.constant(value) for key, value in example.items()}):
        image, mask = tfds_builders.image_and_mask(given)
        assert mask.dtype == "int32"
        np.testing.assert_array_equal(image, sample.image)
        np.testing.assert_array_equal(mask, sample.mask)


def test_what_is_wrong_is_said(prepared, tmp_path):
    _, folder = prepared
    with pytest.raises(data.DataError, match=r"not prepared there\. Prepare it once: tfds"):
        tfds_builders.TFDSCityscapes(tmp_path)
    with pytest.raises(data.DataError, match="no labels for split 'test'"):
        tfds_builders.TFDSCityscapes(folder, "test")
    with pytest.raises(ValueError, match="has image; expected a 'segmentation_mask'"):
        tfds_builders.image_and_mask({"image": 0})


def test_mock_data_goes_through(tmp_path):
    """Examples of the shapes and types that `tfds.load("cityscapes")` gives."""
    with tfds.testing.mock_data(num_examples=1, data_dir=str(tmp_path)):
        dataset = tfds.load("cityscapes", split="train").map(tfds_builders.image_and_mask)
        ((image, mask),) = dataset
    assert image.shape == (*SIZE, 3) and mask.shape == SIZE
    assert set(np.unique(mask)) <= {*range(19), 255}
