"""The pilot: a learning rate of its own for each arm, and a budget at which the arms converge.

It looks at validation AUC only, and its seeds are none of the study's. First every arm is tried at
each learning rate of a log-spaced grid, extended where the best lies on its edge. Then each arm
trains at twice the budget (`mlp_med.evidence.convergence`); while an arm of the primary contrast is
not converged the budget doubles, for all arms alike, up to a cap. Where arms have budgets of their
own by design, only the learning rates are chosen.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from mlp_med.errors import StudyError
from mlp_med.evidence.claim import Claim
from mlp_med.evidence.convergence import Convergence, judge_convergence
from mlp_med.studies.arm import Arm


@dataclass(frozen=True, kw_only=True)
class PilotDesign:
    """What the pilot tries.

    Attributes:
        learning_rates: the grid, ascending, evenly spaced in logarithm.
        num_tuning_seeds: seeds for each learning rate.
        num_seeds: seeds at the budget and at twice the budget.
        most_extensions: learning rates that may be added below and above the grid, each.
        most_budget_examples: a study's budget is never raised beyond this; None where the budgets
            are what the arms compare, so that none is judged and none is raised.
    """

    learning_rates: tuple[float, ...] = (1e-3, 3e-3, 9e-3)
    num_tuning_seeds: int = 2
    num_seeds: int = 3
    most_extensions: int = 2
    most_budget_examples: int | None

    def __post_init__(self) -> None:
        rates = np.asarray(self.learning_rates)
        if (
            len(rates) < 2
            or (rates <= 0).any()
            or not np.allclose(rates[1:] / rates[:-1], _step(rates))
        ):
            raise StudyError(
                "a pilot's grid needs at least two positive learning rates, ascending and evenly "
                f"spaced in logarithm; got {self.learning_rates}"
            )


@dataclass(frozen=True)
class Trial:
    """One training run of the pilot."""

    arm: Arm
    learning_rate: float
    budget_examples: int
    seed: int


# Validation AUC of each trial; None where training failed, as it may at a high learning rate.
Score = Callable[[Sequence[Trial]], Mapping[Trial, float | None]]


@dataclass(frozen=True)
class ArmPilot:
    """What the pilot found for one arm.

    Attributes:
        learning_rate: the best of the grid.
        grid: mean validation AUC by learning rate; None where every run failed.
        on_edge: the best learning rate is the last that was tried on its side.
        convergence: at the pilot's final budget; None where no budget was judged.
    """

    learning_rate: float
    grid: Mapping[float, float | None] = field(hash=False)
    on_edge: bool
    convergence: Convergence | None

    @property
    def validation_auc(self) -> float:
        """Mean over the tuning seeds, at the learning rate chosen."""
        auc = self.grid[self.learning_rate]
        assert auc is not None  # a rate without one is never chosen
        return auc


@dataclass(frozen=True)
class PilotResult:
    """What a study takes over from its pilot.

    Attributes:
        budget_examples: of every arm; None where each keeps its own.
        arms: by name.
        origin: where the pilot can be found again: run id or command, source and code digest.
    """

    budget_examples: int | None
    arms: Mapping[str, ArmPilot] = field(hash=False)
    origin: Mapping[str, str] = field(default_factory=dict, hash=False)

    def applied_to(self, arms: Iterable[Arm]) -> list[Arm]:
        """The arms with the pilot's learning rates and budget."""
        return [
            replace(
                arm,
                learning_rate=self.arms[arm.settings_of or arm.name].learning_rate,
                budget_examples=self.budget_examples or arm.budget_examples,
            )
            for arm in arms
        ]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        arms = {
            name: {
                "learning_rate": found.learning_rate,
                "grid": [[rate, auc] for rate, auc in found.grid.items()],
                "on_edge": found.on_edge,
                "convergence": found.convergence.to_dict() if found.convergence else None,
            }
            for name, found in self.arms.items()
        }
        return {"budget_examples": self.budget_examples, "arms": arms, "origin": dict(self.origin)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "PilotResult":
        """Reads what `to_dict` wrote."""
        arms = {
            name: ArmPilot(
                found["learning_rate"],
                dict(found["grid"]),
                found["on_edge"],
                Convergence.from_dict(found["convergence"]) if found["convergence"] else None,
            )
            for name, found in values["arms"].items()
        }
        return cls(values["budget_examples"], arms, values["origin"])


def run_pilot(arms: Sequence[Arm], claim: Claim, design: PilotDesign, score: Score) -> PilotResult:
    """Chooses learning rates and budget.

    Args:
        arms: of the study; those that take over another's settings are not tried.
        claim: whose margin and primary arms the budget is judged by.
        design: what to try.
        score: trains; asked for the same trial twice it may answer from what it kept.

    Raises:
        StudyError: no learning rate trained an arm at all, or a run of the final budget failed.
    """
    tried = [arm for arm in arms if arm.settings_of is None]
    grids = _tune(tried, design, score)
    chosen = {arm: _best(arm, grids[arm]) for arm in tried}
    settings_of = {arm.name: arm.settings_of or arm.name for arm in arms}
    compared = {settings_of[arm] for arm in claim.primary}
    budget: int | None = None
    found: dict[str, Convergence] = {}
    if (most := design.most_budget_examples) is not None:
        first = tried[0].budget_examples
        budget, found = _settle_budget(chosen, compared, first, most, claim, design, score)
    return PilotResult(
        budget,
        {
            arm.name: ArmPilot(rate, grids[arm], _on_edge(rate, grids[arm]), found.get(arm.name))
            for arm, rate in chosen.items()
        },
    )


def _settle_budget(
    chosen: Mapping[Arm, float],
    compared: set[str],
    budget: int,
    most: int,
    claim: Claim,
    design: PilotDesign,
    score: Score,
) -> tuple[int, dict[str, Convergence]]:
    """Doubles the budget until the compared arms have converged at it, or up to the most."""
    while True:
        found = _judge(chosen, budget, claim, design, score)
        unconverged = [arm for arm in compared if not found[arm].converged]
        if not unconverged or 2 * budget > most:
            return budget, found
        budget *= 2


def _tune(
    arms: Sequence[Arm], design: PilotDesign, score: Score
) -> dict[Arm, dict[float, float | None]]:
    """Mean validation AUC by arm and learning rate, ascending; extended where the edge is best."""
    rates = {arm: list(design.learning_rates) for arm in arms}
    step = _step(np.asarray(design.learning_rates))
    for _ in range(design.most_extensions + 1):
        grids = _score_grids(rates, design, score)
        extended = False
        for arm, grid in grids.items():
            best = _best(arm, grid)
            if best == min(grid) and _num_added(grid, design, below=True) < design.most_extensions:
                rates[arm] = [float(f"{best / step:.3g}"), *rates[arm]]
                extended = True
            elif (
                best == max(grid) and _num_added(grid, design, below=False) < design.most_extensions
            ):
                rates[arm] = [*rates[arm], float(f"{best * step:.3g}")]
                extended = True
        if not extended:
            break
    return grids


def _score_grids(
    rates: Mapping[Arm, Sequence[float]], design: PilotDesign, score: Score
) -> dict[Arm, dict[float, float | None]]:
    def trials(arm: Arm, rate: float) -> list[Trial]:
        seeds = range(design.num_tuning_seeds)
        return [Trial(arm, rate, arm.budget_examples, seed) for seed in seeds]

    wanted = [trial for arm, grid in rates.items() for rate in grid for trial in trials(arm, rate)]
    aucs = score(wanted)
    return {
        arm: {rate: _mean([aucs[trial] for trial in trials(arm, rate)]) for rate in grid}
        for arm, grid in rates.items()
    }


def _judge(
    chosen: Mapping[Arm, float], budget: int, claim: Claim, design: PilotDesign, score: Score
) -> dict[str, Convergence]:
    seeds = range(design.num_seeds)
    pairs = {
        arm: [[Trial(arm, rate, size, seed) for seed in seeds] for size in (budget, 2 * budget)]
        for arm, rate in chosen.items()
    }
    aucs = score([trial for both in pairs.values() for trials in both for trial in trials])
    found = {}
    for arm, both in pairs.items():
        at_budget, at_twice = ([_trained(trial, aucs[trial]) for trial in each] for each in both)
        found[arm.name] = judge_convergence(
            at_budget, at_twice, budget_examples=budget, margin=claim.margin
        )
    return found


def _trained(trial: Trial, auc: float | None) -> float:
    if auc is None:
        raise StudyError(
            f"the pilot's run of {trial.arm.name} with {trial.budget_examples:,} examples at a "
            f"learning rate of {trial.learning_rate:g} failed, though it trained with fewer; see "
            "the pilot's cells in the ledger"
        )
    return auc


def _mean(aucs: Sequence[float | None]) -> float | None:
    """None where any seed failed: a learning rate that fails by chance is no choice."""
    known = [auc for auc in aucs if auc is not None]
    return float(np.mean(known)) if len(known) == len(aucs) else None


def _best(arm: Arm, grid: Mapping[float, float | None]) -> float:
    known = {rate: auc for rate, auc in grid.items() if auc is not None}
    if not known:
        tried = ", ".join(f"{rate:g}" for rate in grid)
        raise StudyError(
            f"the pilot could not train {arm.name} at any learning rate of {tried}; see the "
            "failures of the pilot's cells in the ledger"
        )
    return max(known, key=lambda rate: known[rate])


def _on_edge(rate: float, grid: Mapping[float, float | None]) -> bool:
    return rate in (min(grid), max(grid))


def _num_added(grid: Mapping[float, Any], design: PilotDesign, *, below: bool) -> int:
    edge = design.learning_rates[0 if below else -1]
    return sum(rate < edge if below else rate > edge for rate in grid)


def _step(rates: np.ndarray) -> float:
    """The factor from one learning rate of the grid to the next."""
    return float((rates[-1] / rates[0]) ** (1 / (len(rates) - 1)))
