"""How often the interval holds the truth: the property that the whole room exists for."""

import numpy as np
import pytest

from mlp_med.evidence.contrast import compare_arms, compare_scored
from mlp_med.evidence.simulation import (
    SimulatedStudy,
    separation,
    simulate_arms,
    simulate_coverage,
    simulate_scored,
)


@pytest.mark.parametrize(("auc", "sd"), [(0.85, 0.0), (0.85, 0.05), (0.97, 0.02)])
def test_the_seeds_have_the_stated_mean_and_spread(auc, sd):
    from scipy.special import ndtr

    mean, width = separation(auc, sd)
    drawn = ndtr((mean + width * np.random.default_rng(0).standard_normal(400_000)) / np.sqrt(2))
    assert drawn.mean() == pytest.approx(auc, abs=3e-4)
    assert drawn.std() == pytest.approx(sd, abs=3e-4)


def test_tables_and_arrays_are_one_draw():
    study = SimulatedStudy(num_patients=40, max_cases_per_patient=4)
    tables = compare_arms(*simulate_arms(study, 3), num_bootstrap=50, seed=1)
    arrays = compare_scored(*simulate_scored(study, 3), num_bootstrap=50, seed=1)
    assert tables.effect == pytest.approx(arrays.effect, abs=1e-4)
    assert tables.ci_low == pytest.approx(arrays.ci_low, abs=1e-3)


@pytest.mark.parametrize(
    "study",
    [
        SimulatedStudy(effect=0.0, num_seeds=(3, 3), seed_sd=(0.05, 0.05)),
        SimulatedStudy(effect=0.01, num_seeds=(5, 5), seed_sd=(0.0, 0.0)),
        SimulatedStudy(
            effect=0.01,
            num_seeds=(5, 3),
            seed_sd=(0.02, 0.02),
            num_patients=60,
            max_cases_per_patient=5,
            prevalence=0.3,
        ),
    ],
    ids=["3 seeds that vary much", "5 seeds that do not", "unequal seeds, several cases a patient"],
)
def test_the_interval_holds_the_true_effect(study):
    found = simulate_coverage(study, num_simulations=150, num_bootstrap=150, seed=5)
    # 95 % of 150, and 2.5 % a side, less or plus 2½ Monte Carlo standard errors
    assert found.coverage >= 0.905
    assert found.coverage < 1
    assert max(found.too_high, found.too_low) <= 0.057
    assert abs(found.bias) < 3 * found.sd / np.sqrt(150)


def test_ignoring_the_seeds_would_miss_the_truth():
    study = SimulatedStudy(num_seeds=(3, 3), seed_sd=(0.05, 0.05))
    missed = 0
    for seed in range(100):
        contrast = compare_scored(*simulate_scored(study, seed), num_bootstrap=100, seed=seed)
        missed += abs(contrast.effect) > 1.96 * np.sqrt(contrast.case_variance)
    assert missed > 20
