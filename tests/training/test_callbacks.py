"""The stop on NaN, and validation of averaged weights, on a network of two convolutions."""

import keras
import numpy as np
import pytest

from keras_focusseg import optimizers
from keras_focusseg.training import StopOnNaN, TrainingDiverged, ValidateAverages
from keras_focusseg.training.callbacks import RunCallbacks

pytestmark = pytest.mark.each_backend


def small_model(optimizer: keras.optimizers.Optimizer) -> keras.Model:
    inputs = keras.Input((3,))
    outputs = keras.layers.Dense(2, use_bias=False)(inputs)
    model = keras.Model(inputs, outputs)
    model.compile(optimizer, "mse")
    model.optimizer.build(model.trainable_variables)
    return model


def data(value: float = 1.0, count: int = 24) -> tuple[np.ndarray, np.ndarray]:
    x = np.random.default_rng(0).normal(size=(count, 3)).astype("float32")
    return x, np.full((count, 2), value, "float32")


class Seen(keras.callbacks.Callback):
    """Keeps the weights that a validation used, and those after it."""

    def on_test_end(self, logs: dict | None = None) -> None:
        self.validated = self.model.get_weights()

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        self.trained = self.model.get_weights()


def test_averages_are_validated_and_put_back() -> None:
    model, seen = small_model(optimizers.SGD(0.1, weight_decay=0.0, ema=0.9)), Seen()
    model.fit(*data(), batch_size=4, validation_data=data(), verbose=0, shuffle=False,
              callbacks=[seen, ValidateAverages()])  # fmt: skip
    assert np.abs(seen.validated[0] - seen.trained[0]).max() > 1e-3
    np.testing.assert_array_equal(model.get_weights()[0], seen.trained[0])
    model.optimizer.swap_averages()
    np.testing.assert_array_equal(model.get_weights()[0], seen.validated[0])


def test_there_have_to_be_averages() -> None:
    model = small_model(keras.optimizers.SGD(0.1))
    with pytest.raises(ValueError, match="needs an optimizer that keeps averages"):
        model.evaluate(*data(), verbose=0, callbacks=[ValidateAverages()])


class NoFurther(keras.callbacks.Callback):
    """Fails if an epoch ends or is validated as if nothing had happened."""

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        raise AssertionError("the epoch counted")

    def on_test_end(self, logs: dict | None = None) -> None:
        raise AssertionError("the validation counted")


@pytest.mark.parametrize("bad_row", [1, 23])
def test_nan_ends_the_run_with_the_place_and_advice(bad_row: int) -> None:
    model = small_model(keras.optimizers.SGD(0.1))
    x, y = data()
    y[bad_row] = np.nan
    step = bad_row // 4 + 1
    with pytest.raises(TrainingDiverged, match=f"nan in step {step} of epoch 1.*Lower the learn"):
        model.fit(x, y, batch_size=4, verbose=0, shuffle=False, validation_data=(x, y),
                  callbacks=[StopOnNaN(), NoFurther()])  # fmt: skip


class Steps(keras.callbacks.Callback):
    """Keeps which steps it heard of, and which had logs."""

    def on_train_begin(self, logs: dict | None = None) -> None:
        self.heard, self.logged = [], []

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        self.heard.append(batch)
        if logs:
            self.logged.append(batch)


def test_a_run_waits_for_the_logs_of_few_steps() -> None:
    model, steps = small_model(keras.optimizers.SGD(0.01)), Steps()
    x, y = data(count=116)
    callbacks = RunCallbacks([steps], add_history=True, model=model, epochs=2, steps=29)
    with callbacks.run():
        model.fit(x, y, batch_size=4, epochs=2, verbose=0, shuffle=False, callbacks=callbacks)
    assert steps.heard == 2 * list(range(29))
    assert steps.logged == 2 * [0, 25, 28]
    y[-5] = np.nan
    callbacks = RunCallbacks([StopOnNaN(), NoFurther()], model=model, epochs=1, steps=29)
    with pytest.raises(TrainingDiverged, match="nan in step 29 of"), callbacks.run():
        model.fit(x, y, batch_size=4, verbose=0, shuffle=False, validation_data=(x, y),
                  callbacks=callbacks)  # fmt: skip
