import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import softmax
from sklearn.metrics import log_loss, roc_auc_score

from mlp_med.training.evaluation import evaluate_logits

logit = st.floats(-30, 30, width=32).map(lambda value: round(value, 1))
example = st.tuples(logit, st.integers(0, 1))


@given(st.lists(example, min_size=2, max_size=40))
def test_figures_equal_those_of_scikit_learn(examples):
    logits = np.array([value for value, _ in examples], np.float32)
    labels = np.array([label for _, label in examples], np.float32)
    result = evaluate_logits(logits, labels)
    scores = 1 / (1 + np.exp(-logits.astype(np.float64)))
    expected = log_loss(labels, scores, labels=[0, 1])
    assert result.loss == pytest.approx(expected, rel=1e-4, abs=1e-6)
    if len(set(labels)) == 2:
        assert result.auc == pytest.approx(roc_auc_score(labels, logits))
    else:
        assert math.isnan(result.auc)


def test_logits_that_are_not_numbers_have_no_auc():
    result = evaluate_logits(np.array([0.0, np.nan]), np.array([0.0, 1.0]))
    assert math.isnan(result.auc)
    assert math.isnan(result.loss)


def test_very_sure_logits_do_not_overflow():
    result = evaluate_logits(np.array([-1e4, 1e4], np.float32), np.array([1.0, 1.0], np.float32))
    assert result.loss == pytest.approx(5e3)


def test_each_logit_needs_its_label():
    with pytest.raises(ValueError, match="one label an example"):
        evaluate_logits(np.zeros(3), np.zeros(4))


@settings(deadline=None)
@given(st.integers(0, 10_000), st.integers(6, 40))
def test_figures_of_three_classes_equal_those_of_scikit_learn(seed, num_examples):
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(num_examples) % 3)
    logits = rng.normal(size=(num_examples, 3)) + rng.normal(size=(num_examples, 1))
    scores = softmax(logits, axis=1)
    result = evaluate_logits(logits, labels.astype(np.float32))
    assert result.loss == pytest.approx(log_loss(labels, scores), rel=1e-4)
    macro = roc_auc_score(labels, scores, multi_class="ovr", average="macro")
    assert result.auc == pytest.approx(macro, abs=1e-6)


def test_of_three_classes_one_that_is_absent_leaves_no_auc():
    result = evaluate_logits(np.eye(3), np.array([0.0, 1.0, 1.0]))
    assert math.isnan(result.auc)
    assert math.isfinite(result.loss)
