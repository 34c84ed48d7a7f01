"""`mlp-med study`: list, plan, run and follow studies."""

import tempfile
from pathlib import Path
from typing import Annotated

import typer

from mlp_med.cli.app import (
    DEFAULT_DATA_DIR,
    DEFAULT_TRACKING_URI,
    DataDir,
    NumSeeds,
    OptionalSource,
    SizeName,
    StudyDataset,
    StudyName,
    TrackingUri,
    console,
    study_app,
)
from mlp_med.cli.datasets import build_dataset, find_dataset


@study_app.command("list")
def study_list() -> None:
    """List the studies, with the datasets and sizes that each has."""
    from experiments import STUDIES

    for name, experiment in STUDIES.items():
        console.print(f"{name}: {experiment.QUESTION}")
        for dataset, sizes in experiment.SIZES.items():
            console.print(f"  {dataset}: {', '.join(sizes)}")


@study_app.command("plan")
def study_plan(
    name: StudyName,
    dataset: StudyDataset = "luna16",
    size: SizeName = "small",
    source: OptionalSource = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    seeds: NumSeeds = None,
    tracking_uri: TrackingUri = DEFAULT_TRACKING_URI,
) -> None:
    """Print cells, time, disk and the smallest effect that can be detected; train nothing."""
    from mlp_med.ledger.store import open_ledger
    from mlp_med.studies.forecast import forecast

    ledger = open_ledger(tracking_uri)
    study = _plan(name, dataset, size, source, data_dir, seeds)
    for line in forecast(study, ledger, num_concurrent=_num_concurrent(study)):
        console.print(line, markup=False)


@study_app.command("run")
def study_run(
    name: StudyName,
    dataset: StudyDataset = "luna16",
    size: SizeName = "small",
    source: OptionalSource = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    seeds: NumSeeds = None,
    tracking_uri: TrackingUri = DEFAULT_TRACKING_URI,
    workers: Annotated[
        int | None, typer.Option("--workers", min=1, help="Cells at once; as cores allow.")
    ] = None,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Also failures that would come again.")
    ] = False,
) -> None:
    """Build what is missing, train every cell that is not done, and keep all in the ledger."""
    from mlp_med.ledger.store import open_ledger
    from mlp_med.pipelines.datasets import DESCRIPTIONS
    from mlp_med.studies.progress import StudyProgress
    from mlp_med.studies.run import run_study

    ledger = open_ledger(tracking_uri)
    study = _plan(name, dataset, size, source, data_dir, seeds)
    num_concurrent = workers or _num_concurrent(study)
    spatial_dims = DESCRIPTIONS[dataset].spatial_dims
    try:
        with StudyProgress(console, study.arm_names, spatial_dims) as progress:
            record = run_study(
                study,
                ledger,
                num_concurrent=num_concurrent,
                on_event=progress.event,
                on_plan=progress.planned,
                retry_failed=retry_failed,
            )
    except KeyboardInterrupt:
        console.print("stopped; the same command goes on from the cells that are done")
        raise typer.Exit(130) from None
    _log_crops(ledger, record.run_id, study)
    failed = record.in_state("failed")
    console.print(f"{len(record.in_state('done'))} of {len(study.cells)} cells are done")
    if failed:
        console.print(f"{len(failed)} failed; see: mlp-med study status {name}")
        raise typer.Exit(1)


@study_app.command("status")
def study_status(
    name: StudyName,
    dataset: Annotated[str | None, typer.Option("--dataset")] = None,
    size: Annotated[str | None, typer.Option("--size")] = None,
    tracking_uri: TrackingUri = DEFAULT_TRACKING_URI,
) -> None:
    """Show the state of every cell of the newest such study, and why any failed."""
    from experiments import find_study
    from mlp_med.ledger.read import read_study
    from mlp_med.ledger.store import open_ledger
    from mlp_med.studies.status import status_table

    find_study(name)
    record = read_study(open_ledger(tracking_uri), name=name, dataset=dataset, size=size)
    console.print(status_table(record))


def _plan(  # type: ignore[no-untyped-def]
    name: str, dataset: str, size: str, source: Path | None, data_dir: Path, seeds: int | None
):
    from experiments import find_study
    from mlp_med.errors import StudyError
    from mlp_med.studies.planning import plan_study
    from mlp_med.training.precision import default_precision

    experiment = find_study(name)
    sizes = experiment.SIZES.get(dataset)
    if sizes is None or size not in sizes:
        known = "; ".join(f"{d}: {', '.join(s)}" for d, s in experiment.SIZES.items())
        raise StudyError(f"{name} has no size {size!r} on {dataset!r}; it has {known}")
    unit = find_dataset(dataset).unit
    arms = experiment.arms(sizes[size], unit)
    if source is not None:
        build_dataset(dataset, source, data_dir, sorted({arm.resolution for arm in arms}))
    return plan_study(
        name=name,
        size=size,
        claim=experiment.claim(sizes[size], unit),
        arms=arms,
        num_seeds=seeds or sizes[size].num_seeds,
        dataset=dataset,
        data_dir=data_dir,
        source=source,
        precision=default_precision(),
        no_verdict_reason=sizes[size].no_verdict_reason,
    )


def _log_crops(ledger, study_run_id: str, study) -> None:  # type: ignore[no-untyped-def]
    """The report shows what the networks saw, from the ledger alone."""
    from mlp_med.crop_sheets import draw_built
    from mlp_med.ledger.write import log_crops

    info = study.dataset_info
    with tempfile.TemporaryDirectory() as directory:
        sheet = Path(directory) / "crops.png"
        resolutions = [cell.resolution for cell in study.cells]
        draw_built(info.name, Path(info.data_dir), resolutions, sheet)
        log_crops(ledger, study_run_id, sheet.read_bytes())


def _num_concurrent(study) -> int:  # type: ignore[no-untyped-def]
    from mlp_med.training.threads import available_cores

    return max(1, available_cores() // max(cell.intra_op_threads for cell in study.cells))
