"""What every backbone is: a functional Keras model that turns an image into a feature pyramid."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
from keras import KerasTensor, ops

from keras_focusseg._graphs import GraphModel

PYRAMID_LEVELS = ("P2", "P3", "P4", "P5")
OUTPUT_STRIDES = (8, 16, 32)
_IMAGENET_MEAN = np.array([0.485, 0.456, 0.406])
_IMAGENET_STD = np.array([0.229, 0.224, 0.225])
# x * scale + offset gives images in 0..255 ImageNet's mean 0 and deviation 1.
IMAGENET_SCALE = tuple((1 / (255 * _IMAGENET_STD)).tolist())
IMAGENET_OFFSET = tuple((-_IMAGENET_MEAN / _IMAGENET_STD).tolist())


class Backbone(GraphModel):
    """A functional model from images (B, H, W, 3) to the dict `{"P2", "P3", "P4", "P5"}`.

    Level `Pn` is (B, ceil(H / s), ceil(W / s), C) with `s = pyramid_strides["Pn"]`. With an
    output stride of 32 the strides are 4, 8, 16, 32; below that, the later levels keep the
    output stride and their convolutions are dilated in place of the strides that were taken out.

    A backbone is rebuilt from its constructor's arguments, not from its graph, so it can stand as
    one layer inside another functional model and come back whole from a `.keras` file.

    Args:
        inputs: The input tensor (B, H, W, 3).
        outputs: The pyramid, finest level first.
        output_stride: Stride of the coarsest level: 8, 16 or 32.
        dtype: Dtype policy of the layers.
        name: Name of the model.
        trainable: Whether the weights can be trained.
        **arguments: The other arguments of the subclass's constructor: they become attributes of
            their names, and `get_config` gives them back.
    """

    def __init__(
        self,
        inputs: KerasTensor,
        outputs: Mapping[str, KerasTensor],
        output_stride: int,
        dtype: keras.DTypePolicy,
        name: str,
        trainable: bool = True,
        **arguments: Any,
    ) -> None:
        super().__init__(inputs=inputs, outputs=dict(outputs), name=name)
        self.dtype_policy = dtype
        self.output_stride = output_stride
        self._own_arguments = tuple(arguments)
        for argument, value in arguments.items():
            setattr(self, argument, value)
        self.trainable = trainable

    @property
    def pyramid_strides(self) -> dict[str, int]:
        """Stride of each level of the pyramid, for example `{"P2": 4, ..., "P5": 32}`."""
        return {
            level: min(2**number, self.output_stride)
            for number, level in enumerate(PYRAMID_LEVELS, start=2)
        }

    @property
    def pyramid_outputs(self) -> dict[str, KerasTensor]:
        """Output tensor of each level of the pyramid: the name by which KerasHub's tasks ask."""
        return {level: self.output[level] for level in PYRAMID_LEVELS}

    @property
    def pyramid_channels(self) -> dict[str, int]:
        """Number of channels of each level of the pyramid."""
        return {level: self.output[level].shape[-1] for level in PYRAMID_LEVELS}

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        own = {argument: getattr(self, argument) for argument in self._own_arguments}
        return {
            **{name: list(v) if isinstance(v, tuple) else v for name, v in own.items()},
            "output_stride": self.output_stride,
            "dtype": keras.dtype_policies.serialize(self.dtype_policy),
            "name": self.name,
            "trainable": self.trainable,
        }


def check_output_stride(output_stride: int) -> None:
    """Refuses an output stride that no backbone here has.

    Raises:
        ValueError: It is not 8, 16 or 32.
    """
    if output_stride not in OUTPUT_STRIDES:
        raise ValueError(
            f"output_stride must be one of {OUTPUT_STRIDES}, received {output_stride!r}."
        )


@keras.saving.register_keras_serializable(package="keras_focusseg")
class ChannelsLastRescaling(keras.layers.Rescaling):
    """`keras.layers.Rescaling` for images (B, H, W, 3), whatever the user's `image_data_format`.

    Keras 3.15 puts a factor a channel on the axis that its configuration names, and the layer has
    no argument for it.

    Args:
        scale: What images are multiplied by: one number, or one a channel.
        offset: What is added after that.
        **kwargs: `name`, `dtype` and the like, for `keras.layers.Layer`.

    Example:
        >>> tuple(ChannelsLastRescaling([1.0, 0.5, 0.25])(keras.ops.ones((1, 4, 6, 3))).shape)
        (1, 4, 6, 3)
    """

    def call(self, inputs: Any) -> Any:
        """Images, scaled and shifted."""
        scale, offset = (ops.cast(value, self.compute_dtype) for value in (self.scale, self.offset))
        return ops.cast(inputs, self.compute_dtype) * scale + offset


def imagenet_rescaling() -> ChannelsLastRescaling:
    """The layer that normalises images in 0..255 by ImageNet's statistics, in float32."""
    return ChannelsLastRescaling(
        scale=list(IMAGENET_SCALE), offset=list(IMAGENET_OFFSET), dtype="float32", name="rescaling"
    )


class StrideBudget:
    """Turns the strides of a network into dilations once the output stride is reached.

    `budget.take(2)` answers with the (stride, dilation) of a layer that wants stride 2. The
    layer at which a stride is refused keeps the dilation of the layers before it; what follows
    gets the doubled one.

    Args:
        output_stride: Where striding ends.
        stride: Stride already used up.
    """

    def __init__(self, output_stride: int, stride: int = 1) -> None:
        self.output_stride = output_stride
        self.stride = stride
        self.dilation = 1

    def take(self, stride: int) -> tuple[int, int]:
        """Returns (stride, dilation) for the next layer, which asks for `stride`."""
        dilation = self.dilation
        if self.stride * stride > self.output_stride:
            self.dilation *= stride
            return 1, dilation
        self.stride *= stride
        return stride, dilation


def check_pyramid(backbone: keras.Model) -> keras.Model:
    """Returns a Keras model that has a feature pyramid, refuses any other.

    Raises:
        ValueError: If it is not a built model whose outputs are a dict with P2, P3, P4 and P5.
    """
    outputs = getattr(backbone, "output", None)  # absent while the model is not built
    missing = set(PYRAMID_LEVELS) - set(outputs if isinstance(outputs, Mapping) else ())
    if missing:
        raise ValueError(
            f"backbone {backbone.name!r} must be a built Keras model whose outputs are a dict with "
            f"P2, P3, P4 and P5; {sorted(missing)} missing."
        )
    return backbone


def pyramid_stride(backbone: keras.Model, level: str) -> int:
    """Stride of one level of any model with a pyramid, such as `"P5"`.

    Args:
        backbone: A model with a pyramid.
        level: "P2" to "P5".
    """
    return 256 // backbone.compute_output_shape((None, 256, 256, 3))[level][1]
