"""Channel-wise distillation beside its definition."""

import keras
import numpy as np
import pytest

from keras_focusseg import losses
from tests.testers import gradient


def reference(teacher: np.ndarray, student: np.ndarray, temperature: float, stride: int) -> float:
    total = 0.0
    for t, s in zip(teacher, student, strict=True):
        for c in range(t.shape[-1]):
            p, q = (x[::stride, ::stride, c].ravel() / temperature for x in (t, s))
            p, q = (np.exp(x - x.max()) / np.exp(x - x.max()).sum() for x in (p, q))
            total += temperature**2 * np.sum(p * np.log(p / q)) / t.shape[-1]
    return total / len(teacher)


@pytest.mark.parametrize(("temperature", "stride"), [(4.0, 1), (1.0, 2)])
def test_values_and_gradients(temperature: float, stride: int) -> None:
    teacher, student = np.random.default_rng(0).normal(0, 3, (2, 2, 5, 7, 3)).astype("float32")
    loss = losses.ChannelDistillation(temperature, stride)
    expected = reference(teacher, student, temperature, stride)
    np.testing.assert_allclose(float(loss(teacher, student)), expected, rtol=1e-5)
    # What all positions of a class share says nothing.
    shifted = student + np.array([5.0, -3.0, 0.5], "float32")
    np.testing.assert_allclose(float(loss(teacher, shifted)), expected, rtol=1e-4)
    assert abs(float(loss(teacher, teacher))) < 1e-6
    assert not gradient(lambda x: loss(x, student), teacher).any()
    towards = gradient(lambda x: loss(teacher, x), student)
    assert float(loss(teacher, student - towards)) < expected


def test_settings() -> None:
    loss = losses.ChannelDistillation(2.0, stride=3)
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(loss))
    assert again.get_config() == loss.get_config()
    for options in ({"temperature": 0.0}, {"stride": 0}):
        with pytest.raises(ValueError, match="needs a temperature > 0 and a stride >= 1"):
            losses.ChannelDistillation(**options)
