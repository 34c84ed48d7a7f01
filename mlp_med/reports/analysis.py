"""From a study's done cells to its verdict and the numbers beside it: evidence, applied."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from mlp_med.errors import EvidenceError
from mlp_med.evidence.claim import Claim
from mlp_med.evidence.contrast import Contrast, compare_arms, estimate_arm
from mlp_med.evidence.controls import ControlOutcome, Controls, judge_a_a, judge_permuted
from mlp_med.evidence.convergence import Convergence
from mlp_med.evidence.table import (
    ArmRow,
    StratumEffect,
    arm_row,
    effect_by_stratum,
    slope_per_octave,
)
from mlp_med.evidence.verdict import Verdict, decide, verdict_to_dict
from mlp_med.ledger.read import StudyRecord
from mlp_med.reports.study_data import StudyData

BOOTSTRAP_SEED = 0  # the same ledger gives the same report, digit for digit
# What the primary effect is broken down by: column of the predictions -> whether it describes
# positive cases only (a nodule has a diameter, a vessel crossing none).
STRATA: Mapping[str, bool] = {"native_spacing_mm": False, "diameter_mm": True}


@dataclass(frozen=True)
class Analysis:
    """All that a report says in numbers.

    Attributes:
        verdict: on the study's claim.
        contrasts: by name, "information" (the primary one) first.
        arms: one row an arm that has a done cell, native arms first, finest first.
        strata: effects of the primary contrast, by what the strata are of.
        slope_per_octave: change of the AUC for each doubling of the voxel over the native arms.
        notes: what could not be computed, and why.
        commit: of the code that trained the cells.
    """

    verdict: Verdict
    contrasts: Mapping[str, Contrast]
    arms: Sequence[ArmRow]
    strata: Mapping[str, Sequence[StratumEffect]]
    slope_per_octave: float | None
    notes: Sequence[str] = field(default_factory=list)
    commit: str = "unknown"

    @property
    def compared(self) -> list[ArmRow]:
        """The arms without the study's own controls: those that stand for a resolution."""
        own = own_control_arms(self.verdict.claim)
        return [row for row in self.arms if row.arm not in own]

    def to_dict(self) -> dict[str, Any]:
        """The content of verdict.json."""
        return verdict_to_dict(self.verdict, self.arms, self.commit)


def analyse(record: StudyRecord, data: StudyData, controls: Controls) -> Analysis:
    """Decides the claim that the plan holds, from the done cells alone.

    Args:
        record: the study.
        data: its done cells.
        controls: what the record of the phantom's controls says of the code; the study's own
            controls are added.

    Raises:
        EvidenceError: the cells' predictions do not fit together.
    """
    claim = read_claim(record.plan["claim"])
    pairs = {"information": claim.primary, **claim.secondary}
    contrasts = {
        name: compare_arms(data.predictions[a], data.predictions[b], seed=BOOTSTRAP_SEED)
        for name, (a, b) in pairs.items()
        if a in data.predictions and b in data.predictions
    }
    incomplete = dict.fromkeys(cell.arm for cell in record.cells if cell.state != "done")
    verdict = decide(
        claim,
        contrasts.get("information"),
        dataset=record.plan["dataset"]["name"],
        phantom=is_phantom(record),
        secondary={name: contrasts[name] for name in claim.secondary if name in contrasts},
        controls=controls.joined_with(_own_controls(claim, data)),
        convergence=_convergence(record),
        incomplete_arms=tuple(incomplete),
        no_verdict_reason=_why_not_meant_to_decide(record),
    )
    strata, notes = _strata(claim, data)
    arms = [_arm_row(data, arm) for arm in data.arms]
    own = own_control_arms(claim)
    native = {
        row.resolution: row.estimate.aucs
        for row in arms
        if row.control == "none" and row.arm not in own
    }
    return Analysis(
        verdict=verdict,
        contrasts=contrasts,
        arms=arms,
        strata=strata,
        slope_per_octave=slope_per_octave(native) if native else None,
        notes=notes,
        commit=record.tags.get("commit", "unknown"),
    )


def read_claim(plan: Mapping[str, Any]) -> Claim:
    """The claim as the plan keeps it: JSON has no tuples."""
    secondary = {name: (a, b) for name, (a, b) in plan.get("secondary", {}).items()}
    first, second = plan["primary"]
    a_a = tuple(plan["a_a"]) if plan.get("a_a") else None
    return Claim(**{**plan, "primary": (first, second), "secondary": secondary, "a_a": a_a})


def own_control_arms(claim: Claim) -> set[str]:
    """The arms that are there to check the study: the second of the A/A pair, and the permuted."""
    return {claim.permuted or "", claim.a_a[1] if claim.a_a else ""} - {""}


def is_phantom(record: StudyRecord) -> bool:
    """Whether the study's scans were drawn by a program."""
    return bool(record.plan["dataset"]["phantom"]) or record.tags.get("phantom") == "true"


def _arm_row(data: StudyData, arm: str) -> ArmRow:
    cells = data.cells[data.cells["arm"] == arm]
    return arm_row(
        arm,
        float(cells["resolution"].iloc[0]),
        str(cells["control"].iloc[0]),
        data.predictions[arm],
        seconds=cells["seconds_total"].tolist(),
        peak_memory_bytes=cells["peak_memory_bytes"].tolist(),
        seed=BOOTSTRAP_SEED,
    )


def _why_not_meant_to_decide(record: StudyRecord) -> str:
    if record.plan.get("no_verdict_reason"):
        return str(record.plan["no_verdict_reason"])
    if record.plan.get("pilot", {}) is None:
        # A phantom's pilot counts once it is recorded, so that `make study` need not pay for it.
        command = "make pilot" if is_phantom(record) else f"mlp-med study pilot {record.name}"
        return (
            "no pilot has chosen the arms' learning rates and shown that they converge; "
            f"run: {command}"
        )
    return ""


def _convergence(record: StudyRecord) -> dict[str, Convergence]:
    pilot = record.plan.get("pilot")
    arms = pilot["arms"] if pilot else {}
    return {arm: Convergence.from_dict(found["convergence"]) for arm, found in arms.items()}


def _own_controls(claim: Claim, data: StudyData) -> list[ControlOutcome]:
    """The controls that a study on real data carries; one without cells has not passed."""
    outcomes = []
    if claim.a_a is not None:
        missing = [arm for arm in claim.a_a if arm not in data.predictions]
        if missing:
            outcomes.append(ControlOutcome("A/A", False, f"no finished cell of {missing[0]}"))
        else:
            pair = [data.predictions[arm] for arm in claim.a_a]
            contrast = compare_arms(*pair, seed=BOOTSTRAP_SEED)
            outcomes.append(judge_a_a(contrast, claim.margin))
    if claim.permuted is not None:
        predictions = data.predictions.get(claim.permuted)
        if predictions is None:
            missing_arm = f"no finished cell of {claim.permuted}"
            outcomes.append(ControlOutcome("permuted labels", False, missing_arm))
        else:
            outcomes.append(judge_permuted(estimate_arm(predictions, seed=BOOTSTRAP_SEED)))
    return outcomes


def _strata(claim: Claim, data: StudyData) -> tuple[dict[str, Sequence[StratumEffect]], list[str]]:
    a, b = (data.predictions.get(arm, pd.DataFrame()) for arm in claim.primary)
    strata: dict[str, Sequence[StratumEffect]] = {}
    notes = []
    for column, positives_only in STRATA.items():
        if column not in a or column not in b:
            continue
        try:
            strata[column] = effect_by_stratum(
                a, b, column, positives_only=positives_only, seed=BOOTSTRAP_SEED
            )
        except EvidenceError as error:
            notes.append(f"No effect by {column}: {error}")
    return strata, notes
