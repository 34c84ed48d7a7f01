"""What the validation split says of the weights as they are."""

from dataclasses import dataclass

import numpy as np
from scipy.special import logsumexp

from mlp_med.evidence.metrics import aucs


@dataclass(frozen=True)
class Evaluation:
    """Figures of one pass over the validation split.

    Attributes:
        auc: area under the ROC curve; of more than two classes the mean over classes of that of
            each against the rest.
        loss: mean cross-entropy.
    """

    auc: float
    loss: float


def evaluate_logits(logits: np.ndarray, labels: np.ndarray) -> Evaluation:
    """AUC and loss of logits against labels from 0, [num_examples].

    The AUC is the Mann–Whitney statistic, ties counted half; NaN if a class is absent or a logit
    is not finite.

    Args:
        logits: [num_examples], the log odds of label 1, or [num_examples, num_classes].
        labels: [num_examples].
    """
    if logits.shape[:1] != labels.shape:
        raise ValueError(f"expected one label an example, got {labels.shape} for {logits.shape}")
    logits = logits.astype(np.float64)
    if logits.ndim == 2:
        return _evaluate_classes(logits, labels)
    with np.errstate(invalid="ignore"):  # a NaN among the logits makes the loss NaN: let it
        loss = np.logaddexp(0.0, logits) - labels * logits
    return Evaluation(auc=_auc(logits, labels.astype(bool)), loss=float(loss.mean()))


def _evaluate_classes(logits: np.ndarray, labels: np.ndarray) -> Evaluation:
    """Each class is ranked by its probability: logits of one class are on no common scale."""
    with np.errstate(invalid="ignore"):
        log_probabilities = logits - logsumexp(logits, axis=1, keepdims=True)
    loss = -log_probabilities[np.arange(len(labels)), labels.astype(np.int64)]
    by_class = [_auc(column, labels == k) for k, column in enumerate(log_probabilities.T)]
    return Evaluation(auc=float(np.mean(by_class)), loss=float(loss.mean()))


def _auc(scores: np.ndarray, positive: np.ndarray) -> float:
    if positive.all() or not positive.any() or not np.isfinite(scores).all():
        return float("nan")
    return float(aucs(positive, scores[np.newaxis])[0])
