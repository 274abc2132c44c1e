"""A user's `image_data_format: channels_first`, common among PyTorch users, changes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
import pytest

from keras_focusseg import backbones, models, presets
from tests.models import tiny
from tests.testers import randomize_weights, to_numpy


@contextmanager
def channels_first() -> Iterator[None]:
    before = keras.config.image_data_format()
    keras.config.set_image_data_format("channels_first")
    try:
        yield
    finally:
        keras.config.set_image_data_format(before)


def check_same(build: Any, images: np.ndarray) -> Any:
    """The outputs of two copies, one built and run under each format; returns the second."""
    usual = build()
    randomize_weights(usual)
    expected = usual.predict(images, verbose=0)
    with channels_first():
        model = build()
        model.set_weights(usual.get_weights())
        found = model.predict(images, verbose=0)
        keras.tree.map_structure(
            lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), found, expected
        )
    return model


WIDTHS = {"channels": (8, 16, 24, 32), "depths": (1, 1, 1, 1), "mlp_ratios": (2, 2, 2, 2)}
BACKBONES: list[tuple[str, dict[str, Any]]] = [
    ("mobilenet_v2", {"alpha": 0.35, "attention_boosting": True}),
    ("mobilenet_edgetpu", {}),
    ("efficientnet_lite0", {}),
    ("resnet18", {"attention_boosting": True}),
]


@pytest.mark.parametrize(("name", "options"), BACKBONES, ids=[name for name, _ in BACKBONES])
def test_backbones(name: str, options: dict[str, Any]) -> None:
    check_same(lambda: backbones.build(name, **options), tiny.images(48, 64, batch=1))


@pytest.mark.parametrize("family", [backbones.MSCAN, backbones.VAN])
def test_large_kernel_backbones(family: type[backbones.Backbone]) -> None:
    check_same(lambda: family(**WIDTHS), tiny.images(48, 64, batch=1))


def scrnet(**options: Any) -> models.SCRNet:
    backbone = tiny.backbone(8, (4, 2, 2, 2))
    return models.SCRNet(4, backbone, filters=8, context_filters=8, embedding_filters=4, **options)


def sernet_former() -> models.SERNetFormer:
    return models.SERNetFormer(
        4,
        tiny.backbone(8, (4, 2, 2, 1)),
        attention_boosting=False,
        bridge_separable=True,
        bridge_filters=8,
        skip_filters=8,
        decoder_filters=8,
    )


@pytest.mark.parametrize(
    "build",
    [
        lambda: tiny.network(neck="fpn"),
        sernet_former,
        scrnet,
        lambda: scrnet(context="pyramid_pooling", upsampling="fam"),
        lambda: scrnet(context="parallel", upsampling="align_fa"),
    ],
    ids=["fornet", "sernet_former", "scrnet", "ppm and fam", "parallel and align_fa"],
)
def test_networks_and_their_losses(build: Any) -> None:
    images, masks = tiny.images(48, 64, batch=1), tiny.masks(48, 64, batch=1)
    model = check_same(build, images)
    model.compile()
    outputs = model(images)
    expected = to_numpy(model.loss_terms(masks, outputs))
    with channels_first():
        found = to_numpy(model.loss_terms(masks, outputs))
    assert found.keys() == expected.keys()
    found.pop("contrast", None)  # draws other anchors at each call
    for name, value in found.items():
        np.testing.assert_allclose(value, expected[name], rtol=1e-5, err_msg=name)


@pytest.mark.parametrize("name", presets.best())  # one of each network
def test_shipped_presets(name: str) -> None:
    images = tiny.images(64, 96, batch=1)
    expected = presets.load(name).predict_on_batch(images)
    with channels_first():
        found = presets.load(name).predict_on_batch(images)
    keras.tree.map_structure(
        lambda a, b: np.testing.assert_allclose(a, b, atol=1e-4), found, expected
    )
