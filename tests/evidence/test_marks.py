import numpy as np
import pandas as pd
import pytest

from mlp_med.evidence.mark_tables import FINDING_COLUMNS, MARK_COLUMNS
from mlp_med.evidence.marks import match_marks


def marks(*rows):
    return pd.DataFrame(rows, columns=MARK_COLUMNS)


def findings(*rows):
    return pd.DataFrame(rows, columns=FINDING_COLUMNS)


NODULES = findings(("a", 0, 0, 0, 6.0), ("a", 50, 0, 0, 8.0), ("b", 0, 0, 0, 4.0))
NONE = findings()
SERIES = ["a", "b", "c"]


def test_a_mark_hits_what_is_nearer_than_the_radius():
    found = match_marks(
        marks(("a", 2.9, 0, 0, 0.7), ("a", 53.9, 0, 0, 0.6), ("b", 2.0, 0, 0, 0.9)),
        NODULES,
        NONE,
        SERIES,
    )
    # At the radius itself it is a miss, and a false positive.
    np.testing.assert_array_equal(found.detections.lesion_scores, [0.7, 0.6, -np.inf])
    np.testing.assert_array_equal(found.detections.false_scores, [0.9])
    np.testing.assert_array_equal(found.detections.false_scans, [1])
    assert found.detections.num_scans == 3


def test_a_nodule_hit_twice_counts_once_with_the_highest_score():
    found = match_marks(
        marks(("a", 1, 0, 0, 0.3), ("a", 0, 1, 0, 0.8), ("a", 0, 0, 1, 0.5)), NODULES, NONE, SERIES
    )
    assert found.detections.lesion_scores[0] == 0.8
    assert found.ignored_double == 2
    assert not len(found.detections.false_scores)


def test_a_mark_on_two_nodules_finds_both():
    overlapping = findings(("a", 0, 0, 0, 10.0), ("a", 4, 0, 0, 10.0))
    found = match_marks(marks(("a", 2, 0, 0, 0.4)), overlapping, NONE, SERIES)
    np.testing.assert_array_equal(found.detections.lesion_scores, [0.4, 0.4])


def test_an_excluded_finding_is_irrelevant_and_its_unmeasured_diameter_is_10_mm():
    excluded = findings(("a", 100, 0, 0, -1.0), ("a", 0, 0, 0, 20.0))
    found = match_marks(
        marks(("a", 104.9, 0, 0, 0.9), ("a", 105.1, 0, 0, 0.8), ("a", 0, 0, 1, 0.7)),
        NODULES,
        excluded,
        SERIES,
    )
    np.testing.assert_array_equal(found.detections.false_scores, [0.8])
    assert found.ignored_on_excluded == 1  # the one on a nodule too is a hit
    assert found.detections.lesion_scores[0] == 0.7


def test_of_too_many_marks_those_above_the_first_that_is_too_many_count():
    scores = [0.9, 0.8, 0.5, 0.5, 0.5, 0.1]
    rows = [("c", 100 * number, 0, 0, score) for number, score in enumerate(scores)]
    limited = match_marks(marks(*rows), NODULES, NONE, SERIES, most_marks=3)
    np.testing.assert_array_equal(limited.detections.false_scores, [0.9, 0.8])
    assert (limited.num_marks, limited.over_limit) == (2, 4)
    assert match_marks(marks(*rows), NODULES, NONE, SERIES, most_marks=6).num_marks == 6
    assert match_marks(marks(*rows), NODULES, NONE, SERIES, most_marks=0).num_marks == 6


def test_rows_of_scans_that_were_not_read_are_left_out_and_counted():
    found = match_marks(marks(("b", 0, 0, 0, 0.9), ("z", 0, 0, 0, 0.9)), NODULES, NONE, ["b", "c"])
    assert found.unknown_scans == 1
    assert len(found.detections.lesion_scores) == 1
    assert len(found.lesions) == 1


@pytest.mark.parametrize("seed", range(3))
def test_the_order_of_rows_is_of_no_account(seed):
    generator = np.random.default_rng(seed)
    rows = [
        (str(generator.choice(SERIES)), *generator.normal(0, 3, 3), generator.random())
        for _ in range(60)
    ]
    table = marks(*rows)
    first = match_marks(table, NODULES, NONE, SERIES, most_marks=10)
    second = match_marks(table.sample(frac=1, random_state=seed), NODULES, NONE, SERIES, 10)
    np.testing.assert_array_equal(first.detections.lesion_scores, second.detections.lesion_scores)
    np.testing.assert_array_equal(
        np.sort(first.detections.false_scores), np.sort(second.detections.false_scores)
    )
