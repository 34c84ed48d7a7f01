"""Which of the trained arms to take within a budget, and what the budget costs.

The arm is chosen by its validation AUC and reported by its test AUC, so that what is reported was
not picked for being high. Nothing is interpolated between arms: only what was trained is offered.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import pandas as pd

from mlp_med.errors import EvidenceError
from mlp_med.evidence.contrast import ArmEstimate, Contrast, compare_arms, estimate_arm


@dataclass(frozen=True, kw_only=True)
class Option:
    """An arm that was trained.

    Attributes:
        name: for a reader.
        predictions: on the test split, all its seeds.
        validation_auc: mean over its cells of the best on the way.
        memory_bytes: the peak of training one of its cells.
        seconds: of training one.
        num_cells: finished ones that all this rests on.
    """

    name: str
    predictions: pd.DataFrame = field(repr=False, compare=False)
    validation_auc: float
    memory_bytes: int
    seconds: float
    num_cells: int


@dataclass(frozen=True)
class Choice:
    """The best within the budget, beside the best of all.

    Attributes:
        taken: of those that fit, the one that validated best.
        estimate: its test AUC, with the interval over patients and seeds.
        without_limit: the one that validated best of all.
        loss: test AUC of `without_limit` minus that of `taken`; None where they are the same.
        num_fitting: options within the budget.
    """

    taken: Option
    estimate: ArmEstimate
    without_limit: Option
    loss: Contrast | None
    num_fitting: int


def choose(
    options: Sequence[Option],
    *,
    memory_bytes: int | None = None,
    seconds: float | None = None,
    seed: int,
) -> Choice:
    """The best option within the budget.

    Args:
        options: at least one.
        memory_bytes: most that one may take; None for any.
        seconds: longest that one may train; None for any.
        seed: of the resampling.

    Raises:
        EvidenceError: nothing fits, or the arms' test cases differ.
    """
    if not options:
        raise EvidenceError("expected at least one trained arm to choose from, got none")
    fitting = [each for each in options if fits(each, memory_bytes, seconds)]
    if not fitting:
        least = min(options, key=lambda each: each.memory_bytes)
        quickest = min(options, key=lambda each: each.seconds)
        limits = [] if memory_bytes is None else [f"{memory_bytes:,} bytes"]
        limits += [] if seconds is None else [f"{seconds:,.6g} s"]
        raise EvidenceError(
            f"none of {len(options)} trained arms is within the budget of {' and '.join(limits)}: "
            f"the least memory was {least.memory_bytes:,} bytes ({least.name}), "
            f"the shortest training {quickest.seconds:,.0f} s ({quickest.name})"
        )
    taken, without_limit = best(fitting), best(options)
    loss = None
    if taken is not without_limit:
        loss = compare_arms(without_limit.predictions, taken.predictions, seed=seed)
    estimate = estimate_arm(taken.predictions, seed=seed)
    return Choice(taken, estimate, without_limit, loss, len(fitting))


def fits(option: Option, memory_bytes: int | None, seconds: float | None) -> bool:
    """Whether an option is within the budget, its ends included."""
    return (memory_bytes is None or option.memory_bytes <= memory_bytes) and (
        seconds is None or option.seconds <= seconds
    )


def best(options: Sequence[Option]) -> Option:
    """The one that validated best; of equals the one of least memory, then of least time."""
    return min(options, key=lambda each: (-each.validation_auc, each.memory_bytes, each.seconds))


def frontier(costs: Sequence[float], gains: Sequence[float]) -> list[int]:
    """Which points no other beats in both: indices by rising cost, each gaining on the last.

    Args:
        costs: of each point; less is better.
        gains: of each point; more is better.
    """
    order = sorted(range(len(costs)), key=lambda index: (costs[index], -gains[index]))
    front: list[int] = []
    for index in order:
        if not front or gains[index] > gains[front[-1]]:
            front.append(index)
    return front
