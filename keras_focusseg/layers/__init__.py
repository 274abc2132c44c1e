"""Parts that two or more networks share."""

from keras_focusseg.layers.attention import ChannelAttention, DisentangledNonLocal, SqueezeExcite
from keras_focusseg.layers.context import ContextualRefinement, PyramidPooling
from keras_focusseg.layers.conv_norm_act import conv_norm_act
from keras_focusseg.layers.gates import AttentionBoostingGate, attention_boost
from keras_focusseg.layers.refinement import SemanticRefinement, refine_offsets
from keras_focusseg.layers.resample import (
    CropLike,
    PadToMultiple,
    ResizeLike,
    resize_to,
    sample_bilinear,
)
from keras_focusseg.layers.topk import StraightThroughMask, TopKMasks, top_k_count

__all__ = [
    "AttentionBoostingGate",
    "ChannelAttention",
    "ContextualRefinement",
    "CropLike",
    "DisentangledNonLocal",
    "PadToMultiple",
    "PyramidPooling",
    "ResizeLike",
    "SemanticRefinement",
    "SqueezeExcite",
    "StraightThroughMask",
    "TopKMasks",
    "attention_boost",
    "conv_norm_act",
    "refine_offsets",
    "resize_to",
    "sample_bilinear",
    "top_k_count",
]
