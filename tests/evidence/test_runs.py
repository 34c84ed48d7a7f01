import numpy as np
import pytest
from scipy.stats import ttest_ind

from mlp_med.errors import EvidenceError
from mlp_med.evidence.runs import compare_runs


def test_the_interval_is_welchs():
    a, b = np.array([4.0, 5.0, 7.0, 8.0]), np.array([1.0, 1.5, 2.5])
    found = compare_runs(a, b)
    expected = ttest_ind(a, b, equal_var=False)
    interval = expected.confidence_interval(0.95)
    assert found.degrees_of_freedom == pytest.approx(expected.df)
    assert (found.ci_low, found.ci_high) == pytest.approx((interval.low, interval.high))
    assert (found.mean_a, found.mean_b, found.num_runs) == (a.mean(), pytest.approx(5 / 3), (4, 3))


def test_one_arm_may_do_without_variance_but_not_both():
    assert compare_runs([1, 1, 1], [1, 2, 3]).ci_low is not None
    assert compare_runs([1, 1], [2, 2]).ci_low is None
    assert compare_runs([1], [2, 3]).ci_low is None


@pytest.mark.parametrize(("a", "b"), [([], [1]), ([np.nan], [1]), ([1], [np.inf])])
def test_what_cannot_be_compared_is_refused(a, b):
    with pytest.raises(EvidenceError):
        compare_runs(a, b)


@pytest.mark.parametrize("sds", [(1, 1), (3, 0.5)])
def test_no_difference_is_taken_for_one_in_five_percent(sds):
    rng = np.random.default_rng(0)
    number = 1500
    found = [compare_runs(*(rng.normal(0, sd, 5) for sd in sds)) for _ in range(number)]
    wrong = np.mean([each.ci_low > 0 or each.ci_high < 0 for each in found])
    assert 0.03 < wrong < 0.05 + 3 * (0.05 * 0.95 / number) ** 0.5
