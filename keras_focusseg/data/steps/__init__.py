"""Augmentation as named steps that can be put together: geometry, colour, mixing."""

from __future__ import annotations

from keras_focusseg.data.steps.base import Canvas, Mixing, Step
from keras_focusseg.data.steps.color import Blur, ColorJitter, Grayscale
from keras_focusseg.data.steps.compose import Compose, augmentation
from keras_focusseg.data.steps.geometry import (
    ClassUniformCrop,
    Flip,
    Rotate,
    ScaleCrop,
    Shear,
    Translate,
)
from keras_focusseg.data.steps.mixing import ClassMix, CutMix
from keras_focusseg.data.steps.rand_augment import RandAugment

__all__ = [
    "Blur",
    "Canvas",
    "ClassMix",
    "ClassUniformCrop",
    "ColorJitter",
    "Compose",
    "CutMix",
    "Flip",
    "Grayscale",
    "Mixing",
    "RandAugment",
    "Rotate",
    "ScaleCrop",
    "Shear",
    "Step",
    "Translate",
    "augmentation",
]
