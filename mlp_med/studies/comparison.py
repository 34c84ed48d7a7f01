"""The predictions of a run beside those of its rerun."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from mlp_med.evidence.metrics import aucs
from mlp_med.evidence.predictions import class_arrays
from mlp_med.ledger.read import CellRecord
from mlp_med.score_columns import found_score_columns


@dataclass(frozen=True)
class Comparison:
    """How two tables of predictions compare.

    Attributes:
        identical: whether both score the same cases, and every score is the same bit for bit.
        largest_difference: the largest absolute difference of a score; NaN of other cases.
        auc_before: of the run.
        auc_again: of the rerun.
    """

    identical: bool
    largest_difference: float
    auc_before: float
    auc_again: float


def compare_predictions(before: pd.DataFrame, again: pd.DataFrame) -> Comparison:
    """Compares score by score, whatever the order of the rows."""
    before, again = before.sort_values("id"), again.sort_values("id")
    scores = found_score_columns(before.columns)
    then, now = before[scores].to_numpy(), again[scores].to_numpy()
    same_cases = before["id"].tolist() == again["id"].tolist()
    return Comparison(
        identical=same_cases and then.tobytes() == now.tobytes(),
        largest_difference=float(np.abs(then - now).max()) if same_cases else float("nan"),
        auc_before=_auc(before),
        auc_again=_auc(again),
    )


def label_of(record: CellRecord) -> str:
    """Arm, seed, and whether the data is a phantom."""
    phantom = ", PHANTOM" if record.tags.get("phantom") == "true" else ""
    return f"{record.arm}, seed {record.params['seed']}{phantom}"


def _auc(predictions: pd.DataFrame) -> float:
    labels, scores = class_arrays(predictions)
    return float(aucs(labels, scores[None])[0])
