import json
from dataclasses import replace

import pandas as pd
import pytest

from mlp_med.evidence.contrast import compare_arms, estimate_arm
from mlp_med.evidence.controls import (
    Controls,
    judge_a_a,
    judge_negative,
    judge_permuted,
    judge_positive,
    read_record,
    write_record,
)
from mlp_med.evidence.simulation import SimulatedStudy, simulate_arms

MARGIN = 0.01
COMMAND = "make controls"
CODE = {"training code": "a" * 16, "evidence code": "b" * 16}


ARMS = simulate_arms(SimulatedStudy(effect=0.0, num_patients=100), seed=3)
SOME = compare_arms(*ARMS, num_bootstrap=100, seed=0)


def contrast_of(low, high):
    return replace(SOME, effect=(low + high) / 2, ci_low=low, ci_high=high)


@pytest.fixture
def none():
    return contrast_of(-0.004, 0.006)


@pytest.fixture
def large():
    return contrast_of(0.05, 0.07)


def passed_record():
    outcomes = [judge_negative(contrast_of(-0.004, 0.006), 0.85, MARGIN)]
    outcomes.append(judge_positive(contrast_of(0.05, 0.07), 0.9, MARGIN, 2.5))
    return json.loads(json.dumps(write_record(COMMAND, outcomes, CODE, {"commit": "c0ffee"})))


def test_each_control_passes_only_on_its_own_answer(none, large):
    assert judge_negative(none, 0.85, MARGIN).passed
    assert not judge_negative(large, 0.85, MARGIN).passed
    assert judge_positive(large, 0.85, MARGIN, 2.5).passed
    assert not judge_positive(none, 0.85, MARGIN, 2.5).passed


def test_an_interval_that_is_too_wide_is_not_equivalence():
    for low, high in ((-0.011, 0.005), (-0.005, 0.011), (-0.1, 0.1)):
        assert not judge_negative(contrast_of(low, high), 0.85, MARGIN).passed
    for low, high in ((0.01, 0.05), (-0.01, 0.05)):
        assert not judge_positive(contrast_of(low, high), 0.85, MARGIN, 2.5).passed


@pytest.mark.parametrize("auc", [0.74, 0.98])
def test_an_arm_that_cannot_move_proves_nothing(none, large, auc):
    for outcome in (judge_negative(none, auc, MARGIN), judge_positive(large, auc, MARGIN, 2.5)):
        assert not outcome.passed
        assert "could move" in outcome.summary


def test_a_phantom_is_called_one_in_the_summary(none):
    assert "phantom" in judge_negative(none, 0.85, MARGIN).summary


def test_the_same_arm_twice_must_not_differ(none, large):
    assert judge_a_a(none, MARGIN).passed
    assert not judge_a_a(large, MARGIN).passed


def test_permuted_labels_must_give_one_half():
    for auc, expected in ((0.5, True), (0.7, False)):
        study = SimulatedStudy(effect=0.0, auc=auc, num_patients=600)
        arm, _ = simulate_arms(study, seed=5)
        assert judge_permuted(estimate_arm(arm, num_bootstrap=300, seed=0)).passed is expected


def test_permuting_the_labels_of_good_scores_gives_one_half():
    arm, _ = simulate_arms(SimulatedStudy(effect=0.0, auc=0.95, num_patients=600), seed=6)
    cases = arm.drop_duplicates("id")[["id", "label"]]
    shuffled = cases.assign(label=cases["label"].sample(frac=1, random_state=2).to_numpy())
    permuted = pd.merge(arm.drop(columns="label"), shuffled, on="id")
    assert judge_permuted(estimate_arm(permuted, num_bootstrap=300, seed=0)).passed


def test_a_record_holds_for_its_own_code_alone():
    record = passed_record()
    assert read_record(record, CODE, COMMAND).status == "passed"
    assert read_record(record, CODE, COMMAND).reason == ""
    stale = read_record(record, {**CODE, "training code": "c" * 16}, COMMAND)
    assert stale.status == "stale"
    assert "training code" in stale.reason
    assert "make controls" in stale.reason


def test_a_missing_record_and_a_failed_control_say_what_to_run():
    assert read_record(None, CODE, COMMAND).status == "missing"
    record = passed_record()
    record["outcomes"][0]["passed"] = False
    failed = read_record(record, CODE, COMMAND)
    assert failed.status == "failed"
    assert "negative" in failed.reason
    del record["outcomes"][0]
    assert read_record(record, CODE, COMMAND).status == "failed"


def test_a_control_of_the_studys_own_that_fails_fails_all(none, large):
    good = read_record(passed_record(), CODE, COMMAND)
    joined = good.joined_with([judge_a_a(none, MARGIN)])
    assert joined.status == "passed"
    assert len(joined.outcomes) == 3
    bad = good.joined_with([judge_a_a(large, MARGIN)])
    assert bad.status == "failed"
    assert "A/A" in bad.reason
    assert Controls().joined_with([judge_a_a(none, MARGIN)]).status == "not run"
