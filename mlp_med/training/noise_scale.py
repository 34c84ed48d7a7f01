"""The gradient noise scale: an estimate of the batch beyond which larger ones are wasted.

McCandlish et al. (2018, arXiv:1812.06162): the gradient of a batch of B examples has the mean G and
the covariance Σ/B. Its simple noise scale is tr Σ / |G|². Well below it a step of twice the batch
does the work of two; well above, that of one. Both parts are estimated without bias from the
square norms of gradients of two batch sizes (their appendix A.1), here of batches and of the whole
set that they make up. G shrinks as training goes on, so the scale grows. It is that of plain
gradient descent; what Adam makes of its gradients is not in it.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class GradientNoise:
    """The two parts of the noise scale at one moment of training.

    Attributes:
        signal: estimate of |G|²; negative where it is lost in the noise.
        noise: estimate of tr Σ, of single examples.
    """

    signal: float
    noise: float


def estimate_noise(gradients: Iterable[np.ndarray], batch_size: int) -> GradientNoise:
    """From the mean gradients of equally large batches that share no example.

    Args:
        gradients: at least two, each [num_weights].
        batch_size: examples in each.

    Raises:
        ValueError: fewer than two gradients, or no example in a batch.
    """
    total, squares, number = np.zeros(()), 0.0, 0
    for gradient in gradients:
        exact = np.asarray(gradient, np.float64)
        total = total + exact
        squares += float(exact @ exact)
        number += 1
    if number < 2 or batch_size < 1:
        raise ValueError(
            f"expected at least two batches of at least one example, got {number} of {batch_size}"
        )
    of_batches = squares / number
    of_all = float(total @ total) / number**2
    all_size = number * batch_size
    return GradientNoise(
        signal=(all_size * of_all - batch_size * of_batches) / (all_size - batch_size),
        noise=(of_batches - of_all) / (1 / batch_size - 1 / all_size),
    )


def critical_batch(moments: Iterable[GradientNoise]) -> float | None:
    """The ratio of the two parts, each averaged first, since they are unbiased apart.

    None where no signal stands out of the noise.
    """
    parts = [(moment.signal, moment.noise) for moment in moments]
    signal, noise = (sum(values) for values in zip(*parts, strict=True)) if parts else (0.0, 0.0)
    return noise / signal if signal > 0 else None
