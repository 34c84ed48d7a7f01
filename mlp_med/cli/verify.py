"""`mlp-med study verify`: are the predictions in the ledger those that were kept?"""

from typing import Annotated

import typer

from mlp_med.cli.app import DEFAULT_TRACKING_URI, StudyName, TrackingUri, console, study_app


@study_app.command("verify")
def study_verify(
    name: StudyName,
    dataset: Annotated[str | None, typer.Option("--dataset")] = None,
    size: Annotated[str | None, typer.Option("--size")] = None,
    tracking_uri: TrackingUri = DEFAULT_TRACKING_URI,
) -> None:
    """Read every done cell's predictions; mark those that are broken, to be trained again."""
    from mlp_med.ledger.read import read_study
    from mlp_med.ledger.store import ledger_to_read
    from mlp_med.ledger.verify import fail_broken

    ledger = ledger_to_read(tracking_uri)
    record = read_study(ledger, name=name, dataset=dataset, size=size)
    broken = fail_broken(ledger, record)
    done = len(record.in_state("done"))
    console.print(f"{done - len(broken)} of {done} done cells have the predictions that were kept")
    for cell in broken:
        console.print(f"broken: {cell.arm}, run {cell.run_id}", markup=False)
    if broken:
        console.print("mlp-med study run trains them again")
        raise typer.Exit(1)
