"""What MSCAN and VAN share: blocks of convolutional attention, four stages, checkpoints.

Sources: Guo et al., "Visual Attention Network", 2022 (arXiv 2202.09741); Guo et al., "SegNeXt:
Rethinking Convolutional Attention Design for Semantic Segmentation", NeurIPS 2022 (arXiv
2209.08575). The two networks differ in their stem and in their attention, which mscan.py and van.py
hand in.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
from keras import KerasTensor, layers

from keras_focusseg.backbones import checkpoints
from keras_focusseg.backbones.backbone import PYRAMID_LEVELS, Backbone, imagenet_rescaling
from keras_focusseg.backbones.builder import Builder, drop_path_rates, normal_by_fan_out
from keras_focusseg.layers import DepthwiseConv2D

OUTPUT_STRIDE = 32
MLP_RATIOS = (8, 8, 4, 4)
# What checkpoints hold beyond the backbone: ImageNet's classifier or the rest of a segmentation
# network, and PyTorch's counter of batches, which plays no part at a fixed momentum.
_LEFT_ASIDE = re.compile(
    r"head\.(weight|bias)|(neck|decode_head|auxiliary_head)\..*|.*\.num_batches_tracked"
)
_MMSEGMENTATION_MLP = re.compile(r"(\.mlp\.dwconv\.)(weight|bias)$")


@keras.saving.register_keras_serializable(package="keras_focusseg")
class LayerScale(layers.Layer):
    """Multiplies each channel by a weight of its own, which starts small.

    Args:
        initial_value: Value of all weights at the start.
        **kwargs: `name`, `dtype` and the like, for `keras.layers.Layer`.

    Example:
        >>> tuple(LayerScale(0.01)(keras.ops.ones((1, 2, 2, 3))).shape)
        (1, 2, 2, 3)
    """

    def __init__(self, initial_value: float = 0.01, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.initial_value = initial_value

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """One weight a channel."""
        self.scale = self.add_weight(
            shape=(input_shape[-1],),
            initializer=keras.initializers.Constant(self.initial_value),
            name="scale",
        )

    def call(self, inputs: Any) -> Any:
        """Features (B, H, W, C), scaled."""
        return inputs * self.scale

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """The input's."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments."""
        return {**super().get_config(), "initial_value": self.initial_value}


class KeyedBuilder(Builder):
    """Adds MSCAN's and VAN's layers to a graph.

    Layers that hold weights are called by their name in the public checkpoints, with underscores
    for the dots; `keys` keeps {name of the layer: name in the checkpoint}.
    """

    def __init__(self, policy: keras.DTypePolicy, momentum: float) -> None:
        super().__init__(policy, momentum)
        self.keys: dict[str, str] = {}

    def conv(
        self, x: KerasTensor, key: str, channels: int, kernel_size: int = 1, stride: int = 1
    ) -> KerasTensor:
        """Convolution with bias, padded symmetrically."""
        return self.symmetric_conv(
            x, self._named(key), channels, kernel_size, stride, use_bias=True
        )

    def depthwise(
        self, x: KerasTensor, key: str, kernel_size: int | tuple[int, int], dilation: int = 1
    ) -> KerasTensor:
        """One kernel a channel, with bias; the size is kept."""
        return DepthwiseConv2D(
            kernel_size,
            padding="same",
            dilation_rate=dilation,
            data_format="channels_last",
            depthwise_initializer=normal_by_fan_out(),
            dtype=self.policy,
            name=self._named(key),
        )(x)

    def batch_norm(self, x: KerasTensor, key: str) -> KerasTensor:
        """Batch norm with PyTorch's epsilon."""
        return self.norm(x, self._named(key))

    def layer_norm(self, x: KerasTensor, key: str, epsilon: float) -> KerasTensor:
        """Layer norm over the channels of each cell."""
        return layers.LayerNormalization(epsilon=epsilon, dtype=self.policy, name=self._named(key))(
            x
        )

    def gelu(self, x: KerasTensor, name: str) -> KerasTensor:
        """GELU by the error function, as PyTorch's default."""
        return layers.Activation("gelu", dtype=self.policy, name=name)(x)

    def multiply(self, factors: Sequence[KerasTensor], name: str) -> KerasTensor:
        """Product of maps of one shape."""
        return layers.Multiply(dtype=self.policy, name=name)(factors)

    def residual(self, x: KerasTensor, branch: KerasTensor, key: str, drop: float) -> KerasTensor:
        """x + DropPath(LayerScale(branch)): whole branches are dropped, sample by sample."""
        name = self._named(key)
        branch = LayerScale(dtype=self.policy, name=name)(branch)
        branch = self.drop_path(branch, drop, f"{name}_drop_path")
        return self.add([x, branch], f"{name}_add")

    def _named(self, key: str) -> str:
        name = key.replace(".", "_")
        self.keys[name] = key
        return name


Attention = Callable[[KeyedBuilder, KerasTensor, str], KerasTensor]


class LargeKernelBackbone(Backbone):
    """The frame of MSCAN and VAN, with the constructor of both.

    The defaults are those of the smallest networks. Each level is the output of a stage after its
    layer norm. There is no dilated form.

    Args:
        channels: Channels of the four stages.
        depths: Blocks of the four stages.
        mlp_ratios: Widening inside the blocks' MLPs, stage by stage.
        drop_path_rate: Rate at which, in training, the last block's branches are dropped, sample by
            sample; it rises linearly from 0 at the first block.
        layer_norm_epsilon: Epsilon of the layer norm that ends a stage: 1e-5 as in the published
            segmentation networks; VAN's ImageNet classifiers were trained with 1e-6.
        output_stride: 32, the only one.
        include_rescaling: Subtract ImageNet's mean and divide by its standard deviation inside
            the network, for images in 0..255. If False, the input must be normalised already.
        batch_norm_momentum: Share of the old value that the moving statistics keep at a step.
        dtype: Dtype policy of the layers; None takes the global policy.
        name: Name of the model; None for that of the class.
        trainable: Whether the weights can be trained.

    Raises:
        ValueError: If the output stride is not 32, or an argument is out of range.
    """

    def __init__(
        self,
        channels: Sequence[int] = (32, 64, 160, 256),
        depths: Sequence[int] = (3, 3, 5, 2),
        mlp_ratios: Sequence[int] = MLP_RATIOS,
        drop_path_rate: float = 0.1,
        layer_norm_epsilon: float = 1e-5,
        output_stride: int = OUTPUT_STRIDE,
        include_rescaling: bool = True,
        batch_norm_momentum: float = 0.9,
        dtype: str | Mapping[str, Any] | keras.DTypePolicy | None = None,
        name: str | None = None,
        trainable: bool = True,
    ) -> None:
        name = name or type(self).__name__.lower()
        _check_arguments(channels, depths, mlp_ratios, output_stride, name)
        policy = keras.dtype_policies.get(dtype)
        build = KeyedBuilder(policy, batch_norm_momentum)

        inputs = keras.Input((None, None, 3), dtype="float32", name="images")
        x = inputs  # (B, H, W, 3)
        if include_rescaling:
            x = imagenet_rescaling()(x)
        rates = iter(drop_path_rates(drop_path_rate, sum(depths)))
        pyramid = {}
        for stage, (level, width, depth, ratio) in enumerate(
            zip(PYRAMID_LEVELS, channels, depths, mlp_ratios, strict=True), start=1
        ):
            if stage == 1:
                x = self.stem(build, x, width)  # (B, H/4, W/4, C1)
            else:
                x = patch_embedding(build, x, f"patch_embed{stage}", width, 3, 2)
            for index in range(depth):
                x = _block(build, x, f"block{stage}.{index}", self.attention, ratio, next(rates))
            # The normalised map is the level, and what the next stage starts from.
            pyramid[level] = x = build.layer_norm(x, f"norm{stage}", layer_norm_epsilon)

        super().__init__(
            inputs,
            pyramid,
            output_stride,
            policy,
            name,
            channels=tuple(channels),
            depths=tuple(depths),
            mlp_ratios=tuple(mlp_ratios),
            drop_path_rate=drop_path_rate,
            layer_norm_epsilon=layer_norm_epsilon,
            include_rescaling=include_rescaling,
            batch_norm_momentum=batch_norm_momentum,
            trainable=trainable,
        )
        self.checkpoint_keys = build.keys

    @staticmethod
    def stem(build: KeyedBuilder, x: KerasTensor, channels: int) -> KerasTensor:
        """Adds the layers from the image to stride 4."""
        raise NotImplementedError

    @staticmethod
    def attention(build: KeyedBuilder, u: KerasTensor, key: str) -> KerasTensor:
        """Adds the spatial attention of the block that is called `key`."""
        raise NotImplementedError


def patch_embedding(
    build: KeyedBuilder, x: KerasTensor, key: str, channels: int, kernel_size: int, stride: int
) -> KerasTensor:
    """Strided convolution and batch norm."""
    x = build.conv(x, f"{key}.proj", channels, kernel_size, stride)
    return build.batch_norm(x, f"{key}.norm")


def _block(
    build: KeyedBuilder,
    inputs: KerasTensor,
    key: str,
    attention: Attention,
    mlp_ratio: int,
    drop: float,
) -> KerasTensor:
    """Attention, then an MLP with a 3x3 convolution inside; each normalised, scaled and added."""
    channels = inputs.shape[-1]
    prefix = key.replace(".", "_")
    a = normed = build.batch_norm(inputs, f"{key}.norm1")
    a = build.conv(a, f"{key}.attn.proj_1", channels)
    u = build.gelu(a, f"{prefix}_attn_activation")
    a = attention(build, u, f"{key}.attn.spatial_gating_unit")
    a = build.multiply([a, u], f"{prefix}_attn_gate")
    a = build.conv(a, f"{key}.attn.proj_2", channels)
    a = build.add([a, normed], f"{prefix}_attn_add")
    x = build.residual(inputs, a, f"{key}.layer_scale_1", drop)

    m = build.batch_norm(x, f"{key}.norm2")
    m = build.conv(m, f"{key}.mlp.fc1", mlp_ratio * channels)
    m = build.depthwise(m, f"{key}.mlp.dwconv.dwconv", 3)
    m = build.gelu(m, f"{prefix}_mlp_activation")
    m = build.conv(m, f"{key}.mlp.fc2", channels)
    return build.residual(x, m, f"{key}.layer_scale_2", drop)


def _check_arguments(
    channels: Sequence[int],
    depths: Sequence[int],
    mlp_ratios: Sequence[int],
    output_stride: int,
    name: str,
) -> None:
    if output_stride != OUTPUT_STRIDE:
        raise ValueError(
            f"output_stride must be {OUTPUT_STRIDE} for {name}, received {output_stride!r}: MSCAN "
            "and VAN have no dilated form. Take them at stride 32 in a network that joins the "
            "levels of the pyramid, for example SCRNet, or FoRNet(output_stride=32, neck='fpn')."
        )
    for argument, values in (
        ("channels", channels),
        ("depths", depths),
        ("mlp_ratios", mlp_ratios),
    ):
        if len(values) != len(PYRAMID_LEVELS) or min(values) < 1:
            raise ValueError(
                f"{argument} must be {len(PYRAMID_LEVELS)} positive numbers, one a stage, received "
                f"{tuple(values)}."
            )


def load_checkpoint(model: LargeKernelBackbone, source: str | os.PathLike[str]) -> None:
    """Loads a checkpoint with the public names into a model of the same size.

    Args:
        model: MSCAN or VAN. Changed in place.
        source: Path or `hf://` address of a checkpoint.

    Raises:
        ValueError: If a key is missing or left over, a shape differs, or the file is not a plain
            state dict.
    """
    path = checkpoints.fetch(source)
    found = checkpoints.read_state_dict(path, at_least_bytes=2 * model.count_params())
    depthwise = {
        f"{key}.weight"
        for name, key in model.checkpoint_keys.items()
        if isinstance(model.get_layer(name), layers.DepthwiseConv2D)
    }
    state = {}
    for key, array in found.items():
        # A whole segmentation network calls us "backbone", and mmsegmentation leaves out one step
        # on the way to the convolution of the MLP.
        key = _MMSEGMENTATION_MLP.sub(r"\1dwconv.\2", key.removeprefix("backbone."))
        if key in depthwise and array.ndim == 4:
            array = array.swapaxes(0, 1)  # one kernel a channel: (C, 1, h, w) to (1, C, h, w)
        state[key] = array
    where = f"{os.fspath(source)} -> {model.name}"
    checkpoints.assign(checkpoint_variables(model), state, _LEFT_ASIDE, where)


def checkpoint_variables(model: LargeKernelBackbone) -> dict[str, keras.Variable]:
    """Returns {key in the public checkpoints: variable of the model}."""
    plan = {}
    for name, key in model.checkpoint_keys.items():
        layer = model.get_layer(name)
        if isinstance(layer, LayerScale):
            plan[key] = layer.scale
        elif isinstance(layer, (layers.BatchNormalization, layers.LayerNormalization)):
            plan[f"{key}.weight"] = layer.gamma
            plan[f"{key}.bias"] = layer.beta
            if isinstance(layer, layers.BatchNormalization):
                plan[f"{key}.running_mean"] = layer.moving_mean
                plan[f"{key}.running_var"] = layer.moving_variance
        else:
            plan[f"{key}.weight"] = layer.kernel
            plan[f"{key}.bias"] = layer.bias
    return plan
