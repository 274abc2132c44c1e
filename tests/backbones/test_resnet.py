"""ResNet: structure, parity with an independent PyTorch network, and its checkpoints' reader."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from safetensors.numpy import save_file

from keras_focusseg import backbones
from keras_focusseg.backbones import checkpoints
from keras_focusseg.backbones.resnet import ResNet
from tests.backbones import references

COUNTS = {"resnet18": 11_176_512, "resnet50": 23_508_032}


def convolutions(model: keras.Model, stage: int) -> list[tuple[int, tuple[int, int]]]:
    """(stride, dilation) of all but the 1x1 convolutions of a stage."""
    return [
        (layer.strides[0], layer.dilation_rate)
        for layer in model.layers
        if isinstance(layer, keras.layers.Conv2D)
        and layer.name.startswith(f"layer{stage}_")
        and layer.kernel_size == (3, 3)
    ]


@pytest.mark.parametrize("name", COUNTS)
def test_trainable_parameters_are_exact(name: str) -> None:
    assert references.trainable_parameters(backbones.build(name)) == COUNTS[name]


def test_resnet101_at_stride_8_is_laid_out_as_the_paper_says() -> None:
    model = backbones.build("resnet101", output_stride=8)
    plain, double, fourfold = (1, (1, 1)), (1, (2, 2)), (1, (4, 4))
    assert convolutions(model, 1) == [plain] * 3
    assert convolutions(model, 2) == [(2, (1, 1))] + [plain] * 3
    assert convolutions(model, 3) == [plain] + [double] * 22
    assert convolutions(model, 4) == [double] + [fourfold] * 2

    for layer in model.layers:
        if isinstance(layer, keras.layers.Conv2D):
            assert not layer.use_bias
            # The stride is on the 3x3 (and the stem and the shortcuts), never on a block's 1x1.
            if layer.kernel_size == (1, 1) and "downsample" not in layer.name:
                assert layer.strides == (1, 1)
        if isinstance(layer, keras.layers.BatchNormalization):
            assert (layer.epsilon, layer.momentum) == (1e-5, 0.9)
    assert references.trainable_parameters(model) == 42_500_160
    assert sum(int(np.prod(w.shape)) for w in model.non_trainable_weights) == 105_344
    assert model.pyramid_strides == {"P2": 4, "P3": 8, "P4": 8, "P5": 8}
    assert model.pyramid_channels == {"P2": 256, "P3": 512, "P4": 1024, "P5": 2048}


def test_deeper_and_shallower_stages() -> None:
    assert len(convolutions(ResNet(34), 3)) == 2 * 6
    assert len(convolutions(ResNet(152), 3)) == 36


@pytest.mark.parametrize(
    ("depth", "output_stride", "height", "width"),
    [(18, 32, 97, 131), (50, 32, 64, 96), (50, 8, 64, 96)],
)
def test_parity_with_an_independent_network(
    depth: int, output_stride: int, height: int, width: int, tmp_path: Path
) -> None:
    network = references.torch_resnet(depth, output_stride)
    path = tmp_path / "model.safetensors"
    save_file(references.torchvision_state(network), path)
    model = backbones.build(f"resnet{depth}", weights=path, output_stride=output_stride)

    images = references.noise(height, width)
    expected = references.torch_pyramid(network, images)
    assert expected["P5"].shape[1:3] == (-(-height // output_stride), -(-width // output_stride))
    references.assert_close(references.run(model, images), expected)


@pytest.mark.parametrize("output_stride", [16, 8])
def test_dilated_network_reads_as_the_strided_one(output_stride: int) -> None:
    strided = ResNet(18)
    references.randomize_norms(strided)
    dilated = ResNet(18, output_stride=output_stride)
    images = references.noise(61, 90)
    references.assert_dilated_reads_as_strided(strided, dilated, images)


# From here on: the reader of checkpoints.


@pytest.fixture(scope="module")
def network() -> Any:
    return references.torch_resnet(18)


@pytest.fixture
def state(network: Any) -> dict[str, np.ndarray]:
    """A classifier's whole state dict, as torchvision has it."""
    state = references.torchvision_state(network)
    return {
        **state,
        "fc.weight": np.zeros((10, 512), "float32"),
        "fc.bias": np.zeros(10, "float32"),
    }


@pytest.fixture(scope="module")
def model() -> ResNet:
    """A network to load into; no test relies on the weights that an earlier one left."""
    return ResNet(18)


def drop_conv1(state: dict[str, np.ndarray]) -> None:
    del state["conv1.weight"]


def add_surplus(state: dict[str, np.ndarray]) -> None:
    state["layer1.0.conv3.weight"] = np.zeros((64, 64, 1, 1), "float32")


def widen(state: dict[str, np.ndarray]) -> None:
    state["layer2.1.conv1.weight"] = np.zeros((128, 129, 3, 3), "float32")


def spoil(state: dict[str, np.ndarray]) -> None:
    state["layer3.0.bn1.running_var"] = np.full(256, np.nan, "float32")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (drop_conv1, "missing: conv1.weight"),
        (add_surplus, "left over: layer1.0.conv3.weight"),
        (widen, "of another shape: layer2.1.conv1.weight"),
        (spoil, "not finite: layer3.0.bn1.running_var"),
    ],
)
def test_a_checkpoint_that_does_not_fit_names_the_key_and_changes_nothing(
    state: dict[str, np.ndarray],
    model: ResNet,
    change: Callable[[dict[str, np.ndarray]], None],
    message: str,
    tmp_path: Path,
) -> None:
    change(state)
    save_file(state, tmp_path / "model.safetensors")
    before = model.get_weights()
    with pytest.raises(ValueError, match=message):
        backbones.load_weights(model, tmp_path / "model.safetensors")
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


@pytest.mark.parametrize("zipped", [True, False])
def test_pth_files_old_and_new(
    state: dict[str, np.ndarray], model: ResNet, zipped: bool, tmp_path: Path
) -> None:
    import torch

    tensors = {
        # Early files hold parameters, later ones plain tensors.
        key: torch.nn.Parameter(torch.tensor(value), requires_grad=value.dtype == np.float32)
        for key, value in state.items()
    }
    path = tmp_path / "resnet18.pth"
    torch.save(tensors, path, _use_new_zipfile_serialization=zipped)
    backbones.load_weights(model, path)
    np.testing.assert_array_equal(
        model.get_layer("layer4_0_downsample_conv").get_weights()[0],
        state["layer4.0.downsample.0.weight"].transpose(2, 3, 1, 0),
    )
    np.testing.assert_array_equal(
        model.get_layer("layer4_1_bn2").get_weights()[3], state["layer4.1.bn2.running_var"]
    )


def test_half_precision_is_read(state: dict[str, np.ndarray], tmp_path: Path) -> None:
    import torch
    from safetensors.torch import save_file as save_tensors

    tensors = {key: torch.tensor(value).bfloat16() for key, value in state.items()}
    save_tensors(tensors, tmp_path / "model.safetensors")
    torch.save(tensors, tmp_path / "model.bin")
    for name in ("model.safetensors", "model.bin"):
        read = checkpoints.read_state_dict(tmp_path / name)
        assert read["conv1.weight"].dtype == np.float32
        np.testing.assert_allclose(read["conv1.weight"], state["conv1.weight"], rtol=1e-2)


class _Malicious:
    def __init__(self, victim: Path) -> None:
        self.victim = victim

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.victim),)


@pytest.mark.parametrize("kind", ["torch", "pickle"])
def test_code_in_a_checkpoint_is_refused_and_not_run(kind: str, tmp_path: Path) -> None:
    import torch

    path, victim = tmp_path / "model.pth", tmp_path / "victim"
    if kind == "torch":
        torch.save({"conv1.weight": _Malicious(victim)}, path)
    else:
        path.write_bytes(pickle.dumps({"conv1.weight": _Malicious(victim)}, protocol=2))
    with pytest.raises(ValueError, match="refused"):
        checkpoints.read_state_dict(path)
    assert not victim.exists()


def test_files_that_are_no_state_dict(tmp_path: Path) -> None:
    import torch

    torch.save({"epoch": 3, "state_dict": {}}, tmp_path / "run.pth")
    with pytest.raises(ValueError, match="epoch.*state_dict.*expected a plain state dict"):
        checkpoints.read_state_dict(tmp_path / "run.pth")
    (tmp_path / "cut.safetensors").write_bytes(b"\x10" * 100)
    with pytest.raises(ValueError, match="not a whole safetensors file"):
        checkpoints.read_state_dict(tmp_path / "cut.safetensors")
    (tmp_path / "model.onnx").write_bytes(b"onnx")
    with pytest.raises(ValueError, match="unknown kind"):
        checkpoints.read_state_dict(tmp_path / "model.onnx", at_least_bytes=10)


def test_too_small_and_absent_files(model: ResNet, tmp_path: Path) -> None:
    pointer = tmp_path / "resnet18.pth"
    pointer.write_text("version https://git-lfs.github.com/spec/v1")
    with pytest.raises(ValueError, match="has 42 bytes, at least"):
        backbones.load_weights(model, pointer)
    with pytest.raises(FileNotFoundError, match="nowhere.pth"):
        backbones.load_weights(model, "nowhere.pth")


def test_pth_without_torch_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "model.pth"
    path.write_bytes(b"anything")
    monkeypatch.setitem(__import__("sys").modules, "torch", None)
    with pytest.raises(ImportError, match="convert the file to .safetensors"):
        checkpoints.read_state_dict(path)


@pytest.mark.parametrize(
    ("source", "asked"),
    [
        ("hf://timm/resnet18.x", ("timm/resnet18.x", "model.safetensors", None)),
        ("hf://a/b/sub/model.bin@v1", ("a/b", "sub/model.bin", "v1")),
        ("hf://a/b@refs/pr/1", ("a/b", "model.safetensors", "refs/pr/1")),
    ],
)
def test_hub_sources(
    source: str, asked: tuple[str, str, str | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub

    seen = []

    def download(repo_id: str, filename: str, revision: str | None = None) -> str:
        seen.append((repo_id, filename, revision))
        return "/somewhere/model.safetensors"

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    assert checkpoints.fetch(source) == Path("/somewhere/model.safetensors")
    assert seen == [asked]


def test_imagenet_asks_the_hub_for_torchvisions_weights(
    model: ResNet, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def fetch(source: str) -> Path:
        seen.append(source)
        raise ConnectionError

    monkeypatch.setattr(checkpoints, "fetch", fetch)
    for network in (model, ResNet(50)):
        with pytest.raises(ConnectionError):
            backbones.load_weights(network, "imagenet")
    assert seen == ["hf://timm/resnet18.tv_in1k", "hf://timm/resnet50.tv2_in1k"]


def test_hub_failures_are_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from huggingface_hub import constants

    with pytest.raises(ValueError, match="Expected hf://owner/repo"):
        checkpoints.fetch("hf://nothing")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(ConnectionError, match="Could not fetch model.safetensors of a/b"):
        checkpoints.fetch("hf://a/b")
    monkeypatch.setitem(__import__("sys").modules, "huggingface_hub", None)
    with pytest.raises(ImportError, match="pip install huggingface_hub"):
        checkpoints.fetch("hf://a/b")
