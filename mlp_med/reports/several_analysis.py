"""From the done cells of a study of several claims to a verdict on each, judged together."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import log
from typing import Any

import pandas as pd

from mlp_med.errors import EvidenceError
from mlp_med.evidence.claim import Claim
from mlp_med.evidence.contrast import ArmEstimate, Contrast, compare_arms, estimate_arm
from mlp_med.evidence.controls import Controls
from mlp_med.evidence.runs import compare_runs
from mlp_med.evidence.several import ERROR_RATE, Estimated, JudgedClaim, judge_claims
from mlp_med.evidence.several_sentence import claim_sentence, num_runs
from mlp_med.evidence.time_to_target import (
    DIVERGED,
    FollowUp,
    common_horizon,
    compare_times,
    follow_up,
)
from mlp_med.ledger.read import StudyRecord
from mlp_med.reports.analysis import (
    BOOTSTRAP_SEED,
    dataset_name,
    is_phantom,
    own_controls,
    read_claim,
    why_not_meant_to_decide,
)
from mlp_med.reports.seams import Seam, find_seams
from mlp_med.reports.study_data import StudyData

SHARPNESS = "sharpness_full_0.001"  # that the claim is about; the others stand beside it
TIME_COLUMNS = {"examples_to_target": "examples_seen", "seconds_to_target": "seconds_elapsed"}
DIVERGED_KIND = "non_finite_loss"


@dataclass(frozen=True)
class SeveralAnalysis:
    """All that the report of such a study says in numbers.

    Attributes:
        judged: the claims, in the order they were written.
        beside: the first claim's secondary contrasts of AUC, which decide nothing.
        arms: mean test AUC and interval of every arm that has predictions.
        seams: what borders between tiles cost, where the study has tiles; decides nothing.
        times: by arm, what every cell took to the target; censored or diverged where it did not.
        controls: of the code and of the study.
        dataset, phantom: what it is on.
        commit: of the code that trained the cells.
    """

    judged: tuple[JudgedClaim, ...]
    beside: Mapping[str, tuple[tuple[str, str], Contrast]]
    arms: Mapping[str, ArmEstimate]
    seams: Sequence[Seam]
    times: Mapping[str, Mapping[str, list[FollowUp]]]
    controls: Controls
    dataset: str
    phantom: bool
    commit: str

    @property
    def sentences(self) -> list[str]:
        """One a claim."""
        return [
            claim_sentence(
                judged,
                dataset=self.dataset,
                phantom=self.phantom,
                num_claims=len(self.judged),
                controls=self.controls.status,
            )
            for judged in self.judged
        ]

    def to_dict(self) -> dict[str, Any]:
        """The content of verdict.json."""
        return {
            "dataset": self.dataset,
            "phantom": self.phantom,
            "correction": {
                "method": "Holm 1979",
                "error_rate": round(ERROR_RATE, 6),
                "num_claims": len(self.judged),
            },
            "claims": [
                {**_claim_to_dict(judged), "sentence": sentence}
                for judged, sentence in zip(self.judged, self.sentences, strict=True)
            ],
            "seams": [seam.to_dict() for seam in self.seams],
            "controls": self.controls.to_dict(),
            "commit": self.commit,
            "arms": [
                {"arm": name, **{k: v for k, v in asdict(estimate).items() if k != "seeds"}}
                for name, estimate in self.arms.items()
            ],
        }


def analyse_several(record: StudyRecord, data: StudyData, controls: Controls) -> SeveralAnalysis:
    """Decides every claim that the plan holds, from the done cells alone.

    Args:
        record: the study.
        data: its done cells.
        controls: what the record of the phantom's controls says of the code; the study's own
            controls are added.

    Raises:
        EvidenceError: the cells' predictions do not fit together.
    """
    claims = [read_claim(claim) for claim in record.plan["claims"]]
    controls = controls.joined_with(own_controls(claims[0], data))
    times: dict[str, dict[str, list[FollowUp]]] = {
        claim.metric: _times(record, data, claim)
        for claim in claims
        if claim.metric in TIME_COLUMNS
    }
    estimates: dict[str, Estimated | None] = {}
    reasons: dict[str, str] = {}
    for claim in claims:
        reasons[claim.name] = (
            why_not_meant_to_decide(record)
            or _why_not(record, data, claim, times.get(claim.metric, {}))
            or controls.reason
        )
        estimates[claim.name] = _estimate(data, claim, times.get(claim.metric, {}))
    return SeveralAnalysis(
        judged=judge_claims(claims, estimates, reasons),
        beside={
            name: (
                pair,
                compare_arms(*(data.predictions[arm] for arm in pair), seed=BOOTSTRAP_SEED),
            )
            for name, pair in claims[0].secondary.items()
            if all(arm in data.predictions for arm in pair)
        },
        arms={
            arm: estimate_arm(data.predictions[arm], seed=BOOTSTRAP_SEED)
            for arm in data.arms
            if arm in data.predictions
        },
        seams=find_seams(claims[0], data, seed=BOOTSTRAP_SEED),
        times=times,
        controls=controls,
        dataset=dataset_name(record.plan["dataset"]),
        phantom=is_phantom(record),
        commit=record.tags.get("commit", "unknown"),
    )


def _estimate(
    data: StudyData, claim: Claim, times: Mapping[str, Sequence[FollowUp]]
) -> Estimated | None:
    """The claim's contrast; None where an arm has nothing to compare."""
    first, second = claim.primary
    if claim.metric == "auc":
        pair = [data.predictions.get(arm) for arm in claim.primary]
        if pair[0] is None or pair[1] is None:
            return None
        return compare_arms(pair[0], pair[1], seed=BOOTSTRAP_SEED)
    try:
        if claim.metric in TIME_COLUMNS:
            a, b = times.get(first, ()), times.get(second, ())
            return compare_times(a, b, common_horizon(a, b))
        return compare_runs(*(_log_sharpness(data.cells, arm) for arm in claim.primary))
    except EvidenceError:  # an arm without runs: the reason is told by `_why_not`
        return None


def _why_not(
    record: StudyRecord,
    data: StudyData,
    claim: Claim,
    times: Mapping[str, Sequence[FollowUp]],
) -> str:
    """Why a claim must not be decided; else empty."""
    for arm in claim.primary:
        if reason := _why_not_of(record, data, claim, arm):
            return reason
    if claim.metric in TIME_COLUMNS and not any(
        run.reached for arm in claim.primary for run in times.get(arm, ())
    ):
        first, second = claim.primary
        return (
            f"no cell of {first} or {second} reached a validation AUC of {claim.target:g} at two "
            "consecutive evaluations; nothing can be said of their times"
        )
    return ""


def _why_not_of(record: StudyRecord, data: StudyData, claim: Claim, arm: str) -> str:
    cells = [cell for cell in record.cells if cell.arm == arm]
    diverged = [cell for cell in cells if cell.failure and cell.failure.kind == DIVERGED_KIND]
    failed = [cell for cell in cells if cell.state in ("failed", "infeasible")]
    if cells and len(failed) == len(cells):
        kinds = ", ".join(sorted({cell.failure.kind for cell in failed if cell.failure}))
        return f"every cell of {arm} failed ({kinds})"
    lacking = [cell for cell in cells if cell.state != "done" and cell not in diverged]
    if lacking or not cells:
        return f"{arm} lacks seeds; finish the study first"
    if diverged and claim.metric not in TIME_COLUMNS:
        return f"{len(diverged)} of {len(cells)} cells of {arm} diverged and have no {claim.metric}"
    done = data.cells[data.cells["arm"] == arm]
    short = int((done["reached_training_loss"] == 0).sum())
    if short:
        loss = cells[0].params["stop_at_training_loss"]
        return (
            f"{short} of {len(done)} cells of {arm} did not reach the training loss of {loss:g} "
            "that the arms are compared at; give them more examples"
        )
    return _why_rate_is_not_settled(record, arm)


def _why_rate_is_not_settled(record: StudyRecord, arm: str) -> str:
    pilot = record.plan.get("pilot") or {"arms": {}}
    tuned = pilot.get("settings_of", {}).get(arm, arm)
    found = pilot["arms"].get(tuned)
    if found is None or not found["on_edge"]:
        return ""
    tried = ", ".join(f"{rate:g}" for rate, _ in found["grid"])
    return (
        f"the best learning rate of {tuned} is the last of those tried ({tried}), even after the "
        "grid was extended: it is not known to be its best"
    )


def _times(record: StudyRecord, data: StudyData, claim: Claim) -> dict[str, list[FollowUp]]:
    """What every cell took, by arm; nothing is dropped but what has not been run."""
    column = TIME_COLUMNS[claim.metric]
    found: dict[str, list[FollowUp]] = {}
    for (arm, _, _), curve in data.curves.groupby(["arm", "seed", "fold"], sort=False):
        ordered = curve.sort_values("examples_seen")
        run = follow_up(
            ordered[column].tolist(), ordered["validation_auc"].tolist(), claim.target or 0.0
        )
        found.setdefault(str(arm), []).append(run)
    for cell in record.cells:
        if cell.failure is not None and cell.failure.kind == DIVERGED_KIND:
            found.setdefault(cell.arm, []).append(DIVERGED)
    return found


def _log_sharpness(cells: pd.DataFrame, arm: str) -> list[float]:
    values = cells.loc[cells["arm"] == arm, SHARPNESS]
    return [log(value) if value > 0 else float("-inf") for value in values]


def _claim_to_dict(judged: JudgedClaim) -> dict[str, Any]:
    claim, estimate = judged.claim, judged.estimate
    runs = num_runs(estimate)
    return {
        "name": claim.name,
        "claim": claim.statement,
        "metric": claim.metric,
        "target": claim.target,
        "arms": list(claim.primary),
        "verdict": judged.outcome,
        "reason": judged.reason,
        "effect": estimate.effect if estimate else None,
        "ci_low": estimate.ci_low if estimate else None,
        "ci_high": estimate.ci_high if estimate else None,
        "horizon": getattr(estimate, "horizon", None),
        "margin": claim.margin,
        "p_value": judged.p_value,
        "adjusted_p_value": judged.adjusted_p_value,
        "level_of_interval": 1 - ERROR_RATE / judged.divisor,
        "corrected_low": judged.low,
        "corrected_high": judged.high,
        "equivalent": judged.equivalent,
        "reversed": judged.reversed,
        "n_seeds": min(runs) if estimate else None,
    }
