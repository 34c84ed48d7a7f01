"""Puts a study and its cells into the ledger: a parent run a study, a child run a cell.

The state of a cell is a tag, and "done" is the last thing written: whatever is killed before that
leaves a run that no table counts.
"""

import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from mlp_med.errors import LedgerError
from mlp_med.ledger import names
from mlp_med.ledger.credentials import without_credentials
from mlp_med.ledger.entries import (
    DatasetInput,
    log_dataset,
    log_file,
    log_points,
    log_values,
    prefixed,
    set_tags,
)
from mlp_med.ledger.predictions import check_predictions, log_predictions
from mlp_med.ledger.runs import (
    find_experiment,
    make_experiment,
    search_all_runs,
    settle_study_run,
)
from mlp_med.ledger.store import Ledger, ledger_errors

if TYPE_CHECKING:
    from mlflow.entities import Run

LONGEST_MESSAGE = 2000


def start_study(
    ledger: Ledger, name: str, study_hash: str, plan: Mapping[str, Any], tags: Mapping[str, str]
) -> str:
    """Finds the study's run by its hash, or makes it, and logs the plan as `study.json`.

    Starting a study again replaces its plan, so that seeds can be added.

    Args:
        ledger: an open ledger.
        name: name of the study; its MLflow experiment has the same one.
        study_hash: what makes it the same study.
        plan: plain values for JSON, among them `cells`, a list of mappings with `hash`, `arm` and
            `params`; `claim`; and where there is one a `question` for people.
        tags: names without prefix, such as `size`, `dataset`, `phantom`, `commit`.

    Returns:
        The run id of the study.

    Raises:
        LedgerError: the ledger cannot be written, or the plan lacks its cells.
    """
    for cell in plan.get("cells", [{}]):
        if not {"hash", "arm", "params"} <= set(cell):
            raise LedgerError(
                f"expected a plan whose cells have hash, arm and params, got {sorted(cell)}"
            )
    with ledger_errors(f"starting the study {name}"), ledger.locked():
        experiment_id = find_experiment(ledger, name) or make_experiment(ledger, name)
        studies = search_all_runs(ledger, experiment_id, f"tags.`{names.KIND}` = 'study'")
        found = [run for run in studies if run.data.tags.get(names.STUDY_HASH) == study_hash]
        all_tags = {
            **prefixed(tags),
            names.KIND: "study",
            names.STUDY: name,
            names.STUDY_HASH: study_hash,
            names.LAST_STARTED: f"{_later_than_any(studies):.3f}",
            names.NOTE: str(plan.get("question", "")),
        }
        if found:
            run_id = found[0].info.run_id
            ledger.client.update_run(run_id, status="RUNNING")
        else:
            run_name = ", ".join([name, *(tags[tag] for tag in ("dataset", "size") if tag in tags)])
            made = ledger.client.create_run(experiment_id, run_name=run_name).info.run_id
            run_id = settle_study_run(ledger, study_hash, made)
        ledger.client.log_dict(run_id, dict(plan), names.PLAN_ARTIFACT)
        set_tags(ledger, run_id, all_tags)  # last: a study without its plan is never found
    return run_id


def _later_than_any(studies: "Sequence[Run]") -> float:
    """Now; a moment after the last study that was started where the clock has gone backwards."""
    before = [float(run.data.tags.get(names.LAST_STARTED, 0)) for run in studies]
    return max([time.time(), *(started + 0.001 for started in before)])


def finish_study(
    ledger: Ledger, run_id: str, status: Literal["FINISHED", "FAILED", "KILLED"] = "FINISHED"
) -> None:
    """Tells MLflow that nothing of this study runs any more."""
    with ledger_errors(f"finishing the study's run {run_id}"):
        ledger.client.set_terminated(run_id, status)


def start_cell(
    ledger: Ledger,
    study_run_id: str,
    params: Mapping[str, str | int | float | bool],
    cell_hash: str,
    arm: str,
    tags: Mapping[str, str],
    dataset: DatasetInput,
    *,
    key: str = "",
    at_ms: int | None = None,
) -> str:
    """Makes the cell's run, in state running, under its study's.

    Args:
        ledger: an open ledger.
        study_run_id: run id of the study.
        params: every field of the cell.
        cell_hash: the cell's hash.
        arm: the arm's name.
        tags: names without prefix, such as `commit`, `machine`, `version.tensorflow`, `phantom`.
        dataset: what the cell reads.
        key: names this start of the cell; "" where nobody will ask whether it was told.
        at_ms: when the cell began, in milliseconds since the epoch; now if None.

    Returns:
        The run id of the cell.

    Raises:
        LedgerError: the ledger cannot be written.
    """
    run_tags = {
        **prefixed(tags),
        names.PARENT_RUN: study_run_id,
        names.KIND: "cell",
        names.STATE: "running",
        names.CELL_HASH: cell_hash,
        names.ARM: arm,
        names.CELL_PARAMS: json.dumps(dict(params)),
    }
    if key:
        run_tags[names.CELL_START] = key
    with ledger_errors(f"starting the cell {cell_hash}"):
        experiment_id = ledger.client.get_run(study_run_id).info.experiment_id
        run = ledger.client.create_run(
            experiment_id,
            start_time=at_ms,
            tags=run_tags,
            run_name=f"{arm}, seed {params.get('seed', '?')}",
        )
    log_cell_details(ledger, run.info.run_id, params, dataset, at_ms=at_ms)
    return run.info.run_id


def log_cell_details(
    ledger: Ledger,
    run_id: str,
    params: Mapping[str, str | int | float | bool],
    dataset: DatasetInput,
    *,
    at_ms: int | None = None,
) -> None:
    """Logs the cell's params, its axes as metrics, and its dataset; twice does no harm."""
    axes = {name: float(params[name]) for name in names.AXES if name in params}
    with ledger_errors(f"describing the cell of run {run_id}"):
        log_values(ledger, run_id, params=params, metrics=axes, at_ms=at_ms)
        log_dataset(ledger, run_id, dataset)


def describe_cell(ledger: Ledger, run_id: str, tags: Mapping[str, str]) -> None:
    """Sets tags of a cell's run, as of the machine that it turned out to run on.

    Args:
        ledger: an open ledger.
        run_id: run id of the cell.
        tags: names without prefix, as in `start_cell`.
    """
    with ledger_errors(f"describing the run {run_id}"):
        set_tags(ledger, run_id, prefixed(tags))


def log_curve(ledger: Ledger, run_id: str, curve: pd.DataFrame) -> None:
    """Logs the cell's curves, with the number of examples seen as MLflow's step.

    Args:
        ledger: an open ledger.
        run_id: run id of the cell.
        curve: a column `examples_seen`, and one for each metric; NaN where it was not measured.

    Raises:
        LedgerError: a value is infinite, or the ledger cannot be written.
    """
    points = curve_points(run_id, curve)
    with ledger_errors(f"logging the curves of run {run_id}"):
        log_points(ledger, run_id, points)


def curve_points(run_id: str, curve: pd.DataFrame) -> list[tuple[str, float, int]]:
    """The curves of `log_curve` as (metric, value, examples seen), without what is NaN.

    Raises:
        LedgerError: a value is infinite.
    """
    if np.isinf(curve.to_numpy(dtype=float)).any():
        raise LedgerError(f"expected finite values in the curves of run {run_id}, got infinity")
    return [
        (str(name), float(value), int(step))
        for name in curve.columns.drop("examples_seen")
        for step, value in zip(curve["examples_seen"], curve[name], strict=True)
        if not math.isnan(value)
    ]


def finish_cell(
    ledger: Ledger,
    run_id: str,
    metrics: Mapping[str, float],
    predictions: pd.DataFrame,
    *,
    tags: Mapping[str, str] | None = None,
    at_ms: int | None = None,
) -> None:
    """Logs the cell's figures and predictions; then, and only then, calls it done.

    Args:
        ledger: an open ledger.
        run_id: run id of the cell.
        metrics: finite numbers, such as `test_auc` and `seconds_total`.
        predictions: the test split, one row a case: `id`, `patient` ("" if unknown), `seed`,
            `label` (from 0), `score` (of more than two classes `score_0`, `score_1`, …),
            and numeric columns for strata.
        tags: names without prefix, such as `resumed_at_examples`.
        at_ms: when the cell ended, in milliseconds since the epoch; now if None.

    Raises:
        LedgerError: a figure or score is not finite, the predictions are not what they should be,
            or the ledger cannot be written. The cell is then not done.
    """
    check_result(run_id, metrics, predictions)
    with ledger_errors(f"finishing run {run_id}"):
        log_predictions(ledger, run_id, predictions)
        log_values(ledger, run_id, metrics=metrics, at_ms=at_ms)
        set_tags(ledger, run_id, prefixed(tags or {}))
        ledger.client.set_terminated(run_id, "FINISHED", at_ms)
        ledger.client.set_tag(run_id, names.STATE, "done")


def check_result(run_id: str, metrics: Mapping[str, float], predictions: pd.DataFrame) -> None:
    """Refuses what `finish_cell` would refuse.

    Raises:
        LedgerError: a figure is not finite, or the predictions are not what they should be.
    """
    not_finite = {name: value for name, value in metrics.items() if not math.isfinite(value)}
    if not_finite:
        raise LedgerError(f"expected finite metrics of run {run_id}, got {not_finite}")
    check_predictions(run_id, predictions)


def fail_cell(
    ledger: Ledger,
    run_id: str,
    kind: str,
    message: str,
    *,
    metrics: Mapping[str, float] | None = None,
    state: Literal["failed", "infeasible"] = "failed",
    at_ms: int | None = None,
) -> None:
    """Records why a cell has no result: what kind of failure, and in words.

    Args:
        ledger: an open ledger.
        run_id: run id of the cell.
        kind: the typed failure, such as "non_finite_loss", "killed", "out_of_memory".
        message: for people; its first 2,000 characters are kept.
        metrics: what was measured before it failed, such as `peak_memory_bytes`.
        state: "infeasible" where the cell was not started since it could not have fitted.
        at_ms: when it ended, in milliseconds since the epoch; now if None.
    """
    _end_cell(ledger, run_id, state, kind, message, "FAILED", metrics or {}, at_ms)


def mark_interrupted(
    ledger: Ledger,
    study_run_id: str,
    is_live: Callable[[str, int], bool] = lambda cell_hash, lease: False,
) -> list[str]:
    """Fails the cells that a killed study left in state running.

    Args:
        ledger: an open ledger.
        study_run_id: run id of the study.
        is_live: of a cell's hash and the number of its lease (0 for none): whether a sweep still
            holds it. Without it nothing may be running now.

    Returns:
        The hashes of those cells.
    """
    with ledger_errors(f"looking for interrupted cells of {study_run_id}"):
        experiment_id = ledger.client.get_run(study_run_id).info.experiment_id
        runs = search_all_runs(
            ledger,
            experiment_id,
            f"tags.`{names.PARENT_RUN}` = '{study_run_id}' and tags.`{names.STATE}` = 'running'",
        )
    left = [
        run
        for run in runs
        if not is_live(run.data.tags[names.CELL_HASH], int(run.data.tags.get(names.LEASE, "0")))
    ]
    for run in left:
        _end_cell(
            ledger,
            run.info.run_id,
            "failed",
            "interrupted",
            "the study was stopped while this cell ran",
            "KILLED",
            {},
        )
    return [run.data.tags[names.CELL_HASH] for run in left]


def log_crops(ledger: Ledger, study_run_id: str, png: bytes) -> None:
    """Keeps the sheet of example crops with the study, so that a report needs the ledger alone."""
    with ledger_errors(f"logging the example crops of {study_run_id}"):
        log_file(ledger, study_run_id, names.CROPS_ARTIFACT, png)


def log_report(
    ledger: Ledger,
    study_run_id: str,
    files: Sequence[Path],
    *,
    tags: Mapping[str, str],
    metrics: Mapping[str, float],
) -> None:
    """Keeps a study's page, figures and verdict as artifacts of its run, under `report/`.

    Args:
        ledger: an open ledger.
        study_run_id: run id of the study.
        files: the files to keep.
        tags: names without prefix, such as `verdict`.
        metrics: such as `effect` and `ci_low`; what is not finite is left out.
    """
    finite = {name: value for name, value in metrics.items() if math.isfinite(value)}
    with ledger_errors(f"logging the report of {study_run_id}"):
        for file in files:
            ledger.client.log_artifact(study_run_id, str(file), names.REPORT_DIRECTORY)
        log_values(ledger, study_run_id, metrics=finite)
        set_tags(ledger, study_run_id, prefixed(tags))


def _end_cell(
    ledger: Ledger,
    run_id: str,
    state: names.State,
    kind: str,
    message: str,
    status: str,
    metrics: Mapping[str, float],
    at_ms: int | None = None,
) -> None:
    finite = {name: value for name, value in metrics.items() if math.isfinite(value)}
    with ledger_errors(f"recording the failure of run {run_id}"):
        log_values(ledger, run_id, metrics=finite, at_ms=at_ms)
        set_tags(
            ledger,
            run_id,
            {
                names.FAILURE_KIND: kind,
                names.FAILURE_MESSAGE: without_credentials(message)[:LONGEST_MESSAGE],
                names.STATE: state,
            },
        )
        ledger.client.set_terminated(run_id, status, at_ms)
