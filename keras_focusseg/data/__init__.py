"""From files on disk to batches: sources, joint augmentation of image and mask, feeds."""

from __future__ import annotations

from keras_focusseg.data.augment import Augment
from keras_focusseg.data.balance import class_weights
from keras_focusseg.data.errors import DataError
from keras_focusseg.data.pipeline import Cached, batches
from keras_focusseg.data.sources import open_source
from keras_focusseg.data.sources.ade20k import ADE20K
from keras_focusseg.data.sources.base import Sample, Source
from keras_focusseg.data.sources.bdd100k import BDD100K
from keras_focusseg.data.sources.camvid import CamVid
from keras_focusseg.data.sources.camvid720 import CamVid720
from keras_focusseg.data.sources.cityscapes import Cityscapes
from keras_focusseg.data.sources.folder import Folder
from keras_focusseg.data.sources.synthetic_streets import SyntheticStreets

__all__ = [
    "ADE20K",
    "BDD100K",
    "Augment",
    "Cached",
    "CamVid",
    "CamVid720",
    "Cityscapes",
    "DataError",
    "Folder",
    "Sample",
    "Source",
    "SyntheticStreets",
    "batches",
    "class_weights",
    "open_source",
]
