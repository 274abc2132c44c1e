"""`tfds.load("focusseg_bdd100k")`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from keras_focusseg import label_spaces
from keras_focusseg.data.records.tfds_builders.source_builder import DESCRIPTION, SourceBuilder
from keras_focusseg.data.sources.base import Source
from keras_focusseg.data.sources.bdd100k import BDD100K
from keras_focusseg.label_spaces import LabelSpace


class FocussegBdd100k(SourceBuilder):
    """BDD100K's 10,000 images with semantic masks (Yu et al. 2020), 19 classes.

    `manual_dir` is the folder that its archives were unpacked into, as `data.BDD100K` takes it.

    Example:
        ```python
        import tensorflow_datasets as tfds
        import keras_focusseg.data.records.tfds_builders

        manual = tfds.download.DownloadConfig(manual_dir="bdd100k")
        validation = tfds.load(
            "focusseg_bdd100k",
            split="validation",
            download_and_prepare_kwargs={"download_config": manual},
        )
        ```
    """

    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "manual_dir is the folder that '10K Images' and 'Semantic Segmentation' of "
        "bdd-data.berkeley.edu were unpacked into, with images/10k and labels/sem_seg/masks."
    )

    def label_space(self) -> LabelSpace:
        """The 19 classes that BDD100K shares with Cityscapes."""
        return label_spaces.get("bdd100k")

    def source_name(self) -> str:
        """Name of the dataset."""
        return BDD100K.name

    def sources(self, manual_dir: Path) -> Mapping[str, Source]:
        """Those of "train" and "val" that are there."""
        splits = BDD100K.splits(manual_dir) or ("train",)  # which says what is missing
        return {split: BDD100K(manual_dir, split) for split in splits}

    def describe(self) -> dict[str, Any]:
        """Homepage and citation."""
        return {
            "description": f"BDD100K, street scenes from many drivers. {DESCRIPTION}",
            "homepage": "https://bdd-data.berkeley.edu",
            "citation": (
                "@inproceedings{yu2020, author={Yu, Fisher and Chen, Haofeng and Wang, Xin and "
                "Xian, Wenqi and Chen, Yingying and Liu, Fangchen and Madhavan, Vashisht and "
                "Darrell, Trevor}, title={BDD100K: A Diverse Driving Dataset for Heterogeneous "
                "Multitask Learning}, booktitle={CVPR}, year={2020}}"
            ),
        }
