"""The learning rate over a run."""

import numpy as np
import pytest
from keras import ops

from keras_focusseg.training import WarmupCosine, WarmupPoly, WarmupStep
from tests.testers import check_config_round_trip, compiled, to_numpy


def rates(schedule: WarmupPoly | WarmupCosine | WarmupStep, steps: list[int]) -> np.ndarray:
    return np.array([float(ops.convert_to_numpy(schedule(step))) for step in steps])


def test_warms_up_linearly_then_decays_by_the_power() -> None:
    schedule = WarmupPoly(0.1, total_steps=110, warmup_steps=10, power=0.9)
    found = rates(schedule, [0, 4, 9, 10, 60, 110, 500])
    expected = [0.01, 0.05, 0.1, 0.1, 0.1 * 0.5**0.9, 0.0, 0.0]
    np.testing.assert_allclose(found, expected, atol=1e-7)


def test_ends_where_it_is_told_and_needs_no_warm_up() -> None:
    found = rates(WarmupPoly(1.0, total_steps=10, power=1.0, end=0.2), [0, 5, 10])
    np.testing.assert_allclose(found, [1.0, 0.6, 0.2], atol=1e-6)


def test_a_cosine_after_the_warm_up() -> None:
    schedule = WarmupCosine(0.1, total_steps=110, warmup_steps=10, end=0.02)
    found = rates(schedule, [0, 9, 10, 35, 60, 110, 500])
    quarter = 0.02 + 0.08 * (1 + 0.5**0.5) / 2
    np.testing.assert_allclose(found, [0.01, 0.1, 0.1, quarter, 0.06, 0.02, 0.02], atol=1e-7)
    with pytest.raises(ValueError, match="warmup_steps must be in"):
        WarmupCosine(0.1, total_steps=10, warmup_steps=10)


def test_warms_up_from_a_share_of_the_peak() -> None:
    schedule = WarmupPoly(0.1, total_steps=110, warmup_steps=10, power=1.0, warmup_start=0.2)
    found = rates(schedule, [0, 5, 9, 10, 60])
    np.testing.assert_allclose(found, [0.02, 0.06, 0.092, 0.1, 0.05], atol=1e-7)


def test_steps_fall_at_the_very_step() -> None:
    schedule = WarmupStep(0.1, every=49, factor=0.3, warmup_steps=4, warmup_start=0.0)
    found = rates(schedule, [0, 2, 4, 48, 49, 97, 98, 48 * 49 + 48])
    expected = [0.0, 0.05, 0.1, 0.1, 0.03, 0.03, 0.009, 0.1 * 0.3**48]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-12)
    # All multiples, compiled: a division of floats would fall a step late at some.
    steps = 49 * np.arange(60, dtype="int32")
    drops = compiled(WarmupStep(1.0, every=49, factor=0.5))(steps)
    np.testing.assert_array_equal(to_numpy(drops), 0.5 ** np.arange(60))


def test_config_round_trip() -> None:
    check_config_round_trip(WarmupPoly(0.1, 100, 5, 0.8, 0.01, 1e-6))
    check_config_round_trip(WarmupCosine(0.1, 100, 5, 0.01, 0.2))
    check_config_round_trip(WarmupStep(0.1, 100, 0.5, 5, 0.1))
    # As stored before there was `warmup_start`.
    assert WarmupPoly.from_config({"peak": 0.1, "total_steps": 9}).warmup_start is None


@pytest.mark.parametrize("warmup", [-1, 10, 11])
def test_refuses_a_warm_up_that_does_not_fit(warmup: int) -> None:
    with pytest.raises(ValueError, match="warmup_steps must be in"):
        WarmupPoly(0.1, total_steps=10, warmup_steps=warmup)


def test_refuses_values_out_of_range() -> None:
    with pytest.raises(ValueError, match="warmup_start must be None or in 0..1, got 2"):
        WarmupPoly(0.1, total_steps=10, warmup_start=2.0)
    with pytest.raises(ValueError, match="every must be at least 1.*got every=0"):
        WarmupStep(0.1, every=0)
    with pytest.raises(ValueError, match="factor in .*factor=1.5"):
        WarmupStep(0.1, every=5, factor=1.5)
