"""How large a study of resolution is on each dataset: resolutions, network, budget, seeds, pilot.

Smoke runs the chain and claims nothing; small is for two cores and minutes to an hour; full is what
the data deserve. A margin, a budget or a number of seeds is fixed here before anything trains.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self

from mlp_med.studies.arm import Arm
from mlp_med.studies.pilot import PilotDesign


@dataclass(frozen=True, kw_only=True)
class StudySize:
    """What one size of any study on one dataset states.

    Attributes:
        model: preset of `mlp_med.models.presets`.
        learning_rate: where there is no pilot; the pilot's grid otherwise.
        budget_examples: training examples seen by an arm; at which a pilot that judges it begins.
        num_evaluations: how often the validation split is scored on the way.
        num_seeds: seeds an arm.
        margin_auc: of the claim: the smallest difference of AUC that would matter.
        cross_validated: every seed trains a network for each fold of the dataset, where it has
            folds, so that all its cases are tested.
        augment: whether training crops are flipped, turned and shifted.
        pilot: what the pilot tries; None where nothing is claimed.
        no_verdict_reason: why this size claims nothing, or None.
        on_phantom: what is otherwise on drawn scans, by name.
    """

    model: str
    learning_rate: float
    budget_examples: int
    num_evaluations: int
    num_seeds: int
    margin_auc: float = 0.01
    cross_validated: bool = False
    augment: bool = True
    intra_op_threads: int = 1
    pilot: PilotDesign | None = None
    no_verdict_reason: str | None = None
    on_phantom: Mapping[str, Any] = field(default_factory=dict, hash=False)

    def on(self, *, phantom: bool, num_training: int | None = None) -> Self:
        """This size on drawn or on real scans, however many crops there are to train on."""
        return replace(self, **self.on_phantom, on_phantom={}) if phantom else self

    def arm(self, name: str, *, resolution: float, global_batch_size: int, **others: Any) -> Arm:
        """An arm of this size, at a native resolution unless `others` say otherwise.

        Args:
            name: see `Arm`, as all that follow.
            resolution: in the dataset's unit.
            global_batch_size: examples a step.
            **others: fields of `Arm`, where they are not this size's or the default.
        """
        of_size = {
            "grid": resolution,
            "control": "none",
            "model": self.model,
            "learning_rate": self.learning_rate,
            "budget_examples": self.budget_examples,
            "num_evaluations": self.num_evaluations,
            "augment": self.augment,
            "intra_op_threads": self.intra_op_threads,
        }
        return Arm(
            name=name,
            resolution=resolution,
            global_batch_size=global_batch_size,
            **{**of_size, **others},
        )


@dataclass(frozen=True, kw_only=True)
class Size(StudySize):
    """One size of the study of resolution on one dataset.

    Attributes:
        resolutions: mm a voxel (µm a pixel), finest first. The claim compares `primary`.
        primary: the finest and the coarsest resolution that the claim speaks of.
        global_batch_size: of every arm.
    """

    resolutions: tuple[float, ...]
    primary: tuple[float, float]
    global_batch_size: int


@dataclass(frozen=True, kw_only=True)
class OneResolutionSize(StudySize):
    """One size of a study whose arms share a resolution, and which claims of time too.

    Attributes:
        resolution: of every arm, in the dataset's unit.
        target_auc: on validation data, whose time is claimed of.
        margin_time: of that claim, a share of the horizon.
    """

    resolution: float
    target_auc: float
    margin_time: float = 0.05
    num_seeds: int = 5

    @property
    def resolutions(self) -> tuple[float, ...]:
        """That the dataset must be built at."""
        return (self.resolution,)


def smoke_size(resolutions: tuple[float, ...], *, model: str, global_batch_size: int) -> Size:
    """The whole chain in a minute or so, on the two resolutions compared; claims nothing."""
    return Size(
        resolutions=resolutions,
        primary=(resolutions[0], resolutions[-1]),
        model=model,
        global_batch_size=global_batch_size,
        learning_rate=3e-3,
        budget_examples=640,
        num_evaluations=2,
        num_seeds=2,
        no_verdict_reason="the smoke size trains too little to claim anything",
    )


SIZES: Mapping[str, Mapping[str, Size]] = {
    "luna16": {
        "smoke": smoke_size((1.25, 5.0), model="residual_small_centre", global_batch_size=16),
        "small": Size(
            resolutions=(1.25, 2.5, 5.0),
            primary=(1.25, 5.0),
            model="residual_small_centre",
            global_batch_size=16,
            learning_rate=4e-3,
            budget_examples=32_000,
            num_evaluations=8,
            num_seeds=5,
            pilot=PilotDesign(
                learning_rates=(1.3e-3, 3.9e-3, 1.17e-2), num_seeds=5, most_budget_examples=512_000
            ),
            on_phantom={
                # At a margin of 0.01 the smallest effect that 20 test patients and 5 seeds detect
                # was 0.03, so such a margin would promise more than they hold.
                "margin_auc": 0.02,
                # With augmentation every doubling of the budget still brings the upsampled arm
                # 0.01 to 0.02, beyond 20 minutes; without it, it soon has what 2,800 crops can
                # teach it.
                "augment": False,
                "pilot": PilotDesign(
                    learning_rates=(1.3e-3, 3.9e-3, 1.17e-2),
                    num_seeds=5,
                    most_budget_examples=32_000,
                ),
            },
        ),
        "full": Size(
            resolutions=(0.625, 1.25, 2.5, 5.0),
            primary=(1.25, 5.0),
            model="residual_centre",
            global_batch_size=32,
            learning_rate=1e-3,
            budget_examples=192_000,
            num_evaluations=20,
            num_seeds=5,
            cross_validated=True,
            intra_op_threads=2,
            pilot=PilotDesign(
                learning_rates=(3e-4, 9e-4, 2.7e-3), num_seeds=5, most_budget_examples=1_536_000
            ),
        ),
    },
    # Whole lungs: a volume at 2 mm is 166 times a crop of luna16 at 1.25 mm, hence blocks of four
    # voxels. On two cores smoke is a matter of minutes and small, with its pilot, of hours; full is
    # meant for a GPU with 80 GB and over 150 GB of main memory, and has not been tried.
    "dsb2017": {
        "smoke": Size(
            resolutions=(2.0, 4.0),
            primary=(2.0, 4.0),
            model="residual_patches",
            global_batch_size=4,
            learning_rate=3e-3,
            budget_examples=48,
            num_evaluations=2,
            num_seeds=2,
            no_verdict_reason="the smoke size trains too little to claim anything",
        ),
        "small": Size(
            resolutions=(2.0, 4.0),
            primary=(2.0, 4.0),
            model="residual_patches",
            global_batch_size=8,
            learning_rate=3e-3,
            budget_examples=8_000,
            num_evaluations=8,
            num_seeds=5,
            pilot=PilotDesign(most_budget_examples=64_000),
        ),
        "full": Size(
            resolutions=(1.0, 2.0, 4.0),
            primary=(1.0, 4.0),
            model="residual",
            global_batch_size=8,
            learning_rate=1e-3,
            budget_examples=16_000,
            num_evaluations=20,
            num_seeds=5,
            intra_op_threads=2,
            pilot=PilotDesign(
                learning_rates=(3e-4, 9e-4, 2.7e-3), num_seeds=5, most_budget_examples=128_000
            ),
        ),
    },
    "cbis_ddsm_crops": {
        "smoke": smoke_size((0.4, 0.8), model="residual_small_centre", global_batch_size=16),
        "small": Size(
            resolutions=(0.2, 0.4, 0.8),
            primary=(0.2, 0.8),
            model="residual_small_centre",
            global_batch_size=16,
            learning_rate=3e-3,
            budget_examples=32_000,
            num_evaluations=8,
            num_seeds=5,
            pilot=PilotDesign(num_seeds=5, most_budget_examples=256_000),
            on_phantom={
                # 30 test patients do not hold a margin of 0.01; for the rest see camelyon16.
                "margin_auc": 0.02,
                "augment": False,
                "budget_examples": 6_400,
                "pilot": PilotDesign(num_seeds=5, most_budget_examples=6_400),
            },
        ),
        "full": Size(
            resolutions=(0.1, 0.2, 0.4, 0.8),
            primary=(0.1, 0.8),
            model="residual_centre",
            global_batch_size=32,
            learning_rate=1e-3,
            budget_examples=192_000,
            num_evaluations=20,
            num_seeds=5,
            intra_op_threads=2,
            pilot=PilotDesign(
                learning_rates=(3e-4, 9e-4, 2.7e-3), num_seeds=5, most_budget_examples=1_536_000
            ),
        ),
    },
    "breast_screening": {
        "smoke": Size(
            resolutions=(0.4, 0.8),
            primary=(0.4, 0.8),
            model="residual_quick_four_views",
            global_batch_size=4,
            learning_rate=3e-3,
            budget_examples=64,
            num_evaluations=2,
            num_seeds=2,
            # A breast is never turned by a quarter, and its chest wall is always at the left.
            augment=False,
            no_verdict_reason="the smoke size trains too little to claim anything",
        ),
        "small": Size(
            resolutions=(0.4, 0.8),
            primary=(0.4, 0.8),
            model="residual_quick_four_views",
            global_batch_size=8,
            learning_rate=3e-3,
            budget_examples=3_200,
            num_evaluations=4,
            num_seeds=5,
            augment=False,
            pilot=PilotDesign(num_seeds=5, most_budget_examples=51_200),
            on_phantom={
                # 40 test exams do not hold a margin of 0.01.
                "margin_auc": 0.02,
                "pilot": PilotDesign(num_seeds=5, most_budget_examples=3_200),
            },
        ),
        "full": Size(
            resolutions=(0.1, 0.2, 0.4, 0.8),
            primary=(0.1, 0.8),
            model="residual_four_views",
            global_batch_size=16,
            learning_rate=1e-3,
            budget_examples=96_000,
            num_evaluations=20,
            num_seeds=5,
            augment=False,
            intra_op_threads=2,
            pilot=PilotDesign(
                learning_rates=(3e-4, 9e-4, 2.7e-3), num_seeds=5, most_budget_examples=768_000
            ),
        ),
    },
    "metastasis_patches": {
        "smoke": smoke_size((1.94, 7.76), model="residual_small_centre", global_batch_size=32),
        "small": Size(
            resolutions=(0.97, 1.94, 3.88, 7.76),
            primary=(0.97, 7.76),
            model="residual_small_centre",
            global_batch_size=32,
            learning_rate=3e-3,
            budget_examples=24_000,
            num_evaluations=10,
            num_seeds=5,
            # With augmentation twice 96,000 examples still bring the upsampled arm 0.015 of AUC
            # and the native one 0.02: hours on two cores. Without it they soon have what a few
            # thousand patches can teach. The full size augments.
            augment=False,
            pilot=PilotDesign(num_seeds=8, most_budget_examples=96_000),
        ),
        "full": Size(
            resolutions=(0.97, 1.94, 3.88, 7.76),
            primary=(0.97, 7.76),
            model="residual_centre",
            global_batch_size=64,
            learning_rate=1e-3,
            budget_examples=1_920_000,
            num_evaluations=20,
            num_seeds=10,
            intra_op_threads=2,
            pilot=PilotDesign(
                learning_rates=(3e-4, 9e-4, 2.7e-3), num_seeds=5, most_budget_examples=7_680_000
            ),
        ),
    },
    "camelyon16": {
        "smoke": smoke_size((0.486, 1.944), model="residual_small_centre", global_batch_size=32),
        "small": Size(
            resolutions=(0.486, 0.972, 1.944),
            primary=(0.486, 1.944),
            model="residual_small_centre",
            global_batch_size=32,
            learning_rate=3e-3,
            budget_examples=24_000,
            num_evaluations=8,
            num_seeds=5,
            pilot=PilotDesign(num_seeds=5, most_budget_examples=384_000),
            on_phantom={
                # 18 test slides do not hold a margin of 0.01; and, as on the CT phantom, without
                # augmentation the arms soon have what so few patches can teach them.
                "margin_auc": 0.02,
                "augment": False,
                "budget_examples": 12_800,
                # At more, make slides takes longer than 20 minutes.
                "pilot": PilotDesign(num_seeds=5, most_budget_examples=25_600),
            },
        ),
        "full": Size(
            resolutions=(0.243, 0.486, 0.972, 1.944),
            primary=(0.243, 0.972),
            model="residual_centre",
            global_batch_size=64,
            learning_rate=1e-3,
            budget_examples=384_000,
            num_evaluations=20,
            num_seeds=5,
            intra_op_threads=2,
            pilot=PilotDesign(
                learning_rates=(3e-4, 9e-4, 2.7e-3), num_seeds=5, most_budget_examples=3_072_000
            ),
        ),
    },
}
