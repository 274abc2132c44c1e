"""The networks: one paper, one file."""

from keras_focusseg.models.fornet import FoRNet
from keras_focusseg.models.scrnet import SCRNet
from keras_focusseg.models.segmenter import Segmenter
from keras_focusseg.models.sernet_former import SERNetFormer
from keras_focusseg.optimizers import SGD, AdamW

__all__ = ["SGD", "AdamW", "FoRNet", "SCRNet", "SERNetFormer", "Segmenter"]
