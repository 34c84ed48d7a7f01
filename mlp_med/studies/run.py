"""Runs a study: what is done stays done, what is missing runs, what fails is told apart."""

import contextlib
import fcntl
import functools
import logging
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

from mlp_med.errors import LedgerError, LedgerUnavailableError, StudyError
from mlp_med.ledger.credentials import without_credentials
from mlp_med.ledger.delivery import Delivery, start_or_key, tell
from mlp_med.ledger.entries import DatasetInput
from mlp_med.ledger.read import CellRecord, Failure, StudyRecord, read_study
from mlp_med.ledger.spool import CellEnd, CellStart, Spool
from mlp_med.ledger.store import Ledger
from mlp_med.ledger.write import finish_study, mark_interrupted, start_study
from mlp_med.studies.cell import Cell
from mlp_med.studies.launcher import Done, Event, Failed, Order, launch_local
from mlp_med.studies.provenance import environment, git_commit
from mlp_med.studies.study import Study
from mlp_med.studies.worker import PRELOAD, train_and_log

logger = logging.getLogger(__name__)

# A failure that the same cell would meet again on the same machine; not tried again unasked.
DETERMINISTIC_FAILURES = frozenset({"non_finite_loss"})


def run_study(
    study: Study,
    ledger: Ledger,
    *,
    num_concurrent: int,
    on_event: Callable[[Cell, Event], None],
    on_plan: Callable[[list[Cell]], None] = lambda pending: None,
    retry_failed: bool = False,
) -> StudyRecord:
    """Runs the cells of a study that are not done, and returns what the ledger then knows.

    Args:
        study: the plan.
        ledger: where the cells go and where finished ones are found.
        num_concurrent: cells at once.
        on_event: told of each cell's progress and end.
        on_plan: told which cells will run.
        retry_failed: also those whose failure would come again, such as a loss that became NaN.

    Raises:
        StudyError: another process runs this study on this ledger.
        LedgerError: the ledger cannot be written.
        KeyboardInterrupt: after the running cells were ended and marked interrupted.
    """
    commit = git_commit()
    delivery = Delivery(ledger, Spool(study.dataset_info.data_dir))
    tags = {**environment(), "commit": commit, "phantom": str(study.dataset_info.phantom).lower()}
    with _only_one(study, ledger):
        study_run_id = start_study(
            ledger,
            study.name,
            study.hash,
            study.plan(),
            {"size": study.size, "dataset": study.dataset_info.name, **tags},
        )
        status: Literal["FINISHED", "KILLED"] = "KILLED"
        try:
            delivery.deliver()
            mark_interrupted(ledger, study_run_id)
            pending = pending_cells(study, read_study(ledger, study_run_id), retry_failed)
            on_plan(pending)
            _launch(study, delivery, study_run_id, pending, tags, num_concurrent, on_event)
            delivery.finish()
            status = "FINISHED"
        finally:
            _end(ledger, study_run_id, status)
        return read_study(ledger, study_run_id)


def _end(ledger: Ledger, study_run_id: str, status: Literal["FINISHED", "KILLED"]) -> None:
    """Leaves nothing running in the ledger; one that is lost learns it from the next run."""
    try:
        ledger.require_answer()
        mark_interrupted(ledger, study_run_id)
        finish_study(ledger, study_run_id, status)
    except LedgerUnavailableError:
        if status == "FINISHED":
            raise


def pending_cells(study: Study, record: StudyRecord, retry_failed: bool = False) -> list[Cell]:
    """The cells that have to run: not done, and not certain to fail in the same way again."""
    known = {cell.hash: cell for cell in record.cells}

    def has_ended(cell: CellRecord) -> bool:
        if cell.state == "failed" and not retry_failed:
            return cell.failure is not None and cell.failure.kind in DETERMINISTIC_FAILURES
        return cell.state in ("done", "infeasible")

    return [cell for cell in study.cells if not has_ended(known[cell.hash])]


def _launch(
    study: Study,
    delivery: Delivery,
    study_run_id: str,
    pending: list[Cell],
    tags: dict[str, str],
    num_concurrent: int,
    on_event: Callable[[Cell, Event], None],
) -> None:
    info, ledger = study.dataset_info, delivery.ledger

    def order(cell: Cell) -> Order:
        dataset = DatasetInput(
            name=f"{info.name}/{cell.resolution:g}{info.unit}",
            digest=cell.dataset_digest,
            source=info.source,
            profile=dict(info.num_cases),
        )
        cell_tags = {**tags, "data_dir": info.data_dir, "code_digest": study.code_digest}
        start = CellStart(
            study_run_id=study_run_id,
            params=cell.to_params(),
            cell_hash=cell.hash,
            arm=study.arm_of(cell),
            tags=cell_tags,
            dataset=dataset,
        )
        run_id = start_or_key(ledger, start)
        return Order(cell, run_id, ledger.tracking_uri, info.data_dir, time.time(), start=start)

    def handle(order: Order, event: Event) -> None:
        if isinstance(event, Failed):
            _tell_failure(delivery, order, event)
        elif isinstance(event, Done):
            delivery.deliver_if_possible()
        on_event(order.cell, event)

    launch_local(
        [functools.partial(order, cell) for cell in pending],
        train_and_log,
        handle,
        num_concurrent=num_concurrent,
        preload=PRELOAD,
    )


def _tell_failure(delivery: Delivery, order: Order, event: Failed) -> None:
    assert order.start is not None
    peak = event.peak_memory_bytes
    end = CellEnd(
        start=order.start,
        run_id=order.run_id,
        metrics={"peak_memory_bytes": float(peak)} if peak else {},
        failure=Failure(event.kind, event.message),
    )
    try:
        tell(lambda: delivery.ledger, delivery.spool, end)
    except LedgerError as error:  # the next run finds the cell interrupted
        logger.warning("%s", error)


@contextlib.contextmanager
def _only_one(study: Study, ledger: Ledger) -> Iterator[None]:
    """Holds this study's lock beside a local ledger; on a server there is none to hold."""
    if ledger.lock_path is None:
        yield
        return
    path = Path(ledger.lock_path).with_name(f"study-{study.hash}.lock")
    try:
        lock = path.open("a")
    except OSError as error:
        raise LedgerError(f"cannot write {path}: {error}") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise StudyError(
                f"another process runs {study.name} ({study.size}) on "
                f"{without_credentials(ledger.tracking_uri)}; "
                "wait for it, or end it and start again: finished cells are kept"
            ) from error
        yield
