"""What came of one claim of several, in one sentence that can be quoted as it is."""

from collections.abc import Callable
from math import exp

from mlp_med.evidence.contrast import Contrast
from mlp_med.evidence.runs import RunsContrast
from mlp_med.evidence.sentence import outcome_of
from mlp_med.evidence.several import Estimated, JudgedClaim
from mlp_med.evidence.verdict import FEWEST_SEEDS

UNITS = {"examples_to_target": "examples", "seconds_to_target": "seconds"}


def claim_sentence(
    judged: JudgedClaim, *, dataset: str, phantom: bool, num_claims: int, controls: str
) -> str:
    """What was claimed, what came of it, how large it is, and with what caveats.

    Args:
        judged: one of the study's claims.
        dataset: its name.
        phantom: True if the scans are drawn.
        num_claims: of the study, that are judged together.
        controls: their status.
    """
    where = f"On {dataset}"
    if phantom:
        where = f"On the phantom {dataset} (drawn scans: no evidence about patients)"
    parts = [f"{where}, {outcome_of(judged)}"]
    if judged.estimate is not None:
        parts.append(effect_words(judged))
    if judged.p_value is not None:
        adjusted = _p(judged.adjusted_p_value)
        parts.append(f"one of {num_claims} claims: p {_p(judged.p_value)}, by Holm {adjusted}")
    if judged.outcome is not None and min(num_runs(judged.estimate)) < FEWEST_SEEDS:
        parts.append(f"provisional: fewer than {FEWEST_SEEDS} seeds")
    return "; ".join([*parts, f"controls {controls}"]) + "."


def effect_words(judged: JudgedClaim) -> str:
    """The effect with its 95 % interval, in the units of the claim's metric."""
    claim, estimate = judged.claim, judged.estimate
    first, second = claim.primary
    if estimate is None:
        return "no effect could be computed"
    show, show_end = _shown(claim.metric, estimate), _shown_end(claim.metric)
    what = {
        "auc": f"AUC of {first} minus {second}",
        "log_sharpness": f"φ of {first} over that of {second}",
    }.get(claim.metric, f"mean {UNITS.get(claim.metric, '')} of {first} minus {second}")
    interval = "no interval"
    if estimate.ci_low is not None and estimate.ci_high is not None:
        interval = f"95 % interval {show_end(estimate.ci_low)} to {show_end(estimate.ci_high)}"
    a, b = num_runs(estimate)
    seeds = f"{a} seeds an arm" if a == b else f"{a} and {b} seeds"
    margin = f"margin {show_end(claim.margin)}"
    return f"{what} {show(estimate.effect)} ({interval}, {margin}; {seeds})"


def num_runs(estimate: Estimated | None) -> tuple[int, int]:
    """The seeds of either arm."""
    if isinstance(estimate, Contrast):
        return estimate.num_seeds
    return estimate.num_runs if isinstance(estimate, RunsContrast) else (0, 0)


def shown_effect(judged: JudgedClaim) -> tuple[str, str, str, str]:
    """Effect, 95 % interval, interval at Holm's level, and margin, in the metric's units."""
    estimate = judged.estimate
    if estimate is None:
        return "n/a", "n/a", "n/a", f"{judged.claim.margin:g}"
    show, show_end = _shown(judged.claim.metric, estimate), _shown_end(judged.claim.metric)

    def both(low: float | None, high: float | None) -> str:
        return "n/a" if low is None or high is None else f"{show_end(low)} to {show_end(high)}"

    return (
        show(estimate.effect),
        both(estimate.ci_low, estimate.ci_high),
        both(judged.low, judged.high),
        show_end(judged.claim.margin),
    )


def _shown(metric: str, estimate: Estimated) -> Callable[[float], str]:
    """How a difference of this metric is written: a time also in its own units."""
    show_end = _shown_end(metric)
    if metric not in UNITS:
        return show_end
    horizon = getattr(estimate, "horizon", None) or 1.0
    number = "{:+,.0f} (" if metric == "examples_to_target" else "{:+.3g} ("
    return lambda value: f"{number.format(value * horizon)}{show_end(value)} of {horizon:,.4g})"


def _shown_end(metric: str) -> Callable[[float], str]:
    """How a margin and the ends of an interval are written: a time as a share of the horizon."""
    if metric in UNITS:
        return lambda value: f"{100 * value:+.0f} %"
    if metric == "log_sharpness":
        return lambda value: f"×{exp(value):.3g}"
    return lambda value: f"{value:+.3f}"


def _p(value: float | None) -> str:
    if value is None:
        return "n/a"
    return "<0.001" if value < 0.001 else f"{value:.3f}"
