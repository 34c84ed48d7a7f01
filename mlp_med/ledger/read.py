"""Gets a study, its cells and their predictions back from the ledger."""

import json
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from mlp_med.errors import LedgerError
from mlp_med.json_records import read_json_object
from mlp_med.ledger import names
from mlp_med.ledger.credentials import without_credentials
from mlp_med.ledger.predictions import read_predictions
from mlp_med.ledger.runs import find_experiment, search_all_runs
from mlp_med.ledger.store import Ledger, ledger_errors

if TYPE_CHECKING:
    from mlflow.entities import Run

CURVE_METRICS = ("train_loss", "validation_loss", "validation_auc", "seconds_elapsed")


@dataclass(frozen=True)
class Failure:
    """Why a cell has no result: the typed kind, and the message for people."""

    kind: str
    message: str


# Fields that cells once did not have, with what those cells did: older ledgers stay readable.
LATER_PARAMS: Mapping[str, Any] = {
    "training_fraction": 1.0,
    "fold": -1,
    "accumulation_steps": 1,
    "moment_window_batch": 0,
    "recompute": False,
    "stream_tile": 0,
    "stop_at_training_loss": 0.0,
    "split": 1,
    "tile_labels": "image",
    "num_workers": 1,
}


@dataclass(frozen=True)
class CellRecord:
    """One cell as the ledger knows it.

    Attributes:
        run_id: its MLflow run; "" for a cell that is planned and was never started.
        study_run_id: the run of its study.
        hash: the cell's hash.
        arm: the arm's name.
        state: planned, running, done, failed or infeasible.
        params: every field of the cell, with its type.
        metrics: the last value of each metric.
        tags: those of this project, without prefix.
        failure: what went wrong, where something did.
    """

    run_id: str
    study_run_id: str
    hash: str
    arm: str
    state: names.State
    params: Mapping[str, Any]
    metrics: Mapping[str, float]
    tags: Mapping[str, str]
    failure: Failure | None = None


@dataclass(frozen=True)
class StudyRecord:
    """A study as the ledger knows it: every planned cell once, in the order of the plan."""

    run_id: str
    name: str
    tags: Mapping[str, str]
    plan: Mapping[str, Any]
    cells: list[CellRecord]

    def in_state(self, state: names.State) -> list[CellRecord]:
        """The cells in `state`."""
        return [cell for cell in self.cells if cell.state == state]


def read_study(
    ledger: Ledger,
    run_id: str | None = None,
    *,
    name: str | None = None,
    dataset: str | None = None,
    size: str | None = None,
    plan: Mapping[str, Any] | None = None,
) -> StudyRecord:
    """Reads one study: the one with `run_id`, else the one of `name` that was started last.

    A cell that ran several times counts once: its latest done run, else its latest run. A done
    cell that the latest plan no longer names is kept: results are not dropped after the fact.

    Args:
        ledger: an open ledger.
        run_id: of the study.
        name: of the study, where the run is not known.
        dataset: of the study; any if None.
        size: of the study; any if None.
        plan: to read the cells by; the ledger's own, which the last sweep to start wrote, if None.

    Raises:
        LedgerError: there is no such study, or the ledger cannot be read.
    """
    if run_id is None:
        if name is None:
            raise LedgerError("expected the run id or the name of a study, got neither")
        found = find_studies(ledger, name, dataset=dataset, size=size)
        if not found:
            wanted = ", ".join(filter(None, (name, dataset, size)))
            raise LedgerError(
                f"no study ({wanted}) in {without_credentials(ledger.tracking_uri)}; start it with "
                f"mlp-med study run {name}, or name another ledger with --tracking-uri"
            )
        run_id = found[0]
    with ledger_errors(f"reading the study {run_id}"):
        run = ledger.client.get_run(run_id)
        if run.data.tags.get(names.KIND) != "study":
            raise LedgerError(f"expected the run of a study, run {run_id} is not one")
        plan = plan or _read_json(ledger, run_id, names.PLAN_ARTIFACT)
        children = search_all_runs(
            ledger, run.info.experiment_id, f"tags.`{names.PARENT_RUN}` = '{run_id}'"
        )
    cells = _planned_and_run(plan, run_id, [_cell_record(child) for child in children])
    return StudyRecord(run_id, run.data.tags[names.STUDY], _own_tags(run), plan, cells)


def find_studies(
    ledger: Ledger, name: str, *, dataset: str | None = None, size: str | None = None
) -> list[str]:
    """The run ids of the studies of that name, the one that was started last first."""
    with ledger_errors(f"looking for the study {name}"):
        experiment_id = find_experiment(ledger, name)
        if experiment_id is None:
            return []
        runs = search_all_runs(ledger, experiment_id, f"tags.`{names.KIND}` = 'study'")
    wanted = {"dataset": dataset, "size": size}
    matching = [
        run
        for run in runs
        if all(value in (None, _own_tags(run).get(tag)) for tag, value in wanted.items())
    ]
    matching.sort(key=lambda run: float(run.data.tags[names.LAST_STARTED]), reverse=True)
    return [run.info.run_id for run in matching]


def read_cell(ledger: Ledger, run_id: str) -> CellRecord:
    """Reads one cell.

    Raises:
        LedgerError: there is no such run, or it is not a cell's.
    """
    with ledger_errors(f"reading the cell {run_id}"):
        run = ledger.client.get_run(run_id)
    if run.data.tags.get(names.KIND) != "cell":
        raise LedgerError(f"expected the run of a cell, run {run_id} is not one")
    return _cell_record(run)


def load_predictions(ledger: Ledger, cell_run_id: str) -> pd.DataFrame:
    """The cell's predictions on the test split, one row a case.

    Raises:
        LedgerError: the cell is not done, or its artifact is gone or not what was logged.
    """
    cell = read_cell(ledger, cell_run_id)
    if cell.state != "done":
        raise LedgerError(
            f"only a done cell has predictions; {cell.arm} (run {cell_run_id}) is {cell.state}"
        )
    with (
        ledger_errors(f"loading the predictions of {cell_run_id}"),
        _download(ledger, cell_run_id, names.PREDICTIONS_ARTIFACT) as path,
    ):
        digest = cell.tags.get(names.PREDICTIONS_DIGEST.removeprefix(names.TAG_PREFIX))
        return read_predictions(path, cell_run_id, digest)


def load_crops(ledger: Ledger, study_run_id: str) -> bytes | None:
    """The PNG of example crops that was kept with the study; None where none was."""
    with ledger_errors(f"loading the example crops of {study_run_id}"):
        kept = {artifact.path for artifact in ledger.client.list_artifacts(study_run_id)}
        if names.CROPS_ARTIFACT not in kept:
            return None
        with _download(ledger, study_run_id, names.CROPS_ARTIFACT) as path:
            return path.read_bytes()


def load_curve(
    ledger: Ledger, cell_run_id: str, metrics: Iterable[str] = CURVE_METRICS
) -> pd.DataFrame:
    """The cell's curves: `examples_seen`, ascending, and a column for each metric that exists."""
    with ledger_errors(f"loading the curves of {cell_run_id}"):
        columns = {
            metric: pd.Series(
                {point.step: point.value for point in history}, name=metric, dtype=float
            )
            for metric in metrics
            if (history := ledger.client.get_metric_history(cell_run_id, metric))
        }
    curve = pd.DataFrame(columns)
    curve.index.name = "examples_seen"
    return curve.sort_index().reset_index()


def _planned_and_run(
    plan: Mapping[str, Any], study_run_id: str, records: list[CellRecord]
) -> list[CellRecord]:
    latest: dict[str, CellRecord] = {}
    for record in records:  # oldest first
        if record.state == "done" or latest.get(record.hash, record).state != "done":
            latest[record.hash] = record
    planned = [
        latest.pop(cell["hash"]) if cell["hash"] in latest else _not_started(cell, study_run_id)
        for cell in plan["cells"]
    ]
    return planned + [record for record in latest.values() if record.state == "done"]


def _not_started(cell: Mapping[str, Any], study_run_id: str) -> CellRecord:
    return CellRecord(
        run_id="",
        study_run_id=study_run_id,
        hash=cell["hash"],
        arm=cell["arm"],
        state="planned",
        params={**LATER_PARAMS, **cell["params"]},
        metrics={},
        tags={},
    )


def _cell_record(run: "Run") -> CellRecord:
    tags = run.data.tags
    failure = None
    if names.FAILURE_KIND in tags:
        failure = Failure(tags[names.FAILURE_KIND], tags.get(names.FAILURE_MESSAGE, ""))
    return CellRecord(
        run_id=run.info.run_id,
        study_run_id=tags[names.PARENT_RUN],
        hash=tags[names.CELL_HASH],
        arm=tags[names.ARM],
        state=tags[names.STATE],
        params={**LATER_PARAMS, **json.loads(tags[names.CELL_PARAMS])},
        metrics=dict(run.data.metrics),
        tags=_own_tags(run),
        failure=failure,
    )


def _own_tags(run: "Run") -> dict[str, str]:
    return {
        name.removeprefix(names.TAG_PREFIX): value
        for name, value in run.data.tags.items()
        if name.startswith(names.TAG_PREFIX)
    }


def _read_json(ledger: Ledger, run_id: str, artifact: str) -> dict[str, Any]:
    with _download(ledger, run_id, artifact) as path:
        return read_json_object(path, LedgerError, f"copy it back from a backup of run {run_id}")


@contextmanager
def _download(ledger: Ledger, run_id: str, artifact: str) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as directory:
        yield Path(ledger.client.download_artifacts(run_id, artifact, directory))
