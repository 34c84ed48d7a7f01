import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlp_med.errors import EvidenceError
from mlp_med.evidence.choice import Option, choose, frontier
from mlp_med.evidence.simulation import SimulatedStudy, simulate_arms

BETTER, WORSE = simulate_arms(SimulatedStudy(effect=0.1, num_patients=80), seed=1)


def option(name, predictions, validation_auc, memory_bytes, seconds=60.0):
    return Option(
        name=name,
        predictions=predictions,
        validation_auc=validation_auc,
        memory_bytes=memory_bytes,
        seconds=seconds,
        num_cells=5,
    )


FINE = option("fine", BETTER, 0.9, 1000, 100.0)
COARSE = option("coarse", WORSE, 0.8, 100, 10.0)


def test_without_a_limit_the_best_is_taken_and_nothing_lost():
    choice = choose([COARSE, FINE], seed=0)
    assert choice.taken is FINE
    assert choice.loss is None
    assert choice.num_fitting == 2
    assert choice.estimate.ci_low < choice.estimate.mean_auc < choice.estimate.ci_high


@pytest.mark.parametrize("limits", [{"memory_bytes": 999}, {"seconds": 99.0}])
def test_a_limit_costs_what_the_best_had_more_on_the_same_cases(limits):
    choice = choose([COARSE, FINE], seed=0, **limits)
    assert (choice.taken, choice.without_limit) == (COARSE, FINE)
    fine = choose([FINE], seed=0).estimate.mean_auc
    assert choice.loss.effect == pytest.approx(fine - choice.estimate.mean_auc)
    assert choice.loss.ci_low < choice.loss.effect < choice.loss.ci_high


def test_what_just_fits_fits():
    assert choose([COARSE, FINE], memory_bytes=1000, seconds=100.0, seed=0).taken is FINE


def test_the_choice_does_not_look_at_the_test_split():
    # The arm that validates best is taken, even where the other tests better.
    lucky = option("lucky", BETTER, 0.7, 100)
    assert choose([lucky, COARSE], seed=0).taken is COARSE


def test_of_equals_the_one_of_less_memory_is_taken():
    cheap = option("cheap", BETTER, 0.9, 500, 100.0)
    assert choose([FINE, cheap], seed=0).taken is cheap


def test_nothing_that_fits_is_refused_with_the_least_there_was():
    with pytest.raises(EvidenceError, match=r"none of 2 .* 100 bytes \(coarse\).*10 s \(coarse\)"):
        choose([FINE, COARSE], memory_bytes=99, seed=0)
    with pytest.raises(EvidenceError, match="at least one"):
        choose([], seed=0)


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20)), min_size=1, max_size=30))
def test_no_point_beats_one_on_the_frontier_and_each_other_is_beaten(points):
    costs, gains = map(list, zip(*points, strict=True))
    front = frontier(costs, gains)
    assert list(np.diff([costs[i] for i in front]) > 0) == [True] * (len(front) - 1)
    for i in range(len(points)):
        beaten = any(
            costs[j] <= costs[i] and gains[j] >= gains[i] and points[j] != points[i]
            for j in range(len(points))
        )
        assert beaten == (points[i] not in [points[j] for j in front])
