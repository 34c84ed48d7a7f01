"""All that a ledger holds of a study's cells, to compare two ledgers by."""

from mlp_med.ledger import names
from mlp_med.ledger.read import load_predictions, read_study

# Of one run and no other: when, where, and under which name.
OWN_TAGS = {names.PARENT_RUN, names.CELL_START, names.LEASE, names.TAG_PREFIX + "holder"}


def snapshot(ledger, study_run_id, *, values=True):
    """By cell: every run of it, with every point of every metric that was ever logged.

    With `values` false, metrics by their names and steps only: a cell's times are its own.
    """
    experiment_id = ledger.client.get_run(study_run_id).info.experiment_id
    runs = ledger.client.search_runs(
        [experiment_id], f"tags.`{names.PARENT_RUN}` = '{study_run_id}'"
    )
    cells = {}
    for run in runs:
        cells.setdefault(run.data.tags[names.CELL_HASH], []).append(_of(ledger, run, values))
    read = {cell.hash for cell in read_study(ledger, study_run_id).cells}
    return {name: sorted(found, key=repr) for name, found in cells.items() if name in read}


def _of(ledger, run, values):
    points = sorted(
        (name, point.step, *([point.value] if values else []))
        for name in run.data.metrics
        for point in ledger.client.get_metric_history(run.info.run_id, name)
    )
    is_done = run.data.tags[names.STATE] == "done"
    return {
        "status": run.info.status,
        "name": run.info.run_name,
        "params": dict(run.data.params),
        "tags": {k: v for k, v in run.data.tags.items() if k not in OWN_TAGS},
        "points": points,
        "inputs": [input.dataset.digest for input in run.inputs.dataset_inputs],
        "artifacts": [file.path for file in ledger.client.list_artifacts(run.info.run_id)],
        "predictions": load_predictions(ledger, run.info.run_id).to_csv() if is_done else None,
    }
