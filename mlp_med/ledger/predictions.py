"""The table of predictions: the product of a cell, kept as a Parquet artifact of its run."""

import hashlib
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

from mlp_med.errors import LedgerError
from mlp_med.ledger import names
from mlp_med.ledger.entries import set_tags
from mlp_med.ledger.store import Ledger
from mlp_med.parquet_files import UNREADABLE, read_parquet
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


def log_predictions(ledger: Ledger, run_id: str, predictions: pd.DataFrame) -> None:
    """Keeps the table as an artifact of the run, and the digest of its file as a tag."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / names.PREDICTIONS_ARTIFACT
        predictions.to_parquet(path, index=False)
        ledger.client.log_artifact(run_id, str(path))
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        set_tags(ledger, run_id, {names.PREDICTIONS_DIGEST: digest})


def read_predictions(path: Path, run_id: str, digest: str | None) -> pd.DataFrame:
    """The table in the artifact of a run; nothing in it is executed, it is Parquet or refused.

    Args:
        path: the artifact's file.
        run_id: whose it is, for the messages.
        digest: SHA-256 of the file as it was logged; None for a run older than such digests.

    Raises:
        LedgerError: the file is not the one that was logged, or holds no table of predictions.
    """
    mend = (
        "copy the artifact back from a backup, or let mlp-med study verify mark the cell and run "
        "the study again, which trains that cell alone"
    )
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if digest not in (None, found):
        raise LedgerError(
            f"the predictions of run {run_id} are damaged: expected a file with SHA-256 {digest}, "
            f"found {found}; {mend}"
        )
    try:
        table = read_parquet(path)
        check_predictions(run_id, table)
    except UNREADABLE as error:
        raise LedgerError(
            f"the predictions of run {run_id} are no Parquet table ({error}); {mend}"
        ) from error
    return table
