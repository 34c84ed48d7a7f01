"""The one atomic decision that a tracking server offers: a param that has a value keeps it."""

from mlp_med.ledger.store import Ledger, ledger_errors


def log_once(ledger: Ledger, run_id: str, name: str, value: str) -> str:
    """Gives the run's param a value, unless it has one.

    Of any number of processes, on any machines, exactly one decides. It may be called again with
    the same value, as after an answer that was lost.

    Returns:
        The value that the param has.

    Raises:
        LedgerError: the ledger cannot be read or written.
    """
    from mlflow.exceptions import MlflowException

    try:
        ledger.client.log_param(run_id, name, value)
        return value
    except MlflowException:
        # Refused, or not heard: what the run now has tells which.
        with ledger_errors(f"reading the param {name} of run {run_id}"):
            kept = ledger.client.get_run(run_id).data.params.get(name)
        if kept is None:
            with ledger_errors(f"writing {name} of {run_id}"):
                raise
        return kept
