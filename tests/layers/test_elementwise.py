"""Activations and sums are those of Keras."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from keras_focusseg import layers
from tests.testers import check_config_round_trip, to_numpy


@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16"])
def test_results_are_those_of_keras(dtype: str) -> None:
    x = keras.ops.convert_to_tensor(np.linspace(-9, 9, 24, dtype="float32").reshape(1, 2, 3, 4))
    for found, expected in (
        (layers.ReLU(6, dtype=dtype)(x), keras.layers.ReLU(6, dtype=dtype)(x)),
        (layers.Add(dtype=dtype)([x, x, x]), keras.layers.Add(dtype=dtype)([x, x, x])),
    ):
        assert found.dtype == expected.dtype
        found, expected = (to_numpy(keras.ops.cast(y, "float32")) for y in (found, expected))
        np.testing.assert_array_equal(found, expected)


def test_config_round_trip() -> None:
    check_config_round_trip(layers.ReLU(6))
    check_config_round_trip(layers.Add())
