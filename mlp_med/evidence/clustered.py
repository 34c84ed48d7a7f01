"""Analytic covariances of AUCs on the same cases: DeLong (1988) and, for clusters, Obuchowski.

They check the bootstrap. Both rest on the structural components of Mann–Whitney's statistic:
how large a share of the other class a case beats.

E. R. DeLong, D. M. DeLong, D. L. Clarke-Pearson, Biometrics 44 (1988) 837–845.
N. A. Obuchowski, Biometrics 53 (1997) 567–578.
"""

import numpy as np
from scipy.stats import rankdata

from mlp_med.errors import EvidenceError


def structural_components(labels: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The share of the other class that each case beats, ties counting half.

    Args:
        labels: [num_cases] bool.
        scores: [num_vectors, num_cases].

    Returns:
        [num_vectors, num_positives] and [num_vectors, num_negatives]; either row's mean is the AUC.
    """
    labels = np.asarray(labels, bool)
    num_positives, num_negatives = int(labels.sum()), int((~labels).sum())
    ranks = rankdata(scores, axis=1)
    beaten = ranks[:, labels] - rankdata(scores[:, labels], axis=1)
    lost = ranks[:, ~labels] - rankdata(scores[:, ~labels], axis=1)
    return beaten / num_negatives, 1 - lost / num_positives


def delong_covariance(labels: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """AUCs and their covariance for independent cases (one a patient); DeLong et al. 1988.

    Args:
        labels: [num_cases] bool, at least two of each class.
        scores: [num_vectors, num_cases], the same cases in each row.

    Returns:
        AUCs [num_vectors] and covariance [num_vectors, num_vectors].
    """
    positives, negatives = structural_components(labels, scores)
    covariance = np.atleast_2d(np.cov(positives)) / positives.shape[1]
    covariance = covariance + np.atleast_2d(np.cov(negatives)) / negatives.shape[1]
    return positives.mean(axis=1), covariance


def obuchowski_covariance(
    labels: np.ndarray, scores: np.ndarray, patients: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """AUCs and their covariance where a patient may give several cases; Obuchowski 1997.

    With one case a patient it is DeLong's.

    Args:
        labels: [num_cases] bool.
        scores: [num_vectors, num_cases], the same cases in each row.
        patients: [num_cases] int codes from 0.

    Returns:
        AUCs [num_vectors] and covariance [num_vectors, num_vectors].

    Raises:
        EvidenceError: fewer than two patients have a positive, or a negative, case.
    """
    labels = np.asarray(labels, bool)
    with_positive, with_negative = patients_per_class(labels, patients)
    num_patients = int(patients.max()) + 1
    positives, negatives = structural_components(labels, scores)
    aucs = positives.mean(axis=1)
    sums_positive = _sums_by_patient(positives - aucs[:, None], patients[labels], num_patients)
    sums_negative = _sums_by_patient(negatives - aucs[:, None], patients[~labels], num_patients)
    sums_positive /= labels.sum()
    sums_negative /= (~labels).sum()
    cross = sums_positive @ sums_negative.T
    covariance = (
        sums_positive @ sums_positive.T * with_positive / (with_positive - 1)
        + sums_negative @ sums_negative.T * with_negative / (with_negative - 1)
        + (cross + cross.T) * num_patients / (num_patients - 1)
    )
    return aucs, covariance


def patients_per_class(labels: np.ndarray, patients: np.ndarray) -> tuple[int, int]:
    """How many patients have a positive and how many a negative case; EvidenceError below two."""
    with_positive = len(np.unique(patients[labels]))
    with_negative = len(np.unique(patients[~labels]))
    if min(with_positive, with_negative) < 2:
        raise EvidenceError(
            f"{with_positive} patients have a positive and {with_negative} a negative case; a "
            "variance over patients needs at least two of each. Use a larger test split."
        )
    return with_positive, with_negative


def _sums_by_patient(values: np.ndarray, patients: np.ndarray, num_patients: int) -> np.ndarray:
    return np.stack([np.bincount(patients, row, num_patients) for row in values])
