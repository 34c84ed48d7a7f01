"""How small an effect a study can detect, and how large one would have to be to decide a claim.

"Detect" means: a true effect of that size is declared supported with 80 % probability. With the
rule "low end of the 95 % interval > margin", that is margin + how far the interval reaches below
the effect + t₀.₈₀ · standard error.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil, sqrt

from scipy.special import stdtrit

from mlp_med.evidence.contrast import Contrast
from mlp_med.evidence.variance import (
    CONFIDENCE,
    ArmVariance,
    combined_interval,
    satterthwaite,
)

POWER = 0.8
LARGEST_AUC = 0.999  # that a planned arm may have
STEP = 0.0005  # of a planned effect
MOST_SEEDS = 200
MOST_PATIENTS_FACTOR = 1000  # beyond either, a number is no advice


@dataclass(frozen=True)
class Needed:
    """What would decide an inconclusive claim if the true effect is the one seen.

    Attributes:
        num_patients: with the seeds as they are (cases, where patients are unknown); None where no
            number would do.
        num_seeds: an arm, with the patients as they are; None where no number would do.
        both: patients and seeds raised in proportion; None where no feasible number would do.
    """

    num_patients: int | None
    num_seeds: int | None
    both: tuple[int, int] | None


@dataclass(frozen=True)
class PlanningAssumptions:
    """What is assumed of a study that has not run; the defaults are a nodule study's.

    Attributes:
        auc: of the arm that is not better.
        seed_sd: standard deviation of the AUC over seeds, beyond what the patients explain.
        seed_correlation: of the AUC errors of two seeds of an arm, over patients.
        arm_correlation: of two models of different arms.
        intraclass_correlation: of the cases of one patient.
    """

    auc: float = 0.9
    seed_sd: float = 0.01
    seed_correlation: float = 0.85
    arm_correlation: float = 0.65
    intraclass_correlation: float = 0.1


def minimal_detectable_effect(contrast: Contrast, margin: float) -> float | None:
    """The smallest true effect that this contrast's patients and seeds detect; None with one seed.

    Args:
        contrast: whose variance components are taken as they were estimated.
        margin: of the claim.
    """
    if contrast.standard_error is None or contrast.degrees_of_freedom is None:
        return None
    if contrast.ci_low is None:
        return None
    spare = float(stdtrit(contrast.degrees_of_freedom, POWER)) * contrast.standard_error
    return margin + contrast.effect - contrast.ci_low + spare


def planned_detectable_effect(
    *,
    num_patients: int,
    num_positive: int,
    num_negative: int,
    num_seeds: int,
    margin: float,
    assumptions: PlanningAssumptions | None = None,
) -> float | None:
    """The smallest true effect that a study of this size would detect, before anything is trained.

    The variance of one AUC over cases is Hanley & McNeil's (Radiology 143 (1982) 29–36), raised by
    the design effect 1 + (cases a patient − 1) · intraclass correlation.

    Args:
        num_patients: of the test split; the number of cases where unknown.
        num_positive: its positive cases.
        num_negative: its negative cases.
        num_seeds: an arm.
        margin: of the claim.
        assumptions: the default ones where None.

    Returns:
        None with a single seed or fewer than two patients, or where the best arm that there could
        be would not be told from the other.
    """
    assumed = assumptions or PlanningAssumptions()
    if num_seeds < 2 or num_patients < 2 or min(num_positive, num_negative) < 2:
        return None
    num_cases = num_positive + num_negative
    design_effect = 1 + max(0.0, num_cases / num_patients - 1) * assumed.intraclass_correlation
    scarcer = min(num_patients, num_positive, num_negative) - 1

    def detected(effect: float) -> bool:
        """Whether the interval, lowered by what four studies in five exceed, is above the margin.

        The better arm is nearer to 1, where the AUC varies less but the interval is more skewed.
        """
        aucs = (assumed.auc + effect, assumed.auc)
        variances = [
            design_effect * hanley_mcneil_variance(auc, num_positive, num_negative) for auc in aucs
        ]
        arms = [_planned_arm(*of, num_seeds, assumed) for of in zip(aucs, variances, strict=True)]
        cross = assumed.arm_correlation * sqrt(variances[0] * variances[1])
        interval = combined_interval(arms, cross, scarcer)
        if interval is None:
            return effect > margin
        spare = float(stdtrit(interval.degrees_of_freedom, POWER)) * interval.standard_error
        return interval.low - spare > margin

    # From below: close to 1 the assumed spread of the seeds would no longer be possible.
    steps = range(1, ceil((LARGEST_AUC - assumed.auc - margin) / STEP))
    return next((margin + k * STEP for k in steps if detected(margin + k * STEP)), None)


def _planned_arm(
    auc: float, variance: float, num_seeds: int, assumed: PlanningAssumptions
) -> ArmVariance:
    own = variance * (1 - assumed.seed_correlation)
    common = variance * assumed.seed_correlation
    return ArmVariance(num_seeds, auc, assumed.seed_sd**2 + own, own, common)


def hanley_mcneil_variance(auc: float, num_positive: int, num_negative: int) -> float:
    """Variance of an AUC over independent cases, by Hanley & McNeil's (1982) exponential model."""
    both_positive = auc / (2 - auc) - auc**2
    both_negative = 2 * auc**2 / (1 + auc) - auc**2
    return (
        auc * (1 - auc) + (num_positive - 1) * both_positive + (num_negative - 1) * both_negative
    ) / (num_positive * num_negative)


def needed(contrast: Contrast, margin: float) -> Needed:
    """The number of patients and of seeds that would decide the claim, were the effect as seen.

    Args:
        contrast: its effect and variance components are taken as the truth.
        margin: of the claim.
    """
    distance = abs(contrast.effect - margin)
    seeds = max(contrast.num_seeds)

    def decided(patients_factor: float, num_seeds: Sequence[int]) -> bool:
        reach = _predicted_reach(contrast, patients_factor, num_seeds)
        return reach is not None and reach <= distance

    factor = _smallest_factor(lambda f: decided(f, contrast.num_seeds), MOST_PATIENTS_FACTOR)
    joint = _smallest_factor(
        lambda f: decided(f, [ceil(s * f) for s in contrast.num_seeds]), MOST_SEEDS / seeds
    )
    enough_seeds = (n for n in range(seeds, MOST_SEEDS + 1) if decided(1.0, (n, n)))
    return Needed(
        num_patients=None if factor is None else ceil(contrast.num_clusters * factor),
        num_seeds=next(enough_seeds, None),
        both=None if joint is None else (ceil(contrast.num_clusters * joint), ceil(seeds * joint)),
    )


def _reach(standard_error: float, degrees_of_freedom: float) -> float:
    two_sided, power = stdtrit(degrees_of_freedom, [(1 + CONFIDENCE) / 2, POWER])
    return float(two_sided + power) * standard_error


def _predicted_reach(
    contrast: Contrast, patients_factor: float, num_seeds: Sequence[int]
) -> float | None:
    """The reach with so many times the patients and these seeds; None with unknown components."""
    own = []
    for arm, count in zip((contrast.arm_a, contrast.arm_b), num_seeds, strict=True):
        if arm.seed_variance is None or arm.patient_variance is None:
            return None
        own.append((arm.seed_variance + arm.patient_variance / patients_factor) / count)
    common = contrast.arm_a.common_variance + contrast.arm_b.common_variance
    common = max(0.0, common - 2 * contrast.cross_covariance) / patients_factor
    if sum(own) + common == 0:
        return None
    freedom = (contrast.patient_degrees_of_freedom + 1) * patients_factor - 1
    parts = [*own, common]
    return _reach(
        sqrt(sum(parts)), satterthwaite(parts, [*(count - 1 for count in num_seeds), freedom])
    )


def _smallest_factor(decided: Callable[[float], bool], largest: float) -> float | None:
    """The smallest factor ≥ 1 that decides, to one per cent; None where the largest does not."""
    low, high = 1.0, 1.0
    while not decided(high):
        low, high = high, high * 2
        if high > largest:
            return None
    while high > low * 1.01:
        middle = (low + high) / 2
        low, high = (low, middle) if decided(middle) else (middle, high)
    return high
