"""The rule that turns a contrast into a verdict, and the verdict as a sentence and as JSON."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from mlp_med.evidence.claim import AS_USED, Claim
from mlp_med.evidence.contrast import Contrast
from mlp_med.evidence.controls import Controls
from mlp_med.evidence.convergence import Convergence
from mlp_med.evidence.power import Needed, minimal_detectable_effect, needed
from mlp_med.evidence.sentence import verdict_sentence
from mlp_med.evidence.table import ArmRow

FEWEST_SEEDS = 5  # below, a verdict is provisional
Outcome = Literal["supported", "refuted", "inconclusive"]


@dataclass(frozen=True)
class Verdict:
    """What the study says of its claim.

    Attributes:
        claim: as written before the run.
        dataset: its name.
        phantom: the scans are drawn, not real.
        outcome: None where there is no verdict; `reason` then says why.
        reason: "" with a verdict.
        contrast: the primary one; None where it could not be computed.
        secondary: the other contrasts by name, as far as computed.
        minimal_detectable_effect: that these patients and seeds detect with 80 % power.
        needed: what would decide the claim, where inconclusive.
        equivalent: refuted, and the low end is above −margin.
        reversed: refuted, and the high end is below −margin.
        grid_not_information: what a user sees exceeds the margin, the primary contrast does not.
        provisional: fewer than five seeds in an arm.
        exploratory: patients are unknown.
        controls: what became of the study's controls; None where they are not ours to run, as on
            predictions that came from elsewhere.
        convergence: what the pilot said of each arm; empty where there was none.
        incomplete_arms: without all their planned seeds.
    """

    claim: Claim
    dataset: str
    phantom: bool
    outcome: Outcome | None
    reason: str
    contrast: Contrast | None
    secondary: Mapping[str, Contrast] = field(hash=False)
    minimal_detectable_effect: float | None
    needed: Needed | None
    equivalent: bool
    reversed: bool
    grid_not_information: bool
    provisional: bool
    exploratory: bool
    controls: Controls | None
    convergence: Mapping[str, Convergence] = field(hash=False)
    incomplete_arms: tuple[str, ...]

    @property
    def unconverged_arms(self) -> tuple[str, ...]:
        """The arms that the pilot did not show to be converged."""
        return tuple(arm for arm, found in self.convergence.items() if not found.converged)

    @property
    def sentence(self) -> str:
        """The verdict in one sentence that can be quoted as it is."""
        return verdict_sentence(self)


def decide(
    claim: Claim,
    contrast: Contrast | None,
    *,
    dataset: str,
    phantom: bool,
    secondary: Mapping[str, Contrast] | None = None,
    controls: Controls | None = None,
    convergence: Mapping[str, Convergence] | None = None,
    incomplete_arms: Sequence[str] = (),
    no_verdict_reason: str = "",
) -> Verdict:
    """Applies the claim's rule.

    With the two-sided 95 % interval of the effect and the margin m: supported if its low end > m;
    refuted if its high end < m (further equivalent if the low end > −m, reversed if the high end
    < −m); else inconclusive.

    There is no verdict of a study that was planned to claim nothing, while an arm of the primary
    contrast lacks seeds, without an interval, unless the controls have passed, and where more
    training of the arm that lost could overturn it.

    Args:
        claim: what was claimed.
        contrast: the primary one, None where an arm has no predictions.
        dataset: its name.
        phantom: True if the scans are drawn.
        secondary: the claim's other contrasts by name.
        controls: what became of the controls; None where they are not ours to run.
        convergence: what the pilot said, by arm.
        incomplete_arms: arms without all their planned seeds.
        no_verdict_reason: why the study was not meant to, or must not, decide; else empty.
    """
    secondary = dict(secondary or {})
    convergence = dict(convergence or {})
    reason = no_verdict_reason or _why_no_verdict(claim, contrast, incomplete_arms)
    if not reason and controls is not None:
        reason = controls.reason
    if not reason and contrast is not None:
        reason = _could_be_overturned(claim, contrast, convergence)
    outcome: Outcome | None = None
    equivalent = reversed_ = False
    if not reason and contrast is not None:
        outcome = _outcome(contrast, claim.margin)
        if outcome == "refuted" and contrast.ci_low is not None and contrast.ci_high is not None:
            equivalent = contrast.ci_low > -claim.margin
            reversed_ = contrast.ci_high < -claim.margin
    as_used = secondary.get(AS_USED)
    return Verdict(
        claim=claim,
        dataset=dataset,
        phantom=phantom,
        outcome=outcome,
        reason=reason,
        contrast=contrast,
        secondary=secondary,
        minimal_detectable_effect=(
            minimal_detectable_effect(contrast, claim.margin) if contrast else None
        ),
        needed=needed(contrast, claim.margin) if outcome == "inconclusive" and contrast else None,
        equivalent=equivalent,
        reversed=reversed_,
        grid_not_information=(
            outcome in ("refuted", "inconclusive")
            and as_used is not None
            and _outcome(as_used, claim.margin) == "supported"
        ),
        provisional=contrast is None or min(contrast.num_seeds) < FEWEST_SEEDS,
        exploratory=contrast is not None and contrast.exploratory,
        controls=controls,
        convergence=convergence,
        incomplete_arms=tuple(incomplete_arms),
    )


def verdict_to_dict(verdict: Verdict, arms: Sequence[ArmRow], commit: str) -> dict[str, Any]:
    """The content of verdict.json: plain values, None for what is unknown, no NaN.

    Args:
        verdict: as decided.
        arms: the rows of the study's table.
        commit: of the code that trained the arms.
    """
    contrast = verdict.contrast
    return {
        "claim": verdict.claim.statement,
        "dataset": verdict.dataset,
        "phantom": verdict.phantom,
        "verdict": verdict.outcome,
        "effect": contrast.effect if contrast else None,
        "ci_low": contrast.ci_low if contrast else None,
        "ci_high": contrast.ci_high if contrast else None,
        "margin": verdict.claim.margin,
        "minimal_detectable_effect": verdict.minimal_detectable_effect,
        "equivalent": verdict.equivalent,
        "reversed": verdict.reversed,
        "provisional": verdict.provisional,
        "exploratory": verdict.exploratory,
        "n_patients": contrast.num_patients if contrast else None,
        "n_cases": contrast.num_cases if contrast else None,
        "n_seeds": min(contrast.num_seeds) if contrast else None,
        "reason": verdict.reason,
        "controls": verdict.controls.to_dict() if verdict.controls else None,
        "convergence": {arm: found.to_dict() for arm, found in verdict.convergence.items()},
        "commit": commit,
        "arms": [row.to_dict() for row in arms],
    }


def _outcome(contrast: Contrast, margin: float) -> Outcome:
    if contrast.ci_low is not None and contrast.ci_low > margin:
        return "supported"
    if contrast.ci_high is not None and contrast.ci_high < margin:
        return "refuted"
    return "inconclusive"


def _why_no_verdict(
    claim: Claim,
    contrast: Contrast | None,
    incomplete_arms: Sequence[str],
) -> str:
    """Empty if a verdict may be given."""
    lacking = [arm for arm in claim.primary if arm in incomplete_arms]
    if lacking:
        return f"{_listed(lacking)} lacks seeds; finish the study first"
    if contrast is None:
        return f"{_listed(claim.primary)} have no predictions to compare"
    if min(contrast.num_seeds) < 2:
        return "with one seed it is unknown how much seeds vary; train at least two an arm"
    if contrast.ci_low is None:
        return "no AUC varies over patients or seeds; use a harder or larger test split"
    return ""


def _could_be_overturned(
    claim: Claim, contrast: Contrast, convergence: Mapping[str, Convergence]
) -> str:
    """Why more training could turn the outcome: the arm that lost may gain; else empty."""
    outcome = _outcome(contrast, claim.margin)
    if outcome == "supported" and contrast.ci_low is not None:
        loser, clearance = claim.primary[1], contrast.ci_low - claim.margin
    elif outcome == "refuted" and contrast.ci_high is not None:
        loser, clearance = claim.primary[0], claim.margin - contrast.ci_high
    else:
        return ""
    found = convergence.get(loser)
    if found is None or not found.could_overturn(clearance):
        return ""
    needed_examples = found.examples_needed
    about = f"; about {needed_examples:,} examples would be needed" if needed_examples else ""
    state = "was still rising" if found.rising else "is not shown to have converged"
    return (
        f"it would be {outcome}, but {loser} {state} at {found.budget_examples:,} examples{about}"
    )


def _listed(arms: Sequence[str]) -> str:
    return " and ".join(arms)
