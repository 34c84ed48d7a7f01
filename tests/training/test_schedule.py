import numpy as np
import pytest

from mlp_med.training.schedule import WarmupCosine


def rates(num_steps, **arguments):
    schedule = WarmupCosine(0.1, num_steps, **arguments)
    return np.array([float(schedule(step)) for step in range(num_steps)])


def test_up_in_a_line_to_the_peak_then_down_to_zero():
    values = rates(100, warmup_fraction=0.1)
    np.testing.assert_allclose(values[:10], 0.01 * np.arange(1, 11), rtol=1e-5)
    assert values.argmax() == 9
    assert (np.diff(values[9:]) < 0).all()
    assert values[54] == pytest.approx(0.05, rel=1e-3)  # half-way down
    assert values[-1] == pytest.approx(0.0, abs=1e-8)


@pytest.mark.parametrize("num_steps", [1, 2, 3])
def test_few_steps_still_learn(num_steps):
    values = rates(num_steps)
    assert values[0] == pytest.approx(0.1)
    assert np.isfinite(values).all()


def test_the_schedule_survives_its_config():
    schedule = WarmupCosine(0.1, 100, 0.2)
    again = WarmupCosine.from_config(schedule.get_config())
    assert float(again(7)) == float(schedule(7))
