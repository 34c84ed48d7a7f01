"""One process of test_distribution.py: trains a small network and keeps what came of it.

    python -m tests.training.distribution_worker OUT STREAM_TILES NUM_REPLICAS…

Of tiles, as 0,6, 0 voxels mean none, and batch norm. Trains once for each of them and each number
of replicas; under TF_CONFIG the cluster decides and the number only names the result. Logical
devices and clusters must be made before TensorFlow starts, so that these cannot be fixtures of the
test's own process.
"""

import os
import sys
from pathlib import Path

import numpy as np
import tensorflow as tf

from mlp_med.models.residual import build_model
from mlp_med.pipelines.batches import distributed_training_batches
from mlp_med.pipelines.datasets import LUNA16
from mlp_med.training.evaluation import Evaluation
from mlp_med.training.loop import fit
from mlp_med.training.strategy import make_strategy
from tests.pipelines.crops import random_examples

GLOBAL_BATCH_SIZE = 8
BUDGET_EXAMPLES = 64


def batches(strategy: tf.distribute.Strategy) -> tf.distribute.DistributedDataset:
    return distributed_training_batches(
        strategy,
        random_examples(LUNA16, 5.0, 40),
        global_batch_size=GLOBAL_BATCH_SIZE,
        seed=1,
        start=0,
        budget_examples=BUDGET_EXAMPLES,
        resolution=5.0,
        grid=5.0,
        description=LUNA16,
        augment=True,
    )


def images_seen_here(strategy: tf.distribute.Strategy) -> np.ndarray:
    """What this process's replicas are fed: [steps, local share of the batch, …]."""
    steps = [strategy.experimental_local_results(image) for image, _, _ in batches(strategy)]
    return np.stack([np.concatenate([part.numpy() for part in parts]) for parts in steps])


def train(strategy: tf.distribute.Strategy, stream_tile: int) -> dict[str, np.ndarray]:
    norm = "none" if stream_tile else "batch"
    with strategy.scope():
        model = build_model(
            spatial_dims=3,
            num_channels=1,
            widths=(4, 8),
            norm=norm,
            stream_tile=stream_tile,
            seed=2,
        )
    result = {"images": images_seen_here(strategy)}
    result |= {f"initial/{v.path}": v.numpy() for v in model.variables}
    history = fit(
        model,
        strategy,
        batches(strategy),
        lambda: Evaluation(auc=0.5, loss=0.5),
        budget_examples=BUDGET_EXAMPLES,
        global_batch_size=GLOBAL_BATCH_SIZE,
        learning_rate=1e-2,
        num_evaluations=1,
        steps_per_call=4,
    )
    result |= {f"final/{v.path}": v.numpy() for v in model.variables}
    result["losses"] = np.array([point.loss for point in history.training])
    return result


def main(out: Path, stream_tiles: list[int], numbers_of_replicas: list[int]) -> None:
    in_cluster = "TF_CONFIG" in os.environ
    # The largest first: the logical devices cannot be made later.
    for num_replicas in sorted(numbers_of_replicas, reverse=True):
        strategy = make_strategy(None if in_cluster else num_replicas)
        for tile in stream_tiles:
            np.savez(out / f"{num_replicas}-{tile}.npz", **train(strategy, tile))


if __name__ == "__main__":
    main(
        Path(sys.argv[1]),
        [int(tile) for tile in sys.argv[2].split(",")],
        [int(argument) for argument in sys.argv[3:]],
    )
