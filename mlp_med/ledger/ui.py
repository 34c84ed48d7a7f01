"""MLflow's own UI over the ledger, on the loopback, ended whole."""

import contextlib
import os
import signal
import subprocess
import sys

from mlp_med.ledger.store import open_ledger

SECONDS_TO_END = 5


def serve_ui(tracking_uri: str, port: int) -> int:
    """Serves the UI until Ctrl-C or SIGTERM, and leaves no process behind.

    MLflow's server starts workers of its own, so it gets a process group, and the group is ended.

    Returns:
        The exit code for the command line.

    Raises:
        LedgerError: the ledger cannot be opened.
    """
    ledger = open_ledger(tracking_uri)
    command = [sys.executable, "-m", "mlflow", "ui", "--host", "127.0.0.1", "--port", str(port)]
    environment = os.environ | {
        "MLFLOW_BACKEND_STORE_URI": ledger.tracking_uri,  # arguments are for everybody to see
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # its job workers outlive a SIGTERM
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    server = subprocess.Popen(command, env=environment, start_new_session=True)
    signal.signal(signal.SIGTERM, lambda *_: server.send_signal(signal.SIGINT))
    try:
        return server.wait()
    except KeyboardInterrupt:
        return 0
    finally:
        _end_group(server)


def _end_group(server: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(server.pid, signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        server.wait(SECONDS_TO_END)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(server.pid, signal.SIGKILL)
    server.wait()
