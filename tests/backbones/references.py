"""Independent networks that the backbones are held to, and checks that all backbones share."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from keras_focusseg.backbones import Backbone

Arrays = dict[str, np.ndarray]
LEVELS = ("P2", "P3", "P4", "P5")


def noise(height: int, width: int, batch: int = 1, seed: int = 0) -> np.ndarray:
    """Random float images in 0..255."""
    rng = np.random.default_rng(seed)
    return rng.uniform(0, 255, (batch, height, width, 3)).astype("float32")


def run(model: keras.Model, images: np.ndarray) -> Any:
    """Inference outputs as NumPy arrays; compiled, since eager JAX is slow."""
    return model.predict(images, verbose=0)


def assert_close(found: Arrays, expected: Arrays, tolerance: float = 1e-4) -> None:
    """Compare level by level, relative to the largest value of the level."""
    assert set(found) == set(expected)
    for level in sorted(expected):
        assert found[level].shape == expected[level].shape, level
        scale = np.abs(expected[level]).max()
        assert scale > 1e-3, f"{level} is dead: the comparison would mean nothing"
        error = np.abs(found[level] - expected[level]).max() / scale
        assert error <= tolerance, f"{level}: relative error {error}"


def randomize_norms(model: keras.Model, seed: int = 0) -> None:
    """Give every batch norm random scales, shifts and statistics."""
    rng = np.random.default_rng(seed)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            size = layer.gamma.shape[0]
            layer.set_weights(
                [
                    rng.uniform(0.8, 1.2, size),
                    rng.normal(0, 0.1, size),
                    rng.normal(0, 0.1, size),
                    rng.uniform(0.5, 1.5, size),
                ]
            )


def assert_dilated_reads_as_strided(
    strided: Backbone, dilated: Backbone, images: np.ndarray
) -> None:
    """Hold a dilated network, read at the strided one's positions, to the strided network.

    It is the property that dilation in place of stride exists for, and it fails for any wrong
    dilation. The images' sizes must keep every position on the coarser grid.
    """
    dilated.set_weights(strided.get_weights())
    expected = run(strided, images)
    found = run(dilated, images)
    for level in LEVELS:
        step = strided.pyramid_strides[level] // dilated.pyramid_strides[level]
        found[level] = found[level][:, ::step, ::step]
    assert_close(found, expected, tolerance=1e-5)


def torch_resnet(depth: int, output_stride: int = 32) -> Any:
    """transformers' ResNet in torchvision's layout with random weights and statistics."""
    import torch
    from transformers import ResNetConfig, ResNetModel

    bottleneck = depth >= 50
    depths = {18: [2, 2, 2, 2], 50: [3, 4, 6, 3]}[depth]
    torch.manual_seed(0)
    network = ResNetModel(
        ResNetConfig(
            layer_type="bottleneck" if bottleneck else "basic",
            hidden_sizes=[256, 512, 1024, 2048] if bottleneck else [64, 128, 256, 512],
            depths=depths,
            downsample_in_bottleneck=False,
        )
    ).eval()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.weight.data.uniform_(0.8, 1.2)
            module.bias.data.normal_(0, 0.1)
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    if output_stride == 8:
        # torchvision's rule, spelled out: (dilation of the first block, of the others).
        for stage, (first, others) in ((2, (1, 2)), (3, (2, 4))):
            for index, block in enumerate(network.encoder.stages[stage].layers):
                for conv in (m for m in block.modules() if isinstance(m, torch.nn.Conv2d)):
                    conv.stride = (1, 1)
                    if conv.kernel_size == (3, 3):
                        conv.dilation = conv.padding = (others if index else first,) * 2
    return network


def torchvision_state(network: Any) -> Arrays:
    """State dict of ``torch_resnet`` under torchvision's keys."""
    state = {}
    for key, value in network.state_dict().items():
        names = key.split(".")
        kind = {"convolution": "conv", "normalization": "bn"}[names[-2]]
        if names[0] == "embedder":
            name = f"{kind}1"
        elif names[5] == "shortcut":
            name = f"layer{int(names[2]) + 1}.{names[4]}.downsample.{int(kind == 'bn')}"
        else:
            name = f"layer{int(names[2]) + 1}.{names[4]}.{kind}{int(names[6]) + 1}"
        state[f"{name}.{names[-1]}"] = value.numpy()
    return state


def torch_pyramid(network: Any, images: np.ndarray) -> Arrays:
    """Stages of ``torch_resnet`` for images in 0..255, channels last."""
    import torch

    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    normalised = ((images / 255 - mean) / std).astype("float32")
    with torch.no_grad():
        stages = network(
            torch.from_numpy(normalised.transpose(0, 3, 1, 2)), output_hidden_states=True
        ).hidden_states
    return {
        level: stage.numpy().transpose(0, 2, 3, 1)
        for level, stage in zip(LEVELS, stages[1:], strict=True)
    }
