"""The area under the ROC curve of several score vectors, and of many resamples of the cases.

Under cross-validation each fold has a network of its own, whose scores need not be on one scale
with another's. The AUC is then pooled within folds: the share of right orders among the pairs of a
positive and a negative of one fold, all folds' pairs counted together.
"""

import numpy as np

REPLICATES_AT_ONCE = 128  # a block of weights for 2,000 cases then fits a core's cache


def aucs(labels: np.ndarray, scores: np.ndarray, folds: np.ndarray | None = None) -> np.ndarray:
    """AUC = P(score of a positive > score of a negative) + ½ P(equal): Mann–Whitney.

    Args:
        labels: [num_cases] bool, both classes present.
        scores: [num_vectors, num_cases], on any monotone scale.
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
        labels: [num_cases] bool.
        scores: [num_vectors, num_cases].
        weights: [num_cases, num_resamples] ≥ 0, such as how often the case was drawn.
        folds: [num_cases] int; a pair counts if both are of one fold. None for one fold.

    Returns:
        [num_vectors, num_resamples] float64; NaN where there is no pair with weight.
    """
    labels = np.asarray(labels, bool)
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
    """Pairs of a positive and a negative case of one fold."""
    members = [labels[fold] for fold in members_by_fold(folds)]
    return sum(int(fold.sum()) * int((~fold).sum()) for fold in members)


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
