"""The difference of two arms in a figure that each training run has once: a time, a sharpness."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np
from scipy.special import stdtrit

from mlp_med.errors import EvidenceError
from mlp_med.evidence.variance import CONFIDENCE, NO_VARIANCE, satterthwaite


@dataclass(frozen=True)
class RunsContrast:
    """Mean over the runs of arm a minus that of arm b.

    Attributes:
        effect: the difference.
        ci_low, ci_high: two-sided 95 %; None where an arm has one run or nothing varies.
        degrees_of_freedom: Welch's; None without an interval.
        mean_a, mean_b: of either arm.
        num_runs: of arm a and arm b.
        horizon: of which times are shares; None of anything else.
    """

    effect: float
    ci_low: float | None
    ci_high: float | None
    degrees_of_freedom: float | None
    mean_a: float
    mean_b: float
    num_runs: tuple[int, int]
    horizon: float | None = None


def compare_runs(a: Sequence[float], b: Sequence[float]) -> RunsContrast:
    """Welch's interval (Biometrika 1947, 34:28–35): runs are independent, variances may differ.

    Args:
        a: one finite value a run of arm a.
        b: those of arm b.

    Raises:
        EvidenceError: an arm has no run, or a value is not finite.
    """
    first, second = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if not len(first) or not len(second):
        raise EvidenceError(f"Both arms need runs to compare; got {len(first)} and {len(second)}.")
    if not (np.isfinite(first).all() and np.isfinite(second).all()):
        raise EvidenceError("A run's value is not finite; look at its cell in the ledger.")
    mean_a, mean_b = float(first.mean()), float(second.mean())
    low = high = freedom = None
    number = len(first), len(second)
    if min(number) > 1:
        parts = [float(runs.var(ddof=1)) / len(runs) for runs in (first, second)]
        if sum(parts) > NO_VARIANCE:
            freedom = satterthwaite(parts, [runs - 1 for runs in number])
            reach = float(stdtrit(freedom, (1 + CONFIDENCE) / 2)) * sqrt(sum(parts))
            low, high = mean_a - mean_b - reach, mean_a - mean_b + reach
    return RunsContrast(mean_a - mean_b, low, high, freedom, mean_a, mean_b, number)
