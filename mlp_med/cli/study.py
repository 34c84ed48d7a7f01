"""`mlp-med study`: list, plan, run and follow studies."""

import functools
from pathlib import Path
from typing import Annotated

import typer

from mlp_med.cli.app import (
    DEFAULT_DATA_DIR,
    DEFAULT_TRACKING_URI,
    DataDir,
    FieldMm,
    NumSeeds,
    OptionalSource,
    SizeName,
    SpacingMm,
    StudyDataset,
    StudyName,
    TableResolutions,
    Task,
    TrackingUri,
    console,
    study_app,
)
from mlp_med.cli.cluster import CheckpointSeconds, WorkersPerCell, join
from mlp_med.cli.datasets import table_options, task_option
from mlp_med.cli.launching import (
    Address,
    Launcher,
    LauncherChoice,
    dry_run,
    launching,
    require_fitting,
)

NO_PHANTOM_PILOT = "no pilot of this phantom is recorded: there will be no verdict; run:"
PILOT_FIRST = (
    "before it a pilot chooses each arm's learning rate and the budget: the time above is "
    "for a budget that needs no doubling, and without the pilot"
)


@study_app.command("list")
def study_list() -> None:
    """List the studies, with the datasets and sizes that each has."""
    from experiments import COMPUTED, STUDIES

    for name, experiment in STUDIES.items():
        console.print(f"{name}: {experiment.QUESTION}")
        for dataset, sizes in experiment.SIZES.items():
            console.print(f"  {dataset}: {', '.join(sizes)}")
        if hasattr(experiment, "sizes_for_table"):
            console.print("  table (scans of your own): smoke, small, full")
    for name, experiment in COMPUTED.items():
        console.print(f"{name}: {experiment.QUESTION}")
        console.print("  computed for every platform: mlp-med study compute")


@study_app.command("plan")
def study_plan(
    name: StudyName,
    dataset: StudyDataset = "luna16",
    size: SizeName = "small",
    source: OptionalSource = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    field_mm: FieldMm = None,
    spacing_mm: SpacingMm = None,
    resolution: TableResolutions = None,
    task: Task = None,
    seeds: NumSeeds = None,
    tracking_uri: TrackingUri = DEFAULT_TRACKING_URI,
) -> None:
    """Print cells, time, disk and the smallest effect that can be detected; train nothing."""
    from mlp_med.cli import workflow

    workflow.require_study(name, dataset, size)
    from mlp_med.ledger.store import existing_ledger
    from mlp_med.studies.forecast import forecast

    ledger = existing_ledger(tracking_uri)
    options = table_options(dataset, field_mm, spacing_mm, resolution)
    options |= task_option(dataset, task)
    prepared = workflow.prepare(name, dataset, size, source, data_dir, options)
    pilot = workflow.recorded_pilot(prepared)
    study = workflow.plan(prepared, pilot, seeds)
    for line in forecast(study, ledger, num_concurrent=workflow.num_concurrent(study.cells)):
        console.print(line, markup=False)
    if pilot is None and prepared.size.pilot is not None:
        console.print(PILOT_FIRST)


@study_app.command("run")
def study_run(
    name: StudyName,
    dataset: StudyDataset = "luna16",
    size: SizeName = "small",
    source: OptionalSource = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    field_mm: FieldMm = None,
    spacing_mm: SpacingMm = None,
    resolution: TableResolutions = None,
    task: Task = None,
    seeds: NumSeeds = None,
    tracking_uri: TrackingUri = DEFAULT_TRACKING_URI,
    workers: Annotated[
        int | None,
        typer.Option(
            "--workers", min=1, help="Cells at once at most; cores and memory may allow fewer."
        ),
    ] = None,
    launcher: Launcher = LauncherChoice.local,
    address: Address = None,
    retry_failed: Annotated[
        bool,
        typer.Option(
            "--retry-failed",
            help="Also failures that would come again, and cells that fitted no machine.",
        ),
    ] = False,
    checkpoint_seconds: CheckpointSeconds = 300.0,
    workers_per_cell: WorkersPerCell = None,
) -> None:
    """Build what is missing, train every cell that is not done, and keep all in the ledger.

    The command may be given several times at once, on one machine or on several that share a
    tracking server: each cell then runs in one of them, and all end when all cells have.
    """
    from mlp_med.cli import workflow

    workflow.require_study(name, dataset, size)
    from mlp_med.ledger.store import open_ledger

    require_fitting(launcher, address)
    options = table_options(dataset, field_mm, spacing_mm, resolution)
    options |= task_option(dataset, task)
    if launcher is LauncherChoice.dry_run:
        prepared = workflow.prepare(name, dataset, size, None, data_dir, options)
        prepared = workflow.spread(prepared, workers_per_cell or 1)
        pilot = workflow.recorded_pilot(prepared)
        study = workflow.plan(prepared, pilot, seeds)
        for line in dry_run(study, tracking_uri, address, workers, retry_failed=retry_failed):
            console.print(line, markup=False)
        if pilot is None and prepared.size.pilot is not None:
            console.print(PILOT_FIRST)
        return
    ledger = open_ledger(tracking_uri)
    workers, num_workers = join(ledger, data_dir, workers, workers_per_cell)
    prepared = workflow.prepare(name, dataset, size, source, data_dir, options)
    prepared = workflow.spread(prepared, num_workers)
    try:
        info = prepared.dataset.info
        with launching(launcher, address, workers, info, ledger, num_workers) as launch:
            train = functools.partial(
                workflow.train,
                ledger=ledger,
                workers=workers,
                checkpoint_seconds=checkpoint_seconds,
                launch=launch,
            )
            pilot = workflow.recorded_pilot(prepared)
            if pilot is None and prepared.size.pilot is not None:
                if info.phantom:
                    command = workflow.pilot_command(prepared)
                    console.print(f"{NO_PHANTOM_PILOT} {command}", markup=False)
                else:
                    pilot = workflow.run_pilot_cells(prepared, train)
            study = workflow.plan(prepared, pilot, seeds)
            record = train(study, retry_failed=retry_failed)
    except KeyboardInterrupt:
        console.print("stopped; the same command goes on from the cells that are done")
        raise typer.Exit(130) from None
    workflow.log_example_crops(ledger, record.run_id, study)
    failed = record.in_state("failed")
    console.print(f"{len(record.in_state('done'))} of {len(study.cells)} cells are done")
    if failed:
        console.print(f"{len(failed)} failed; see: mlp-med study status {name}")
        raise typer.Exit(1)


@study_app.command("pilot")
def study_pilot(
    name: StudyName,
    dataset: StudyDataset = "luna16",
    size: SizeName = "small",
    source: OptionalSource = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    field_mm: FieldMm = None,
    spacing_mm: SpacingMm = None,
    resolution: TableResolutions = None,
    task: Task = None,
    tracking_uri: TrackingUri = DEFAULT_TRACKING_URI,
    record: Annotated[
        Path | None, typer.Option("--record", help="JSON file for the outcome, to be committed.")
    ] = None,
) -> None:
    """Choose each arm's learning rate and the budget on validation data; `run` does it too."""
    from mlp_med.cli import records, workflow

    workflow.require_study(name, dataset, size)
    from mlp_med.errors import StudyError
    from mlp_med.ledger.store import open_ledger

    if record is not None:
        records.check_place(record)
    ledger = open_ledger(tracking_uri)
    options = table_options(dataset, field_mm, spacing_mm, resolution)
    options |= task_option(dataset, task)
    prepared = workflow.prepare(name, dataset, size, source, data_dir, options)
    if prepared.size.pilot is None:
        raise StudyError(f"the {size} size of {name} claims nothing and needs no pilot")
    train = functools.partial(workflow.train, ledger=ledger)
    pilot = workflow.run_pilot_cells(prepared, train)
    for arm, found in pilot.arms.items():
        line = f"{arm}: learning rate {found.learning_rate:g}"
        line += ", the last of its grid" if found.on_edge else ""
        if (seen := found.convergence) is not None:
            state = "converged" if seen.converged else "not shown to have converged"
            line += (
                f"; twice {pilot.budget_examples} examples bring {seen.rise:+.4f} of validation "
                f"AUC (95 % upper bound {seen.upper:+.4f}): {state}"
            )
        console.print(line, markup=False)
    if record is not None:
        command = workflow.pilot_command(prepared)
        records.keep(record, workflow.with_command(pilot, command).to_dict())
        console.print(str(record), markup=False)


@study_app.command("status")
def study_status(
    name: StudyName,
    dataset: Annotated[str | None, typer.Option("--dataset")] = None,
    size: Annotated[str | None, typer.Option("--size")] = None,
    tracking_uri: TrackingUri = DEFAULT_TRACKING_URI,
) -> None:
    """Show the state of every cell of the newest such study, and why any failed."""
    from experiments import find_study

    find_study(name)  # refuses what is no study, before seconds are spent
    from mlp_med.ledger.read import read_study
    from mlp_med.ledger.store import ledger_to_read
    from mlp_med.studies.status import status_table

    record = read_study(ledger_to_read(tracking_uri), name=name, dataset=dataset, size=size)
    console.print(status_table(record))
