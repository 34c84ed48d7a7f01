from dataclasses import replace

import numpy as np
import pytest

from mlp_med.errors import DatasetError
from mlp_med.pipelines import folds
from mlp_med.pipelines.datasets import LUNA16
from mlp_med.pipelines.folds import OWN_SPLITS, load_splits, split_by_fold
from tests.pipelines.crops import random_examples

NUM_FOLDS, NUM_CASES = 10, 120  # of 40 patients
PATIENT = np.arange(NUM_CASES) // 3
WHOLE = replace(random_examples(LUNA16, 5.0, NUM_CASES), folds=PATIENT % NUM_FOLDS)


def test_each_case_is_tested_once_and_validated_once():
    rounds = [split_by_fold(WHOLE, fold) for fold in range(NUM_FOLDS)]
    for split in ("test", "validation"):
        ids = [case for found in rounds for case in found[split].ids]
        assert sorted(ids) == WHOLE.ids.tolist()
    for fold, found in enumerate(rounds):
        assert set(found["test"].folds) == {fold}
        assert set(found["validation"].folds) == {(fold + 1) % NUM_FOLDS}
        assert sum(len(examples) for examples in found.values()) == NUM_CASES


def test_no_patient_is_in_two_splits_of_a_round():
    for fold in range(NUM_FOLDS):
        patients = [set(split.patients) for split in split_by_fold(WHOLE, fold).values()]
        assert sum(map(len, patients)) == len(set.union(*patients)) == 40


def test_a_cases_image_and_label_stay_with_its_id():
    place = {case: row for row, case in enumerate(WHOLE.ids)}
    for split in split_by_fold(WHOLE, 4).values():
        rows = [place[case] for case in split.ids]
        np.testing.assert_array_equal(split.images, WHOLE.images[rows])
        np.testing.assert_array_equal(split.labels, WHOLE.labels[rows])


def test_without_a_fold_the_datasets_own_splits_are_read(monkeypatch):
    asked = []
    monkeypatch.setattr(folds, "load_split", lambda *of: asked.append(of[-1]) or WHOLE)
    load_splits("luna16", None, 5.0, OWN_SPLITS, scored="test")
    assert asked == ["train", "validation", "test"]
    asked.clear()
    train, validation, scored = load_splits("luna16", None, 5.0, 2, scored="validation")
    assert asked == ["all"]
    assert scored is validation
    assert not set(scored.ids) & set(train.ids)


@pytest.mark.parametrize(
    ("examples", "message"),
    [
        (replace(WHOLE, folds=np.full(NUM_CASES, OWN_SPLITS)), "got the folds none"),
        (replace(WHOLE, folds=PATIENT % 2), r"at least 3 folds, 1 among them.*\[0, 1\]"),
        (replace(WHOLE, folds=PATIENT % 3 + 2), r"folds, 1 among them, got the folds \[2, 3, 4\]"),
        (replace(WHOLE, folds=np.arange(NUM_CASES) % 10), "patient00000' is in two folds"),
        (replace(WHOLE, labels=(WHOLE.folds == 1).astype(np.int8)), "not every class"),
    ],
)
def test_what_cannot_be_cross_validated_is_refused(examples, message):
    with pytest.raises(DatasetError, match=message):
        split_by_fold(examples, 1)
