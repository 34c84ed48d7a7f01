"""The command line, `mlp-med`. Heavy imports wait inside the commands, so that --help is quick."""

import logging
import os
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from mlp_med.errors import MlpMedError

app = typer.Typer(
    help="What image resolution, batch size and splitting are worth in medical deep learning.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
phantom_app = typer.Typer(help="Write scans that a program drew.", no_args_is_help=True)
data_app = typer.Typer(help="Check, build and show datasets.", no_args_is_help=True)
study_app = typer.Typer(help="List, plan, run and follow studies.", no_args_is_help=True)
app.add_typer(phantom_app, name="phantom")
app.add_typer(data_app, name="data")
app.add_typer(study_app, name="study")

console = Console(highlight=False, soft_wrap=True)

DatasetName = Annotated[str, typer.Argument(help="luna16 or metastasis_patches.")]
Source = Annotated[Path, typer.Option("--source", help="Directory of the release as downloaded.")]
OptionalSource = Annotated[
    Path | None,
    typer.Option("--source", help="Directory of the release; needed until the dataset is built."),
]
DataDir = Annotated[Path, typer.Option("--data-dir", help="TFDS's data directory.")]
StudyName = Annotated[str, typer.Argument(help="See `mlp-med study list`.")]
StudyDataset = Annotated[str, typer.Option("--dataset", help="luna16 or metastasis_patches.")]
SizeName = Annotated[str, typer.Option("--size", help="smoke, small or full.")]
NumSeeds = Annotated[
    int | None, typer.Option("--seeds", min=1, help="Seeds an arm; the experiment's own if absent.")
]
TrackingUri = Annotated[
    str,
    typer.Option("--tracking-uri", envvar="MLFLOW_TRACKING_URI", help="The ledger: MLflow by URI."),
]
Workers = Annotated[int | None, typer.Option("--workers", min=1, help="Processes; one a core.")]

DEFAULT_DATA_DIR = Path("data/tfds")
DEFAULT_TRACKING_URI = "sqlite:///runs/mlflow.db"


@phantom_app.command("luna16")
def phantom_luna16(
    out: Annotated[Path, typer.Argument(help="Directory to write, absent or empty.")],
    scans: Annotated[int, typer.Option("--scans", min=10, help="Number of scans.")] = 100,
    seed: Annotated[int, typer.Option("--seed", help="Same seed, same bytes.")] = 0,
    workers: Workers = None,
) -> None:
    """Write chest CT phantoms in exactly LUNA16's layout."""
    from mlp_med.phantoms.luna16 import write_luna16
    from mlp_med.studies.progress import counting

    with counting(console, "phantom scans") as progress:
        summary = write_luna16(
            out, num_scans=scans, seed=seed, num_workers=workers, progress=progress
        )
    console.print(f"{out}: " + ", ".join(f"{value} {name}" for name, value in summary.items()))


@data_app.command("check")
def data_check(dataset: DatasetName, source: Source) -> None:
    """Tell what a build would use, skip and need, before anything is built."""
    report = _dataset(dataset).check(source)
    console.print(str(report), markup=False)
    if report.problems:
        raise typer.Exit(1)


@data_app.command("build")
def data_build(
    dataset: DatasetName,
    source: Source,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    resolution: Annotated[
        list[float] | None,
        typer.Option("--resolution", help="mm a voxel or µm a pixel; repeat it. All if absent."),
    ] = None,
    workers: Workers = None,
) -> None:
    """Build the same crops at several resolutions as TFDS datasets."""
    for builder in _build(dataset, source, data_dir, resolution, workers):
        counts = ", ".join(f"{s.num_examples} {name}" for name, s in builder.info.splits.items())
        console.print(f"{builder.info.full_name}: {counts} in {builder.data_dir}")


@data_app.command("show")
def data_show(
    dataset: DatasetName,
    out: Annotated[Path, typer.Option("--out", help="PNG file to write.")],
    source: Source,
    cases: Annotated[int, typer.Option("--cases", min=1, help="Rows of the picture.")] = 8,
) -> None:
    """Draw the same crops, one row a case, one column a resolution."""
    _dataset(dataset)
    from mlp_med.crop_sheets import draw_source

    draw_source(dataset, source, out, num_cases=cases)
    console.print(str(out))


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


def _dataset(name: str):  # type: ignore[no-untyped-def]  # its type would import TFDS
    from mlp_med.errors import DatasetError

    _quiet_tensorflow()
    import tfds_builders

    if name not in tfds_builders.DATASETS:
        known = ", ".join(tfds_builders.DATASETS)
        raise DatasetError(f"there is no dataset {name!r}; there are: {known}")
    return tfds_builders.DATASETS[name]


def _build(  # type: ignore[no-untyped-def]
    dataset: str,
    source: Path,
    data_dir: Path,
    resolutions: list[float] | None,
    workers: int | None = None,
):
    from mlp_med.studies.progress import counting

    with counting(console, "crops") as progress:
        return _dataset(dataset).build(
            source,
            data_dir,
            resolutions=resolutions,
            num_workers=workers,
            progress=lambda what, done, total: progress(done, total),
        )


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
    unit = _dataset(dataset).unit
    arms = experiment.arms(sizes[size], unit)
    if source is not None:
        _build(dataset, source, data_dir, sorted({arm.resolution for arm in arms}))
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


def _quiet_tensorflow() -> None:
    """TensorFlow's start-up notices are not news to the user of a command."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    logging.getLogger("absl").setLevel(logging.ERROR)


def main() -> None:
    """Entry point: a user's mistake is one line and exit code 2, without a traceback."""
    _quiet_tensorflow()
    try:
        app()
    except MlpMedError as error:
        errors = Console(stderr=True, highlight=False, soft_wrap=True)
        errors.print(f"error: {error}", style="red", markup=False)
        sys.exit(2)


if __name__ == "__main__":
    main()
