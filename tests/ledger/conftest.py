import shutil

import pytest

from mlp_med.ledger.store import open_ledger


@pytest.fixture
def ledger(blank_database, tmp_path):
    directory = tmp_path / "a ledger"  # a space is what users have in their paths
    directory.mkdir()
    shutil.copy(blank_database, directory / "mlflow.db")
    return open_ledger(f"sqlite:///{directory / 'mlflow.db'}")
