"""Looks whether the predictions in the ledger are those that were kept."""

from mlp_med.errors import LedgerError, LedgerUnavailableError
from mlp_med.ledger.read import CellRecord, StudyRecord, load_predictions
from mlp_med.ledger.store import Ledger
from mlp_med.ledger.write import fail_cell

BROKEN = "broken_predictions"


def fail_broken(ledger: Ledger, record: StudyRecord) -> list[CellRecord]:
    """Fails every done cell whose predictions are gone or altered, so that it is trained again.

    Returns:
        Those cells.

    Raises:
        LedgerUnavailableError: the ledger does not answer, which says nothing of a cell.
    """
    broken = []
    for cell in record.in_state("done"):
        try:
            load_predictions(ledger, cell.run_id)
        except LedgerUnavailableError:
            raise
        except LedgerError as error:
            fail_cell(ledger, cell.run_id, BROKEN, str(error))
            broken.append(cell)
    return broken
