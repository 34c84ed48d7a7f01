"""Advice: what to train within a budget, what it costs, and what the ledger cannot say."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from mlp_med.evidence.choice import Choice, Option, choose
from mlp_med.evidence.verdict import FEWEST_SEEDS
from mlp_med.reports.advice_options import Found
from mlp_med.reports.formatting import auc, difference, duration, interval, memory
from mlp_med.studies.cell import Cell

ADVICE_SEED = 0  # of the resampling
# What would fit beside a chosen cell and was never trained, a sentence each.
Untried = Callable[[Cell], Sequence[str]]


@dataclass(frozen=True)
class Budget:
    """What one training run may take.

    Attributes:
        memory_bytes: at its peak; None for any.
        seconds: from start to end; None for any.
        place: the machine that memory and time are forecast for; "" where they were measured.
    """

    memory_bytes: int | None
    seconds: float | None
    place: str = ""


@dataclass(frozen=True)
class Advice:
    """An answer, and what it rests on.

    Attributes:
        choice: the arm, its accuracy and what is lost.
        budget: that was asked for.
        found: all that the ledger has.
        next_steps: what to run where the ledger cannot say.
    """

    choice: Choice
    budget: Budget
    found: Found
    next_steps: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        loss = self.choice.loss
        return {
            "phantom": self.found.phantom,
            "memory_bytes": self.budget.memory_bytes,
            "seconds": self.budget.seconds,
            "predicted_for": self.budget.place or None,
            "take": _row(self.choice.taken),
            "test_auc": {
                "mean": self.choice.estimate.mean_auc,
                "ci_low": self.choice.estimate.ci_low,
                "ci_high": self.choice.estimate.ci_high,
            },
            "without_limit": _row(self.choice.without_limit),
            "lost": None
            if loss is None
            else {"effect": loss.effect, "ci_low": loss.ci_low, "ci_high": loss.ci_high},
            "num_cells": self.choice.taken.num_cells,
            "num_options": len(self.found.trained),
            "num_fitting": self.choice.num_fitting,
            "studies": [study.run_id for study in self.found.studies],
            "next": list(self.next_steps),
        }

    def lines(self) -> list[str]:
        """For a reader."""
        choice, taken = self.choice, self.choice.taken
        mark = " – phantom" if self.found.phantom else ""
        origin = f"predicted for {self.budget.place}" if self.budget.place else "measured"
        estimate = choice.estimate
        within = f"{choice.num_fitting} of {len(self.found.trained)} trained arms fit"
        lines = [
            f"take: {taken.name}",
            f"test AUC {auc(estimate.mean_auc)} (95 % interval "
            f"{interval(estimate.ci_low, estimate.ci_high)}){mark}, from {taken.num_cells} cells",
            f"one training run: {memory(taken.memory_bytes)}, {duration(taken.seconds)}, {origin}",
            f"{within} ({_limits(self.budget)}); chosen by validation AUC",
        ]
        if choice.loss is None:
            lines.append("lost to the budget: nothing that this ledger knows of")
        else:
            ends = interval(choice.loss.ci_low, choice.loss.ci_high, signed=True)
            lines.append(
                f"lost to the budget: AUC {difference(choice.loss.effect)} (95 % interval {ends})"
                f"{mark}, against {choice.without_limit.name}"
            )
        return lines + [f"not known: {step}" for step in self.next_steps]


def advise(found: Found, budget: Budget, untried: Untried | None = None) -> Advice:
    """The best of what was trained within a budget.

    Args:
        found: the ledger's arms.
        budget: what a training run may take.
        untried: tells of the chosen cell what else would fit and was never trained; None for
            nothing.

    Raises:
        EvidenceError: nothing fits, or the arms' test cases differ.
    """
    options = [trained.option for trained in found.trained]
    choice = choose(
        options,
        memory_bytes=budget.memory_bytes,
        seconds=budget.seconds,
        seed=ADVICE_SEED,
    )
    cell = next(trained.cell for trained in found.trained if trained.option is choice.taken)
    beside = untried(cell) if untried is not None else ()
    return Advice(choice, budget, found, (*_unfinished(found), *_few_seeds(choice), *beside))


def _unfinished(found: Found) -> list[str]:
    lines = []
    for study in found.studies:
        lacking = found.without_result.get(study.run_id, [])
        if lacking:
            arms = ", ".join(dict.fromkeys(cell.arm for cell in lacking))
            lines.append(
                f"{len(lacking)} cells of {study.name} have no result ({arms}); "
                f"run: mlp-med study run {study.name} --dataset {study.plan['dataset']['name']} "
                f"--size {study.plan['size']}"
            )
    return lines


def _few_seeds(choice: Choice) -> list[str]:
    seeds = len(choice.estimate.seeds)
    if seeds >= FEWEST_SEEDS:
        return []
    return [f"how much seeds vary: {seeds} of them are provisional, {FEWEST_SEEDS} would do"]


def _limits(budget: Budget) -> str:
    parts = []
    if budget.memory_bytes is not None:
        parts.append(f"{memory(budget.memory_bytes)} of memory")
    if budget.seconds is not None:
        parts.append(f"{duration(budget.seconds)} a training run")
    return " and ".join(parts) or "no limit"


def _row(option: Option) -> dict[str, Any]:
    return {
        "arm": option.name,
        "validation_auc": option.validation_auc,
        "memory_bytes": option.memory_bytes,
        "seconds": None if option.seconds == float("inf") else option.seconds,
    }
