"""MLflow's own UI over the ledger, on the loopback."""

from mlp_med.ledger.serving import serve
from mlp_med.ledger.store import open_ledger


def serve_ui(tracking_uri: str, port: int) -> int:
    """Serves the UI until Ctrl-C or SIGTERM, and leaves no process behind.

    Returns:
        The exit code for the command line.

    Raises:
        LedgerError: the ledger cannot be opened, or the port is taken.
    """
    ledger = open_ledger(tracking_uri)
    # By the environment, since a database's URI may hold its password.
    environment = {"MLFLOW_BACKEND_STORE_URI": ledger.tracking_uri}
    # One will do for one person; MLflow's default are four processes that each import all of it.
    return serve(["ui", "--workers", "1"], environment, "127.0.0.1", port)
