"""Backbones of KerasHub and keras-cv as encoders of our networks.

Neither package is imported here: a KerasHub backbone is known by its `pyramid_outputs`, one of
keras-cv by its `pyramid_level_inputs`. A `.keras` file of a network on such a backbone loads
wherever that package is installed.
"""

from __future__ import annotations

import copy
import importlib.util
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import KerasTensor

from keras_focusseg._graphs import GraphModel
from keras_focusseg.backbones.backbone import (
    IMAGENET_OFFSET,
    IMAGENET_SCALE,
    PYRAMID_LEVELS,
    ChannelsLastRescaling,
)

_STRIDES = {level: 2**number for number, level in enumerate(PYRAMID_LEVELS, start=2)}
Factor = float | Sequence[float]


@keras.saving.register_keras_serializable(package="keras_focusseg")
class BridgedBackbone(GraphModel):
    """Another package's backbone as a model from images in 0..255 to `{"P2", ..., "P5"}`.

    Made by `from_keras_hub` and `from_keras_cv`. It shares the layers of the backbone it is made
    of, and has its height and width where those are fixed.

    Args:
        backbone: A backbone of KerasHub or keras-cv with one image input, channels last.
        scale: What images in 0..255 are multiplied by: one number, one a channel, or None.
        offset: What is added after that: one number, one a channel, or None.
        name: Name of the model; None for the backbone's.
        trainable: Whether the weights can be trained.

    Raises:
        ValueError: If the backbone's levels, inputs or data format do not serve.
    """

    def __init__(
        self,
        backbone: keras.Model,
        scale: Factor | None = None,
        offset: Factor | None = None,
        name: str | None = None,
        trainable: bool = True,
    ) -> None:
        _check_input(backbone)
        found = _levels(backbone)
        strides = _level_strides(backbone, found)
        levels = _choose_levels(backbone.name, strides)
        extractor = GraphModel(
            backbone.inputs[0], {level: found[key] for level, key in levels.items()}, name="levels"
        )
        inputs = keras.Input(backbone.inputs[0].shape[1:], dtype="float32", name="images")
        scale, offset = _plain(scale, 1.0), _plain(offset, 0.0)
        x = ChannelsLastRescaling(scale, offset, dtype="float32", name="rescaling")(inputs)
        super().__init__(inputs, extractor(x), name=name or backbone.name)
        self.pyramid_strides = {level: strides[key] for level, key in levels.items()}
        self._config = {
            "backbone": keras.saving.serialize_keras_object(backbone),
            "scale": scale,
            "offset": offset,
            "name": self.name,
        }
        self.trainable = trainable

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {**self._config, "trainable": self.trainable}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> BridgedBackbone:
        """Builds the backbone inside, then this model around it.

        Raises:
            ImportError: The package of the backbone inside is not installed.
        """
        # A copy, because Keras empties what it deserialises.
        inner = copy.deepcopy(config["backbone"])
        package = str(inner.get("module")).partition(".")[0]
        try:
            # Keras imports the package if it is there.
            backbone = keras.saving.deserialize_keras_object(inner, custom_objects=custom_objects)
        except TypeError as error:
            if importlib.util.find_spec(package) is not None:
                raise
            raise ImportError(
                f"The backbone inside is a {config['backbone']['class_name']} of {package}, which "
                "is not installed. KerasHub comes with pip install 'keras-focusseg[hub]', keras-cv "
                "with 'keras-focusseg[cv]'."
            ) from error
        return cls(**{**config, "backbone": backbone})


def from_keras_hub(
    backbone: keras.Model,
    scale: Factor | None = IMAGENET_SCALE,
    offset: Factor | None = IMAGENET_OFFSET,
    name: str | None = None,
) -> BridgedBackbone:
    """Makes a KerasHub `FeaturePyramidBackbone` an encoder for images in 0..255.

    KerasHub keeps the preprocessing outside its backbones; here it goes in. `backbone=` of every
    network takes such a backbone without this function as well, with the defaults below.

    Args:
        backbone: The backbone, with levels at strides 4, 8, 16 and 32, whatever their names.
        scale: What images are multiplied by: one number, one a channel, or None. What a preset
            wants stands in its `keras_hub.layers.ImageConverter.from_preset(...)`, as `scale`
            and `offset`. The defaults normalise by ImageNet's mean and deviation.
        offset: What is added after that: one number, one a channel, or None.
        name: Name of the model; None for the backbone's.

    Returns:
        A model from images (B, H, W, 3) to the dict `{"P2", "P3", "P4", "P5"}`.

    Raises:
        ValueError: If it is no such backbone, is channels first, or misses a level.

    Example:
        >>> backbone = keras_hub.models.ResNetBackbone.from_preset(
        ...     "resnet_50_imagenet")  # doctest: +SKIP
        >>> model = FoRNet(19, from_keras_hub(backbone), neck="fpn")  # doctest: +SKIP
    """
    if not is_keras_hub(backbone):
        raise ValueError(
            f"{_describe(backbone)} is no KerasHub backbone: it has no pyramid_outputs."
        )
    return BridgedBackbone(backbone, scale, offset, name)


def from_keras_cv(
    backbone: keras.Model,
    scale: Factor | None = None,
    offset: Factor | None = None,
    name: str | None = None,
) -> BridgedBackbone:
    """Makes a keras-cv backbone with a pyramid an encoder for images in 0..255.

    `backbone=` of every network takes such a backbone without this function as well, with the
    defaults below.

    Args:
        backbone: The backbone, with levels at strides 4, 8, 16 and 32, whatever their names.
        scale: What images are multiplied by, one number or one a channel. None for 1 where the
            backbone was built with `include_rescaling=True`, else for 1 / 255.
        offset: What is added after that: one number, one a channel, or None.
        name: Name of the model; None for the backbone's.

    Returns:
        A model from images (B, H, W, 3) to the dict `{"P2", "P3", "P4", "P5"}`.

    Raises:
        ValueError: If it is no such backbone, is channels first, or misses a level.

    Example:
        >>> backbone = keras_cv.models.ResNetV2Backbone.from_preset(
        ...     "resnet50_v2_imagenet")  # doctest: +SKIP
        >>> model = FoRNet(19, from_keras_cv(backbone), neck="fpn")  # doctest: +SKIP
    """
    if not is_keras_cv(backbone):
        raise ValueError(
            f"{_describe(backbone)} is no keras-cv backbone with a pyramid: it has no "
            "pyramid_level_inputs."
        )
    if scale is None:
        scale = 1.0 if getattr(backbone, "include_rescaling", False) else 1 / 255
    return BridgedBackbone(backbone, scale, offset, name)


def check_any_size(bridge: BridgedBackbone) -> BridgedBackbone:
    """Returns the bridge if it takes images of any size, as our networks do.

    Raises:
        ValueError: If its height or width is fixed.
    """
    height, width = bridge.input_shape[1:3]
    if (height, width) != (None, None):
        raise ValueError(
            f"backbone {bridge.name!r} is built for images of {height}x{width} (height x width), "
            "and our networks take any size. Build it for (None, None, 3): KerasHub's argument is "
            "image_shape, keras-cv's input_shape. The MiT of both cannot be built so."
        )
    return bridge


def is_keras_hub(backbone: Any) -> bool:
    """Whether it has KerasHub's attribute of a feature pyramid."""
    return hasattr(backbone, "pyramid_outputs")


def is_keras_cv(backbone: Any) -> bool:
    """Whether it has keras-cv's attribute of a feature pyramid."""
    try:
        return hasattr(backbone, "pyramid_level_inputs")
    except NotImplementedError:  # how its ViTDet says that it has none
        return False


def _levels(backbone: keras.Model) -> Mapping[str, KerasTensor]:
    """All levels of the backbone by its own names."""
    if is_keras_hub(backbone):
        return dict(backbone.pyramid_outputs)
    return {
        level: backbone.get_layer(layer).output
        for level, layer in backbone.pyramid_level_inputs.items()
    }


def _level_strides(backbone: keras.Model, levels: Mapping[str, KerasTensor]) -> dict[str, int]:
    """How many pixels a cell of each level spans; levels that are no maps are left out."""
    maps = {key: tensor for key, tensor in levels.items() if len(tensor.shape) == 4}
    if not maps:
        return {}
    height = backbone.inputs[0].shape[1] or 256
    width = backbone.inputs[0].shape[2] or 256
    model = keras.Model(backbone.inputs[0], maps)
    shapes = model.compute_output_shape((1, height, width, 3))
    return {key: round(height / shapes[key][1]) for key in maps}


def _choose_levels(name: str, strides: Mapping[str, int]) -> dict[str, str]:
    """{"P2": the backbone's name of the level with stride 4, ...}.

    Strides decide, since not all backbones name their levels by them. Names decide only for
    dilated backbones, in which several levels share a stride.
    """
    by_stride = {stride: key for key, stride in strides.items()}
    if set(_STRIDES.values()) <= set(by_stride):
        return {level: by_stride[stride] for level, stride in _STRIDES.items()}
    if set(PYRAMID_LEVELS) <= set(strides):
        return {level: level for level in PYRAMID_LEVELS}
    told = ", ".join(f"{key} (stride {stride})" for key, stride in strides.items()) or "none"
    raise ValueError(
        f"backbone {name!r} has no feature pyramid that serves: levels at strides 4, 8, 16 and 32 "
        f"are needed, or levels named P2, P3, P4 and P5. It has: {told}."
    )


def _check_input(backbone: keras.Model) -> None:
    inputs = backbone.inputs
    if len(inputs) != 1 or len(inputs[0].shape) != 4 or inputs[0].shape[-1] != 3:
        raise ValueError(
            f"{_describe(backbone)} must take one batch of images (B, H, W, 3), channels last; its "
            f"inputs are {[tuple(x.shape) for x in inputs]}."
        )


def _plain(factor: Factor | None, neutral: float) -> float | list[float]:
    return np.asarray(neutral if factor is None else factor, "float64").tolist()


def _describe(backbone: Any) -> str:
    return f"{type(backbone).__name__} {getattr(backbone, 'name', '')!r}"
