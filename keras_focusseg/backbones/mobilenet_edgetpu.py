"""MobileNet-EdgeTPU as a feature pyramid, and a reader for its weights from Cityscapes.

Source: Howard and Gupta, "Introducing the Next Generation of On-Device Vision Models: MobileNetV3
and MobileNetEdgeTPU", Google AI Blog, 2019; the form at width 0.75 that DeepLab calls "slim". The
early blocks join expansion and depthwise convolution into one dense convolution, which is fast
wherever dense convolutions are: on a CPU as well.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import KerasTensor, layers

from keras_focusseg.backbones.backbone import (
    PYRAMID_LEVELS,
    Backbone,
    StrideBudget,
    check_output_stride,
)
from keras_focusseg.backbones.builder import drop_path_rates
from keras_focusseg.backbones.folded import load_folded
from keras_focusseg.backbones.mobile import ConvNorms

FEATURES = ("wide", "stages")


class _Block(NamedTuple):
    """An inverted residual block: dense expansion or depthwise, kernel, stride, channels."""

    kind: str
    kernel: int
    stride: int
    expanded: int
    channels: int
    residual: bool


def _stage(
    kind: str, kernel: int, stride: int, expanded: tuple[int, int], channels: int, repeat: int
) -> tuple[_Block, ...]:
    """A first block without a residual, then `repeat` blocks with one."""
    first = _Block(kind, kernel, stride, expanded[0], channels, False)
    return first, *[_Block(kind, kernel, 1, expanded[1], channels, True)] * repeat


# expanded_conv_1 to _21, in the order of the graph.
_BLOCKS = (
    *_stage("dense", 3, 2, (128, 96), 24, 3),
    *_stage("dense", 3, 2, (192, 160), 40, 3),
    *_stage("depthwise", 3, 2, (320, 288), 72, 3),
    # No residual in the first block, though its input and output have the same shape.
    *_stage("depthwise", 3, 1, (576, 288), 72, 3),
    *_stage("depthwise", 5, 2, (576, 480), 120, 3),
    *_stage("depthwise", 3, 1, (960, 480), 144, 0),
)


class _Form(NamedTuple):
    """How far the network goes and what is read from it.

    `levels` are the blocks whose outputs are P2 to P5, and which have the gates. The wide choice
    reads `wide` in place of the first three, as (block, part), and P5 from the convolution
    `top`, by name and channels.
    """

    levels: tuple[int, int, int, int]
    wide: tuple[tuple[int, str], tuple[int, str], tuple[int, str]]
    top: tuple[str, int]


_FORMS = {
    32: _Form((4, 8, 16, 21), ((4, "project"), (9, "expand"), (17, "expand")), ("Conv_1", 1280)),
    # Of the whole network's level at stride 16 an earlier block, of half the width, is the last
    # here; half-way to it there is a narrow output, which costs nothing.
    16: _Form(
        (4, 8, 12, 15),
        ((4, "project"), (9, "expand"), (12, "project")),
        ("expanded_conv_16_expand", 288),
    ),
}


@keras.saving.register_keras_serializable(package="keras_focusseg")
class MobileNetEdgeTPU(Backbone):
    """MobileNet-EdgeTPU at width 0.75, without a classifier.

    The outputs of the blocks are narrow, 24, 40, 72 and 144 channels, and linear: all that a
    decoder can use went through a bottleneck. `features="wide"` reads the levels where the
    network is wide: at the first expansion of the next stage (320 channels at stride 8, 576 at
    stride 16) and at the 1x1 convolution to 1280 channels that follows the last block. Only the
    finest level is a block's output there as well.

    `last_stride=16` ends the network in the stage of stride 16, after 15 of 21 blocks: less than
    half of the weights remain. P4 is then read half-way through that stage, P5 at the expansion of
    its last block, which is not built any further.

    Args:
        features: `"wide"` for levels of 24, 320, 576 and 1280 channels, `"stages"` for the
            outputs of the last block at each stride, with 24, 40, 72 and 144. At
            `last_stride=16` the levels have 24, 320, 72 and 288, or 24, 40, 72 and 72.
        output_stride: Stride of the coarsest level: 8, 16 or 32, at most `last_stride`. Below
            that, strides are replaced by dilation.
        include_rescaling: Map images in 0..255 to [-1, 1) by (x - 128) / 128 inside the network.
            If False, the input must be in that range already.
        batch_norm_momentum: Share of the old value that the moving statistics keep at a step.
        dilate: Put dilation in place of strides that are taken out.
        attention_boosting: Add SERNet-Former's gates to the first convolution and to the four
            blocks whose outputs are levels of `features="stages"`, as in `MobileNetV2`.
        dtype: Dtype policy of the layers; None takes the global policy.
        name: Name of the model.
        trainable: Whether the weights can be trained.
        last_stride: Stride of the last stage that is built: 32, or 16 for the small form.
        drop_path_rate: Rate at which, in training, the last block's branch is dropped, sample by
            sample; it rises linearly from 0 at the first block. Blocks without a residual drop
            nothing.

    Raises:
        ValueError: `features` or a stride is none of those, `output_stride` is above `last_stride`,
            or `drop_path_rate` is not in [0, 1).

    Example:
        >>> from keras_focusseg.backbones.mobilenet_edgetpu import MobileNetEdgeTPU
        >>> MobileNetEdgeTPU(output_stride=16).pyramid_channels
        {'P2': 24, 'P3': 320, 'P4': 576, 'P5': 1280}
    """

    def __init__(
        self,
        features: str = "wide",
        output_stride: int = 16,
        include_rescaling: bool = True,
        batch_norm_momentum: float = 0.9,
        dilate: bool = True,
        attention_boosting: bool = False,
        dtype: str | Mapping[str, Any] | keras.DTypePolicy | None = None,
        name: str = "mobilenet_edgetpu",
        trainable: bool = True,
        last_stride: int = 32,
        drop_path_rate: float = 0.0,
    ) -> None:
        if last_stride not in _FORMS:
            raise ValueError(f"last_stride must be 32 or 16, received {last_stride!r}.")
        if features not in FEATURES:
            raise ValueError(f"features must be one of {FEATURES}, received {features!r}.")
        check_output_stride(output_stride)
        if output_stride > last_stride:
            raise ValueError(
                f"output_stride must be at most last_stride={last_stride}, "
                f"received {output_stride}."
            )
        form = _FORMS[last_stride]
        policy = keras.dtype_policies.get(dtype)
        build = ConvNorms(policy, batch_norm_momentum)
        budget = StrideBudget(output_stride)

        inputs = keras.Input((None, None, 3), dtype="float32", name="images")
        x = inputs  # (B, H, W, 3)
        if include_rescaling:
            x = layers.Rescaling(1 / 128, offset=-1.0, dtype="float32", name="rescaling")(x)
        stride, _ = budget.take(2)
        b = build.conv(x, "Conv", 24, 3, stride=stride, relu=False)  # (B, H/2, W/2, 24)
        x = build.relu(b, "Conv_relu")
        if attention_boosting:
            x = build.boost(x, b)
        x = build.conv(x, "expanded_conv_project", 16, relu=False)
        taps = {}
        drops = drop_path_rates(drop_path_rate, form.levels[-1])
        for number, (block, drop) in enumerate(zip(_BLOCKS, drops, strict=False), start=1):
            stride, dilation = budget.take(block.stride)
            rate = dilation if dilate else 1
            x, b, expanded = _inverted_residual(build, x, number, block, stride, rate, drop)
            if attention_boosting and number in form.levels:
                x = build.boost(x, b)
            taps[number, "expand"], taps[number, "project"] = expanded, x
        pyramid = [taps[number, "project"] for number in form.levels]
        if features == "wide":
            name_of_top, channels = form.top
            top = build.conv(x, name_of_top, channels, relu=True)
            pyramid = [*(taps[place] for place in form.wide), top]

        super().__init__(
            inputs,
            {**dict(zip(PYRAMID_LEVELS, pyramid, strict=True)), **build.boosts},
            output_stride,
            policy,
            name,
            features=features,
            include_rescaling=include_rescaling,
            batch_norm_momentum=batch_norm_momentum,
            dilate=dilate,
            attention_boosting=attention_boosting,
            trainable=trainable,
            last_stride=last_stride,
            drop_path_rate=drop_path_rate,
        )


def _inverted_residual(
    build: ConvNorms,
    inputs: KerasTensor,
    number: int,
    block: _Block,
    stride: int,
    dilation: int,
    drop: float,
) -> tuple[KerasTensor, KerasTensor, KerasTensor]:
    """Expansion, depthwise convolution unless the expansion is dense, linear projection.

    Returns:
        The block's output, the projection without the residual, the expansion after its ReLU.
    """
    prefix = f"expanded_conv_{number}_"
    name = f"{prefix}expand"
    if block.kind == "dense":
        x = expanded = build.conv(
            inputs, name, block.expanded, block.kernel, stride=stride, dilation=dilation, relu=True
        )
    else:
        expanded = build.conv(inputs, name, block.expanded, relu=True)
        x = build.depthwise(
            expanded, f"{prefix}depthwise", block.kernel, stride=stride, dilation=dilation
        )
    b = build.conv(x, f"{prefix}project", block.channels, relu=False)
    return build.residual(inputs, b, prefix, drop) if block.residual else b, b, expanded


def conv_names(features: str, last_stride: int = 32) -> list[str]:
    """Names of every convolution of the network, in the order of the graph."""
    form = _FORMS[last_stride]
    names = ["Conv", "expanded_conv_project"]
    for number, block in enumerate(_BLOCKS[: form.levels[-1]], start=1):
        parts = ["expand", *["depthwise"] * (block.kind == "depthwise"), "project"]
        names += [f"expanded_conv_{number}_{part}" for part in parts]
    return [*names, form.top[0]] if features == "wide" else names


def load_mobilenet_edgetpu_folded(
    model: MobileNetEdgeTPU,
    path: str | os.PathLike[str],
    calibration_images: np.ndarray,
    batch_size: int = 8,
) -> None:
    """Loads DeepLab's MobileNet-EdgeTPU with folded batch norm, and puts the norms back.

    The file's last four convolutions are DeepLab's head and are left aside, and so are those
    behind the last that the model has.

    Args:
        model: Changed in place.
        path: An `.npz` as `folded.load_folded` describes it, of 62 convolutions.
        calibration_images: (N, H, W, 3), uint8 or float in 0..255 ([-1, 1) if the model has no
            rescaling), like the training images: some dozens are enough.
        batch_size: Images a forward pass.

    Raises:
        ValueError: If a key is missing or left over, a shape differs, or the images are not a
            non-empty (N, H, W, 3) array.

    Example:
        >>> load_mobilenet_edgetpu_folded(backbone, "edgetpu.npz", images)  # doctest: +SKIP
    """
    pairs = [(name, f"{name}_BN") for name in conv_names(model.features, model.last_stride)]
    load_folded(
        model,
        path,
        pairs,
        calibration_images,
        left_aside=range(len(pairs), 62),
        batch_size=batch_size,
    )
