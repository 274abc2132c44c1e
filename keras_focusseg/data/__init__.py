"""From files on disk to batches: sources, joint augmentation of image and mask, feeds."""

from __future__ import annotations

from keras_focusseg.data.augment import Augment
from keras_focusseg.data.errors import DataError
from keras_focusseg.data.pipeline import Cached, batches
from keras_focusseg.data.sources import open_source
from keras_focusseg.data.sources.base import Sample, Source
from keras_focusseg.data.sources.camvid import CamVid
from keras_focusseg.data.sources.folder import Folder
from keras_focusseg.data.sources.synthetic_streets import SyntheticStreets

__all__ = [
    "Augment",
    "Cached",
    "CamVid",
    "DataError",
    "Folder",
    "Sample",
    "Source",
    "SyntheticStreets",
    "batches",
    "open_source",
]
