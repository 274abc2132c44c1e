"""Semantic segmentation for Keras 3 on TensorFlow, JAX and PyTorch.

Three lines from a picture to its classes:

    from keras_focusseg import presets, segment
    model = presets.load("fornet_mobilenet_v2_synthetic_streets")
    result = next(segment(model, "street.jpg"))
"""

from __future__ import annotations

from keras_focusseg._program import end_at_ctrl_c, is_command_line

if is_command_line():
    end_at_ctrl_c()  # before anything that takes time

import importlib
from typing import TYPE_CHECKING, Any

from keras_focusseg._backend import choose_backend

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

# All at once, because Keras finds the classes in a `.keras` file only once they are imported. The
# command line does without: `focusseg --help` need not wait for a backend.
if TYPE_CHECKING or not is_command_line():
    choose_backend()  # it must stand before Keras is imported, which these do
    from keras_focusseg import (
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
    from keras_focusseg.inference import segment

if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        """Imports a part when it is first used, where it has not been imported yet."""
        if name == "segment":
            return importlib.import_module("keras_focusseg.inference").segment
        if name in __all__:
            return importlib.import_module(f"keras_focusseg.{name}")
        raise AttributeError(f"module 'keras_focusseg' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
