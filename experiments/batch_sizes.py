"""How large the study of batch size is on each dataset."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Self

from experiments.sizes import OneResolutionSize
from mlp_med.pipelines.datasets import DatasetDescription
from mlp_med.studies.pilot import PilotDesign

SHARE_OF_LARGE = 0.1  # of the training set: what Keskar et al. call a large batch


@dataclass(frozen=True, kw_only=True)
class BatchSize(OneResolutionSize):
    """One size of the study on one dataset; no batch has the same budget by both.

    Attributes:
        batches: that see equal examples, beside that of 10 % of the training set.
        batches_of_steps: that take equally many steps, beside it.
        batches_of_norms: that are also trained with group norm and with none.
        budget_steps: of those that take equally many.
        training_loss: at which the arms of claims (c) and (d) stop.
        most_examples: within which they must reach it.
        most_evaluations: of theirs: they stop at one, so it is how nearly their losses agree.
        margin_log_sharpness: of claim (d).
        large_batch: 10 % of the training set, once `on` has been told how large that is.
    """

    batches: tuple[int, ...] = (1, 2, 4, 8, 16, 32, 64, 128)
    batches_of_steps: tuple[int, ...] = (1, 2, 4, 8, 16, 32, 64, 128)
    batches_of_norms: tuple[int, ...] = (2, 32)
    budget_steps: int
    training_loss: float
    most_examples: int
    most_evaluations: int
    margin_log_sharpness: float = 0.25
    large_batch: int = 256

    def on(self, *, phantom: bool, num_training: int | None = None) -> Self:
        """This size on drawn or on real scans, with a training set of so many crops."""
        size = super().on(phantom=phantom)
        if num_training is None:
            return size
        return replace(size, large_batch=max(1, round(SHARE_OF_LARGE * num_training)))


SMOKE = BatchSize(
    resolution=5.0,
    model="residual_small_centre",
    learning_rate=3e-3,
    batches=(2, 32),
    batches_of_steps=(2, 32),
    budget_examples=256,
    budget_steps=4,
    num_evaluations=2,
    training_loss=0.65,
    most_examples=1_024,
    most_evaluations=4,
    target_auc=0.55,
    num_seeds=2,
    augment=False,
    no_verdict_reason="the smoke size trains too little to claim anything",
)
# On two cores; the full size is meant for a GPU and has not been tried.
SMALL = BatchSize(
    resolution=5.0,
    model="residual_small_centre",
    learning_rate=4e-3,
    batches_of_steps=(1, 4, 32),
    budget_examples=6_400,
    budget_steps=250,
    num_evaluations=10,
    training_loss=0.3,
    most_examples=128_000,
    most_evaluations=64,
    # In the phantom's pilot the best batch of 1 to 4 validated at 0.635 and the best larger one at
    # 0.702: both can get there. A batch of 280 reached the training loss after 50,000 examples.
    target_auc=0.6,
    pilot=PilotDesign(learning_rates=(1e-3, 4e-3, 1.6e-2), most_budget_examples=None),
    on_phantom={"margin_auc": 0.02, "augment": False},
)
FULL = replace(
    SMALL,
    model="residual_centre",
    learning_rate=1e-3,
    batches_of_steps=(1, 2, 4, 8, 16, 32, 64, 128),
    batches_of_norms=(1, 2, 4, 32),
    budget_examples=192_000,
    budget_steps=5_000,
    num_evaluations=40,
    training_loss=0.1,
    most_examples=1_920_000,
    most_evaluations=200,
    target_auc=0.8,
    intra_op_threads=2,
    pilot=PilotDesign(learning_rates=(2.5e-4, 1e-3, 4e-3), most_budget_examples=None),
    on_phantom={},
)
SIZES: Mapping[str, Mapping[str, BatchSize]] = {
    "luna16": {"smoke": SMOKE, "small": SMALL, "full": replace(FULL, resolution=1.25)},
    "metastasis_patches": {
        "smoke": replace(SMOKE, resolution=7.76),
        "small": replace(
            SMALL, resolution=3.88, budget_examples=12_800, augment=False, target_auc=0.75
        ),
        "full": replace(FULL, resolution=0.97),
    },
}


def sizes_for_table(description: DatasetDescription) -> Mapping[str, BatchSize]:
    """Smoke, small and full size on a user's own scans: the coarsest resolution, full the finest.

    Args:
        description: `mlp_med.pipelines.datasets.describe("table", data_dir)`.
    """
    pooling = "_centre" if description.label_at_centre else ""
    finest, coarsest = min(description.resolutions), max(description.resolutions)
    return {
        "smoke": replace(SMOKE, resolution=coarsest, model=f"residual_small{pooling}"),
        "small": replace(SMALL, resolution=coarsest, model=f"residual_small{pooling}"),
        "full": replace(FULL, resolution=finest, model=f"residual{pooling}"),
    }
