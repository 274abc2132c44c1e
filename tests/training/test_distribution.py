"""Several replicas train as one device does, with uneven shares of ignored pixels among them."""

from __future__ import annotations

from pathlib import Path

import keras
import pytest

from tests.training import replicas

BACKEND = keras.backend.backend()


@pytest.mark.skipif(BACKEND != "tensorflow", reason="is TensorFlow's strategy")
def test_mirrored(tmp_path: Path):
    replicas.finish(replicas.child("tensorflow", "mirrored", tmp_path))
    for name in ("small", "function", "fornet"):
        one, two = (replicas.read(tmp_path / f"{name}_{n}.npz") for n in ("one", "two"))
        replicas.assert_equal_training(two, one)
