"""Weights that take samples at one spacing to samples at another without aliasing.

One matrix an axis: a row holds the weights of the native samples for one output sample. The kernel
is Lanczos-3 (Duchon 1979, "Lanczos filtering in one and two dimensions", J. Appl. Meteorol. 18),
scaled to the coarser of the two spacings, so that it interpolates when the output is finer and is a
low-pass at the output's Nyquist limit when it is coarser. It halves the amplitude at that limit and
leaves under 1 % from 1.4 times the limit on.
"""

import numpy as np

LOBES = 3


def resampling_weights(
    positions: np.ndarray, scale: float, num_samples: int, *, edge: str = "constant"
) -> tuple[int, np.ndarray]:
    """Weights of native samples for output samples.

    Each row sums to 1 and has its first moment at the output's position, so that a constant stays
    the same constant and a linear ramp the same ramp, at any spacing.

    Args:
        positions: float64 [num_outputs], where the output samples lie, in native samples from
            native sample 0; they may lie outside.
        scale: width of the kernel in native samples: max(native spacing, output spacing) over
            native spacing, so never below 1.
        num_samples: how many native samples there are.
        edge: what lies outside them. "constant": samples of value 0, whose columns are left out (a
            row near the edge then sums to less than 1). "none": nothing; the rows are corrected
            over the samples that exist, so a ramp stays a ramp up to the edge.

    Returns:
        `first` and `weights`: float64 [num_outputs, num_columns], column `c` belonging to native
        sample `first + c`. Samples that no output needs have no column; there may be none.

    Raises:
        ValueError: a scale below 1, or an unknown edge.
    """
    if scale < 1:
        raise ValueError(f"expected a kernel of at least one native sample, found scale = {scale}")
    if edge not in ("constant", "none"):
        raise ValueError(f'expected edge "constant" or "none", found {edge!r}')
    reach = LOBES * scale
    first = int(np.floor(positions.min() - reach))
    last = int(np.ceil(positions.max() + reach))
    if edge == "none":
        first, last = max(first, 0), min(last, num_samples - 1)
    samples = np.arange(first, last + 1)
    weights = _corrected(samples[None, :] - np.asarray(positions)[:, None], scale)
    inside = (samples >= 0) & (samples < num_samples)
    return (int(samples[inside][0]) if inside.any() else 0), weights[:, inside]


def _corrected(distances: np.ndarray, scale: float) -> np.ndarray:
    """Lanczos weights at `distances` [rows, samples], given sum 1 and first moment 0.

    The small correction is a tilted tent under the whole kernel: the kernel's own second moment is
    nearly zero, so tilting the kernel itself would be ill-conditioned.
    """
    t = distances / scale
    tent = np.clip(1 - np.abs(t) / LOBES, 0, None)
    weights = np.where(tent > 0, np.sinc(t) * np.sinc(t / LOBES), 0.0)
    weights /= weights.sum(axis=1, keepdims=True)
    moment = (weights * t).sum(axis=1)
    tent_0, tent_1, tent_2 = ((tent * t**power).sum(axis=1) for power in range(3))
    # Solve a·tent_0 + b·tent_1 = 0 and a·tent_1 + b·tent_2 = −moment for the tent a + b·t.
    determinant = tent_0 * tent_2 - tent_1**2
    level = moment * tent_1 / determinant
    tilt = -moment * tent_0 / determinant
    return weights + tent * (level[:, None] + tilt[:, None] * t)
