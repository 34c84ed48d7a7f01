"""Nodules: blobs that are round, lobulated or spiculated."""

from dataclasses import dataclass

import numpy as np

from mlp_med.phantoms.tubes import EDGE_MM, Scene, Tubes, join_tubes, tubes_along

# How often each shape occurs.
SHAPES = {"round": 0.4, "lobulated": 0.35, "spiculated": 0.25}


@dataclass(frozen=True)
class Blob:
    """A star-shaped body: a radius in every direction, about `centre_mm` [3].

    The surface is radius_mm · (1 + Σ height exp(sharpness (u · direction − 1))) in direction u,
    then stretched along the axes by `stretch` [3]. `lobes` is [n, 5]: direction, height, sharpness.
    """

    centre_mm: np.ndarray
    radius_mm: float
    stretch: np.ndarray
    lobes: np.ndarray


def draw_blob(
    rng: np.random.Generator, shape: str, centre_mm: np.ndarray, diameter_mm: float
) -> Blob:
    """A nodule body of the volume of a ball of `diameter_mm`."""
    num_lobes, highest = (int(rng.integers(4, 8)), 0.5) if shape == "lobulated" else (4, 0.15)
    directions = unit_vectors(rng, num_lobes)
    heights = rng.uniform(0.3 * highest, highest, (num_lobes, 1))
    lobes = np.concatenate([directions, heights, rng.uniform(4, 12, (num_lobes, 1))], axis=1)
    stretch = np.exp(rng.normal(0, 0.1, 3))
    stretch /= stretch.prod() ** (1 / 3)
    sphere = _even_directions(500)
    relative_volume = np.mean(_relative_radius(sphere, lobes) ** 3)
    return Blob(centre_mm, diameter_mm / 2 / relative_volume ** (1 / 3), stretch, lobes)


def spicules(rng: np.random.Generator, blob: Blob) -> Tubes:
    """Fine strands that leave the surface of a body and fade out."""
    parts = []
    for direction in unit_vectors(rng, int(rng.integers(10, 20))):
        surface = blob.radius_mm * float(_relative_radius(direction[None], blob.lobes)[0])
        length = surface * rng.uniform(0.3, 0.9)
        steps = np.array([0.7 * surface, surface + 0.4 * length, surface + length])
        sideways = rng.normal(0, 0.06, (3, 3)) * length
        points = blob.centre_mm + (steps[:, None] * direction + sideways) * blob.stretch
        thickness = np.clip(0.12 * surface, 0.35, 0.8)
        parts.append(tubes_along(points, thickness * np.array([1.2, 0.7, 0.35])))
    return join_tubes(parts)


def paint_blob(scene: Scene, blob: Blob, density: float) -> None:
    """Draws a body; the denser tissue stays."""
    reach = blob.radius_mm * blob.stretch * (1 + blob.lobes[:, 3].sum()) + EDGE_MM
    shape = np.array(scene.density.shape[::-1])
    centre = blob.centre_mm - scene.origin_mm
    first = np.clip(np.ceil((centre - reach) / scene.spacing_mm).astype(int), 0, shape)
    last = np.clip(np.floor((centre + reach) / scene.spacing_mm).astype(int) + 1, first, shape)
    x, y, z = (
        (np.arange(first[a], last[a]) * scene.spacing_mm[a] - centre[a]) / blob.stretch[a]
        for a in range(3)
    )
    points = np.stack(np.broadcast_arrays(x, y[:, None], z[:, None, None]), axis=-1)
    points = points.astype(np.float32)
    distance = np.linalg.norm(points, axis=-1)
    directions = points / np.maximum(distance, 1e-3)[..., None]
    surface = blob.radius_mm * _relative_radius(directions, blob.lobes.astype(np.float32))
    patch = np.clip(0.5 + (surface - distance) / EDGE_MM, 0, 1) * np.float32(density)
    view = scene.density[first[2] : last[2], first[1] : last[1], first[0] : last[0]]
    np.maximum(view, patch, out=view)


def unit_vectors(rng: np.random.Generator, num_vectors: int) -> np.ndarray:
    """Directions uniform on the sphere: [n, 3]."""
    vectors = rng.normal(size=(num_vectors, 3))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def _relative_radius(directions: np.ndarray, lobes: np.ndarray) -> np.ndarray:
    bumps = lobes[:, 3] * np.exp(lobes[:, 4] * (directions @ lobes[:, :3].T - 1))
    return 1 + bumps.sum(axis=-1)


def _even_directions(num_directions: int) -> np.ndarray:
    """A Fibonacci spiral over the sphere."""
    index = np.arange(num_directions) + 0.5
    polar = np.arccos(1 - 2 * index / num_directions)
    azimuth = index * np.pi * (1 + 5**0.5)
    return np.stack(
        [np.cos(azimuth) * np.sin(polar), np.sin(azimuth) * np.sin(polar), np.cos(polar)], axis=1
    )
