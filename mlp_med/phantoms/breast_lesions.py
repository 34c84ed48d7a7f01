"""Masses and clusters of micro-calcifications, and what only looks like one of their parts.

Malignant and benign ones have the same sizes, the same added brightness and the same number of
specks; they differ in shape alone: a mass is smooth or spiculated, calcifications are round and
alike or linear and unlike.
"""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from mlp_med.phantoms.parenchyma import PIXEL_MM

MASS, CALCIFICATION = "mass", "calcification"
KINDS = (MASS, CALCIFICATION)
# Masses: log-normal about the upper end of T1b (5 to 10 mm in the TNM classification), cut to what
# is a small T1 (5 mm) and a small T2 (25 mm).
MASS_MM = {"median": 11.0, "sigma": 0.4, "least": 5.0, "most": 25.0}
# Groups: at least five specks (within 1 cm: ACR BI-RADS Atlas, 5th ed., 2013), which are under
# 0.5 mm where they are punctate, fine pleomorphic or fine linear.
CLUSTER_MM = {"median": 10.0, "sigma": 0.35, "least": 5.0, "most": 20.0}
SPECKS = (8, 20)
SPECK_MM = (0.15, 0.45)
# Light added in units of the texture's standard deviation.
MASS_CONTRAST = 2.0
SPECK_CONTRAST = 3.5
SPICULES = (12, 20)
SPICULE_MM = 0.35  # width
# The part that a lesion lies in: from its centre to beyond its longest spicule.
REACH = 2.2  # radii


@dataclass(frozen=True, eq=False)
class Lesion:
    """A lesion as it is added to a film.

    Attributes:
        kind: "mass" or "calcification".
        malignant: which shape it has.
        diameter_mm: of the mass, or of the region of the specks.
        light: float32 [n, n], in standard deviations of the texture, its centre in the middle.
        mask: bool [n, n], what a radiologist would outline: no spicules.
    """

    kind: str
    malignant: bool
    diameter_mm: float
    light: np.ndarray
    mask: np.ndarray


def draw_diameter(rng: np.random.Generator, kind: str) -> float:
    """mm; the same distribution for malignant and benign."""
    of = MASS_MM if kind == MASS else CLUSTER_MM
    size = of["median"] * np.exp(of["sigma"] * rng.standard_normal())
    return float(np.clip(size, of["least"], of["most"]))


def draw_lesion(
    rng: np.random.Generator, kind: str, diameter_mm: float, *, malignant: bool
) -> Lesion:
    """A lesion of a given size, as seen in one view."""
    half = int(np.ceil(REACH * diameter_mm / 2 / PIXEL_MM)) + 16
    axis = np.arange(-half, half + 1) * np.float32(PIXEL_MM)
    radius, angle = np.hypot(axis[:, None], axis), np.arctan2(axis[:, None], axis)
    outline = _outline(rng, angle, diameter_mm / 2, rough=malignant and kind == MASS)
    mask = radius <= outline
    if kind == MASS:
        light = _mass(rng, radius, outline, diameter_mm / 2, malignant)
    else:
        light = _cluster(rng, mask, malignant)
    return Lesion(kind, malignant, diameter_mm, light.astype(np.float32), mask)


def add_speck(light: np.ndarray, rng: np.random.Generator, row: float, column: float) -> None:
    """Adds one round speck, as of dust or of a vessel's wall, to a film's light."""
    _add_ellipse(light, row, column, _speck_mm(rng), 1.0, 0.0)


def _outline(
    rng: np.random.Generator, angle: np.ndarray, radius: float, *, rough: bool
) -> np.ndarray:
    """Radius of the edge in each direction, a few waves about its mean."""
    edge = np.ones_like(angle)
    waves = [(2, 0.12), (3, 0.06)] + ([(5, 0.06), (9, 0.05)] if rough else [])
    for wave, size in waves:
        edge += size * np.cos(wave * angle + rng.uniform(0, 2 * np.pi))
    return radius * edge


def _mass(
    rng: np.random.Generator, r: np.ndarray, outline: np.ndarray, radius: float, malignant: bool
) -> np.ndarray:
    """A lens of tissue; spicules take their light from the lens, so that the sum is the same."""
    lens = np.sqrt(np.clip(1 - (r / outline) ** 2, 0, None))
    total = MASS_CONTRAST * 2 / 3 * np.pi * radius**2 / PIXEL_MM**2
    if malignant:
        lens += _spicules(rng, r.shape, radius)
    lens = ndimage.gaussian_filter(lens, 0.15 / PIXEL_MM)
    return lens * (total / lens.sum())


def _spicules(rng: np.random.Generator, shape: tuple[int, ...], radius: float) -> np.ndarray:
    """Thin straight lines from within the mass outwards, fading."""
    light = np.zeros(shape, np.float32)
    centre = (shape[0] - 1) / 2
    for angle in rng.uniform(0, 2 * np.pi, rng.integers(*SPICULES)):
        length = radius * rng.uniform(1.4, REACH - 0.1)
        along = np.linspace(0.7 * radius, length, int(length / PIXEL_MM)) / PIXEL_MM
        rows = np.rint(centre + along * np.sin(angle)).astype(int)
        columns = np.rint(centre + along * np.cos(angle)).astype(int)
        light[rows, columns] = np.linspace(1, 0.2, len(along))
    return ndimage.gaussian_filter(light, SPICULE_MM / 2.35 / PIXEL_MM) * 6


def _cluster(rng: np.random.Generator, mask: np.ndarray, malignant: bool) -> np.ndarray:
    """Specks anywhere in the region; number, area and brightness do not tell what they are."""
    light = np.zeros(mask.shape, np.float32)
    places = np.argwhere(ndimage.binary_erosion(mask, iterations=8))
    same = _speck_mm(rng)
    for row, column in places[rng.integers(len(places), size=rng.integers(*SPECKS))]:
        size = _speck_mm(rng) if malignant else same
        ratio = rng.uniform(3, 6) if malignant else 1.0
        _add_ellipse(light, float(row), float(column), size, ratio, rng.uniform(0, np.pi))
    return light


def _speck_mm(rng: np.random.Generator) -> float:
    low, high = np.log(SPECK_MM)
    return float(np.exp(rng.uniform(low, high)))


def _add_ellipse(
    light: np.ndarray, row: float, column: float, size_mm: float, ratio: float, angle: float
) -> None:
    """Adds a smooth ellipse of the area of a circle of `size_mm`, `ratio` times as long as wide."""
    long, short = (size_mm / 2 / PIXEL_MM * np.sqrt(q) for q in (ratio, 1 / ratio))
    reach = int(np.ceil(long + 4))
    top, left = round(row) - reach, round(column) - reach
    rows = slice(max(top, 0), min(top + 2 * reach + 1, light.shape[0]))
    columns = slice(max(left, 0), min(left + 2 * reach + 1, light.shape[1]))
    y = np.arange(rows.start, rows.stop)[:, None] - row
    x = np.arange(columns.start, columns.stop)[None] - column
    u, v = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    inside = np.clip(1.5 - np.sqrt((u / long) ** 2 + (v / short) ** 2), 0, 1)
    light[rows, columns] += SPECK_CONTRAST * inside
