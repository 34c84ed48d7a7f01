"""What a CT scanner makes of a chest: slice thickness, point spread, noise, whole numbers of HU."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from mlp_med.phantoms.anatomy import AIR_HU, FIELD_SPACING_MM, MUSCLE_HU, Chest
from mlp_med.phantoms.distribution import ScanGrid
from mlp_med.phantoms.noise import SliceNoise
from mlp_med.phantoms.tubes import EDGE_MM, Scene

# The scene is drawn at about this spacing along the patient, then averaged over each slice.
SUBSLICE_MM = 0.55
# A Gaussian slice sensitivity profile whose full width at half maximum is the slice thickness.
FWHM_TO_SIGMA = 1 / 2.3548
LOWEST_HU, HIGHEST_HU = -1024, 3071


@dataclass(frozen=True)
class Kernel:
    """A reconstruction kernel: sharp ones blur less and are noisier."""

    name: str
    point_spread_mm: float  # standard deviation in plane
    noise_hu: float  # standard deviation in the lungs


def draw_kernel(rng: np.random.Generator) -> Kernel:
    """A smooth or a sharp kernel with its blur and noise."""
    if rng.uniform() < 0.6:
        return Kernel("smooth", float(rng.uniform(0.5, 0.6)), float(rng.uniform(18, 30)))
    return Kernel("sharp", float(rng.uniform(0.38, 0.46)), float(rng.uniform(26, 40)))


def empty_scene(chest: Chest, grid: ScanGrid) -> Scene:
    """A scene that holds the lungs of the chest and a little more on every side."""
    subslice = grid.slice_mm / round(grid.slice_mm / SUBSLICE_MM)
    spacing = np.array([grid.pixel_mm, grid.pixel_mm, subslice])
    rows, columns = _window(chest.lung_mm > -8, grid)
    # Slices see a little beyond the first and the last.
    beyond = int(np.ceil(_profile_reach(grid) / subslice))
    num_subslices = (grid.num_slices - 1) * round(grid.slice_mm / subslice) + 1 + 2 * beyond
    shape = (num_subslices, rows.stop - rows.start, columns.stop - columns.start)
    origin = np.array([columns.start, rows.start, -beyond]) * spacing
    return Scene(np.zeros(shape, np.float32), origin, spacing)


def expose(
    rng: np.random.Generator, chest: Chest, scene: Scene, grid: ScanGrid, kernel: Kernel
) -> np.ndarray:
    """The scan of a chest with what is in the scene: int16 HU [z, y, x]."""
    up_y = _interpolation(grid.num_pixels, grid.pixel_mm, chest.lung_mm.shape[1])
    up_x = _interpolation(grid.num_pixels, grid.pixel_mm, chest.lung_mm.shape[2])
    noise = SliceNoise(rng, kernel.name, grid.num_pixels)
    noise_hu = up_y @ _noise_map(chest, kernel.noise_hu) @ up_x.T
    # All but the noise happens in the body's part of the image, and findings in the lungs' part.
    rows, columns = _window(chest.body_mm > -8, grid)
    layers = _layers(chest, up_y[rows], up_x[columns].T.copy())
    left, top = np.round(scene.origin_mm[:2] / grid.pixel_mm).astype(int)
    left, top = left - columns.start, top - rows.start
    lungs = np.s_[top : top + scene.density.shape[1], left : left + scene.density.shape[2]]

    scan = np.empty((grid.num_slices, grid.num_pixels, grid.num_pixels), np.int16)
    for index in range(grid.num_slices):
        position = index * grid.slice_mm
        body = _anatomy_slice(layers, position / FIELD_SPACING_MM, grid.slice_mm)
        # Tissue displaces air and fat, but neither muscle nor bone.
        room = np.maximum(MUSCLE_HU - body[lungs], 0)
        body[lungs] += _slice_density(scene, grid, position) * room
        image = noise.next_slice() * noise_hu
        image += AIR_HU
        image[rows, columns] += _blur(body, kernel.point_spread_mm / grid.pixel_mm) - AIR_HU
        np.rint(image, out=image)
        scan[index] = np.clip(image, LOWEST_HU, HIGHEST_HU, out=image)
    return scan


def _window(present: np.ndarray, grid: ScanGrid) -> tuple[slice, slice]:
    """The rows and columns of pixels that enclose what is true in fields [z, y, x]."""
    window = []
    for other in (2, 1):
        seen = np.flatnonzero(present.any(axis=(0, other))) * FIELD_SPACING_MM / grid.pixel_mm
        window.append(slice(int(seen[0]), min(int(seen[-1]) + 2, grid.num_pixels)))
    return window[0], window[1]


Layer = tuple[np.ndarray, ...]


def _layers(chest: Chest, up_y: np.ndarray, up_x: np.ndarray) -> Callable[[int], Layer]:
    """The five fields of the chest at one of its levels, interpolated to pixels [y, x].

    Two levels are kept at a time, since slices come in order.
    """

    @lru_cache(maxsize=2)
    def layer(level: int) -> Layer:
        fields = (chest.soft_hu, chest.bone_mm, chest.air_hu, chest.body_mm, chest.airspace_mm)
        return tuple(up_y @ field[level] @ up_x for field in fields)

    return layer


def _anatomy_slice(layers: Callable[[int], Layer], level: float, slice_mm: float) -> np.ndarray:
    """The chest without findings at one height (in field steps): float32 HU [y, x]."""
    below = int(level)
    share = np.float32(level - below)
    lower, upper = layers(below), layers(below + 1)
    image, bone_mm, air_hu, body_mm, airspace_mm = (
        low + share * (high - low) for low, high in zip(lower, upper, strict=True)
    )
    # Cortex is brighter than marrow.
    bone_hu = np.clip(bone_mm, 0, 4)
    bone_hu *= -80
    bone_hu += 560
    _replace(image, bone_hu, bone_mm, EDGE_MM)
    # Where the pleura leans over, as on the diaphragm, the slice's thickness smears its edge.
    smear = np.abs(upper[-1] - lower[-1])
    smear *= slice_mm / FIELD_SPACING_MM
    np.maximum(smear, EDGE_MM, out=smear)
    _replace(image, air_hu, airspace_mm, smear)
    body_mm *= -1
    _replace(image, np.float32(AIR_HU), body_mm, EDGE_MM)
    return image


def _replace(
    image: np.ndarray,
    value: np.ndarray | np.float32,
    inside_mm: np.ndarray,
    edge_mm: np.ndarray | float,
) -> None:
    """Puts `value` where the signed distance is positive, with an edge of this width."""
    share = inside_mm
    share /= edge_mm
    share += 0.5
    np.clip(share, 0, 1, out=share)
    share *= value - image
    image += share


def _profile_reach(grid: ScanGrid) -> float:
    return 2.5 * grid.slice_mm * FWHM_TO_SIGMA


def _slice_density(scene: Scene, grid: ScanGrid, position_mm: float) -> np.ndarray:
    """The scene averaged over the slice sensitivity profile: float32 [y, x]."""
    heights = np.arange(len(scene.density)) * scene.spacing_mm[2] + scene.origin_mm[2]
    near = np.flatnonzero(np.abs(heights - position_mm) <= _profile_reach(grid) + 1e-6)
    weights = np.exp(
        -((heights[near] - position_mm) ** 2) / (2 * (grid.slice_mm * FWHM_TO_SIGMA) ** 2)
    )
    weights = (weights / weights.sum()).astype(np.float32)
    slab = scene.density[near[0] : near[-1] + 1]
    return (weights @ slab.reshape(len(slab), -1)).reshape(slab.shape[1:])


def _blur(image: np.ndarray, sigma: float) -> np.ndarray:
    """A Gaussian of up to seven taps along both axes; the outermost pixels are repeated."""
    taps = np.exp(-(np.arange(4) ** 2) / (2 * sigma**2))
    taps = (taps / (taps[0] + 2 * taps[1:].sum())).astype(np.float32)
    for axis in (0, 1):
        padding = [(3, 3) if a == axis else (0, 0) for a in (0, 1)]
        padded = np.pad(image, padding, mode="edge")
        length = image.shape[axis]

        def part(offset: int, p: np.ndarray = padded, n: int = length, a: int = axis) -> np.ndarray:
            return p[3 + offset : 3 + offset + n] if a == 0 else p[:, 3 + offset : 3 + offset + n]

        image = part(0) * taps[0]
        for distance in range(1, 4):
            if taps[distance] > 1e-4:
                image += (part(-distance) + part(distance)) * taps[distance]
    return image


def _interpolation(num_pixels: int, pixel_mm: float, num_steps: int) -> np.ndarray:
    """Cubic (Catmull-Rom) interpolation from field steps to pixels: float32 [pixels, steps]."""
    position = np.arange(num_pixels) * pixel_mm / FIELD_SPACING_MM
    gap = np.abs(position[:, None] - np.arange(num_steps))
    inner = 1.5 * gap**3 - 2.5 * gap**2 + 1
    outer = -0.5 * gap**3 + 2.5 * gap**2 - 4 * gap + 2
    weights = np.where(gap <= 1, inner, np.where(gap < 2, outer, 0))
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)


def _noise_map(chest: Chest, noise_hu: float) -> np.ndarray:
    """More noise in the middle of the body, where fewer photons come through; less in air."""
    inside = np.clip(chest.body_mm.mean(axis=0), -30, 90)
    return np.float32(noise_hu) * (0.75 + inside / 180)
