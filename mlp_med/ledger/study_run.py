"""Puts a study into the ledger: its run, its plan, example crops and its report."""

import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from mlp_med.errors import LedgerError
from mlp_med.ledger import names
from mlp_med.ledger.entries import (
    log_file,
    log_values,
    prefixed,
    set_tags,
)
from mlp_med.ledger.runs import (
    find_experiment,
    make_experiment,
    search_all_runs,
    settle_study_run,
)
from mlp_med.ledger.store import Ledger, ledger_errors

if TYPE_CHECKING:
    from mlflow.entities import Run


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
