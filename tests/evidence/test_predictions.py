import numpy as np
import pandas as pd
import pytest

from mlp_med.errors import EvidenceError
from mlp_med.evidence.contrast import compare_arms
from mlp_med.evidence.predictions import class_arrays, scored_cases


def small_arm() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "id": ["a", "b", "c", "d"] * 2,
            "patient": ["p", "p", "q", "r"] * 2,
            "seed": [0] * 4 + [3] * 4,
            "label": [0, 1, 0, 1] * 2,
            "score": [0.1, 0.7, 0.4, 0.9, 0.2, 0.8, 0.85, 0.6],
        }
    )


def test_rows_in_any_order_give_the_same_arrays():
    shuffled = small_arm().sample(frac=1, random_state=1)
    arm = scored_cases(shuffled)
    assert arm.ids.tolist() == ["a", "b", "c", "d"]
    assert arm.seeds.tolist() == [0, 3]
    assert arm.labels.tolist() == [False, True, False, True]
    assert arm.patients.tolist() == [0, 0, 1, 2]
    assert arm.num_patients == 3
    assert arm.patients_known
    np.testing.assert_array_equal(arm.scores[1], [0.2, 0.8, 0.85, 0.6])


def test_unknown_patients_make_each_case_its_own():
    arm = scored_cases(small_arm().assign(patient=""))
    assert not arm.patients_known
    assert arm.num_patients == 4
    assert scored_cases(small_arm().assign(patient=None)).patients_known is False


def test_without_folds_all_cases_are_of_one():
    assert scored_cases(small_arm()).folds.tolist() == [0, 0, 0, 0]
    folded = small_arm().assign(fold=[7, 7, 2, 2] * 2)
    assert scored_cases(folded).folds.tolist() == [7, 7, 2, 2]


def with_cell(column, value, row=0):
    table = small_arm().astype({column: object})
    table.loc[row, column] = value
    return table.infer_objects()


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (small_arm().drop(columns="score"), "score missing"),
        (small_arm().iloc[:0], "no rows"),
        (small_arm().assign(score="0.5"), "must hold numbers"),
        (small_arm().assign(seed=0.5), "seed: integers"),
        (with_cell("score", float("nan")), "finite"),
        (with_cell("score", float("inf")), "finite"),
        (with_cell("score", 1.01), r"probability in \[0, 1\]"),
        (with_cell("score", -0.01), r"probability in \[0, 1\]"),
        (with_cell("label", 2), "expected 0 or 1"),
        (with_cell("label", 1), "more than one label"),
        (with_cell("id", "b"), "more than once for seed 0"),
        (with_cell("id", None), "no id"),
        (with_cell("patient", "z"), "more than one patient"),
        (small_arm().assign(patient=["", "p", "q", "r"] * 2), "Either all patients are known"),
        (small_arm().iloc[:-1], "seed 3 lacks 1 of 4 cases, such as 'd'"),
        (small_arm().assign(label=1), "needs both classes"),
    ],
)
def test_what_cannot_be_evidence_is_refused(table, message):
    with pytest.raises(EvidenceError, match=message):
        scored_cases(table, "the arm")


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (small_arm().replace({"id": {"a": "z"}}), "same test cases"),
        (small_arm().assign(label=[1, 0, 0, 1] * 2), "one label in arm a"),
        (small_arm().assign(patient=["p", "q", "q", "r"] * 2), "one patient in arm a"),
        (small_arm().assign(patient=""), "one patient in arm a"),
    ],
)
def test_arms_on_different_cases_are_refused(other, message):
    with pytest.raises(EvidenceError, match=message):
        compare_arms(small_arm(), other, seed=0)


def test_too_few_patients_of_a_class_are_refused():
    table = small_arm().assign(patient=["p", "p", "q", "p"] * 2)
    with pytest.raises(EvidenceError, match="1 patients have a positive"):
        compare_arms(table, table, seed=0)


def test_patients_known_in_one_arm_only_are_refused():
    own = small_arm().assign(patient=["p", "q", "r", "s"] * 2)
    with pytest.raises(EvidenceError, match="one patient in arm a"):
        compare_arms(own, own.assign(patient=""), seed=0)


def three_classes() -> pd.DataFrame:
    table = small_arm().drop(columns="score").assign(label=[0, 1, 2, 1] * 2)
    scores = np.random.default_rng(0).dirichlet([1, 1, 1], len(table))
    return table.assign(**{f"score_{k}": scores[:, k] for k in range(3)})


def test_of_three_classes_every_case_has_a_score_a_class():
    table = three_classes()
    arm = scored_cases(table.sample(frac=1, random_state=1))
    assert arm.labels.tolist() == [0, 1, 2, 1]
    assert arm.scores.shape == (2, 4, 3)
    expected = table[["score_0", "score_1", "score_2"]].to_numpy().reshape(2, 4, 3)
    np.testing.assert_array_equal(arm.scores, expected)
    labels, scores = class_arrays(table[table["seed"] == 3])
    assert labels.tolist() == [0, 1, 2, 1]
    np.testing.assert_array_equal(scores, expected[1])


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (three_classes().drop(columns="score_1"), "score_1 missing"),
        (three_classes().assign(score_1=1.5), r"score_1 1\.5.*softmax"),
        (three_classes().assign(score_2=float("nan")), "score_2 nan.*finite"),
        (three_classes().assign(label=[0, 1, 3, 1] * 2), "expected 0 or 1 or 2"),
        (three_classes().assign(label=[0, 1, 0, 1] * 2), "label 0 or 1; .*needs all 3 classes"),
        (small_arm().assign(label=[0, 1, 2, 1] * 2), "expected 0 or 1"),
    ],
)
def test_what_is_wrong_with_three_classes_is_told(table, message):
    with pytest.raises(EvidenceError, match=message):
        scored_cases(table)
