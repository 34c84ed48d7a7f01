"""The cluster bootstrap: whole patients are drawn, the same draw for every seed and both arms."""

import numpy as np

from mlp_med.errors import EvidenceError
from mlp_med.evidence.metrics import members_by_fold, resampled_aucs


def patient_weights(
    labels: np.ndarray,
    patients: np.ndarray,
    num_bootstrap: int,
    seed: int,
    folds: np.ndarray | None = None,
) -> np.ndarray:
    """How often each case is in each of `num_bootstrap` resamples of the patients.

    A resample without a pair of a positive and a negative has no AUC and is drawn again. Patients
    are drawn over all folds, not within each: how many fall into one is chance too.

    Args:
        labels: [num_cases] bool.
        patients: [num_cases] int codes from 0.
        num_bootstrap: the number of resamples.
        seed: of the draw; equal seeds and patients give equal weights.
        folds: [num_cases] int; None for one fold.

    Returns:
        [num_cases, num_bootstrap] int32.

    Raises:
        EvidenceError: too few patients for a resample to hold both classes.
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
        usable = np.zeros(wanted, bool)
        for fold in members_by_fold(folds):
            drawn_cases, positive = cases[:, fold], labels[fold]
            usable |= drawn_cases[:, positive].any(axis=1) & drawn_cases[:, ~positive].any(axis=1)
        weights[kept : kept + usable.sum()] = cases[usable]
        kept += int(usable.sum())
        if kept == num_bootstrap:
            return np.ascontiguousarray(weights.T)
    raise EvidenceError(
        f"Of {num_patients} patients hardly any resample holds both classes: the test split is "
        "too small for an interval. Use more patients."
    )


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
        labels: [num_cases] bool.
        scores: [num_vectors, num_cases].
        patients: [num_cases] int codes from 0.
        num_bootstrap: the number of resamples.
        seed: of the draw.
        folds: [num_cases] int; None for one fold.

    Returns:
        [num_vectors, num_vectors] float64.
    """
    weights = patient_weights(labels, patients, num_bootstrap, seed, folds)
    return np.atleast_2d(np.cov(resampled_aucs(labels, scores, weights, folds)))
