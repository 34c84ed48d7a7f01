"""From a study's done cells to its verdict and the numbers beside it: evidence, applied."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from mlp_med.evidence.claim import Claim
from mlp_med.evidence.contrast import Contrast, compare_arms, estimate_arm
from mlp_med.evidence.controls import ControlOutcome, Controls, judge_a_a, judge_permuted
from mlp_med.evidence.convergence import Convergence
from mlp_med.evidence.foreign_columns import NO_WORD
from mlp_med.evidence.table import ArmRow, arm_row, slope_per_octave
from mlp_med.evidence.verdict import Verdict, decide, verdict_to_dict
from mlp_med.ledger.read import StudyRecord
from mlp_med.reports.strata import BOOTSTRAP_SEED, Property, Strata, break_down
from mlp_med.reports.study_data import StudyData

# What the primary effect is broken down by, by column of the predictions.
PROPERTIES: Mapping[str, Property] = {
    "native_spacing_mm": Property("coarsest native axis, mm"),
    "diameter_mm": Property("lesion diameter, mm", positives_only=True),
    "kind": Property("kind", unknown=NO_WORD),
    "density": Property("breast density, BI-RADS 1 to 4", unknown=0),
}


@dataclass(frozen=True)
class Analysis:
    """All that a report says in numbers.

    Attributes:
        verdict: on the study's claim.
        contrasts: by name, "information" (the primary one) first.
        arms: one row an arm that has a done cell, native arms first, finest first.
        strata: the primary contrast, broken down.
        slope_per_octave: change of the AUC for each doubling of the voxel over the native arms.
        training_fraction: of the training set, by arm.
        commit: of the code that trained the cells.
    """

    verdict: Verdict
    contrasts: Mapping[str, Contrast]
    arms: Sequence[ArmRow]
    strata: Strata
    slope_per_octave: float | None
    training_fraction: Mapping[str, float]
    commit: str = "unknown"

    @property
    def compared(self) -> list[ArmRow]:
        """The arms without the study's own controls."""
        own = own_control_arms(self.verdict.claim)
        return [row for row in self.arms if row.arm not in own]

    @property
    def whole(self) -> list[ArmRow]:
        """The arms that stand for a resolution: those of `compared` with all training data."""
        return [row for row in self.compared if self.training_fraction[row.arm] == 1]

    @property
    def by_fraction(self) -> list[ArmRow]:
        """The arms of which there are several that differ in their training fraction alone."""
        lines = {self.line_of(row) for row in self.compared if self.training_fraction[row.arm] < 1}
        return [row for row in self.compared if self.line_of(row) in lines]

    def line_of(self, row: ArmRow) -> str:
        """The arm without its training fraction: the name of the one that has it all."""
        like = [
            other.arm
            for other in self.whole
            if (other.resolution, other.control) == (row.resolution, row.control)
        ]
        return like[0] if like else row.arm

    def to_dict(self) -> dict[str, Any]:
        """The content of verdict.json."""
        return verdict_to_dict(self.verdict, self.arms, self.commit) | self.strata.to_dict()


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
        dataset=dataset_name(record.plan["dataset"]),
        phantom=is_phantom(record),
        secondary={name: contrasts[name] for name in claim.secondary if name in contrasts},
        controls=controls.joined_with(own_controls(claim, data)),
        convergence=_convergence(record, claim),
        incomplete_arms=tuple(incomplete),
        no_verdict_reason=why_not_meant_to_decide(record),
    )
    first, second = (data.predictions.get(arm, pd.DataFrame()) for arm in claim.primary)
    arms = [_arm_row(data, arm) for arm in data.arms if arm in data.predictions]
    fractions = {
        str(arm): float(cells["training_fraction"].iloc[0])
        for arm, cells in data.cells.groupby("arm")
    }
    own = own_control_arms(claim)
    native = {
        row.resolution: row.estimate.aucs
        for row in arms
        if row.control == "none" and row.arm not in own and fractions[row.arm] == 1
    }
    return Analysis(
        verdict=verdict,
        contrasts=contrasts,
        arms=arms,
        strata=break_down(first, second, PROPERTIES),
        slope_per_octave=slope_per_octave(native) if native else None,
        training_fraction=fractions,
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


def why_not_meant_to_decide(record: StudyRecord) -> str:
    """Why the study was planned to decide nothing, or has no pilot to decide by; else empty."""
    if record.plan.get("no_verdict_reason"):
        return str(record.plan["no_verdict_reason"])
    if record.plan.get("pilot", {}) is None:
        # A phantom's pilot counts once it is recorded, so that `make study` need not pay for it.
        command = f"mlp-med study pilot {record.name}"
        if is_phantom(record):
            command = record.plan.get("pilot_command") or "make pilot"
        return (
            "no pilot has chosen the arms' learning rates and shown that they converge; "
            f"run: {command}"
        )
    return ""


def _convergence(record: StudyRecord, claim: Claim) -> dict[str, Convergence]:
    """What the pilot said, by arm; an arm of the claim that was not in it has its model's."""
    pilot = record.plan.get("pilot") or {"arms": {}}
    known = {
        arm: Convergence.from_dict(found["convergence"])
        for arm, found in pilot["arms"].items()
        if found["convergence"]
    }
    settings_of = pilot.get("settings_of", {})
    taken_over = {arm: known[settings_of[arm]] for arm in claim.primary if arm in settings_of}
    return {**taken_over, **known}


def own_controls(claim: Claim, data: StudyData) -> list[ControlOutcome]:
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


def dataset_name(dataset: Mapping[str, Any]) -> str:
    """The name of a study's dataset, and its task where it has several: "mammograms (pathology)".

    Args:
        dataset: of the study's plan; those of older studies tell no task.
    """
    task = dataset.get("task", "")
    return f"{dataset['name']} ({task})" if task else str(dataset["name"])
