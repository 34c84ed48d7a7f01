"""Runs one of MLflow's servers until Ctrl-C or SIGTERM, and leaves no process behind."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence

from mlp_med.errors import LedgerError
from mlp_med.ledger import keeper as keeping

# More than the keeper takes, which ends all else.
SECONDS_TO_END = keeping.SECONDS_TO_END + keeping.SECONDS_TO_KILL + 5
# Its job workers outlive a SIGTERM, and nothing of ours is a job.
ENVIRONMENT = {
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}


def serve(arguments: Sequence[str], environment: Mapping[str, str], host: str, port: int) -> int:
    """Serves until Ctrl-C or SIGTERM.

    MLflow's server starts processes of its own; a keeper ends them, even if this one is killed.

    Args:
        arguments: of the command `mlflow`, without host and port. Every user of the machine can
            read them, so no secret is among them.
        environment: what the server is told besides; secrets go here.
        host: address to listen on.
        port: to listen on.

    Returns:
        The exit code for the command line.

    Raises:
        LedgerError: the port is taken, or the host is none of this machine.
    """
    _require_free(host, port)
    command = [sys.executable, "-m", "mlflow", *arguments, "--host", host, "--port", str(port)]
    keeper = keeping.start(command, {**os.environ, **ENVIRONMENT, **environment})
    signal.signal(signal.SIGTERM, lambda *_: keeper.terminate())
    try:
        return keeper.wait()
    except KeyboardInterrupt:
        return 0
    finally:
        _end(keeper)


def _require_free(host: str, port: int) -> None:
    """MLflow would start, print pages of the error, and start again."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM
        )[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # of a server just ended
            probe.bind(address)
    except (OSError, OverflowError) as error:
        raise LedgerError(
            f"cannot listen on port {port} of {host}: {error}; end what uses it, or give another "
            "with --port"
        ) from error


def _end(keeper: subprocess.Popen[bytes]) -> None:
    keeper.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        keeper.wait(SECONDS_TO_END)
    with contextlib.suppress(ProcessLookupError):  # what a keeper leaves that was itself killed
        os.killpg(keeper.pid, signal.SIGKILL)
    keeper.wait()
