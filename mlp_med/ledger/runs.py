"""Finds MLflow runs, page by page."""

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
    """Makes the study's MLflow experiment, with its artifacts at an absolute place."""
    return ledger.client.create_experiment(
        study_name,
        artifact_location=ledger.artifact_root and str(ledger.artifact_root),
        # Else the UI takes it for a chat application and hides the tables of runs.
        tags={names.EXPERIMENT_KIND: "custom_model_development"},
    )


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
