"""ResNet in torchvision's layout as a feature pyramid, optionally dilated.

Sources: He et al., "Deep Residual Learning for Image Recognition", CVPR 2016; the stride sits on
the 3x3 convolution of a bottleneck, as in torchvision; Chen et al., "Rethinking Atrous Convolution
for Semantic Image Segmentation", 2017, for dilation in place of stride.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any

import keras
from keras import KerasTensor, layers, ops

from keras_focusseg.backbones import checkpoints
from keras_focusseg.backbones.backbone import (
    PYRAMID_LEVELS,
    Backbone,
    StrideBudget,
    check_output_stride,
    imagenet_rescaling,
)
from keras_focusseg.backbones.builder import Builder
from keras_focusseg.layers import ReLU

# Blocks of layer1..layer4.
_STAGES = {
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
}
_FIRST_BOTTLENECK_DEPTH = 50
# What a classifier's checkpoint holds beyond the backbone: the classifier, and PyTorch's counter
# of batches, which plays no part at a fixed momentum.
_LEFT_ASIDE = re.compile(r"fc\.(weight|bias)|.*\.num_batches_tracked")


@keras.saving.register_keras_serializable(package="keras_focusseg")
class ResNet(Backbone):
    """ResNet-18, -34, -50, -101 or -152 without pooling and classifier.

    The levels are the outputs of layer1..layer4: 64, 128, 256, 512 channels at depths 18 and 34,
    256, 512, 1024, 2048 from depth 50. Every strided layer pads symmetrically. Where a stride is
    taken out for a smaller `output_stride`, its own convolution keeps the dilation before it and
    all later 3x3 convolutions double theirs; so the dilated network, read at every other
    position, is the strided one. (torchvision dilates bottlenecks in the same way, and refuses
    depths 18 and 34; dilation there is our extension.)

    Args:
        depth: 18, 34, 50, 101 or 152.
        output_stride: Stride of the coarsest level: 8, 16 or 32.
        include_rescaling: Subtract ImageNet's mean and divide by its standard deviation inside
            the network, for images in 0..255. If False, the input must be normalised already.
        batch_norm_momentum: Share of the old value that the moving statistics keep at a step.
        dilate: Put dilation in place of strides that are taken out. If False, what follows sees
            less of the image than it was trained to.
        attention_boosting: Add SERNet-Former's gates, which makes this its Efficient-ResNet: to
            the first convolution, before the pooling, and to the last block of every stage. There
            are no further weights. The outputs then hold "boost1" ... "boost5" as well, what each
            gate adds, and "norm1" ... "norm5", the normalised maps it was made from.
        dtype: Dtype policy of the layers; None takes the global policy.
        name: Name of the model; None for `"resnet<depth>"`.
        trainable: Whether the weights can be trained.

    Raises:
        ValueError: `depth` or `output_stride` is none of those.

    Example:
        >>> from keras_focusseg.backbones.resnet import ResNet
        >>> backbone = ResNet(18, output_stride=8)
        >>> backbone.pyramid_strides
        {'P2': 4, 'P3': 8, 'P4': 8, 'P5': 8}
    """

    def __init__(
        self,
        depth: int,
        output_stride: int = 32,
        include_rescaling: bool = True,
        batch_norm_momentum: float = 0.9,
        dilate: bool = True,
        attention_boosting: bool = False,
        dtype: str | Mapping[str, Any] | keras.DTypePolicy | None = None,
        name: str | None = None,
        trainable: bool = True,
    ) -> None:
        if depth not in _STAGES:
            raise ValueError(f"depth must be one of {tuple(_STAGES)}, received {depth!r}.")
        check_output_stride(output_stride)
        policy = keras.dtype_policies.get(dtype)
        build = _Builder(policy, batch_norm_momentum)
        block = build.bottleneck if depth >= _FIRST_BOTTLENECK_DEPTH else build.basic_block

        inputs = keras.Input((None, None, 3), dtype="float32", name="images")
        x = inputs  # (B, H, W, 3)
        if include_rescaling:
            x = imagenet_rescaling()(x)
        x, b = build.stem(x)  # (B, H/2, W/2, 64)
        if attention_boosting:
            x = build.boost(x, b)
        x = build.pool(x)  # (B, H/4, W/4, 64)
        budget = StrideBudget(output_stride, stride=4)
        pyramid = {}
        for stage, (level, blocks) in enumerate(zip(PYRAMID_LEVELS, _STAGES[depth], strict=True)):
            for index in range(blocks):
                stride, dilation = budget.take(2 if stage > 0 and index == 0 else 1)
                rates = (dilation, budget.dilation) if dilate else (1, 1)
                prefix = f"layer{stage + 1}_{index}_"
                x, b = block(x, prefix, 64 * 2**stage, stride, *rates)
            pyramid[level] = x = build.boost(x, b) if attention_boosting else x

        outputs = {**pyramid, **build.boosts}
        super().__init__(
            inputs,
            outputs,
            output_stride,
            policy,
            name or f"resnet{depth}",
            depth=depth,
            include_rescaling=include_rescaling,
            batch_norm_momentum=batch_norm_momentum,
            dilate=dilate,
            attention_boosting=attention_boosting,
            trainable=trainable,
        )


class _Builder(Builder):
    """Adds ResNet's parts to a graph, all under one dtype policy and momentum."""

    def stem(self, x: KerasTensor) -> tuple[KerasTensor, KerasTensor]:
        """7x7 convolution with stride 2: after and before its ReLU."""
        x = self.symmetric_conv(x, "conv1", 64, kernel_size=7, stride=2)
        b = self.norm(x, "bn1")
        return self._relu(b, "relu"), b

    def pool(self, x: KerasTensor) -> KerasTensor:
        """3x3 maxima at stride 2, of the map alone."""
        if self.boosts:
            # What is added to a gate's border must lie below its minimum, -0.279.
            x = ops.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=-1.0)
        else:
            # Zeros are as good as minus infinity here: nothing after a ReLU is below them.
            x = self.zero_pad(x, 1, "maxpool_pad")
        return layers.MaxPooling2D(
            3, strides=2, data_format="channels_last", dtype=self.policy, name="maxpool"
        )(x)

    def basic_block(
        self,
        inputs: KerasTensor,
        prefix: str,
        channels: int,
        stride: int,
        first_dilation: int,
        dilation: int,
    ) -> tuple[KerasTensor, KerasTensor]:
        """Two 3x3 convolutions; the stride, or the dilation before it, is on the first."""
        x = self.symmetric_conv(inputs, f"{prefix}conv1", channels, 3, stride, first_dilation)
        x = self._relu(self.norm(x, f"{prefix}bn1"), f"{prefix}relu1")
        x = self.symmetric_conv(x, f"{prefix}conv2", channels, 3, 1, dilation)
        x = self.norm(x, f"{prefix}bn2")
        return self._residual(inputs, x, prefix, stride)

    def bottleneck(
        self,
        inputs: KerasTensor,
        prefix: str,
        channels: int,
        stride: int,
        first_dilation: int,
        dilation: int,
    ) -> tuple[KerasTensor, KerasTensor]:
        """1x1, 3x3 with the stride, 1x1 to four times the channels."""
        del dilation  # It applies from the next 3x3 on, which is in the next block.
        x = self.symmetric_conv(inputs, f"{prefix}conv1", channels, 1)
        x = self._relu(self.norm(x, f"{prefix}bn1"), f"{prefix}relu1")
        x = self.symmetric_conv(x, f"{prefix}conv2", channels, 3, stride, first_dilation)
        x = self._relu(self.norm(x, f"{prefix}bn2"), f"{prefix}relu2")
        x = self.symmetric_conv(x, f"{prefix}conv3", 4 * channels, 1)
        x = self.norm(x, f"{prefix}bn3")
        return self._residual(inputs, x, prefix, stride)

    def _residual(
        self, inputs: KerasTensor, x: KerasTensor, prefix: str, stride: int
    ) -> tuple[KerasTensor, KerasTensor]:
        """ReLU(x + shortcut), the shortcut projected where the channels change; and x."""
        shortcut = inputs
        if inputs.shape[-1] != x.shape[-1]:
            name = f"{prefix}downsample_"
            shortcut = self.symmetric_conv(inputs, f"{name}conv", x.shape[-1], 1, stride)
            shortcut = self.norm(shortcut, f"{name}bn")
        y = self.add([x, shortcut], f"{prefix}add")
        return self._relu(y, f"{prefix}out"), x

    def _relu(self, x: KerasTensor, name: str) -> KerasTensor:
        return ReLU(dtype=self.policy, name=name)(x)


def load_resnet_checkpoint(model: ResNet, source: str | os.PathLike[str]) -> None:
    """Loads a torchvision or timm checkpoint into a ResNet of the same depth.

    Every tensor of the checkpoint is used and every weight of the model is set, or nothing is
    changed. Left aside are the classifier (`fc.*`) and `*.num_batches_tracked`.

    Args:
        model: A ResNet of any output stride. Changed in place.
        source: Path of a `.safetensors`, `.pth`, `.pt` or `.bin` file,
            `hf://owner/repo[/file][@revision]`, or `"imagenet"`: torchvision's weights
            (the second set, IMAGENET1K_V2, from depth 50) from timm's copy on the Hub. A checkpoint
            trained with other means and deviations than ImageNet's wants
            `include_rescaling=False`.

    Raises:
        ValueError: If a key is missing or left over, a shape differs, or the file is not a plain
            state dict.
        FileNotFoundError: If there is no such file.
        ImportError: If a package needed to read the source is not installed.
        ConnectionError: If an `hf://` source cannot be downloaded.

    Example:
        >>> load_resnet_checkpoint(backbone, "hf://timm/resnet50.a1_in1k")  # doctest: +SKIP
    """
    if source == "imagenet":
        recipe = "tv2_in1k" if model.depth >= _FIRST_BOTTLENECK_DEPTH else "tv_in1k"
        source = f"hf://timm/resnet{model.depth}.{recipe}"
    path = checkpoints.fetch(source)
    state = checkpoints.read_state_dict(path, at_least_bytes=2 * model.count_params())
    where = f"{os.fspath(source)} -> {model.name}"
    checkpoints.assign(torchvision_variables(model), state, _LEFT_ASIDE, where)


def torchvision_variables(model: ResNet) -> dict[str, keras.Variable]:
    """Returns {key in torchvision's state dict: variable of the model}.

    Example:
        >>> tuple(torchvision_variables(ResNet(18))["layer1.0.conv1.weight"].shape)
        (3, 3, 64, 64)
    """
    plan = {}
    for layer in model.layers:
        if isinstance(layer, layers.Conv2D):
            plan[f"{_torch_name(layer.name)}.weight"] = layer.kernel
        elif isinstance(layer, layers.BatchNormalization):
            key = _torch_name(layer.name)
            plan[f"{key}.weight"] = layer.gamma
            plan[f"{key}.bias"] = layer.beta
            plan[f"{key}.running_mean"] = layer.moving_mean
            plan[f"{key}.running_var"] = layer.moving_variance
    return plan


def _torch_name(name: str) -> str:
    """`layer1_0_downsample_bn` -> `layer1.0.downsample.1`, and so on."""
    name = name.replace("downsample_conv", "downsample_0").replace("downsample_bn", "downsample_1")
    return name.replace("_", ".")
