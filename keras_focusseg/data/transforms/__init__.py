"""Augmentation as named steps that can be put together: geometry, colour, mixing."""

from __future__ import annotations

from keras_focusseg.data.transforms.augment import Augment
from keras_focusseg.data.transforms.base import Augmentation, Function, Mixing, Step
from keras_focusseg.data.transforms.canvas import Canvas
from keras_focusseg.data.transforms.color import Blur, ColorJitter, Grayscale
from keras_focusseg.data.transforms.compose import Compose, augmentation
from keras_focusseg.data.transforms.geometry import (
    ClassUniformCrop,
    Flip,
    Rotate,
    ScaleCrop,
    Shear,
    Translate,
)
from keras_focusseg.data.transforms.keras_layers import KerasAugment
from keras_focusseg.data.transforms.mixing import ClassMix, CutMix
from keras_focusseg.data.transforms.rand_augment import RandAugment

__all__ = [
    "Augment",
    "Augmentation",
    "Blur",
    "Canvas",
    "ClassMix",
    "ClassUniformCrop",
    "ColorJitter",
    "Compose",
    "CutMix",
    "Flip",
    "Function",
    "Grayscale",
    "KerasAugment",
    "Mixing",
    "RandAugment",
    "Rotate",
    "ScaleCrop",
    "Shear",
    "Step",
    "Translate",
    "augmentation",
]
