from pathlib import Path

import mlp_med  # noqa: F401  # switches oneDNN on, before a test imports TensorFlow
from tests.faults import FaultTable


def pytest_addoption(parser):
    parser.addoption("--fault-table", type=Path, help="Write what came of the faults to this file.")


def pytest_configure(config):
    config.addinivalue_line("markers", "slow: runs by `make test-slow`, for minutes that CI lacks")
    config.pluginmanager.register(FaultTable(config.getoption("--fault-table")), "fault table")
