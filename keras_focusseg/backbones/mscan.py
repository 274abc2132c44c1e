"""MSCAN, the encoder of SegNeXt, as a feature pyramid.

Source: Guo et al., "SegNeXt: Rethinking Convolutional Attention Design for Semantic Segmentation",
NeurIPS 2022 (arXiv 2209.08575). The structure is that of the code published with it.
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
)

MSCAN_SIZES: dict[str, dict[str, Any]] = {
    "mscan_t": {"channels": (32, 64, 160, 256), "depths": (3, 3, 5, 2), "drop_path_rate": 0.1},
    "mscan_s": {"channels": (64, 128, 320, 512), "depths": (2, 2, 4, 2), "drop_path_rate": 0.1},
    "mscan_b": {"channels": (64, 128, 320, 512), "depths": (3, 3, 12, 3), "drop_path_rate": 0.1},
    "mscan_l": {"channels": (64, 128, 320, 512), "depths": (3, 5, 27, 3), "drop_path_rate": 0.3},
}
# Lengths of the pairs of strips, each a row and a column.
_STRIPS = (7, 11, 21)
_DOWNLOADS = "https://download.openmmlab.com/mmsegmentation/v0.5/pretrain/segnext/"
_FILES = {
    "mscan_t": "mscan_t_20230227-119e8c9f.pth",
    "mscan_s": "mscan_s_20230227-f33ccdf2.pth",
    "mscan_b": "mscan_b_20230227-3ab7d230.pth",
    "mscan_l": "mscan_l_20230227-cef260d4.pth",
}


@keras.saving.register_keras_serializable(package="keras_focusseg")
class MSCAN(LargeKernelBackbone):
    """MSCAN: attention from strips of 7, 11 and 21 pixels, four stages at strides 4, 8, 16, 32.

    The defaults are those of MSCAN-T; `backbones.build` knows "mscan_t", "mscan_s", "mscan_b" and
    "mscan_l". The arguments are those of `LargeKernelBackbone`.

    Example:
        >>> from keras_focusseg.backbones.mscan import MSCAN
        >>> MSCAN(channels=(8, 16, 24, 32), depths=(1, 1, 2, 1)).pyramid_channels
        {'P2': 8, 'P3': 16, 'P4': 24, 'P5': 32}
    """

    @staticmethod
    def stem(build: KeyedBuilder, x: KerasTensor, channels: int) -> KerasTensor:
        """Two 3x3 convolutions with stride 2, each with batch norm, GELU in between."""
        key = "patch_embed1.proj"
        x = build.conv(x, f"{key}.0", channels // 2, 3, 2)  # (B, H/2, W/2, C1/2)
        x = build.gelu(build.batch_norm(x, f"{key}.1"), "patch_embed1_proj_2")
        x = build.conv(x, f"{key}.3", channels, 3, 2)  # (B, H/4, W/4, C1)
        return build.batch_norm(x, f"{key}.4")

    @staticmethod
    def attention(build: KeyedBuilder, u: KerasTensor, key: str) -> KerasTensor:
        """A 5x5 window, beside it strips of three lengths: 25 by 25 pixels; a 1x1 joins them."""
        a = build.depthwise(u, f"{key}.conv0", 5)
        scales = [a]
        for index, length in enumerate(_STRIPS):
            strip = build.depthwise(a, f"{key}.conv{index}_1", (1, length))
            scales.append(build.depthwise(strip, f"{key}.conv{index}_2", (length, 1)))
        a = build.add(scales, f"{key.replace('.', '_')}_sum")
        return build.conv(a, f"{key}.conv3", u.shape[-1])


def load_mscan_checkpoint(model: MSCAN, source: str | os.PathLike[str]) -> None:
    """Loads a SegNeXt checkpoint into an MSCAN of the same size.

    Both sets of names are known, SegNeXt's own and mmsegmentation's. Every tensor of the encoder is
    used and every weight of the model is set, or nothing is changed. Left aside are the classifier
    (`head.*`), a segmentation network's decoder (`decode_head.*`, `auxiliary_head.*`,
    `neck.*`) and `*.num_batches_tracked`.

    Args:
        model: An MSCAN. Changed in place.
        source: Path of a `.pth`, `.pth.tar`, `.pt`, `.bin` or `.safetensors` file, or
            `hf://owner/repo[/file][@revision]`. Not `"imagenet"`: the authors' files are on no
            address that this library loads from, so they are to be downloaded first.

    Raises:
        ValueError: If the source is `"imagenet"`, a key is missing or left over, a shape differs,
            or the file is not a plain state dict.
        FileNotFoundError: If there is no such file.
        ImportError: If a package needed to read the source is not installed.
        ConnectionError: If an `hf://` source cannot be downloaded.

    Example:
        >>> load_mscan_checkpoint(backbone, "mscan_t_20230227-119e8c9f.pth")  # doctest: +SKIP
    """
    if source == "imagenet":
        files = {MSCAN_SIZES[name]["depths"]: _DOWNLOADS + file for name, file in _FILES.items()}
        advice = files.get(model.depths, f"a checkpoint from {_DOWNLOADS}")
        raise ValueError(
            f"MSCAN's ImageNet weights cannot be loaded by name. Download {advice} (or SegNeXt's "
            "own mscan_*.pth) and pass the path of the file."
        )
    load_checkpoint(model, source)
