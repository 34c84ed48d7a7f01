"""The AUCs of two arms' networks within strata of the cases, and as patients are drawn again."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import pandas as pd

from mlp_med.errors import EvidenceError
from mlp_med.evidence.clustered import fewest_patients
from mlp_med.evidence.metrics import resampled_aucs
from mlp_med.evidence.predictions import ScoredCases, check_paired, scored_cases
from mlp_med.evidence.resampling import patient_weights
from mlp_med.evidence.table import StratumEffect

LEAST_USABLE = 0.9  # of the resamples: so many must hold both classes in every stratum


@dataclass(frozen=True)
class StratumAucs:
    """One row a trained network, those of arm a above those of arm b.

    Attributes:
        aucs: [num_vectors, num_strata].
        resampled: [num_vectors, num_strata, num_resamples]; all strata, seeds and both arms share
            a resample's patients.
        num_first: networks of arm a.
        patients: of the scarcest class in each stratum.
    """

    aucs: np.ndarray
    resampled: np.ndarray
    num_first: int
    patients: tuple[int, ...]

    def along(self, directions: np.ndarray) -> Self:
        """Weighted sums over the strata in their place.

        Args:
            directions: the weights, [num_directions, num_strata].
        """
        return type(self)(
            self.aucs @ directions.T,
            np.einsum("ij,vjr->vir", directions, self.resampled),
            self.num_first,
            self.patients,
        )


def stratum_aucs(
    a: pd.DataFrame,
    b: pd.DataFrame,
    strata: Sequence[StratumEffect],
    *,
    positives_only: bool,
    num_bootstrap: int,
    seed: int,
) -> StratumAucs | None:
    """Every network's AUC among the cases of each stratum.

    Args:
        a: predictions table of an arm with the strata's column, all its seeds.
        b: that of the other arm.
        strata: of `effect_by_stratum`, of these tables; those that have an effect.
        positives_only: each stratum's positives are set against all negatives.
        num_bootstrap: resamples of the patients.
        seed: of the resampling.

    Returns:
        None where a variance cannot be told: one seed in an arm, or too few resamples that hold
        both classes in every stratum.

    Raises:
        EvidenceError: the tables do not fit together.
    """
    first, second = scored_cases(a, "arm a"), scored_cases(b, "arm b")
    check_paired(first, second)
    if min(len(first.seeds), len(second.seeds)) < 2:
        return None
    values = a.drop_duplicates("id").set_index("id")[strata[0].column].loc[first.ids]
    always = ~first.labels if positives_only else np.zeros(len(values), bool)
    chosen = [of.stratum.holds(values).to_numpy() | always for of in strata]
    scores = np.vstack([first.scores, second.scores])
    try:
        found = _resampled(first, scores, chosen, num_bootstrap, seed)
    except EvidenceError:  # hardly any resample holds every class
        return None
    usable = np.isfinite(found).all(axis=(0, 1))
    if usable[1:].mean() < LEAST_USABLE:
        return None
    patients = tuple(fewest_patients(first.labels[of], first.patients[of]) for of in chosen)
    return StratumAucs(found[..., 0], found[..., 1:][..., usable[1:]], len(first.seeds), patients)


def _resampled(
    cases: ScoredCases,
    scores: np.ndarray,
    chosen: Sequence[np.ndarray],
    num_bootstrap: int,
    seed: int,
) -> np.ndarray:
    """[num_vectors, num_strata, 1 + num_bootstrap]: of the cases as they are, then resampled."""
    weights = patient_weights(cases.labels, cases.patients, num_bootstrap, seed, cases.folds)
    weights = np.column_stack([np.ones(len(cases.labels), weights.dtype), weights])
    return np.stack(
        [
            resampled_aucs(cases.labels[of], scores[:, of], weights[of], cases.folds[of])
            for of in chosen
        ],
        axis=1,
    )
