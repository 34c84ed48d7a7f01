"""How long runs take to reach a target, when some never do: nothing is dropped.

A run has reached the target at the first of two consecutive evaluations that both meet it, since
one alone may be luck. A run that stops short is **censored**: it is known only to need longer than
it ran. A run that diverged is an event of another kind: it is known never to reach the target, so
it counts as the whole horizon and is not censored, which would credit it with what its like did.

Arms are compared by their restricted mean, the area under the Kaplan–Meier curve up to a common
horizon (Royston & Parmar, BMC Medical Research Methodology 2013, 13:152): the mean time that a run
takes, where at most the horizon counts. Each run's share of it is its pseudo-observation (Andersen,
Hansen & Klein, Lifetime Data Analysis 2004, 10:335–350): without censoring before the horizon, its
own time, cut at the horizon.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import inf

import numpy as np
from scipy.stats import CensoredData, ecdf

from mlp_med.errors import EvidenceError
from mlp_med.evidence.runs import RunsContrast, compare_runs


@dataclass(frozen=True)
class FollowUp:
    """One run on its way to the target.

    Attributes:
        time: at which the target was reached, or at which the run stopped short of it, or infinite
            where it diverged; in seconds or examples.
        reached: whether it was.
    """

    time: float
    reached: bool


DIVERGED = FollowUp(inf, False)


def follow_up(times: Sequence[float], values: Sequence[float], target: float) -> FollowUp:
    """What one run's curve says.

    Args:
        times: of its evaluations, ascending.
        values: of the metric there; larger is better.
        target: fixed before the run.

    Raises:
        EvidenceError: there is no evaluation, or the times do not ascend.
    """
    when, metric = np.asarray(times, np.float64), np.asarray(values, np.float64)
    if not len(when) or len(when) != len(metric) or (np.diff(when) <= 0).any() or when[0] < 0:
        raise EvidenceError(
            f"A run's curve needs a value at each of its times, which must ascend; got {len(when)} "
            f"times and {len(metric)} values. Read the curve from the ledger again."
        )
    met = metric >= target
    both = np.flatnonzero(met[:-1] & met[1:])
    if len(both):
        return FollowUp(float(when[both[0]]), True)
    return FollowUp(float(when[-1]), False)


def common_horizon(*arms: Sequence[FollowUp]) -> float:
    """The longest time to which every arm's curve is known: no arm is judged beyond what it ran.

    An arm's curve is known for ever if its last run ended by reaching the target or by diverging;
    else to where its longest run stopped short. Where all are known for ever, the last time at
    which a run of any arm reached the target.

    Raises:
        EvidenceError: an arm has no run, or no run of any arm was followed at all.
    """
    if not all(arms):
        raise EvidenceError("An arm has no run that was followed; train it before comparing times.")
    known = [_known_until(arm) for arm in arms]
    horizon = min(known)
    if horizon == inf:
        horizon = max((run.time for arm in arms for run in arm if run.reached), default=0.0)
    if horizon <= 0:
        raise EvidenceError(
            "No run reached the target, and none that did not was followed; there is no horizon to "
            "compare the arms up to."
        )
    return horizon


def restricted_mean(runs: Sequence[FollowUp], horizon: float) -> float:
    """Area under the Kaplan–Meier curve from 0 to the horizon, in the unit of the times."""
    times = np.array([min(run.time, horizon) for run in runs])
    reached = np.array([run.reached and run.time <= horizon for run in runs])
    if not reached.any():
        return float(horizon)
    survival = ecdf(CensoredData(uncensored=times[reached], right=times[~reached])).sf
    steps = np.clip(np.r_[0.0, survival.quantiles, horizon], 0.0, horizon)
    return float(np.diff(steps) @ np.r_[1.0, survival.probabilities])


def pseudo_observations(runs: Sequence[FollowUp], horizon: float) -> np.ndarray:
    """Each run's share of the restricted mean, [num_runs]; their mean estimates it without bias."""
    whole, number = restricted_mean(runs, horizon), len(runs)
    if number == 1:
        return np.array([whole])
    without = [
        restricted_mean([*runs[:left_out], *runs[left_out + 1 :]], horizon)
        for left_out in range(number)
    ]
    return number * whole - (number - 1) * np.array(without)


def compare_times(a: Sequence[FollowUp], b: Sequence[FollowUp], horizon: float) -> RunsContrast:
    """Restricted mean of arm a minus that of arm b, as shares of the horizon.

    Args:
        a: every run of arm a, those that diverged and those that stopped short among them.
        b: those of arm b.
        horizon: `common_horizon(a, b)`, or a shorter one that was fixed beforehand.

    Raises:
        EvidenceError: the horizon is beyond what an arm was followed to.
    """
    if not 0 < horizon <= min(map(_known_until, (a, b))):
        raise EvidenceError(
            f"The horizon {horizon:g} is beyond what both arms were followed to; take "
            f"{common_horizon(a, b):g} at most."
        )
    first, second = (pseudo_observations(arm, horizon) / horizon for arm in (a, b))
    return replace(compare_runs(first.tolist(), second.tolist()), horizon=horizon)


def _known_until(arm: Sequence[FollowUp]) -> float:
    longest = max((run.time for run in arm), default=0.0)
    censored_there = any(run.time == longest and not run.reached for run in arm)
    return longest if censored_there else inf
