"""`mlp-med report`, `rerun` and `ui`: what is made of a ledger."""

from pathlib import Path
from typing import Annotated

import typer

from mlp_med.cli.app import DEFAULT_TRACKING_URI, StudyName, TrackingUri, app, console


@app.command("report")
def report(
    name: StudyName,
    out: Annotated[Path, typer.Option("--out", help="Directory for index.html and verdict.json.")],
    dataset: Annotated[str | None, typer.Option("--dataset")] = None,
    size: Annotated[str | None, typer.Option("--size")] = None,
    tracking_uri: TrackingUri = DEFAULT_TRACKING_URI,
) -> None:
    """Write the report of the newest such study from the ledger alone."""
    from experiments import find_study
    from mlp_med.ledger.read import read_study
    from mlp_med.ledger.store import open_ledger
    from mlp_med.reports.study_report import write_report

    find_study(name)
    ledger = open_ledger(tracking_uri)
    written = write_report(ledger, read_study(ledger, name=name, dataset=dataset, size=size), out)
    console.print(written.sentence, markup=False)
    console.print(str(written.page), markup=False)


@app.command("rerun")
def rerun(
    run_id: Annotated[str, typer.Argument(help="Run id of a cell in the ledger.")],
    data_dir: Annotated[
        Path | None, typer.Option("--data-dir", help="If the dataset has moved since.")
    ] = None,
    tracking_uri: TrackingUri = DEFAULT_TRACKING_URI,
) -> None:
    """Train a cell again from the ledger alone; exit 0 if its predictions are bit-identical."""
    from mlp_med.ledger.store import open_ledger
    from mlp_med.studies.rerun import rerun_cell

    outcome = rerun_cell(open_ledger(tracking_uri), run_id, data_dir)
    console.print(str(outcome), markup=False)
    if not outcome.identical:
        raise typer.Exit(1)


@app.command("ui")
def ui(
    tracking_uri: TrackingUri = DEFAULT_TRACKING_URI,
    port: Annotated[int, typer.Option("--port", help="On the loopback.")] = 5000,
) -> None:
    """Serve MLflow's UI over the ledger on the loopback until Ctrl-C."""
    from mlp_med.ledger.ui import serve_ui

    raise typer.Exit(serve_ui(tracking_uri, port))
