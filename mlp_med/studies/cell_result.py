"""What a cell's training leaves for the ledger: predictions, curves and figures."""

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from mlp_med.pipelines.arrays import Examples
from mlp_med.score_columns import score_columns
from mlp_med.studies.cell import Cell
from mlp_med.training.history import History


@dataclass(frozen=True)
class CellResult:
    """The product of a cell.

    Attributes:
        predictions: of the test split, one row a case.
        curve: validation and training curves over examples seen.
        metrics: what was measured, by the ledger's names.
        tags: what happened on the way, by the ledger's names, in words.
    """

    predictions: pd.DataFrame
    curve: pd.DataFrame
    metrics: dict[str, float]
    tags: dict[str, str] = field(default_factory=dict)


def predictions_of(cell: Cell, test: Examples, scores: np.ndarray) -> pd.DataFrame:
    """A row for each case of the scored split; probabilities [cases] or [cases, classes]."""
    by_class = scores[:, np.newaxis] if scores.ndim == 1 else scores
    num_classes = max(2, by_class.shape[1])
    return pd.DataFrame(
        {
            "id": test.ids,
            "patient": test.patients,
            "seed": np.int64(cell.seed),
            "label": test.labels,
            **dict(zip(score_columns(num_classes), by_class.T, strict=True)),
            "fold": np.int64(cell.fold),
            **test.strata,
        }
    )


def curve_of(history: History) -> pd.DataFrame:
    """Training and validation over examples seen, NaN where one of them was not looked at."""
    training = pd.DataFrame(
        {"examples_seen": point.examples_seen, "train_loss": point.loss}
        for point in history.training
    )
    validation = pd.DataFrame(
        {
            "examples_seen": point.examples_seen,
            "validation_auc": point.auc,
            "validation_loss": point.loss,
            "seconds_elapsed": point.seconds_training,
        }
        for point in history.validation
    )
    return training.merge(validation, on="examples_seen", how="outer").sort_values("examples_seen")


def figures_of(history: History) -> dict[str, float]:
    """Times, and where training was best, by the ledger's names."""
    figures = {
        "seconds_tracing": history.seconds_tracing,
        "seconds_training": history.seconds_training,
        "seconds_evaluation": history.seconds_evaluation,
        "examples_per_second": history.examples_per_second,
    }
    if history.best is not None:
        figures["best_validation_auc"] = history.best.auc
        figures["best_examples_seen"] = float(history.best.examples_seen)
    return figures
