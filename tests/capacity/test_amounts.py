import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlp_med.capacity.amounts import UNITS, parse_bytes, show_bytes
from mlp_med.errors import CapacityError


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("16GB", 16 * 10**9),
        ("80GiB", 80 * 2**30),
        ("80 gib", 80 * 2**30),
        ("1.5 MB", 1_500_000),
        ("512", 512),
        ("2e9", 2 * 10**9),
        ("0.1GB", 100_000_000),
    ],
)
def test_amounts_as_people_write_them(text, expected):
    assert parse_bytes(text) == expected


@pytest.mark.parametrize(
    "text", ["", "GB", "-3GB", "16 GX", "16Gb/s", "nan", "0GB", "1e999GB", "٣GB"]
)
def test_what_is_no_amount_is_refused_with_an_example(text):
    with pytest.raises(CapacityError, match=r"such as 16GB|at least one byte"):
        parse_bytes(text)


@given(st.integers(1, 10**24), st.sampled_from([unit for unit in UNITS if unit]))
def test_a_whole_number_of_a_unit_is_exact(number, unit):
    assert parse_bytes(f"{number}{unit}") == number * UNITS[unit]


@pytest.mark.parametrize(
    ("num_bytes", "expected"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (2_599_556, "2.60 MB"),
        (16_777_216, "16.8 MB"),
        (105 * 10**9, "105 GB"),
        (999_400_000, "999 MB"),
        (999_500_000, "1.00 GB"),
        (-1_500_000, "-1.50 MB"),
        (10**21, "1,000 EB"),
        (10**600, f"{10**582:,} EB"),
    ],
)
def test_bytes_for_a_reader(num_bytes, expected):
    assert show_bytes(num_bytes) == expected
