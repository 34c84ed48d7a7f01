"""What is taken for a nodule and is none: vessels that cross, fork or run short, pleural ridges."""

import numpy as np

from mlp_med.phantoms.nodules import unit_vectors
from mlp_med.phantoms.sites import Site
from mlp_med.phantoms.tubes import Tubes, join_tubes, tubes_along

# The share of a ball's volume that a mimic of its diameter gets; see `core_radius`.
VOLUME_SHARE = 1.0
# The thick part of an arm, in multiples of its radius; then it thins out over TAPER of that.
ASPECT_RANGE = {"crossing": (4.0, 6.0), "bifurcation": (4.5, 6.5), "short vessel": (5.0, 8.0)}
TAPER = 0.5
# Vessels that pass a nodule are thicker by this than the outer arms of a mimic, whose inner arms
# are thick too: the surroundings of both then hold as much vessel.
PASSING_CALIBRE = 1.4
POINTS_PER_ARM = 9


def draw_mimic(rng: np.random.Generator, site: Site) -> tuple[Tubes, str]:
    """The tubes of a mimic at a site and its name.

    Its volume near the centre is that of a ball of the site's diameter, whatever its shape.
    """
    if site.inward is not None:
        return _pleural_ridge(rng, site), "pleural ridge"
    aspect = rng.uniform(*ASPECT_RANGE[site.arrangement])
    radius = core_radius(site.diameter_mm, len(site.arm_directions), aspect)
    # At a fork the parent is thicker: r³ is kept (Murray).
    forks = site.arrangement == "bifurcation"
    shares = np.array([1.2, 0.95, 0.95]) if forks else np.ones(len(site.arm_directions))
    # Crossing vessels touch or nearly so; they do not run through each other.
    apart = np.zeros(3)
    if site.arrangement == "crossing":
        normal = np.cross(site.arm_directions[0], site.arm_directions[2])
        apart = normal / np.linalg.norm(normal) * radius * rng.uniform(0.3, 0.9)
    parts = []
    for index, share in enumerate(shares):
        side = apart if index < 2 else -apart
        parts.append(_arm(rng, site, index, site.centre_mm + side, radius * share, aspect))
    return join_tubes(parts), site.arrangement


def core_radius(diameter_mm: float, num_arms: int, aspect: float) -> float:
    """The arm radius at which all arms together have the volume of a ball of `diameter_mm`.

    An arm is a cylinder of length aspect · r and a cone-like taper, whose mean cross-section is
    about 0.4 of it; where they meet they share about a ball.
    """
    volume_in_cubed_radii = num_arms * np.pi * aspect * (1 + 0.4 * TAPER) - 4 * np.pi / 3
    volume = VOLUME_SHARE * np.pi / 6 * diameter_mm**3
    return float((volume / volume_in_cubed_radii) ** (1 / 3))


def passing_vessels(rng: np.random.Generator, site: Site) -> Tubes:
    """The arms of a site whose centre is a nodule: some feed it, the others pass by its side."""
    parts = []
    for index, direction in enumerate(site.arm_directions):
        feeds = rng.uniform() < 0.4
        beside = np.cross(direction, unit_vectors(rng, 1)[0])
        beside /= np.linalg.norm(beside)
        gap = site.arm_radii_mm[index] * PASSING_CALIBRE + rng.uniform(0.5, 3.5)
        offset = np.zeros(3) if feeds else beside * (0.55 * site.diameter_mm + gap) - direction * 4
        parts.append(_arm(rng, site, index, site.centre_mm + offset, None, 0.0))
    return join_tubes(parts)


def _arm(
    rng: np.random.Generator,
    site: Site,
    index: int,
    start: np.ndarray,
    core: float | None,
    aspect: float,
) -> Tubes:
    """One arm from `start` outwards: `core` thick at first, then an ordinary thinning vessel."""
    outer = site.arm_radii_mm[index] * (PASSING_CALIBRE if core is None else 1)
    thick_length = 0.0 if core is None else core * aspect
    taper_length = thick_length * TAPER
    length = max(0.5 * site.diameter_mm, thick_length + taper_length) + site.arm_lengths_mm[index]
    along = length * np.linspace(0, 1, POINTS_PER_ARM) ** 1.3
    bend = np.cross(site.arm_directions[index], unit_vectors(rng, 1)[0]) * rng.uniform(0, 0.35)
    points = start + along[:, None] * site.arm_directions[index]
    points = points + (along**2 / length)[:, None] * bend
    radii = outer + (0.3 - outer) * (along / length) ** 1.5
    if core is not None:
        fade = np.clip((along - thick_length) / taper_length, 0, 1)
        radii = np.maximum(radii, core + (radii - core) * fade)
    return tubes_along(points, radii * rng.uniform(0.9, 1.1, POINTS_PER_ARM))


def _pleural_ridge(rng: np.random.Generator, site: Site) -> Tubes:
    """A thickening that runs along the pleura, as scars and folds do."""
    assert site.inward is not None
    aspect = rng.uniform(*ASPECT_RANGE["short vessel"])
    radius = core_radius(site.diameter_mm, 2, aspect)
    along = np.cross(site.inward, unit_vectors(rng, 1)[0])
    along /= np.linalg.norm(along)
    half = radius * aspect * (1 + 0.5 * TAPER)
    steps = np.linspace(-half, half, 9)
    # The ends sink into the wall, as the pleura curves.
    points = site.centre_mm + steps[:, None] * along
    points = points - (steps**2 / half * rng.uniform(0.05, 0.3))[:, None] * site.inward
    radii = radius * np.clip(1.6 - 1.3 * np.abs(steps) / half, 0.3, 1)
    ridge = tubes_along(points, radii)
    foot = tubes_along(points - 0.7 * radius * site.inward, radii)
    return join_tubes([ridge, foot])
