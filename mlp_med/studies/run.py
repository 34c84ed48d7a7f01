"""Runs a study: what is done stays done, what is missing runs, what fails is told apart.

Any number of sweeps may run one study on one ledger, on this machine and on others: each cell is
run by the one that holds its lease (`mlp_med.ledger.leases`), and each sweep ends when all cells
have.
"""

import functools
import time
from collections.abc import Callable, Sequence
from typing import Literal

from mlp_med.ledger.leases import LEASE_SECONDS, RENEWALS_A_LEASE, Leases
from mlp_med.ledger.read import CellRecord, StudyRecord, read_cell, read_study
from mlp_med.ledger.store import Ledger
from mlp_med.ledger.write import (
    DatasetInput,
    describe_cell,
    fail_cell,
    finish_study,
    mark_interrupted,
    start_cell,
    start_study,
)
from mlp_med.studies.cell import Cell
from mlp_med.studies.launcher import Done, Event, Failed, Job, Order, Started
from mlp_med.studies.launchers import Launch
from mlp_med.studies.provenance import environment, git_commit
from mlp_med.studies.resume import checkpoint_dir, clear_ended
from mlp_med.studies.room import Needs
from mlp_med.studies.study import Study
from mlp_med.studies.worker import train_and_log
from mlp_med.studies.worker_group import in_workers

# A failure that the same cell would meet again on the same machine; not tried again unasked.
DETERMINISTIC_FAILURES = frozenset({"non_finite_loss"})
# A cell that ended so has not been tried to its end: it starts again without being asked for.
CUT_SHORT = frozenset({"interrupted", "lost_node"})
LONGEST_POLL_SECONDS = 5.0


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
        retry_failed: also those whose failure would come again, such as a loss that became NaN.
        checkpoint_seconds: the least time between two checkpoints of a cell; 0 for none.
        lease_seconds: of silence after which another sweep may take over a cell of this one.

    Raises:
        LedgerError: the ledger cannot be written.
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
    sweep = _Sweep(study, ledger, study_run_id, leases, tags, on_event, checkpoint_seconds)
    status: Literal["FINISHED", "KILLED"] = "KILLED"
    try:
        with leases.renewed():
            mark_interrupted(ledger, study_run_id, leases.is_live)
            pending = pending_cells(study, sweep.read(), retry_failed)
            clear_ended(ledger, set(study.cells) - set(pending), study.dataset_info.data_dir)
            on_plan(pending)
            sweep.run(pending, launch, needs_of, on_wait)
        status = "FINISHED"
    finally:
        mark_interrupted(ledger, study_run_id, leases.is_live)
        if not leases.others():  # else it is theirs to finish
            finish_study(ledger, study_run_id, status)
    return sweep.read()


def pending_cells(study: Study, record: StudyRecord, retry_failed: bool = False) -> list[Cell]:
    """The cells that have to run: not done, and not certain to fail in the same way again."""
    known = {cell.hash: cell for cell in record.cells}

    def has_ended(cell: CellRecord) -> bool:
        if cell.state == "failed" and not retry_failed:
            return cell.failure is not None and cell.failure.kind in DETERMINISTIC_FAILURES
        return cell.state in ("done", "infeasible")

    return [cell for cell in study.cells if not has_ended(known[cell.hash])]


class _Sweep:
    """One sweep over the cells of a study, beside any others."""

    def __init__(
        self,
        study: Study,
        ledger: Ledger,
        study_run_id: str,
        leases: Leases,
        tags: dict[str, str],
        on_event: Callable[[Cell, Event], None],
        checkpoint_seconds: float,
    ):
        self._study, self._ledger, self._study_run_id = study, ledger, study_run_id
        self._leases, self._tags, self._on_event = leases, tags, on_event
        self._checkpoint_seconds = checkpoint_seconds
        self._plan = study.plan()
        self._held_elsewhere: list[Cell] = []
        self._ended: set[str] = set()

    def read(self) -> StudyRecord:
        """The study's cells as the ledger knows them, by this sweep's own plan."""
        return read_study(self._ledger, self._study_run_id, plan=self._plan)

    def run(
        self,
        pending: list[Cell],
        launch: Launch,
        needs_of: Callable[[Sequence[Cell]], Sequence[Needs]],
        on_wait: Callable[[list[Cell]], None],
    ) -> None:
        """Runs the cells that nobody holds, waits for the others, and takes over what is left."""
        needs = dict(zip(pending, needs_of(pending), strict=True)) if pending else {}
        while pending:
            self._held_elsewhere = []
            jobs = [Job(needs[cell], functools.partial(self._open, cell)) for cell in pending]
            launch(jobs, in_workers(train_and_log), self._handle, is_lost=self._is_lost)
            if held := self._held_elsewhere:
                on_wait(held)
            pending = self._wait_for(held)

    def _open(self, cell: Cell) -> Order | None:
        if cell.hash in self._ended:
            return None
        given_up = self._leases.was_given_up(cell.hash)
        lease = self._leases.take(cell.hash)
        if lease is None:
            self._held_elsewhere.append(cell)
            return None
        if given_up and self._was_finished(cell):
            return None
        return self._order(cell, lease)

    def _was_finished(self, cell: Cell) -> bool:
        """Whether a sweep that is gone has finished the cell after all; else what it left ends."""
        mark_interrupted(self._ledger, self._study_run_id, self._leases.is_live)
        if self._record_of(cell).state != "done":
            return False
        self._end(cell, Done())
        return True

    def _order(self, cell: Cell, lease: int) -> Order:
        info = self._study.dataset_info
        dataset = DatasetInput(
            name=f"{info.name}/{cell.resolution:g}{info.unit}",
            digest=cell.dataset_digest,
            source=info.source,
            profile=dict(info.num_cases),
        )
        tags = {
            **self._tags,
            "data_dir": info.data_dir,
            "code_digest": self._study.code_digest,
            "holder": self._leases.holder,
            "lease": str(lease),
        }
        run_id = start_cell(
            self._ledger,
            self._study_run_id,
            cell.to_params(),
            cell.hash,
            self._study.arm_of(cell),
            tags,
            dataset,
        )
        return Order(
            cell,
            run_id,
            self._ledger.tracking_uri,
            info.data_dir,
            launched_at=time.time(),
            checkpoint_dir=checkpoint_dir(self._ledger, cell, info.data_dir),
            checkpoint_seconds=self._checkpoint_seconds,
        )

    def _handle(self, order: Order, event: Event) -> None:
        if isinstance(event, Started):
            describe_cell(self._ledger, order.run_id, event.tags)
        elif isinstance(event, Failed):
            if read_cell(self._ledger, order.run_id).state == "done":
                event = Done()  # it was killed with its last words unsaid
            else:
                peak = event.peak_memory_bytes
                metrics = {"peak_memory_bytes": float(peak)} if peak else {}
                fail_cell(self._ledger, order.run_id, event.kind, event.message, metrics=metrics)
        if isinstance(event, Failed) and event.kind in CUT_SHORT:
            self._leases.release(order.cell.hash)
            if event.kind == "interrupted":  # taken over; on a lost node the launcher begins again
                self._held_elsewhere.append(order.cell)
            self._on_event(order.cell, event)
        elif isinstance(event, Done | Failed):
            self._end(order.cell, event)
        else:
            self._on_event(order.cell, event)

    def _end(self, cell: Cell, event: Done | Failed) -> None:
        self._ended.add(cell.hash)
        self._leases.release(cell.hash)
        self._on_event(cell, event)

    def _is_lost(self, order: Order) -> bool:
        return self._leases.is_lost(order.cell.hash)

    def _wait_for(self, held: list[Cell]) -> list[Cell]:
        """Waits while other sweeps hold all of these; tells of their ends.

        Returns:
            Those that nobody holds any more and that have not ended.
        """
        poll = min(LONGEST_POLL_SECONDS, self._leases.lease_seconds / RENEWALS_A_LEASE)
        while held:
            self._leases.refresh()
            theirs = set(self._leases.others())
            free = [cell for cell in held if cell.hash not in theirs]
            left = [cell for cell in free if not self._has_ended_elsewhere(cell)]
            if left:
                return left
            held = [cell for cell in held if cell.hash in theirs]
            if held:
                time.sleep(poll)
        return []

    def _has_ended_elsewhere(self, cell: Cell) -> bool:
        found = self._record_of(cell)
        if found.state == "failed" and found.failure is not None:
            if found.failure.kind in CUT_SHORT:
                return False
            self._end(cell, Failed(found.failure.kind, found.failure.message))
            return True
        if found.state in ("done", "infeasible"):
            self._end(cell, Done())
            return True
        return False

    def _record_of(self, cell: Cell) -> CellRecord:
        return next(record for record in self.read().cells if record.hash == cell.hash)
