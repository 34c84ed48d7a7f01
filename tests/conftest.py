import fcntl
from pathlib import Path

import pytest

import mlp_med  # noqa: F401  # switches oneDNN on, before a test imports TensorFlow
from tests.faults import FaultTable

# A file is one process's: the one that is begun last would keep the other cores waiting.
LONGEST_FILES = ("test_cli.py", "test_streaming.py", "test_worker.py")


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: item.path.name not in LONGEST_FILES)


@pytest.fixture(scope="session")
def made_once(tmp_path_factory, worker_id):
    """A function that makes a file or directory, given its name and how, once for all processes.

    Of the processes that run tests the first makes it, the others wait; tests leave it as it is.
    """
    base = tmp_path_factory.getbasetemp()
    directory = (base if worker_id == "master" else base.parent) / "made once"

    def make(name, write):
        directory.mkdir(exist_ok=True)
        made, lock = directory / name, directory / f"{name}.lock"
        with lock.open("a+") as locked:
            fcntl.flock(locked, fcntl.LOCK_EX)
            if lock.stat().st_size == 0:
                write(made)
                locked.write("made")
        return made

    return make


@pytest.fixture(scope="session")
def blank_database(made_once):
    """MLflow takes seconds to make its tables: they are made once, and copied for each test."""
    from mlp_med.ledger.store import open_ledger  # MLflow is not loaded for tests without it

    directory = made_once("blank", lambda path: open_ledger(f"sqlite:///{path}/mlflow.db"))
    return directory / "mlflow.db"


def pytest_addoption(parser):
    parser.addoption("--fault-table", type=Path, help="Write what came of the faults to this file.")


def pytest_configure(config):
    config.addinivalue_line("markers", "slow: runs by `make test-slow`, for minutes that CI lacks")
    config.pluginmanager.register(FaultTable(config.getoption("--fault-table")), "fault table")
