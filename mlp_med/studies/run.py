"""Runs a study: what is done stays done, what is missing runs, what fails is told apart.

Any number of sweeps may run one study on one ledger, on this machine and on others: each cell is
run by the one that holds its lease (`mlp_med.ledger.leases`), and each sweep ends when all cells
have.

A ledger that goes away stops no training: what a cell comes to is kept and told when the ledger is
back (`mlp_med.ledger.delivery`). Meanwhile cells begin without a lease, unless another sweep was
seen to hold theirs; of a cell that two sweeps then train, the first result counts.
"""

from collections.abc import Callable, Sequence
from typing import Literal

from mlp_med.errors import LedgerUnavailableError
from mlp_med.ledger.leases import LEASE_SECONDS, Leases
from mlp_med.ledger.read import CellRecord, StudyRecord
from mlp_med.ledger.store import Ledger
from mlp_med.ledger.study_run import finish_study, start_study
from mlp_med.ledger.write import mark_interrupted
from mlp_med.studies.cell import Cell
from mlp_med.studies.launchers import Launch
from mlp_med.studies.orders import INFEASIBLE, Event
from mlp_med.studies.provenance import environment, git_commit
from mlp_med.studies.resume import clear_ended
from mlp_med.studies.room import Needs
from mlp_med.studies.study import Study
from mlp_med.studies.sweep import Sweep

# A failure that the same cell would meet again on the same machine; not tried again unasked.
DETERMINISTIC_FAILURES = frozenset({"non_finite_loss", INFEASIBLE})


def run_study(
    study: Study,
    ledger: Ledger,
    *,
    launch: Launch,
    needs_of: Callable[[Sequence[Cell]], Sequence[Needs]],
    on_event: Callable[[Cell, Event], None],
    on_plan: Callable[[list[Cell]], None] = lambda pending: None,
    on_wait: Callable[[list[Cell]], None] = lambda held: None,
    retry_failed: bool = False,
    checkpoint_seconds: float = 0.0,
    lease_seconds: float = LEASE_SECONDS,
) -> StudyRecord:
    """Runs the cells of a study that are not done, and returns what the ledger then knows.

    Args:
        study: the plan.
        ledger: where the cells go and where finished ones are found.
        launch: where and how cells run.
        needs_of: what cells take of a machine.
        on_event: told of each cell's progress and end, whichever sweep has run it.
        on_plan: told which cells will run.
        on_wait: told which cells other sweeps hold, when nothing else is left to do here.
        retry_failed: also those whose failure would come again, such as a loss that became NaN, or
            that fitted no machine.
        checkpoint_seconds: the least time between two checkpoints of a cell; 0 for none.
        lease_seconds: of silence after which another sweep may take over a cell of this one.

    Raises:
        LedgerError: the ledger cannot be written; LedgerUnavailableError where it went away and
            did not come back, and what is to be told it is kept.
        KeyboardInterrupt: after the running cells were ended and marked interrupted.
    """
    commit = git_commit()
    tags = {**environment(), "commit": commit, "phantom": str(study.dataset_info.phantom).lower()}
    study_run_id = start_study(
        ledger,
        study.name,
        study.hash,
        study.plan(),
        {"size": study.size, "dataset": study.dataset_info.name, **tags},
    )
    leases = Leases(ledger, study_run_id, lease_seconds=lease_seconds)
    sweep = Sweep(study, ledger, study_run_id, leases, tags, on_event, checkpoint_seconds)
    status: Literal["FINISHED", "KILLED"] = "KILLED"
    try:
        with leases.renewed():
            sweep.delivery.deliver()
            mark_interrupted(ledger, study_run_id, leases.is_live)
            pending = pending_cells(study, sweep.read(), retry_failed)
            clear_ended(ledger, set(study.cells) - set(pending), study.dataset_info.data_dir)
            on_plan(pending)
            sweep.run(pending, launch, needs_of, on_wait)
        status = "FINISHED"
    finally:
        try:
            ledger.require_answer()
            mark_interrupted(ledger, study_run_id, leases.is_live)
            if not leases.others():  # else it is theirs to finish
                finish_study(ledger, study_run_id, status)
        except LedgerUnavailableError:
            if status == "FINISHED":  # else why it ended says more; the next run tidies up
                raise
    return sweep.read()


def pending_cells(study: Study, record: StudyRecord, retry_failed: bool = False) -> list[Cell]:
    """The cells that have to run: not done, and not certain to fail in the same way again."""
    known = {cell.hash: cell for cell in record.cells}

    def has_ended(cell: CellRecord) -> bool:
        if cell.state in ("failed", "infeasible") and not retry_failed:
            return cell.failure is not None and cell.failure.kind in DETERMINISTIC_FAILURES
        return cell.state == "done"

    return [cell for cell in study.cells if not has_ended(known[cell.hash])]
