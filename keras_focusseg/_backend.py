"""Lets the package be imported wherever one backend is installed."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from pathlib import Path

BACKENDS = ("tensorflow", "jax", "torch")
OF_KERAS = ("numpy", "openvino")  # which Keras has besides, for inference; they are left to it


def choose_backend() -> None:
    """Sets `KERAS_BACKEND` to an installed backend if nobody has chosen one.

    Keras takes TensorFlow unless told otherwise, and fails where only JAX or PyTorch is installed.
    A choice that was made, by the variable, by Keras' configuration file or by importing Keras,
    stays.

    Raises:
        ImportError: No backend is installed, or the one that was chosen is not.
    """
    if "keras" in sys.modules:
        return
    chosen, where = os.environ.get("KERAS_BACKEND"), "The environment variable KERAS_BACKEND"
    if not chosen:
        home = Path(os.environ.get("KERAS_HOME", Path.home() / ".keras"))
        chosen, where = _configured(home / "keras.json"), str(home / "keras.json")
    installed = [name for name in BACKENDS if importlib.util.find_spec(name) is not None]
    if chosen in BACKENDS and chosen not in installed:
        others = f"name one that is ({', '.join(installed)}), or " if installed else ""
        raise ImportError(
            f"{where} names the backend {chosen!r}, which is not installed: {others}"
            f"pip install 'keras-focusseg[{chosen}]'."
        )
    if chosen and chosen not in (*BACKENDS, *OF_KERAS):
        raise ImportError(
            f"{where} names the backend {chosen!r}, which Keras 3 does not know: name one of "
            f"{', '.join(BACKENDS)}."
        )
    if chosen:
        return
    if not installed:
        raise ImportError(
            "keras_focusseg needs TensorFlow, JAX or PyTorch, and found none. Install one of them: "
            "pip install 'keras-focusseg[tensorflow]', [tensorflow-cpu], [jax] or [torch]."
        )
    os.environ["KERAS_BACKEND"] = installed[0]


def _configured(path: Path) -> str | None:
    """The backend that Keras' configuration file names, if it is there and Keras can read it."""
    try:
        chosen = json.loads(path.read_text(encoding="utf-8")).get("backend")
    except (OSError, ValueError, AttributeError):
        return None
    return chosen if isinstance(chosen, str) else None
