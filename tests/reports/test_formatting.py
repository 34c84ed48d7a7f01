import pytest

from mlp_med.reports import formatting


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (formatting.auc(0.12345), "0.123"),
        (formatting.auc(None), "n/a"),
        (formatting.auc(float("nan")), "n/a"),
        (formatting.difference(-0.0204), "−0.020"),
        (formatting.difference(0.0204), "+0.020"),
        (formatting.interval(0.1, 0.2), "0.100 to 0.200"),
        (formatting.interval(-0.1, 0.2, signed=True), "−0.100 to +0.200"),
        (formatting.interval(None, 0.2), "n/a"),
        (formatting.value_range(1, 2.5, ends=False), "1 to <2.5"),
        (formatting.value_range(1, 2.5, ends=True), "1 to 2.5"),
        (formatting.value_range(2.5, 2.5, ends=True), "2.5"),
        (formatting.value_range(2011, 2019, ends=False), "2011 to <2019"),
        (formatting.duration(0.04), "<0.1 s"),
        (formatting.duration(3.14), "3.1 s"),
        (formatting.duration(119), "119 s"),
        (formatting.duration(120), "2 min"),
        (formatting.duration(7200), "2.0 h"),
        (formatting.duration(float("nan")), "n/a"),
        (formatting.memory(9.6e8), "960 MB"),
        (formatting.memory(1.234e9), "1.23 GB"),
        (formatting.memory(None), "n/a"),
        (formatting.count(12345), "12,345"),
        (formatting.percent(0.126), "13 %"),
    ],
)
def test_numbers_are_printed_as_people_read_them(text, expected):
    assert text == expected
