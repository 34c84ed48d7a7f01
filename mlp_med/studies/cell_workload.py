"""What a cell takes of a machine: its workload, and its memory and time where it has not run."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from mlp_med.capacity.amounts import show_bytes
from mlp_med.capacity.arithmetic import input_bytes, training_costs
from mlp_med.capacity.budget import Place
from mlp_med.capacity.inverse import largest_batch
from mlp_med.capacity.platforms import Platform
from mlp_med.capacity.roofline import estimate
from mlp_med.capacity.workload import Workload
from mlp_med.pipelines.datasets import DatasetDescription, crop_grid, octaves_to_coarsest
from mlp_med.studies.cell import Cell


def workload_of(cell: Cell, description: DatasetDescription) -> Workload:
    """The training step of a cell on one device, which is one worker's where it has several.

    Raises:
        CapacityError: the network is none that is forecast.
    """
    return Workload(
        model=cell.model,
        voxels=crop_grid(description, cell.grid),
        num_channels=description.num_channels,
        batch_size=cell.global_batch_size // cell.accumulation_steps // cell.num_workers,
        accumulation_steps=cell.accumulation_steps,
        precision=cell.precision,
        norm=cell.norm,
        recompute=cell.recompute,
        stream_tile=cell.stream_tile,
        split=cell.split,
        num_extra_stages=0
        if cell.depth == "fixed"
        else octaves_to_coarsest(description, cell.grid),
        native_bytes=native_bytes(description),
    )


def native_bytes(description: DatasetDescription) -> int:
    """Of one value as crops are kept: beyond 8 bits they are int16."""
    return 1 if description.intensity_window == (0.0, 255.0) else 2


def forecast_cell(
    cell: Cell, description: DatasetDescription, platform: Platform
) -> tuple[int, float | None]:
    """Peak bytes and the least seconds of training a cell on a platform that it has not run on.

    Its crops stay with the host. The seconds are those of its steps at the platform's peaks, so a
    lower bound; None where the platform has no figure for the cell's precision.
    """
    workload = workload_of(cell, description)
    peak = Place(platform=platform).needed(workload)
    costs = training_costs(workload)
    step = estimate(costs, input_bytes(workload), platform, workload.precision)
    num_steps = cell.budget_examples // cell.global_batch_size
    return peak, None if step is None else step.seconds * num_steps


def untried(
    cell: Cell,
    tried: Sequence[Cell],
    description: DatasetDescription,
    *,
    memory_bytes: int,
    num_cases: Mapping[str, int],
    place: Place,
    unit: str,
) -> list[str]:
    """What would fit into a budget beside a cell and was never trained: a sentence each.

    Args:
        cell: what was chosen.
        tried: every arm's cell that was trained.
        description: of the dataset.
        memory_bytes: the budget.
        num_cases: crops by split, all of which a process holds.
        place: where the memory is planned for.
        unit: of the resolutions, as a reader is shown it: "mm" or "µm".
    """
    found = []
    native = {each.resolution for each in tried if each.control == "none"}
    for resolution in description.resolutions:
        if resolution in native or resolution > cell.resolution:
            continue
        finer = replace(cell, resolution=resolution, grid=resolution, control="none")
        workload = workload_of(finer, description)
        peak = _with_crops(place, workload, num_cases).needed(workload)
        if peak <= memory_bytes:
            found.append(
                f"how {resolution:g} {unit} does at batch {cell.global_batch_size}, "
                f"which would fit ({show_bytes(peak)} predicted): no cell was trained on it"
            )
    # What another resolution was trained with tells nothing of this one; accumulation fits anyhow.
    workload = replace(workload_of(cell, description), accumulation_steps=1)
    needed = _with_crops(place, workload, num_cases).needed
    largest = min(largest_batch(workload, memory_bytes, needed), num_cases["train"])
    like = (cell.resolution, cell.grid)
    most = max(each.global_batch_size for each in tried if (each.resolution, each.grid) == like)
    if largest > most:
        found.append(
            f"whether a batch above {most} does better: up to {largest:,} would fit at this "
            "resolution (predicted), and none was trained"
        )
    return found


def _with_crops(place: Place, workload: Workload, num_cases: Mapping[str, int]) -> Place:
    values = workload.num_voxels * workload.num_channels * sum(num_cases.values())
    return replace(place, dataset_bytes=values * workload.native_bytes)
