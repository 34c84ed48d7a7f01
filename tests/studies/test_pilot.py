"""The pilot's choices, on scores that a function makes up."""

import json
import math
from dataclasses import replace

import pytest

from experiments.resolution_matters import arms, claim
from experiments.sizes import SIZES
from mlp_med.errors import StudyError
from mlp_med.studies.pilot import PilotDesign, PilotResult, run_pilot

SIZE = SIZES["metastasis_patches"]["small"]
ARMS = arms(SIZE, "um", phantom=False)
CLAIM = claim(SIZE, "um", phantom=False)
FINE, UPSAMPLED = CLAIM.primary
DESIGN = PilotDesign(most_budget_examples=4 * SIZE.budget_examples)


class Scores:
    """A validation AUC that peaks at a learning rate and saturates with the budget."""

    def __init__(self, best_rate=lambda arm: 3e-3, needed=0, failing=()):
        self.best_rate, self.needed, self.failing = best_rate, needed, failing
        self.trials = []

    def __call__(self, trials):
        self.trials += trials
        return {trial: self.auc(trial) for trial in trials}

    def auc(self, trial):
        if trial.learning_rate in self.failing:
            return None
        off = math.log(trial.learning_rate / self.best_rate(trial.arm.name)) ** 2
        doublings = math.log2(max(1, self.needed / trial.budget_examples))
        return 0.9 - 0.01 * off - 0.02 * doublings + 1e-4 * trial.seed


def test_each_arm_gets_the_learning_rate_that_is_best_for_it():
    scores = Scores(lambda arm: 1e-3 if arm == FINE else 9e-3)
    found = run_pilot(ARMS, CLAIM, DESIGN, scores)
    assert found.arms[FINE].learning_rate == 1e-3
    assert found.arms[UPSAMPLED].learning_rate == 9e-3
    # The best on an edge: the grid goes one step on, and the best is inside it then.
    assert min(found.arms[FINE].grid) == pytest.approx(1e-3 / 3, rel=0.01)
    assert max(found.arms[UPSAMPLED].grid) == pytest.approx(27e-3)
    assert not found.arms[FINE].on_edge


def test_the_grid_is_not_extended_for_ever():
    found = run_pilot(ARMS, CLAIM, DESIGN, Scores(lambda arm: 1.0))
    assert len(found.arms[FINE].grid) == 3 + DESIGN.most_extensions
    assert found.arms[FINE].on_edge


def test_the_budget_doubles_for_all_arms_until_the_compared_ones_converge():
    needed = 3 * SIZE.budget_examples
    found = run_pilot(ARMS, CLAIM, DESIGN, Scores(needed=needed))
    assert found.budget_examples == 4 * SIZE.budget_examples
    assert all(arm.convergence.converged for arm in found.arms.values())
    assert {arm.budget_examples for arm in found.applied_to(ARMS)} == {found.budget_examples}


def test_an_arm_that_never_converges_is_told_at_the_cap():
    scores = Scores(needed=10**9)
    found = run_pilot(ARMS, CLAIM, DESIGN, scores)
    assert found.budget_examples == DESIGN.most_budget_examples
    assert found.arms[UPSAMPLED].convergence.rising
    assert max(trial.budget_examples for trial in scores.trials) == 2 * DESIGN.most_budget_examples


def test_a_learning_rate_that_fails_is_not_chosen_and_all_failing_is_an_error():
    found = run_pilot(ARMS, CLAIM, DESIGN, Scores(lambda arm: 9e-3, failing=(9e-3, 27e-3)))
    assert found.arms[FINE].learning_rate == 3e-3
    with pytest.raises(StudyError, match="could not train"):
        run_pilot(ARMS, CLAIM, DESIGN, Scores(failing=DESIGN.learning_rates))


def test_controls_take_over_the_settings_of_the_arm_that_they_are_like():
    found = run_pilot(ARMS, CLAIM, DESIGN, Scores(lambda arm: 1e-3 if arm == "7.76um" else 9e-3))
    assert set(found.arms) == {"0.97um", "1.94um", "3.88um", "7.76um", UPSAMPLED}
    applied = {arm.name: arm for arm in found.applied_to(ARMS)}
    assert applied["7.76um, other seeds"].learning_rate == 1e-3
    assert applied["7.76um, permuted labels"].learning_rate == 1e-3
    assert applied["7.76um, permuted labels"].control == "permuted"


def test_a_result_survives_json():
    import json

    found = run_pilot(ARMS, CLAIM, DESIGN, Scores())
    assert PilotResult.from_dict(json.loads(json.dumps(found.to_dict()))) == found


@pytest.mark.parametrize("rates", [(1e-3,), (1e-3, 2e-3, 8e-3), (0.0, 1e-3), (3e-3, -1e-3)])
def test_a_grid_that_is_none_is_refused(rates):
    with pytest.raises(StudyError, match="evenly"):
        PilotDesign(learning_rates=rates, most_budget_examples=1000)


def test_where_the_budgets_are_the_arms_own_none_is_judged_or_changed():
    design = PilotDesign(most_budget_examples=None)
    own = [replace(arm, budget_examples=16 * (1 + number)) for number, arm in enumerate(ARMS)]
    scores = Scores(lambda arm: 9e-3)
    found = run_pilot(own, CLAIM, design, scores)
    assert {trial.budget_examples for trial in scores.trials} == {
        arm.budget_examples for arm in own if arm.settings_of is None
    }
    assert found.budget_examples is None
    applied = found.applied_to(own)
    assert [arm.budget_examples for arm in applied] == [arm.budget_examples for arm in own]
    assert {arm.learning_rate for arm in applied} == {9e-3}
    assert PilotResult.from_dict(json.loads(json.dumps(found.to_dict()))) == found
    assert found.arms[FINE].convergence is None
    assert found.arms[FINE].validation_auc == pytest.approx(0.9, abs=1e-3)
