"""The builders behind `tfds.load("focusseg_camvid")`, `"focusseg_bdd100k"`, `"focusseg_ade20k"`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tensorflow_datasets as tfds

from keras_focusseg import label_spaces
from keras_focusseg.data.records.tfds_builders.source_builder import DESCRIPTION, SourceBuilder
from keras_focusseg.data.sources.ade20k import ADE20K
from keras_focusseg.data.sources.base import Source
from keras_focusseg.data.sources.bdd100k import BDD100K
from keras_focusseg.data.sources.camvid import camvid_splits, open_camvid
from keras_focusseg.data.sources.layouts import Benchmark
from keras_focusseg.label_spaces import LabelSpace

# Configuration of CamVid, grouping of the 32 classes, what it does.
_GROUPINGS = {
    "segnet": ("segnet", "11 classes; those of SegNet's 480x360 copy, which ignores rare ones."),
    "mathworks": ("mathworks", "11 classes; all 31 of the label images have a place among them."),
    "exact_colour": ("exact_colour", "11 classes; only the head classes count."),
    "all_classes": (None, "31 classes."),
}


class _BenchmarkBuilder(SourceBuilder, skip_registration=True):  # type: ignore[call-arg]
    """A builder of one of the benchmarks whose splits are folders; a subclass sets `benchmark`."""

    benchmark: type[Benchmark]
    about: str
    homepage: str
    citation: str

    def label_space(self) -> LabelSpace:
        """The classes of the benchmark."""
        return label_spaces.get(self.benchmark.name)

    def source_name(self) -> str:
        """Name of the dataset."""
        return self.benchmark.name

    def sources(self, manual_dir: Path) -> Mapping[str, Source]:
        """Those of "train" and "val" that are there."""
        splits = self.benchmark.splits(manual_dir) or ("train",)  # which says what is missing
        return {split: self.benchmark(manual_dir, split) for split in splits}

    def describe(self) -> dict[str, Any]:
        """Homepage and citation."""
        return {
            "description": f"{self.about}. {DESCRIPTION}",
            "homepage": self.homepage,
            "citation": self.citation,
        }


class FocussegAde20k(_BenchmarkBuilder):
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
    benchmark = ADE20K
    about = "ADE20K's scene parsing benchmark"
    homepage = "http://sceneparsing.csail.mit.edu"
    citation = (
        "@inproceedings{zhou2017, author={Zhou, Bolei and Zhao, Hang and Puig, Xavier and Fidler, "
        "Sanja and Barriuso, Adela and Torralba, Antonio}, title={Scene Parsing through ADE20K "
        "Dataset}, booktitle={CVPR}, year={2017}}"
    )


class FocussegBdd100k(_BenchmarkBuilder):
    """BDD100K's 10,000 images with semantic masks (Yu et al. 2020), 19 classes.

    `manual_dir` is the folder that its archives were unpacked into, as `data.BDD100K` takes it; it
    is loaded as `FocussegAde20k` is.
    """

    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "manual_dir is the folder that '10K Images' and 'Semantic Segmentation' of "
        "bdd-data.berkeley.edu were unpacked into, with images/10k and labels/sem_seg/masks."
    )
    benchmark = BDD100K
    about = "BDD100K, street scenes from many drivers"
    homepage = "https://bdd-data.berkeley.edu"
    citation = (
        "@inproceedings{yu2020, author={Yu, Fisher and Chen, Haofeng and Wang, Xin and Xian, "
        "Wenqi and Chen, Yingying and Liu, Fangchen and Madhavan, Vashisht and Darrell, Trevor}, "
        "title={BDD100K: A Diverse Driving Dataset for Heterogeneous Multitask Learning}, "
        "booktitle={CVPR}, year={2020}}"
    )


class FocussegCamvid(_BenchmarkBuilder):
    """CamVid (Brostow et al. 2008/2009) in whichever copy lies in `manual_dir`.

    The copy is found as `data.open_camvid` finds it, and its splits are taken. Configuration
    "segnet", the default, works with every copy; "mathworks", "exact_colour" and "all_classes" need
    one whose label images have 32 classes. It is loaded as `FocussegAde20k` is.
    """

    BUILDER_CONFIGS = [
        tfds.core.BuilderConfig(name=name, description=text)
        for name, (_, text) in _GROUPINGS.items()
    ]
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "manual_dir is the folder that a copy of CamVid was unpacked into: SegNet's 480x360 copy "
        "(train, trainannot, train.txt), the original archives (701_StillsRaw_full, "
        "LabeledApproved_full), Kaggle's or fastai's."
    )
    about = "CamVid, street scenes from a driving car"
    homepage = "http://mi.eng.cam.ac.uk/research/projects/VideoRec/CamVid/"
    citation = (
        "@article{brostow2009, author={Brostow, Gabriel J. and Fauqueur, Julien and Cipolla, "
        "Roberto}, title={Semantic object classes in video: A high-definition ground truth "
        "database}, journal={Pattern Recognition Letters}, year={2009}}"
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

    def _grouping(self) -> str | None:
        return _GROUPINGS[self.builder_config.name][0]
