"""From files on disk to batches: sources, joint augmentation of image and mask, feeds."""

from __future__ import annotations

from keras_focusseg.data import transforms
from keras_focusseg.data.checkup import check
from keras_focusseg.data.feeds.balance import class_weights
from keras_focusseg.data.feeds.batches import batches
from keras_focusseg.data.feeds.statistics import class_counts
from keras_focusseg.data.opening import open_source, recognize, source_names, splits
from keras_focusseg.data.records.read import Records
from keras_focusseg.data.sources.ade20k import ADE20K
from keras_focusseg.data.sources.base import Sample, Source
from keras_focusseg.data.sources.bdd100k import BDD100K
from keras_focusseg.data.sources.cached import Cached
from keras_focusseg.data.sources.camvid import CamVid, CamVid720, CamVidCopy, open_camvid
from keras_focusseg.data.sources.cityscapes import Cityscapes
from keras_focusseg.data.sources.first import First
from keras_focusseg.data.sources.folders.folder import Folder, open_folder
from keras_focusseg.data.sources.pascal_voc import PascalVOC
from keras_focusseg.data.sources.polygons.coco import COCO
from keras_focusseg.data.sources.polygons.labelme import Labelme
from keras_focusseg.data.sources.synthetic_streets import SyntheticStreets
from keras_focusseg.data.transforms import (
    Augment,
    Augmentation,
    Blur,
    ClassMix,
    ClassUniformCrop,
    ColorJitter,
    Compose,
    CutMix,
    Flip,
    Grayscale,
    KerasAugment,
    Mixing,
    RandAugment,
    Rotate,
    ScaleCrop,
    Shear,
    Step,
    Translate,
    augmentation,
)
from keras_focusseg.errors import DataError
from keras_focusseg.pictures.contents import discover_colors

steps = transforms  # its name until 0.1; goes with 0.3
recognise = recognize  # its name until 0.1; goes with 0.3

__all__ = [
    "ADE20K",
    "BDD100K",
    "COCO",
    "Augment",
    "Augmentation",
    "Blur",
    "Cached",
    "CamVid",
    "CamVid720",
    "CamVidCopy",
    "Cityscapes",
    "ClassMix",
    "ClassUniformCrop",
    "ColorJitter",
    "Compose",
    "CutMix",
    "DataError",
    "Flip",
    "First",
    "Folder",
    "Grayscale",
    "KerasAugment",
    "Labelme",
    "Mixing",
    "PascalVOC",
    "RandAugment",
    "Records",
    "Rotate",
    "Sample",
    "ScaleCrop",
    "Shear",
    "Source",
    "Step",
    "SyntheticStreets",
    "Translate",
    "augmentation",
    "batches",
    "check",
    "class_counts",
    "class_weights",
    "discover_colors",
    "open_camvid",
    "open_folder",
    "open_source",
    "recognize",
    "source_names",
    "splits",
    "steps",
    "transforms",
]
