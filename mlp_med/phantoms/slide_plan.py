"""Where everything lies on a drawn slide: tissue, metastases, lumina and nuclei, in µm.

The tissue's own looks (density, size and stain of nuclei, number and size of lumina, stroma) are
drawn over the whole slide without a glance at where the metastases are. A metastasis differs in two
things alone:

- how nuclei stand to a lumen: around most lumina of a metastasis they form the ring of a gland,
  around most others, vessels and sinuses, they stand anyhow; the same nuclei, moved;
- how chromatin lies in a nucleus: most nuclei of a metastasis have one nucleolus, most others
  several specks that absorb as much together.

So no count, colour or brightness tells the classes apart. Both mimics occur in either tissue.
"""

from dataclasses import dataclass, field

import numpy as np
from scipy import ndimage

EDGE_UM = (820.0, 980.0)  # of a slide
TISSUE_RADIUS = (0.42, 0.49)  # of its shorter edge
PIXEL_UM = (0.243, 0.226)  # of the two hospitals' scanners
NUCLEUS_SPACING_UM = 8.4
NUCLEUS_RADIUS_UM = (2.6, 4.0)
NUCLEUS_SHARE = (0.7, 0.98)  # of the sites that hold one
LUMEN_SPACING_UM = 62.0
LUMEN_SHARE = 0.75
LUMEN_RADIUS_UM = (6.5, 12.0)
LUMEN_REACH = (1.75, 2.4)  # radii within which nuclei are moved, and where to at most
GLAND_SHARE = (0.12, 0.8)  # of lumina outside and inside metastases
NUCLEOLUS_SHARE = (0.12, 0.75)  # of nuclei outside and inside metastases
LARGE_LESION_UM = (340.0, 560.0)  # diameters
SMALL_LESION_UM = (110.0, 260.0)
CUT_OUT_SHARE = 0.3  # of large lesions that have an island of other tissue in them
NUM_VERTICES = 90


@dataclass(frozen=True, eq=False)
class Nuclei:
    """One row each; lengths in µm.

    Attributes:
        centre_um: float64 [n, 2], x and y.
        radii_um: float64 [n, 2], half axes.
        angle: of the first axis, radians.
        has_nucleolus: bool [n].
    """

    centre_um: np.ndarray
    radii_um: np.ndarray
    angle: np.ndarray
    has_nucleolus: np.ndarray


@dataclass(frozen=True, eq=False)
class SlidePlan:
    """A slide before it is painted.

    Attributes:
        size_um: (width, height).
        pixel_um: of the scanner.
        tissue: outline float64 [n, 2].
        lesions: outlines of metastases.
        cut_outs: outlines of islands in them.
        lumina: float64 [n, 3], x, y and radius.
        nuclei: all of them.
        stain: strength of haematoxylin and of eosin, and what both hues are turned by.
        texture_seed: of what is painted without a plan: stroma, noise.
    """

    size_um: tuple[float, float]
    pixel_um: float
    tissue: np.ndarray
    lesions: list[np.ndarray]
    cut_outs: list[np.ndarray]
    lumina: np.ndarray
    nuclei: Nuclei
    stain: np.ndarray
    texture_seed: int = field(default=0)


def plan_slide(seed: int, kind: int, number: int, *, has_tumour: bool) -> SlidePlan:
    """The plan of a slide: a pure function of its arguments.

    Args:
        seed: of the phantom.
        kind: of the slide's name, so that normal_001 is another than tumor_001.
        number: in its name.
        has_tumour: whether there are metastases.
    """
    rng = np.random.default_rng([seed, kind, number])
    width, height = rng.uniform(*EDGE_UM, 2)
    pixel_um = PIXEL_UM[int(rng.integers(2))]
    middle = np.array([width, height]) / 2
    tissue = _blob(rng, middle, min(width, height) * rng.uniform(*TISSUE_RADIUS), 0.06)
    stain = np.array([*rng.uniform(0.85, 1.2, 2), *rng.normal(0, 0.03, 2)])
    # Everything above and below is drawn alike for slides with and without metastases.
    lesions, cut_outs = _lesions(np.random.default_rng([seed, kind, number, 1]), tissue, has_tumour)
    lumina = _lumina(rng, (width, height), tissue)
    nuclei = _nuclei(rng, (width, height), tissue, lumina, lesions, cut_outs)
    return SlidePlan(
        (width, height),
        pixel_um,
        tissue,
        lesions,
        cut_outs,
        lumina,
        nuclei,
        stain,
        texture_seed=int(rng.integers(2**31)),
    )


def inside(outline: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Which of the points [n, 2] lie within a closed outline [m, 2]: even-odd rule."""
    x, y = points[:, 0], points[:, 1]
    result = np.zeros(len(points), bool)
    for (x0, y0), (x1, y1) in zip(outline, np.roll(outline, -1, axis=0), strict=True):
        if y0 != y1:
            crosses = (y0 > y) != (y1 > y)
            result ^= crosses & (x < (x1 - x0) * (y - y0) / (y1 - y0) + x0)
    return result


def smooth_field(
    rng: np.random.Generator, size_um: tuple[float, float], scale_um: float, points: np.ndarray
) -> np.ndarray:
    """A random field of unit variance that changes over `scale_um`, at points [n, 2]."""
    shape = [int(np.ceil(edge / scale_um)) + 4 for edge in (size_um[1], size_um[0])]
    grid = rng.standard_normal(shape)
    coordinates = points[:, ::-1].T / scale_um + 1.5
    return ndimage.map_coordinates(grid, coordinates, order=3, mode="nearest")


def _blob(
    rng: np.random.Generator, centre: np.ndarray, radius: float, roughness: float
) -> np.ndarray:
    """A closed outline [NUM_VERTICES, 2] around `centre`, of about that radius."""
    angles = np.linspace(0, 2 * np.pi, NUM_VERTICES, endpoint=False)
    factor = np.ones_like(angles)
    for order in range(2, 7):
        amplitude, phase = roughness * rng.normal() / np.sqrt(order - 1), rng.uniform(0, 2 * np.pi)
        factor += amplitude * np.cos(order * angles + phase)
    ray = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    return centre + ray * (radius * np.clip(factor, 0.6, 1.4))[:, None]


def _lesions(
    rng: np.random.Generator, tissue: np.ndarray, has_tumour: bool
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """One large metastasis and one or two small ones, apart from each other, and their islands."""
    if not has_tumour:
        return [], []
    lesions: list[np.ndarray] = []
    taken: list[tuple[np.ndarray, float]] = []
    cut_outs: list[np.ndarray] = []
    bounds = [LARGE_LESION_UM, *[SMALL_LESION_UM] * int(rng.integers(1, 3))]
    for low, high in bounds:
        radius = rng.uniform(low, high) / 2
        for _ in range(200):
            centre = rng.uniform(tissue.min(axis=0), tissue.max(axis=0))
            outline = _blob(rng, centre, radius, 0.12)
            apart = all(np.hypot(*(centre - c)) > radius + r + 90 for c, r in taken)
            if apart and inside(tissue, outline).all():
                lesions.append(outline)
                taken.append((centre, radius))
                if low == LARGE_LESION_UM[0] and rng.uniform() < CUT_OUT_SHARE:
                    cut_outs.append(_blob(rng, centre, radius * 0.4, 0.08))
                break
    return lesions, cut_outs


def _in_metastasis(
    points: np.ndarray, lesions: list[np.ndarray], cut_outs: list[np.ndarray]
) -> np.ndarray:
    result = np.zeros(len(points), bool)
    for outline in lesions:
        result |= inside(outline, points)
    for outline in cut_outs:
        result &= ~inside(outline, points)
    return result


def _jittered(
    rng: np.random.Generator, size_um: tuple[float, float], spacing: float, jitter: float
) -> np.ndarray:
    """Points [n, 2] about a hexagonal grid, so that few come too near to each other."""
    rows = np.arange(0, size_um[1], spacing * np.sqrt(3) / 2)
    columns = np.arange(0, size_um[0], spacing)
    y, x = np.meshgrid(rows, columns, indexing="ij")
    x = x + (np.arange(len(rows)) % 2)[:, None] * spacing / 2
    points = np.stack([x.ravel(), y.ravel()], axis=1)
    return points + rng.uniform(-jitter, jitter, points.shape) * spacing


def _lumina(
    rng: np.random.Generator, size_um: tuple[float, float], tissue: np.ndarray
) -> np.ndarray:
    points = _jittered(rng, size_um, LUMEN_SPACING_UM, 0.22)
    radii = rng.uniform(*LUMEN_RADIUS_UM, len(points))
    kept = (rng.uniform(size=len(points)) < LUMEN_SHARE) & inside(tissue, points)
    return np.column_stack([points, radii])[kept]


def _nuclei(
    rng: np.random.Generator,
    size_um: tuple[float, float],
    tissue: np.ndarray,
    lumina: np.ndarray,
    lesions: list[np.ndarray],
    cut_outs: list[np.ndarray],
) -> Nuclei:
    centres = _jittered(rng, size_um, NUCLEUS_SPACING_UM, 0.28)
    density = _between(NUCLEUS_SHARE, smooth_field(rng, size_um, 150, centres))
    mean_radius = _between(NUCLEUS_RADIUS_UM, smooth_field(rng, size_um, 120, centres))
    kept = (rng.uniform(size=len(centres)) < density) & inside(tissue, centres)
    centres, mean_radius = centres[kept], mean_radius[kept]
    number = len(centres)
    radius = mean_radius * np.exp(rng.normal(0, 0.12, number))
    aspect = rng.uniform(1.0, 1.4, number)
    angle = rng.uniform(0, np.pi, number)
    chances = rng.uniform(size=number)
    is_gland = rng.uniform(size=len(lumina)) < np.where(
        _in_metastasis(lumina[:, :2], lesions, cut_outs), GLAND_SHARE[1], GLAND_SHARE[0]
    )
    centres = _clear_lumina(rng, centres, radius, lumina, is_gland)
    share = np.where(
        _in_metastasis(centres, lesions, cut_outs), NUCLEOLUS_SHARE[1], NUCLEOLUS_SHARE[0]
    )
    radii = np.stack([radius * np.sqrt(aspect), radius / np.sqrt(aspect)], axis=1)
    return Nuclei(centres, radii, angle, chances < share)


def _clear_lumina(
    rng: np.random.Generator,
    centres: np.ndarray,
    radius: np.ndarray,
    lumina: np.ndarray,
    is_gland: np.ndarray,
) -> np.ndarray:
    """Moves the nuclei around each lumen out of it: to the ring of a gland, or anywhere near."""
    centres = centres.copy()
    for (x, y, lumen), gland in zip(lumina, is_gland, strict=True):
        offset = centres - (x, y)
        distance = np.hypot(*offset.T)
        near = np.flatnonzero(distance < LUMEN_REACH[0] * lumen)
        angles = np.sort(np.arctan2(offset[near, 1], offset[near, 0]))
        draws = rng.uniform(size=(2, len(near)))  # as many in either case
        rim = lumen + radius[near]
        if gland:
            angles = 2 * np.pi * (np.arange(len(near)) + 0.3 * draws[0]) / max(len(near), 1)
            away = rim * (1 + 0.08 * draws[1])
        else:
            angles = angles + 0.3 * (draws[0] - 0.5)
            farthest = np.maximum(LUMEN_REACH[1] * lumen, rim)
            away = np.sqrt(rim**2 + draws[1] * (farthest**2 - rim**2))
        centres[near] = np.stack([x + away * np.cos(angles), y + away * np.sin(angles)], axis=1)
    return centres


def _between(bounds: tuple[float, float], values: np.ndarray) -> np.ndarray:
    """Values of unit variance as numbers within the bounds."""
    low, high = bounds
    return low + (high - low) / (1 + np.exp(-1.5 * values))
