"""How large the study of batch size is on each dataset."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from mlp_med.pipelines.datasets import DatasetDescription
from mlp_med.studies.pilot import PilotDesign

SHARE_OF_LARGE = 0.1  # of the training set: what Keskar et al. call a large batch


@dataclass(frozen=True, kw_only=True)
class BatchSize:
    """One size of the study on one dataset.

    Attributes:
        resolution: of every arm, in the dataset's unit.
        model: preset of `mlp_med.models.presets`.
        learning_rate: where there is no pilot; the pilot's grid otherwise.
        batches: that see equal examples, beside that of 10 % of the training set.
        batches_of_steps: that take equally many steps, beside it.
        batches_of_norms: that are also trained with group norm and with none.
        budget_examples, budget_steps: of either budget; no batch has the same by both.
        training_loss: at which the arms of claims (c) and (d) stop.
        most_examples: within which they must reach it.
        most_evaluations: of theirs: they stop at one, so it is how nearly their losses agree.
        target_auc: on validation data, whose time claim (b) is about.
        margin_auc, margin_time, margin_log_sharpness: of the claims, each in its metric's units.
        large_batch: 10 % of the training set, once `on` has been told how large that is.
        pilot: what the pilot tries; None where nothing is claimed.
        no_verdict_reason: why this size claims nothing, or None.
        on_phantom: what is otherwise on drawn scans, by name.
    """

    resolution: float
    model: str
    learning_rate: float
    batches: tuple[int, ...] = (1, 2, 4, 8, 16, 32, 64, 128)
    batches_of_steps: tuple[int, ...] = (1, 2, 4, 8, 16, 32, 64, 128)
    batches_of_norms: tuple[int, ...] = (2, 32)
    budget_examples: int
    budget_steps: int
    num_evaluations: int
    training_loss: float
    most_examples: int
    most_evaluations: int
    target_auc: float
    num_seeds: int = 5
    margin_auc: float = 0.01
    margin_time: float = 0.05
    margin_log_sharpness: float = 0.25
    large_batch: int = 256
    augment: bool = True
    intra_op_threads: int = 1
    cross_validated: bool = False
    pilot: PilotDesign | None = None
    no_verdict_reason: str | None = None
    on_phantom: Mapping[str, Any] = field(default_factory=dict, hash=False)

    @property
    def resolutions(self) -> tuple[float, ...]:
        """That the dataset must be built at."""
        return (self.resolution,)

    def on(self, *, phantom: bool, num_training: int | None = None) -> "BatchSize":
        """This size on drawn or on real scans, with a training set of so many crops."""
        size = replace(self, **self.on_phantom, on_phantom={}) if phantom else self
        if num_training is None:
            return size
        return replace(size, large_batch=max(1, round(SHARE_OF_LARGE * num_training)))


SMOKE = BatchSize(
    resolution=5.0,
    model="residual_small_centre",
    learning_rate=3e-3,
    batches=(2, 32),
    batches_of_steps=(2, 32),
    batches_of_norms=(2,),
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
