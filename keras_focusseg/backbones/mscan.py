"""MSCAN, the encoder of SegNeXt, as a feature pyramid.

Source: Guo et al., "SegNeXt: Rethinking Convolutional Attention Design for Semantic Segmentation",
NeurIPS 2022 (arXiv 2209.08575). The structure is that of the code published with it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import keras
from keras import KerasTensor

from keras_focusseg.backbones.large_kernel import (
    MLP_RATIOS,
    OUTPUT_STRIDE,
    Builder,
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

    The defaults are those of MSCAN-T; ``backbones.build`` knows "mscan_t", "mscan_s", "mscan_b" and
    "mscan_l". Each level is the output of a stage after its layer norm. There is no dilated form.

    Args:
        channels: Channels of the four stages.
        depths: Blocks of the four stages.
        mlp_ratios: Widening inside the blocks' MLPs, stage by stage.
        drop_path_rate: Rate at which, in training, the last block's branches are dropped, sample by
            sample; it rises linearly from 0 at the first block.
        layer_norm_epsilon: Epsilon of the layer norm that ends a stage.
        output_stride: 32, the only one.
        include_rescaling: Subtract ImageNet's mean and divide by its standard deviation inside
            the network, for images in 0..255. If False, the input must be normalised already.
        batch_norm_momentum: Share of the old value that the moving statistics keep at a step.
        dtype: Dtype policy of the layers; None takes the global policy.
        name: Name of the model.
        trainable: Whether the weights can be trained.

    Raises:
        ValueError: If the output stride is not 32, or an argument is out of range.

    Example:
        >>> from keras_focusseg.backbones.mscan import MSCAN
        >>> MSCAN(channels=(8, 16, 24, 32), depths=(1, 1, 2, 1)).pyramid_channels
        {'P2': 8, 'P3': 16, 'P4': 24, 'P5': 32}
    """

    def __init__(
        self,
        channels: Sequence[int] = MSCAN_SIZES["mscan_t"]["channels"],
        depths: Sequence[int] = MSCAN_SIZES["mscan_t"]["depths"],
        mlp_ratios: Sequence[int] = MLP_RATIOS,
        drop_path_rate: float = 0.1,
        layer_norm_epsilon: float = 1e-5,
        output_stride: int = OUTPUT_STRIDE,
        include_rescaling: bool = True,
        batch_norm_momentum: float = 0.9,
        dtype: str | Mapping[str, Any] | keras.DTypePolicy | None = None,
        name: str = "mscan",
        trainable: bool = True,
    ) -> None:
        super().__init__(
            _stem,
            _multi_scale_attention,
            channels=channels,
            depths=depths,
            mlp_ratios=mlp_ratios,
            drop_path_rate=drop_path_rate,
            layer_norm_epsilon=layer_norm_epsilon,
            output_stride=output_stride,
            include_rescaling=include_rescaling,
            batch_norm_momentum=batch_norm_momentum,
            dtype=dtype,
            name=name,
            trainable=trainable,
        )


def _stem(build: Builder, x: KerasTensor, channels: int) -> KerasTensor:
    """Two 3x3 convolutions with stride 2, each with batch norm, GELU in between."""
    key = "patch_embed1.proj"
    x = build.conv(x, f"{key}.0", channels // 2, 3, 2)  # (B, H/2, W/2, C1/2)
    x = build.gelu(build.batch_norm(x, f"{key}.1"), "patch_embed1_proj_2")
    x = build.conv(x, f"{key}.3", channels, 3, 2)  # (B, H/4, W/4, C1)
    return build.batch_norm(x, f"{key}.4")


def _multi_scale_attention(build: Builder, u: KerasTensor, key: str) -> KerasTensor:
    """A 5x5 window, then strips of three lengths beside it: 25 by 25 pixels; a 1x1 joins them."""
    a = build.depthwise(u, f"{key}.conv0", 5)
    scales = [a]
    for index, length in enumerate(_STRIPS):
        strip = build.depthwise(a, f"{key}.conv{index}_1", (1, length))
        scales.append(build.depthwise(strip, f"{key}.conv{index}_2", (length, 1)))
    a = build.add(scales, f"{key.replace('.', '_')}_sum")
    return build.conv(a, f"{key}.conv3", u.shape[-1])


def load_mscan_checkpoint(model: MSCAN, source: str | os.PathLike[str]) -> None:
    """Load a SegNeXt checkpoint into an MSCAN of the same size.

    Both sets of names are known, SegNeXt's own and mmsegmentation's. Every tensor of the encoder is
    used and every weight of the model is set, or nothing is changed. Left aside are the classifier
    (``head.*``), a segmentation network's decoder (``decode_head.*``, ``auxiliary_head.*``,
    ``neck.*``) and ``*.num_batches_tracked``.

    Args:
        model: An MSCAN. Changed in place.
        source: Path of a ``.pth``, ``.pth.tar``, ``.pt``, ``.bin`` or ``.safetensors`` file, or
            ``hf://owner/repo[/file][@revision]``. Not ``"imagenet"``: the authors' files are on no
            address that this library loads from, so they are to be downloaded first.

    Raises:
        ValueError: If the source is ``"imagenet"``, a key is missing or left over, a shape differs,
            or the file is not a plain state dict.
        FileNotFoundError: If there is no such file.
        ImportError: If a package needed to read the source is not installed.
        ConnectionError: If an ``hf://`` source cannot be downloaded.

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
