"""Analytic covariances of AUCs on the same cases: DeLong (1988) and, for clusters, Obuchowski.

They check the bootstrap. Both rest on the structural components of Mann–Whitney's statistic:
how large a share of the other class a case beats.

E. R. DeLong, D. M. DeLong, D. L. Clarke-Pearson, Biometrics 44 (1988) 837–845.
N. A. Obuchowski, Biometrics 53 (1997) 567–578.
"""

from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata

from mlp_med.errors import EvidenceError
from mlp_med.evidence.metrics import (
    against_the_rest,
    members_by_fold,
    num_pairs,
    one_against_the_rest,
)


@dataclass(frozen=True)
class Components:
    """What each case adds to an AUC that is pooled within folds.

    Scaled so that either class's components average to the AUC and its chances to 1. With a single
    fold a component is the share of the other class that the case beats, and every chance is 1;
    with several, a case of a larger fold has more pairs and so more to add.

    Attributes:
        positives, negatives: [num_vectors, num_positives], [num_vectors, num_negatives].
        positive_chances, negative_chances: [num_positives], [num_negatives]; a component's largest
            value.
    """

    positives: np.ndarray
    negatives: np.ndarray
    positive_chances: np.ndarray
    negative_chances: np.ndarray

    @property
    def aucs(self) -> np.ndarray:
        """[num_vectors]."""
        return np.asarray(self.positives.mean(axis=1))

    @property
    def deviations(self) -> tuple[np.ndarray, np.ndarray]:
        """By how much more than the AUC's share each case adds, of the positives and negatives."""
        aucs = self.aucs[:, None]
        return (
            self.positives - aucs * self.positive_chances,
            self.negatives - aucs * self.negative_chances,
        )


def structural_components(
    labels: np.ndarray, scores: np.ndarray, folds: np.ndarray | None = None
) -> Components:
    """How many of the other class of its fold each case beats, ties counting half, scaled.

    Args:
        labels: [num_cases] bool.
        scores: [num_vectors, num_cases].
        folds: [num_cases] int; None for one fold.
    """
    labels = np.asarray(labels, bool)
    right = np.empty(np.shape(scores))
    opponents = np.empty(len(labels))
    for fold in members_by_fold(folds):
        right[:, fold], opponents[fold] = _right_orders(labels[fold], scores[:, fold])
    positive_scale = labels.sum() / num_pairs(labels, folds)
    negative_scale = (~labels).sum() / num_pairs(labels, folds)
    return Components(
        right[:, labels] * positive_scale,
        right[:, ~labels] * negative_scale,
        opponents[labels] * positive_scale,
        opponents[~labels] * negative_scale,
    )


def _right_orders(labels: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of each case of a fold: its pairs in right order, ties half, and all its pairs."""
    num_positives, num_negatives = int(labels.sum()), int((~labels).sum())
    ranks = rankdata(scores, axis=1)
    right = np.empty(scores.shape)
    right[:, labels] = ranks[:, labels] - rankdata(scores[:, labels], axis=1)
    lost = ranks[:, ~labels] - rankdata(scores[:, ~labels], axis=1)
    right[:, ~labels] = num_positives - lost
    return right, np.where(labels, num_negatives, num_positives)


def delong_covariance(
    labels: np.ndarray, scores: np.ndarray, folds: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """AUCs and their covariance for independent cases (one a patient); DeLong et al. 1988.

    Args:
        labels: [num_cases] bool, at least two of each class.
        scores: [num_vectors, num_cases], the same cases in each row.
        folds: [num_cases] int; None for one fold.

    Returns:
        AUCs [num_vectors] and covariance [num_vectors, num_vectors].
    """
    components = structural_components(labels, scores, folds)
    positives, negatives = components.deviations
    covariance = np.atleast_2d(np.cov(positives)) / positives.shape[1]
    covariance = covariance + np.atleast_2d(np.cov(negatives)) / negatives.shape[1]
    return components.aucs, covariance


def obuchowski_covariance(
    labels: np.ndarray, scores: np.ndarray, patients: np.ndarray, folds: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """AUCs and their covariance where a patient may give several cases; Obuchowski 1997.

    With one case a patient it is DeLong's.

    Args:
        labels: [num_cases] bool.
        scores: [num_vectors, num_cases], the same cases in each row.
        patients: [num_cases] int codes from 0.
        folds: [num_cases] int; None for one fold.

    Returns:
        AUCs [num_vectors] and covariance [num_vectors, num_vectors].

    Raises:
        EvidenceError: fewer than two patients have a positive, or a negative, case.
    """
    labels = np.asarray(labels, bool)
    with_positive, with_negative = patients_per_class(labels, patients)
    num_patients = int(patients.max()) + 1
    components = structural_components(labels, scores, folds)
    positives, negatives = components.deviations
    sums_positive = _sums_by_patient(positives, patients[labels], num_patients)
    sums_negative = _sums_by_patient(negatives, patients[~labels], num_patients)
    sums_positive /= labels.sum()
    sums_negative /= (~labels).sum()
    cross = sums_positive @ sums_negative.T
    covariance = (
        sums_positive @ sums_positive.T * with_positive / (with_positive - 1)
        + sums_negative @ sums_negative.T * with_negative / (with_negative - 1)
        + (cross + cross.T) * num_patients / (num_patients - 1)
    )
    return components.aucs, covariance


def macro_covariance(
    labels: np.ndarray, scores: np.ndarray, patients: np.ndarray, folds: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Macro AUCs and their covariance: each patient's influence on the mean over classes.

    A case is a positive of its own class and a negative of every other, so that the classes' AUCs
    are correlated; Obuchowski's sums by patient are therefore added up over the classes first.
    Of two classes this is her formula but for the small-sample factors, here one for all.

    Args:
        labels: [num_cases] int from 0.
        scores: [num_vectors, num_cases, num_classes].
        patients: [num_cases] int codes from 0.
        folds: [num_cases] int; None for one fold.

    Returns:
        AUCs [num_vectors] and covariance [num_vectors, num_vectors].
    """
    num_patients = int(patients.max()) + 1
    parts = []
    for positive, of_class in against_the_rest(labels, scores):
        components = structural_components(positive, of_class, folds)
        influence = np.empty(of_class.shape)
        influence[:, positive], influence[:, ~positive] = (
            deviations / deviations.shape[1] for deviations in components.deviations
        )
        parts.append((components.aucs, _sums_by_patient(influence, patients, num_patients)))
    sums = np.mean([of_patients for _, of_patients in parts], axis=0)
    covariance = sums @ sums.T * num_patients / (num_patients - 1)
    return np.mean([of_class for of_class, _ in parts], axis=0), covariance


def fewest_patients(labels: np.ndarray, patients: np.ndarray) -> int:
    """Patients of the scarcest class, or of a scarcer rest; EvidenceError below two."""
    return min(min(patients_per_class(of, patients)) for of in one_against_the_rest(labels))


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
