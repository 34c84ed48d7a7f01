"""Controls: studies whose outcome is known beforehand. Without them there is no verdict.

On drawn scans: a task whose answer lies in coarse structure must come out equivalent (negative
control), one whose answer lies in the finest structure must come out supported (positive control).
They are run with the code, not with each study, and their record names the code that it holds for.
On real data, where no such task exists, a study carries two controls of its own: the same arm
twice under other seeds (A/A), which must not be found to differ, and an arm trained on permuted
labels, whose AUC must be ½.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from mlp_med.evidence.contrast import ArmEstimate, Contrast

NAMES = ("negative", "positive")
# An arm at the ceiling or at chance cannot move, and so proves nothing.
LOWEST_AUC, HIGHEST_AUC = 0.75, 0.97
Status = Literal["passed", "failed", "missing", "stale", "not run"]


@dataclass(frozen=True)
class ControlOutcome:
    """What became of one control.

    Attributes:
        name: "negative", "positive", "A/A" or "permuted labels".
        passed: as it had to.
        summary: what was found, for people; of a phantom it says so.
    """

    name: str
    passed: bool
    summary: str


@dataclass(frozen=True)
class Controls:
    """The controls of a study, all together.

    Attributes:
        status: "passed" only if every control that belongs to the study has passed.
        reason: why there is no verdict, and what to run; "" if passed.
        outcomes: of the controls that were run.
    """

    status: Status = "not run"
    reason: str = "the controls have not been run; run: make controls"
    outcomes: tuple[ControlOutcome, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain values for verdict.json."""
        return {
            "status": self.status,
            "reason": self.reason,
            "outcomes": [asdict(outcome) for outcome in self.outcomes],
        }

    def joined_with(self, own: Sequence[ControlOutcome]) -> "Controls":
        """These controls and a study's own ones; one that failed fails them all."""
        outcomes = (*self.outcomes, *own)
        failed = [outcome for outcome in own if not outcome.passed]
        if self.status == "passed" and failed:
            names = " and ".join(outcome.name for outcome in failed)
            found = "; ".join(outcome.summary for outcome in failed)
            return Controls(
                "failed", f"the study's own control failed ({names}): {found}", outcomes
            )
        return Controls(self.status, self.reason, outcomes)


def judge_negative(contrast: Contrast, auc: float, margin: float) -> ControlOutcome:
    """Equivalent: the whole interval of finest − (coarsest, upsampled) within ± margin."""
    ends = _ends(contrast)
    passed = ends is not None and -margin < ends[0] and ends[1] < margin
    return _on_phantom("negative", passed, contrast, auc, "the answer is in structure of ≥15 mm")


def judge_positive(
    contrast: Contrast, auc: float, margin: float, structure_mm: float
) -> ControlOutcome:
    """Supported: the whole interval above the margin; the answer lies in `structure_mm`."""
    ends = _ends(contrast)
    passed = ends is not None and ends[0] > margin
    what = f"the answer is in structure of {structure_mm:g} mm"
    return _on_phantom("positive", passed, contrast, auc, what)


def judge_a_a(contrast: Contrast, margin: float) -> ControlOutcome:
    """The same arm under other seeds: the rule must not find it better or worse by the margin."""
    ends = _ends(contrast)
    passed = ends is not None and ends[0] <= margin and ends[1] >= -margin
    return ControlOutcome("A/A", passed, f"AUC differs by {_effect(contrast)}; expected 0")


def judge_permuted(estimate: ArmEstimate) -> ControlOutcome:
    """Labels permuted in training and validation: the test AUC's interval must hold ½."""
    low, high = estimate.ci_low, estimate.ci_high
    passed = low is not None and high is not None and low <= 0.5 <= high
    interval = "no interval" if low is None or high is None else f"{low:.3f} to {high:.3f}"
    return ControlOutcome(
        "permuted labels", passed, f"AUC {estimate.mean_auc:.3f} ({interval}); expected 0.5"
    )


def write_record(
    command: str,
    outcomes: Sequence[ControlOutcome],
    digests: Mapping[str, str],
    details: Mapping[str, Any],
) -> dict[str, Any]:
    """The record of the phantom's controls, as plain values for JSON.

    Args:
        command: that makes the record again.
        outcomes: of the negative and the positive control.
        digests: of the code that the record holds for, by room.
        details: what else a reader wants: commit, versions, effects.
    """
    return {
        "command": command,
        "digests": dict(digests),
        "outcomes": [asdict(outcome) for outcome in outcomes],
        **details,
    }


def read_record(
    record: Mapping[str, Any] | None, digests: Mapping[str, str], command: str
) -> Controls:
    """What the record says of the code with these digests.

    Args:
        record: the content of the record's file; None where there is none.
        digests: of the code that trained the study's cells, and of the evidence that judges them.
        command: that makes the record again.
    """
    if record is None:
        return Controls("missing", f"there is no record of the controls; run: {command}")
    outcomes = tuple(ControlOutcome(**outcome) for outcome in record["outcomes"])
    differing = [name for name in digests if record["digests"].get(name) != digests[name]]
    if differing:
        what = " and ".join(differing)
        return Controls(
            "stale",
            f"the controls were run with another version of the {what}; run: {command}",
            outcomes,
        )
    missing = [name for name in NAMES if name not in {outcome.name for outcome in outcomes}]
    failed = [outcome.name for outcome in outcomes if not outcome.passed] + missing
    if failed:
        which = " and ".join(failed)
        return Controls(
            "failed", f"the {which} control failed on the phantom; see {command}", outcomes
        )
    return Controls("passed", "", outcomes)


def _on_phantom(
    name: str, passed: bool, contrast: Contrast, auc: float, what: str
) -> ControlOutcome:
    movable = LOWEST_AUC <= auc <= HIGHEST_AUC
    note = "" if movable else f", outside {LOWEST_AUC:g} to {HIGHEST_AUC:g} where it could move"
    summary = f"phantom, {what}: effect {_effect(contrast)}; AUC at the finest {auc:.3f}{note}"
    return ControlOutcome(name, passed and movable, summary)


def _ends(contrast: Contrast) -> tuple[float, float] | None:
    if contrast.ci_low is None or contrast.ci_high is None:
        return None
    return contrast.ci_low, contrast.ci_high


def _effect(contrast: Contrast) -> str:
    ends = _ends(contrast)
    interval = f" ({ends[0]:+.4f} to {ends[1]:+.4f})" if ends else " (no interval)"
    return f"{contrast.effect:+.4f}{interval}"
