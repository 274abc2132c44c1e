"""Who may use the GPU where TensorFlow only feeds."""

from __future__ import annotations

from typing import Any

import keras


def leave_accelerators_alone(tf: Any) -> None:
    """Where TensorFlow only feeds another backend, it must not take that one's memory."""
    if keras.backend.backend() == "tensorflow":
        return
    try:
        tf.config.set_visible_devices([], "GPU")
    except RuntimeError:
        pass  # it has started already, with what it was given then
