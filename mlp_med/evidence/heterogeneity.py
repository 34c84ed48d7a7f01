"""Whether an effect differs among several strata of which none is first: scanners, hospitals.

With e the effects in k strata and ē their mean, Σ (eⱼ − ē)² is large where they differ. It is a
quadratic form in k − 1 orthonormal contrasts of the strata. Divided by the trace of their
covariance V it is the ANOVA-type statistic of Brunner, Dette & Munk (1997): about F with
tr(V)² / tr(V²) degrees of freedom above, by Box's approximation. No inverse of V is taken, which a
handful of seeds could not give. V has the parts that the interval of an effect has
(`mlp_med.evidence.variance`), each a matrix here: what each arm's seeds differ by, not less than
the patients make of it, and what the patients do to all seeds alike. Below stand Satterthwaite's
degrees of freedom over the traces of these parts. Of two strata the statistic is the square of the
t of `mlp_med.evidence.interaction`, with the same p.

E. Brunner, H. Dette, A. Munk, J. Am. Stat. Assoc. 92 (1997) 1494–1502.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.linalg import helmert
from scipy.special import fdtrc

from mlp_med.evidence.stratum_aucs import StratumAucs, stratum_aucs
from mlp_med.evidence.table import Stratum, StratumEffect
from mlp_med.evidence.variance import NO_VARIANCE, satterthwaite


@dataclass(frozen=True)
class Heterogeneity:
    """The test of no difference among the effects in several strata.

    Attributes:
        column: what the strata are of.
        strata: those that have an effect.
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
    """Tests whether the effect is the same in all strata that have one.

    Args:
        a: predictions table of an arm with the strata's column, all its seeds.
        b: that of the other arm.
        strata: of `effect_by_stratum`, of these tables.
        positives_only: as there: each stratum's positives are set against all negatives.
        num_bootstrap: resamples of the patients.
        seed: of the resampling.

    Returns:
        None where it cannot be told: one stratum with an effect, one seed in an arm, too few cases,
        no variance.

    Raises:
        EvidenceError: the tables do not fit together.
    """
    usable = tuple(effect.stratum for effect in strata if effect.contrast is not None)
    if len(usable) < 2:
        return None
    column = strata[0].column
    found = stratum_aucs(
        a,
        b,
        column,
        usable,
        positives_only=positives_only,
        num_bootstrap=num_bootstrap,
        seed=seed,
    )
    tested = None if found is None else _test(found.along(helmert(len(usable))))
    return None if tested is None else Heterogeneity(column, usable, *tested)


def _test(contrasts: StratumAucs) -> tuple[float, tuple[float, float], float] | None:
    """F, its degrees of freedom and p, from the k − 1 contrasts of each network."""
    split, freedom = contrasts.num_first, contrasts.fewest_patients - 1
    values = (contrasts.aucs[:split], contrasts.aucs[split:])
    covariance = _covariance(contrasts.resampled)
    within = (covariance[:split, :split], covariance[split:, split:])
    own = [_own_part(*arm) for arm in zip(values, within, strict=True)]
    cross = covariance[:split, split:].mean(axis=(0, 1))
    common = _positive_part(sum(map(_between_seeds, within)) - cross - cross.T)
    variance = sum(own) + common
    trace = float(np.trace(variance))
    if trace < NO_VARIANCE or freedom < 1:
        return None
    effects = values[0].mean(axis=0) - values[1].mean(axis=0)
    statistic = float(effects @ effects) / trace
    above = trace**2 / float(np.sum(variance**2))
    below = satterthwaite(
        [float(np.trace(part)) for part in (*own, common)],
        [*(len(of) - 1 for of in values), freedom],
    )
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
    of_patients = _positive_part(alone - _between_seeds(covariance))
    return (of_patients + _positive_part(observed - of_patients)) / len(values)


def _between_seeds(covariance: np.ndarray) -> np.ndarray:
    """Cov2 as a matrix: the mean covariance of two seeds."""
    num_seeds = len(covariance)
    others = covariance.sum(axis=(0, 1)) - np.einsum("vvij->ij", covariance)
    return (others + others.T) / (2 * num_seeds * (num_seeds - 1))


def _positive_part(matrix: np.ndarray) -> np.ndarray:
    """The symmetric matrix without its negative eigenvalues."""
    values, vectors = np.linalg.eigh((matrix + matrix.T) / 2)
    return (vectors * np.clip(values, 0, None)) @ vectors.T
