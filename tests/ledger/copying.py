"""A ledger like another one: to write a study takes seconds, to copy its database none."""

import sqlite3
from contextlib import closing
from pathlib import Path

from mlp_med.ledger.store import Ledger, open_ledger


def copied(database: Path, directory: Path) -> Ledger:
    """In `directory`, with what is in `database`, whose artifacts stay where they are.

    The database may be open: some of it is then in a journal, and to copy its file would not do.
    """
    copy = directory / "mlflow.db"
    with closing(sqlite3.connect(database)) as source, closing(sqlite3.connect(copy)) as target:
        source.backup(target)
    return open_ledger(f"sqlite:///{copy}")
