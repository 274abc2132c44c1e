"""Networks, images and masks small enough for tests of seconds."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from keras_focusseg import models
from keras_focusseg.layers import ConvNormAct

Arrays = dict[str, np.ndarray]


def backbone(width: int = 8, strides: tuple[int, ...] = (4, 2, 1, 1)) -> keras.Model:
    """A pyramid of four convolutions, by default at strides 4, 8, 8, 8, of Keras' own layers."""
    images = keras.Input((None, None, 3), name="pixels")
    x = keras.layers.Rescaling(1 / 127.5, offset=-1.0, name="centre")(images)
    pyramid = {}
    levels = zip(("P2", "P3", "P4", "P5"), strides, (5, 3, 3, 3), strict=True)
    for level, stride, kernel in levels:
        x = keras.layers.Conv2D(
            width,
            kernel,
            strides=stride,
            padding="same",
            data_format="channels_last",
            name=level,
        )(x)
        x = keras.layers.BatchNormalization(momentum=0.9, name=f"{level}_norm")(x)
        pyramid[level] = x = keras.layers.ReLU(name=f"{level}_out")(x)
    return keras.Model(images, pyramid, name="tiny")


def network(num_classes: int = 4, filters: int = 16, **options: Any) -> models.FoRNet:
    """FoR-Net on the small pyramid."""
    options = {"backbone": None, "low_level_filters": 8, **options}
    options["backbone"] = options["backbone"] or backbone()
    return models.FoRNet(num_classes, filters=filters, **options)


def images(height: int = 64, width: int = 96, batch: int = 2, seed: int = 0) -> np.ndarray:
    """Noise with some structure, float32 in 0..255."""
    rng = np.random.default_rng(seed)
    coarse = rng.uniform(0, 200, (batch, -(-height // 8), -(-width // 8), 3))
    smooth = coarse.repeat(8, axis=1).repeat(8, axis=2)[:, :height, :width]
    return (smooth + rng.uniform(0, 55, smooth.shape)).astype("float32")


def masks(
    height: int = 64, width: int = 96, batch: int = 2, num_classes: int = 4, seed: int = 0
) -> np.ndarray:
    """Rectangles of classes with an ignored patch, uint8."""
    rng = np.random.default_rng(seed)
    labels = np.zeros((batch, height, width), "uint8")
    for image in labels:
        for _ in range(6):
            top, left = rng.integers(0, height), rng.integers(0, width)
            tall, wide = rng.integers(4, 1 + height // 2), rng.integers(4, 1 + width // 2)
            image[top : top + tall, left : left + wide] = rng.integers(0, num_classes)
        image[:5, -9:] = 255
    return labels


def outputs(model: keras.Model, images: np.ndarray) -> Arrays:
    """All outputs of a network, as its loss gets them; `model.predict` gives the logits alone."""
    found: Arrays = keras.Model.predict(model, images, verbose=0)
    return found


def tensors(model: keras.Model) -> dict[str, Any]:
    """Symbolic outputs of a network's layers, to cut it open with `keras.Model(some, others)`."""
    return {layer.name: layer.output for layer in model.layers}


def conv_layers(model: keras.Model) -> list[keras.layers.Conv2D]:
    """All convolutions, those inside a nested model or a brick too."""
    found = []
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            found += conv_layers(layer)
        elif isinstance(layer, keras.layers.Conv2D):
            found.append(layer)
        elif isinstance(layer, ConvNormAct):
            found.append(layer.conv)
    return found


def norm_layers(model: keras.Model) -> list[keras.layers.BatchNormalization]:
    """All batch normalisations, those inside a nested model or a brick too."""
    found = []
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            found += norm_layers(layer)
        elif isinstance(layer, keras.layers.BatchNormalization):
            found.append(layer)
        elif isinstance(layer, ConvNormAct):
            found.append(layer.norm)
    return found


def copy(model: models.FoRNet, **changes: Any) -> models.FoRNet:
    """Another network with the same weights, with some constructor arguments changed."""
    another = type(model).from_config({**model.get_config(), **changes})
    another.set_weights(model.get_weights())
    return another
