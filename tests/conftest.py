from pathlib import Path

import mlp_med  # noqa: F401  # switches oneDNN on, before a test imports TensorFlow
from tests.faults import FaultTable

# A file is one process's: the one that is begun last would keep the other cores waiting.
LONGEST_FILES = ("test_cli.py", "test_streaming.py", "test_worker.py")


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: item.path.name not in LONGEST_FILES)


def pytest_addoption(parser):
    parser.addoption("--fault-table", type=Path, help="Write what came of the faults to this file.")


def pytest_configure(config):
    config.addinivalue_line("markers", "slow: runs by `make test-slow`, for minutes that CI lacks")
    config.pluginmanager.register(FaultTable(config.getoption("--fault-table")), "fault table")
