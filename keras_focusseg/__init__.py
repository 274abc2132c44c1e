"""Semantic segmentation for Keras 3 on TensorFlow, JAX and PyTorch.

Three lines from a picture to its classes:

    from keras_focusseg import presets, segment
    model = presets.load("fornet_mobilenet_v2_synthetic_streets")
    result = next(segment(model, "street.jpg"))
"""

from __future__ import annotations

from keras_focusseg._backend import choose_backend

choose_backend()

# The backend must stand before Keras is imported, which these do.
from keras_focusseg import (  # noqa: E402
    backbones,
    data,
    inference,
    label_spaces,
    layers,
    losses,
    metrics,
    models,
    optimizers,
    presets,
    training,
    visualization,
)
from keras_focusseg.inference import segment  # noqa: E402

__version__ = "0.1.0"

__all__ = [
    "backbones",
    "data",
    "inference",
    "label_spaces",
    "layers",
    "losses",
    "metrics",
    "models",
    "optimizers",
    "presets",
    "segment",
    "training",
    "visualization",
]
