"""Whether an effect differs among several strata of which none is first: scanners, hospitals.

With e the effects in k strata and ē their weighted mean, Σ wⱼ (eⱼ − ē)² is large where they differ.
It is a quadratic form in k − 1 contrasts of the strata. Divided by the trace of their covariance V
it is the ANOVA-type statistic of Brunner, Dette & Munk (1997): about F with tr(V)² / tr(V²) degrees
of freedom above, by Box's approximation. No inverse of V is taken, which a handful of seeds could
not give. The weights are the patients of the scarcest class, so that a small stratum adds little
noise; one of fewer than ten is left out.

V has the parts that the interval of an effect has (`mlp_med.evidence.variance`), each a matrix
here: what each arm's seeds differ by, or what the patients make of that where it is more, and what
the patients do to all seeds alike. An estimate Vᵢ from d degrees of freedom has a trace of variance
2 tr(Vᵢ²) / d, so that below stand tr(V)² / Σ tr(Vᵢ²) / dᵢ. Of two strata the statistic is the
square of the t of `mlp_med.evidence.interaction`, with the same p.

E. Brunner, H. Dette, A. Munk, J. Am. Stat. Assoc. 92 (1997) 1494–1502.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.linalg import null_space
from scipy.special import fdtrc

from mlp_med.evidence.stratum_aucs import StratumAucs, stratum_aucs
from mlp_med.evidence.table import Stratum, StratumEffect
from mlp_med.evidence.variance import NO_VARIANCE

FEWEST_PATIENTS = 10  # of the scarcest class, in a stratum


@dataclass(frozen=True)
class Heterogeneity:
    """The test of no difference among the effects in several strata.

    Attributes:
        column: what the strata are of.
        strata: those that were compared.
        statistic: F.
        degrees_of_freedom: above and below.
        p_value: of no difference.
    """

    column: str
    strata: tuple[Stratum, ...]
    statistic: float
    degrees_of_freedom: tuple[float, float]
    p_value: float


def heterogeneity(
    a: pd.DataFrame,
    b: pd.DataFrame,
    strata: Sequence[StratumEffect],
    *,
    positives_only: bool,
    num_bootstrap: int = 2000,
    seed: int,
) -> Heterogeneity | None:
    """Tests whether the effect is the same in all strata of `FEWEST_PATIENTS` or more.

    What it takes is what `mlp_med.evidence.interaction.interaction` takes.

    Returns:
        None where it cannot be told: one such stratum, one seed in an arm, no variance.

    Raises:
        EvidenceError: the tables do not fit together.
    """
    large = [effect for effect in strata if is_large(effect)]
    if len(large) < 2:
        return None
    found = stratum_aucs(
        a, b, large, positives_only=positives_only, num_bootstrap=num_bootstrap, seed=seed
    )
    tested = None if found is None else _test(found.along(_contrasts(found.patients)))
    if tested is None:
        return None
    return Heterogeneity(large[0].column, tuple(effect.stratum for effect in large), *tested)


def is_large(effect: StratumEffect) -> bool:
    """Whether a stratum has the patients that it is compared with."""
    contrast = effect.contrast
    return contrast is not None and contrast.patient_degrees_of_freedom >= FEWEST_PATIENTS - 1


def _contrasts(patients: Sequence[int]) -> np.ndarray:
    """[k − 1, k], whose values' squares sum to Σ wⱼ (eⱼ − ē)²."""
    roots = np.sqrt(patients)
    return null_space(roots[np.newaxis]).T * roots


def _test(contrasts: StratumAucs) -> tuple[float, tuple[float, float], float] | None:
    """F, its degrees of freedom and p, from the k − 1 contrasts of each network."""
    split = contrasts.num_first
    values = (contrasts.aucs[:split], contrasts.aucs[split:])
    covariance = _covariance(contrasts.resampled)
    within = (covariance[:split, :split], covariance[split:, split:])
    own = [_own_part(*arm) for arm in zip(values, within, strict=True)]
    cross = covariance[:split, split:].mean(axis=(0, 1))
    common = _if_positive(sum(map(_between_seeds, within)) - cross - cross.T)
    variance = sum(own) + common
    trace = float(np.trace(variance))
    if trace < NO_VARIANCE:
        return None
    effects = values[0].mean(axis=0) - values[1].mean(axis=0)
    statistic = float(effects @ effects) / trace
    freedoms = [*(len(of) - 1 for of in values), min(contrasts.patients) - 1]
    above = trace**2 / _sum_of_squares(variance)
    parts = zip([*own, common], freedoms, strict=True)
    below = trace**2 / sum(_sum_of_squares(part) / freedom for part, freedom in parts)
    return statistic, (above, below), float(fdtrc(above, below, statistic))


def _covariance(resampled: np.ndarray) -> np.ndarray:
    """[num_vectors, num_vectors, contrasts, contrasts] of [num_vectors, contrasts, resamples]."""
    centred = resampled - resampled.mean(axis=-1, keepdims=True)
    return np.einsum("vir,wjr->vwij", centred, centred) / (resampled.shape[-1] - 1)


def _own_part(values: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """(σ² + Var − Cov2) / S as a matrix: an arm's own part of the variance of its mean.

    Args:
        values: [num_seeds, contrasts].
        covariance: [num_seeds, num_seeds, contrasts, contrasts] over resampled patients.
    """
    observed = np.atleast_2d(np.cov(values, rowvar=False))
    alone = np.einsum("vvij->ij", covariance) / len(values)
    of_patients = _if_positive(alone - _between_seeds(covariance))
    return max(observed, of_patients, key=np.trace) / len(values)


def _between_seeds(covariance: np.ndarray) -> np.ndarray:
    """Cov2 as a matrix: the mean covariance of two seeds."""
    num_seeds = len(covariance)
    others = covariance.sum(axis=(0, 1)) - np.einsum("vvij->ij", covariance)
    return (others + others.T) / (2 * num_seeds * (num_seeds - 1))


def _if_positive(matrix: np.ndarray) -> np.ndarray:
    """The matrix, or zeros where its trace, a variance, would be below zero."""
    return matrix if np.trace(matrix) > 0 else np.zeros_like(matrix)


def _sum_of_squares(matrix: np.ndarray) -> float:
    """Tr(M²) of a symmetric matrix."""
    return float(np.sum(matrix**2))
