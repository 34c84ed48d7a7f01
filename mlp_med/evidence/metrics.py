"""The area under the ROC curve of several score vectors, and of many resamples of the cases.

Under cross-validation each fold has a network of its own, whose scores need not be on one scale
with another's. The AUC is then pooled within folds: the share of right orders among the pairs of a
positive and a negative of one fold, all folds' pairs counted together.

Of more than two classes this is the macro AUC: each class is set against the rest and ranked by its
own score, and the AUCs are averaged, every class counting alike. It is the measure of Geras et al.
(2017, arXiv:1703.07047) for exams of three classes, each of its parts is a question that a reader
knows (is this exam suspicious?), and being a mean of AUCs it can be resampled as they are. Hand &
Till (2001) average over pairs of classes instead, which no share of the classes moves, but a pair
leaves out exams that a reader would have to tell apart too.

D. J. Hand, R. J. Till, Machine Learning 45 (2001) 171–186.
"""

from collections.abc import Iterator

import numpy as np

REPLICATES_AT_ONCE = 128  # a block of weights for 2,000 cases then fits a core's cache


def aucs(labels: np.ndarray, scores: np.ndarray, folds: np.ndarray | None = None) -> np.ndarray:
    """AUC = P(score of a positive > score of a negative) + ½ P(equal): Mann–Whitney.

    Args:
        labels: [num_cases] bool, or int from 0 where there are more than two; every class present.
        scores: [num_vectors, num_cases], on any monotone scale; for more than two classes
            [num_vectors, num_cases, num_classes].
        folds: [num_cases] int; a pair counts if both are of one fold. None for one fold.

    Returns:
        [num_vectors] float64.
    """
    return resampled_aucs(labels, scores, np.ones((len(labels), 1)), folds)[:, 0]


def resampled_aucs(
    labels: np.ndarray, scores: np.ndarray, weights: np.ndarray, folds: np.ndarray | None = None
) -> np.ndarray:
    """AUC of several score vectors under many weightings of the same cases.

    Each vector is sorted once; the weights of the negatives are then summed along that order, and
    a positive reads off the weight below it. Thousands of resamples cost matrix arithmetic only,
    where scikit-learn's `roc_auc_score`, with the same result, takes one weighting at a time.

    Args:
        labels: [num_cases] bool, or int from 0.
        scores: [num_vectors, num_cases], or [num_vectors, num_cases, num_classes].
        weights: [num_cases, num_resamples] ≥ 0, such as how often the case was drawn.
        folds: [num_cases] int; a pair counts if both are of one fold. None for one fold.

    Returns:
        [num_vectors, num_resamples] float64; NaN where a class has no pair with weight.
    """
    by_class = [
        _aucs_of_two(positive, of_class, weights, folds)
        for positive, of_class in against_the_rest(labels, scores)
    ]
    return by_class[0] if len(by_class) == 1 else np.mean(by_class, axis=0)


def against_the_rest(
    labels: np.ndarray, scores: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Each class against the others: labels bool [num_cases], scores [num_vectors, num_cases].

    Args:
        labels: [num_cases] bool: two classes are one task, label 1 against label 0. Else int.
        scores: [num_vectors, num_cases], or [num_vectors, num_cases, num_classes].
    """
    if scores.ndim == 2:
        yield np.asarray(labels, bool), scores
        return
    for label in range(scores.shape[2]):
        yield labels == label, scores[..., label]


def one_against_the_rest(labels: np.ndarray) -> list[np.ndarray]:
    """The labels of `against_the_rest` alone: bool [num_cases] each."""
    if labels.dtype == bool:
        return [labels]
    return [labels == label for label in np.unique(labels)]


def _aucs_of_two(
    labels: np.ndarray, scores: np.ndarray, weights: np.ndarray, folds: np.ndarray | None
) -> np.ndarray:
    """Of label 1 against label 0; as `resampled_aucs`."""
    won = np.zeros((len(scores), weights.shape[1]))
    pairs = np.zeros(weights.shape[1])
    for fold in members_by_fold(folds):
        of_fold = _weighted_pairs(labels[fold], scores[:, fold], weights[fold])
        won += of_fold[0]
        pairs += of_fold[1]
    with np.errstate(invalid="ignore"):
        return won / pairs


def members_by_fold(folds: np.ndarray | None) -> list[np.ndarray | slice]:
    """What selects the cases of each fold."""
    if folds is None or (folds == folds[0]).all():
        return [slice(None)]  # copies nothing
    return [np.flatnonzero(folds == fold) for fold in np.unique(folds)]


def num_pairs(labels: np.ndarray, folds: np.ndarray | None = None) -> int:
    """Pairs of a positive and a negative case of one fold, of every class against the rest."""
    members = members_by_fold(folds)
    return sum(
        sum(int(of[fold].sum()) * int((~of[fold]).sum()) for fold in members)
        for of in one_against_the_rest(labels)
    )


def _weighted_pairs(
    labels: np.ndarray, scores: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The weight of the pairs in right order [num_vectors, num_resamples], and of all pairs."""
    places = [_places_among_negatives(labels, vector) for vector in scores]
    won = np.empty((len(scores), weights.shape[1]))
    pairs = np.empty(weights.shape[1])
    for start in range(0, weights.shape[1], REPLICATES_AT_ONCE):
        block = slice(start, start + REPLICATES_AT_ONCE)
        positive = weights[labels, block].astype(np.float64)
        negative = weights[~labels, block].astype(np.float64)
        cumulative = np.zeros((len(negative) + 1, negative.shape[1]))
        pairs[block] = positive.sum(axis=0) * negative.sum(axis=0)
        for row, (order, first, last) in enumerate(places):
            np.cumsum(negative[order], axis=0, out=cumulative[1:])
            below = cumulative[first]
            if not np.array_equal(first, last):
                below = (below + cumulative[last]) / 2
            won[row, block] = np.einsum("ij,ij->j", positive, below)
    return won, pairs


def _places_among_negatives(
    labels: np.ndarray, scores: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The negatives' order, and for each positive how many are below it, and below or equal."""
    negatives = scores[~labels]
    order = np.argsort(negatives, kind="stable")
    ascending = negatives[order]
    positives = scores[labels]
    return (
        order,
        np.searchsorted(ascending, positives, side="left"),
        np.searchsorted(ascending, positives, side="right"),
    )
