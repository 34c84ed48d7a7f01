"""Whether an arm had learned what it can: a pilot with twice the budget says.

The same seeds train at a budget and at twice that budget, each with the whole schedule, and are
scored on the validation split. The rise is the mean over seeds of the difference in validation AUC.
An arm is converged if the one-sided 95 % upper bound of its rise (Student's t over the pairs) is
below half the claim's margin. It is rising if the lower bound is above zero. Between the two lies
an arm of which the pilot cannot tell.

A curve within one run would not do: under a cosine schedule every curve rises while the learning
rate falls and is flat where it ends.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil, inf, isfinite, log2, sqrt
from typing import Any

import numpy as np
from scipy.special import stdtrit

from mlp_med.errors import EvidenceError

CONFIDENCE = 0.95  # one-sided
SHARE_OF_MARGIN = 0.5
MOST_DOUBLINGS = 10


@dataclass(frozen=True)
class Convergence:
    """What twice the budget brought an arm.

    Attributes:
        budget_examples: the budget that is judged; the pilot also trained twice that.
        rise: mean over the seeds of the gain in validation AUC.
        lower, upper: one-sided 95 % bounds of the rise, infinite with one seed.
        num_seeds: pairs of runs.
        margin: of the claim.
    """

    budget_examples: int
    rise: float
    lower: float
    upper: float
    num_seeds: int
    margin: float

    @property
    def converged(self) -> bool:
        """More training is shown to bring less than half the margin."""
        return self.upper < SHARE_OF_MARGIN * self.margin

    @property
    def rising(self) -> bool:
        """More training is shown to bring something, and not shown to bring little."""
        return not self.converged and self.lower > 0

    @property
    def examples_needed(self) -> int | None:
        """About how many examples the arm needs, if each doubling brings half of the one before.

        None where the arm is converged, or needs more than a thousand times its budget.
        """
        wanted = SHARE_OF_MARGIN * self.margin
        if self.converged or wanted <= 0:
            return None
        doublings = max(1, ceil(log2(max(self.rise, wanted) / wanted)) + 1)
        return self.budget_examples * 2**doublings if doublings <= MOST_DOUBLINGS else None

    def could_overturn(self, clearance: float) -> bool:
        """Whether training this arm on could close a gap of `clearance` AUC.

        A rising arm could. One that the pilot cannot tell of could if twice its upper bound closes
        the gap: the sum of all further doublings, if each brings at most half of the one before.
        """
        if self.converged:
            return False
        return self.rising or 2 * self.upper >= clearance

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; an infinite bound is None."""
        return {
            "budget_examples": self.budget_examples,
            "rise": self.rise,
            "lower": self.lower if isfinite(self.lower) else None,
            "upper": self.upper if isfinite(self.upper) else None,
            "num_seeds": self.num_seeds,
            "margin": self.margin,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Convergence":
        """Reads what `to_dict` wrote."""
        bounds = {"lower": -inf, "upper": inf}
        known = {name: values[name] for name in bounds if values[name] is not None}
        return cls(**{**values, **bounds, **known})


def judge_convergence(
    at_budget: Sequence[float],
    at_twice: Sequence[float],
    *,
    budget_examples: int,
    margin: float,
) -> Convergence:
    """Judges one arm.

    Args:
        at_budget: validation AUC a seed at the budget.
        at_twice: at twice the budget, the same seeds in the same order.
        budget_examples: the budget.
        margin: of the claim.

    Raises:
        EvidenceError: no pair, seeds that do not match, or an AUC that is not finite.
    """
    first, second = np.asarray(at_budget, np.float64), np.asarray(at_twice, np.float64)
    if first.shape != second.shape or first.ndim != 1 or not len(first):
        raise EvidenceError(
            f"A pilot needs the same seeds at both budgets; got {first.size} runs at "
            f"{budget_examples} examples and {second.size} at twice that."
        )
    if not (np.isfinite(first).all() and np.isfinite(second).all()):
        raise EvidenceError("A pilot's validation AUCs must be finite; rerun its cells.")
    gains = second - first
    rise, number = float(gains.mean()), len(gains)
    reach = inf
    if number > 1:
        error = float(gains.std(ddof=1)) / sqrt(number)
        reach = float(stdtrit(number - 1, CONFIDENCE)) * error
    return Convergence(budget_examples, rise, rise - reach, rise + reach, number, margin)
