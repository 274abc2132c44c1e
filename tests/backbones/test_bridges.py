"""Backbones of KerasHub and keras-cv as encoders.

The packages are in the environment of `make bridges`; elsewhere what needs them is skipped, and
models that look alike stand for them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from keras_focusseg import backbones, models
from keras_focusseg.backbones.backbone import IMAGENET_OFFSET, IMAGENET_SCALE
from tests.models import tiny
from tests.testers import check_config_round_trip, randomize_weights, reload_in_new_process

IMAGES = tiny.images(64, 96, batch=1)
STRIDES = {"P2": 4, "P3": 8, "P4": 16, "P5": 32}


def keras_hub_resnet(strides: tuple[int, ...] = (1, 2, 2, 2)) -> keras.Model:
    hub = pytest.importorskip("keras_hub", reason="keras-hub is not installed: make bridges")
    return hub.models.ResNetBackbone(
        input_conv_filters=[64],
        input_conv_kernel_sizes=[7],
        stackwise_num_filters=[64, 16, 16, 24],
        stackwise_num_blocks=[1, 1, 1, 1],
        stackwise_num_strides=list(strides),
        block_type="basic_block",
    )


def keras_cv_resnet(include_rescaling: bool = True) -> keras.Model:
    cv = pytest.importorskip("keras_cv", reason="keras-cv is not installed: make bridges")
    return cv.models.ResNetV2Backbone(
        stackwise_filters=[64, 16, 16, 24],
        stackwise_blocks=[2, 2, 2, 2],
        stackwise_strides=[1, 2, 2, 2],
        include_rescaling=include_rescaling,
        block_type="basic_block",
    )


def look_alike(attribute: str) -> keras.Model:
    """A plain model with the attribute by which one of the packages is known."""
    pyramid = tiny.backbone(8, (4, 2, 2, 2))
    model = keras.Model(pyramid.inputs, pyramid.output["P5"])
    if attribute == "pyramid_outputs":
        model.pyramid_outputs = dict(pyramid.output)
    else:
        model.pyramid_level_inputs = {level: f"{level}_out" for level in pyramid.output}
    return model


MADE = {
    "keras-hub": keras_hub_resnet,
    "keras-cv": keras_cv_resnet,
    "like keras-hub": lambda: look_alike("pyramid_outputs"),
    "like keras-cv": lambda: look_alike("pyramid_level_inputs"),
}
PACKAGES = ["keras-hub", "keras-cv"]


def by_the_backbone_itself(backbone: keras.Model, images: np.ndarray) -> dict[str, np.ndarray]:
    """What the levels are without any bridge, for images that are rescaled already."""
    if hasattr(backbone, "pyramid_outputs"):
        levels = {level: backbone.pyramid_outputs[level] for level in STRIDES}
    else:
        names = backbone.pyramid_level_inputs
        levels = {level: backbone.get_layer(names[level]).output for level in STRIDES}
    outputs: dict[str, np.ndarray] = keras.Model(backbone.inputs, levels).predict(images, verbose=0)
    return outputs


@pytest.mark.parametrize("kind", MADE)
def test_a_backbone_as_it_is_gets_images_as_it_wants_them(kind: str) -> None:
    backbone = MADE[kind]()
    randomize_weights(backbone)
    bridge = backbones.as_pyramid(backbone)
    assert bridge.input_shape == (None, None, None, 3)
    assert bridge.pyramid_strides == STRIDES
    images = tiny.images(75, 101, batch=1)
    rescaled = {
        "keras-hub": images * IMAGENET_SCALE + IMAGENET_OFFSET,
        "like keras-hub": images * IMAGENET_SCALE + IMAGENET_OFFSET,
        "keras-cv": images,  # it was built with include_rescaling
        "like keras-cv": images / 255,
    }[kind]
    expected = by_the_backbone_itself(backbone, rescaled.astype("float32"))
    found = bridge.predict(images, verbose=0)
    for level, stride in STRIDES.items():
        assert found[level].shape[1:3] == (-(-75 // stride), -(-101 // stride))
        scale = np.abs(expected[level]).max()
        assert scale > 1e-3
        np.testing.assert_allclose(found[level], expected[level], atol=1e-4 * scale)


@pytest.mark.parametrize("kind", MADE)
def test_own_preprocessing(kind: str) -> None:
    build = backbones.from_keras_hub if "hub" in kind else backbones.from_keras_cv
    backbone = MADE[kind]()
    randomize_weights(backbone)
    bridge = build(backbone, scale=np.array([0.01, 0.02, 0.03]), offset=None, name="mine")
    assert bridge.name == "mine"
    rescaled = (IMAGES * [0.01, 0.02, 0.03]).astype("float32")
    expected = by_the_backbone_itself(backbone, rescaled)["P5"]
    np.testing.assert_allclose(
        bridge.predict(IMAGES, verbose=0)["P5"], expected, rtol=1e-3, atol=1e-5
    )
    # A plain model forgets the attribute when it is serialised, a package's backbone does not.
    if kind in PACKAGES:
        copy = check_config_round_trip(bridge)
        assert [w.shape for w in copy.weights] == [w.shape for w in bridge.weights]


@pytest.mark.parametrize("include_rescaling", [True, False])
def test_keras_cv_is_not_rescaled_twice(include_rescaling: bool) -> None:
    bridge = backbones.from_keras_cv(keras_cv_resnet(include_rescaling))
    assert bridge.get_layer("rescaling").scale == (1.0 if include_rescaling else 1 / 255)


OPTIONS: dict[str, dict[str, Any]] = {
    "SCRNet": {"filters": 8, "context_filters": 8, "embedding_filters": 4},
    "FoRNet": {"filters": 8, "low_level_filters": 4, "neck": "fpn"},
    "SERNetFormer": {"bridge_filters": 8, "skip_filters": 4, "attention_boosting": False},
}


@pytest.mark.parametrize("kind", PACKAGES)
def test_every_network_trains_and_comes_back_in_a_new_process(kind: str, tmp_path: Path) -> None:
    images, expected = tiny.images(75, 101, batch=1), {}
    for network, options in OPTIONS.items():
        model = getattr(models, network)(3, MADE[kind](), **options)
        # Nothing of the backbone beyond its levels is in the network.
        encoder = model.backbone
        assert len(model.weights) == len(model.trainable_weights + model.non_trainable_weights)
        assert sum("post_bn" in weight.path for weight in model.weights) == 0
        before = encoder.get_weights()
        model.compile("sgd")
        masks = tiny.masks(64, 96, 1, 3)
        assert np.isfinite(model.train_on_batch(IMAGES, masks, return_dict=True)["loss"])
        moved = [np.any(a != b) for a, b in zip(before, encoder.get_weights(), strict=True)]
        assert np.mean(moved) > 0.9, network
        path = tmp_path / f"{network}.keras"
        model.save(path)
        expected[path] = model.predict(images, verbose=0)
    # This package alone is imported there: Keras finds the other one.
    found = reload_in_new_process(list(expected), images, tmp_path)
    for outputs, (path, logits) in zip(found, expected.items(), strict=True):
        np.testing.assert_allclose(outputs["logits"], logits, atol=1e-4, err_msg=path.stem)


def test_without_the_package_loading_says_what_to_install() -> None:
    backbone = {"module": "absent_hub.models", "class_name": "ResNetBackbone", "config": {}}
    inner = {**backbone, "registered_name": "absent_hub>ResNetBackbone"}
    with pytest.raises(ImportError, match="a ResNetBackbone of absent_hub, which is not installed"):
        backbones.BridgedBackbone.from_config({"backbone": inner, "scale": 1.0, "offset": 0.0})


def test_levels_are_chosen_by_stride_where_names_mislead() -> None:
    """As in both packages' MiT, whose P1 has stride 4."""
    backbone = look_alike("pyramid_outputs")
    levels = backbone.pyramid_outputs
    backbone.pyramid_outputs = {
        f"P{number}": levels[level] for number, level in enumerate(STRIDES, start=1)
    }
    bridge = backbones.as_pyramid(backbone)
    assert bridge.pyramid_strides == STRIDES
    randomize_weights(backbone)
    found = bridge.predict(IMAGES, verbose=0)
    assert {level: x.shape[1] for level, x in found.items()} == {
        level: 64 // stride for level, stride in STRIDES.items()
    }


def test_a_dilated_backbone_keeps_its_names() -> None:
    bridge = backbones.as_pyramid(keras_hub_resnet((1, 2, 2, 1)))
    assert bridge.pyramid_strides == {"P2": 4, "P3": 8, "P4": 16, "P5": 16}


@pytest.mark.parametrize("package", ["keras_hub", "keras_cv"])
def test_transformers_with_a_fixed_size(package: str) -> None:
    module = pytest.importorskip(package, reason=f"{package} is not installed: make bridges")
    if package == "keras_hub":
        backbone = module.models.MiTBackbone(
            layerwise_depths=[1, 1, 1, 1],
            num_layers=4,
            layerwise_num_heads=[1, 2, 5, 8],
            layerwise_sr_ratios=[8, 4, 2, 1],
            max_drop_path_rate=0.1,
            layerwise_patch_sizes=[7, 3, 3, 3],
            layerwise_strides=[4, 2, 2, 2],
            image_shape=(64, 64, 3),
            hidden_dims=[8, 16, 20, 32],
        )
    else:
        backbone = module.models.MiTBackbone(
            input_shape=(64, 64, 3),
            include_rescaling=True,
            depths=[1, 1, 1, 1],
            embedding_dims=[8, 16, 20, 32],
        )
    build = backbones.from_keras_hub if package == "keras_hub" else backbones.from_keras_cv
    bridge = build(backbone)
    assert bridge.input_shape == (None, 64, 64, 3)
    assert bridge.pyramid_strides == STRIDES
    for encoder in (backbone, bridge):
        with pytest.raises(ValueError, match="for images of 64x64 .* Build it for .None, None, 3"):
            backbones.as_pyramid(encoder)


def test_what_does_not_serve_is_told() -> None:
    plain = tiny.backbone()
    with pytest.raises(ValueError, match="is no KerasHub backbone: it has no pyramid_outputs"):
        backbones.from_keras_hub(plain)
    with pytest.raises(ValueError, match="is no keras-cv backbone with a pyramid"):
        backbones.from_keras_cv(plain)
    with pytest.raises(ValueError, match="goes with a backbone's name"):
        backbones.as_pyramid(look_alike("pyramid_outputs"), "imagenet")
    shallow = look_alike("pyramid_level_inputs")
    del shallow.pyramid_level_inputs["P2"]
    message = r"strides 4, 8, 16 and 32 are needed.*It has: P3 \(stride 8\), P4 \(stride 16\), P5"
    with pytest.raises(ValueError, match=message):
        backbones.as_pyramid(shallow)
    images = keras.Input((3, 64, 64))
    first = keras.Model(images, images)
    first.pyramid_outputs = {"P2": images}
    with pytest.raises(ValueError, match=r"channels last; its inputs are \[\(None, 3, 64, 64\)\]"):
        backbones.as_pyramid(first)
