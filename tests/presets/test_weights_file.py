"""Weights files of earlier versions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from keras_focusseg import models
from keras_focusseg.presets import weights_file
from tests.models import tiny
from tests.testers import randomize_weights, tiny_fornet


def scrnet(**options: Any) -> models.SCRNet:
    backbone = tiny.backbone(8, (4, 2, 2, 2))
    return models.SCRNet(3, backbone, filters=8, context_filters=8, embedding_filters=4, **options)


def sernet_former() -> models.SERNetFormer:
    return models.SERNetFormer(
        3,
        tiny.backbone(),
        attention_boosting=False,
        bridge_merge="concat",
        bridge_filters=8,
        skip_filters=8,
        decoder_filters=8,
    )


def former(name: str) -> str:
    """`a/conv/kernel` was `a_conv/kernel`, `a/b/conv/kernel` was `a/b/kernel`."""
    *path, kind, weight = name.split("/")
    if kind not in ("conv", "norm"):
        return name
    if len(path) == 1:
        return f"{path[0]}_{'conv' if kind == 'conv' else 'bn'}/{weight}"
    return "/".join(path) + ("/" if kind == "conv" else "_norm/") + weight


@pytest.mark.parametrize(
    "build",
    [
        lambda: tiny_fornet(neck="fpn"),
        sernet_former,
        scrnet,
        lambda: scrnet(context="pyramid_pooling", upsampling="fam"),
        lambda: scrnet(upsampling="align_fa"),
    ],
    ids=["fornet", "sernet_former", "scrnet", "ppm and fam", "align_fa"],
)
def test_names_before_convolution_norm_and_activation_were_one_layer(
    build: Any, tmp_path: Path
) -> None:
    saved, loaded = build(), build()
    randomize_weights(saved)
    weights_file.save_weights(saved, tmp_path / "new.safetensors")
    arrays = load_file(tmp_path / "new.safetensors")
    old = {former(name): array for name, array in arrays.items()}
    assert len(set(old) - set(arrays)) > 20
    save_file(old, tmp_path / "old.safetensors")
    weights_file.load_weights(loaded, tmp_path / "old.safetensors")
    for name, weight in weights_file.named_weights(loaded).items():
        np.testing.assert_array_equal(weight, arrays[name], err_msg=name)
