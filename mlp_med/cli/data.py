"""`mlp-med data`: check, build and show datasets."""

from pathlib import Path
from typing import Annotated

import typer

from mlp_med.cli.app import (
    DEFAULT_DATA_DIR,
    DataDir,
    DatasetName,
    Source,
    Workers,
    console,
    data_app,
)
from mlp_med.cli.datasets import build_dataset, find_dataset


@data_app.command("check")
def data_check(dataset: DatasetName, source: Source) -> None:
    """Tell what a build would use, skip and need, before anything is built."""
    report = find_dataset(dataset).check(source)
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
    for builder in build_dataset(dataset, source, data_dir, resolution, workers):
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
    find_dataset(dataset)
    from mlp_med.crop_sheets import draw_source

    draw_source(dataset, source, out, num_cases=cases)
    console.print(str(out))
