"""`mlp-med submission`: a finished cell's scores in the format that `mlp-med froc` reads."""

from pathlib import Path
from typing import Annotated

import typer

from mlp_med.cli.app import DEFAULT_TRACKING_URI, TrackingUri, app, console


@app.command("submission")
def submission(
    run_ids: Annotated[
        list[str], typer.Argument(help="Run id of a done cell; several if they are folds.")
    ],
    out: Annotated[
        Path, typer.Option("--out", help="Directory for submission.csv and seriesuids.csv.")
    ],
    data_dir: Annotated[
        Path | None, typer.Option("--data-dir", help="If the dataset has moved since.")
    ] = None,
    tracking_uri: TrackingUri = DEFAULT_TRACKING_URI,
) -> None:
    """Write what a cell of luna16 has scored as a LUNA16 submission; nothing is trained."""
    from mlp_med.ledger.store import ledger_to_read
    from mlp_med.studies.submission import make_submission, write_submission

    made = make_submission(ledger_to_read(tracking_uri), run_ids, data_dir)
    marks, series = write_submission(made, out)
    kind = "PHANTOM, drawn scans: " if made.phantom else ""
    console.print(
        f"{kind}{len(made.marks):,} candidates of {len(made.series):,} scans. The dataset kept at "
        f"most {made.negatives_per_positive:g} non-nodules a nodule: false positives a scan are "
        "counted among those, not among all that a detector finds",
        markup=False,
    )
    console.print(
        f"mlp-med froc {marks} --annotations ANNOTATIONS.csv --series {series}", markup=False
    )
