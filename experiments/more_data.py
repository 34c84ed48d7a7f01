"""Would more training data do instead of finer resolution?

Question.  A finer crop costs memory, another patient costs a label. Which buys more?
Claim.     Trained on half of the patients, a network that sees the finest crops ranks test cases
           better, by more than the margin, than the same network that sees the coarsest crops
           upsampled to the same grid, trained on all of them: finer resolution is then worth more
           than twice the patients.
Beside it. What twice the patients bring either of the two, and the resolution at equal patients.
Arms.      The finest crops and the coarsest, upsampled, each trained on ⅛, ¼, ½ and all of the
           training set, in whole patients, of which each seed draws its own. On real data also the
           controls of `resolution_matters`.
Pilot.     That of `resolution_matters`: an arm of fewer patients takes over the learning rate and
           the budget of the arm of all. It then sees each case more often, so that what its budget
           has brought all patients, it has brought fewer of them too.

    make more-data                                 CT phantom, about 45 minutes on 2 cores
    mlp-med study run more_data --dataset metastasis_patches --source /path/to/kaggle
"""

from dataclasses import replace
from fractions import Fraction

from experiments import resolution_matters
from experiments.sizes import SIZES as SIZES  # the same data, networks and budgets
from experiments.sizes import Size
from experiments.table_sizes import sizes_for_table as sizes_for_table
from mlp_med.evidence.claim import METRICS, Claim, Metric
from mlp_med.studies.arm import Arm, arm_name, own_controls

NAME = "more_data"
QUESTION = "Would more training data do instead of finer resolution?"
PILOT_OF = resolution_matters.NAME  # whose pilot holds here too: recorded, or in the ledger
FRACTIONS = (0.125, 0.25, 0.5, 1.0)
HALF = 0.5


def claim(size: Size, unit: str, *, phantom: bool, metric: Metric = "auc") -> Claim:
    """The claim, its contrasts and its rule, written before the run; see `resolution_matters`."""
    finest, coarsest = size.primary
    fine, upsampled = arm_name(finest, finest, unit), arm_name(coarsest, finest, unit)
    fine_half, upsampled_half = fraction_name(fine, HALF), fraction_name(upsampled, HALF)
    controls = own_controls(_coarse(size, unit))
    return Claim(
        question=QUESTION,
        statement=(
            f"trained on half of the patients, {finest:g} {unit} has a test {METRICS[metric]} that "
            f"exceeds that of {coarsest:g} {unit} upsampled to the same grid, trained on all of "
            f"them, by more than {size.margin_auc:g}"
        ),
        metric=metric,
        margin=size.margin_auc,
        primary=(fine_half, upsampled),
        secondary={
            "resolution, all patients": (fine, upsampled),
            "twice the patients, finest": (fine, fine_half),
            "twice the patients, coarsest": (upsampled, upsampled_half),
        },
        a_a=None if phantom else (_coarse(size, unit).name, controls[0].name),
        permuted=None if phantom else controls[1].name,
    )


def arms(size: Size, unit: str, *, phantom: bool) -> list[Arm]:
    """Finest and coarsest upsampled, by the fraction of the training set; the study's controls."""
    finest, coarsest = size.primary
    names = {arm_name(finest, finest, unit), arm_name(coarsest, finest, unit)}
    every = resolution_matters.arms(size, unit, phantom=phantom)
    whole = [arm for arm in every if arm.name in names]
    parts = [
        replace(
            arm,
            name=fraction_name(arm.name, fraction),
            training_fraction=fraction,
            settings_of=arm.name,
        )
        for arm in whole
        for fraction in FRACTIONS
        if fraction < 1
    ]
    if phantom:
        return [*whole, *parts]
    coarse = _coarse(size, unit)
    return [*whole, *parts, coarse, *own_controls(coarse)]


def fraction_name(arm: str, fraction: float) -> str:
    """Names an arm by its share of the training set, e.g. "1.25mm, 1/8 of the patients"."""
    return f"{arm}, {Fraction(fraction).limit_denominator(64)} of the patients"


def _coarse(size: Size, unit: str) -> Arm:
    """The native coarsest arm, the quickest to train, which the study's own controls repeat."""
    name = arm_name(size.primary[1], size.primary[1], unit)
    return next(
        arm for arm in resolution_matters.arms(size, unit, phantom=True) if arm.name == name
    )
