"""Tables of a study that is computed and not trained: kept with its run, read back as they were."""

import tempfile
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from mlp_med.errors import LedgerError
from mlp_med.ledger.store import Ledger, ledger_errors
from mlp_med.parquet_files import UNREADABLE, read_parquet

DIRECTORY = "tables"


def log_tables(ledger: Ledger, run_id: str, tables: Mapping[str, pd.DataFrame]) -> None:
    """Keeps each table as `tables/<name>.parquet` of the study's run.

    Raises:
        LedgerError: the ledger cannot be written.
    """
    with tempfile.TemporaryDirectory() as directory, ledger_errors(f"logging tables of {run_id}"):
        for name, table in tables.items():
            path = Path(directory) / f"{name}.parquet"
            table.to_parquet(path)
            ledger.client.log_artifact(run_id, str(path), DIRECTORY)


def load_tables(ledger: Ledger, run_id: str) -> dict[str, pd.DataFrame]:
    """Every table of the study's run, by name.

    Raises:
        LedgerError: there is none, or the ledger cannot be read.
    """
    with tempfile.TemporaryDirectory() as directory, ledger_errors(f"reading tables of {run_id}"):
        listed = ledger.client.list_artifacts(run_id, DIRECTORY)
        paths = {
            Path(file.path).stem: ledger.client.download_artifacts(run_id, file.path, directory)
            for file in listed
        }
        try:
            tables = {name: read_parquet(Path(path)) for name, path in sorted(paths.items())}
        except UNREADABLE as error:
            raise LedgerError(
                f"a table of run {run_id} is damaged ({error}); run the study again"
            ) from error
    if not tables:
        raise LedgerError(
            f"the study's run {run_id} has no tables yet; was it stopped? Run the study again"
        )
    return tables
