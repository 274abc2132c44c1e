"""VAN, the Visual Attention Network, as a feature pyramid.

Source: Guo et al., "Visual Attention Network", 2022 (arXiv 2202.09741). The structure is that of
the code published with it, for classification and for segmentation.
"""

from __future__ import annotations

import os
from typing import Any

import keras
from keras import KerasTensor

from keras_focusseg.backbones.large_kernel import (
    KeyedBuilder,
    LargeKernelBackbone,
    load_checkpoint,
    patch_embedding,
)

_WIDTHS = (64, 128, 320, 512)
# Drop rates are those of the published segmentation networks (UPerNet's).
VAN_SIZES: dict[str, dict[str, Any]] = {
    "van_b0": {"channels": (32, 64, 160, 256), "depths": (3, 3, 5, 2), "drop_path_rate": 0.1},
    "van_b1": {"channels": _WIDTHS, "depths": (2, 2, 4, 2), "drop_path_rate": 0.1},
    "van_b2": {"channels": _WIDTHS, "depths": (3, 3, 12, 3), "drop_path_rate": 0.1},
    "van_b3": {"channels": _WIDTHS, "depths": (3, 5, 27, 3), "drop_path_rate": 0.3},
    "van_b4": {"channels": _WIDTHS, "depths": (3, 6, 40, 3), "drop_path_rate": 0.4},
    "van_b5": {"channels": (96, 192, 480, 768), "depths": (3, 3, 24, 3), "drop_path_rate": 0.4},
    "van_b6": {"channels": (96, 192, 384, 768), "depths": (6, 6, 90, 6), "drop_path_rate": 0.5},
}
# The authors' own copies; larger ones are not published there.
_HUB = "hf://Visual-Attention-Network/VAN-"
_IMAGENET = {
    "van_b0": _HUB + "Tiny-original/van_tiny_754.pth.tar",
    "van_b1": _HUB + "Small-original/van_small_811.pth.tar",
    "van_b2": _HUB + "Base-original/van_base_828.pth.tar",
    "van_b3": _HUB + "Large-original/van_large_839.pth.tar",
}


@keras.saving.register_keras_serializable(package="keras_focusseg")
class VAN(LargeKernelBackbone):
    """VAN: attention from a dilated 7x7 window, four stages at strides 4, 8, 16, 32.

    The defaults are those of VAN-B0; `backbones.build` knows "van_b0" to "van_b6". The
    arguments are those of `LargeKernelBackbone`.

    Example:
        >>> from keras_focusseg.backbones.van import VAN
        >>> VAN(channels=(8, 16, 24, 32), depths=(1, 1, 2, 1)).pyramid_channels
        {'P2': 8, 'P3': 16, 'P4': 24, 'P5': 32}
    """

    @staticmethod
    def stem(build: KeyedBuilder, x: KerasTensor, channels: int) -> KerasTensor:
        """One 7x7 convolution with stride 4 and batch norm."""
        return patch_embedding(build, x, "patch_embed1", channels, 7, 4)  # (B, H/4, W/4, C1)

    @staticmethod
    def attention(build: KeyedBuilder, u: KerasTensor, key: str) -> KerasTensor:
        """A 5x5 window, then every third pixel of 19x19: 23 by 23; a 1x1 mixes the channels."""
        a = build.depthwise(u, f"{key}.conv0", 5)
        a = build.depthwise(a, f"{key}.conv_spatial", 7, dilation=3)
        return build.conv(a, f"{key}.conv1", u.shape[-1])


def load_van_checkpoint(model: VAN, source: str | os.PathLike[str]) -> None:
    """Loads a VAN checkpoint, a classifier's or a segmentation network's, into a VAN of its size.

    Every tensor of the encoder is used and every weight of the model is set, or nothing is changed.
    Left aside are the classifier (`head.*`), a segmentation network's decoder
    (`decode_head.*`, `auxiliary_head.*`, `neck.*`) and `*.num_batches_tracked`.

    Args:
        model: A VAN. Changed in place.
        source: Path of a `.pth`, `.pth.tar`, `.pt`, `.bin` or `.safetensors` file,
            `hf://owner/repo[/file][@revision]`, or `"imagenet"`: the authors' classifiers of
            B0 to B3, from their copies on the Hugging Face Hub.

    Raises:
        ValueError: If a key is missing or left over, a shape differs, the file is not a plain state
            dict, or there is no `"imagenet"` for this size.
        FileNotFoundError: If there is no such file.
        ImportError: If a package needed to read the source is not installed.
        ConnectionError: If an `hf://` source cannot be downloaded.

    Example:
        >>> load_van_checkpoint(backbone, "van_tiny_754.pth.tar")  # doctest: +SKIP
    """
    if source == "imagenet":
        source = _imagenet_source(model)
    load_checkpoint(model, source)


def _imagenet_source(model: VAN) -> str:
    for name, source in _IMAGENET.items():
        size = VAN_SIZES[name]
        if (model.channels, model.depths) == (size["channels"], size["depths"]):
            return source
    raise ValueError(
        f"'imagenet' is known for {', '.join(_IMAGENET)}, not for a VAN with channels "
        f"{model.channels} and depths {model.depths}: pass the path of a checkpoint."
    )
