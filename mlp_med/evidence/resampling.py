"""The cluster bootstrap: whole patients are drawn, the same draw for every seed and both arms."""

import numpy as np

from mlp_med.errors import EvidenceError
from mlp_med.evidence.metrics import members_by_fold, one_against_the_rest, resampled_aucs


def patient_weights(
    labels: np.ndarray,
    patients: np.ndarray,
    num_bootstrap: int,
    seed: int,
    folds: np.ndarray | None = None,
) -> np.ndarray:
    """How often each case is in each of `num_bootstrap` resamples of the patients.

    A resample without a pair of a positive and a negative (of a class and the rest, where there are
    more than two) has no AUC and is drawn again. Patients
    are drawn over all folds, not within each: how many fall into one is chance too.

    Args:
        labels: [num_cases] bool, or int from 0 where there are more than two classes.
        patients: [num_cases] int codes from 0.
        num_bootstrap: the number of resamples.
        seed: of the draw; equal seeds and patients give equal weights.
        folds: [num_cases] int; None for one fold.

    Returns:
        [num_cases, num_bootstrap] int32.

    Raises:
        EvidenceError: too few patients for a resample to hold every class.
    """
    num_patients = int(patients.max()) + 1
    rng = np.random.default_rng(seed)
    weights = np.empty((num_bootstrap, len(labels)), np.int32)
    kept = 0
    for _ in range(20):
        wanted = num_bootstrap - kept
        drawn = rng.integers(num_patients, size=(wanted, num_patients))
        drawn += np.arange(wanted)[:, None] * num_patients
        counts = np.bincount(drawn.ravel(), minlength=wanted * num_patients)
        cases = counts.reshape(wanted, num_patients).astype(np.int32)[:, patients]
        usable = np.ones(wanted, bool)
        for of_class in one_against_the_rest(labels):
            usable &= _hold_a_pair(cases, of_class, folds)
        weights[kept : kept + usable.sum()] = cases[usable]
        kept += int(usable.sum())
        if kept == num_bootstrap:
            return np.ascontiguousarray(weights.T)
    raise EvidenceError(
        f"Of {num_patients} patients hardly any resample holds every class: the test split is "
        "too small for an interval. Use more patients."
    )


def _hold_a_pair(cases: np.ndarray, positive: np.ndarray, folds: np.ndarray | None) -> np.ndarray:
    """Which resamples hold a positive and a negative case of one fold; bool [num_resamples]."""
    holds = np.zeros(len(cases), bool)
    for fold in members_by_fold(folds):
        drawn, of = cases[:, fold], positive[fold]
        holds |= drawn[:, of].any(axis=1) & drawn[:, ~of].any(axis=1)
    return holds


def bootstrap_covariance(
    labels: np.ndarray,
    scores: np.ndarray,
    patients: np.ndarray,
    num_bootstrap: int,
    seed: int,
    folds: np.ndarray | None = None,
) -> np.ndarray:
    """Covariance of AUCs over resamples of patients, the trained models held fixed.

    Args:
        labels: [num_cases] bool, or int from 0 where there are more than two classes.
        scores: [num_vectors, num_cases], or [num_vectors, num_cases, num_classes].
        patients: [num_cases] int codes from 0.
        num_bootstrap: the number of resamples.
        seed: of the draw.
        folds: [num_cases] int; None for one fold.

    Returns:
        [num_vectors, num_vectors] float64.
    """
    weights = patient_weights(labels, patients, num_bootstrap, seed, folds)
    return np.atleast_2d(np.cov(resampled_aucs(labels, scores, weights, folds)))
