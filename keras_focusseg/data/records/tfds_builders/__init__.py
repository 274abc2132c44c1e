"""Builders for TensorFlow Datasets, and `prepare`, which writes any source as sharded records.

After `import keras_focusseg.data.records.tfds_builders`, `tfds.load("focusseg_camvid")`,
`tfds.load("focusseg_bdd100k")` and `tfds.load("focusseg_ade20k")` work. Cityscapes has a builder
in TensorFlow Datasets itself, see `TFDSCityscapes`. Needs the extra `tfds`; what was written is
read by `keras_focusseg.data.Records`.
"""

from __future__ import annotations

try:
    import importlib_resources as _importlib_resources  # noqa: F401  TFDS needs it, and hides that
    import tensorflow_datasets as _tfds  # noqa: F401
except ImportError as error:
    raise ImportError(
        "The dataset builders need TensorFlow Datasets: pip install 'keras-focusseg[tfds]' "
        f"({error})."
    ) from error

from keras_focusseg.data.records.tfds_builders.benchmarks import (
    FocussegAde20k,
    FocussegBdd100k,
    FocussegCamvid,
)
from keras_focusseg.data.records.tfds_builders.cityscapes import TFDSCityscapes
from keras_focusseg.data.records.tfds_builders.examples import image_and_mask
from keras_focusseg.data.records.tfds_builders.prepare import Prepared, prepare
from keras_focusseg.data.records.tfds_builders.source_builder import SourceBuilder

__all__ = [
    "FocussegAde20k",
    "FocussegBdd100k",
    "FocussegCamvid",
    "Prepared",
    "SourceBuilder",
    "TFDSCityscapes",
    "image_and_mask",
    "prepare",
]
