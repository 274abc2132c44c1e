"""Parts that two or more networks share, and what each paper invented."""

from keras_focusseg.layers.aligned_aggregation import AlignedAggregation
from keras_focusseg.layers.attention import ChannelAttention, DisentangledNonLocal, SqueezeExcite
from keras_focusseg.layers.batch_normalization import BatchNormalization
from keras_focusseg.layers.context import ContextualRefinement
from keras_focusseg.layers.context_variants import ContextVariant
from keras_focusseg.layers.conv_norm_act import ConvNormAct, conv2d
from keras_focusseg.layers.convolution import Conv2D, DepthwiseConv2D
from keras_focusseg.layers.elementwise import Add, ReLU
from keras_focusseg.layers.flow_alignment import FlowAlignment
from keras_focusseg.layers.gates import AttentionBoostingGate, attention_boost
from keras_focusseg.layers.pyramid_pooling import PyramidPooling
from keras_focusseg.layers.refinement import SemanticRefinement, refine_offsets
from keras_focusseg.layers.resample import (
    BilinearUpsampling,
    CropLike,
    PadToMultiple,
    ResizeLike,
    resize_to,
    sample_bilinear,
)
from keras_focusseg.layers.topk import (
    RankedCells,
    SelectedConvNormAct,
    StraightThroughMask,
    TopKMasks,
    top_k_count,
)

__all__ = [
    "Add",
    "AlignedAggregation",
    "AttentionBoostingGate",
    "BatchNormalization",
    "BilinearUpsampling",
    "ChannelAttention",
    "ContextVariant",
    "ContextualRefinement",
    "Conv2D",
    "ConvNormAct",
    "CropLike",
    "DepthwiseConv2D",
    "DisentangledNonLocal",
    "FlowAlignment",
    "PadToMultiple",
    "PyramidPooling",
    "RankedCells",
    "ReLU",
    "ResizeLike",
    "SelectedConvNormAct",
    "SemanticRefinement",
    "SqueezeExcite",
    "StraightThroughMask",
    "TopKMasks",
    "attention_boost",
    "conv2d",
    "refine_offsets",
    "resize_to",
    "sample_bilinear",
    "top_k_count",
]
