"""MobileNetV2 as a feature pyramid, and the ways its ImageNet weights come in.

Source: Sandler et al., "MobileNetV2: Inverted Residuals and Linear Bottlenecks", CVPR 2018.
Channels, padding and layer names follow `keras.applications.MobileNetV2`, so that its weights
fit layer by layer.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import KerasTensor, layers

from keras_focusseg.backbones.backbone import Backbone, StrideBudget, check_output_stride
from keras_focusseg.backbones.builder import drop_path_rates
from keras_focusseg.backbones.folded import load_folded
from keras_focusseg.backbones.mobile import ConvNorms, round_channels


class _Block(NamedTuple):
    """One inverted residual block: expansion factor, output channels at width 1, stride."""

    expansion: int
    channels: int
    stride: int


# Table 2 of the paper, one row a block.
_BLOCKS = (
    _Block(1, 16, 1),
    *(_Block(6, 24, 2), _Block(6, 24, 1)),
    *(_Block(6, 32, 2), *[_Block(6, 32, 1)] * 2),
    *(_Block(6, 64, 2), *[_Block(6, 64, 1)] * 3),
    *[_Block(6, 96, 1)] * 3,
    *(_Block(6, 160, 2), *[_Block(6, 160, 1)] * 2),
    _Block(6, 320, 1),
)
# The last block at each stride, by position in _BLOCKS.
_LEVEL_OF_BLOCK = {2: "P2", 5: "P3", 12: "P4", 16: "P5"}


@keras.saving.register_keras_serializable(package="keras_focusseg")
class MobileNetV2(Backbone):
    """MobileNetV2 without its classifier, as a pyramid of linear bottleneck outputs.

    At width 1 the levels have 24, 32, 96 and 320 channels. Strided layers pad as TensorFlow's
    "same" does, for any input size, odd ones included.

    Args:
        alpha: Width multiplier of all layers but the optional last convolution.
        output_stride: Stride of the coarsest level: 8, 16 or 32. Below 32, strides are replaced
            by dilation.
        include_rescaling: Map images in 0..255 to [-1, 1] inside the network. If False, the
            input must be in [-1, 1] already.
        include_top_conv: End with the 1x1 convolution to 1280 channels that precedes the
            classifier. `"P5"` is then its output, otherwise that of the last block.
        batch_norm_momentum: Share of the old value that the moving statistics keep at a step. The
            original 0.999 is too slow for a run of a few thousand steps.
        dilate: Put dilation in place of strides that are taken out.
        attention_boosting: Add SERNet-Former's gates, where its ResNet has them: to the first
            convolution, and to the last block at each of the strides 4, 8, 16 and 32, whose
            output stays linear (our extension). There are no further weights. The outputs then
            hold "boost1" ... "boost5" as well, what each gate adds, and "norm1" ... "norm5", the
            normalised maps it was made from.
        dtype: Dtype policy of the layers; None takes the global policy.
        name: Name of the model.
        trainable: Whether the weights can be trained.
        drop_path_rate: Rate at which, in training, the last block's branch is dropped, sample by
            sample; it rises linearly from 0 at the first block. Blocks without a residual drop
            nothing.

    Raises:
        ValueError: `alpha` is not positive, `output_stride` none of those, or `drop_path_rate` not
            in [0, 1).

    Example:
        >>> from keras_focusseg.backbones.mobilenet_v2 import MobileNetV2
        >>> backbone = MobileNetV2(alpha=0.35, output_stride=16)
        >>> backbone.pyramid_strides
        {'P2': 4, 'P3': 8, 'P4': 16, 'P5': 16}
    """

    def __init__(
        self,
        alpha: float = 1.0,
        output_stride: int = 32,
        include_rescaling: bool = True,
        include_top_conv: bool = False,
        batch_norm_momentum: float = 0.9,
        dilate: bool = True,
        attention_boosting: bool = False,
        dtype: str | Mapping[str, Any] | keras.DTypePolicy | None = None,
        name: str = "mobilenet_v2",
        trainable: bool = True,
        drop_path_rate: float = 0.0,
    ) -> None:
        if alpha <= 0:
            raise ValueError(f"alpha must be positive, received {alpha!r}.")
        check_output_stride(output_stride)
        policy = keras.dtype_policies.get(dtype)
        build = _Builder(policy, batch_norm_momentum)
        budget = StrideBudget(output_stride)

        inputs = keras.Input((None, None, 3), dtype="float32", name="images")
        x = inputs  # (B, H, W, 3)
        if include_rescaling:
            x = layers.Rescaling(1 / 127.5, offset=-1.0, dtype="float32", name="rescaling")(x)
        stride, _ = budget.take(2)
        x, b = build.stem(x, round_channels(32 * alpha), stride)  # (B, H/2, W/2, 32 alpha)
        if attention_boosting:
            x = build.boost(x, b)
        pyramid = {}
        drops = drop_path_rates(drop_path_rate, len(_BLOCKS))
        for index, (block, drop) in enumerate(zip(_BLOCKS, drops, strict=True)):
            channels = round_channels(int(block.channels * alpha))
            stride, dilation = budget.take(block.stride)
            rate = dilation if dilate else 1
            x, b = build.inverted_residual(x, index, block.expansion, channels, stride, rate, drop)
            if index in _LEVEL_OF_BLOCK:
                pyramid[_LEVEL_OF_BLOCK[index]] = x = build.boost(x, b) if attention_boosting else x
        if include_top_conv:
            top_channels = round_channels(1280 * max(1.0, alpha))
            pyramid["P5"] = build.top(x, top_channels)

        super().__init__(
            inputs,
            {**pyramid, **build.boosts},
            output_stride,
            policy,
            name,
            alpha=alpha,
            include_rescaling=include_rescaling,
            include_top_conv=include_top_conv,
            batch_norm_momentum=batch_norm_momentum,
            dilate=dilate,
            attention_boosting=attention_boosting,
            trainable=trainable,
            drop_path_rate=drop_path_rate,
        )


class _Builder(ConvNorms):
    """Adds MobileNetV2's parts to a graph, under the names of Keras Applications."""

    def __init__(self, policy: keras.DTypePolicy, momentum: float) -> None:
        super().__init__(policy, momentum, relu_ceiling=6.0)

    def stem(self, x: KerasTensor, channels: int, stride: int) -> tuple[KerasTensor, KerasTensor]:
        """3x3 convolution: after and before its ReLU."""
        b = self.conv(x, "Conv1", channels, 3, stride=stride, relu=False, norm_name="bn_Conv1")
        return self.relu(b, "Conv1_relu"), b

    def top(self, x: KerasTensor, channels: int) -> KerasTensor:
        x = self.conv(x, "Conv_1", channels, relu=False, norm_name="Conv_1_bn")
        return self.relu(x, "out_relu")

    def inverted_residual(
        self,
        inputs: KerasTensor,
        index: int,
        expansion: int,
        channels: int,
        stride: int,
        dilation: int,
        drop: float,
    ) -> tuple[KerasTensor, KerasTensor]:
        """1x1 expansion, depthwise 3x3, linear 1x1 projection; with a residual where shapes allow.

        Returns:
            The block's output, and the projection without the residual.
        """
        prefix = f"block_{index}_" if index else "expanded_conv_"
        in_channels = inputs.shape[-1]
        x = inputs
        if expansion > 1:
            x = self.conv(x, f"{prefix}expand", expansion * in_channels, relu=True)
        x = self.depthwise(x, f"{prefix}depthwise", 3, stride=stride, dilation=dilation)
        b = self.conv(x, f"{prefix}project", channels, relu=False)
        # The table decides, not the dilated stride: a block that strides at output stride 32 has
        # no residual at 8 either, or its weights would mean another function.
        if in_channels == channels and _BLOCKS[index].stride == 1:
            return self.residual(inputs, b, prefix, drop), b
        return b, b


def conv_norm_names(include_top_conv: bool) -> list[tuple[str, str]]:
    """Names of every (convolution, batch norm) pair of the network, in the order of the graph."""
    pairs = [("Conv1", "bn_Conv1")]
    for index, block in enumerate(_BLOCKS):
        prefix = f"block_{index}_" if index else "expanded_conv_"
        parts = ["expand"] * (block.expansion > 1) + ["depthwise", "project"]
        pairs += [(f"{prefix}{part}", f"{prefix}{part}_BN") for part in parts]
    return [*pairs, ("Conv_1", "Conv_1_bn")] if include_top_conv else pairs


def load_mobilenet_v2_folded(
    model: MobileNetV2,
    path: str | os.PathLike[str],
    calibration_images: np.ndarray,
    batch_size: int = 8,
) -> None:
    """Loads convolutions with folded batch norm, and puts the norms back, see `load_folded`.

    Args:
        model: A MobileNetV2 of the file's width; any output stride. Changed in place.
        path: An `.npz` as `folded.load_folded` describes it; the 1x1 convolution to 1280
            channels is the last, and left aside by a model without it.
        calibration_images: (N, H, W, 3), uint8 or float in 0..255 ([-1, 1] if the model has no
            rescaling), like the training images: some dozens are enough.
        batch_size: Images a forward pass.

    Raises:
        ValueError: If a key is missing or left over, a shape differs, or the images are not a
            non-empty (N, H, W, 3) array.

    Example:
        >>> load_mobilenet_v2_folded(backbone, "mobilenet_v2.npz", images)  # doctest: +SKIP
    """
    pairs = conv_norm_names(model.include_top_conv)
    top = len(conv_norm_names(include_top_conv=False))
    load_folded(
        model,
        path,
        pairs,
        calibration_images,
        left_aside=() if model.include_top_conv else {top},
        batch_size=batch_size,
    )


def copy_keras_applications_weights(model: MobileNetV2, source: keras.Model) -> None:
    """Copies the weights of a `keras.applications.MobileNetV2` of the same width into `model`.

    Args:
        model: Changed in place.
        source: The network to copy from; its classifier, if any, is left aside.

    Raises:
        ValueError: If a layer of the source is missing, left over, or of another shape.
    """
    names = [name for pair in conv_norm_names(model.include_top_conv) for name in pair]
    theirs = {layer.name: layer for layer in source.layers if layer.weights}
    allowed = set() if model.include_top_conv else {"Conv_1", "Conv_1_bn"}
    allowed.add("predictions")
    missing = [name for name in names if name not in theirs]
    surplus = sorted(set(theirs) - set(names) - allowed)
    if missing or surplus:
        raise ValueError(
            f"{source.name} is not a MobileNetV2 of Keras Applications: layers missing {missing}, "
            f"layers left over {surplus}."
        )
    for name in names:
        mine, values = model.get_layer(name), theirs[name].get_weights()
        shapes = [tuple(weight.shape) for weight in mine.weights]
        if shapes != [value.shape for value in values]:
            raise ValueError(
                f"Layer {name} of {source.name} has weights of shapes "
                f"{[value.shape for value in values]}, expected {shapes}: "
                f"is its width multiplier alpha {model.alpha}?"
            )
        mine.set_weights(values)


def load_mobilenet_v2_keras(model: MobileNetV2, source: str | os.PathLike[str]) -> None:
    """Loads Keras Applications' ImageNet weights, downloaded or from a file.

    Args:
        model: A MobileNetV2 of the weights' width. Changed in place.
        source: `"imagenet"` to download, or the path of a `*_no_top.h5` file.

    Raises:
        FileNotFoundError: If there is no such file.
        ConnectionError: If the download fails.
        ValueError: If the weights do not fit.
    """
    source = os.fspath(source)
    weights = None
    if source == "imagenet":
        weights = source
    elif not os.path.isfile(source):
        raise FileNotFoundError(f"No weights file at {source}.")
    first = keras.config.image_data_format() == "channels_first"  # its kernels are the same
    try:
        reference = keras.applications.MobileNetV2(
            input_shape=(3, 224, 224) if first else (224, 224, 3),
            alpha=model.alpha,
            include_top=False,
            weights=weights,
        )
    except ValueError:
        raise
    except Exception as error:
        raise ConnectionError(
            "Could not download the ImageNet weights of MobileNetV2 through Keras Applications. "
            "Pass the path of a downloaded *_no_top.h5 file instead, or weights=None for random "
            f"weights. The download said: {error}"
        ) from error
    if weights is None:
        try:
            reference.load_weights(source)
        except (ValueError, OSError) as error:
            raise ValueError(
                f"{source} is not a *_no_top.h5 file of Keras Applications' MobileNetV2 with "
                f"alpha {model.alpha}: {error}"
            ) from error
    copy_keras_applications_weights(model, reference)
