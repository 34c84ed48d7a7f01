import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from mlp_med.evidence.metrics import REPLICATES_AT_ONCE, aucs, num_pairs, resampled_aucs


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 60), st.integers(2, 6))
def test_agrees_with_scikit_learn_also_with_ties_and_weights(seed, num_cases, num_levels):
    rng = np.random.default_rng(seed)
    labels = np.arange(num_cases) % 2 == 0
    scores = rng.integers(num_levels, size=(3, num_cases)) / num_levels
    weights = rng.integers(1, 4, size=(num_cases, 2))
    np.testing.assert_allclose(
        aucs(labels, scores), [roc_auc_score(labels, vector) for vector in scores]
    )
    np.testing.assert_allclose(
        resampled_aucs(labels, scores, weights),
        [[roc_auc_score(labels, v, sample_weight=w) for w in weights.T] for v in scores],
    )


def test_a_weight_is_as_many_copies_of_the_case():
    rng = np.random.default_rng(0)
    labels, scores = np.arange(40) % 3 == 0, rng.random((1, 40))
    weights = rng.integers(0, 3, size=(40, REPLICATES_AT_ONCE + 5))
    copied = [aucs(np.repeat(labels, w), np.repeat(scores, w, axis=1))[0] for w in weights.T]
    np.testing.assert_allclose(resampled_aucs(labels, scores, weights)[0], copied)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000))
def test_a_monotone_transform_of_the_scores_changes_nothing(seed):
    rng = np.random.default_rng(seed)
    labels, scores = np.arange(30) % 2 == 0, rng.random((1, 30))
    assert aucs(labels, scores)[0] == aucs(labels, np.exp(scores) * 7 - 3)[0]
    assert aucs(labels, 1 - scores)[0] == pytest.approx(1 - aucs(labels, scores)[0])


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 5))
def test_with_folds_it_is_the_share_of_right_orders_within_them(seed, num_folds):
    rng = np.random.default_rng(seed)
    labels = np.arange(60) % 2 == 0
    folds = rng.permutation(np.arange(60) // 2 % num_folds).astype(int)
    scores = rng.integers(4, size=60) / 4
    pairs = [
        (scores[i] > scores[j]) + 0.5 * (scores[i] == scores[j])
        for i in np.flatnonzero(labels)
        for j in np.flatnonzero(~labels)
        if folds[i] == folds[j]
    ]
    assert num_pairs(labels, folds) == len(pairs)
    assert aucs(labels, scores[None], folds)[0] == pytest.approx(np.mean(pairs))


def test_the_scale_of_a_folds_scores_does_not_matter():
    rng = np.random.default_rng(0)
    labels, folds = rng.random(200) < 0.5, rng.integers(5, size=200)
    scores = rng.random((2, 200)) + 0.5 * labels
    on_own_scales = np.exp(scores * (1 + folds)) - 7 * folds
    np.testing.assert_allclose(aucs(labels, scores, folds), aucs(labels, on_own_scales, folds))
    assert not np.allclose(aucs(labels, scores), aucs(labels, on_own_scales))


def test_a_fold_of_one_class_adds_no_pair():
    labels, folds = np.array([1, 0, 1, 1]) > 0, np.array([0, 0, 1, 1])
    assert aucs(labels, np.array([[0.9, 0.1, 0.0, 0.0]]), folds)[0] == 1
    assert num_pairs(labels, folds) == 1


def test_a_class_without_weight_has_no_auc():
    labels = np.array([True, False])
    assert np.isnan(resampled_aucs(labels, np.array([[0.9, 0.1]]), np.array([[1], [0]]))).all()


def test_a_bootstrap_of_a_real_size_takes_seconds():
    rng = np.random.default_rng(0)
    labels, scores = rng.random(1000) < 0.3, rng.random((10, 1000))
    weights = rng.poisson(1, size=(1000, 2000)).astype(np.int32)
    started = time.process_time()
    resampled_aucs(labels, scores, weights)
    assert time.process_time() - started < 6  # 0.6 s where nothing else runs


def three_classes(rng, num_vectors, num_cases):
    labels = rng.permutation(np.arange(num_cases) % 3)
    scores = rng.integers(1, 6, size=(num_vectors, num_cases, 3)) / 5
    return labels, scores / scores.sum(axis=2, keepdims=True)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(3, 60))
def test_of_three_classes_it_is_scikit_learn_s_mean_of_each_against_the_rest(seed, num_cases):
    rng = np.random.default_rng(seed)
    labels, scores = three_classes(rng, 2, num_cases)
    expected = [roc_auc_score(labels, v, multi_class="ovr", average="macro") for v in scores]
    np.testing.assert_allclose(aucs(labels, scores), expected)
    weights = rng.integers(1, 4, size=(num_cases, 2))
    copied = [aucs(np.repeat(labels, w), np.repeat(scores, w, axis=1)) for w in weights.T]
    np.testing.assert_allclose(resampled_aucs(labels, scores, weights), np.transpose(copied))


def test_of_three_classes_a_resample_that_lacks_one_has_no_value():
    labels, scores = three_classes(np.random.default_rng(0), 1, 30)
    weights = np.column_stack([np.ones(30), labels != 2])
    found = resampled_aucs(labels, scores, weights)[0]
    assert np.isfinite(found).tolist() == [True, False]


def test_two_classes_as_two_columns_are_one_task():
    rng = np.random.default_rng(1)
    labels, score = np.arange(40) % 3 == 0, rng.random((2, 40))
    both = np.stack([1 - score, score], axis=-1)
    np.testing.assert_allclose(aucs(labels.astype(int), both), aucs(labels, score))


def test_the_pairs_of_three_classes_are_those_of_each_against_the_rest():
    labels = np.array([0, 0, 1, 2, 2, 2])
    assert num_pairs(labels) == 2 * 4 + 1 * 5 + 3 * 3
    folds = np.array([0, 1, 0, 0, 1, 1])
    assert num_pairs(labels, folds) == (1 * 2 + 1 * 2) + (1 * 2) + (1 * 2 + 2 * 1)
