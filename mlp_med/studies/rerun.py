"""Trains a cell again from the ledger alone and compares its predictions bit for bit."""

import functools
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from mlp_med.errors import DatasetError, StudyError
from mlp_med.evidence.metrics import aucs
from mlp_med.ledger.read import CellRecord, load_predictions, read_cell
from mlp_med.ledger.store import Ledger
from mlp_med.studies.cell import Cell
from mlp_med.studies.launcher import Event, Failed, Order, launch_local
from mlp_med.studies.provenance import code_digest, environment, git_commit
from mlp_med.studies.worker import PRELOAD, train_and_save


@dataclass(frozen=True)
class RerunOutcome:
    """How a rerun compares with its run.

    Attributes:
        label: arm, seed and whether the data is a phantom.
        identical: whether every score is the same, bit for bit.
        largest_difference: the largest absolute difference of a score; 0.0 if identical.
        auc_before: test AUC of the run.
        auc_again: test AUC of the rerun.
        changes: what is different now, by name: (then, now).
    """

    label: str
    identical: bool
    largest_difference: float
    auc_before: float
    auc_again: float
    changes: Mapping[str, tuple[str, str]]

    def __str__(self) -> str:
        if self.identical:
            result = f"identical bit for bit, test AUC {self.auc_again:.6f}"
        else:
            result = (
                f"different: scores differ by up to {self.largest_difference:.3g}, test AUC "
                f"{self.auc_before:.6f} then, {self.auc_again:.6f} now"
            )
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
    record = read_cell(ledger, run_id)
    before = load_predictions(ledger, run_id)
    cell = Cell.from_params(record.params)
    data_dir = data_dir or Path(record.tags["data_dir"])
    changes = _changes(record, cell, data_dir)
    with tempfile.TemporaryDirectory(prefix="mlp_med-rerun-") as directory:
        path = Path(directory) / "predictions.parquet"
        order = Order(cell, run_id, ledger.tracking_uri, str(data_dir), time.time())
        _train(order, path)
        again = pd.read_parquet(path)
    return _compare(record, before, again, changes)


def _train(order: Order, path: Path) -> None:
    failures: list[Failed] = []

    def keep_failure(order: Order, event: Event) -> None:
        if isinstance(event, Failed):
            failures.append(event)

    work = functools.partial(train_and_save, path=path)
    launch_local([lambda: order], work, keep_failure, num_concurrent=1, preload=PRELOAD)
    if failures:
        raise StudyError(f"the rerun failed: {failures[0].kind}: {failures[0].message}")


def _changes(record: CellRecord, cell: Cell, data_dir: Path) -> dict[str, tuple[str, str]]:
    """What the ledger's run depended on that is different here."""
    import tfds_builders

    builder = tfds_builders.open_config(cell.dataset, cell.resolution, data_dir)
    digest = str(builder.info.metadata["examples_digest"])
    if set(builder.info.splits) != {"train", "validation", "test"}:
        raise DatasetError(f"{builder.info.full_name} in {data_dir} lacks a split; build it again")
    now = {**environment(), "commit": git_commit(), "code_digest": code_digest()}
    then = {name: record.tags.get(name, "not recorded") for name in now}
    now["data digest"], then["data digest"] = digest, cell.dataset_digest
    return {name: (then[name], now[name]) for name in now if then[name] != now[name]}


def _compare(
    record: CellRecord,
    before: pd.DataFrame,
    again: pd.DataFrame,
    changes: dict[str, tuple[str, str]],
) -> RerunOutcome:
    before, again = before.sort_values("id"), again.sort_values("id")
    phantom = ", PHANTOM" if record.tags.get("phantom") == "true" else ""
    then, now = before["score"].to_numpy(), again["score"].to_numpy()
    same_cases = before["id"].tolist() == again["id"].tolist()
    return RerunOutcome(
        label=f"{record.arm}, seed {record.params['seed']}{phantom}",
        identical=same_cases and then.tobytes() == now.tobytes(),
        largest_difference=float(np.abs(then - now).max()) if same_cases else float("nan"),
        auc_before=_auc(before),
        auc_again=_auc(again),
        changes=changes,
    )


def _auc(predictions: pd.DataFrame) -> float:
    labels = predictions["label"].to_numpy(dtype=bool)
    return float(aucs(labels, predictions["score"].to_numpy()[None])[0])
