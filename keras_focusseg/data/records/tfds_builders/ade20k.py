"""`tfds.load("focusseg_ade20k")`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from keras_focusseg import label_spaces
from keras_focusseg.data.records.tfds_builders.source_builder import DESCRIPTION, SourceBuilder
from keras_focusseg.data.sources.ade20k import ADE20K
from keras_focusseg.data.sources.base import Source
from keras_focusseg.label_spaces import LabelSpace


class FocussegAde20k(SourceBuilder):
    """ADE20K's scene parsing benchmark (Zhou et al. 2017), 150 classes.

    `manual_dir` is the folder that `ADEChallengeData2016.zip` was unpacked into, as `data.ADE20K`
    takes it. TensorFlow Datasets' own `scene_parse150` keeps the raw annotation, 0 for unlabelled
    and 1..150, in three channels; here the masks hold 0..149, and 255 where ignored.

    Example:
        ```python
        import tensorflow_datasets as tfds
        import keras_focusseg.data.records.tfds_builders

        manual = tfds.download.DownloadConfig(manual_dir="ADEChallengeData2016")
        train = tfds.load(
            "focusseg_ade20k",
            split="train",
            download_and_prepare_kwargs={"download_config": manual},
        )
        ```
    """

    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "manual_dir is the folder that ADEChallengeData2016.zip, the scene parsing benchmark, was "
        "unpacked into, with images/training and annotations/training."
    )

    def label_space(self) -> LabelSpace:
        """The benchmark's 150 classes."""
        return label_spaces.get("ade20k")

    def source_name(self) -> str:
        """Name of the dataset."""
        return ADE20K.name

    def sources(self, manual_dir: Path) -> Mapping[str, Source]:
        """Those of "train" and "val" that are there."""
        splits = ADE20K.splits(manual_dir) or ("train",)  # which says what is missing
        return {split: ADE20K(manual_dir, split) for split in splits}

    def describe(self) -> dict[str, Any]:
        """Homepage and citation."""
        return {
            "description": f"ADE20K's scene parsing benchmark. {DESCRIPTION}",
            "homepage": "http://sceneparsing.csail.mit.edu",
            "citation": (
                "@inproceedings{zhou2017, author={Zhou, Bolei and Zhao, Hang and Puig, Xavier and "
                "Fidler, Sanja and Barriuso, Adela and Torralba, Antonio}, title={Scene Parsing "
                "through ADE20K Dataset}, booktitle={CVPR}, year={2017}}"
            ),
        }
