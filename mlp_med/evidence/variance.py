"""Two sources of variance in a difference of arms: the patients drawn and the seeds drawn.

Seeds are the readers of a multi-reader multi-case design in which each reader sees one arm only
(a split-plot). With Â(i, s) the AUC of seed s in arm i, Obuchowski & Rockette (1995) write
Â = θ(i) + R(i, s) + ε(i, s): R has the seeds' variance σ²(i), ε comes from the patients and has
variance Var(i), covariance Cov2(i) between seeds of one arm, Cov3 between arms. Then

    Var(effect) = Σᵢ [σ²(i) + Var(i) − Cov2(i)] / S(i)  +  Cov2(a) + Cov2(b) − 2 Cov3.

The bracket is just what the sample variance s²(i) of an arm's AUCs estimates. The patient bootstrap
holds the seeds fixed, so its variance of the seed-averaged difference is the same formula without
σ²: it already holds (Var − Cov2) / S. Adding s²/S to it would count that twice; here s²/S is added
to the common part Cov2(a) + Cov2(b) − 2 Cov3 alone. Equivalently, σ² = s² − (Var − Cov2) is added
to the bootstrap's variance. Both σ² and the common part are truncated at zero, which can only
widen the interval.

Degrees of freedom are Satterthwaite's as in Hillis (2007), one term an arm, so that arms may
differ in how much their seeds vary; the common part has those of the scarcer class's patients.

The symmetric interval errs where AUCs are skewed, as near 1: an arm whose few seeds were lucky
shows a high mean *and* a small spread, so that both ends mislead. The interval is therefore widened
to hold a second one, made on the probit scale, where the seeds of a binormal model are normal. With
probit(AUC) ~ N(m, v) over the seeds, the mean AUC is Φ(m / √(1 + v)). As in the intervals of a
lognormal mean by Zou, Huo & Taleban (2009), the limits of m and those of v (from χ²) are joined by
MOVER (Zou & Donner 2008), then those of the two arms. Away from 1 the two intervals agree.

N. A. Obuchowski, H. E. Rockette, Commun. Stat. Simul. Comput. 24 (1995) 285–308.
S. L. Hillis, Stat. Med. 26 (2007) 596–619; 33 (2014) 330–360.
G. Y. Zou, A. Donner, Stat. Med. 27 (2008) 1693–1702.
G. Y. Zou, C. Y. Huo, J. Taleban, Environmetrics 20 (2009) 172–180.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, hypot, pi, sqrt

import numpy as np
from scipy.special import chdtri, ndtr, ndtri, stdtrit

CONFIDENCE = 0.95
NO_VARIANCE = 1e-15  # rounding of AUCs that are all equal


@dataclass(frozen=True)
class ArmVariance:
    """What one arm's seeds and the patient resampling say about its mean AUC.

    Attributes:
        num_seeds: S, the cells.
        mean_auc: mean over seeds.
        between_seed_variance: s², the sample variance of the seeds' AUCs; None with one seed.
        patient_variance: Var − Cov2, the share of s² that comes from the patients (the models err
            on different cases); None with one seed.
        common_variance: Cov2, what the patients do to all seeds of the arm alike; with one seed,
            its whole patient variance.
        probit_variance: the sample variance of probit(AUC) over the seeds; where None, that of the
            AUCs is carried to the probit scale by its slope.
    """

    num_seeds: int
    mean_auc: float
    between_seed_variance: float | None
    patient_variance: float | None
    common_variance: float
    probit_variance: float | None = None

    @property
    def seed_variance(self) -> float | None:
        """σ²: the variance of the seeds beyond what the patients explain, not below zero."""
        if self.between_seed_variance is None or self.patient_variance is None:
            return None
        return max(0.0, self.between_seed_variance - self.patient_variance)

    @property
    def mean_square(self) -> float | None:
        """(σ² + Var − Cov2) / S: this arm's own part of the effect's variance."""
        if self.seed_variance is None or self.patient_variance is None:
            return None
        return (self.seed_variance + self.patient_variance) / self.num_seeds


@dataclass(frozen=True)
class Interval:
    """A standard error, its degrees of freedom and the two-sided 95 % interval."""

    standard_error: float
    degrees_of_freedom: float
    low: float
    high: float


def arm_variance(
    aucs: np.ndarray, covariance: np.ndarray, num_pairs: int | None = None
) -> ArmVariance:
    """Splits one arm's variance.

    Args:
        aucs: [num_seeds].
        covariance: [num_seeds, num_seeds] over resampled patients, the seeds held fixed.
        num_pairs: positive cases times negative cases; an AUC of 1 counts as half a pair short
            of it on the probit scale. None leaves that scale's variance out.
    """
    num_seeds, mean = len(aucs), float(np.mean(aucs))
    total = float(np.trace(covariance))
    if num_seeds == 1:
        return ArmVariance(1, mean, None, None, total)
    common = float(covariance.sum() - total) / (num_seeds * (num_seeds - 1))
    probit_variance = None
    if num_pairs is not None:
        half_a_pair = 0.5 / num_pairs
        inside = np.clip(aucs, half_a_pair, 1 - half_a_pair)
        probit_variance = float(np.var(ndtri(inside), ddof=1))
    return ArmVariance(
        num_seeds,
        mean,
        float(np.var(aucs, ddof=1)),
        max(0.0, total / num_seeds - common),
        common,
        probit_variance,
    )


def combined_interval(
    arms: Sequence[ArmVariance], cross_covariance: float, patient_degrees_of_freedom: int
) -> Interval | None:
    """The interval of one arm's AUC, or of the first arm's minus the second's.

    Args:
        arms: one or two.
        cross_covariance: Cov3, of the arms' AUCs over patients; 0 for one arm.
        patient_degrees_of_freedom: patients of the scarcer class − 1.

    Returns:
        None where the seeds' variance is unknown (an arm with one seed) or where nothing varies at
        all (every AUC 1, say), since no interval can then be had from these predictions.
    """
    squares = [arm.mean_square for arm in arms]
    known = [square for square in squares if square is not None]
    if len(known) < len(arms):
        return None
    common = max(0.0, sum(arm.common_variance for arm in arms) - 2 * cross_covariance)
    variance = sum(known) + common
    if variance < NO_VARIANCE:
        return None
    freedom = satterthwaite(
        [*known, common], [*(arm.num_seeds - 1 for arm in arms), patient_degrees_of_freedom]
    )
    quantile = float(stdtrit(freedom, (1 + CONFIDENCE) / 2))
    signs = [1.0, -1.0][: len(arms)]
    effect = sum(sign * arm.mean_auc for sign, arm in zip(signs, arms, strict=True))
    half = quantile * sqrt(variance)
    skewed_low, skewed_high = _skewed_interval(arms, known, variance, effect, quantile)
    return Interval(
        sqrt(variance), freedom, min(effect - half, skewed_low), max(effect + half, skewed_high)
    )


def satterthwaite(variances: Sequence[float], degrees_of_freedom: Sequence[float]) -> float:
    """Degrees of freedom of a sum of independent variance estimates (Satterthwaite 1946)."""
    spread = sum(v**2 / d for v, d in zip(variances, degrees_of_freedom, strict=True))
    return float(sum(variances) ** 2 / spread)


def _skewed_interval(
    arms: Sequence[ArmVariance],
    squares: Sequence[float],
    variance: float,
    effect: float,
    quantile: float,
) -> tuple[float, float]:
    """MOVER: each arm's limits from the probit scale, joined with the arms' correlation."""
    errors = [
        sqrt(square + max(0.0, arm.common_variance))
        for square, arm in zip(squares, arms, strict=True)
    ]
    below, above = zip(*(_probit_reach(arm, quantile) for arm in arms), strict=True)
    if len(arms) == 1:
        return effect - below[0], effect + above[0]
    product = errors[0] * errors[1]
    correlation = (errors[0] ** 2 + errors[1] ** 2 - variance) / (2 * product) if product else 0.0
    correlation = min(1.0, max(-1.0, correlation))

    def joined(first: float, second: float) -> float:
        return sqrt(max(0.0, first**2 + second**2 - 2 * correlation * first * second))

    return effect - joined(below[0], above[1]), effect + joined(above[0], below[1])


def _probit_reach(arm: ArmVariance, quantile: float) -> tuple[float, float]:
    """How far the interval made on the probit scale reaches below and above an arm's mean AUC."""
    between, patient = arm.between_seed_variance or 0.0, arm.patient_variance or 0.0
    common, freedom = max(0.0, arm.common_variance), arm.num_seeds - 1
    centre = float(ndtri(arm.mean_auc))
    slope = exp(-(centre**2) / 2) / sqrt(2 * pi)  # of AUC over probit
    if slope < NO_VARIANCE:  # all seeds perfect (or perfectly wrong): no scale to transform to
        reach = quantile * sqrt(max(between, patient) / arm.num_seeds + common)
        return reach, reach
    spread = between / slope**2 if arm.probit_variance is None else arm.probit_variance
    patient, common = patient / slope**2, common / slope**2
    of_place = quantile * sqrt(max(spread, patient) / arm.num_seeds + common)
    largest, smallest = (  # limits of the seeds' variance, at the interval's own confidence
        spread * freedom / float(chdtri(freedom, tail))
        for tail in ((1 + CONFIDENCE) / 2, (1 - CONFIDENCE) / 2)
    )

    def drawn_in(variance: float) -> float:
        """How much nearer ½ than Φ(m) the mean AUC is, in probits, for this variance of seeds."""
        return abs(centre) * (1 - 1 / sqrt(1 + max(0.0, variance - patient)))

    inwards = drawn_in(largest) - drawn_in(spread)
    outwards = drawn_in(spread) - drawn_in(smallest)
    downwards, upwards = (inwards, outwards) if centre > 0 else (outwards, inwards)
    low = float(ndtr(centre - hypot(of_place, downwards)))
    high = float(ndtr(centre + hypot(of_place, upwards)))
    return arm.mean_auc - low, high - arm.mean_auc
