"""Puts the cells of a study into the ledger: a child run of the study's run for each.

The state of a cell is a tag, and "done" is the last thing written: whatever is killed before that
leaves a run that no table counts.
"""

import json
import math
from collections.abc import Callable, Mapping
from typing import Literal

import numpy as np
import pandas as pd

from mlp_med.errors import LedgerError
from mlp_med.ledger import names
from mlp_med.ledger.credentials import without_credentials
from mlp_med.ledger.entries import (
    DatasetInput,
    log_dataset,
    log_points,
    log_values,
    prefixed,
    set_tags,
)
from mlp_med.ledger.predictions import check_predictions, log_predictions
from mlp_med.ledger.runs import search_all_runs
from mlp_med.ledger.store import Ledger, ledger_errors

LONGEST_MESSAGE = 2000


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
            and columns for strata.
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
