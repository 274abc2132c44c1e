"""Lets the package be imported wherever one backend is installed."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

BACKENDS = ("tensorflow", "jax", "torch")


def choose_backend() -> None:
    """Sets `KERAS_BACKEND` to an installed backend if nobody has chosen one.

    Keras takes TensorFlow unless told otherwise, and fails where only JAX or PyTorch is installed.
    A choice that was made, by the variable, by Keras' configuration file or by importing Keras,
    stays.

    Raises:
        ImportError: No backend is installed.
    """
    home = Path(os.environ.get("KERAS_HOME", Path.home() / ".keras"))
    if "keras" in sys.modules or os.environ.get("KERAS_BACKEND") or (home / "keras.json").exists():
        return
    for name in BACKENDS:
        if importlib.util.find_spec(name) is not None:
            os.environ["KERAS_BACKEND"] = name
            return
    raise ImportError(
        "keras_focusseg needs TensorFlow, JAX or PyTorch, and found none. Install one of them: "
        "pip install 'keras-focusseg[tensorflow]', [tensorflow-cpu], [jax] or [torch]."
    )
