import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlp_med.pipelines.order import example_indices, random_words


@settings(deadline=None)
@given(
    num_examples=st.integers(1, 40),
    seed=st.integers(0, 2**31 - 1),
    start=st.integers(0, 150),
    count=st.integers(0, 150),
)
def test_any_stretch_equals_the_same_stretch_of_the_whole(num_examples, seed, start, count):
    whole = example_indices(num_examples, seed=seed, start=0, count=start + count)
    part = example_indices(num_examples, seed=seed, start=start, count=count)
    np.testing.assert_array_equal(part, whole[start:])
    assert part.dtype == np.int64


@settings(deadline=None)
@given(num_examples=st.integers(1, 60), seed=st.integers(0, 2**31 - 1))
def test_each_epoch_is_a_permutation(num_examples, seed):
    order = example_indices(num_examples, seed=seed, start=0, count=3 * num_examples)
    for epoch in order.reshape(3, num_examples):
        np.testing.assert_array_equal(np.sort(epoch), np.arange(num_examples))


def test_epochs_and_seeds_have_orders_of_their_own():
    first, second = example_indices(500, seed=0, start=0, count=1000).reshape(2, 500)
    other = example_indices(500, seed=1, start=0, count=500)
    for a, b in ((first, second), (first, other), (first, np.arange(500))):
        assert np.mean(a == b) < 0.05


def test_the_order_is_the_same_for_ever():
    # Written down from the first version: a ledger's cells must be trainable again years later.
    assert example_indices(10, seed=7, start=5, count=10).tolist() == [3, 9, 1, 6, 5, 4, 9, 0, 8, 7]


def test_random_words_are_those_of_their_position():
    whole = random_words("augment", 3, start=0, count=50)
    np.testing.assert_array_equal(random_words("augment", 3, start=17, count=20), whole[17:37])
    assert len(np.unique(whole)) == whole.size
    assert not np.isin(random_words("order", 3, start=0, count=50), whole).any()


@pytest.mark.parametrize(("num_examples", "start", "count"), [(0, 0, 1), (5, -1, 1), (5, 0, -1)])
def test_impossible_stretches_are_refused(num_examples, start, count):
    with pytest.raises(ValueError, match="expected num_examples >= 1"):
        example_indices(num_examples, seed=0, start=start, count=count)
