"""What the arms of a study take of a budget of memory that they share, before any has run."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from mlp_med.capacity.inverse import largest_batch
from mlp_med.capacity.memory import predict_memory
from mlp_med.capacity.workload import Workload
from mlp_med.pipelines.datasets import DatasetDescription, crop_grid
from mlp_med.studies.cell import Cell
from mlp_med.studies.cell_workload import workload_of

MOST_DOUBLINGS = 12  # of the batch, on the map of equal memory


def memory_above_base(workload: Workload) -> int:
    """Predicted peak of a training cell above its process and its crops, bytes."""
    return predict_memory(workload).above_base


def largest_power_of_two(workload: Workload, budget_bytes: int) -> int:
    """The largest batch that is a power of two and fits above the process base; 0 if none does."""
    most = largest_batch(workload, budget_bytes, memory_above_base)
    return 1 << (most.bit_length() - 1) if most else 0


def predicted_memory(
    cells: Mapping[str, Cell], description: DatasetDescription, budget_bytes: int
) -> dict[str, Any]:
    """The budget, what every arm takes of it, and the map on which lines of equal memory lie.

    Args:
        cells: one of each arm, by the arm's name.
        description: of the dataset.
        budget_bytes: above the process base and the crops.

    Returns:
        Plain values: "budget_bytes"; "arms", bytes by name; "map", rows of resolution, batch and
        bytes, at the arms' resolutions and powers of two, of plain steps.
    """
    first = next(iter(cells.values()))
    plain = replace(workload_of(first, description), accumulation_steps=1, recompute=False)
    resolutions = sorted({cell.resolution for cell in cells.values()})
    return {
        "budget_bytes": budget_bytes,
        "arms": {
            arm: memory_above_base(workload_of(cell, description)) for arm, cell in cells.items()
        },
        "map": [
            [resolution, batch, memory_above_base(workload)]
            for resolution in resolutions
            for batch in (2**doubling for doubling in range(MOST_DOUBLINGS + 1))
            for workload in [
                replace(plain, voxels=crop_grid(description, resolution), batch_size=batch)
            ]
        ],
    }
