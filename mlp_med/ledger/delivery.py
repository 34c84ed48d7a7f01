"""Tells the ledger of cells. What it cannot be told now is kept, and told later, and nothing twice.

A cell that ends is written to the spool first and then told: between the two nothing is lost,
whatever is killed. Every step of the telling may be repeated, so that one that was cut in the
middle is completed by the next: the same values with the same time are kept once by MLflow, a
start is found by its key, and the state done, written last, ends it.
"""

import contextlib
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from mlp_med.errors import LedgerError, LedgerUnavailableError
from mlp_med.ledger import names
from mlp_med.ledger.entries import log_points
from mlp_med.ledger.read import CellRecord, read_cell
from mlp_med.ledger.runs import search_all_runs
from mlp_med.ledger.spool import CellEnd, CellStart, Spool
from mlp_med.ledger.store import Ledger, ledger_errors
from mlp_med.ledger.write import check_result, fail_cell, finish_cell, log_cell_details, start_cell

SECONDS_TO_WAIT = 600  # at a study's end, for a server that is down
SECONDS_BETWEEN_TRIES = 2.0

logger = logging.getLogger(__name__)


def start_or_key(ledger: Ledger, start: CellStart) -> str:
    """Starts the cell in the ledger; returns its run id, or the start's key where nobody answers.

    The cell trains all the same: its run is made when its result is told.

    Raises:
        LedgerError: the ledger answers and refuses.
    """
    try:
        ledger.require_answer()
        return _start(ledger, start)
    except LedgerUnavailableError as error:
        logger.warning("%s; %s trains all the same, and is recorded later", error, start.arm)
        return start.key


def tell(open_ledger: Callable[[], Ledger], spool: Spool, end: CellEnd) -> None:
    """Keeps how a cell ended, and tells the ledger of it and of all that was kept before.

    A failure does not replace a result: a process may be killed when its result is kept already.

    Args:
        open_ledger: called when there is something to tell; it may fail.
        spool: where to keep it.
        end: of the cell.

    Raises:
        LedgerError: it could neither be kept nor told, or the ledger would refuse it anyway.
    """
    if end.predictions is not None:
        check_result(end.run_id, end.metrics, end.predictions)
    path = spool.path_of(end.start)
    if end.failure is None or not path.exists():
        try:
            spool.keep(end)
        except OSError as full:
            logger.warning("cannot keep a result in %s: %s", spool.directory, full)
            _deliver(open_ledger(), end)  # the only place left
            return
    try:
        Delivery(open_ledger(), spool).deliver()
    except LedgerError as error:
        logger.warning("%s; what is to be recorded is kept in %s", error, path)


def find_started(ledger: Ledger, start: CellStart) -> CellRecord | None:
    """The cell's record by its start; None where the ledger was not told of it yet."""
    with ledger_errors(f"looking for the cell {start.cell_hash}"):
        experiment_id = ledger.client.get_run(start.study_run_id).info.experiment_id
        runs = search_all_runs(ledger, experiment_id, f"tags.`{names.CELL_START}` = '{start.key}'")
    return read_cell(ledger, runs[0].info.run_id) if runs else None


@dataclass
class Delivery:
    """Brings what is in a spool to a ledger."""

    ledger: Ledger
    spool: Spool
    _is_of_this_ledger: dict[str, bool] = field(default_factory=dict)

    def deliver(self) -> list[CellEnd]:
        """Tells the ledger all that is kept for it; returns what it could not be told.

        What another process is telling just now, and what belongs to another ledger, is left out.

        Raises:
            LedgerUnavailableError: the ledger does not answer.
        """
        left = []
        self.spool.remove_leftovers()
        paths = self.spool.paths()
        if paths:
            self.ledger.require_answer()
        for path in paths:
            try:
                with self.spool.claimed(path) as end:
                    if end is None or not self._knows(end.start.study_run_id):
                        continue
                    left.append(end)
                    _deliver(self.ledger, end)
                    left.pop()
                    path.unlink()
            except LedgerUnavailableError:
                raise
            except LedgerError as error:
                logger.warning("%s", error)
        return left

    def deliver_if_possible(self) -> None:
        """As `deliver`; a ledger that does not answer is left alone."""
        with contextlib.suppress(LedgerUnavailableError):
            self.deliver()

    def finish(self, seconds: float = SECONDS_TO_WAIT) -> None:
        """Delivers everything, and waits so long for a ledger that does not answer.

        Raises:
            LedgerUnavailableError: it did not come back; what is kept stays kept.
            LedgerError: it answers and refuses something.
        """
        deadline, is_waiting = time.monotonic() + seconds, False
        while True:
            try:
                left = self.deliver()
                self.ledger.require_answer()
                break
            except LedgerUnavailableError as error:
                if not is_waiting:
                    logger.warning(
                        "%s; waiting for it for up to %d s (Ctrl-C loses nothing)", error, seconds
                    )
                is_waiting = True
                if time.monotonic() > deadline:
                    raise LedgerUnavailableError(
                        f"{error}; the study's results are kept in {self.spool.directory}: the "
                        "same command delivers them when the ledger is back, and trains no "
                        "finished cell again"
                    ) from error
                time.sleep(SECONDS_BETWEEN_TRIES)
        if left:
            raise LedgerError(
                f"the ledger refuses {len(left)} results that are kept in {self.spool.directory}; "
                "the warnings above say why"
            )

    def _knows(self, study_run_id: str) -> bool:
        """Whether the study is in this ledger: another one's results may lie in the same spool."""
        if study_run_id not in self._is_of_this_ledger:
            from mlflow.exceptions import MlflowException

            with ledger_errors(f"looking for the study {study_run_id}"):
                try:
                    self.ledger.client.get_run(study_run_id)
                    self._is_of_this_ledger[study_run_id] = True
                except MlflowException as error:
                    if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                        raise
                    self._is_of_this_ledger[study_run_id] = False
        return self._is_of_this_ledger[study_run_id]


def _deliver(ledger: Ledger, end: CellEnd) -> None:
    """Tells the ledger how a cell ended; again, if it was told in part."""
    run_id = _find_run(ledger, end)
    if run_id is None:
        return
    with ledger_errors(f"logging the curves of run {run_id}"):
        log_points(ledger, run_id, end.points, at_ms=end.at_ms)
    if end.failure is not None:
        kind, message = end.failure.kind, end.failure.message
        state: Literal["failed", "infeasible"] = "infeasible" if kind == "infeasible" else "failed"
        fail_cell(ledger, run_id, kind, message, metrics=end.metrics, state=state, at_ms=end.at_ms)
        return
    assert end.predictions is not None  # what has not failed is done
    with ledger_errors(f"finishing run {run_id}"):
        for tag in (names.FAILURE_KIND, names.FAILURE_MESSAGE):
            if tag in ledger.client.get_run(run_id).data.tags:
                ledger.client.delete_tag(run_id, tag)  # it was taken for interrupted
    finish_cell(ledger, run_id, end.metrics, end.predictions, tags=end.tags, at_ms=end.at_ms)


def _find_run(ledger: Ledger, end: CellEnd) -> str | None:
    """The run that waits for this end, made if there is none; None where nothing is to be told."""
    start = end.start
    with ledger_errors(f"looking for the runs of the cell {start.cell_hash}"):
        experiment_id = ledger.client.get_run(start.study_run_id).info.experiment_id
        runs = search_all_runs(
            ledger,
            experiment_id,
            f"tags.`{names.PARENT_RUN}` = '{start.study_run_id}' and "
            f"tags.`{names.CELL_HASH}` = '{start.cell_hash}'",
        )
    ours = [run for run in runs if run.data.tags.get(names.CELL_START) == start.key]
    done = [run for run in runs if run.data.tags[names.STATE] == "done"]
    with ledger_errors(f"removing what was started twice of the cell {start.cell_hash}"):
        # Asked again after an answer that was lost, a server makes a second run.
        for run in ours[1:]:
            ledger.client.delete_run(run.info.run_id)
    if done:
        if ours and ours[0].info.run_id != done[0].info.run_id:
            message = f"run {done[0].info.run_id} of the same cell was done before"
            fail_cell(ledger, ours[0].info.run_id, "duplicate", message)
        return None
    if not ours:
        return _start(ledger, start)
    run_id = ours[0].info.run_id
    log_cell_details(ledger, run_id, start.params, start.dataset, at_ms=start.at_ms)
    return run_id


def _start(ledger: Ledger, start: CellStart) -> str:
    return start_cell(
        ledger,
        start.study_run_id,
        start.params,
        start.cell_hash,
        start.arm,
        start.tags,
        start.dataset,
        key=start.key,
        at_ms=start.at_ms,
    )
