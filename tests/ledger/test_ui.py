"""MLflow's UI as a user starts it and ends it with Ctrl-C."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request

import psutil
import pytest

START = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores it
from mlp_med.ledger.ui import serve_ui
sys.exit(serve_ui(sys.argv[1], int(sys.argv[2])))
"""


@pytest.mark.parametrize(
    "how",
    [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow), signal.SIGKILL],
)
def test_no_process_survives_the_end_of_the_ui(how, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-c", START, f"sqlite:///{tmp_path}/mlflow.db", str(port)]
    ui = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": os.getcwd()})  # noqa: PTH109
    try:
        _wait_until_it_answers(ui, f"http://127.0.0.1:{port}/health")
        family = psutil.Process(ui.pid).children(recursive=True)
        assert family
        ui.send_signal(how)
        ui.wait(30)
        _, alive = psutil.wait_procs(family, timeout=60)
        assert not alive
    finally:
        ui.kill()


def _wait_until_it_answers(ui, address, seconds=90):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        assert ui.poll() is None, f"the UI ended by itself, exit code {ui.returncode}"
        try:
            with urllib.request.urlopen(address, timeout=5) as answer:
                assert answer.status == 200
                return
        except OSError:
            time.sleep(0.3)
    raise AssertionError(f"no answer from {address}")
