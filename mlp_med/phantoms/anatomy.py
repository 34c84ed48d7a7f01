"""The chest: body, bones, mediastinum, diaphragm and lungs, as smooth fields on a coarse grid.

Surfaces are kept as signed distances in mm (positive inside), which a coarse grid holds well; the
scanner interpolates them to voxels, where they become sharp again.
"""

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter, map_coordinates

FIELD_SPACING_MM = 4.0
AIR_HU = -1000.0
FAT_HU = -95.0
MUSCLE_HU = 50.0
LUNG_HU = -870.0
# Parenchyma gets denser from front to back, as blood follows gravity in a lying patient.
LUNG_GRADIENT_HU = 45.0
# The scan covers a part of a lung of LUNG_HEIGHT_MM, from this height above its base on.
LUNG_HEIGHT_MM = 250.0
COVERAGE_START_MM = 42.0


@dataclass(frozen=True)
class Chest:
    """Fields [z, y, x] float32 on a grid of `FIELD_SPACING_MM` whose origin is the scan's.

    `lung_mm`, `airspace_mm` (lungs and large airways), `body_mm` and `bone_mm` are signed distances
    to surfaces; `soft_hu` is what is outside the lungs, `air_hu` what is inside. `hilum_mm` is
    [2, 3]: where the vessels of the right and the left lung begin.
    """

    lung_mm: np.ndarray
    airspace_mm: np.ndarray
    body_mm: np.ndarray
    bone_mm: np.ndarray
    soft_hu: np.ndarray
    air_hu: np.ndarray
    hilum_mm: np.ndarray

    def lung_depth(self, points_mm: np.ndarray) -> np.ndarray:
        """How deep [n, 3] points (x, y, z) lie in a lung, in mm; negative outside: [n]."""
        return map_coordinates(self.lung_mm, points_mm.T[::-1] / FIELD_SPACING_MM, order=1)

    def inward(self, points_mm: np.ndarray) -> np.ndarray:
        """The unit vectors from the pleura inwards at [n, 3] points: [n, 3]."""
        steps = FIELD_SPACING_MM * np.eye(3)
        slopes = [self.lung_depth(points_mm + s) - self.lung_depth(points_mm - s) for s in steps]
        gradient = np.stack(slopes, axis=1)
        return gradient / np.maximum(np.linalg.norm(gradient, axis=1, keepdims=True), 1e-6)


def build_chest(
    rng: np.random.Generator,
    extent_mm: tuple[float, float, float],
    start_mm: float = COVERAGE_START_MM,
) -> Chest:
    """The chest of one patient in a scan of `extent_mm` (x, y, z).

    The scan begins `start_mm` above the base of the lungs.
    """
    sizes = [int(np.ceil(extent / FIELD_SPACING_MM)) + 2 for extent in extent_mm]
    axes = [np.arange(size, dtype=np.float32) * FIELD_SPACING_MM for size in sizes]
    middle = np.array(extent_mm[:2]) / 2 + rng.uniform(-6, 6, 2)
    x = np.broadcast_to(axes[0] - np.float32(middle[0]), sizes[::-1])
    y = np.broadcast_to((axes[1] - np.float32(middle[1]))[:, None], sizes[::-1])
    z = np.broadcast_to((axes[2] + np.float32(start_mm))[:, None, None], sizes[::-1])
    x, y, z = _warp(rng, x, y, z)

    half_width, half_depth = rng.uniform(122, 140), rng.uniform(86, 100)
    cage = _cage(x, y, z, half_width, half_depth)
    spine_y = half_depth * 0.78
    spine = 19 - np.hypot(x, y - spine_y)
    heart = _ellipsoid(x - 22, y + 28, z - 70, rng.uniform(52, 62), 42, 58)
    vessels = _ellipsoid(x - 2, y + 8, z - 175, 30, 40, 95)
    aorta = rng.uniform(11, 14) - np.hypot(x - 26, y - spine_y + 22)
    septum = np.maximum(5 - np.abs(x - 4), 14 - np.abs(x) - np.maximum(0, 40 - y))
    hilum = np.array([[-44.0, 4.0, 118.0], [47.0, 8.0, 122.0]]) + rng.normal(0, 3, (2, 3))
    mediastinum = _smooth_max(heart, vessels)
    for part in (spine + 6, aorta + 3, septum):
        mediastinum = _smooth_max(mediastinum, part)
    for at_x, at_y, at_z in hilum.tolist():
        mediastinum = _smooth_max(mediastinum, _ellipsoid(x - at_x, y - at_y, z - at_z, 15, 13, 20))
    floor = z - _diaphragm(rng, x, y)
    lung = _smooth_min(_smooth_min(cage, -mediastinum), floor * 0.8)

    airways = _airways(x, y, z, hilum)
    wall = rng.uniform(24, 42), rng.uniform(20, 28)
    body = _ellipse(x, y - 2, half_width * 1.0 + wall[0], half_depth + wall[1], 2.6)
    bone = np.maximum(_ribs(rng, x, y, z, cage), np.maximum(spine, _sternum(x, y, half_depth)))
    blood = np.maximum(np.maximum(heart, vessels - 8), aorta)
    soft = _soft_tissue(rng, cage, body, blood, -floor)
    air_hu = LUNG_HU + rng.normal(0, 15) + LUNG_GRADIENT_HU * (y / np.float32(half_depth))
    air_hu = air_hu + _texture(rng, x.shape, 5.0, 12) + _texture(rng, x.shape, 0.5, 10)
    air_hu = np.where(airways > -1, np.float32(-990), air_hu)
    to_scan = np.array([*middle, -start_mm])
    return Chest(
        lung_mm=lung.astype(np.float32),
        airspace_mm=np.maximum(lung, airways).astype(np.float32),
        body_mm=body.astype(np.float32),
        bone_mm=bone.astype(np.float32),
        soft_hu=soft.astype(np.float32),
        air_hu=air_hu.astype(np.float32),
        hilum_mm=hilum + to_scan,
    )


def _warp(rng: np.random.Generator, *coordinates: np.ndarray) -> list[np.ndarray]:
    """Bends the coordinates by a few millimetres, so that no surface is a perfect ellipse."""
    warped = []
    for coordinate in coordinates:
        bent = np.array(coordinate)
        for _ in range(3):
            wave = rng.normal(size=3)
            wave *= 2 * np.pi / rng.uniform(70, 160) / np.linalg.norm(wave)
            phase = sum(np.float32(k) * c for k, c in zip(wave, coordinates, strict=True))
            bent += np.float32(rng.uniform(1, 3)) * np.sin(phase + np.float32(rng.uniform(0, 6.28)))
        warped.append(bent)
    return warped


def _ellipse(x: np.ndarray, y: np.ndarray, a: float, b: float, power: float = 2.0) -> np.ndarray:
    """Distance to a (super)ellipse along the ray from its centre."""
    radial = np.hypot(x, y) + np.float32(1e-3)
    relative = (np.abs(x / a) ** power + np.abs(y / b) ** power) ** (1 / power)
    return radial / np.maximum(relative, 1e-3) - radial


def _ellipsoid(
    x: np.ndarray, y: np.ndarray, z: np.ndarray, a: float, b: float, c: float
) -> np.ndarray:
    radial = np.sqrt(x * x + y * y + z * z) + np.float32(1e-3)
    relative = np.sqrt((x / a) ** 2 + (y / b) ** 2 + (z / c) ** 2)
    return radial / np.maximum(relative, 1e-3) - radial


def _smooth_min(a: np.ndarray, b: np.ndarray, width: float = 8.0) -> np.ndarray:
    """The minimum with a rounded edge, so that lungs have no knife edges."""
    mix = np.maximum(width - np.abs(a - b), 0) / width
    return np.minimum(a, b) - mix * mix * (width / 4)


def _smooth_max(a: np.ndarray, b: np.ndarray, width: float = 8.0) -> np.ndarray:
    return -_smooth_min(-a, -b, width)


def _cage(x: np.ndarray, y: np.ndarray, z: np.ndarray, a: float, b: float) -> np.ndarray:
    """The inside of the rib cage, which narrows towards the apex."""
    up = np.clip(z / LUNG_HEIGHT_MM - 0.35, 0, None) / 0.7
    # Above the apex next to nothing is left; below zero the cage would be turned inside out.
    narrowing = np.maximum(1 - 0.8 * up**3, 0.001)
    return _ellipse(x / narrowing, y / narrowing, a, b, 2.3) * narrowing


def _diaphragm(rng: np.random.Generator, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Height of the two domes above the base of the lungs."""
    right, left = rng.uniform(55, 85), rng.uniform(45, 75)
    width = np.where(x < 0, np.float32(58), np.float32(52))
    beside = np.abs(x) - 62
    dome = np.exp(-(beside**2 + (y + 15) ** 2 * 0.8) / (2 * width**2))
    return dome * np.where(x < 0, np.float32(right), np.float32(left))


def _airways(x: np.ndarray, y: np.ndarray, z: np.ndarray, hilum: np.ndarray) -> np.ndarray:
    """Trachea and main bronchi as distances to their axes."""
    carina = np.array([0.0, 2.0, 150.0])
    x, y, z = x, y - np.float32(carina[1]), z - np.float32(carina[2])
    airways = np.where(z > 0, 8.5 - np.hypot(x, y), np.float32(-50))
    for bronchus in hilum - carina:
        length = float(np.linalg.norm(bronchus))
        ux, uy, uz = (bronchus / length).tolist()
        t = np.clip(x * ux + y * uy + z * uz, 0, length)
        gap = (x - t * ux) ** 2 + (y - t * uy) ** 2 + (z - t * uz) ** 2
        airways = np.maximum(airways, 6.0 - np.sqrt(gap))
    return airways


def _ribs(
    rng: np.random.Generator, x: np.ndarray, y: np.ndarray, z: np.ndarray, cage: np.ndarray
) -> np.ndarray:
    """Ribs run round the cage and fall towards the front; a slice cuts them obliquely."""
    spacing, slope = rng.uniform(22, 26), rng.uniform(0.45, 0.65)
    along = z - slope * y + rng.uniform(0, spacing)
    from_axis = (along / spacing - np.round(along / spacing)) * spacing * np.cos(np.arctan(slope))
    return 5.0 - np.hypot((-cage - 7.5) * 1.5, from_axis)


def _sternum(x: np.ndarray, y: np.ndarray, half_depth: float) -> np.ndarray:
    return _ellipse(x, y + half_depth + 8, 19, 6)


def _soft_tissue(
    rng: np.random.Generator,
    cage: np.ndarray,
    body: np.ndarray,
    blood: np.ndarray,
    below_floor: np.ndarray,
) -> np.ndarray:
    """Fat with muscle round the ribs, skin, blood-filled organs and what is under the diaphragm."""
    texture = _texture(rng, cage.shape, 3.0, 1.0)
    muscle_depth = rng.uniform(13, 20)
    wall = np.minimum(-cage + 3, muscle_depth + 6 * texture + cage)
    muscular = np.maximum(np.maximum(wall, blood), np.minimum(below_floor, cage))
    muscular = np.maximum(muscular, 2.5 - body)
    share = np.clip(0.5 + muscular / 3, 0, 1)
    return FAT_HU + (MUSCLE_HU - FAT_HU) * share + 8 * texture


def _texture(
    rng: np.random.Generator, shape: tuple[int, ...], smoothness: float, deviation: float
) -> np.ndarray:
    """Gaussian random field with this standard deviation, smooth over some grid steps."""
    white = rng.standard_normal(shape, dtype=np.float32)
    smooth = gaussian_filter(white, smoothness, mode="wrap", truncate=2.5)
    return smooth * np.float32(deviation / smooth.std())
