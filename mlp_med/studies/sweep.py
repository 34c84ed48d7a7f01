"""One sweep over the cells of a study, beside any others: what it opens, hears and tells."""

import contextlib
import functools
import logging
import time
from collections.abc import Callable, Mapping, Sequence

from mlp_med.errors import LedgerError, LedgerUnavailableError
from mlp_med.ledger.delivery import Delivery, find_started, start_or_key, tell
from mlp_med.ledger.entries import DatasetInput
from mlp_med.ledger.leases import RENEWALS_A_LEASE, Leases
from mlp_med.ledger.read import CellRecord, Failure, StudyRecord, read_study
from mlp_med.ledger.spool import CellEnd, CellStart, Spool
from mlp_med.ledger.store import Ledger
from mlp_med.ledger.write import describe_cell, mark_interrupted
from mlp_med.studies.cell import Cell
from mlp_med.studies.launchers import Launch
from mlp_med.studies.orders import INFEASIBLE, Done, Event, Failed, Job, Order, Started
from mlp_med.studies.resume import checkpoint_dir
from mlp_med.studies.room import Needs
from mlp_med.studies.study import Study
from mlp_med.studies.worker_group import train_in_workers_and_log

logger = logging.getLogger(__name__)

# A cell that ended so has not been tried to its end: it starts again without being asked for.
CUT_SHORT = frozenset({"interrupted", "lost_node"})
# Kinds of failure of which the ledger keeps what the memory plan predicted as well.
OF_MEMORY = frozenset({INFEASIBLE, "out_of_memory", "killed"})
LONGEST_POLL_SECONDS = 5.0
NO_LEASE = 0


class Sweep:
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
        self._needs: dict[Cell, Needs] = {}
        self._untold: list[tuple[CellStart, Mapping[str, str]]] = []
        self.delivery = Delivery(ledger, Spool(study.dataset_info.data_dir))

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
        self._needs = dict(zip(pending, needs_of(pending), strict=True)) if pending else {}
        while pending:
            self._held_elsewhere = []
            jobs = [Job(self._needs[cell], functools.partial(self._open, cell)) for cell in pending]
            launch(jobs, train_in_workers_and_log, self._handle, is_lost=self._is_lost)
            self._catch_up()
            if held := self._held_elsewhere:
                on_wait(held)
            pending = self._wait_for(held)

    def _open(self, cell: Cell) -> Order | None:
        if cell.hash in self._ended:
            return None
        try:
            self._ledger.require_answer()
            given_up = self._leases.was_given_up(cell.hash)
            lease = self._leases.take(cell.hash)
            if lease is not None and given_up and self._was_finished(cell):
                return None
        except LedgerUnavailableError:
            lease = None if cell.hash in self._leases.others() else NO_LEASE
        if lease is None:
            self._held_elsewhere.append(cell)
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
        start = CellStart(
            study_run_id=self._study_run_id,
            params=cell.to_params(),
            cell_hash=cell.hash,
            arm=self._study.arm_of(cell),
            tags=tags,
            dataset=dataset,
        )
        return Order(
            cell,
            start_or_key(self._ledger, start),
            self._ledger.tracking_uri,
            info.data_dir,
            launched_at=time.time(),
            checkpoint_dir=checkpoint_dir(self._ledger, cell, info.data_dir),
            checkpoint_seconds=self._checkpoint_seconds,
            start=start,
        )

    def _handle(self, order: Order, event: Event) -> None:
        assert order.start is not None  # it was opened here
        if isinstance(event, Started):
            self._untold.append((order.start, event.tags))
            with contextlib.suppress(LedgerUnavailableError):
                self._tell_machines()
        elif isinstance(event, Failed):
            event = self._tell_failure(order, order.start, event)
        elif isinstance(event, Done):
            self.delivery.deliver_if_possible()
        if isinstance(event, Failed) and event.kind in CUT_SHORT:
            self._leases.release(order.cell.hash)
            if event.kind == "interrupted":  # taken over; on a lost node the launcher begins again
                self._held_elsewhere.append(order.cell)
            self._on_event(order.cell, event)
        elif isinstance(event, Done | Failed):
            self._end(order.cell, event)
        else:
            self._on_event(order.cell, event)

    def _tell_failure(self, order: Order, start: CellStart, event: Failed) -> Done | Failed:
        """Tells the ledger; a cell that was killed with its result kept is done all the same."""
        predicted = self._needs[order.cell].memory_bytes
        memory = {
            "peak_memory_bytes": event.peak_memory_bytes,
            "predicted_memory_bytes": predicted if event.kind in OF_MEMORY else None,
        }
        end = CellEnd(
            start=start,
            run_id=order.run_id,
            metrics={name: float(number) for name, number in memory.items() if number},
            failure=Failure(event.kind, event.message),
        )
        is_kept = self.delivery.spool.path_of(start).exists()
        try:
            tell(lambda: self._ledger, self.delivery.spool, end)
            run = None if is_kept else find_started(self._ledger, start)
        except LedgerError as error:  # the next run finds the cell interrupted
            logger.warning("%s", error)
            return event
        return Done() if is_kept or (run is not None and run.state == "done") else event

    def _tell_machines(self) -> None:
        """Tells the ledger where cells run whose processes are not on this machine."""
        while self._untold:
            self._ledger.require_answer()
            start, tags = self._untold[0]
            if (run := find_started(self._ledger, start)) is not None:
                describe_cell(self._ledger, run.run_id, tags)
            del self._untold[0]

    def _catch_up(self) -> None:
        """Waits for a ledger that is away, and tells it all that it does not know yet."""
        self.delivery.finish()
        self._tell_machines()

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
            self._catch_up()
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
        if found.state in ("failed", "infeasible") and found.failure is not None:
            if found.failure.kind in CUT_SHORT:
                return False
            self._end(cell, Failed(found.failure.kind, found.failure.message))
            return True
        if found.state == "done":
            self._end(cell, Done())
            return True
        return False

    def _record_of(self, cell: Cell) -> CellRecord:
        return next(record for record in self.read().cells if record.hash == cell.hash)
