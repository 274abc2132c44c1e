"""Batch norms give what those of Keras give, with the same weights."""

from __future__ import annotations

import keras
import numpy as np

from keras_focusseg import layers
from tests.testers import check_config_round_trip


def _trained(place: object, frozen: bool = False) -> tuple[keras.Model, np.ndarray]:
    """A network of two norms after some steps, and its outputs in inference."""
    rng = np.random.default_rng(0)
    x = rng.normal(3.0, 2.0, (2, 5, 7, 4)).astype("float32")
    norms = [
        place.BatchNormalization(momentum=0.5, epsilon=1e-5, name=name)  # type: ignore[attr-defined]
        for name in ("first", "second")
    ]
    model = keras.Sequential([keras.Input((None, None, 4)), *norms])
    model.set_weights([rng.uniform(0.5, 2.0, w.shape) for w in model.get_weights()])
    norms[0].trainable = not frozen
    model.compile(keras.optimizers.SGD(0.1), "mse")
    for _ in range(3):
        model.train_on_batch(x, np.sin(x))
    return model, model.predict_on_batch(x)


def test_training_and_inference_are_those_of_keras() -> None:
    for frozen in (False, True):
        ours, theirs = (_trained(place, frozen) for place in (layers, keras.layers))
        for one, other in zip(ours[0].get_weights(), theirs[0].get_weights(), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(ours[1], theirs[1], rtol=1e-4, atol=1e-5)


def test_half_precision_and_vectors_are_left_to_keras() -> None:
    x = np.random.default_rng(0).normal(size=(2, 5, 7, 4)).astype("float32")
    for inputs, options in ((x, {"dtype": "mixed_bfloat16"}), (x[:, 0, 0], {}), (x, {"axis": 1})):
        norms = [place.BatchNormalization(**options) for place in (layers, keras.layers)]
        ours, theirs = (norm(inputs, training=True) for norm in norms)
        assert ours.dtype == theirs.dtype
        ours, theirs = (keras.ops.convert_to_numpy(y).astype("float32") for y in (ours, theirs))
        np.testing.assert_array_equal(ours, theirs)


def test_config_round_trip() -> None:
    check_config_round_trip(layers.BatchNormalization(momentum=0.9, epsilon=1e-5))
