"""Examples in memory → global batches as tf.data, for one device or dealt out to replicas.

Everything random is drawn beforehand as a function of (seed, position); the graph that runs for a
batch only looks up: gather the crops, transform, scale, upsample. It maps whole batches and not
single examples, because at 8³ voxels the overhead of a call is dearer than its work.
"""

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from mlp_med.pipelines.arrays import ALIGNMENT_BYTES, Examples
from mlp_med.pipelines.augment import draw_transforms, transform_crops
from mlp_med.pipelines.datasets import DatasetDescription, crop_grid
from mlp_med.pipelines.order import example_indices
from mlp_med.pipelines.tile_labels import labels_of_tiles
from mlp_med.pipelines.upsample import upsample

Columns = dict[str, np.ndarray]
Renderer = Callable[[dict[str, tf.Tensor]], tuple[tf.Tensor, tf.Tensor, tf.Tensor]]

_NUM_PREFETCHED = 2


def training_batches(
    examples: Examples,
    *,
    global_batch_size: int,
    seed: int,
    start: int,
    budget_examples: int,
    resolution: float,
    grid: float,
    description: DatasetDescription,
    augment: bool,
    tile_split: int = 0,
) -> tf.data.Dataset:
    """The global batches from examples seen = `start` until `budget_examples` are seen.

    The same arguments give the same batches, bit for bit, and a later `start` gives the tail of the
    same sequence.

    Args:
        examples: the training split.
        global_batch_size: examples a step, over all replicas together.
        seed: of order and augmentation.
        start: examples seen so far; 0 at first, more when a cell is resumed.
        budget_examples: examples seen at the end.
        resolution: of the stored crops, in the dataset's unit.
        grid: spacing of the grid that the network sees, in the same unit: `resolution` itself, or a
            finer one for the information control, whose coarse crops are upsampled.
        description: of the dataset.
        augment: flip, turn and shift.
        tile_split: tiles along each axis whose own labels, from the drawn lesions, are wanted
            instead of the crop's label; 0 for none.

    Returns:
        Dataset of (image float32 [batch, *voxels, channels] in [0, 1], label float32 [batch] or
        [batch, tiles], weight float32 [batch], all 1); `voxels` fill the field at spacing `grid`.

    Raises:
        DatasetError: labels of tiles are wanted of a dataset that keeps no lesions.
        ValueError: budget or start is not a multiple of the global batch size, nothing is left of
            the budget, or the grid is coarser than the crops or no whole part of their spacing.
    """
    _check_budget(global_batch_size, start, budget_examples)
    positions = np.arange(start, budget_examples).reshape(-1, global_batch_size)
    return _batches_at(
        positions,
        examples,
        seed=seed,
        render=_renderer(examples, resolution=resolution, grid=grid, description=description),
        augment=augment,
        description=description,
        tile_split=tile_split,
    )


def distributed_training_batches(
    strategy: tf.distribute.Strategy,
    examples: Examples,
    *,
    global_batch_size: int,
    seed: int,
    start: int,
    budget_examples: int,
    resolution: float,
    grid: float,
    description: DatasetDescription,
    augment: bool,
    tile_split: int = 0,
) -> tf.distribute.DistributedDataset:
    """The batches of `training_batches`, each cut into one slice a replica.

    Replica r of R gets rows r·b … (r+1)·b - 1 of every global batch, b = global_batch_size / R, so
    that any number of replicas sees the same examples in the same steps. Every worker holds the
    whole split in memory, and no data moves between workers.

    Raises:
        ValueError: as `training_batches`; or the replicas do not divide the global batch.
    """
    num_replicas = strategy.num_replicas_in_sync
    if global_batch_size % num_replicas:
        nearest = max(round(global_batch_size / num_replicas), 1) * num_replicas
        raise ValueError(
            f"expected a global batch size that {num_replicas} replicas can share evenly, got "
            f"{global_batch_size}; the nearest multiple is {nearest}"
        )
    _check_budget(global_batch_size, start, budget_examples)
    render = _renderer(examples, resolution=resolution, grid=grid, description=description)

    def worker_batches(context: tf.distribute.InputContext) -> tf.data.Dataset:
        num_local = num_replicas // context.num_input_pipelines
        first = context.input_pipeline_id * num_local
        steps = np.arange(start, budget_examples).reshape(
            -1, num_replicas, global_batch_size // num_replicas
        )
        # tf.distribute hands a worker's consecutive elements to its replicas in turn.
        local = steps[:, first : first + num_local].reshape(-1, steps.shape[-1])
        return _batches_at(
            local,
            examples,
            seed=seed,
            render=render,
            augment=augment,
            description=description,
            tile_split=tile_split,
        )

    return strategy.distribute_datasets_from_function(worker_batches)


def evaluation_batches(
    examples: Examples,
    batch_size: int,
    *,
    resolution: float,
    grid: float,
    description: DatasetDescription,
) -> tf.data.Dataset:
    """Every example once, in the order of `examples`, without augmentation.

    All batches have the same static shape: the last is filled up with the first example again, at
    weight 0.

    Returns:
        Dataset of (image float32 [batch_size, *voxels, channels] in [0, 1], label float32
        [batch_size], weight float32 [batch_size]).

    Raises:
        ValueError: the grid is coarser than the crops or no whole part of their spacing.
    """
    num_batches = -(-len(examples) // batch_size)
    indices = np.zeros(num_batches * batch_size, np.int64)
    indices[: len(examples)] = np.arange(len(examples))
    weights = np.zeros(num_batches * batch_size, np.float32)
    weights[: len(examples)] = 1.0
    columns: Columns = {
        "index": indices.reshape(-1, batch_size),
        "label": examples.labels[indices].astype(np.float32).reshape(-1, batch_size),
        "weight": weights.reshape(-1, batch_size),
    }
    render = _renderer(examples, resolution=resolution, grid=grid, description=description)
    return _dataset(columns, render)


def _check_budget(global_batch_size: int, start: int, budget_examples: int) -> None:
    if global_batch_size < 1:
        raise ValueError(f"expected a global batch size of at least 1, got {global_batch_size}")
    for name, value in (("budget_examples", budget_examples), ("start", start)):
        if value % global_batch_size:
            nearest = max(round(value / global_batch_size), 1) * global_batch_size
            raise ValueError(
                f"expected {name} to be a multiple of the global batch size {global_batch_size}, "
                f"got {value}; the nearest multiple is {nearest}"
            )
    if not 0 <= start <= budget_examples:
        raise ValueError(f"expected 0 <= start <= budget_examples = {budget_examples}, got {start}")


def _batches_at(
    positions: np.ndarray,
    examples: Examples,
    *,
    seed: int,
    render: Renderer,
    augment: bool,
    description: DatasetDescription,
    tile_split: int,
) -> tf.data.Dataset:
    """The batches whose rows stand at `positions`, int64 [num_batches, batch_size]."""
    if not positions.size:
        raise ValueError("expected budget_examples above start, got no example left to see")
    start = int(positions.min())
    count = int(positions.max()) + 1 - start
    rows = positions - start
    order = example_indices(len(examples), seed=seed, start=start, count=count)
    indices = order[rows]
    columns: Columns = {
        "index": indices,
        "label": examples.labels[indices].astype(np.float32),
        "weight": np.ones(positions.shape, np.float32),
    }
    draws = None
    if augment:
        spatial_dims = examples.images.ndim - 2
        draws = draw_transforms(seed=seed, start=start, count=count, spatial_dims=spatial_dims)
        columns |= {
            "exchange": draws.exchange[rows],
            "flips": draws.flips[rows],
            "shifts": draws.shifts[rows],
        }
    if tile_split:
        of_tiles = labels_of_tiles(
            examples, order, draws, split=tile_split, description=description
        )
        columns["label"] = of_tiles[rows]
    return _dataset(columns, render)


def _renderer(
    examples: Examples, *, resolution: float, grid: float, description: DatasetDescription
) -> Renderer:
    """The function that turns one batch of columns into images, labels and weights."""
    native = crop_grid(description, resolution)
    expected = (*native, description.num_channels)
    if examples.images.shape[1:] != expected:
        raise ValueError(
            f"expected crops of shape {expected} for {description.name} at {resolution:g} "
            f"{description.unit}, got {examples.images.shape[1:]}"
        )
    voxels = crop_grid(description, grid)
    if any(fine % coarse for fine, coarse in zip(voxels, native, strict=True)):
        raise ValueError(
            f"expected a grid of {resolution:g} {description.unit} or a whole part of it, got "
            f"{grid:g} {description.unit}"
        )
    voxels_per_shift = round(description.coarsest / resolution)
    low, high = description.intensity_window
    images = _tensor_in_place(examples.images)

    def render(columns: dict[str, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        crops = tf.gather(images, columns["index"])
        if "exchange" in columns:
            crops = transform_crops(
                crops,
                columns["exchange"],
                columns["flips"],
                columns["shifts"],
                voxels_per_shift=voxels_per_shift,
            )
        scaled = (tf.cast(crops, tf.float32) - low) * (1.0 / (high - low))
        # Clipped before it is upsampled, so that the control gets what the coarse arm gets.
        image = upsample(tf.clip_by_value(scaled, 0.0, 1.0), voxels)
        return image, tf.cast(columns["label"], tf.float32), columns["weight"]

    return render


def _tensor_in_place(images: np.ndarray) -> tf.Tensor:
    """The array as a CPU tensor, sharing its memory where the alignment allows it.

    A captured eager tensor is an input of the graph; a constant in it would end at 2 GB. Where
    memory cannot be shared, `tf.constant` makes two copies more and keeps them.
    """
    if images.ctypes.data % ALIGNMENT_BYTES == 0 and images.flags.c_contiguous:
        return tf.experimental.dlpack.from_dlpack(images.__dlpack__())
    with tf.device("CPU:0"):
        return tf.constant(images)


def _dataset(columns: Columns, render: Renderer) -> tf.data.Dataset:
    options = tf.data.Options()
    options.deterministic = True
    # One thread beside the training step's; autotuning would take the cores that train.
    options.autotune.enabled = False
    options.threading.private_threadpool_size = 1
    # There is nothing to fuse, and rewriting the graph would copy the captured images for a while.
    options.experimental_optimization.apply_default_optimizations = False
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
    with tf.device("CPU:0"):
        dataset = tf.data.Dataset.from_tensor_slices(columns)
    # Nothing to convert, and a killed process would leave converted code in its temporary folder.
    render = tf.autograph.experimental.do_not_convert(render)
    return dataset.map(render).prefetch(_NUM_PREFETCHED).with_options(options)
