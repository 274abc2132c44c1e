"""The networks: one paper, one file."""

from keras_focusseg.models.fornet import FoRNet
from keras_focusseg.models.optimizer import AdamW
from keras_focusseg.models.segmenter import Segmenter

__all__ = ["AdamW", "FoRNet", "Segmenter"]
