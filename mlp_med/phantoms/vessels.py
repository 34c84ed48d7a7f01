"""Branching vessel trees that fill a lung and taper by Murray's law."""

import numpy as np

from mlp_med.phantoms.tubes import Tubes, join_tubes

# Σ r^x is kept at every branching; Murray's x is 3, pulmonary arteries are measured a little below
# (Huang et al., "Morphometry of the human pulmonary vasculature", J. Appl. Physiol. 81, 1996).
MURRAY_EXPONENT = 2.8
LEAF_RADIUS_MM = 0.38
# A branch runs this share of the way to the middle of what it supplies, then divides.
STEP_SHARE = 0.42


def grow_tree(rng: np.random.Generator, root_mm: np.ndarray, leaves_mm: np.ndarray) -> Tubes:
    """A tree from `root_mm` [3] to every one of `leaves_mm` [n, 3].

    Each branch heads for the centroid of the leaves that it supplies and divides them in two
    across their widest direction (after Tawhai et al., "Generation of an anatomically based
    three-dimensional model of the conducting airways", Ann. Biomed. Eng. 28, 2000), all branches
    of one generation at once.
    """
    points = leaves_mm
    owner = np.zeros(len(points), int)
    tips = root_mm[None].copy()
    parts = []
    while len(points):
        num_branches = len(tips)
        supplied = np.bincount(owner, minlength=num_branches)
        centroids = _sums(owner, points, num_branches) / supplied[:, None]
        share = np.where(supplied == 1, 0.95, STEP_SHARE)[:, None]
        ends = tips + share * (centroids - tips)
        radii = LEAF_RADIUS_MM * supplied ** (1 / MURRAY_EXPONENT)
        parts.append(_bent_branches(rng, tips, ends, radii))

        growing = supplied[owner] > 1
        points, owner = points[growing], owner[growing]
        offsets = points - centroids[owner]
        products = (offsets[:, :, None] * offsets[:, None, :]).reshape(-1, 9)
        scatter = _sums(owner, products, num_branches).reshape(-1, 3, 3)
        widest = np.linalg.eigh(scatter)[1][:, :, 2]
        position = np.einsum("ij,ij->i", offsets, widest[owner])
        order = np.lexsort((position, owner))
        points, owner = points[order], owner[order]
        rank = np.arange(len(owner)) - np.searchsorted(owner, owner)
        child = owner * 2 + (rank >= supplied[owner] // 2)
        kept, owner = np.unique(child, return_inverse=True)
        tips = ends[kept // 2]
    return join_tubes(parts)


def _sums(owner: np.ndarray, values: np.ndarray, num_owners: int) -> np.ndarray:
    columns = [np.bincount(owner, column, num_owners) for column in values.T]
    return np.stack(columns, axis=1)


def _bent_branches(
    rng: np.random.Generator, starts: np.ndarray, ends: np.ndarray, radii: np.ndarray
) -> Tubes:
    """Each branch in two halves, with a slight bend, a little thinner towards its end."""
    length = np.linalg.norm(ends - starts, axis=1, keepdims=True)
    middles = (starts + ends) / 2 + rng.normal(size=starts.shape) * 0.06 * length
    density = np.ones(len(radii))
    first = Tubes(starts, middles, radii, radii * 0.95, density)
    second = Tubes(middles, ends, radii * 0.95, radii * 0.9, density)
    return join_tubes([first, second])
