import numpy as np
import pytest
from scipy.stats import t as student

from mlp_med.evidence.variance import ArmVariance, arm_variance, combined_interval, satterthwaite


def arm(mean=0.8, seeds=5, between=4e-4, patient=1e-4, common=2e-4):
    return ArmVariance(seeds, mean, between, patient, common)


def test_an_arms_covariance_is_split_into_own_and_common_parts():
    covariance = np.full((3, 3), 2e-4) + np.diag([1e-4, 2e-4, 3e-4])
    found = arm_variance(np.array([0.7, 0.8, 0.9]), covariance)
    assert found.common_variance == pytest.approx(2e-4)
    assert found.patient_variance == pytest.approx(2e-4)
    assert found.between_seed_variance == pytest.approx(0.01)
    assert found.seed_variance == pytest.approx(0.01 - 2e-4)


def test_the_standard_error_counts_no_part_twice():
    # Σ s²/S + Cov2(a) + Cov2(b) − 2 Cov3
    interval = combined_interval([arm(), arm(seeds=4)], 1.5e-4, 99)
    variance = 4e-4 / 5 + 4e-4 / 4 + 4e-4 - 3e-4
    assert interval.standard_error**2 == pytest.approx(variance)
    freedom = variance**2 / ((8e-5) ** 2 / 4 + (1e-4) ** 2 / 3 + (1e-4) ** 2 / 99)
    assert interval.degrees_of_freedom == pytest.approx(freedom)
    half = student.ppf(0.975, freedom) * np.sqrt(variance)
    assert interval.low <= -half
    assert interval.high >= half
    assert interval.high == pytest.approx(half, rel=0.1)  # far from 1 the logit widens it little


def test_seeds_that_vary_less_than_the_patients_explain_add_no_negative_variance():
    quiet = arm(between=1e-5)
    assert quiet.seed_variance == 0
    assert quiet.mean_square == pytest.approx(1e-4 / 5)


def test_a_common_part_below_zero_is_truncated():
    interval = combined_interval([arm(), arm()], 1.0, 99)
    assert interval.standard_error**2 == pytest.approx(2 * 4e-4 / 5)
    assert interval.degrees_of_freedom == pytest.approx(8)


def test_near_one_the_interval_reaches_further_down_than_up_in_the_better_arm():
    quiet = {"between": 4e-5, "patient": 1e-5, "common": 2e-5}
    arms = [arm(mean=0.99, **quiet), arm(mean=0.8, **quiet)]
    interval = combined_interval(arms, 1e-5, 99)
    effect = 0.99 - 0.8
    half = student.ppf(0.975, interval.degrees_of_freedom) * interval.standard_error
    assert effect - interval.low > 1.2 * half
    assert interval.high - effect == pytest.approx(half, rel=0.1)


@pytest.mark.parametrize("means", [(1.0, 0.9), (0.9, 1.0)])
def test_a_perfect_arm_has_an_interval_against_another(means):
    perfect = ArmVariance(3, 1.0, 0.0, 0.0, 0.0)
    arms = [perfect if mean == 1 else arm(mean=mean) for mean in means]
    interval = combined_interval(arms, 0.0, 50)
    assert np.isfinite([interval.low, interval.high, interval.degrees_of_freedom]).all()


def test_no_interval_without_known_or_positive_variance():
    assert combined_interval([arm(), ArmVariance(1, 0.8, None, None, 3e-4)], 0.0, 99) is None
    still = ArmVariance(3, 1.0, 0.0, 0.0, 0.0)
    assert combined_interval([still, still], 0.0, 99) is None


def test_satterthwaite_of_one_and_of_equal_terms():
    assert satterthwaite([0.3], [7]) == pytest.approx(7)
    assert satterthwaite([0.3, 0.3], [7, 7]) == pytest.approx(14)
