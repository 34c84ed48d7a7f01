"""A training step fed by the input pipeline beside one on a batch that is in memory.

    python benchmarks/input_time.py --threads 1 --out build/bench/input_time.json

For each resolution of CT crops and of patches the same network takes steps on batches that the
pipeline gathers, augments, scales and (for the information control) upsamples meanwhile, and on one
batch again and again. Blocks of both come in turns; their ratio is what input costs.
"""

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
import tensorflow as tf

from mlp_med.cores import available_cores
from mlp_med.models.presets import preset_arguments
from mlp_med.models.residual import build_model
from mlp_med.pipelines.arrays import Examples
from mlp_med.pipelines.batches import training_batches
from mlp_med.pipelines.datasets import (
    LUNA16,
    METASTASIS_PATCHES,
    DatasetDescription,
    crop_grid,
)
from mlp_med.processor import processor_name
from mlp_med.training.precision import default_precision
from mlp_med.training.step import compile_training_steps
from mlp_med.training.strategy import make_strategy
from mlp_med.training.threads import configure_threads

NUM_EXAMPLES = 512
SECONDS_A_BLOCK = 2.0
MAX_STEPS = 100_000


def examples_of_noise(description: DatasetDescription, resolution: float) -> Examples:
    """Crops whose content does not matter, as they lie in memory while a cell trains."""
    grid = crop_grid(description, resolution)
    shape = (NUM_EXAMPLES, *grid, description.num_channels)
    dtype = np.int16 if description.spatial_dims == 3 else np.uint8
    images = np.random.default_rng(0).integers(0, 255, shape, dtype)
    names = np.array([str(index) for index in range(NUM_EXAMPLES)])
    labels = (np.arange(NUM_EXAMPLES) % 2).astype(np.int64)
    return Examples(images=images, labels=labels, ids=names, patients=names, strata={}, digest="")


def steps_on(batches: tf.data.Dataset, arguments: argparse.Namespace, **network: Any) -> Callable:
    """A function that takes so many optimiser steps on `batches`."""
    strategy = make_strategy()
    with strategy.scope():
        model = build_model(**preset_arguments(arguments.model), **network)
    return compile_training_steps(
        model,
        strategy,
        iter(strategy.experimental_distribute_dataset(batches)),
        num_steps=MAX_STEPS,
        global_batch_size=arguments.batch_size,
        learning_rate=1e-3,
        weight_decay=0.0,
        warmup_fraction=0.05,
        accumulation_steps=1,
    )


def compare(
    description: DatasetDescription, resolution: float, grid: float, arguments: argparse.Namespace
) -> dict[str, Any]:
    """Median seconds of a fed and of a resident step, and the median of their ratios by block."""
    fed = training_batches(
        examples_of_noise(description, resolution),
        global_batch_size=arguments.batch_size,
        seed=0,
        start=0,
        budget_examples=MAX_STEPS * arguments.batch_size,
        resolution=resolution,
        grid=grid,
        description=description,
        augment=True,
    )
    resident = fed.take(1).cache().repeat()
    network = {"spatial_dims": description.spatial_dims, "num_channels": description.num_channels}
    sides = [steps_on(batches, arguments, **network) for batches in (fed, resident)]
    first = [_seconds(side, 2) for side in sides]  # slower: buffers are made
    count = max(1, round(SECONDS_A_BLOCK / min(first)))
    blocks = [[_seconds(side, count) for side in sides] for _ in range(arguments.blocks)]
    return {
        "fed": statistics.median(fed for fed, _ in blocks),
        "resident": statistics.median(resident for _, resident in blocks),
        "ratio": statistics.median(fed / resident for fed, resident in blocks),
        "steps_a_block": count,
    }


def _seconds(steps: Callable[[int], float], count: int) -> float:
    began = time.perf_counter()
    steps(count)
    return (time.perf_counter() - began) / count


def main() -> None:
    """Measures, prints a table, and writes JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="residual_small_centre")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--threads", type=int, default=available_cores())
    parser.add_argument("--blocks", type=int, default=7)
    parser.add_argument("--precision", help="the faster one if absent")
    parser.add_argument("--out", type=Path, help="where to write the figures as JSON")
    arguments = parser.parse_args()
    configure_threads(arguments.threads)
    widths = preset_arguments(arguments.model)["widths"]
    arguments.precision = arguments.precision or default_precision(min(widths))
    keras.config.set_dtype_policy(arguments.precision)
    results = {}
    for description in (LUNA16, METASTASIS_PATCHES):
        finest, coarsest = description.finest, description.coarsest
        grids = [(r, r) for r in description.resolutions] + [(coarsest, finest)]
        for resolution, grid in grids:
            upsampled = f" upsampled to {grid:g}" if grid < resolution else ""
            name = f"{description.name} {resolution:g}{description.unit}{upsampled}"
            results[name] = row = compare(description, resolution, grid, arguments)
            print(
                f"{name:45} fed {row['fed'] * 1e3:8.2f} ms  resident {row['resident'] * 1e3:8.2f} "
                f"ms  ratio {row['ratio']:.3f}",
                flush=True,
            )
    if arguments.out is not None:
        context = {"processor": processor_name(), **vars(arguments), "out": str(arguments.out)}
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.write_text(json.dumps({**context, "results": results}, indent=2) + "\n")


if __name__ == "__main__":
    main()
