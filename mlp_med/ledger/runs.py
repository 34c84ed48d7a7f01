"""Finds MLflow runs, page by page."""

import itertools
from typing import TYPE_CHECKING

from mlp_med.errors import LedgerError
from mlp_med.ledger import names
from mlp_med.ledger.credentials import without_credentials
from mlp_med.ledger.store import Ledger

if TYPE_CHECKING:
    from mlflow.entities import Run

RUNS_PER_PAGE = 1000


def find_experiment(ledger: Ledger, study_name: str) -> str | None:
    """The id of the study's MLflow experiment, or None where there is none yet.

    Raises:
        LedgerError: the experiment was deleted; MLflow keeps its name taken.
    """
    experiment = ledger.client.get_experiment_by_name(study_name)
    if experiment is None:
        return None
    if experiment.lifecycle_stage != "active":
        raise LedgerError(
            f"the experiment {study_name!r} in {without_credentials(ledger.tracking_uri)} "
            "was deleted; restore it with: "
            f"mlflow experiments restore --experiment-id {experiment.experiment_id}"
        )
    return experiment.experiment_id


def make_experiment(ledger: Ledger, study_name: str) -> str:
    """Makes the study's MLflow experiment, with its artifacts at an absolute place.

    Where another process was quicker, it is that one's: MLflow keeps names unique.
    """
    from mlflow.exceptions import MlflowException

    try:
        return ledger.client.create_experiment(
            study_name,
            artifact_location=ledger.artifact_root and str(ledger.artifact_root),
            # Else the UI takes it for a chat application and hides the tables of runs.
            tags={names.EXPERIMENT_KIND: "custom_model_development"},
        )
    except MlflowException:
        found = find_experiment(ledger, study_name)
        if found is None:
            raise
        return found


def settle_study_run(ledger: Ledger, study_hash: str, made: str) -> str:
    """Which run is the study's, of those that several machines have just made for it.

    A local ledger is locked meanwhile and needs no decision. On a server the first to register the
    study's name decides, since MLflow's registry keeps names unique too; the others' runs are
    deleted. Where the run was deleted by a person since, the next name counts.

    Args:
        ledger: an open ledger.
        study_hash: of the study.
        made: the run that this process has made.
    """
    from mlflow.exceptions import MlflowException

    if ledger.lock_path is not None:
        return made
    for number in itertools.count(1):
        name = f"mlp_med study {study_hash}" + (f" {number}" if number > 1 else "")
        try:
            ledger.client.create_registered_model(
                name, tags={"run_id": made}, description="Not a model: names the study's run."
            )
            return made
        except MlflowException:
            settled = ledger.client.get_registered_model(name).tags["run_id"]
        if settled == made:  # registered by a request whose answer was lost
            return made
        if ledger.client.get_run(settled).info.lifecycle_stage == "active":
            ledger.client.delete_run(made)
            return settled
    raise AssertionError("unreachable: every name is taken or free")


def search_all_runs(ledger: Ledger, experiment_id: str, filter_string: str) -> "list[Run]":
    """Every run that matches, oldest first."""
    runs: list[Run] = []
    page_token = None
    while True:
        page = ledger.client.search_runs(
            [experiment_id],
            filter_string,
            max_results=RUNS_PER_PAGE,
            order_by=["attributes.start_time ASC"],
            page_token=page_token,
        )
        runs.extend(page)
        page_token = page.token
        if not page_token:
            return runs
