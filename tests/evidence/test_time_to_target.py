"""Times to a target when some runs never reach it."""

from math import inf

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlp_med.errors import EvidenceError
from mlp_med.evidence.time_to_target import (
    DIVERGED,
    FollowUp,
    common_horizon,
    compare_times,
    follow_up,
    pseudo_observations,
    restricted_mean,
)

TIMES = st.floats(0.1, 100)
RUNS = st.lists(st.builds(FollowUp, TIMES, st.booleans()), min_size=2, max_size=8)


def reached(*times):
    return [FollowUp(time, True) for time in times]


def test_the_target_is_met_at_the_first_of_two_consecutive_evaluations():
    assert follow_up([1, 2, 3, 4, 5], [0.6, 0.8, 0.7, 0.8, 0.8], 0.8) == FollowUp(4, True)
    # once is luck; and at the last evaluation nothing has confirmed it
    assert follow_up([1, 2, 3], [0.7, 0.9, 0.7], 0.8) == FollowUp(3, False)
    assert follow_up([1, 2, 3], [0.7, 0.7, 0.9], 0.8) == FollowUp(3, False)


@pytest.mark.parametrize("times", [[], [2, 1], [1, 1], [1]])
def test_a_curve_that_is_none_is_refused(times):
    with pytest.raises(EvidenceError, match="must ascend"):
        follow_up(times, [0.5, 0.5], 0.8)


def test_the_kaplan_meier_curve_of_a_textbook_example():
    # Events at 6, 6, 6, 7, 10, 13, 16, 22, 23; censored at the others: Freireich et al. 1963, the
    # 6-MP arm; S(23) = 0.4482 there, and the mean to 23 weeks from its curve's steps.
    events = [6, 6, 6, 7, 10, 13, 16, 22, 23]
    censored = [6, 9, 10, 11, 17, 19, 20, 25, 32, 32, 34, 35]
    runs = [*reached(*events), *(FollowUp(time, False) for time in censored)]
    at_risk = {
        6: (21, 3),
        7: (17, 1),
        10: (15, 1),
        13: (12, 1),
        16: (11, 1),
        22: (7, 1),
        23: (6, 1),
    }
    area, survival, before = 0.0, 1.0, 0
    for time, (number, died) in at_risk.items():
        area, before = area + survival * (time - before), time
        survival *= 1 - died / number
    assert survival == pytest.approx(0.4482, abs=1e-4)
    assert restricted_mean(runs, 23) == pytest.approx(area)
    assert restricted_mean(runs, 30) == pytest.approx(area + 7 * survival)


@given(st.lists(TIMES, min_size=2, max_size=8), st.floats(1, 100))
def test_without_censoring_it_is_the_mean_of_the_times_cut_at_the_horizon(times, horizon):
    runs = reached(*times)
    cut = np.minimum(times, horizon)
    assert restricted_mean(runs, horizon) == pytest.approx(cut.mean())
    np.testing.assert_allclose(pseudo_observations(runs, horizon), cut, atol=1e-9 * horizon * 8)


@given(RUNS)
def test_a_run_that_diverged_counts_as_the_whole_horizon_and_is_not_dropped(runs):
    horizon = common_horizon(runs, [DIVERGED, FollowUp(1, True)])
    mean = restricted_mean(runs, horizon)
    more = [*runs, DIVERGED]
    assert restricted_mean(more, horizon) >= mean - 1e-9
    if all(run.reached for run in runs):
        expected = (len(runs) * mean + horizon) / len(more)
        assert restricted_mean(more, horizon) == pytest.approx(expected)
    # what is censored is credited with what its like did later; what diverged is not
    censored = [*runs, FollowUp(0.05, False)]
    assert restricted_mean(censored, horizon) <= restricted_mean(more, horizon) + 1e-9


def test_the_horizon_is_as_far_as_both_arms_were_followed():
    stopped = [FollowUp(10, False), FollowUp(8, True)]
    assert common_horizon(stopped, reached(3, 50)) == 10
    assert common_horizon(reached(3, 50), reached(1)) == 50
    assert common_horizon([DIVERGED, FollowUp(4, True)], reached(1)) == 4
    with pytest.raises(EvidenceError, match="beyond what both arms"):
        compare_times(stopped, reached(3, 50), 11)


@pytest.mark.parametrize("arm", [[], [DIVERGED]])
def test_arms_without_anything_to_follow_are_refused(arm):
    with pytest.raises(EvidenceError, match=r"no run|No run"):
        common_horizon(arm, arm)


def test_where_no_run_reaches_the_target_there_is_no_interval():
    short = [FollowUp(10, False)] * 5
    found = compare_times(short, short, common_horizon(short, short))
    assert (found.effect, found.ci_low, found.mean_a) == (0, None, 1)


def test_a_slower_arm_has_a_positive_effect_whatever_the_unit():
    slow, fast = reached(40, 50, 60), reached(10, 12, 11)
    found = compare_times(slow, fast, 100)
    assert found.effect == pytest.approx(0.39)
    assert 0 < found.ci_low < 0.39 < found.ci_high
    milli = [[FollowUp(run.time / 1000, True) for run in arm] for arm in (slow, fast)]
    assert compare_times(*milli, 0.1).ci_low == pytest.approx(found.ci_low)


def _simulated(rng, *, mean, followed, diverging):
    """Five runs: exponential times, seen at evaluations of a tenth of the follow-up."""
    times = rng.exponential(mean, 5)
    seen = np.ceil(times / (followed / 10)) * followed / 10
    return [
        DIVERGED if rng.random() < diverging else FollowUp(min(t, followed), bool(t <= followed))
        for t in seen
    ]


@pytest.mark.parametrize(("mean", "diverging"), [(0.8, 0.0), (0.5, 0.2)])
def test_arms_without_a_difference_are_told_apart_in_one_study_of_twenty_at_most(mean, diverging):
    rng = np.random.default_rng(5)
    false, number = 0, 400
    for _ in range(number):
        arms = [_simulated(rng, mean=mean, followed=1.0, diverging=diverging) for _ in "ab"]
        found = compare_times(*arms, common_horizon(*arms))
        false += found.ci_low is not None and (found.ci_low > 0 or found.ci_high < 0)
    # 5 % and three Monte Carlo standard errors; and not for want of ever deciding
    assert 0.01 < false / number < 0.05 + 3 * (0.05 * 0.95 / number) ** 0.5


def test_dropping_the_runs_that_stop_short_would_be_found_out():
    """Two arms of equal runs, one followed for half as long: what is wrong with dropping."""
    rng = np.random.default_rng(6)
    kept_effects, dropped_effects = [], []
    for _ in range(150):
        long, short = (_simulated(rng, mean=0.8, followed=f, diverging=0) for f in (1.0, 0.5))
        kept_effects.append(compare_times(long, short, common_horizon(long, short)).effect)
        means = [[run.time for run in arm if run.reached] or [0] for arm in (long, short)]
        dropped_effects.append(np.mean(means[0]) - np.mean(means[1]))
    assert abs(np.mean(kept_effects)) < 0.06  # evaluations of the two are not equally frequent
    assert np.mean(dropped_effects) > 0.15


def test_infinite_is_only_what_diverged():
    assert DIVERGED.time == inf
    assert not DIVERGED.reached
