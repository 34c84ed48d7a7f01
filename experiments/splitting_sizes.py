"""How large the study of splitting is on each dataset."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from mlp_med.studies.pilot import PilotDesign


@dataclass(frozen=True, kw_only=True)
class SplittingSize:
    """One size of the study on one dataset.

    Attributes:
        resolution: of every arm, in the dataset's unit.
        model: preset of `mlp_med.models.presets`.
        learning_rate: where there is no pilot; the pilot's grid otherwise.
        budget_examples: images seen, by every arm.
        splits: tiles along each axis, the larger tiles first.
        micro_batches: parts of a batch of whole fields, each of as many voxels as a batch of the
            larger tiles.
        stream_tile: edge in voxels of the tiles that the streamed arm runs its stages in.
        fractions: of the training set, that the whole field is trained on as well.
        target_auc: on validation data, whose time is claimed of.
        margin_auc, margin_time: of the claims, each in its metric's units.
        pilot: what the pilot tries; None where nothing is claimed.
        no_verdict_reason: why this size claims nothing, or None.
        on_phantom: what is otherwise on drawn scans, by name.
    """

    resolution: float
    model: str
    learning_rate: float
    global_batch_size: int = 16
    budget_examples: int
    num_evaluations: int
    splits: tuple[int, int] = (2, 4)
    micro_batches: int = 8
    stream_tile: int
    fractions: tuple[float, ...] = (0.25, 0.5)
    target_auc: float
    num_seeds: int = 5
    margin_auc: float = 0.01
    margin_time: float = 0.05
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

    def on(self, *, phantom: bool, num_training: int | None = None) -> "SplittingSize":
        """This size on drawn or on real scans, however many fields there are to train on."""
        return replace(self, **self.on_phantom, on_phantom={}) if phantom else self


# An average over all of the field: its centre would be the centre of no tile.
SIZES: Mapping[str, Mapping[str, SplittingSize]] = {
    "luna16_fields": {
        "smoke": SplittingSize(
            resolution=2.5,
            model="residual_small",
            learning_rate=3e-3,
            budget_examples=640,
            num_evaluations=2,
            stream_tile=8,
            fractions=(0.5,),
            target_auc=0.55,
            num_seeds=2,
            augment=False,
            no_verdict_reason="the smoke size trains too little to claim anything",
        ),
        # On two cores.
        "small": SplittingSize(
            resolution=2.5,
            model="residual_small",
            learning_rate=4e-3,
            budget_examples=6_400,
            num_evaluations=16,
            stream_tile=8,
            target_auc=0.75,
            pilot=PilotDesign(learning_rates=(1e-3, 4e-3, 1.6e-2), most_budget_examples=None),
            on_phantom={
                # 20 test patients do not hold a margin of 0.01.
                "margin_auc": 0.02,
                # Single runs on validation data, 9,600 images: with it the whole field still rises
                # at the end, to an AUC of 0.87; without it, it has 0.88 by half of them, and 0.90.
                "augment": False,
            },
        ),
        # Meant for a GPU, and not tried.
        "full": SplittingSize(
            resolution=0.625,
            model="residual",
            learning_rate=1e-3,
            global_batch_size=32,
            budget_examples=192_000,
            num_evaluations=40,
            stream_tile=32,
            target_auc=0.8,
            cross_validated=True,
            intra_op_threads=2,
            pilot=PilotDesign(learning_rates=(2.5e-4, 1e-3, 4e-3), most_budget_examples=None),
        ),
    }
}
