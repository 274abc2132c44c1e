"""FoR-Net's parts: sizes, shapes, strides. Item numbers: section 5 of the specification."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from keras_focusseg import models
from tests.models import tiny
from tests.testers import to_numpy

TRAINABLE = {
    "backbone": 42_500_160,
    "transition": 524_800,
    "selector": 295_297,
    "context": 33_088,
    "branch0": 66_048,
    "branch1": 590_336,
    "branch2": 1_638_912,
    "branch3": 3_211_776,
    "low_level": 12_384,
    "decoder": 1_291_264,
    "classifier": 4_883,
}


@pytest.fixture(scope="module")
def released() -> models.FoRNet:
    """The authors' network in full, never run here."""
    return models.FoRNet()


def size(weights: list[keras.Variable]) -> int:
    return sum(int(np.prod(weight.shape)) for weight in weights)


@pytest.mark.parametrize(("part", "expected"), TRAINABLE.items())
def test_parameters_of_each_part(released: models.FoRNet, part: str, expected: int):
    """Item 1 and the table of section 1.11."""
    if part == "backbone":
        assert size(released.backbone.trainable_weights) == expected
        return
    layers = [layer for layer in released.layers if layer.name.startswith(part)]
    assert size([weight for layer in layers for weight in layer.trainable_weights]) == expected


def test_parameters_in_all(released: models.FoRNet):
    """Item 1."""
    assert size(released.trainable_weights) == 50_168_948 == sum(TRAINABLE.values())
    assert size(released.non_trainable_weights) == 109_280


def test_shapes_at_512_by_1024(released: models.FoRNet):
    """Item 2."""
    assert released.compute_output_shape((1, 512, 1024, 3)) == {
        "logits": (1, 512, 1024, 19),
        "selector_logits": (1, 64, 128, 1),
        "masks": (1, 64, 128, 4),
    }
    pyramid = released.backbone.compute_output_shape((1, 512, 1024, 3))
    assert pyramid["P2"] == (1, 128, 256, 256)  # F_low
    assert pyramid["P5"] == (1, 64, 128, 2048)


def test_shapes_of_a_run():
    """Item 2, at a size that runs: signals and outputs have the sizes of section 4."""
    model = models.FoRNet(5, "resnet18", filters=16)
    outputs = tiny.outputs(model, tiny.images(64, 128, batch=1))
    assert {name: value.shape for name, value in outputs.items()} == {
        "logits": (1, 64, 128, 5),
        "selector_logits": (1, 8, 16, 1),
        "masks": (1, 8, 16, 4),
    }
    assert all(value.dtype == np.float32 for value in outputs.values())


def test_strides_and_dilations_of_the_backbone(released: models.FoRNet):
    """Item 3: section 1.1; the stride sits on the 3x3."""
    expected = {"conv1": (7, 2, 1)}  # kernel, stride, dilation
    stages = {1: [1] * 3, 2: [1] * 4, 3: [1] + [2] * 22, 4: [2] + [4] * 2}
    for stage, dilations in stages.items():
        for block, dilation in enumerate(dilations):
            prefix = f"layer{stage}_{block}_"
            stride = 2 if (stage, block) == (2, 0) else 1
            expected[f"{prefix}conv1"] = (1, 1, 1)
            expected[f"{prefix}conv2"] = (3, stride, dilation)
            expected[f"{prefix}conv3"] = (1, 1, 1)
            if block == 0:
                expected[f"{prefix}downsample_conv"] = (1, stride, 1)
    found = {
        layer.name: (layer.kernel_size[0], layer.strides[0], layer.dilation_rate[0])
        for layer in tiny.conv_layers(released.backbone)
    }
    assert found == expected


def test_kernels_dilations_and_biases_of_the_head(released: models.FoRNet):
    """Item 3: branches of 1x1, 3x3, 5x5 and 7x7 with dilation 16; four biases in all."""
    branches = [released.get_layer(f"branch{i}").conv for i in range(4)]
    assert [(b.kernel_size[0], b.dilation_rate[0]) for b in branches] == [
        (1, 1),
        (3, 1),
        (5, 1),
        (7, 16),
    ]
    biased = {layer.name for layer in tiny.conv_layers(released) if layer.use_bias}
    assert biased == {"selector_logits", "context_squeeze", "context_expand", "classifier"}
    assert released.get_layer("top_k").ratios == (0.1, 0.2, 0.3, 0.4)


def test_norms_are_pytorchs(released: models.FoRNet):
    """Gap 21 of the specification."""
    norms = tiny.norm_layers(released)
    assert len(norms) == 104 + 9
    assert {(norm.momentum, norm.epsilon) for norm in norms} == {(0.9, 1e-5)}


def test_widths_follow_filters():
    model = tiny.network(filters=12, low_level_filters=5)
    widths = {
        "transition": 12,
        "selector": 6,
        "context_squeeze": 3,
        "context_expand": 12,
        "branch3": 12,
        "low_level": 5,
        "decoder1": 12,
        "classifier": 4,
    }
    assert {name: model.get_layer(name).filters for name in widths} == widths
    wide = tiny.network(selector_filters=7, context_filters=9, decoder_filters=11)
    widths = {"selector": 7, "context_squeeze": 9, "decoder0": 11}
    assert {name: wide.get_layer(name).filters for name in widths} == widths


@pytest.mark.parametrize(
    ("backbone", "output_stride", "neck", "stride"),
    [
        ("resnet18", 16, None, 16),
        ("resnet18", 32, "fpn", 8),
        ("mobilenet_v2", 32, "fpn", 8),
        ("mobilenet_v2", 8, None, 8),
    ],
)
def test_other_backbones_and_the_neck(
    backbone: str, output_stride: int, neck: str | None, stride: int
):
    """Ours: the selector and its loss work on the grid that the neck or the last stage has."""
    model = models.FoRNet(
        3, backbone, output_stride=output_stride, neck=neck, filters=8, low_level_filters=4
    )
    shapes = model.compute_output_shape((1, 97, 131, 3))
    grid = (1, -(-97 // stride), -(-131 // stride))
    assert shapes["selector_logits"] == (*grid, 1)
    assert shapes["masks"] == (*grid, 4)
    assert shapes["logits"] == (1, 97, 131, 3)
    terms = model.loss_terms(
        tiny.masks(97, 131, 1, 3),
        {
            "logits": np.zeros((1, 97, 131, 3), "float32"),
            "selector_logits": np.zeros((*grid, 1), "float32"),
        },
    )
    assert float(to_numpy(terms["selector"])) == pytest.approx(np.log(2), abs=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kernel_sizes": (1, 3)}, "Each branch needs a kernel size, a dilation rate and a ratio"),
        ({"ratios": (0.1, 0.2, 0.3, 0.0)}, r"ratios must be in \(0, 1\]"),
        ({"neck": "pan"}, "neck must be None or 'fpn', got 'pan'"),
        ({"backbone": "resnet19"}, "No backbone is named 'resnet19'"),
        ({"backbone_weights": "imagenet"}, "goes with a backbone's name"),
        ({"backbone_options": {"alpha": 0.5}}, "backbone_options go with a backbone's name"),
        (
            {"backbone": "mobilenet_v2", "backbone_options": {"output_stride": 8}},
            r"backbone_options hold \['output_stride'\], which are arguments of the network",
        ),
    ],
)
def test_wrong_arguments_are_told(options: dict, message: str):
    with pytest.raises(ValueError, match=message):
        tiny.network(**options)


def test_a_backbone_without_pyramid_is_told():
    x = keras.Input((None, None, 3))
    y = keras.layers.Conv2D(4, 3, name="only")(x)
    unbuilt = keras.Sequential([keras.layers.Conv2D(4, 3)])
    for model in (*(keras.Model(x, outputs) for outputs in (y, {"P2": y}, [y, y])), unbuilt):
        with pytest.raises(ValueError, match="outputs are a dict with P2, P3, P4 and P5"):
            models.FoRNet(3, model)
