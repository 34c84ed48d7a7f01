"""The plan turned round: what is the most that fits into a budget of memory."""

from collections.abc import Callable
from dataclasses import replace

from mlp_med.capacity.workload import Workload

NeededBytes = Callable[[Workload], int]


def largest_batch(workload: Workload, budget: int, needed: NeededBytes) -> int:
    """Most examples at once within `budget` bytes, at this resolution; 0 if not even one fits."""
    return _largest(lambda batch: needed(workload.with_batch(batch)) <= budget)


def finest_grid(workload: Workload, budget: int, needed: NeededBytes) -> Workload | None:
    """The same field and batch on the finest grid that fits; None if not even the coarsest does.

    The edges keep their proportion, up to the network's stride and the tiles of a split.
    """
    unit = workload.stride * workload.split
    shortest = max(1, min(workload.voxels) // unit)

    def on_grid(steps: int) -> Workload:
        edges = (round(edge * steps / shortest / unit) for edge in workload.voxels)
        return replace(workload, voxels=tuple(max(1, edge) * unit for edge in edges))

    steps = _largest(lambda steps: needed(on_grid(steps)) <= budget)
    return on_grid(steps) if steps else None


def fewest_tiles(workload: Workload, budget: int, needed: NeededBytes) -> Workload | None:
    """The same trained as the fewest tiles that fit; None if no number of them does.

    A split cuts every axis into as many pieces, which must be equal and hold one of the stem's
    blocks (`mlp_med.training.tiles`). The whole images of a batch stay in memory beside them.
    """
    for split in range(1, min(workload.voxels) // workload.stride + 1):
        if all(edge % split == 0 for edge in workload.voxels):
            tiled = replace(workload, split=split)
            if needed(tiled) <= budget:
                return tiled
    return None


def _largest(fits: Callable[[int], bool]) -> int:
    """The largest whole number that fits, where every smaller one fits too; 0 if 1 does not."""
    if not fits(1):
        return 0
    low = 1
    while fits(2 * low):
        low *= 2
    high = 2 * low
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low
