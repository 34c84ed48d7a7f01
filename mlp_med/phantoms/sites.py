"""Where findings lie and how they look, decided before it is decided which are nodules.

Everything here is blind to the label: place, size, contrast, haze, the vessels that come and go.
What is left to tell a nodule from a mimic is its shape.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from mlp_med.phantoms.anatomy import Chest
from mlp_med.phantoms.distribution import draw_diameters
from mlp_med.phantoms.nodules import unit_vectors
from mlp_med.phantoms.tubes import Tubes

# A field of 40 mm around any centre should lie within the scan's slices.
END_MARGIN_MM = 21.0
# Half the diagonal of the centre third of a 40 mm field, plus the localisation jitter.
OWN_GROUND_MM = 13.0
PLEURAL_SHARE = 0.2
HAZY_SHARE = 0.12
# Where vessels meet, how many arms run off.
ARMS = {"crossing": 4, "bifurcation": 3, "short vessel": 2}
ARRANGEMENT_SHARES = (0.4, 0.35, 0.25)
THICK_VESSEL_MM = 1.4


@dataclass(frozen=True)
class Site:
    """One place for a finding. Lengths in mm, positions [3] in scan millimetres."""

    centre_mm: np.ndarray
    diameter_mm: float
    inward: np.ndarray | None  # the direction away from the pleura, where the site lies on it
    density: float  # 1 is ordinary soft tissue
    haze: float | None  # density of the part that is not solid, in hazy findings
    arrangement: str
    arm_directions: np.ndarray
    arm_radii_mm: np.ndarray
    arm_lengths_mm: np.ndarray


def draw_sites(
    rng: np.random.Generator,
    chest: Chest,
    vessels: Tubes,
    extent_mm: tuple[float, float, float],
    num_sites: int,
    draw_sizes: Callable[[np.random.Generator, int], np.ndarray] = draw_diameters,
) -> list[Site]:
    """Up to `num_sites` sites in the lungs, far enough apart, in random order.

    Fewer come back where the lungs have no room left. `draw_sizes` gives that many diameters in mm.
    """
    low = np.array([0, 0, END_MARGIN_MM])
    high = np.array(extent_mm) - low
    points = rng.uniform(low, high, (20_000, 3))
    depth = chest.lung_depth(points)
    points, depth = points[depth > 1.5], depth[depth > 1.5]
    thick = vessels.start_radius_mm > THICK_VESSEL_MM
    trunks = (vessels.start_mm[thick] + vessels.end_mm[thick]) / 2
    trunk_radii = vessels.start_radius_mm[thick]

    sites: list[Site] = []
    for diameter in np.sort(draw_sizes(rng, num_sites))[::-1]:
        pleural = rng.uniform() < PLEURAL_SHARE
        for attempt in rng.integers(len(points), size=60):
            centre = _settle(rng, chest, points[attempt], depth[attempt], diameter, pleural)
            if centre is None or np.any(centre < low) or np.any(centre > high):
                continue
            if _is_free(centre, diameter, sites, trunks, trunk_radii):
                sites.append(_furnish(rng, chest, centre, float(diameter), pleural))
                break
    return [sites[index] for index in rng.permutation(len(sites))]


def _settle(
    rng: np.random.Generator,
    chest: Chest,
    point: np.ndarray,
    depth: float,
    diameter: float,
    pleural: bool,
) -> np.ndarray | None:
    """Moves a random point to the pleura, or keeps it if it is deep enough in the lung."""
    if not pleural:
        return point if depth > 0.5 * diameter + 2 else None
    if depth > 12:
        return None
    wanted = diameter * rng.uniform(0.25, 0.4)
    for _ in range(3):
        here = float(chest.lung_depth(point[None])[0])
        point = point + (wanted - here) * chest.inward(point[None])[0]
    return point if abs(float(chest.lung_depth(point[None])[0]) - wanted) < 0.7 else None


def _is_free(
    centre: np.ndarray,
    diameter: float,
    sites: list[Site],
    trunks: np.ndarray,
    trunk_radii: np.ndarray,
) -> bool:
    for site in sites:
        reach = 0.9 * max(diameter, site.diameter_mm)
        if np.linalg.norm(site.centre_mm - centre) < OWN_GROUND_MM + reach:
            return False
    gaps = np.linalg.norm(trunks - centre, axis=1) - trunk_radii
    return bool(np.all(gaps > 0.5 * diameter + 2.5))


def _furnish(
    rng: np.random.Generator, chest: Chest, centre: np.ndarray, diameter: float, pleural: bool
) -> Site:
    arrangement = str(rng.choice(list(ARMS), p=ARRANGEMENT_SHARES))
    num_arms = ARMS[arrangement]
    return Site(
        centre_mm=centre,
        diameter_mm=diameter,
        inward=chest.inward(centre[None])[0] if pleural else None,
        density=float(np.clip(rng.normal(1.0, 0.035), 0.9, 1.1)),
        haze=float(rng.uniform(0.3, 0.5)) if rng.uniform() < HAZY_SHARE else None,
        arrangement=arrangement,
        arm_directions=_arm_directions(rng, arrangement),
        arm_radii_mm=rng.uniform(0.5, 0.9, num_arms) * (1 + 0.02 * diameter),
        arm_lengths_mm=rng.uniform(12, 22, num_arms),
    )


def _arm_directions(rng: np.random.Generator, arrangement: str) -> np.ndarray:
    """Unit vectors from the meeting point: two straight vessels, one that forks, or one."""
    main = unit_vectors(rng, 1)[0]
    across = np.cross(main, unit_vectors(rng, 1)[0])
    across /= np.linalg.norm(across)
    if arrangement == "crossing":
        angle = rng.uniform(0.28, 0.5) * np.pi
        other = np.cos(angle) * main + np.sin(angle) * across
        arms = np.stack([main, -main, other, -other])
    elif arrangement == "bifurcation":
        left, right = rng.uniform(0.45, 1.0, 2)
        arms = np.stack(
            [
                -main,
                np.cos(left) * main + np.sin(left) * across,
                np.cos(right) * main - np.sin(right) * across,
            ]
        )
    else:
        bend = rng.uniform(0, 0.9)
        arms = np.stack([-main, np.cos(bend) * main + np.sin(bend) * across])
    return arms
