"""Both mixed policies train as float32 does, with averages, through a recipe's own functions."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from keras_focusseg import training
from tests.models import tiny

pytestmark = pytest.mark.each_backend
STEPS = 20


def losses(policy: str) -> list[float]:
    """Loss of each step on one batch."""
    recipe = training.Recipe(
        name="tiny", network="FoRNet", dataset="synthetic_streets", epochs=STEPS,
        learning_rate=3e-3, ema=0.9, precision=policy, weight_decay=0.0,
    )  # fmt: skip
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(recipe.precision)
    keras.utils.set_random_seed(1)
    model = tiny.network(4, 8, kernel_sizes=(1,), dilation_rates=(1,), ratios=(0.3,))
    keras.config.set_dtype_policy(before)
    assert model.output["logits"].dtype == "float32"
    assert model.output["selector_logits"].dtype == "float32"
    assert {str(weight.dtype) for weight in model.trainable_weights} == {"float32"}
    model.compile(training.make_optimizer(recipe, 1))
    scaled = isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
    assert scaled == (policy == "mixed_float16")
    images, masks = tiny.images(32, 32), tiny.masks(32, 32)
    # Each epoch is a step, so that its loss is that of the step.
    history = model.fit(images, masks, batch_size=2, epochs=STEPS, verbose=0).history["loss"]
    for values in [w for w in model.get_weights() if w.dtype == np.float32]:
        assert np.isfinite(values).all()
    return history


@pytest.fixture(scope="module")
def exact() -> list[float]:
    return losses("float32")


@pytest.mark.parametrize(
    "policy",
    # Every network takes a step under bfloat16 on each backend; float16 needs a scaled loss.
    [pytest.param("mixed_bfloat16", marks=pytest.mark.backend_free), "mixed_float16"],
)
def test_the_curve_is_that_of_float32(policy: str, exact: list[float]):
    found = losses(policy)
    assert exact[-1] < 0.85 * exact[0]
    np.testing.assert_allclose(found, exact, rtol=0.05)
