"""A verdict in one plain sentence: nothing that bears on its weight is left out."""

from typing import TYPE_CHECKING

from mlp_med.evidence.contrast import Contrast

if TYPE_CHECKING:
    from mlp_med.evidence.several import JudgedClaim
    from mlp_med.evidence.verdict import Verdict


def verdict_sentence(verdict: "Verdict") -> str:
    """What was claimed, what came of it, how large it is, from how much, and with what caveats."""
    where = f"On {verdict.dataset}"
    if verdict.phantom:
        where = f"On the phantom {verdict.dataset} (drawn scans: no evidence about patients)"
    parts = [f"{where}, {_outcome(verdict)}"]
    if verdict.contrast is not None:
        parts.append(_effect(verdict, verdict.contrast))
    return "; ".join([*parts, *_caveats(verdict)]) + "."


def outcome_of(judged: "Verdict | JudgedClaim") -> str:
    """What came of one claim, and why there is no verdict where there is none."""
    claim = f"“{judged.claim.statement.rstrip('.')}”"
    if judged.outcome is None:
        return f"there is no verdict on {claim}: {judged.reason}"
    text = f"{claim} is {judged.outcome}"
    if judged.equivalent:
        text += " (the arms are equivalent within the margin)"
    if judged.reversed:
        text += " (the effect is reversed)"
    return text


def _outcome(verdict: "Verdict") -> str:
    text = outcome_of(verdict)
    if verdict.outcome is not None and verdict.grid_not_information:
        text += (
            ": grid, not information – the finer grid as used is better by more than the margin, "
            "but its finer information is not shown to be"
        )
    return text


def _effect(verdict: "Verdict", contrast: Contrast) -> str:
    first, second = verdict.claim.primary
    margin = verdict.claim.margin
    digits = _digits(contrast, margin)
    interval = "no interval"
    if contrast.ci_low is not None and contrast.ci_high is not None:
        interval = f"95 % interval {contrast.ci_low:+.{digits}f} to {contrast.ci_high:+.{digits}f}"
    patients = (
        "patients unknown"
        if contrast.num_patients is None
        else _counted(contrast.num_patients, "patient")
    )
    a, b = contrast.num_seeds
    seeds = f"{_counted(a, 'seed')} an arm" if a == b else f"{a} and {b} seeds"
    metric = verdict.claim.metric_name
    return (
        f"{metric} of {first} minus {second} {contrast.effect:+.{digits}f} ({interval}, "
        f"margin {margin:.{digits}f}; {patients}, {_counted(contrast.num_cases, 'case')}, {seeds})"
    )


def _caveats(verdict: "Verdict") -> list[str]:
    caveats = []
    if verdict.outcome == "inconclusive":
        caveats.append(_what_would_decide(verdict))
    if verdict.minimal_detectable_effect is not None:
        caveats.append(f"smallest detectable effect {verdict.minimal_detectable_effect:.3f}")
    if verdict.outcome is not None and verdict.provisional:
        caveats.append("provisional: fewer than 5 seeds")
    if verdict.exploratory:
        caveats.append("exploratory: patients unknown")
    if verdict.unconverged_arms:
        caveats.append(f"not shown to have converged: {', '.join(verdict.unconverged_arms)}")
    if verdict.incomplete_arms:
        caveats.append(f"incomplete: {', '.join(verdict.incomplete_arms)}")
    if verdict.controls is None:
        caveats.append("controls and training are for the author of the predictions to vouch for")
    else:
        caveats.append(f"controls {verdict.controls.status}")
    return caveats


def _what_would_decide(verdict: "Verdict") -> str:
    if verdict.needed is None or verdict.contrast is None:
        return "no number of patients and seeds can be named that would decide it"
    unit = "cases" if verdict.exploratory else "patients"
    ways = []
    if verdict.needed.num_patients is not None:
        ways.append(f"{verdict.needed.num_patients} {unit} with these seeds")
    if verdict.needed.num_seeds is not None:
        ways.append(f"{verdict.needed.num_seeds} seeds an arm with these {unit}")
    if verdict.needed.both is not None and len(ways) < 2:
        patients, seeds = verdict.needed.both
        ways.append(f"{patients} {unit} with {seeds} seeds an arm")
    if not ways:
        return "the effect seen is so near the margin that no feasible study would decide it"
    return f"if the effect is as seen, it would be decided by {' or '.join(ways)}"


def _counted(number: int, unit: str) -> str:
    return f"{number} {unit}" if number == 1 else f"{number:,} {unit}s"


def _digits(contrast: Contrast, margin: float) -> int:
    """Three decimals; more where an end of the interval would read as if it were the margin."""
    ends = [end for end in (contrast.ci_low, contrast.ci_high) if end is not None]
    for digits in (3, 4):
        printed = {f"{abs(end):.{digits}f}" for end in ends}
        if f"{margin:.{digits}f}" not in printed:
            return digits
    return 5
