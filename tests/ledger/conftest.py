import shutil

import pytest

from mlp_med.ledger.store import open_ledger


@pytest.fixture(scope="session")
def blank_database(tmp_path_factory):
    """MLflow takes seconds to make its tables: they are made once, and copied for each test."""
    database = tmp_path_factory.mktemp("blank") / "mlflow.db"
    open_ledger(f"sqlite:///{database}")
    return database


@pytest.fixture
def ledger(blank_database, tmp_path):
    directory = tmp_path / "a ledger"  # a space is what users have in their paths
    directory.mkdir()
    shutil.copy(blank_database, directory / "mlflow.db")
    return open_ledger(f"sqlite:///{directory / 'mlflow.db'}")
