"""The table of predictions: the product of a cell, kept as a Parquet artifact of its run."""

import hashlib
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from mlp_med.errors import LedgerError
from mlp_med.ledger import names
from mlp_med.ledger.store import Ledger
from mlp_med.score_columns import found_score_columns

PREDICTION_COLUMNS = ("id", "patient", "seed", "label")


def check_predictions(run_id: str, predictions: pd.DataFrame) -> None:
    """Refuses a table from which no comparison could be made.

    Raises:
        LedgerError: a column is missing, there are no rows, an id comes twice, a label is of no
            class, a score is not finite, or the rows are of several seeds.
    """
    scores = found_score_columns(predictions.columns)
    wanted = [*PREDICTION_COLUMNS, *scores]
    missing = [name for name in wanted if name not in predictions.columns]
    if missing:
        raise LedgerError(
            f"expected predictions with the columns {', '.join(wanted)}, run {run_id} "
            f"lacks {', '.join(missing)}"
        )
    labels = range(max(2, len(scores)))
    problems = {
        "no rows": predictions.empty,
        "an id twice": predictions["id"].duplicated().any(),
        f"a label other than {' or '.join(map(str, labels))}": not predictions["label"]
        .isin(labels)
        .all(),
        "a score that is not finite": not np.isfinite(predictions[scores].to_numpy(float)).all(),
        "several seeds": predictions["seed"].nunique() > 1,
    }
    found = [problem for problem, is_there in problems.items() if is_there]
    if found:
        raise LedgerError(f"the predictions of run {run_id} have {', '.join(found)}")


def log_predictions(ledger: Ledger, run_id: str, predictions: pd.DataFrame) -> str:
    """Keeps the table as an artifact of the run; returns the SHA-256 of the file."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / names.PREDICTIONS_ARTIFACT
        predictions.to_parquet(path, index=False)
        ledger.client.log_artifact(run_id, str(path))
        return file_digest(path)


def read_predictions(run_id: str, path: Path, digest: str | None) -> pd.DataFrame:
    """Reads a cell's table from the file that the ledger gave.

    Args:
        run_id: of the cell, for the error.
        path: of the Parquet file.
        digest: its SHA-256 as the ledger has it; None for a cell of before digests were kept.

    Raises:
        LedgerError: the file is not the one that was kept, or no Parquet file at all.
    """
    found = file_digest(path)
    if digest not in (None, found):
        raise LedgerError(
            f"the predictions of run {run_id} are not those that were kept: expected a file with "
            f"SHA-256 {digest}, got {found}; restore {names.PREDICTIONS_ARTIFACT} from a backup, "
            "or let mlp-med study verify mark the cell, so that the study trains it again"
        )
    try:
        return pd.read_parquet(path)
    except (OSError, ValueError, pa.ArrowException) as error:
        raise LedgerError(
            f"the predictions of run {run_id} cannot be read: {error}; restore "
            f"{names.PREDICTIONS_ARTIFACT} from a backup, or let mlp-med study verify mark the "
            "cell, so that the study trains it again"
        ) from error


def file_digest(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
