"""The cluster bootstrap: whole patients are drawn, the same draw for every seed and both arms."""

import numpy as np

from mlp_med.errors import EvidenceError
from mlp_med.evidence.metrics import resampled_aucs


def patient_weights(
    labels: np.ndarray, patients: np.ndarray, num_bootstrap: int, seed: int
) -> np.ndarray:
    """How often each case is in each of `num_bootstrap` resamples of the patients.

    A resample without a case of either class has no AUC and is drawn again.

    Args:
        labels: [num_cases] bool.
        patients: [num_cases] int codes from 0.
        num_bootstrap: the number of resamples.
        seed: of the draw; equal seeds and patients give equal weights.

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
        usable = cases[:, labels].any(axis=1) & cases[:, ~labels].any(axis=1)
        weights[kept : kept + usable.sum()] = cases[usable]
        kept += int(usable.sum())
        if kept == num_bootstrap:
            return np.ascontiguousarray(weights.T)
    raise EvidenceError(
        f"Of {num_patients} patients hardly any resample holds both classes: the test split is "
        "too small for an interval. Use more patients."
    )


def bootstrap_covariance(
    labels: np.ndarray, scores: np.ndarray, patients: np.ndarray, num_bootstrap: int, seed: int
) -> np.ndarray:
    """Covariance of AUCs over resamples of patients, the trained models held fixed.

    Args:
        labels: [num_cases] bool.
        scores: [num_vectors, num_cases].
        patients: [num_cases] int codes from 0.
        num_bootstrap: the number of resamples.
        seed: of the draw.

    Returns:
        [num_vectors, num_vectors] float64.
    """
    weights = patient_weights(labels, patients, num_bootstrap, seed)
    return np.atleast_2d(np.cov(resampled_aucs(labels, scores, weights)))
