"""`tfds.load("focusseg_camvid")`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tensorflow_datasets as tfds

from keras_focusseg import label_spaces
from keras_focusseg.data.records.tfds_builders.source_builder import DESCRIPTION, SourceBuilder
from keras_focusseg.data.sources.base import Source
from keras_focusseg.data.sources.camvid import camvid_splits, open_camvid
from keras_focusseg.label_spaces import LabelSpace

# Configuration, grouping of the 32 classes, what it does.
_CONFIGS = {
    "segnet": ("segnet", "11 classes; those of SegNet's 480x360 copy, which ignores rare ones."),
    "mathworks": ("mathworks", "11 classes; all 31 of the label images have a place among them."),
    "exact_colour": ("exact_colour", "11 classes; only the head classes count."),
    "all_classes": (None, "31 classes."),
}


class FocussegCamvid(SourceBuilder):
    """CamVid (Brostow et al. 2008/2009) in whichever copy lies in `manual_dir`.

    The copy is found as `data.open_camvid` finds it, and its splits are taken. Configuration
    "segnet", the default, works with every copy; "mathworks", "exact_colour" and "all_classes" need
    one whose label images have 32 classes.

    Example:
        ```python
        import tensorflow_datasets as tfds
        import keras_focusseg.data.records.tfds_builders

        manual = tfds.download.DownloadConfig(manual_dir="CamVid")
        train = tfds.load(
            "focusseg_camvid",
            split="train",
            download_and_prepare_kwargs={"download_config": manual},
        )
        ```
    """

    BUILDER_CONFIGS = [
        tfds.core.BuilderConfig(name=name, description=text) for name, (_, text) in _CONFIGS.items()
    ]
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "manual_dir is the folder that a copy of CamVid was unpacked into: SegNet's 480x360 copy "
        "(train, trainannot, train.txt), the original archives (701_StillsRaw_full, "
        "LabeledApproved_full), Kaggle's or fastai's."
    )

    def label_space(self) -> LabelSpace:
        """CamVid's 11 classes, or 31."""
        return label_spaces.grouping("camvid32", self._grouping()).label_space

    def source_name(self) -> str:
        """Name of the dataset."""
        return "camvid"

    def sources(self, manual_dir: Path) -> Mapping[str, Source]:
        """The splits that the copy has."""
        splits = camvid_splits(manual_dir) or ("train",)  # which says what is missing
        return {
            split: open_camvid(manual_dir, split, grouping=self._grouping()) for split in splits
        }

    def describe(self) -> dict[str, Any]:
        """Homepage and citation."""
        return {
            "description": f"CamVid, street scenes from a driving car. {DESCRIPTION}",
            "homepage": "http://mi.eng.cam.ac.uk/research/projects/VideoRec/CamVid/",
            "citation": (
                "@article{brostow2009, author={Brostow, Gabriel J. and Fauqueur, Julien and "
                "Cipolla, Roberto}, title={Semantic object classes in video: A high-definition "
                "ground truth database}, journal={Pattern Recognition Letters}, year={2009}}"
            ),
        }

    def _grouping(self) -> str | None:
        return _CONFIGS[self.builder_config.name][0]
