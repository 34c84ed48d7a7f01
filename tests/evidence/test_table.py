import numpy as np
import pytest

from mlp_med.errors import EvidenceError
from mlp_med.evidence.contrast import compare_arms
from mlp_med.evidence.simulation import SimulatedStudy, simulate_arms
from mlp_med.evidence.table import arm_row, effect_by_stratum, slope_per_octave


@pytest.fixture(scope="module")
def arms():
    """Two arms whose difference is in the thin-sliced patients' cases only."""
    a, b = simulate_arms(SimulatedStudy(effect=0.0, num_patients=300, seed_sd=(0.0, 0.0)), 0)
    number = a["id"].str.removeprefix("case").astype(int)
    strata = {
        "native_spacing_mm": np.where(number % 2, 2.5, 1.0),
        "diameter_mm": a["label"] * (3 + number % 12),
        "scanner": np.where(number % 2, "thick slices", "a thin one"),
    }
    a, b = a.assign(**strata), b.assign(**strata)
    thin = (a["native_spacing_mm"] < 2) & (a["label"] == 1)
    return a.assign(score=a["score"].where(~thin, 1 - (1 - a["score"]) / 4)), b


def test_a_row_is_a_mean_a_sample_error_and_n(arms):
    row = arm_row(
        "1.25mm",
        1.25,
        "none",
        arms[0],
        seconds=[10, 20, 30, 40, float("nan")],
        peak_memory_bytes=[5, 9, 7],
        num_bootstrap=50,
        seed=0,
    )
    assert row.num_seeds == 5
    assert row.standard_error == pytest.approx(np.std(row.estimate.aucs, ddof=1) / np.sqrt(5))
    assert (row.seconds, row.peak_memory_bytes) == (25, 9)
    assert row.to_dict()["mean"] == pytest.approx(np.mean(row.estimate.aucs))


def test_one_seed_prints_no_error(arms):
    single = arms[0][arms[0]["seed"] == 2]
    row = arm_row("5mm", 5.0, "none", single, num_bootstrap=50, seed=0)
    assert (row.num_seeds, row.standard_error, row.seconds) == (1, None, None)


def test_the_effect_is_found_in_the_stratum_that_has_it(arms):
    thin, thick = effect_by_stratum(
        *arms, "native_spacing_mm", edges=[0.5, 2.0, 3.0], num_bootstrap=200, seed=0
    )
    assert thin.contrast.ci_low > 0
    assert thick.contrast.ci_low < 0 < thick.contrast.ci_high
    assert thin.num_cases + thick.num_cases == 300
    assert thin.contrast.num_cases == thin.num_cases


def test_each_word_of_a_column_of_words_is_a_stratum(arms):
    by_word = effect_by_stratum(*arms, "scanner", num_bootstrap=200, seed=0)
    assert [effect.stratum.word for effect in by_word] == ["a thin one", "thick slices"]
    by_number = effect_by_stratum(
        *arms, "native_spacing_mm", edges=[0.5, 2.0, 3.0], num_bootstrap=200, seed=0
    )
    for word, number in zip(by_word, by_number, strict=True):
        assert (word.num_cases, word.contrast) == (number.num_cases, number.contrast)


@pytest.mark.parametrize(("num_values", "num_strata"), [(2, 2), (4, 4), (5, 3)])
def test_a_few_values_are_a_stratum_each_and_more_are_binned(arms, num_values, num_strata):
    number = arms[0]["id"].str.removeprefix("case").astype(int)
    graded = [arm.assign(grade=1 + number % num_values) for arm in arms]
    effects = effect_by_stratum(*graded, "grade", num_bootstrap=20, seed=0)
    assert len(effects) == num_strata
    assert sum(effect.num_cases for effect in effects) == 300
    if num_strata == num_values:
        bounds = [(effect.stratum.low, effect.stratum.high) for effect in effects]
        assert bounds == [(1 + n, 1 + n) for n in range(num_values)]


def test_a_property_of_positives_sets_them_against_all_negatives(arms):
    strata = effect_by_stratum(*arms, "diameter_mm", positives_only=True, num_bootstrap=50, seed=0)
    labels = arms[0].drop_duplicates("id")["label"]
    assert len(strata) == 3
    assert sum(stratum.num_cases for stratum in strata) == labels.sum()
    for stratum in strata:
        assert stratum.contrast.num_cases == stratum.num_cases + (labels == 0).sum()


def test_one_stratum_of_everything_is_the_contrast_itself(arms):
    (whole,) = effect_by_stratum(
        *arms, "native_spacing_mm", edges=[0, 10], num_bootstrap=100, seed=0
    )
    assert whole.contrast == compare_arms(*arms, num_bootstrap=100, seed=0)
    same = [table.assign(native_spacing_mm=1.0) for table in arms]
    (only,) = effect_by_stratum(*same, "native_spacing_mm", num_bootstrap=100, seed=0)
    assert only.num_cases == 300


def test_a_stratum_with_too_little_has_no_contrast(arms):
    strata = effect_by_stratum(*arms, "diameter_mm", edges=[-1, 1, 20], num_bootstrap=20, seed=0)
    assert [stratum.contrast for stratum in strata] == [None, None]


def test_a_missing_or_unfilled_column_is_refused(arms):
    with pytest.raises(EvidenceError, match="no column 'age'"):
        effect_by_stratum(*arms, "age", seed=0)
    unfilled = arms[0].assign(age=float("nan"))
    with pytest.raises(EvidenceError, match="finite"):
        effect_by_stratum(unfilled, unfilled, "age", seed=0)
    unnamed = arms[0].assign(scanner=arms[0]["scanner"].where(arms[0]["label"] == 1, ""))
    with pytest.raises(EvidenceError, match="or a word"):
        effect_by_stratum(unnamed, unnamed, "scanner", seed=0)


def test_the_slope_is_the_change_for_each_doubling_of_the_voxel():
    aucs = {1.25: [0.92, 0.90], 2.5: [0.89], 5.0: [0.87, 0.85]}
    assert slope_per_octave(aucs) == pytest.approx(-0.025)
    assert slope_per_octave({1.25: [0.9, 0.8]}) is None
