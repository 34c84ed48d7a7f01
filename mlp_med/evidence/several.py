"""Several claims in one study: each by its own rule, in error together in 5 % of studies at most.

Holm's step-down correction (Scandinavian Journal of Statistics 1979, 6:65–70): the claims are
ranked by their two-sided p-values against their own margins; the smallest is held against 5 %
divided by the number of claims, the next by one less, and so on until one fails. It needs no
assumption on how the claims depend on each other. A claim that has no interval counts among them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from scipy.special import stdtr, stdtrit

from mlp_med.errors import EvidenceError
from mlp_med.evidence.claim import Claim
from mlp_med.evidence.variance import CONFIDENCE
from mlp_med.evidence.verdict import Outcome

ERROR_RATE = 1 - CONFIDENCE  # of all claims of a study together


class Estimated(Protocol):
    """An effect and its 95 % interval; None where there is no interval."""

    @property
    def effect(self) -> float: ...  # noqa: D102
    @property
    def ci_low(self) -> float | None: ...  # noqa: D102
    @property
    def ci_high(self) -> float | None: ...  # noqa: D102
    @property
    def degrees_of_freedom(self) -> float | None: ...  # noqa: D102


@dataclass(frozen=True)
class JudgedClaim:
    """One claim of several.

    Attributes:
        claim: as written before the run.
        estimate: its contrast; None where it could not be computed.
        outcome: None where there is no verdict; `reason` then says why.
        reason: "" with a verdict.
        p_value: two-sided, of the effect being the margin; None without an interval.
        adjusted_p_value: Holm's; at most 5 % where the claim is decided.
        divisor: of the 5 %, that Holm's procedure held this claim against.
        low, high: the interval at that level, by which the claim's rule decides.
        equivalent: refuted, and `low` is above −margin.
        reversed: refuted, and `high` is below −margin.
    """

    claim: Claim
    estimate: Estimated | None
    outcome: Outcome | None
    reason: str
    p_value: float | None
    adjusted_p_value: float | None
    divisor: int
    low: float | None
    high: float | None
    equivalent: bool
    reversed: bool


def judge_claims(
    claims: Sequence[Claim],
    estimates: Mapping[str, Estimated | None],
    reasons: Mapping[str, str],
) -> tuple[JudgedClaim, ...]:
    """Applies every claim's rule at Holm's level.

    Supported if the interval at that level lies above the margin, refuted if below, else
    inconclusive. With one claim this is the rule of `mlp_med.evidence.verdict`.

    Args:
        claims: of the study, all that were written before the run, in their order.
        estimates: by the claim's name; None or absent where it could not be computed.
        reasons: why a claim, by its name, must not be decided; absent or "" where it may.

    Raises:
        EvidenceError: two claims have the same name.
    """
    names = [claim.name for claim in claims]
    if len(set(names)) < len(names):
        raise EvidenceError(f"Several claims of a study need different names, not {names}.")
    p_values = {claim.name: _p_value(estimates.get(claim.name), claim.margin) for claim in claims}
    for name, reason in reasons.items():
        if reason:  # what must not be decided must not help another claim either
            p_values[name] = None
    adjusted, divisors = holm(
        {name: 1.0 if p_value is None else p_value for name, p_value in p_values.items()}
    )
    return tuple(
        _judge(
            claim,
            estimates.get(claim.name),
            reasons.get(claim.name, ""),
            p_values[claim.name],
            adjusted[claim.name],
            divisors[claim.name],
        )
        for claim in claims
    )


def holm(p_values: Mapping[str, float]) -> tuple[dict[str, float], dict[str, int]]:
    """Adjusted p-values, and the divisor of 5 % that each claim is held against.

    A claim behind the first that fails keeps that one's divisor: it is then not decided either.
    """
    ranked = sorted(p_values, key=lambda name: p_values[name])
    steps = len(ranked) - np.arange(len(ranked))
    stepped = np.maximum.accumulate(steps * np.array([p_values[name] for name in ranked]))
    adjusted = np.minimum(stepped, 1.0)
    num_decided = int((adjusted <= ERROR_RATE).sum())
    return (
        {name: float(value) for name, value in zip(ranked, adjusted, strict=True)},
        {
            name: int(steps[min(rank, num_decided, len(ranked) - 1)])
            for rank, name in enumerate(ranked)
        },
    )


def interval_at(estimate: Estimated, divisor: int) -> tuple[float, float] | None:
    """The interval at 95 %, of which the 5 % are divided: its reaches grow as t's quantiles do."""
    low, high, freedom = estimate.ci_low, estimate.ci_high, estimate.degrees_of_freedom
    if low is None or high is None or freedom is None:
        return None
    widened = _quantile(divisor, freedom) / _quantile(1, freedom)
    effect = estimate.effect
    return effect - widened * (effect - low), effect + widened * (high - effect)


def _quantile(divisor: int, freedom: float) -> float:
    return float(stdtrit(freedom, 1 - ERROR_RATE / (2 * divisor)))


def _p_value(estimate: Estimated | None, margin: float) -> float | None:
    """The p-value that is 5 % where the 95 % interval ends at the margin."""
    if estimate is None:
        return None
    low, high, freedom = estimate.ci_low, estimate.ci_high, estimate.degrees_of_freedom
    if low is None or high is None or freedom is None:
        return None
    distance = estimate.effect - margin
    reach = estimate.effect - low if distance > 0 else high - estimate.effect
    if reach <= 0:
        return 1.0 if distance == 0 else 0.0
    return 2 * float(stdtr(freedom, -abs(distance) / reach * _quantile(1, freedom)))


def _judge(
    claim: Claim,
    estimate: Estimated | None,
    reason: str,
    p_value: float | None,
    adjusted: float,
    divisor: int,
) -> JudgedClaim:
    interval = interval_at(estimate, divisor) if estimate else None
    if not reason and interval is None:
        reason = "there is no interval: too few runs, or nothing varies between them"
    low, high = interval or (None, None)
    outcome: Outcome | None = None
    if not reason and low is not None and high is not None:
        outcome = "inconclusive"
        if adjusted <= ERROR_RATE and estimate is not None:
            outcome = "supported" if estimate.effect > claim.margin else "refuted"
    refuted = outcome == "refuted"
    return JudgedClaim(
        claim=claim,
        estimate=estimate,
        outcome=outcome,
        reason=reason,
        p_value=p_value,
        adjusted_p_value=None if p_value is None else adjusted,
        divisor=divisor,
        low=low,
        high=high,
        equivalent=refuted and low is not None and low > -claim.margin,
        reversed=refuted and high is not None and high < -claim.margin,
    )
