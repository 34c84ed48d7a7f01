"""Does resolution matter, or only the size of the grid that the network computes on?

Question.  Medical images are shrunk so that they fit into memory. What does that cost?
Claim.     A network that sees the finest crops ranks test cases better, by more than a margin of
           AUC, than the same network that sees the coarsest crops upsampled to the same grid.
           Same weights, same compute, same memory: only the information differs.
Beside it. Upsampled minus native coarse is what compute and grid do; finest minus native coarse
           is what a user sees. If only that last one exceeds the margin: "grid, not information".
Arms.      Every resolution, and the coarsest upsampled to the finest grid; each by every seed. On
           real data also two controls of the study's own: the coarsest arm again under other seeds
           (A/A), and the coarsest arm trained on permuted labels.
Pilot.     Each arm has a learning rate of its own, chosen on validation data before the seeds are
           spent, and all arms one budget, at which a pilot with twice the budget must bring less
           than half the margin. The phantom's is recorded in experiments/pilots/; re-make it with
           `make pilot`. On any other data the pilot runs first, and its cells are in the ledger.
Patients.  Whole patients are in one split. The test split is read once.

    make study                                     CT phantom, small, ≤20 minutes on 2 cores
    make resolution SOURCE=/path/to/LUNA16         LUNA16, full
    mlp-med study run resolution_matters --dataset metastasis_patches --source /path/to/kaggle
"""

from experiments.sizes import SIZES as SIZES
from experiments.sizes import Size
from experiments.table_sizes import sizes_for_table as sizes_for_table
from mlp_med.evidence.claim import AS_USED, COMPUTE, METRICS, Claim, Metric
from mlp_med.studies.arm import Arm, arm_name, own_controls
from mlp_med.studies.cell import Control

NAME = "resolution_matters"
QUESTION = "Does finer resolution raise the test AUC, or only the finer grid?"
PILOT_COMMANDS = {
    "luna16": "make pilot",
    "camelyon16": "make slides-pilot",
    "cbis_ddsm_crops": "make mammography-pilot",
    "breast_screening": "make screening-pilot",
}


def claim(size: Size, unit: str, *, phantom: bool, metric: Metric = "auc") -> Claim:
    """The claim, its contrasts and its rule, written before the run.

    Args:
        size: of the study.
        unit: of its resolutions.
        phantom: whether the scans are drawn.
        metric: "auc", or "macro_auc" where the dataset has more than two classes.
    """
    finest, coarsest = size.primary
    fine = arm_name(finest, finest, unit)
    upsampled = arm_name(coarsest, finest, unit)
    coarse = arm_name(coarsest, coarsest, unit)
    return Claim(
        question=QUESTION,
        statement=(
            f"the test {METRICS[metric]} at {finest:g} {unit} exceeds that at {coarsest:g} {unit} "
            f"upsampled to the same grid by more than {size.margin_auc:g}"
        ),
        metric=metric,
        margin=size.margin_auc,
        primary=(fine, upsampled),
        secondary={COMPUTE: (upsampled, coarse), AS_USED: (fine, coarse)},
        a_a=None if phantom else (coarse, f"{coarse}, other seeds"),
        permuted=None if phantom else f"{coarse}, permuted labels",
    )


def arms(size: Size, unit: str, *, phantom: bool) -> list[Arm]:
    """Every resolution on its own grid, the information control, and on real data its controls."""
    finest, coarsest = size.primary
    grids: list[tuple[float, float, Control]] = [(r, r, "none") for r in size.resolutions]
    grids.append((coarsest, finest, "information"))
    compared = [
        size.arm(
            arm_name(resolution, grid, unit),
            resolution=resolution,
            grid=grid,
            control=control,
            global_batch_size=size.global_batch_size,
        )
        for resolution, grid, control in grids
    ]
    if phantom:
        return compared
    coarse = next(arm for arm in compared if arm.resolution == arm.grid == coarsest)
    return [*compared, *own_controls(coarse)]
