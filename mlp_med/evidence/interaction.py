"""Whether an effect differs between two strata: the difference of two differences of AUC.

"Small things need fine resolution" says that the effect is larger among small lesions than among
large ones. Two intervals side by side do not test that; their difference does. In each arm every
seed's AUC among the first stratum minus its AUC among the last is one number a trained network, so
the arms are compared in it as in the AUC itself (`mlp_med.evidence.variance`): patients by a
cluster bootstrap that both strata, all seeds and both arms share, seeds by their sample variance, t
with Satterthwaite's degrees of freedom.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np
import pandas as pd
from scipy.stats import t

from mlp_med.errors import EvidenceError
from mlp_med.evidence.clustered import fewest_patients
from mlp_med.evidence.metrics import resampled_aucs
from mlp_med.evidence.predictions import ScoredCases, check_paired, scored_cases
from mlp_med.evidence.resampling import patient_weights
from mlp_med.evidence.table import Stratum, StratumEffect
from mlp_med.evidence.variance import CONFIDENCE, NO_VARIANCE, arm_variance, satterthwaite

LEAST_USABLE = 0.9  # of the resamples: so many must hold both classes in both strata


@dataclass(frozen=True)
class Interaction:
    """The effect in the first stratum minus that in the last, of those that have one.

    Attributes:
        column: what the strata are of.
        first, last: the strata.
        difference: of the two effects.
        ci_low, ci_high: two-sided 95 %.
        p_value: two-sided, of no difference.
    """

    column: str
    first: Stratum
    last: Stratum
    difference: float
    ci_low: float
    ci_high: float
    p_value: float


def interaction(
    a: pd.DataFrame,
    b: pd.DataFrame,
    strata: Sequence[StratumEffect],
    *,
    positives_only: bool,
    num_bootstrap: int = 2000,
    seed: int,
) -> Interaction | None:
    """Tests whether the effect is another in the first stratum than in the last.

    Args:
        a: predictions table of an arm with the strata's column, all its seeds.
        b: that of the other arm.
        strata: of `effect_by_stratum`, of these tables.
        positives_only: as there: each stratum's positives are set against all negatives.
        num_bootstrap: resamples of the patients.
        seed: of the resampling.

    Returns:
        None where it cannot be told: one stratum with an effect, one seed in an arm, too few cases,
        no variance; or more than two words, of which none is first.

    Raises:
        EvidenceError: the tables do not fit together.
    """
    usable = [effect.stratum for effect in strata if effect.contrast is not None]
    if len(usable) < 2 or (usable[0].word is not None and len(usable) > 2):
        return None
    column = strata[0].column
    first, second = scored_cases(a, "arm a"), scored_cases(b, "arm b")
    check_paired(first, second)
    if min(len(first.seeds), len(second.seeds)) < 2:
        return None
    values = a.drop_duplicates("id").set_index("id")[column].loc[first.ids]
    always = ~first.labels if positives_only else np.zeros(len(values), bool)
    small, large = (usable[end].holds(values).to_numpy() | always for end in (0, -1))
    scores = np.vstack([first.scores, second.scores])
    try:
        differences, covariance = _resampled(first, scores, small, large, num_bootstrap, seed)
    except EvidenceError:  # hardly any resample holds what both strata need
        return None
    freedom = min(_patients(first, small), _patients(first, large)) - 1
    found = _compare(differences, covariance, len(first.seeds), freedom)
    return None if found is None else Interaction(column, usable[0], usable[-1], *found)


def _resampled(
    cases: ScoredCases,
    scores: np.ndarray,
    small: np.ndarray,
    large: np.ndarray,
    num_bootstrap: int,
    seed: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Of each score vector its AUC in `small` minus that in `large`, and their covariance."""
    weights = patient_weights(cases.labels, cases.patients, num_bootstrap, seed, cases.folds)
    weights = np.column_stack([np.ones(len(cases.labels), weights.dtype), weights])
    of_small, of_large = (
        resampled_aucs(
            cases.labels[chosen], scores[:, chosen], weights[chosen], cases.folds[chosen]
        )
        for chosen in (small, large)
    )
    differences = of_small - of_large
    usable = np.isfinite(differences).all(axis=0)
    if usable[1:].mean() < LEAST_USABLE:
        raise EvidenceError("too few resamples of the patients hold both classes in both strata")
    return differences[:, 0], np.atleast_2d(np.cov(differences[:, 1:][:, usable[1:]]))


def _patients(cases: ScoredCases, chosen: np.ndarray) -> int:
    """Patients of the scarcer class in a stratum."""
    return fewest_patients(cases.labels[chosen], cases.patients[chosen])


def _compare(
    differences: np.ndarray, covariance: np.ndarray, split: int, freedom: int
) -> tuple[float, float, float, float] | None:
    """Difference, its interval, p; arm a is the first `split` score vectors, arm b the others."""
    arms = (
        arm_variance(differences[:split], covariance[:split, :split]),
        arm_variance(differences[split:], covariance[split:, split:]),
    )
    squares = [arm.mean_square for arm in arms if arm.mean_square is not None]
    cross = float(covariance[:split, split:].mean())
    common = max(0.0, sum(arm.common_variance for arm in arms) - 2 * cross)
    variance = sum(squares) + common
    if variance < NO_VARIANCE or freedom < 1:
        return None
    degrees_of_freedom = satterthwaite(
        [*squares, common], [*(arm.num_seeds - 1 for arm in arms), freedom]
    )
    difference = arms[0].mean_auc - arms[1].mean_auc
    error = sqrt(variance)
    reach = float(t.ppf((1 + CONFIDENCE) / 2, degrees_of_freedom)) * error
    p_value = 2 * float(t.sf(abs(difference) / error, degrees_of_freedom))
    return difference, difference - reach, difference + reach, p_value
