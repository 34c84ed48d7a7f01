"""What is measured of a cell that trains down to a training loss: when, and at what a minimum.

Arms whose budgets would leave them at different training losses are compared at the same one, which
each reaches in its own time. The loss is that of the whole training split, without augmentation and
normalised by recorded statistics; so are the sharpness of the minimum and the gradient noise scale
on the way there.
"""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import keras
import pandas as pd

from mlp_med.models.presets import preset_arguments
from mlp_med.models.residual import build_model
from mlp_med.pipelines.arrays import Examples
from mlp_med.pipelines.batches import evaluation_batches, training_batches
from mlp_med.pipelines.datasets import DatasetDescription
from mlp_med.studies.cell import Cell
from mlp_med.training.evaluation import evaluate_logits
from mlp_med.training.noise_scale import GradientNoise, critical_batch, estimate_noise
from mlp_med.training.objective import SetObjective
from mlp_med.training.predict import make_scorer
from mlp_med.training.sharpness import measure_sharpness

VOXELS_AT_ONCE = 2**18  # in a pass over the training split: about what a training step holds
NOISE_BATCH_SIZE = 32  # of the gradients whose spread is the noise


class Minimum:
    """Follows a cell down to its training loss.

    Args:
        cell: with `stop_at_training_loss` above 0.
        model: that is being trained.
        num_extra_stages: of the model.
        training: the training split.
        description: of the dataset.
    """

    def __init__(
        self,
        cell: Cell,
        model: keras.Model,
        num_extra_stages: int,
        training: Examples,
        description: DatasetDescription,
    ):
        self._cell, self._model, self._labels = cell, model, training.labels
        # A copy of one device and of float32, in which small differences of the loss can be told.
        self._copy = _copy(cell, num_extra_stages, description)
        self._batches = evaluation_batches(
            training,
            min(max(1, VOXELS_AT_ONCE // training.images[0].size), len(training)),
            resolution=cell.resolution,
            grid=cell.grid,
            description=description,
        )
        self._noise_batch_size = max(1, min(NOISE_BATCH_SIZE, len(training) // 2))
        # In an order of chance, since a patient's crops lie side by side in the split.
        self._shuffled = training_batches(
            training,
            global_batch_size=self._noise_batch_size,
            seed=cell.seed_for("noise scale"),
            start=0,
            budget_examples=len(training) // self._noise_batch_size * self._noise_batch_size,
            resolution=cell.resolution,
            grid=cell.grid,
            description=description,
            augment=False,
        )
        self._score = make_scorer(self._copy)
        self._noisy = SetObjective(self._copy, self._shuffled)
        self.losses: list[float] = []
        self.noise: list[GradientNoise] = []

    def is_reached(self) -> bool:
        """Whether the model as it is has the training loss; notes it and the gradient's noise."""
        self._copy.set_weights(self._model.get_weights())
        self.losses.append(evaluate_logits(self._score(self._batches), self._labels).loss)
        self.noise.append(estimate_noise(self._noisy.batch_gradients(), self._noise_batch_size))
        return self.losses[-1] <= self._cell.stop_at_training_loss

    def to_plain(self) -> dict[str, Any]:
        """What was noted so far, for a checkpoint."""
        return {"losses": self.losses, "noise": [asdict(moment) for moment in self.noise]}

    def restore(self, plain: Mapping[str, Any]) -> None:
        """Goes on from a checkpoint."""
        self.losses = list(plain["losses"])
        self.noise = [GradientNoise(**moment) for moment in plain["noise"]]

    def figures(self) -> dict[str, float]:
        """Sharpness of the weights where training stopped, and the critical batch on the way."""
        objective = SetObjective(self._copy, self._batches)
        seed = self._cell.seed_for("sharpness")
        found = measure_sharpness(objective, objective.weights, seed=seed)
        figures = {
            "final_training_loss": self.losses[-1],
            "reached_training_loss": float(self.losses[-1] <= self._cell.stop_at_training_loss),
            "sharpness_adaptive": found.adaptive,
        }
        for kind, by_epsilon in (("full", found.full), ("subspace", found.subspace)):
            figures |= {f"sharpness_{kind}_{e:g}": phi for e, phi in by_epsilon.items()}
        if (critical := critical_batch(self.noise)) is not None:
            figures["critical_batch"] = critical
        return figures

    def curve(self, examples_seen: list[int]) -> pd.DataFrame:
        """Training loss and both parts of the noise at these evaluations."""
        return pd.DataFrame(
            {
                "examples_seen": examples_seen,
                "whole_training_loss": self.losses,
                "gradient_signal": [moment.signal for moment in self.noise],
                "gradient_noise": [moment.noise for moment in self.noise],
            }
        )


def _copy(cell: Cell, num_extra_stages: int, description: DatasetDescription) -> keras.Model:
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float32")
    try:
        return build_model(
            spatial_dims=description.spatial_dims,
            num_channels=description.num_channels,
            num_extra_stages=num_extra_stages,
            norm=cell.norm,
            recompute=False,
            **preset_arguments(cell.model),
        )
    finally:
        keras.config.set_dtype_policy(policy)
