import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import ttest_1samp

from mlp_med.errors import EvidenceError
from mlp_med.evidence.convergence import Convergence, judge_convergence

MARGIN = 0.01


def judge(gains, budget=1000):
    at_budget = [0.8 + 0.01 * seed for seed in range(len(gains))]
    at_twice = [auc + gain for auc, gain in zip(at_budget, gains, strict=True)]
    return judge_convergence(at_budget, at_twice, budget_examples=budget, margin=MARGIN)


def test_an_arm_that_gains_nothing_is_converged():
    found = judge([0.0005, -0.0005, 0.0002])
    assert found.converged
    assert not found.rising
    assert not found.could_overturn(1e-9)
    assert found.examples_needed is None


def test_an_arm_that_gains_by_every_seed_is_rising():
    found = judge([0.02, 0.021, 0.019])
    assert found.rising
    assert found.could_overturn(0.5)


def test_seeds_that_disagree_tell_nothing_and_overturn_only_what_is_near():
    found = judge([0.01, -0.008, 0.001])
    assert not found.converged
    assert not found.rising
    assert found.could_overturn(2 * found.upper)
    assert not found.could_overturn(2 * found.upper + 1e-9)


def test_one_seed_never_shows_convergence():
    found = judge([0.0])
    assert math.isinf(found.upper)
    assert not found.converged
    assert found.could_overturn(1.0)
    assert Convergence.from_dict(found.to_dict()) == found


@given(st.lists(st.floats(-0.05, 0.05), min_size=2, max_size=8))
def test_the_bounds_are_those_of_the_paired_t_test(gains):
    found = judge(gains)
    if np.std(gains) < 1e-6:
        return
    interval = ttest_1samp(gains, 0).confidence_interval(0.90)  # two-sided 90 % = one-sided 95 %
    assert (found.lower, found.upper) == pytest.approx((interval.low, interval.high), abs=1e-9)


def test_more_is_missing_the_faster_an_arm_still_rises():
    slow, fast = judge([0.006, 0.0061]), judge([0.04, 0.041])
    assert slow.examples_needed < fast.examples_needed
    # 0.04 falls to 0.005 after three halvings; the pilot's own doubling comes before them.
    assert fast.examples_needed == 1000 * 2**5
    assert judge([0.3, 0.3], budget=10**6).examples_needed == 10**6 * 2**7


def test_pairs_that_do_not_fit_are_refused():
    with pytest.raises(EvidenceError, match="same seeds"):
        judge_convergence([0.8], [0.8, 0.9], budget_examples=1, margin=MARGIN)
    with pytest.raises(EvidenceError, match="finite"):
        judge_convergence([0.8], [float("nan")], budget_examples=1, margin=MARGIN)
