"""`mlp-med plan`: what a cell will need before it runs, and what would fit."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from mlp_med.cli.app import DEFAULT_DATA_DIR, DataDir, app, console
from mlp_med.reports.formatting import UNITS

if TYPE_CHECKING:
    from mlp_med.capacity.budget import Fit, Place
    from mlp_med.capacity.memory import MemoryPlan
    from mlp_med.capacity.platforms import Platform
    from mlp_med.capacity.workload import Workload
    from mlp_med.pipelines.datasets import DatasetDescription

PRECISIONS = {
    "float32": "float32",
    "fp32": "float32",
    "bfloat16": "mixed_bfloat16",
    "bf16": "mixed_bfloat16",
    "mixed_bfloat16": "mixed_bfloat16",
}
MOST_VOXELS_AN_EDGE = 10**9
NOT_EVEN_ONE = "none, not even one example"


@app.command("plan")
def plan(
    resolution: Annotated[float, typer.Option("--resolution", help="mm a voxel, µm a pixel.")],
    model: Annotated[str, typer.Option("--model", help="A preset, e.g. residual.")] = "residual",
    dataset: Annotated[str, typer.Option("--dataset", help="Whose crops.")] = "luna16",
    batch: Annotated[int, typer.Option("--batch", help="Examples a step.")] = 16,
    precision: Annotated[str, typer.Option("--precision", help="float32 or bfloat16.")] = "float32",
    norm: Annotated[str, typer.Option("--norm", help="batch, group or none.")] = "batch",
    accumulation: Annotated[
        int, typer.Option("--accumulation", help="Micro-batches a step; divides the batch.")
    ] = 1,
    recompute: Annotated[
        bool, typer.Option("--recompute", help="Keep nothing that a norm can give again.")
    ] = False,
    stream_tile: Annotated[
        int, typer.Option("--stream-tile", help="Run the first stages in tiles of so many voxels.")
    ] = 0,
    split: Annotated[
        int, typer.Option("--split", help="Train an image as so many tiles along each axis.")
    ] = 1,
    field_mm: Annotated[
        float | None, typer.Option("--field-mm", help="Edge of another field than the dataset's.")
    ] = None,
    memory: Annotated[
        str | None, typer.Option("--memory", help="A budget, e.g. 16GB or 80GiB.")
    ] = None,
    platform: Annotated[
        str | None, typer.Option("--platform", help="See `mlp-med platforms`.")
    ] = None,
    catalogue: Annotated[
        Path | None, typer.Option("--catalogue", help="TOML file of more platforms.")
    ] = None,
    probe: Annotated[
        bool, typer.Option("--probe", help="Calibrate by training steps of this model, here.")
    ] = False,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Peak memory of a training cell, line by line; with a budget, the most that fits into it."""
    from mlp_med.capacity.amounts import parse_bytes
    from mlp_med.capacity.platforms import catalogue as read_catalogue
    from mlp_med.capacity.platforms import find_platform
    from mlp_med.errors import CapacityError

    budget = None if memory is None else parse_bytes(memory)
    machine = None if platform is None else find_platform(platform, read_catalogue(catalogue))
    if budget is None and machine is not None:
        budget = machine.memory_bytes
    if probe and machine is not None and not machine.holds_process:
        raise CapacityError(
            f"a probe measures this machine, and {machine.title} is none that it can be measured "
            "for; leave out --probe, or --platform"
        )
    if accumulation < 1 or batch % accumulation:
        raise CapacityError(
            f"expected a number of micro-batches that divides the batch {batch}, got {accumulation}"
        )

    from mlp_med.capacity.budget import Place, fit_into
    from mlp_med.pipelines.datasets import describe

    policy, notes = _precision(precision, machine)
    description = describe(dataset, data_dir)
    workload = _workload(
        description,
        resolution,
        field_mm,
        model=model,
        batch_size=batch // accumulation,
        accumulation_steps=accumulation,
        recompute=recompute,
        stream_tile=stream_tile,
        split=split,
        precision=policy,
        norm=norm,
    )
    if split > 1 and (edge := min(workload.tile_voxels)) < workload.last_stride:
        notes.append(
            f"a tile's edge is {edge} voxels, where the last stage's positions stand for "
            f"{workload.last_stride}: little of its network has anything to compare"
        )
    crops = _crops_bytes(dataset, resolution, data_dir, workload) if field_mm is None else None
    if crops is None:
        notes.append("no such crops are built here: the memory that they take is not counted")
    place = Place(platform=machine, dataset_bytes=crops or 0)
    if probe:
        place, note = _probed(workload, place)
        notes.append(note)
    if machine is not None and not machine.measured:
        notes.append(f"predicted: nothing was measured on {machine.title}")
    lines = place.plan(workload)
    fit = None if budget is None else fit_into(workload, budget, place)
    spacing = _spacing(description, resolution, workload)
    named = [resolution] if fit is None or fit.grid is None else [resolution, spacing(fit.grid)]
    if min(named) < (finest := min(description.resolutions)):
        notes.append(
            f"a grid finer than {finest:g} {UNITS[description.unit]}, the finest that {dataset} is "
            "rendered at, takes memory and shows no more"
        )
    if as_json:
        typer.echo(json.dumps(_content(workload, lines, budget, fit, spacing, notes), indent=1))
        return
    _show(workload, lines, budget, fit, spacing, UNITS[description.unit])
    for note in notes:
        console.print(note, markup=False)


def _precision(text: str, machine: "Platform | None") -> tuple[str, list[str]]:
    """The Keras policy, and what there is to say of it."""
    from mlp_med.errors import CapacityError
    from mlp_med.training.precision import cpu_has_bfloat16

    if text not in PRECISIONS:
        raise CapacityError(f"expected precision float32 or bfloat16, got {text!r}")
    policy = PRECISIONS[text]
    if policy == "float32":
        return policy, []
    if machine is not None and policy not in machine.peak_flops:
        return "float32", [
            f"{machine.title} has no bfloat16 that we know of: planned in float32 instead"
        ]
    if machine is None and not cpu_has_bfloat16():
        return policy, ["this processor has no bfloat16: it is emulated, as small and slower"]
    return policy, []


def _workload(
    description: "DatasetDescription", resolution: float, field_mm: float | None, **settings: Any
) -> "Workload":
    from mlp_med.capacity.workload import Workload
    from mlp_med.errors import CapacityError
    from mlp_med.studies.cell_workload import native_bytes

    fields = description.extents
    if field_mm is not None:
        field = field_mm * 1000 if description.unit == "um" else field_mm
        fields = (field,) * description.spatial_dims
    if not resolution > 0 or not 1 <= min(fields) / resolution <= MOST_VOXELS_AN_EDGE:
        raise CapacityError(
            "expected a positive resolution and a field of at least one voxel, and at most "
            f"{MOST_VOXELS_AN_EDGE:,} along an edge, got {resolution:g} and {min(fields):g} "
            f"{UNITS[description.unit]}"
        )
    if settings["norm"] not in ("batch", "group", "none"):
        raise CapacityError(f"expected norm batch, group or none, got {settings['norm']!r}")
    return Workload(
        voxels=tuple(round(field / resolution) for field in fields),
        num_channels=description.num_channels,
        native_bytes=native_bytes(description),
        **settings,
    )


def _crops_bytes(
    dataset: str, resolution: float, data_dir: Path, workload: "Workload"
) -> int | None:
    """Of all splits, which a cell holds in memory; None where they are not built."""
    from mlp_med.errors import DatasetError

    if not (data_dir / dataset).is_dir():  # without the seconds that it takes to import TFDS
        return None
    import tfds_builders

    try:
        builder = tfds_builders.open_config(dataset, resolution, data_dir)
    except DatasetError:
        return None
    num_examples = sum(int(split.num_examples) for split in builder.info.splits.values())
    values = workload.num_voxels * workload.num_channels
    return num_examples * values * workload.native_bytes


def _probed(workload: "Workload", place: "Place") -> tuple["Place", str]:
    """The place with its constant line and its process as measured, and a line that says so."""
    import dataclasses

    from mlp_med.capacity.amounts import show_bytes
    from mlp_med.capacity.memory import calibrated_running_bytes
    from mlp_med.capacity.probe import probe, small_workload
    from mlp_med.studies.work import PRELOAD

    small = small_workload(workload)
    found = probe(small, preload=PRELOAD)
    running = calibrated_running_bytes(small, found.above_base_bytes)
    base = found.base_bytes - found.crops_bytes
    note = (
        f"probe: {small.grid} × {small.batch_size} took {show_bytes(found.above_base_bytes)} above "
        f"a process of {show_bytes(base)}, so that the running line is {show_bytes(running)} here"
    )
    return dataclasses.replace(place, running_bytes=running, process_base_bytes=base), note


def _spacing(description: "DatasetDescription", resolution: float, workload: "Workload") -> Any:
    """A function from a workload on another grid of the same field to its spacing."""
    return lambda other: resolution * workload.voxels[0] / other.voxels[0]


def _content(
    workload: "Workload",
    lines: "MemoryPlan",
    budget: int | None,
    fit: "Fit | None",
    spacing: Any,
    notes: list[str],
) -> dict[str, Any]:
    content: dict[str, Any] = {
        "workload": workload.to_dict(),
        "bytes": lines.lines,
        "above_base_bytes": lines.above_base,
        "peak_bytes": lines.peak,
        "notes": notes,
    }
    if fit is not None:
        content["budget_bytes"] = budget
        content["fits"] = fit.fits
        content["largest_batch"] = fit.batch * workload.accumulation_steps
        content["finest"] = fit.grid and {
            "voxels": list(fit.grid.voxels),
            "resolution": spacing(fit.grid),
        }
        content["fewest_tiles"] = fit.tiled and {
            "split": fit.tiled.split,
            "tiles": fit.tiled.num_tiles,
            "voxels": list(fit.tiled.tile_voxels),
        }
    return content


def _show(
    workload: "Workload",
    lines: "MemoryPlan",
    budget: int | None,
    fit: "Fit | None",
    spacing: Any,
    unit: str,
) -> None:
    from mlp_med.capacity.amounts import show_bytes

    micro = f", {workload.accumulation_steps} times" if workload.accumulation_steps > 1 else ""
    console.print(
        f"{workload.model} on {workload.grid} × {workload.batch_size}{micro}, "
        f"{workload.precision}, {workload.norm} norm"
        f"{', recomputing' if workload.recompute else ''}"
        f"{f', stages in tiles of {workload.stream_tile}' if workload.stream_tile else ''}"
        f"{f', as {workload.num_tiles} tiles' if workload.split > 1 else ''}",
        markup=False,
    )
    table = Table("line", "bytes", "")
    table.columns[1].justify = table.columns[2].justify = "right"
    for name, num_bytes in lines.lines.items():
        table.add_row(name.replace("_", " "), f"{num_bytes:,}", show_bytes(num_bytes))
    table.add_section()
    table.add_row("above the process base", f"{lines.above_base:,}", show_bytes(lines.above_base))
    table.add_row("peak", f"{lines.peak:,}", show_bytes(lines.peak))
    console.print(table)
    if fit is None or budget is None:
        return
    console.print(
        f"{'fits' if fit.fits else 'does not fit'} into {show_bytes(budget)}; within it:",
        markup=False,
    )
    batch = f"{fit.batch * workload.accumulation_steps:,}" if fit.batch else NOT_EVEN_ONE
    if fit.batch and micro:
        batch += f" ({fit.batch:,} at once{micro})"
    console.print(f"  largest batch at this resolution: {batch}", markup=False)
    grid = f"{spacing(fit.grid):.3g} {unit} ({fit.grid.grid})" if fit.grid else "none"
    console.print(f"  finest resolution at this batch: {grid}", markup=False)
    if fit.tiled is None:
        tiles = "none (the whole images of a batch stay in memory beside the tiles)"
    elif fit.tiled.split == 1:
        tiles = "1, the whole image at once"
    else:
        edges = "×".join(map(str, fit.tiled.tile_voxels))
        tiles = f"{fit.tiled.split}, {fit.tiled.num_tiles:,} tiles of {edges}"
    console.print(f"  smallest --split at this resolution and batch: {tiles}", markup=False)
