"""Tiles of the output of some stages, and what each layer has to read for them."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mlp_med.errors import StreamingError
from mlp_med.models.convolution import SpaceToDepth
from mlp_med.models.stage_parts import IMAGE, Part
from mlp_med.models.windows import Interval, Read

Sizes = dict[str, tuple[int, ...]]


@dataclass(frozen=True)
class ReadRows:
    """Where the table says what a layer reads of one input.

    Attributes:
        cut: row of the first position, followed by that of how many; None if it is always all.
        padding: row of the padding before, followed by that after; None if there never is any.
    """

    cut: int | None
    padding: int | None


@dataclass(frozen=True)
class TilePlan:
    """Where every tile and every layer's part of it lies.

    Attributes:
        output_size: positions of the output's grid, one an axis.
        table: int32 [tile, row, axis of the tensor], batch and channels included. The first four
            rows are the tile's first position in the output and how many it has, and the same of
            what is cut out of the image for it.
        reads: by layer and input of it, the other rows.
    """

    output_size: tuple[int, ...]
    table: np.ndarray
    reads: dict[tuple[int, int], ReadRows]


def plan_tiles(parts: Sequence[Part], image_size: Sequence[int], tile_size: int) -> TilePlan:
    """Cuts the output into tiles, and follows each back to the image.

    Args:
        parts: of the stages, in the order of the forward pass.
        image_size: positions of the image's grid, one an axis.
        tile_size: edge of a tile in positions of the image. A tile of the output has as many as
            fit by the stages' stride, at least one; the last along an axis is what remains.

    Raises:
        StreamingError: the image is too small for the stages, or not a multiple of their blocks.
    """
    sizes = grid_sizes(parts, image_size)
    output_size = sizes[parts[-1].output]
    by_axis = _along_axes(parts, sizes, tile_size)
    tiles = list(itertools.product(*by_axis))
    rows: list[np.ndarray] = []
    reads: dict[tuple[int, int], ReadRows] = {}
    for name in (parts[-1].output, IMAGE):
        rows += _bounds([[axis.regions[name] for axis in tile] for tile in tiles])
    for index, part in enumerate(parts):
        for number, source in enumerate(part.sources):
            read = [[axis.reads[index, number] for axis in tile] for tile in tiles]
            given = [[axis.regions[source].size for axis in tile] for tile in tiles]
            found = reads[index, number] = _rows(read, given, len(rows))
            rows += _bounds([[r.inside for r in tile] for tile in read]) if found.cut else []
            rows += _padding(read) if found.padding else []
    return TilePlan(output_size, np.stack(rows, axis=1), reads)


def largest_tile(
    parts: Sequence[Part], image_size: Sequence[int], tile_size: int
) -> tuple[int, tuple[int, ...]]:
    """How many tiles there are, and the most of the image that one is computed from, an axis each.

    Args and errors are those of `plan_tiles`, whose table is not made.
    """
    by_axis = _along_axes(parts, grid_sizes(parts, image_size), tile_size)
    edges = tuple(max(part.regions[IMAGE].size for part in along) for along in by_axis)
    return math.prod(map(len, by_axis)), edges


def stride_of(parts: Sequence[Part], axis: int) -> int:
    """Positions of the image between neighbouring positions of the output."""
    strides = {IMAGE: 1}
    for part in parts:
        strides[part.output] = strides[part.sources[0]] * part.window(axis).stride
    return strides[parts[-1].output]


def grid_sizes(parts: Sequence[Part], image_size: Sequence[int]) -> Sizes:
    """Positions of every tensor's grid, by its name.

    Raises:
        StreamingError: see `plan_tiles`.
    """
    sizes: Sizes = {IMAGE: tuple(image_size)}
    for part in parts:
        before = sizes[part.sources[0]]
        size = tuple(part.window(axis).output_size(edge) for axis, edge in enumerate(before))
        if min(size) < 1:
            raise StreamingError(
                f"expected an image that {part.layer.name} has a window in, got a grid of "
                f"{'×'.join(map(str, before))} there"
            )
        if isinstance(part.layer, SpaceToDepth) and any(edge % part.layer.block for edge in before):
            raise StreamingError(
                f"expected a grid that blocks of {part.layer.block} voxels fill, got "
                f"{'×'.join(map(str, before))}"
            )
        sizes[part.output] = size
    return sizes


@dataclass(frozen=True)
class Needed:
    """What an interval of the output needs along one axis.

    Attributes:
        regions: by tensor, the positions that are computed (of the image: cut out).
        reads: by layer and input of it; positions are those within the region of that input.
    """

    regions: dict[str, Interval]
    reads: dict[tuple[int, int], Read]


def needed_for(parts: Sequence[Part], sizes: Sizes, axis: int, output: Interval) -> Needed:
    """What an interval of the output needs along an axis of grids of these sizes."""
    wanted: dict[str, list[Interval]] = {parts[-1].output: [output]}
    regions: dict[str, Interval] = {}
    reads: dict[tuple[int, int], Read] = {}
    for index, part in reversed(list(enumerate(parts))):
        # Whoever reads this tensor comes later, and so has been here already.
        regions[part.output] = Interval.hull(wanted[part.output])
        for number, source in enumerate(part.sources):
            read = part.window(axis).read(regions[part.output], sizes[source][axis])
            reads[index, number] = read
            wanted.setdefault(source, []).append(read.inside)
    regions[IMAGE] = Interval.hull(wanted[IMAGE])
    within = {}
    for (index, number), read in reads.items():
        offset = regions[parts[index].sources[number]].start
        inside = Interval(read.inside.start - offset, read.inside.stop - offset)
        within[index, number] = read._replace(inside=inside)
    return Needed(regions, within)


def _rows(tiles: Sequence[Sequence[Read]], given: Sequence[Sequence[int]], next: int) -> ReadRows:
    """Which rows a layer's read needs, from the next free row on."""
    sizes = [[read.inside.size for read in tile] for tile in tiles]
    cut = next if sizes != given else None
    is_padded = any(read.before or read.after for tile in tiles for read in tile)
    return ReadRows(cut, (next + 2 * (cut is not None)) if is_padded else None)


def _bounds(tiles: Sequence[Sequence[Interval]]) -> list[np.ndarray]:
    """Rows [tile, axis of the tensor] of first positions and of how many (-1: all)."""
    return [
        _row([[axis.start for axis in tile] for tile in tiles], ends=0),
        _row([[axis.size for axis in tile] for tile in tiles], ends=-1),
    ]


def _padding(tiles: Sequence[Sequence[Read]]) -> list[np.ndarray]:
    return [
        _row([[read.before for read in tile] for tile in tiles], ends=0),
        _row([[read.after for read in tile] for tile in tiles], ends=0),
    ]


def _row(tiles: Sequence[Sequence[int]], *, ends: int) -> np.ndarray:
    """With `ends` for the batch and for the channels."""
    return np.pad(np.array(tiles, np.int32), ((0, 0), (1, 1)), constant_values=ends)


def _along_axes(parts: Sequence[Part], sizes: Sizes, tile_size: int) -> list[list[Needed]]:
    """By axis, what each tile along it needs."""
    found = []
    for axis, size in enumerate(sizes[parts[-1].output]):
        edge = max(1, tile_size // stride_of(parts, axis))
        along = [Interval(at, min(at + edge, size)) for at in range(0, size, edge)]
        found.append([needed_for(parts, sizes, axis, interval) for interval in along])
    return found
