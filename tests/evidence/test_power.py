import dataclasses

import numpy as np
import pytest

from mlp_med.evidence.contrast import compare_scored
from mlp_med.evidence.power import (
    PlanningAssumptions,
    hanley_mcneil_variance,
    minimal_detectable_effect,
    needed,
    planned_detectable_effect,
)
from mlp_med.evidence.simulation import SimulatedStudy, simulate_intervals, simulate_scored

STUDY = SimulatedStudy(effect=0.02, num_patients=200)


@pytest.fixture(scope="module")
def contrast():
    return compare_scored(*simulate_scored(STUDY, 0), num_bootstrap=300, seed=0)


def plan(**changes):
    fields = {
        "num_patients": 200,
        "num_positive": 80,
        "num_negative": 120,
        "num_seeds": 5,
        "margin": 0.01,
    }
    return planned_detectable_effect(**(fields | changes))


def test_the_detectable_effect_is_detected_four_times_in_five():
    guess = np.median(
        [
            minimal_detectable_effect(
                compare_scored(*simulate_scored(STUDY, seed), num_bootstrap=100, seed=0), 0.0
            )
            for seed in range(10)
        ]
    )
    study = dataclasses.replace(STUDY, effect=float(guess))
    found = [
        compare_scored(*simulate_scored(study, seed), num_bootstrap=100, seed=0).ci_low > 0
        for seed in range(100, 220)
    ]
    # arm a nearer to 1 has less variance, so that the power may exceed 0.8
    assert 0.68 <= np.mean(found) <= 0.95


def test_a_wider_margin_asks_for_as_much_more(contrast):
    difference = minimal_detectable_effect(contrast, 0.03) - minimal_detectable_effect(contrast, 0)
    assert difference == pytest.approx(0.03)


def test_one_seed_has_no_detectable_effect(contrast):
    single = dataclasses.replace(contrast, standard_error=None, degrees_of_freedom=None)
    assert minimal_detectable_effect(single, 0.01) is None


def test_nearer_to_the_margin_more_is_needed(contrast):
    far = needed(dataclasses.replace(contrast, effect=0.05), 0.01)
    near = needed(dataclasses.replace(contrast, effect=0.04), 0.01)
    assert near.num_patients > far.num_patients >= contrast.num_clusters
    assert near.both >= far.both


def test_what_is_needed_would_decide():
    first = compare_scored(*simulate_scored(STUDY, 4), num_bootstrap=300, seed=0)
    wanted = needed(dataclasses.replace(first, effect=0.05), 0.01).num_patients
    larger = dataclasses.replace(STUDY, num_patients=wanted)
    second = compare_scored(*simulate_scored(larger, 5), num_bootstrap=300, seed=0)
    assert minimal_detectable_effect(second, 0.01) == pytest.approx(0.05, rel=0.35)


def test_where_seeds_are_the_limit_no_number_of_patients_helps(contrast):
    noisy = dataclasses.replace(
        contrast,
        effect=0.02,
        arm_a=dataclasses.replace(contrast.arm_a, between_seed_variance=0.01),
    )
    found = needed(noisy, 0.01)
    assert found.num_patients is None


@pytest.mark.parametrize(
    "better",
    [
        {"num_seeds": 10},
        {"num_patients": 400, "num_positive": 160, "num_negative": 240},
        {"assumptions": PlanningAssumptions(seed_sd=0.005)},
        {"assumptions": PlanningAssumptions(auc=0.92)},
    ],
)
def test_a_plan_detects_less_with_more_of_anything(better):
    assert 0.01 < plan(**better) < plan()


@pytest.mark.parametrize(
    ("num_patients", "num_seeds", "seed_sd", "auc"),
    [(200, 5, 0.01, 0.85), (400, 10, 0.01, 0.9), (100, 5, 0.03, 0.8), (200, 3, 0.02, 0.8)],
)
def test_a_planned_effect_is_found_about_four_times_in_five(num_patients, num_seeds, seed_sd, auc):
    # the correlations are those that the simulation's shares of variance amount to
    assumed = PlanningAssumptions(auc, seed_sd, seed_correlation=0.8, arm_correlation=0.6)
    effect = plan(
        num_patients=num_patients,
        num_positive=round(0.4 * num_patients),
        num_negative=round(0.6 * num_patients),
        num_seeds=num_seeds,
        assumptions=assumed,
    )
    study = SimulatedStudy(
        effect=effect,
        auc=auc,
        seed_sd=(seed_sd, seed_sd),
        num_seeds=(num_seeds, num_seeds),
        num_patients=num_patients,
    )
    _, low, _ = simulate_intervals(study, num_simulations=250, num_bootstrap=60, seed=3)
    # ±0.1 of method (few degrees of freedom; Hanley & McNeil's model), ±0.05 of Monte Carlo error
    assert 0.65 <= np.mean(low > 0.01) <= 0.95


def test_an_effect_that_would_need_an_auc_above_one_is_not_planned():
    assert plan(num_patients=20, num_positive=8, num_negative=12) is None


def test_more_cases_of_the_same_patients_count_for_less():
    same_patients = plan(num_positive=160, num_negative=240)
    more_patients = plan(num_positive=160, num_negative=240, num_patients=400)
    assert more_patients < same_patients < plan()


def test_a_plan_agrees_with_the_study_that_it_plans(contrast):
    assumed = PlanningAssumptions(auc=0.86, seed_sd=0.01, seed_correlation=0.8, arm_correlation=0.6)
    assert plan(assumptions=assumed) == pytest.approx(
        minimal_detectable_effect(contrast, 0.01), rel=0.35
    )


@pytest.mark.parametrize("few", [{"num_seeds": 1}, {"num_patients": 1}, {"num_positive": 1}])
def test_too_little_to_plan_with(few):
    assert plan(**few) is None


def test_hanley_and_mcneil_of_a_chance_test_is_wilcoxons():
    assert hanley_mcneil_variance(0.5, 30, 40) == pytest.approx((30 + 40 + 1) / (12 * 30 * 40))
