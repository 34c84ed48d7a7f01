from dataclasses import replace

import pytest

from experiments import STUDIES, more_data
from mlp_med.studies.arm import FIRST_A_A_SEED
from mlp_med.studies.pilot import PilotDesign, run_pilot

SMALL = more_data.SIZES["luna16"]["small"]
FINE, UPSAMPLED = "1.25mm", "5mm upsampled to 1.25mm"


@pytest.mark.parametrize("name", STUDIES)
@pytest.mark.parametrize("phantom", [True, False])
def test_every_arm_that_a_claim_names_is_trained(name, phantom):
    experiment = STUDIES[name]
    for sizes in experiment.SIZES.values():
        for size in sizes.values():
            claim = experiment.claim(size, "mm", phantom=phantom)
            named = {*claim.primary, *(arm for pair in claim.secondary.values() for arm in pair)}
            named |= {*(claim.a_a or ()), claim.permuted} - {None}
            arms = experiment.arms(size, "mm", phantom=phantom)
            names = [arm.name for arm in arms]
            assert named <= set(names)
            assert len(names) == len(set(names))
            assert {arm.settings_of for arm in arms} - {None} <= set(names)


def test_the_claim_sets_half_of_the_patients_against_all():
    arms = {arm.name: arm for arm in more_data.arms(SMALL, "mm", phantom=True)}
    better, worse = (arms[name] for name in more_data.claim(SMALL, "mm", phantom=True).primary)
    assert (better.resolution, better.training_fraction) == (1.25, 0.5)
    assert (worse.resolution, worse.training_fraction) == (5.0, 1.0)
    assert better.grid == worse.grid
    # Equal steps: fewer patients are seen more often, and are not trained on for less.
    assert better.budget_examples == worse.budget_examples
    fractions = sorted(arm.training_fraction for arm in arms.values())
    assert fractions == [0.125, 0.125, 0.25, 0.25, 0.5, 0.5, 1, 1]


def test_on_real_data_it_carries_its_controls():
    arms = {arm.name: arm for arm in more_data.arms(SMALL, "mm", phantom=False)}
    assert arms["5mm, other seeds"].first_seed == FIRST_A_A_SEED
    assert arms["5mm, permuted labels"].control == "permuted"
    assert arms["5mm, permuted labels"].training_fraction == 1


def test_its_pilot_tries_the_arms_of_all_patients_and_sets_the_others_alike():
    arms = more_data.arms(SMALL, "mm", phantom=False)
    claim = more_data.claim(SMALL, "mm", phantom=False)
    design = PilotDesign(most_budget_examples=2 * SMALL.budget_examples)
    trials = []

    def score(tried):
        trials.extend(tried)
        # The upsampled arm needs twice the budget.
        return {
            trial: 0.9
            - 0.1 * (UPSAMPLED in trial.arm.name and trial.budget_examples < 2 * 32_000)
            - abs(trial.learning_rate - 3e-3)
            for trial in tried
        }

    found = run_pilot(arms, claim, design, score)
    assert {trial.arm.training_fraction for trial in trials} == {1.0}
    assert found.budget_examples == 2 * SMALL.budget_examples
    settings = {(arm.learning_rate, arm.budget_examples) for arm in found.applied_to(arms)}
    assert settings == {(3e-3, found.budget_examples)}


def test_a_fraction_is_named_as_one():
    assert more_data.fraction_name(FINE, 0.125) == "1.25mm, 1/8 of the patients"
    size = replace(SMALL, primary=(2.5, 5.0))
    assert more_data.claim(size, "mm", phantom=True).primary[0] == "2.5mm, 1/2 of the patients"
