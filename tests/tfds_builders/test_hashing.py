import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tfds_builders.hashing import digest_of, hash_fraction


@given(st.lists(st.text()), st.lists(st.text()))
def test_only_equal_lists_have_equal_digests(one: list[str], other: list[str]) -> None:
    assert (digest_of(one) == digest_of(other)) == (one == other)


@given(st.text(), st.text())
def test_fractions_lie_below_one_and_do_not_change(text: str, salt: str) -> None:
    assert 0 <= hash_fraction(text, salt) < 1
    assert hash_fraction(text, salt) == hash_fraction(text, salt)


def test_a_fraction_is_the_same_on_every_machine() -> None:
    assert hash_fraction("patient 1", "split") == 0.0865628984979051


def test_fractions_of_two_salts_are_uniform_and_independent() -> None:
    ids = [f"id {number}" for number in range(5000)]
    one = np.array([hash_fraction(text, "one") for text in ids])
    two = np.array([hash_fraction(text, "two") for text in ids])
    assert np.abs(np.sort(one) - np.linspace(0, 1, len(ids))).max() < 0.03
    assert abs(np.corrcoef(one, two)[0, 1]) < 0.05
