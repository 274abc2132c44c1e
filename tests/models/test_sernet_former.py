"""SERNet-Former: counts, shapes, gates, switches. Item numbers: section 5 of its specification."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from safetensors.numpy import save_file

from keras_focusseg import backbones, models
from keras_focusseg.inference import profile
from keras_focusseg.layers import AttentionBoostingGate
from tests.backbones import references
from tests.models import tiny
from tests.testers import check_config_round_trip, to_numpy

LOWEST = -0.278465  # of sigmoid(b) * b


def silu(b: np.ndarray) -> np.ndarray:
    return b / (1 + np.exp(-b.astype("float64")))


def size(weights: list[keras.Variable]) -> int:
    return sum(int(np.prod(weight.shape)) for weight in weights)


# Counts and shapes of the full network, never run here


@pytest.fixture(scope="module")
def full() -> models.SERNetFormer:
    return models.SERNetFormer(num_classes=11, backbone="resnet50")


PARTS = {
    "bridge": 14_157_312,
    "afn2": 1_771_008,
    "skip": 16_512,
    "afn1": 110_976,
    "decoder": 737_792,
    "classifier": 2_827,
}


def test_parameters_of_each_part(full: models.SERNetFormer):
    """Item 8."""
    found = {
        part: size(
            [
                weight
                for layer in full.layers
                if layer.name.startswith(part)
                for weight in layer.trainable_weights
            ]
        )
        for part in PARTS
    }
    assert found == PARTS
    assert size(full.backbone.trainable_weights) == 23_508_032
    assert size(full.trainable_weights) == 40_304_459 == 23_508_032 + sum(PARTS.values())
    assert full.count_params() == 40_361_675


# Name: options, all parameters, and GMACs at one size or two.
VARIANTS: dict[str, tuple[dict[str, Any], int, dict[tuple[int, int], float]]] = {
    "default": ({}, 40_361_675, {(720, 960): 163.8}),
    "AbM off": (
        {"attention_boosting": False, "backbone": "resnet50"},
        40_361_675,
        {(720, 960): 163.8},
    ),
    "DbN off": ({"bridge": False}, 26_728_139, {(720, 960): 127.0}),
    "AfN1 off": ({"afn1": False}, 40_250_315, {(720, 960): 159.1}),
    "AfN2 off": ({"afn2": False}, 38_589_131, {(720, 960): 159.1}),
    "stride 8": (
        {"output_stride": 8, "backbone": "resnet50"},
        40_361_675,
        {(720, 960): 471.2},
    ),
    "ResNet-101": ({"backbone": "resnet101"}, 59_406_027, {(720, 960): 215.0}),
    "AfN2 at stride 4": ({"afn2_after_resize": True}, 40_361_675, {(720, 960): 235.5}),
    "19 classes": (
        {"num_classes": 19},
        40_363_731,
        {(512, 1024): 124.3, (1024, 2048): 497.3},
    ),
}


@pytest.mark.parametrize("name", VARIANTS)
def test_variants(full: models.SERNetFormer, name: str):
    """Item 8. What does not change the encoder takes the one that is there."""
    options, parameters, gmacs_of_size = VARIANTS[name]
    settings = {"num_classes": 11, "backbone": full.backbone, **options}
    model = models.SERNetFormer(**settings) if options else full
    assert model.count_params() == parameters
    if name == "ResNet-101":
        assert model.backbone.count_params() == 42_605_504
    if name == "stride 8":
        assert shapes(model, 720, 960)["abm5"] == (90, 120, 2048)
        assert shapes(model, 720, 960)["bridge_sum"] == (90, 120, 256)
        assert shapes(model, 512, 1024)["bridge_sum"] == (64, 128, 256)
        assert conv3x3_dilations(model, "layer3") == [1] + [2] * 5
        assert conv3x3_dilations(model, "layer4") == [2, 4, 4]
    for image, gmacs in gmacs_of_size.items():
        costs = profile(model, image, runs=0)
        assert costs.not_counted == ()
        # The table has ResNet's stride on the first 1x1 of a stage. Here it is on the 3x3, so two
        # 1x1, 256 -> 128 at stride 4 and 512 -> 256 at stride 8, give four times the values.
        cells = image[0] * image[1] / 16
        second = cells / 4 if model.backbone.pyramid_strides["P4"] == 16 else 0
        extra = 0.75 * (256 * 128 * cells + 512 * 256 * second) / 1e9
        assert costs.macs / 1e9 == pytest.approx(gmacs + extra, abs=0.051)


def shapes(model: models.SERNetFormer, height: int, width: int) -> dict[str, tuple[int, ...]]:
    """Height, width, channels of the steps of section 4."""
    names = {"abm1": 1, "abm2": 3, "abm3": 4, "abm4": 5, "abm5": 6}
    pyramid = keras.Model(model.backbone.input, [model.backbone.get_layer(n).output for n in names])
    found = dict(zip(names, pyramid.compute_output_shape((1, height, width, 3)), strict=True))
    steps = {
        "bridge_sum": 7,
        "afn2_add": 8,
        "decoder_resize": 9,
        "skip": 10,
        "afn1_add": 11,
        "decoder_concat": 12,
        "decoder": 13,
        "classifier": 14,
        "logits": 15,
    }
    head = keras.Model(model.input, [model.get_layer(name).output for name in steps])
    found |= dict(zip(steps, head.compute_output_shape((1, height, width, 3)), strict=True))
    return {name: shape[1:] for name, shape in found.items()}


@pytest.mark.parametrize("image", [(720, 960), (360, 480), (512, 1024), (1024, 2048), (97, 131)])
def test_shapes_at_output_stride_16(full: models.SERNetFormer, image: tuple[int, int]):
    """Item 7, and item 4: AbM4 and AbM5 have one size."""
    two, four, eight, sixteen = (tuple(-(-side // s) for side in image) for s in (2, 4, 8, 16))
    assert shapes(full, *image) == {
        "abm1": (*two, 64),
        "abm2": (*four, 256),
        "abm3": (*eight, 512),
        "abm4": (*sixteen, 1024),
        "abm5": (*sixteen, 2048),
        "bridge_sum": (*sixteen, 256),
        "afn2_add": (*sixteen, 256),
        "decoder_resize": (*four, 256),
        "skip": (*four, 64),
        "afn1_add": (*four, 64),
        "decoder_concat": (*four, 320),
        "decoder": (*four, 256),
        "classifier": (*four, 11),
        "logits": (*image, 11),
    }


def conv3x3_dilations(model: keras.Model, stage: str) -> list[int]:
    convs = [conv for conv in tiny.conv_layers(model) if conv.path.startswith(stage)]
    return [conv.dilation_rate[0] for conv in convs if conv.kernel_size[0] == 3]


def test_the_full_network_in_detail(full: models.SERNetFormer):
    """Items 4 and 5, and our choices: five gates, rates, one bias, PyTorch's norms."""
    gates = [x for x in full.backbone.layers if isinstance(x, AttentionBoostingGate)]
    assert [gate.name for gate in gates] == [f"abm{n}_gate" for n in range(1, 6)]
    assert conv3x3_dilations(full, "layer3") == [1] * 6
    assert conv3x3_dilations(full, "layer4") == [1, 2, 2]
    assert conv3x3_dilations(full, "bridge") == [12, 16, 18]
    assert {layer.name for layer in tiny.conv_layers(full) if layer.use_bias} == {"classifier"}
    norms = tiny.norm_layers(full)
    assert {(norm.momentum, norm.epsilon) for norm in norms} == {(0.9, 1e-5)}


# The encoder


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """A ResNet-18 of PyTorch with random weights, and its file in torchvision's layout."""
    network = references.torch_resnet(18)
    path = tmp_path_factory.mktemp("weights") / "resnet18.safetensors"
    save_file(
        {key: np.ascontiguousarray(v) for key, v in references.torchvision_state(network).items()},
        path,
    )
    return path, network


def test_without_gates_the_encoder_is_the_plain_resnet(checkpoint: tuple[Path, Any]):
    """Items 3 and 9, with a checkpoint of PyTorch and its features."""
    path, torch_network = checkpoint
    model = models.SERNetFormer(
        3, "resnet18", path, output_stride=32, attention_boosting=False, bridge_filters=8
    )
    images = references.noise(65, 97)
    found = references.run(model.backbone, images)
    references.assert_close(found, references.torch_pyramid(torch_network, images), 1e-4)
    plain = backbones.build("resnet18", path)
    for level, value in references.run(plain, images).items():
        np.testing.assert_array_equal(found[level], value)


def test_gates_of_the_resnet(checkpoint: tuple[Path, Any]):
    """Items 2 and 3: a plain checkpoint fits; each stage ends with the sum, and hands it on."""
    path, _ = checkpoint
    plain = backbones.build("resnet18", path, output_stride=16)
    gated = backbones.build("resnet18", path, output_stride=16, attention_boosting=True)
    for mine, theirs in zip(gated.weights, plain.weights, strict=True):
        assert mine.path == theirs.path
        np.testing.assert_array_equal(to_numpy(mine), to_numpy(theirs))

    ends = {
        1: ("relu", "bn1"),
        **{n: (f"layer{n - 1}_1_out", f"layer{n - 1}_1_bn2") for n in range(2, 6)},
    }
    inner = [name for pair in ends.values() for name in pair]
    inner += ["abm1", "maxpool", "layer2_0_conv1", "layer2_0_conv1_pad"]
    probe = keras.Model(
        gated.input, {**gated.output, **{name: gated.get_layer(name).output for name in inner}}
    )
    values = references.run(probe, references.noise(65, 97))
    for n, (filtered, b) in ends.items():
        boosted = values["abm1" if n == 1 else f"P{n}"]
        assert values[filtered].min() == 0 < values[filtered].max()
        np.testing.assert_array_equal(values[f"norm{n}"], values[b])
        np.testing.assert_allclose(values[f"boost{n}"], silu(values[b]), atol=1e-5)
        np.testing.assert_allclose(boosted, values[filtered] + silu(values[b]), atol=1e-5)
        assert LOWEST - 1e-5 <= boosted.min() < -0.2
    # A window's maximum may be below 0 at the border: nothing but the map counts.
    e1 = values["abm1"]
    padded = np.pad(e1, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=-np.inf)
    height, width = e1.shape[1:3]
    windows = [padded[:, i : i + height, j : j + width] for i in range(3) for j in range(3)]
    pooled = np.max(windows, axis=0)[:, ::2, ::2]
    assert pooled[:, 0].min() < 0
    np.testing.assert_array_equal(values["maxpool"], pooled)
    np.testing.assert_array_equal(values["layer2_0_conv1_pad"][:, 1:-1, 1:-1], values["P2"])


GATES_OF_PHONE_NETWORKS = [  # options, then (before the gate, what it is made from) by number
    (
        "mobilenet_v2",
        {"alpha": 0.35},
        {
            1: ("Conv1_relu", "bn_Conv1"),
            2: ("block_2_add", "block_2_project_BN"),
            3: ("block_5_add", "block_5_project_BN"),
            4: ("block_12_add", "block_12_project_BN"),
            5: ("block_16_project_BN", "block_16_project_BN"),
        },
    ),
    (
        "mobilenet_edgetpu",
        {"features": "stages", "output_stride": 32},
        {
            1: ("Conv_relu", "Conv_BN"),
            2: ("expanded_conv_4_add", "expanded_conv_4_project_BN"),
            3: ("expanded_conv_8_add", "expanded_conv_8_project_BN"),
            4: ("expanded_conv_16_add", "expanded_conv_16_project_BN"),
            5: ("expanded_conv_21_project_BN", "expanded_conv_21_project_BN"),
        },
    ),
]


@pytest.mark.parametrize(("name", "options", "ends"), GATES_OF_PHONE_NETWORKS)
def test_gates_of_networks_for_phones_leave_their_blocks_linear(name, options, ends):
    """Ours: on the first convolution, and on the last block at each of four strides."""
    gated = backbones.build(name, attention_boosting=True, **options)
    references.randomize_norms(gated)
    plain = backbones.build(name, **options)
    assert [w.path for w in gated.weights] == [w.path for w in plain.weights]
    inner = {layer: gated.get_layer(layer).output for pair in ends.values() for layer in pair}
    probe = keras.Model(
        gated.input, {"abm1": gated.get_layer("abm1").output, **gated.output, **inner}
    )
    values = references.run(probe, references.noise(40, 56))
    for n, (filtered, b) in ends.items():
        boosted = values["abm1" if n == 1 else f"P{n}"]
        np.testing.assert_array_equal(values[f"norm{n}"], values[b])
        np.testing.assert_allclose(boosted, values[filtered] + silu(values[b]), atol=1e-5)
        assert np.abs(boosted - values[filtered]).max() > 0.01


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2", "mobilenet_edgetpu"])
def test_a_backbone_without_dilation(name: str):
    """The size stays, the receptive field shrinks."""

    def rates(model: keras.Model) -> set[int]:
        return {x.dilation_rate[0] for x in model.layers if hasattr(x, "dilation_rate")}

    model = backbones.build(name, output_stride=8, dilate=False, attention_boosting=True)
    copy = check_config_round_trip(model)
    assert set(copy.output) == set(model.output)
    assert rates(model) == rates(copy) == {1}
    assert model.compute_output_shape((1, 64, 64, 3))["P5"][1] == 8
