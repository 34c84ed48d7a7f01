"""How sharp a minimum is: how much the loss can rise within a small box around the weights.

φ is metric 2.1 of Keskar et al. (ICLR 2017, arXiv:1609.04836): the largest loss in a box of half
width ε(|x| + 1) about the weights x, minus the loss f at x, over 1 + f, times 100; in all
directions or in a random subspace, found by ten iterations of L-BFGS-B. What the paper leaves open
is settled so: the search starts at a random place in the box, since at a minimum there is no
gradient to follow; the subspace is spanned by vectors of independent standard normal entries; and
the search runs in units of the box, with the loss scaled so that nine in ten entries of the first
gradient lead to a wall of the box in one step. Scaled to the steepest instead, ten iterations find
0.77 to 0.94 of a quadratic's φ.

φ is not invariant under changes of scale. Where a ReLU or a normalisation lets one layer's weights
be multiplied and another's divided without changing what the network computes, the box about them
changes, and φ with it: any minimum can be made to look sharp (Dinh et al., ICML 2017,
arXiv:1703.04933). Beside it stands the same rise in a box of half width ρ|x|, which is scaled as
the weights are: adaptive sharpness (Kwon et al., ICML 2021, arXiv:2102.11600).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize

EPSILONS = (1e-3, 5e-4)
NUM_DIRECTIONS = 100
NUM_ITERATIONS = 10
ADAPTIVE_RADIUS = 1e-2  # ρ, a share of each weight

# From flat weights, float64 [num_weights], to the loss and its gradient there.
Objective = Callable[[np.ndarray], tuple[float, np.ndarray]]


@dataclass(frozen=True)
class Sharpness:
    """Rises of the loss, each over 1 + f and in per cent.

    Attributes:
        full: φ in all directions, by ε.
        subspace: φ in a random subspace, by ε.
        adaptive: in the box of half width ρ|x|.
        loss: f, at the weights themselves.
    """

    full: dict[float, float]
    subspace: dict[float, float]
    adaptive: float
    loss: float


def measure_sharpness(objective: Objective, weights: np.ndarray, *, seed: int) -> Sharpness:
    """Every figure of one minimum: about a hundred passes over what the objective is the loss of.

    Args:
        objective: of the full training set, without augmentation.
        weights: float64 [num_weights], at the minimum.
        seed: of the starts and of the subspace.
    """
    directions = random_directions(len(weights), seed=seed)
    return Sharpness(
        full={e: keskar_sharpness(objective, weights, e, seed=seed) for e in EPSILONS},
        subspace={
            e: keskar_sharpness(objective, weights, e, directions=directions, seed=seed)
            for e in EPSILONS
        },
        adaptive=adaptive_sharpness(objective, weights, ADAPTIVE_RADIUS, seed=seed),
        loss=objective(weights)[0],
    )


def keskar_sharpness(
    objective: Objective,
    weights: np.ndarray,
    epsilon: float,
    *,
    directions: np.ndarray | None = None,
    seed: int,
) -> float:
    """φ, in per cent.

    Args:
        objective: the loss and its gradient.
        weights: x, float64 [num_weights].
        epsilon: ε.
        directions: A, [num_weights, num_directions], whose columns span the subspace; None for all
            directions. The box is then about A⁺x, in the coordinates of the columns.
        seed: of the start.
    """
    if directions is None:
        return _relative_rise(objective, weights, epsilon * (np.abs(weights) + 1), None, seed)
    coordinates = np.linalg.lstsq(directions, weights, rcond=None)[0]
    half_widths = epsilon * (np.abs(coordinates) + 1)
    return _relative_rise(objective, weights, half_widths, directions, seed)


def adaptive_sharpness(
    objective: Objective, weights: np.ndarray, radius: float, *, seed: int
) -> float:
    """The rise in the box of half width radius·|x|, over 1 + f, in per cent."""
    return _relative_rise(objective, weights, radius * np.abs(weights), None, seed)


def random_directions(num_weights: int, *, seed: int) -> np.ndarray:
    """A random subspace's columns, [num_weights, NUM_DIRECTIONS or num_weights if fewer]."""
    shape = (num_weights, min(NUM_DIRECTIONS, num_weights))
    return np.random.default_rng(seed).standard_normal(shape)


def _relative_rise(
    objective: Objective,
    weights: np.ndarray,
    half_widths: np.ndarray,
    directions: np.ndarray | None,
    seed: int,
) -> float:
    def risen(place: np.ndarray) -> tuple[float, np.ndarray]:
        """Loss and gradient at a place of the box [−1, 1]^p."""
        moved = half_widths * place
        step = moved if directions is None else directions @ moved
        value, gradient = objective(weights + step)
        along = gradient if directions is None else directions.T @ gradient
        return value, half_widths * along

    loss = objective(weights)[0]
    return 100 * max(0.0, _largest(risen, len(half_widths), seed) - loss) / (1 + loss)


def _largest(function: Objective, num_coordinates: int, seed: int) -> float:
    """The largest value that the search meets in the box [−1, 1]^p."""
    start = np.random.default_rng(seed + 1).uniform(-1, 1, num_coordinates)
    value, gradient = function(start)
    slopes = np.abs(gradient[gradient != 0])
    if not len(slopes):
        return value
    gentle = float(np.quantile(slopes, 0.1))
    found = minimize(
        lambda place: tuple(-part / gentle for part in function(place)),
        start,
        jac=True,
        method="L-BFGS-B",
        bounds=[(-1.0, 1.0)] * num_coordinates,
        # No tolerance: it is the number of iterations that is published.
        options={"maxiter": NUM_ITERATIONS, "ftol": 0.0, "gtol": 0.0},
    )
    return max(value, -float(found.fun) * gentle)
