"""Parts that two or more networks share."""

from keras_focusseg.layers.conv_norm_act import conv_norm_act
from keras_focusseg.layers.resample import ResizeLike, resize_to
from keras_focusseg.layers.topk import StraightThroughMask, TopKMasks, top_k_count

__all__ = [
    "ResizeLike",
    "StraightThroughMask",
    "TopKMasks",
    "conv_norm_act",
    "resize_to",
    "top_k_count",
]
