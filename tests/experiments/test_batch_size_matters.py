from dataclasses import replace

import pytest

from experiments import batch_size_matters as study
from mlp_med.errors import StudyError
from mlp_med.studies.pilot import PilotDesign, run_pilot

SMALL = study.SIZES["luna16"]["small"].on(phantom=True, num_training=2_800)
ARMS = {arm.name: arm for arm in study.arms(SMALL, "mm", phantom=True)}


def batches(budget):
    plain = (a for a in ARMS.values() if a.norm == "batch" and a.accumulation_steps == 1)
    return {arm.global_batch_size: arm for arm in plain if arm.name.endswith(budget)}


def pilot(aucs):
    """A pilot's result in which arms of these names validated so well, and others worse."""
    design = PilotDesign(most_budget_examples=None)
    arms = list(ARMS.values())

    def score(trials):
        return {t: aucs.get(t.arm.name, 0.5) - abs(t.learning_rate - 3e-3) for t in trials}

    return run_pilot(arms, study.claim(SMALL, "mm", phantom=True), design, score)


def test_the_axis_is_every_power_of_two_and_a_tenth_of_the_training_set():
    assert list(batches(study.EXAMPLES)) == [1, 2, 4, 8, 16, 32, 64, 128, 280]
    assert study.SIZES["luna16"]["small"].on(phantom=False, num_training=955).large_batch == 96


def test_budgets_are_equal_in_examples_or_in_steps():
    examples = {arm.budget_examples for arm in batches(study.EXAMPLES).values()}
    assert max(examples) - min(examples) <= 280 / 2
    steps = {batch: arm.budget_examples / batch for batch, arm in batches(study.STEPS).items()}
    assert set(steps.values()) == {SMALL.budget_steps}
    assert all(
        arm.num_evaluations <= arm.budget_examples // arm.global_batch_size for arm in ARMS.values()
    )


def test_the_way_out_is_the_large_batch_in_parts_of_two():
    way_out = ARMS["batch 32 of 16 × 2, equal examples"]
    plain = ARMS["batch 32, equal examples"]
    assert way_out == replace(plain, name=way_out.name, accumulation_steps=16)
    way_out = ARMS["batch 32 of 16 × 2, group norm, equal examples"]
    plain = ARMS["batch 32, group norm, equal examples"]
    expected = replace(plain, name=way_out.name, accumulation_steps=16, settings_of=plain.name)
    assert way_out == expected
    assert {arm.norm for arm in ARMS.values()} == {"batch", "group", "none"}


def test_claims_c_and_d_compare_trained_down_minima_and_no_other_arm_stops():
    by_name = {claim.name: claim for claim in study.claims(SMALL, "mm", phantom=True)}
    assert list(by_name) == [
        "a, equal examples",
        "a, equal steps",
        "a, group norm",
        "b, examples",
        "b, seconds",
        "c",
        "d",
    ]
    pair = {"batch 32, equal training loss", "batch 280, equal training loss"}
    assert {*by_name["c"].primary} == {*by_name["d"].primary} == pair
    # "worse" and "sharper" are both claims of the larger batch
    assert by_name["c"].primary == by_name["d"].primary[::-1]
    assert by_name["d"].primary[0].startswith("batch 280")
    for arm in ARMS.values():
        assert (arm.stop_at_training_loss > 0) == (arm.name in pair)
        assert not (arm.name in pair and arm.augment)


def test_the_best_of_either_kind_is_what_the_pilot_found_on_validation_data():
    found = pilot({"batch 2, equal examples": 0.9, "batch 16, equal examples": 0.8})
    first, steps, _, examples, *_ = study.claims(SMALL, "mm", phantom=True, pilot=found)
    assert first.primary == ("batch 16, equal examples", "batch 2, equal examples")
    assert examples.primary == first.primary[::-1]
    assert all(name.endswith(study.STEPS) for name in steps.primary)
    # another norm or accumulation is no candidate, however well it did
    found = pilot({"batch 2, no norm, equal examples": 1.0})
    assert "no norm" not in " ".join(
        study.claims(SMALL, "mm", phantom=True, pilot=found)[0].primary
    )


def test_claim_a_is_also_made_without_the_statistics_of_the_batch():
    by_name = {claim.name: claim for claim in study.claims(SMALL, "mm", phantom=True)}
    large, small = (ARMS[name] for name in by_name["a, group norm"].primary)
    assert (large.norm, small.norm) == ("group", "group")
    assert (large.global_batch_size, small.global_batch_size) == (32, 2)
    assert "both with batch norm" in by_name["a, equal examples"].statement


def test_every_arm_is_tuned_or_takes_over_the_rate_of_its_own_batch():
    for arm in ARMS.values():
        tuned = ARMS[arm.settings_of or arm.name]
        assert tuned.settings_of is None
        assert tuned.global_batch_size == arm.global_batch_size


def test_a_training_set_whose_tenth_is_no_large_batch_is_refused():
    size = study.SIZES["luna16"]["small"].on(phantom=True, num_training=320)
    with pytest.raises(StudyError, match="must exceed the batch of 32"):
        study.arms(size, "mm", phantom=True)


def test_a_tenth_that_is_among_the_batches_is_one_arm():
    size = study.SIZES["luna16"]["small"].on(phantom=True, num_training=640)
    names = [arm.name for arm in study.arms(size, "mm", phantom=True)]
    assert len(names) == len(set(names))


def test_on_real_data_it_carries_its_controls():
    names = {arm.name for arm in study.arms(SMALL, "mm", phantom=False)}
    claim = study.claim(SMALL, "mm", phantom=False)
    assert {*claim.a_a, claim.permuted} <= names
    assert study.claim(SMALL, "mm", phantom=True).a_a is None
