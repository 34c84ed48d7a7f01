import numpy as np
import pytest

from mlp_med.errors import EvidenceError
from mlp_med.evidence.convergence import judge_convergence

EXAMPLES = np.arange(1, 9) * 1000


def curve(values):
    return list(zip(EXAMPLES.tolist(), values, strict=True))


def rising(slope, wobble=0.0):
    return curve(0.8 + slope * np.arange(8) + wobble * np.array([1, -1] * 4))


def test_an_arm_that_climbs_to_the_end_is_rising():
    found = judge_convergence({seed: rising(0.01, 0.001 * seed) for seed in range(3)})
    assert found.rising
    assert found.rise == pytest.approx(0.02)


def test_a_plateau_after_a_steep_start_is_not():
    plateau = curve(0.9 - 0.4 * 0.2 ** np.arange(8))
    assert judge_convergence({0: plateau, 1: plateau}).rising is False


def test_an_early_rise_before_the_last_half_does_not_count():
    stepped = curve([0.5, 0.5, 0.5, 0.5, 0.9, 0.9, 0.9, 0.9])
    assert judge_convergence({0: stepped}).rising is False


def test_a_rise_within_the_spread_of_the_seeds_is_not_called_one():
    slopes = [0.03, -0.02, 0.01]
    found = judge_convergence({seed: rising(slope) for seed, slope in enumerate(slopes)})
    assert found.rise == pytest.approx(2 * np.mean(slopes))
    assert found.rise > 0.005
    assert found.rise < 2 * found.standard_error
    assert found.rising is False


def test_a_rise_too_small_to_matter_is_not_called_one():
    assert judge_convergence({0: rising(0.002), 1: rising(0.002)}).rising is False
    assert judge_convergence({0: rising(0.002)}, smallest_rise=0.003).rising is True


def test_a_falling_curve_is_not_rising():
    assert judge_convergence({0: rising(-0.02), 1: rising(-0.02)}).rising is False


def test_the_order_of_the_points_does_not_matter():
    points = rising(0.01)
    assert judge_convergence({0: points[::-1]}) == judge_convergence({0: points})


def test_too_few_evaluations_cannot_be_judged():
    assert judge_convergence({0: [(1000, 0.7)]}).rising is None


@pytest.mark.parametrize("curves", [{}, {0: []}, {0: [(1000, float("nan"))]}])
def test_no_curve_is_refused(curves):
    with pytest.raises(EvidenceError):
        judge_convergence(curves)
