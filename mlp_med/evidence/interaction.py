"""Whether an effect differs between two strata: the difference of two differences of AUC.

"Small things need fine resolution" says that the effect is larger among small lesions than among
large ones. Two intervals side by side do not test that; their difference does. In each arm every
seed's AUC among the first stratum minus its AUC among the last is one number a trained network, so
the arms are compared in it as in the AUC itself (`mlp_med.evidence.variance`): patients by a
cluster bootstrap that both strata, all seeds and both arms share, seeds by their sample variance, t
with Satterthwaite's degrees of freedom. Among more than two words, of which none is first or last,
see `mlp_med.evidence.heterogeneity`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np
import pandas as pd
from scipy.special import stdtr, stdtrit

from mlp_med.evidence.stratum_aucs import StratumAucs, stratum_aucs
from mlp_med.evidence.table import Stratum, StratumEffect, are_several_words, with_effect
from mlp_med.evidence.variance import CONFIDENCE, NO_VARIANCE, arm_variance, satterthwaite

FIRST_MINUS_LAST = np.array([[1.0, -1.0]])


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
    usable = with_effect(strata)
    if len(usable) < 2 or are_several_words(usable):
        return None
    ends = (usable[0], usable[-1])
    found = stratum_aucs(
        a, b, ends, positives_only=positives_only, num_bootstrap=num_bootstrap, seed=seed
    )
    compared = None if found is None else _compare(found.along(FIRST_MINUS_LAST))
    if compared is None:
        return None
    return Interaction(ends[0].column, ends[0].stratum, ends[1].stratum, *compared)


def _compare(differences: StratumAucs) -> tuple[float, float, float, float] | None:
    """Difference, its interval, p; of one number a network."""
    values, split = differences.aucs[:, 0], differences.num_first
    covariance = np.atleast_2d(np.cov(differences.resampled[:, 0]))
    freedom = min(differences.patients) - 1
    arms = (
        arm_variance(values[:split], covariance[:split, :split]),
        arm_variance(values[split:], covariance[split:, split:]),
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
    reach = float(stdtrit(degrees_of_freedom, (1 + CONFIDENCE) / 2)) * error
    p_value = 2 * float(stdtr(degrees_of_freedom, -abs(difference) / error))
    return difference, difference - reach, difference + reach, p_value
