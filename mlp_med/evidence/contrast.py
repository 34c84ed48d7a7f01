"""The difference of two arms on the same test cases, with its interval."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from mlp_med.evidence.clustered import (
    delong_covariance,
    fewest_patients,
    macro_covariance,
    obuchowski_covariance,
)
from mlp_med.evidence.metrics import aucs, num_pairs
from mlp_med.evidence.predictions import ScoredCases, check_paired, scored_cases
from mlp_med.evidence.resampling import bootstrap_covariance
from mlp_med.evidence.variance import (
    ArmVariance,
    Interval,
    arm_variance,
    combined_interval,
)


@dataclass(frozen=True)
class Contrast:
    """Mean AUC (macro AUC of more than two classes) over the seeds of arm a minus that of arm b.

    Attributes:
        effect: the difference.
        standard_error, degrees_of_freedom, ci_low, ci_high: None where an arm has a single seed
            (how much seeds vary is then unknown) or where nothing varies at all.
        arm_a, arm_b: each arm's mean and the components of its variance.
        case_variance: of the effect over resampled patients, the seeds held fixed.
        seed_variance: Σ σ²/S, what the seeds add to it; None with a single seed.
        cross_covariance: of the arms' AUCs over patients (Cov3).
        num_patients: None where unknown; each case was then resampled as its own patient.
        num_cases: test cases.
        num_clusters: the units that were resampled: the patients, or the cases.
        patient_degrees_of_freedom: patients of the scarcer class − 1.
        cross_check_method: "DeLong 1988" with one case a patient, else "Obuchowski 1997"; with
            "over classes" where there are more than two.
        cross_check_standard_error: the standard error with that covariance in the bootstrap's
            place; with a single seed, of the patients alone.
    """

    effect: float
    standard_error: float | None
    degrees_of_freedom: float | None
    ci_low: float | None
    ci_high: float | None
    arm_a: ArmVariance
    arm_b: ArmVariance
    case_variance: float
    seed_variance: float | None
    cross_covariance: float
    num_patients: int | None
    num_cases: int
    num_clusters: int
    patient_degrees_of_freedom: int
    cross_check_method: str
    cross_check_standard_error: float

    @property
    def exploratory(self) -> bool:
        """Patients are unknown, so that cases of one patient may have been counted apart."""
        return self.num_patients is None

    @property
    def num_seeds(self) -> tuple[int, int]:
        """The seeds of arm a and of arm b."""
        return self.arm_a.num_seeds, self.arm_b.num_seeds


@dataclass(frozen=True)
class ArmEstimate:
    """One arm's mean AUC; the interval's ends are None where there is no interval.

    Attributes:
        aucs: one a seed, in the order of `seeds`.
        seeds: ascending.
        mean_auc: their mean.
        standard_error: of patients and seeds together.
        ci_low, ci_high: two-sided 95 %.
    """

    aucs: tuple[float, ...]
    seeds: tuple[int, ...]
    mean_auc: float
    standard_error: float | None
    ci_low: float | None
    ci_high: float | None


def compare_arms(
    a: pd.DataFrame, b: pd.DataFrame, *, num_bootstrap: int = 2000, seed: int
) -> Contrast:
    """Compares two arms by their predictions on the same test cases.

    The standard error joins the variance over patients (cluster bootstrap, the same resamples for
    all seeds and both arms) with that over seeds; see `mlp_med.evidence.variance`.

    Args:
        a: predictions table of an arm, all its seeds.
        b: that of the other.
        num_bootstrap: resamples of the patients.
        seed: of the resampling.

    Raises:
        EvidenceError: the tables do not fit together, or hold too few patients.
    """
    first, second = scored_cases(a, "arm a"), scored_cases(b, "arm b")
    check_paired(first, second)
    return compare_scored(first, second, num_bootstrap=num_bootstrap, seed=seed)


def compare_scored(
    a: ScoredCases, b: ScoredCases, *, num_bootstrap: int, seed: int, cross_check: bool = True
) -> Contrast:
    """As `compare_arms`, of checked arrays; without the cross-check its standard error is NaN."""
    scores = np.vstack([a.scores, b.scores])
    seed_aucs = aucs(a.labels, scores, a.folds)
    split = len(a.seeds)
    freedom = fewest_patients(a.labels, a.patients) - 1
    covariance = bootstrap_covariance(a.labels, scores, a.patients, num_bootstrap, seed, a.folds)
    pairs = num_pairs(a.labels, a.folds)
    arms, cross, interval = _join(seed_aucs, covariance, split, freedom, pairs)
    method, check_error = "", float("nan")
    if cross_check:
        method, analytic = _analytic_covariance(a, scores)
        check = _join(seed_aucs, analytic, split, freedom, pairs)[2]
        check_error = (
            check.standard_error if check else _variance_of_difference(analytic, split) ** 0.5
        )
    seed_variances = [arm.seed_variance for arm in arms]
    return Contrast(
        effect=arms[0].mean_auc - arms[1].mean_auc,
        standard_error=interval.standard_error if interval else None,
        degrees_of_freedom=interval.degrees_of_freedom if interval else None,
        ci_low=interval.low if interval else None,
        ci_high=interval.high if interval else None,
        arm_a=arms[0],
        arm_b=arms[1],
        case_variance=_variance_of_difference(covariance, split),
        seed_variance=_sum_over_seeds(arms, seed_variances),
        cross_covariance=cross,
        num_patients=a.num_patients if a.patients_known else None,
        num_cases=len(a.ids),
        num_clusters=a.num_patients,
        patient_degrees_of_freedom=freedom,
        cross_check_method=method,
        cross_check_standard_error=check_error,
    )


def estimate_arm(table: pd.DataFrame, *, num_bootstrap: int = 2000, seed: int) -> ArmEstimate:
    """One arm's mean AUC with the interval over patients and seeds.

    Args:
        table: predictions of the arm, all its seeds.
        num_bootstrap: resamples of the patients.
        seed: of the resampling.

    Raises:
        EvidenceError: as `compare_arms`.
    """
    arm = scored_cases(table)
    seed_aucs = aucs(arm.labels, arm.scores, arm.folds)
    freedom = fewest_patients(arm.labels, arm.patients) - 1
    covariance = bootstrap_covariance(
        arm.labels, arm.scores, arm.patients, num_bootstrap, seed, arm.folds
    )
    variance = arm_variance(seed_aucs, covariance, num_pairs(arm.labels, arm.folds))
    interval = combined_interval([variance], 0.0, freedom)
    return ArmEstimate(
        aucs=tuple(map(float, seed_aucs)),
        seeds=tuple(map(int, arm.seeds)),
        mean_auc=float(seed_aucs.mean()),
        standard_error=interval.standard_error if interval else None,
        ci_low=max(0.0, interval.low) if interval else None,
        ci_high=min(1.0, interval.high) if interval else None,
    )


def _join(
    seed_aucs: np.ndarray, covariance: np.ndarray, split: int, freedom: int, pairs: int
) -> tuple[tuple[ArmVariance, ArmVariance], float, Interval | None]:
    """Arm a is the first `split` score vectors, arm b the others."""
    arms = (
        arm_variance(seed_aucs[:split], covariance[:split, :split], pairs),
        arm_variance(seed_aucs[split:], covariance[split:, split:], pairs),
    )
    cross = float(covariance[:split, split:].mean())
    return arms, cross, combined_interval(arms, cross, freedom)


def _variance_of_difference(covariance: np.ndarray, split: int) -> float:
    rest = len(covariance) - split
    signs = np.concatenate([np.full(split, 1 / split), np.full(rest, -1 / rest)])
    return max(0.0, float(signs @ covariance @ signs))


def _sum_over_seeds(
    arms: tuple[ArmVariance, ArmVariance], variances: list[float | None]
) -> float | None:
    if variances[0] is None or variances[1] is None:
        return None
    return variances[0] / arms[0].num_seeds + variances[1] / arms[1].num_seeds


def _analytic_covariance(cases: ScoredCases, scores: np.ndarray) -> tuple[str, np.ndarray]:
    if cases.scores.ndim == 3:
        covariance = macro_covariance(cases.labels, scores, cases.patients, cases.folds)[1]
        return "Obuchowski 1997, over classes", covariance
    if cases.num_patients == len(cases.ids):
        return "DeLong 1988", delong_covariance(cases.labels, scores, cases.folds)[1]
    covariance = obuchowski_covariance(cases.labels, scores, cases.patients, cases.folds)[1]
    return "Obuchowski 1997", covariance
