"""`mlp-med report` and `ui`: what is made of a ledger."""

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
    from experiments import CALIBRATION, COMPUTED, find_study
    from experiments.controls import recorded_controls
    from mlp_med.evidence.calibration import read_record
    from mlp_med.ledger.read import read_study
    from mlp_med.ledger.store import ledger_to_read
    from mlp_med.reports.capacity_report import write_capacity_report
    from mlp_med.reports.several_report import write_several_report
    from mlp_med.reports.study_report import write_report

    if name not in COMPUTED:
        find_study(name)
    ledger = ledger_to_read(tracking_uri)
    record = read_study(ledger, name=name, dataset=dataset, size=size)
    if name in COMPUTED:
        page, sentence = write_capacity_report(ledger, record, out)
        console.print(sentence, markup=False)
        console.print(str(page), markup=False)
        return
    controls = recorded_controls(record.plan)
    if record.plan.get("claims"):
        written = write_several_report(ledger, record, out, controls=controls)
        console.print(written.sentence, markup=False)
        console.print(str(written.page), markup=False)
        return
    calibration = read_record(CALIBRATION)
    written = write_report(ledger, record, out, controls=controls, calibration=calibration)
    console.print(written.sentence, markup=False)
    console.print(str(written.page), markup=False)


@app.command("ui")
def ui(
    tracking_uri: TrackingUri = DEFAULT_TRACKING_URI,
    port: Annotated[int, typer.Option("--port", help="On the loopback.")] = 5000,
) -> None:
    """Serve MLflow's UI over the ledger on the loopback until Ctrl-C."""
    from mlp_med.ledger.ui import serve_ui

    raise typer.Exit(serve_ui(tracking_uri, port))
