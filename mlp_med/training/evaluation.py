"""What the validation split says of the weights as they are."""

from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata


@dataclass(frozen=True)
class Evaluation:
    """Figures of one pass over the validation split.

    Attributes:
        auc: area under the ROC curve.
        loss: mean sigmoid cross-entropy.
    """

    auc: float
    loss: float


def evaluate_logits(logits: np.ndarray, labels: np.ndarray) -> Evaluation:
    """AUC and loss of logits [num_examples] against labels 0 or 1 [num_examples].

    The AUC is the Mann–Whitney statistic, ties counted half; NaN if a class is absent or a logit
    is not finite.
    """
    if logits.shape != labels.shape:
        raise ValueError(f"expected one label a logit, got {labels.shape} for {logits.shape}")
    logits = logits.astype(np.float64)
    with np.errstate(invalid="ignore"):  # a NaN among the logits makes the loss NaN: let it
        loss = np.logaddexp(0.0, logits) - labels * logits
    return Evaluation(auc=_auc(logits, labels.astype(bool)), loss=float(loss.mean()))


def _auc(scores: np.ndarray, positive: np.ndarray) -> float:
    num_positive = int(positive.sum())
    num_negative = positive.size - num_positive
    if not num_positive or not num_negative or not np.isfinite(scores).all():
        return float("nan")
    rank_sum = rankdata(scores)[positive].sum()
    return float(rank_sum - num_positive * (num_positive + 1) / 2) / (num_positive * num_negative)
