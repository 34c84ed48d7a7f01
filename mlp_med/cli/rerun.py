"""`mlp-med rerun`: train cells again and tell whether they are the same bit for bit."""

import secrets
from pathlib import Path
from typing import Annotated

import typer

from mlp_med.cli.app import DEFAULT_TRACKING_URI, TrackingUri, app, console
from mlp_med.errors import StudyError


@app.command("rerun")
def rerun(
    run_id: Annotated[
        str | None, typer.Argument(help="Run id of a cell in the ledger; or else --study.")
    ] = None,
    study: Annotated[
        str | None, typer.Option("--study", help="Rerun a random sample of its done cells.")
    ] = None,
    sample: Annotated[int, typer.Option("--sample", min=1, help="How many, with --study.")] = 3,
    seed: Annotated[
        int | None, typer.Option("--seed", min=0, help="Of the sample; printed. Random if absent.")
    ] = None,
    dataset: Annotated[str | None, typer.Option("--dataset", help="With --study.")] = None,
    size: Annotated[str | None, typer.Option("--size", help="With --study.")] = None,
    data_dir: Annotated[
        Path | None, typer.Option("--data-dir", help="If the dataset has moved since.")
    ] = None,
    at: Annotated[
        str | None,
        typer.Option("--at", help="With --study: rerun with the code and the lock of this commit."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="With --at: directory for the report.")
    ] = None,
    environments: Annotated[
        Path, typer.Option("--environments", help="With --at: where these are made and kept.")
    ] = Path("runs/environments"),
    repository: Annotated[
        Path | None, typer.Option("--repository", help="With --at: git repository; this one's.")
    ] = None,
    tracking_uri: TrackingUri = DEFAULT_TRACKING_URI,
) -> None:
    """Train cells again from the ledger alone; exit 0 if all predictions are bit-identical."""
    if (run_id is None) == (study is None):
        got = "neither" if run_id is None else "both"
        raise StudyError(
            f"expected the run id of a cell, or --study NAME with --sample N, got {got}; "
            "mlp-med study status NAME lists the runs"
        )
    if at is not None:
        from mlp_med.cli.rerun_at import RerunAt, rerun_at

        if study is None:
            raise StudyError(f"--at reruns a sample: expected --study NAME, got the run {run_id}")
        asked = RerunAt(study, at, sample, seed, dataset, size, data_dir, out, environments)
        is_identical = rerun_at(asked, tracking_uri, repository)
    elif study is not None:
        is_identical = _rerun_sample(study, sample, seed, dataset, size, data_dir, tracking_uri)
    else:
        is_identical = _rerun_one(str(run_id), data_dir, tracking_uri)
    if not is_identical:
        raise typer.Exit(1)


def _rerun_one(run_id: str, data_dir: Path | None, tracking_uri: str) -> bool:
    from mlp_med.ledger.store import ledger_to_read
    from mlp_med.studies.rerun import rerun_cell

    outcome = rerun_cell(ledger_to_read(tracking_uri), run_id, data_dir)
    console.print(str(outcome), markup=False)
    return outcome.identical


def _rerun_sample(
    study: str,
    num_cells: int,
    seed: int | None,
    dataset: str | None,
    size: str | None,
    data_dir: Path | None,
    tracking_uri: str,
) -> bool:
    from mlp_med.cli import workflow
    from mlp_med.ledger.read import read_study
    from mlp_med.ledger.store import ledger_to_read
    from mlp_med.pipelines.datasets import describe
    from mlp_med.studies.cell import Cell
    from mlp_med.studies.progress import StudyProgress
    from mlp_med.studies.rerun import rerun_cells, sample_cells

    ledger = ledger_to_read(tracking_uri)
    record = read_study(ledger, name=study, dataset=dataset, size=size)
    seed = secrets.randbelow(2**31) if seed is None else seed
    records = sample_cells(record, num_cells, seed)
    num_done = len(record.in_state("done"))
    what = f"{record.name} ({record.tags.get('size')}, {record.tags.get('dataset')})"
    console.print(
        f"rerunning {len(records)} of the {num_done} done cells of {what}, "
        f"drawn with --seed {seed}",
        markup=False,
    )
    cells = [Cell.from_params(cell.params) for cell in records]
    arm_names = {cell.hash: done.arm for cell, done in zip(cells, records, strict=True)}
    built = data_dir or Path(records[0].tags["data_dir"])
    spatial_dims = describe(cells[0].dataset, built).spatial_dims
    with StudyProgress(console, arm_names, spatial_dims) as progress:
        progress.planned(cells)
        outcomes = rerun_cells(
            ledger,
            records,
            data_dir=data_dir,
            num_concurrent=workflow.num_concurrent(cells),
            on_event=progress.event,
        )
    for outcome in outcomes:
        console.print(str(outcome), markup=False)
    num_identical = sum(outcome.identical for outcome in outcomes)
    console.print(f"{num_identical} of {len(outcomes)} reruns are identical bit for bit")
    return num_identical == len(outcomes)
