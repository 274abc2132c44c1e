"""Losses on integer masks and logits: all take `ignore_class`, all are float32 inside."""

from keras_focusseg.losses.boundary import BoundaryTargetBCE, boundary_target
from keras_focusseg.losses.channel_distillation import ChannelDistillation
from keras_focusseg.losses.contrastive import PixelContrast
from keras_focusseg.losses.cross_entropy import CrossEntropy
from keras_focusseg.losses.dice import Dice
from keras_focusseg.losses.focal import Focal
from keras_focusseg.losses.lovasz import Lovasz
from keras_focusseg.losses.tversky import Tversky

__all__ = [
    "BoundaryTargetBCE",
    "ChannelDistillation",
    "CrossEntropy",
    "Dice",
    "Focal",
    "Lovasz",
    "PixelContrast",
    "Tversky",
    "boundary_target",
]
