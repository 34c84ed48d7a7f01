"""What cells will take of a machine, by the memory plan, and what this machine has."""

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import psutil

from mlp_med.capacity.this_machine import memory_bytes
from mlp_med.cores import available_cores
from mlp_med.errors import CapacityError
from mlp_med.pipelines.datasets import crop_grid, describe
from mlp_med.studies.cell import Cell
from mlp_med.studies.own_process import in_process_of_its_own
from mlp_med.studies.room import Machine, Needs


@dataclass(frozen=True)
class Survey:
    """What cells need, in their order, and how many GPUs TensorFlow sees here."""

    needs: tuple[Needs, ...]
    num_gpus: int


def survey(cells: Sequence[Cell], data_dir: Path) -> Survey:
    """Plans the memory of cells, in a process of its own: to plan it the networks are built.

    Args:
        cells: of one study.
        data_dir: TFDS's data directory, where their datasets are built.
    """
    return in_process_of_its_own(_survey, tuple(cells), data_dir)


def this_machine(num_gpus: int = 0, most_cells: int | None = None) -> Machine:
    """The cores and the memory that are this process's to use.

    Args:
        num_gpus: that TensorFlow sees; a cell takes them all, so that one runs at a time.
        most_cells: at once, as a user asks.
    """
    if num_gpus:
        most_cells = min(most_cells or 1, 1)
    total = memory_bytes()
    free = min(total, int(psutil.virtual_memory().available))
    return Machine(
        "this machine", available_cores(), free, most_cells, num_gpus, total_memory_bytes=total
    )


def _survey(cells: tuple[Cell, ...], data_dir: Path) -> Survey:
    import tensorflow as tf

    num_gpus = len(tf.config.list_physical_devices("GPU"))
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    tf.config.set_visible_devices([], "GPU")
    memory: dict[Cell, int] = {}
    for cell in cells:
        alike = _of_equal_memory(cell)
        if alike not in memory:
            memory[alike] = _memory(cell, data_dir)
    needs = [
        Needs(
            cell.num_workers * cell.intra_op_threads,
            cell.num_workers * memory[_of_equal_memory(cell)],
            cell.num_workers,
        )
        for cell in cells
    ]
    return Survey(tuple(needs), num_gpus)


def _of_equal_memory(cell: Cell) -> Cell:
    return replace(cell.arm_key(), learning_rate=0.0, budget_examples=cell.global_batch_size)


def _memory(cell: Cell, data_dir: Path) -> int:
    """0 where the network is none that is forecast: cores alone then count the cells."""
    import tfds_builders
    from mlp_med.capacity.budget import Place
    from mlp_med.studies.cell_workload import workload_of

    description = describe(cell.dataset, data_dir)
    try:
        workload = workload_of(cell, description)
    except CapacityError:
        return 0
    builder = tfds_builders.open_config(cell.dataset, cell.resolution, data_dir)
    crops = sum(split.num_examples for split in builder.info.splits.values())
    # They are kept at their own resolution, whatever grid the network sees.
    values = crops * math.prod(crop_grid(description, cell.resolution)) * workload.num_channels
    return Place(dataset_bytes=values * workload.native_bytes).needed(workload)
