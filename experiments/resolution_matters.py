"""Does resolution matter, or only the size of the grid that the network computes on?

Question.  Medical images are shrunk so that they fit into memory. What does that cost?
Claim.     A network that sees the finest crops ranks test cases better, by more than a margin of
           AUC, than the same network that sees the coarsest crops upsampled to the same grid.
           Same weights, same compute, same memory: only the information differs.
Beside it. Upsampled minus native coarse is what compute and grid do; finest minus native coarse
           is what a user sees. If only that last one exceeds the margin: "grid, not information".
Arms.      Every resolution, and the coarsest upsampled to the finest grid; each by every seed.
Patients.  Whole patients are in one split. The test split is read once.

    make study                                     CT phantom, small, ≤20 minutes on 2 cores
    make resolution SOURCE=/path/to/LUNA16         LUNA16, full
    mlp-med study run resolution_matters --dataset metastasis_patches --source /path/to/kaggle
"""

from collections.abc import Mapping
from dataclasses import dataclass

from mlp_med.evidence.claim import AS_USED, COMPUTE, Claim
from mlp_med.studies.arm import Arm, arm_name
from mlp_med.studies.cell import Control

NAME = "resolution_matters"
QUESTION = "Does finer resolution raise the test AUC, or only the finer grid?"
MARGIN_AUC = 0.01


@dataclass(frozen=True, kw_only=True)
class Size:
    """One size of the study on one dataset.

    Attributes:
        resolutions: mm a voxel (µm a pixel), finest first. The claim compares `primary`.
        primary: the finest and the coarsest resolution that the claim speaks of.
        model: preset of `mlp_med.models.presets`.
        num_seeds: seeds an arm.
        no_verdict_reason: why this size claims nothing, or None.
    """

    resolutions: tuple[float, ...]
    primary: tuple[float, float]
    model: str
    global_batch_size: int
    learning_rate: float
    budget_examples: int
    num_evaluations: int
    num_seeds: int
    intra_op_threads: int = 1
    no_verdict_reason: str | None = None


SIZES: Mapping[str, Mapping[str, Size]] = {
    "luna16": {
        "smoke": Size(
            resolutions=(1.25, 5.0),
            primary=(1.25, 5.0),
            model="residual_small",
            global_batch_size=16,
            learning_rate=3e-3,
            budget_examples=640,
            num_evaluations=2,
            num_seeds=2,
            no_verdict_reason="the smoke size trains too little to claim anything",
        ),
        "small": Size(
            resolutions=(1.25, 2.5, 5.0),
            primary=(1.25, 5.0),
            model="residual_small",
            global_batch_size=16,
            learning_rate=4e-3,
            budget_examples=24_000,
            num_evaluations=8,
            num_seeds=5,
        ),
        "full": Size(
            resolutions=(0.625, 1.25, 2.5, 5.0),
            primary=(1.25, 5.0),
            model="residual",
            global_batch_size=32,
            learning_rate=1e-3,
            budget_examples=192_000,
            num_evaluations=20,
            num_seeds=10,
            intra_op_threads=2,
        ),
    },
    "metastasis_patches": {
        "smoke": Size(
            resolutions=(1.94, 7.76),
            primary=(1.94, 7.76),
            model="residual_small",
            global_batch_size=32,
            learning_rate=3e-3,
            budget_examples=640,
            num_evaluations=2,
            num_seeds=2,
            no_verdict_reason="the smoke size trains too little to claim anything",
        ),
        "small": Size(
            resolutions=(0.97, 1.94, 3.88, 7.76),
            primary=(0.97, 7.76),
            model="residual_small",
            global_batch_size=32,
            learning_rate=3e-3,
            budget_examples=24_000,
            num_evaluations=10,
            num_seeds=5,
        ),
        "full": Size(
            resolutions=(0.97, 1.94, 3.88, 7.76),
            primary=(0.97, 7.76),
            model="residual",
            global_batch_size=64,
            learning_rate=1e-3,
            budget_examples=1_920_000,
            num_evaluations=20,
            num_seeds=10,
            intra_op_threads=2,
        ),
    },
}


def claim(size: Size, unit: str) -> Claim:
    """The claim, its contrasts and its rule, written before the run."""
    finest, coarsest = size.primary
    fine = arm_name(finest, finest, unit)
    upsampled = arm_name(coarsest, finest, unit)
    coarse = arm_name(coarsest, coarsest, unit)
    return Claim(
        question=QUESTION,
        statement=(
            f"the test AUC at {finest:g} {unit} exceeds that at {coarsest:g} {unit} upsampled to "
            f"the same grid by more than {MARGIN_AUC:g}"
        ),
        metric="auc",
        margin=MARGIN_AUC,
        primary=(fine, upsampled),
        secondary={COMPUTE: (upsampled, coarse), AS_USED: (fine, coarse)},
    )


def arms(size: Size, unit: str) -> list[Arm]:
    """Every resolution on its own grid, and the information control."""
    finest, coarsest = size.primary
    grids: list[tuple[float, float, Control]] = [(r, r, "none") for r in size.resolutions]
    grids.append((coarsest, finest, "information"))
    return [
        Arm(
            name=arm_name(resolution, grid, unit),
            resolution=resolution,
            grid=grid,
            control=control,
            model=size.model,
            global_batch_size=size.global_batch_size,
            learning_rate=size.learning_rate,
            budget_examples=size.budget_examples,
            num_evaluations=size.num_evaluations,
            intra_op_threads=size.intra_op_threads,
        )
        for resolution, grid, control in grids
    ]
