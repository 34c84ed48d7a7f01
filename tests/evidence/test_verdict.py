import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlp_med.evidence.claim import AS_USED, COMPUTE, Claim
from mlp_med.evidence.contrast import ArmEstimate, Contrast
from mlp_med.evidence.controls import Controls
from mlp_med.evidence.convergence import Convergence
from mlp_med.evidence.table import ArmRow
from mlp_med.evidence.variance import ArmVariance
from mlp_med.evidence.verdict import Verdict, decide, verdict_to_dict

FINE, UPSAMPLED, COARSE = "1.25mm", "5mm upsampled to 1.25mm", "5mm"
CLAIM = Claim(
    question="Does resolution matter?",
    statement="Finer information raises the AUC by more than 0.01.",
    margin=0.01,
    primary=(FINE, UPSAMPLED),
    secondary={COMPUTE: (UPSAMPLED, COARSE), AS_USED: (FINE, COARSE)},
)


PASSED = Controls(status="passed", reason="")
RISING = Convergence(24_000, rise=0.02, lower=0.01, upper=0.03, num_seeds=5, margin=0.01)
UNTOLD = Convergence(24_000, rise=0.0, lower=-0.004, upper=0.006, num_seeds=5, margin=0.01)
CONVERGED = Convergence(24_000, rise=0.0, lower=-0.002, upper=0.002, num_seeds=5, margin=0.01)


def contrast(low: float | None, high: float | None, *, seeds=(5, 5), patients=200) -> Contrast:
    effect = 0.02 if low is None or high is None else (low + high) / 2
    half = None if low is None or high is None else (high - low) / 2
    arms = [
        ArmVariance(count, mean, 1e-4, 5e-5, 7e-5)
        for count, mean in zip(seeds, (0.9, 0.9 - effect), strict=True)
    ]
    return Contrast(
        effect=effect,
        standard_error=None if half is None else half / 2,
        degrees_of_freedom=None if half is None else 20.0,
        ci_low=low,
        ci_high=high,
        arm_a=arms[0],
        arm_b=arms[1],
        case_variance=1e-4,
        seed_variance=6e-5,
        cross_covariance=6e-5,
        num_patients=patients,
        num_cases=600,
        num_clusters=patients or 600,
        patient_degrees_of_freedom=99,
        cross_check_method="Obuchowski 1997",
        cross_check_standard_error=0.01,
    )


def verdict(low: float | None, high: float | None, **options) -> Verdict:
    sample = {key: options.pop(key) for key in ("seeds", "patients") if key in options}
    options = {"dataset": "luna16", "phantom": False, "controls": PASSED} | options
    return decide(CLAIM, contrast(low, high, **sample), **options)


@pytest.mark.parametrize(
    ("low", "high", "outcome", "equivalent", "reversed_"),
    [
        (0.011, 0.03, "supported", False, False),
        (0.01, 0.03, "inconclusive", False, False),  # touching the margin decides nothing
        (-0.005, 0.01, "inconclusive", False, False),
        (-0.02, 0.03, "inconclusive", False, False),
        (-0.005, 0.009, "refuted", True, False),
        (-0.01, 0.009, "refuted", False, False),
        (-0.03, 0.009, "refuted", False, False),
        (-0.03, -0.01, "refuted", False, False),
        (-0.03, -0.011, "refuted", False, True),
    ],
)
def test_the_regions_of_the_rule(low, high, outcome, equivalent, reversed_):
    found = verdict(low, high)
    assert (found.outcome, found.equivalent, found.reversed) == (outcome, equivalent, reversed_)
    assert (found.needed is not None) == (outcome == "inconclusive")
    assert found.reason == ""
    assert outcome in found.sentence


@settings(max_examples=60, deadline=None)
@given(st.floats(-0.2, 0.2), st.floats(1e-6, 0.2))
def test_the_regions_cover_every_interval_once(low, width):
    found = verdict(low, low + width)
    m = CLAIM.margin
    assert (found.outcome == "supported") == (low > m)
    assert (found.outcome == "refuted") == (low + width < m)
    assert not (found.equivalent and found.reversed)
    assert found.outcome == "refuted" or not (found.equivalent or found.reversed)


def test_few_seeds_are_provisional_and_unknown_patients_exploratory():
    assert not verdict(0.02, 0.04).provisional
    few = verdict(0.02, 0.04, seeds=(5, 4))
    assert few.provisional
    assert "provisional: fewer than 5 seeds" in few.sentence
    assert "5 and 4 seeds" in few.sentence
    unknown = verdict(0.02, 0.04, patients=None)
    assert unknown.exploratory
    assert "patients unknown" in unknown.sentence
    assert verdict_to_dict(unknown, [], "c0ffee")["n_patients"] is None


def test_the_sentence_can_be_quoted_alone():
    assert verdict(0.02, 0.04, phantom=True).sentence == (
        "On the phantom luna16 (drawn scans: no evidence about patients), “Finer information "
        "raises the AUC by more than 0.01” is supported; AUC of 1.25mm minus 5mm upsampled to "
        "1.25mm +0.030 (95 % interval +0.020 to +0.040, margin 0.010; 200 patients, 600 cases, "
        "5 seeds an arm); smallest detectable effect 0.024; controls passed."
    )
    assert "phantom" not in verdict(0.02, 0.04).sentence


def test_an_end_just_past_the_margin_is_not_printed_as_the_margin():
    assert "+0.0101 to" in verdict(0.0101, 0.04).sentence
    assert "-0.01001 to" in verdict(-0.01001, 0.009).sentence


def test_an_inconclusive_verdict_says_what_would_decide_it():
    found = verdict(0.0, 0.05)
    assert found.needed.num_patients > 200
    assert found.needed.num_seeds > 5
    assert f"{found.needed.num_patients} patients with these seeds" in found.sentence
    assert f"{found.needed.num_seeds} seeds an arm with these patients" in found.sentence
    on_the_margin = verdict(0.0, 0.02)
    assert on_the_margin.needed.both is None
    assert "no feasible study" in on_the_margin.sentence


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"no_verdict_reason": "the smoke size claims nothing"}, "smoke"),
        ({"incomplete_arms": [UPSAMPLED]}, "lacks seeds"),
        ({"convergence": {UPSAMPLED: RISING}}, "it would be supported, but 5mm upsampled"),
        ({"low": 0.011, "convergence": {UPSAMPLED: UNTOLD}}, "not shown to have converged"),
        ({"low": -0.02, "high": 0.0, "convergence": {FINE: RISING}}, "it would be refuted, but"),
        ({"controls": Controls()}, "make controls"),
        ({"controls": Controls("stale", "the controls are of other code")}, "of other code"),
        ({"controls": Controls("failed", "the negative control failed")}, "negative control"),
        ({"seeds": (1, 5), "low": None, "high": None}, "one seed"),
        ({"low": None, "high": None}, "no AUC varies"),
    ],
)
def test_without_its_grounds_there_is_no_verdict(options, reason):
    options = {"low": 0.02, "high": 0.04} | options
    found = verdict(options.pop("low"), options.pop("high"), **options)
    assert found.outcome is None
    assert reason in found.reason
    assert "there is no verdict" in found.sentence
    assert not found.equivalent
    assert not found.reversed
    assert not found.grid_not_information


def test_without_a_contrast_there_is_no_verdict():
    found = decide(CLAIM, None, dataset="luna16", phantom=True)
    assert found.outcome is None
    assert found.provisional
    assert "no predictions" in found.sentence
    assert verdict_to_dict(found, [], "c0ffee")["effect"] is None


def test_an_arm_that_rises_says_how_many_examples_are_missing():
    found = verdict(0.02, 0.04, convergence={UPSAMPLED: RISING})
    assert f"about {RISING.examples_needed:,} examples would be needed" in found.sentence


def test_a_winner_that_still_rises_is_named_but_withholds_nothing():
    found = verdict(0.02, 0.04, convergence={FINE: RISING, UPSAMPLED: CONVERGED})
    assert found.outcome == "supported"
    assert f"not shown to have converged: {FINE};" in found.sentence


def test_a_loser_that_cannot_be_told_withholds_only_what_it_could_overturn():
    assert verdict(0.05, 0.08, convergence={UPSAMPLED: UNTOLD}).outcome == "supported"
    assert verdict(-0.08, -0.05, convergence={FINE: UNTOLD}).outcome == "refuted"
    assert verdict(-0.08, 0.009, convergence={FINE: UNTOLD}).outcome is None


def test_an_arm_outside_the_primary_contrast_is_named_but_withholds_nothing():
    found = verdict(0.02, 0.04, convergence={COARSE: RISING}, incomplete_arms=["2.5mm"])
    assert found.outcome == "supported"
    assert "not shown to have converged: 5mm;" in found.sentence
    assert "incomplete: 2.5mm;" in found.sentence


def test_predictions_from_elsewhere_get_a_verdict_and_say_who_vouches():
    found = verdict(0.02, 0.04, controls=None)
    assert found.outcome == "supported"
    assert "for the author of the predictions to vouch for" in found.sentence
    assert verdict_to_dict(found, [], "c0ffee")["controls"] is None


@pytest.mark.parametrize(
    ("primary", "as_used", "expected"),
    [
        ((-0.005, 0.009), (0.02, 0.04), True),
        ((-0.005, 0.03), (0.02, 0.04), True),
        ((0.02, 0.04), (0.02, 0.04), False),
        ((-0.005, 0.009), (0.005, 0.04), False),
    ],
)
def test_grid_not_information(primary, as_used, expected):
    secondary = {AS_USED: contrast(*as_used), COMPUTE: contrast(0.0, 0.005)}
    found = verdict(*primary, secondary=secondary)
    assert found.grid_not_information is expected
    assert ("grid, not information" in found.sentence) is expected


def test_the_json_has_exactly_these_fields_and_no_nan():
    estimate = ArmEstimate((0.9,), (0,), 0.9, None, None, None)
    row = ArmRow(FINE, 1.25, "none", estimate, None, 1, None, 123)
    found = verdict_to_dict(verdict(None, None, seeds=(1, 1)), [row], "c0ffee")
    assert set(found) == {
        *("claim", "dataset", "phantom", "verdict", "effect", "ci_low", "ci_high", "margin"),
        *("minimal_detectable_effect", "equivalent", "reversed", "provisional", "exploratory"),
        *("n_patients", "n_cases", "n_seeds", "arms", "commit", "controls"),
        *("reason", "convergence"),
    }
    assert set(found["arms"][0]) == {
        *("arm", "resolution", "control", "mean", "standard_error", "n"),
        *("seconds", "peak_memory_bytes"),
    }
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert found["ci_low"] is found["verdict"] is found["minimal_detectable_effect"] is None
    assert found["controls"]["status"] == "passed"
    assert math.isclose(found["effect"], 0.02)
