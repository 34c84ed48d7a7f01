"""Whether an arm was still rising when its budget ended: then its AUC says little of its worth.

The rule, on the validation curves: a seed's rise is the mean AUC of the budget's last quarter minus
that of the quarter before. The arm is still rising if the mean rise over its seeds is more than
twice its standard error over the seeds, and more than half the claim's default margin, below which
more training could hardly turn a verdict. With one seed only the second condition is asked.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np

from mlp_med.errors import EvidenceError

STANDARD_ERRORS = 2.0
SMALLEST_RISE = 0.005
Curve = Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Convergence:
    """The end of an arm's validation curves.

    Attributes:
        rise: mean over seeds of (last quarter − the quarter before), in AUC; None where a quarter
            holds no evaluation.
        standard_error: of the rise over seeds; None with one seed.
        rising: None where it cannot be judged.
    """

    rise: float | None
    standard_error: float | None
    rising: bool | None


def judge_convergence(
    curves: Mapping[int, Curve], smallest_rise: float = SMALLEST_RISE
) -> Convergence:
    """Applies the rule to one arm.

    Args:
        curves: by seed, (examples seen, validation AUC) in any order; examples seen > 0 at the end.
        smallest_rise: a mean rise up to this is not called one.

    Raises:
        EvidenceError: no curve, or a curve without finite values.
    """
    if not curves:
        raise EvidenceError("An arm without validation curves cannot be judged; rerun its cells.")
    rises = [_rise(seed, curve) for seed, curve in curves.items()]
    known = [rise for rise in rises if rise is not None]
    if len(known) < len(rises):
        return Convergence(None, None, None)
    mean = float(np.mean(known))
    if len(known) == 1:
        return Convergence(mean, None, mean > smallest_rise)
    error = float(np.std(known, ddof=1)) / sqrt(len(known))
    return Convergence(mean, error, mean > max(smallest_rise, STANDARD_ERRORS * error))


def _rise(seed: int, curve: Curve) -> float | None:
    points = np.asarray(curve, np.float64).reshape(-1, 2)
    if not len(points) or not np.isfinite(points).all():
        raise EvidenceError(
            f"Seed {seed}: a validation curve needs finite (examples seen, AUC) pairs; "
            f"{len(points)} came."
        )
    share = points[:, 0] / points[:, 0].max()
    last, before = share > 0.75, (share > 0.5) & (share <= 0.75)
    if not before.any():
        return None
    return float(points[last, 1].mean() - points[before, 1].mean())
