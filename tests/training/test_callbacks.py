"""Averaging and the stop on NaN, on a model of one weight and one norm."""

import keras
import numpy as np
import pytest

from keras_focusseg.training import MovingAverage, StopOnNaN, TrainingDiverged


def small_model() -> keras.Model:
    inputs = keras.Input((3,))
    x = keras.layers.Dense(2, use_bias=False)(inputs)
    outputs = keras.layers.BatchNormalization(momentum=0.5)(x)
    model = keras.Model(inputs, outputs)
    model.compile(keras.optimizers.SGD(0.1), "mse")
    return model


class Recorder(keras.callbacks.Callback):
    """Keeps all weights after each step."""

    def __init__(self) -> None:
        super().__init__()
        self.steps: list[list[np.ndarray]] = []

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        if hasattr(self.model, "jax_state_sync"):
            self.model.jax_state_sync()
        self.steps.append([w.copy() for w in self.model.get_weights()])


def test_average_is_the_recurrence_and_holds_the_norm_statistics() -> None:
    model, average, recorder = small_model(), MovingAverage(0.9), Recorder()
    start = model.get_weights()
    x = np.random.default_rng(0).normal(size=(24, 3)).astype("float32")
    y = np.ones((24, 2), "float32")
    model.fit(x, y, batch_size=4, epochs=1, verbose=0, callbacks=[recorder, average])
    expected = start
    for t, weights in enumerate(recorder.steps, start=1):
        keep = min(0.9, (1 + t) / (10 + t))
        expected = [keep * a + (1 - keep) * w for a, w in zip(expected, weights, strict=True)]
    trained = model.get_weights()
    average.swap()
    for found, wanted in zip(model.get_weights(), expected, strict=True):
        np.testing.assert_allclose(found, wanted, atol=1e-5)
    assert not np.allclose(model.get_weights()[3], trained[3])  # the moving mean is averaged too
    average.swap()
    for found, wanted in zip(model.get_weights(), trained, strict=True):
        np.testing.assert_array_equal(found, wanted)


def test_average_survives_a_checkpoint() -> None:
    model, average = small_model(), MovingAverage(0.9)
    average.set_model(model)
    average.on_train_begin()
    average.on_train_batch_end(0)
    again = MovingAverage(0.9)
    again.set_model(model)
    again.restore(average.state())
    assert again.steps == 1
    for one, other in zip(again.state().values(), average.state().values(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_nan_ends_the_run_with_step_and_advice() -> None:
    model = small_model()
    x = np.ones((8, 3), "float32")
    y = np.full((8, 2), np.nan, "float32")
    with pytest.raises(TrainingDiverged, match="became nan in step 1 .*Lower the learning rate"):
        model.fit(x, y, batch_size=4, verbose=0, callbacks=[StopOnNaN()])
