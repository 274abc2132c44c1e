"""AdamW without decay on norms and biases, also after loading."""

from __future__ import annotations

import keras
import numpy as np

from keras_focusseg.models import AdamW
from tests.testers import check_config_round_trip


def decayed(optimizer: AdamW) -> set[str]:
    """Names of the variables that shrink at a step of gradients of zero."""
    x = keras.Input((4, 4, 3))
    y = keras.layers.Conv2D(2, 3, name="conv")(x)
    y = keras.layers.BatchNormalization(name="norm")(y)
    variables = keras.Model(x, y).trainable_variables
    for variable in variables:
        variable.assign(np.ones(variable.shape, "float32"))
    optimizer.apply([keras.ops.zeros(variable.shape) for variable in variables], variables)
    after = {v.path: keras.ops.convert_to_numpy(v.value) for v in variables}
    return {path for path, value in after.items() if (value < 1).all()}


def test_decay_spares_biases_and_norms():
    assert decayed(AdamW(0.1, weight_decay=0.5)) == {"conv/kernel"}


def test_a_reloaded_optimizer_spares_them_too():
    optimizer = AdamW(0.1, weight_decay=0.5, global_clipnorm=1.0)
    copy = check_config_round_trip(optimizer)
    assert (copy.weight_decay, copy.global_clipnorm) == (0.5, 1.0)
    assert decayed(copy) == {"conv/kernel"}
