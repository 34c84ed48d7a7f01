"""`mlp-med data`: check, build and show datasets."""

from pathlib import Path
from typing import Annotated

import typer

from mlp_med.cli.app import (
    DEFAULT_DATA_DIR,
    BeamOptions,
    BeamRunner,
    DataDir,
    DatasetName,
    FieldMm,
    NegativesPerPositive,
    Resolutions,
    Source,
    SpacingMm,
    Task,
    Workers,
    console,
    data_app,
)
from mlp_med.cli.datasets import (
    beam_options,
    build_dataset,
    find_dataset,
    negatives_option,
    table_options,
    task_option,
)


@data_app.command("check")
def data_check(
    dataset: DatasetName,
    source: Source,
    field_mm: FieldMm = None,
    spacing_mm: SpacingMm = None,
    resolution: Resolutions = None,
    task: Task = None,
    negatives_per_positive: NegativesPerPositive = None,
) -> None:
    """Tell what a build would use, skip and need, before anything is built."""
    options = table_options(dataset, field_mm, spacing_mm, resolution)
    options |= task_option(dataset, task)
    options |= negatives_option(dataset, negatives_per_positive)
    report = find_dataset(dataset).check(source, **options)
    console.print(str(report), markup=False)
    if report.problems:
        raise typer.Exit(1)


@data_app.command("build")
def data_build(
    dataset: DatasetName,
    source: Source,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    resolution: Resolutions = None,
    workers: Workers = None,
    field_mm: FieldMm = None,
    spacing_mm: SpacingMm = None,
    task: Task = None,
    negatives_per_positive: NegativesPerPositive = None,
    beam_runner: BeamRunner = None,
    beam_option: BeamOptions = None,
) -> None:
    """Build the same crops at several resolutions as TFDS datasets."""
    options = table_options(dataset, field_mm, spacing_mm)
    options |= task_option(dataset, task)
    options |= negatives_option(dataset, negatives_per_positive)
    options |= beam_options(workers, beam_runner, beam_option)
    for builder in build_dataset(dataset, source, data_dir, resolution, workers, **options):
        counts = ", ".join(f"{s.num_examples} {name}" for name, s in builder.info.splits.items())
        console.print(f"{builder.info.full_name}: {counts} in {builder.data_dir}")


@data_app.command("show")
def data_show(
    dataset: DatasetName,
    out: Annotated[Path, typer.Option("--out", help="PNG file to write.")],
    source: Source,
    cases: Annotated[int, typer.Option("--cases", min=1, help="Rows of the picture.")] = 8,
    field_mm: FieldMm = None,
    spacing_mm: SpacingMm = None,
    resolution: Resolutions = None,
    task: Task = None,
) -> None:
    """Draw the same crops, one row a case, one column a resolution."""
    find_dataset(dataset)
    from mlp_med.crop_sheets import draw_source

    options = table_options(dataset, field_mm, spacing_mm, resolution)
    options |= task_option(dataset, task)
    draw_source(dataset, source, out, num_cases=cases, **options)
    console.print(str(out))
