"""Trains cells again from the ledger alone and compares their predictions bit for bit."""

import functools
import random
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import isfinite
from pathlib import Path

import pandas as pd

from mlp_med.errors import DatasetError, StudyError
from mlp_med.ledger.read import CellRecord, StudyRecord, load_predictions, read_cell
from mlp_med.ledger.store import Ledger
from mlp_med.studies.cell import Cell
from mlp_med.studies.comparison import compare_predictions, label_of
from mlp_med.studies.launchers.local import launch_local
from mlp_med.studies.orders import Event, Failed, Job, Order, SendProgress
from mlp_med.studies.provenance import code_digest, environment, git_commit
from mlp_med.studies.room import Machine, Needs
from mlp_med.studies.work import PRELOAD, train_and_save
from mlp_med.studies.worker_group import in_workers


@dataclass(frozen=True)
class RerunOutcome:
    """How a rerun compares with its run.

    Attributes:
        label: arm, seed and whether the data is a phantom.
        identical: whether every score is the same, bit for bit.
        largest_difference: the largest absolute difference of a score; 0.0 if identical, NaN where
            there is none because the rerun failed or scored other cases.
        auc_before: test AUC of the run.
        auc_again: test AUC of the rerun.
        changes: what is different now, by name: (then, now).
        failure: why the rerun has no predictions; "" where it has.
    """

    label: str
    identical: bool
    largest_difference: float
    auc_before: float
    auc_again: float
    changes: Mapping[str, tuple[str, str]]
    failure: str = ""

    def __str__(self) -> str:
        if self.failure:
            result = f"failed: {self.failure}"
        elif self.identical:
            result = f"identical bit for bit, test AUC {self.auc_again:.6f}"
        elif isfinite(self.largest_difference):
            result = (
                f"different: scores differ by up to {self.largest_difference:.3g}, test AUC "
                f"{self.auc_before:.6f} then, {self.auc_again:.6f} now"
            )
        else:
            result = "different: the rerun scored other test cases"
        lines = [f"{self.label}: {result}"]
        lines += [f"  {name}: {then} then, {now} now" for name, (then, now) in self.changes.items()]
        if not self.identical and not self.changes:
            lines.append("  nothing that is recorded has changed: code, versions, processor, data")
        return "\n".join(lines)


def rerun_cell(ledger: Ledger, run_id: str, data_dir: Path | None = None) -> RerunOutcome:
    """Trains the cell of `run_id` again in a process of its own and compares.

    Args:
        ledger: where the run is. Nothing is written to it.
        run_id: of a cell that is done.
        data_dir: TFDS's data directory, if it has moved since the run.

    Raises:
        LedgerError: no such run, not a cell's, or not done.
        DatasetError: the dataset is not there.
        StudyError: the cell failed this time.
    """
    (outcome,) = rerun_cells(ledger, [read_cell(ledger, run_id)], data_dir=data_dir)
    if outcome.failure:
        raise StudyError(f"the rerun failed: {outcome.failure}")
    return outcome


def sample_cells(record: StudyRecord, num_cells: int, seed: int) -> list[CellRecord]:
    """Draws done cells of a study without replacement, all of them where there are no more.

    Args:
        record: the study.
        num_cells: how many, ≥1.
        seed: of the draw: the same ledger and seed give the same cells.

    Raises:
        StudyError: no cell is done.
    """
    done = sorted(record.in_state("done"), key=lambda cell: cell.hash)
    if not done:
        raise StudyError(
            f"no cell of {record.name} (run {record.run_id}) is done; run the study first"
        )
    return random.Random(seed).sample(done, min(num_cells, len(done)))


def rerun_cells(
    ledger: Ledger,
    records: Sequence[CellRecord],
    *,
    data_dir: Path | None = None,
    num_concurrent: int = 1,
    on_event: Callable[[Cell, Event], None] = lambda cell, event: None,
) -> list[RerunOutcome]:
    """Trains cells again, each in a process of its own, and compares each with its run.

    Args:
        ledger: where the runs are. Nothing is written to it.
        records: cells that are done.
        data_dir: TFDS's data directory, if it has moved since the runs.
        num_concurrent: cells at once.
        on_event: told of each cell's progress and end.

    Returns:
        One outcome a record, in their order; a cell that failed this time has a `failure`.

    Raises:
        LedgerError: a cell is not done, or its predictions are gone.
        DatasetError: the dataset is not there.
    """
    # All that can be missing is looked for before any cell trains for minutes.
    before = [load_predictions(ledger, record.run_id) for record in records]
    cells = [Cell.from_params(record.params) for record in records]
    data_dirs = [data_dir or Path(record.tags["data_dir"]) for record in records]
    changes = [_changes(*about) for about in zip(records, cells, data_dirs, strict=True)]
    failures: dict[str, Failed] = {}

    def order(record: CellRecord, cell: Cell, where: Path) -> Order:
        return Order(cell, record.run_id, ledger.tracking_uri, str(where), time.time())

    def handle(order: Order, event: Event) -> None:
        if isinstance(event, Failed):
            failures[order.run_id] = event
        on_event(order.cell, event)

    with tempfile.TemporaryDirectory(prefix="mlp_med-rerun-") as directory:
        launch_local(
            [
                Job(Needs(threads=1), functools.partial(order, *about))
                for about in zip(records, cells, data_dirs, strict=True)
            ],
            in_workers(functools.partial(_train_into, directory=directory)),
            handle,
            machine=Machine("this machine", cores=num_concurrent, memory_bytes=0),
            preload=PRELOAD,
        )
        return [
            _failed(record, failures[record.run_id], changed)
            if record.run_id in failures
            else _compare(record, then, pd.read_parquet(_saved(directory, record.run_id)), changed)
            for record, then, changed in zip(records, before, changes, strict=True)
        ]


def _train_into(order: Order, send: SendProgress, *, directory: str) -> None:
    train_and_save(order, send, path=_saved(directory, order.run_id))


def _saved(directory: str, run_id: str) -> Path:
    return Path(directory) / f"{run_id}.parquet"


def _failed(
    record: CellRecord, failure: Failed, changes: dict[str, tuple[str, str]]
) -> RerunOutcome:
    return RerunOutcome(
        label=label_of(record),
        identical=False,
        largest_difference=float("nan"),
        auc_before=record.metrics.get("test_auc", float("nan")),
        auc_again=float("nan"),
        changes=changes,
        failure=f"{failure.kind}: {failure.message}",
    )


def _changes(record: CellRecord, cell: Cell, data_dir: Path) -> dict[str, tuple[str, str]]:
    """What the ledger's run depended on that is different here."""
    import tfds_builders

    builder = tfds_builders.open_config(cell.dataset, cell.resolution, data_dir)
    digest = str(builder.info.metadata["examples_digest"])
    if set(builder.info.splits) != {"train", "validation", "test"}:
        raise DatasetError(f"{builder.info.full_name} in {data_dir} lacks a split; build it again")
    code = code_digest(cell.dataset)
    now = {**environment(), "commit": git_commit(), "code_digest": code}
    then = {name: record.tags.get(name, "not recorded") for name in now}
    now["data digest"], then["data digest"] = digest, cell.dataset_digest
    return {name: (then[name], now[name]) for name in now if then[name] != now[name]}


def _compare(
    record: CellRecord,
    before: pd.DataFrame,
    again: pd.DataFrame,
    changes: dict[str, tuple[str, str]],
) -> RerunOutcome:
    found = compare_predictions(before, again)
    return RerunOutcome(label=label_of(record), changes=changes, **asdict(found))
