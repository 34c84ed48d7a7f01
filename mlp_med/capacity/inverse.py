"""The plan turned round: what is the most that fits into a budget of memory."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from mlp_med.capacity.workload import Workload

NeededBytes = Callable[[Workload], int]


@dataclass(frozen=True)
class Tiling:
    """An example cut into tiles of one size that go through the network one at a time.

    Attributes:
        num_tiles: a power of two; the longest edge is halved again and again.
        workload: of one tile.
    """

    num_tiles: int
    workload: Workload


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


def fewest_tiles(workload: Workload, budget: int, needed: NeededBytes) -> Tiling | None:
    """The fewest equal tiles that fit one batch at a time; None if none does.

    Tiles do not overlap; a network that sees tiles sees no more than a tile's surroundings, which
    is what a study of splitting measures.
    """
    voxels, num_tiles = list(workload.tile_voxels), workload.num_tiles
    while True:
        tile = replace(workload, voxels=tuple(voxels), split=1)
        if needed(tile) <= budget:
            return Tiling(num_tiles, tile)
        longest = voxels.index(max(voxels))
        if voxels[longest] <= workload.stride:
            return None
        steps = voxels[longest] // workload.stride
        voxels[longest] = -(-steps // 2) * workload.stride
        num_tiles *= 2


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
