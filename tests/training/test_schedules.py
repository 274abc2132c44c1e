"""The learning rate over a run."""

import numpy as np
import pytest
from keras import ops

from keras_focusseg.training import WarmupPoly
from tests.testers import check_config_round_trip


def rates(schedule: WarmupPoly, steps: list[int]) -> np.ndarray:
    return np.array([float(ops.convert_to_numpy(schedule(step))) for step in steps])


def test_warms_up_linearly_then_decays_by_the_power() -> None:
    schedule = WarmupPoly(0.1, total_steps=110, warmup_steps=10, power=0.9)
    found = rates(schedule, [0, 4, 9, 10, 60, 110, 500])
    expected = [0.01, 0.05, 0.1, 0.1, 0.1 * 0.5**0.9, 0.0, 0.0]
    np.testing.assert_allclose(found, expected, atol=1e-7)


def test_ends_where_it_is_told_and_needs_no_warm_up() -> None:
    found = rates(WarmupPoly(1.0, total_steps=10, power=1.0, end=0.2), [0, 5, 10])
    np.testing.assert_allclose(found, [1.0, 0.6, 0.2], atol=1e-6)


def test_config_round_trip() -> None:
    check_config_round_trip(WarmupPoly(0.1, 100, 5, 0.8, 0.01))


@pytest.mark.parametrize("warmup", [-1, 10, 11])
def test_refuses_a_warm_up_that_does_not_fit(warmup: int) -> None:
    with pytest.raises(ValueError, match="warmup_steps must be in"):
        WarmupPoly(0.1, total_steps=10, warmup_steps=warmup)
