import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from mlp_med.errors import EvidenceError
from mlp_med.evidence.contrast import compare_arms, estimate_arm
from mlp_med.evidence.simulation import SimulatedStudy, simulate_arms

STUDY = SimulatedStudy(effect=0.03, num_patients=120, max_cases_per_patient=3)


@pytest.fixture(scope="module")
def arms():
    return simulate_arms(STUDY, 1)


def hash_of(text):
    return sum(text.encode())


def compare(a, b, num_bootstrap=400):
    return compare_arms(a, b, num_bootstrap=num_bootstrap, seed=0)


def test_every_number_of_a_contrast(arms):
    contrast = compare(*arms)
    assert contrast.effect == contrast.arm_a.mean_auc - contrast.arm_b.mean_auc
    assert contrast.ci_low < contrast.effect < contrast.ci_high
    assert contrast.num_patients == contrast.num_clusters == 120
    assert contrast.num_cases == arms[0]["id"].nunique()
    assert contrast.num_seeds == (5, 5)
    assert not contrast.exploratory
    with_label = arms[0].groupby("label")["patient"].nunique()
    assert contrast.patient_degrees_of_freedom == with_label.min() - 1
    assert contrast.cross_check_method == "Obuchowski 1997"
    assert contrast.cross_check_standard_error == pytest.approx(contrast.standard_error, rel=0.1)
    truncated = contrast.case_variance + contrast.seed_variance
    assert contrast.standard_error**2 == pytest.approx(truncated, rel=1e-6)


def test_folds_on_scales_of_their_own_are_compared_within(arms):
    folds = [table["patient"].map(lambda patient: hash_of(patient) % 5) for table in arms]
    folded = [table.assign(fold=fold) for table, fold in zip(arms, folds, strict=True)]
    bent = [table.assign(score=table["score"] ** (1 + table["fold"])) for table in folded]
    assert compare(*bent) == compare(*folded)
    contrast = compare(*folded)
    assert contrast.num_patients == 120  # patients of all folds are resampled
    assert contrast.effect == pytest.approx(compare(*arms).effect, abs=0.02)
    assert contrast.cross_check_standard_error == pytest.approx(contrast.standard_error, rel=0.1)
    without = [table.drop(columns="fold") for table in bent]
    assert compare(*without).arm_a.mean_auc < contrast.arm_a.mean_auc - 0.01


def test_arms_of_other_folds_are_refused(arms):
    folded = [table.assign(fold=number) for number, table in enumerate(arms)]
    with pytest.raises(EvidenceError, match="one fold in arm a and another in arm b"):
        compare(*folded)


def test_equal_calls_give_equal_contrasts_whatever_the_order_of_rows(arms):
    shuffled = [table.sample(frac=1, random_state=3) for table in arms]
    assert compare(*shuffled) == compare(*arms)


@settings(max_examples=5, deadline=None)
@given(st.integers(0, 1000))
def test_swapping_the_arms_negates_effect_and_interval(seed):
    a, b = simulate_arms(STUDY, seed)
    forth, back = compare(a, b, 100), compare(b, a, 100)
    assert back.effect == pytest.approx(-forth.effect)
    assert back.ci_low == pytest.approx(-forth.ci_high)
    assert back.ci_high == pytest.approx(-forth.ci_low)


def test_identical_arms_have_no_effect_but_an_interval(arms):
    contrast = compare(arms[0], arms[0])
    assert contrast.effect == 0
    assert contrast.ci_low < 0 < contrast.ci_high
    assert contrast.ci_low == pytest.approx(-contrast.ci_high)


def test_a_monotone_transform_of_the_scores_changes_nothing(arms):
    a, b = (table.astype({"score": "float64"}) for table in arms)
    squared = a.assign(score=a["score"] ** 2)
    assert compare(squared, b) == compare(a, b)


def test_permuted_labels_are_at_chance_and_the_interval_holds_zero(arms):
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(12):
        ids = arms[0]["id"].unique()
        labels = dict(
            zip(ids, rng.permutation(arms[0].groupby("id")["label"].first()), strict=True)
        )
        a, b = (table.assign(label=table["id"].map(labels)) for table in arms)
        contrast = compare(a, b, 100)
        assert contrast.arm_a.mean_auc == pytest.approx(0.5, abs=0.15)
        held += contrast.ci_low <= 0 <= contrast.ci_high
    assert held >= 10


def doubled(table: pd.DataFrame, patient=None) -> pd.DataFrame:
    copy = table.assign(id=table["id"] + " again")
    return pd.concat([table, copy if patient is None else copy.assign(patient=patient(copy))])


def test_doubled_cases_shrink_the_naive_error_but_not_the_clustered(arms):
    once = compare(*arms)
    clustered = compare(*map(doubled, arms))
    assert clustered.effect == pytest.approx(once.effect)
    assert clustered.standard_error == pytest.approx(once.standard_error, rel=0.01)
    naive = compare(*(doubled(table).assign(patient="") for table in arms))
    assert naive.case_variance < 0.7 * once.case_variance
    assert naive.exploratory
    assert naive.num_patients is None
    assert naive.cross_check_method == "DeLong 1988"


def test_one_case_a_patient_is_checked_by_delong():
    contrast = compare(*simulate_arms(SimulatedStudy(num_patients=300), 2), num_bootstrap=1000)
    assert contrast.cross_check_method == "DeLong 1988"
    assert contrast.cross_check_standard_error == pytest.approx(contrast.standard_error, rel=0.1)


def test_with_one_seed_there_is_an_effect_but_no_interval(arms):
    single = arms[0][arms[0]["seed"] == 0]
    contrast = compare(single, arms[1])
    assert contrast.num_seeds == (1, 5)
    assert contrast.seed_variance is None
    assert contrast.standard_error is contrast.ci_low is contrast.ci_high is None
    assert contrast.case_variance > 0
    assert contrast.cross_check_standard_error**2 == pytest.approx(contrast.case_variance, rel=0.2)


def test_unequal_numbers_of_seeds(arms):
    fewer = arms[1][arms[1]["seed"] < 2]
    contrast = compare(arms[0], fewer)
    assert contrast.num_seeds == (5, 2)
    assert contrast.standard_error > compare(*arms).standard_error * 0.9


def test_seeds_that_all_agree_leave_the_patients_variance(arms):
    a, b = (
        pd.concat([table[table["seed"] == 0].assign(seed=seed) for seed in range(3)])
        for table in arms
    )
    contrast = compare(a, b)
    assert contrast.seed_variance == 0
    assert contrast.standard_error**2 == pytest.approx(contrast.case_variance)
    assert contrast.degrees_of_freedom == pytest.approx(contrast.patient_degrees_of_freedom)


def test_where_nothing_varies_there_is_no_interval(arms):
    perfect = arms[0].assign(score=arms[0]["label"].astype(float))
    contrast = compare(perfect, perfect)
    assert contrast.effect == 0
    assert contrast.standard_error is contrast.ci_low is None
    assert compare(perfect, arms[1]).ci_low > 0


def test_an_arm_alone(arms):
    estimate = estimate_arm(arms[0], num_bootstrap=400, seed=0)
    assert estimate.seeds == (0, 1, 2, 3, 4)
    assert estimate.mean_auc == pytest.approx(np.mean(estimate.aucs))
    assert 0 < estimate.ci_low < estimate.mean_auc < estimate.ci_high < 1
    single = estimate_arm(arms[0][arms[0]["seed"] == 0], num_bootstrap=50, seed=0)
    assert single.ci_low is None
    assert len(single.aucs) == 1


def test_an_arm_near_one_keeps_its_interval_below_one():
    near_one = SimulatedStudy(auc=0.99, seed_sd=(0.005, 0.005), num_patients=60)
    estimate = estimate_arm(simulate_arms(near_one, 0)[1], num_bootstrap=200, seed=0)
    below, above = estimate.mean_auc - estimate.ci_low, estimate.ci_high - estimate.mean_auc
    assert estimate.ci_high <= 1
    assert below > above


def three_class_arms(strengths, num_patients=120, num_seeds=5, effect_of_patient=1.0):
    """Two arms on the same cases; a network of more strength separates the classes better."""
    rng = np.random.default_rng(3)
    patients = np.repeat(np.arange(num_patients), 2)
    labels = rng.choice(3, p=[0.4, 0.3, 0.3], size=len(patients))
    shared = effect_of_patient * rng.standard_normal((num_patients, 3))[patients]
    tables = []
    for strength in strengths:
        rows = []
        for seed in range(num_seeds):
            logits = strength * np.eye(3)[labels] + shared
            logits += 0.5 * rng.standard_normal(logits.shape)
            scores = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
            rows.append(
                pd.DataFrame(
                    {
                        "id": [f"c{i:03d}" for i in range(len(labels))],
                        "patient": patients.astype(str),
                        "seed": seed,
                        "label": labels,
                        **{f"score_{k}": scores[:, k] for k in range(3)},
                    }
                )
            )
        tables.append(pd.concat(rows, ignore_index=True))
    return tables


def test_of_three_classes_the_contrast_is_of_macro_aucs():
    better, worse = three_class_arms([2.0, 1.0])
    contrast = compare(better, worse)
    score = ["score_0", "score_1", "score_2"]
    of_seeds = [
        np.mean(
            [
                roc_auc_score(rows["label"], rows[score], multi_class="ovr", average="macro")
                for _, rows in table.groupby("seed")
            ]
        )
        for table in (better, worse)
    ]
    assert contrast.effect == pytest.approx(of_seeds[0] - of_seeds[1])
    assert 0 < contrast.ci_low < contrast.effect < contrast.ci_high
    assert contrast.cross_check_method == "Obuchowski 1997, over classes"
    assert contrast.cross_check_standard_error == pytest.approx(contrast.standard_error, rel=0.1)
    with_class = better.groupby("label")["patient"].nunique()
    assert contrast.patient_degrees_of_freedom == with_class.min() - 1
    turned = compare(worse, better)
    assert turned.effect == pytest.approx(-contrast.effect)
    assert estimate_arm(better, seed=0).mean_auc == pytest.approx(of_seeds[0])


def test_the_interval_of_macro_aucs_holds_the_truth_about_as_often_as_it_says():
    """Two arms that are the same: seeds and patients differ, and the true effect is nothing."""
    held = []
    for repeat in range(40):
        rng = np.random.default_rng(repeat)
        first, second = three_class_arms([1.0, 1.0], num_patients=40, num_seeds=3)
        order = rng.permutation(6)
        both = pd.concat([first, second.assign(seed=second["seed"] + 3)])
        drawn = [both[both["seed"].isin(part)] for part in (order[:3], order[3:])]
        contrast = compare(*drawn, num_bootstrap=200)
        held.append(contrast.ci_low <= 0 <= contrast.ci_high)
    assert np.mean(held) > 0.85
