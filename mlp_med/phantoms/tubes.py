"""Tapering tubes, and the scene that they are drawn into before the scanner looks at it."""

from dataclasses import dataclass

import numpy as np

# Tissue is drawn with an edge this wide, about a voxel of the scene: an anti-aliased drawing.
EDGE_MM = 0.7
# Boxes are grouped by size and evaluated together, up to this many samples at a time.
SAMPLES_AT_ONCE = 400_000


@dataclass(frozen=True)
class Scene:
    """The tissue in the lungs, before the scanner: finer than the scan along the patient.

    `density` is float32 [z, y, x]: 0 is lung, 1 soft tissue. `origin_mm` and `spacing_mm` are
    (x, y, z) in scan millimetres.
    """

    density: np.ndarray
    origin_mm: np.ndarray
    spacing_mm: np.ndarray


@dataclass(frozen=True)
class Tubes:
    """Straight round segments with rounded ends: arrays of [n, 3] mm (x, y, z) and of [n]."""

    start_mm: np.ndarray
    end_mm: np.ndarray
    start_radius_mm: np.ndarray
    end_radius_mm: np.ndarray
    density: np.ndarray

    def __len__(self) -> int:
        return len(self.density)

    def with_density(self, density: float, radius_factor: float = 1.0) -> "Tubes":
        """The same tubes of another density, thinner or thicker."""
        return Tubes(
            self.start_mm,
            self.end_mm,
            self.start_radius_mm * radius_factor,
            self.end_radius_mm * radius_factor,
            np.full(len(self), density),
        )


def join_tubes(parts: list[Tubes]) -> Tubes:
    """All tubes of several sets, in order; `parts` is not empty."""
    return Tubes(
        np.concatenate([part.start_mm for part in parts]),
        np.concatenate([part.end_mm for part in parts]),
        np.concatenate([part.start_radius_mm for part in parts]),
        np.concatenate([part.end_radius_mm for part in parts]),
        np.concatenate([part.density for part in parts]),
    )


def tubes_along(points_mm: np.ndarray, radii_mm: np.ndarray, density: float = 1.0) -> Tubes:
    """The tube along a polyline: [n, 3] points with [n] radii make n − 1 segments."""
    return Tubes(
        points_mm[:-1],
        points_mm[1:],
        radii_mm[:-1],
        radii_mm[1:],
        np.full(len(points_mm) - 1, density),
    )


def thinness_correction(radius_mm: np.ndarray) -> np.ndarray:
    """The factor that gives a soft-edged tube the cross-section π r² of the true one.

    The edge falls linearly over `EDGE_MM`; where the radius is below half of that, the profile is
    a cone. Without the factor, vessels thinner than a voxel would be drawn too bright.
    """
    outer = radius_mm + EDGE_MM / 2
    cone = 3 * radius_mm**2 * EDGE_MM / outer**3
    frustum = radius_mm**2 / (radius_mm**2 + EDGE_MM**2 / 12)
    return np.where(radius_mm < EDGE_MM / 2, cone, frustum)


def paint_tubes(scene: Scene, tubes: Tubes) -> None:
    """Draws tubes into the scene; where things overlap the denser one stays."""
    reach = np.maximum(tubes.start_radius_mm, tubes.end_radius_mm)[:, None] + EDGE_MM / 2
    low = np.minimum(tubes.start_mm, tubes.end_mm) - reach - scene.origin_mm
    high = np.maximum(tubes.start_mm, tubes.end_mm) + reach - scene.origin_mm
    first = np.ceil(low / scene.spacing_mm).astype(int)
    last = np.floor(high / scene.spacing_mm).astype(int)
    shape = np.array(scene.density.shape[::-1])
    first, last = np.maximum(first, 0), np.minimum(last, shape - 1)
    visible = np.flatnonzero(np.all(last >= first, axis=1))
    # A few sizes instead of hundreds: many tubes share one vectorised evaluation.
    size = np.minimum((last - first)[visible] // 3 * 3 + 3, shape)
    first = np.minimum(first[visible], shape - size)
    code = (size[:, 0] * 4096 + size[:, 1]) * 4096 + size[:, 2]
    order = np.argsort(code, kind="stable")
    for group in np.split(order, np.flatnonzero(np.diff(code[order])) + 1):
        at_once = max(1, SAMPLES_AT_ONCE // int(size[group[0]].prod())) if len(group) else 1
        for begin in range(0, len(group), at_once):
            chosen = group[begin : begin + at_once]
            _paint_boxes(scene, tubes, visible[chosen], first[chosen], size[chosen[0]])


def _paint_boxes(
    scene: Scene, tubes: Tubes, which: np.ndarray, first: np.ndarray, size: np.ndarray
) -> None:
    """Draws the tubes `which`, each in its own box of one common `size` (x, y, z)."""
    start = tubes.start_mm[which]
    along = tubes.end_mm[which] - start
    length = np.maximum(np.linalg.norm(along, axis=1), 1e-6)
    along = along / length[:, None]
    start_radius, end_radius = tubes.start_radius_mm[which], tubes.end_radius_mm[which]
    peak = tubes.density[which] * thinness_correction((start_radius + end_radius) / 2)

    offsets = []  # from the tube's start, along x, y and z
    for axis in range(3):
        index = first[:, axis, None] + np.arange(size[axis])
        local = index * scene.spacing_mm[axis] + scene.origin_mm[axis] - start[:, axis, None]
        offsets.append(local.astype(np.float32))
    x = offsets[0][:, None, None, :]
    y = offsets[1][:, None, :, None]
    z = offsets[2][:, :, None, None]
    ux, uy, uz = (along[:, axis, None, None, None].astype(np.float32) for axis in range(3))

    projected = (x * ux + y * uy) + z * uz
    nearest = np.clip(projected, 0, length[:, None, None, None].astype(np.float32))
    # |p − s − t u|² with |u| = 1
    distance = nearest - projected
    distance -= projected
    distance *= nearest
    distance += (x * x + y * y) + z * z
    np.maximum(distance, 0, out=distance)
    np.sqrt(distance, out=distance)
    slope = ((end_radius - start_radius) / length).astype(np.float32)[:, None, None, None]
    nearest *= slope
    nearest += (start_radius + EDGE_MM / 2).astype(np.float32)[:, None, None, None]
    nearest -= distance
    nearest *= 1 / EDGE_MM
    np.clip(nearest, 0, 1, out=nearest)
    nearest *= peak.astype(np.float32)[:, None, None, None]
    for patch, (x0, y0, z0) in zip(nearest, first, strict=True):
        view = scene.density[z0 : z0 + size[2], y0 : y0 + size[1], x0 : x0 + size[0]]
        np.maximum(view, patch, out=view)
