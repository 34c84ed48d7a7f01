"""Lesions of the control phantoms: soft balls that differ in mean density and in fine texture.

One of the two carries the class, the other is drawn alike for both. Both are drawn from two
Gaussians that overlap, one a class, so that no observer can do better than `BEST_AUC`, at any
resolution: a network reaches that within minutes, and two that do agree with each other.
"""

from dataclasses import dataclass

import numpy as np
from scipy.stats import norm

from mlp_med.phantoms.anatomy import Chest
from mlp_med.phantoms.scan import JITTER_MM
from mlp_med.phantoms.tubes import Scene

DIAMETER_RANGE_MM = (17.0, 20.0)
# A lesion fades over this width; its diameter is where it is half there.
SOFT_EDGE_MM = 4.0
# Lesions this far apart along an axis stay out of each other's 40 mm fields.
PITCH_MM = 32.0
END_MARGIN_MM = 21.0
# There is room for about 60. With half of them a quick network is still off its best AUC by 0.01.
LESIONS_PER_SCAN = 56
# What an ideal observer reaches of each variant: the best AUC between two Gaussians of one
# deviation is Φ(d′/√2), d′ being the distance of their means in deviations.
BEST_AUC = 0.90
SEPARATION = float(np.sqrt(2) * norm.ppf(BEST_AUC))
# 1 is soft tissue, 0 lung: where it carries the class, 0.6 ∓ half the separation.
DENSITY_MEAN, DENSITY_DEVIATION = 0.6, 0.11
NEUTRAL_DENSITY_DEVIATION = 0.05
# Standard deviation of the texture in the middle of a lesion; its logarithm is Gaussian. A weaker
# one than this, were it to carry the class, a small network does not find within minutes.
TEXTURE_MEDIAN, TEXTURE_LOG_DEVIATION = 0.28, 0.25
NEUTRAL_TEXTURE_MEDIAN, NEUTRAL_TEXTURE_LOG_DEVIATION = 0.1, 0.2
# Waves a texture is the sum of; with this many it is nearly Gaussian.
NUM_WAVES = 120
# Frequencies of a texture of blobs of b mm, in multiples of 1 / 2b along x or y: 5 mm voxels
# (anti-aliased: nothing from 0.14 cycles/mm on) do not hold those of blobs of 2.5 mm.
WAVE_RANGE = (1.0, 1.4)
# Along the patient waves stay below what slices of 2 mm hold (0.25 cycles/mm), so that none of
# them comes back as a slow one.
HIGHEST_AXIAL_FREQUENCY = 0.15


@dataclass(frozen=True)
class Lesion:
    """One lesion and its mark, positions [3] in scan millimetres. Class 1 counts as a nodule."""

    centre_mm: np.ndarray
    diameter_mm: float
    is_nodule: bool
    candidate_mm: np.ndarray
    density: float
    texture: float


def draw_lesions(
    rng: np.random.Generator, chest: Chest, extent_mm: tuple[float, float, float], answer: str
) -> list[Lesion]:
    """Up to `LESIONS_PER_SCAN` lesions of one scan, half of them of class 1, in random order.

    Place, size and mark are decided before the class.

    Args:
        rng: what is drawn is a function of its state.
        chest: in whose lungs they lie.
        extent_mm: of the scan, (x, y, z).
        answer: what carries the class: "density" or "texture".
    """
    centres = rng.permutation(_places(rng, chest, extent_mm))[:LESIONS_PER_SCAN]
    diameters = rng.uniform(*DIAMETER_RANGE_MM, len(centres))
    directions = rng.normal(size=centres.shape)
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    marks = centres + directions * JITTER_MM * rng.uniform(size=(len(centres), 1)) ** (1 / 3)
    # With an odd number the class that has one more is drawn.
    label = rng.permutation((np.arange(len(centres)) + rng.integers(2)) % 2)
    told, untold = rng.normal(size=(2, len(centres)))
    told = told + SEPARATION * (label - 0.5)
    if answer == "density":
        density = DENSITY_MEAN + DENSITY_DEVIATION * told
        texture = NEUTRAL_TEXTURE_MEDIAN * np.exp(NEUTRAL_TEXTURE_LOG_DEVIATION * untold)
    else:
        density = DENSITY_MEAN + NEUTRAL_DENSITY_DEVIATION * untold
        texture = TEXTURE_MEDIAN * np.exp(TEXTURE_LOG_DEVIATION * told)
    return [
        Lesion(
            centre_mm=centres[index],
            diameter_mm=float(diameters[index]),
            is_nodule=bool(label[index]),
            candidate_mm=marks[index],
            density=float(density[index]),
            texture=float(texture[index]),
        )
        for index in range(len(centres))
    ]


def paint_lesion(rng: np.random.Generator, scene: Scene, lesion: Lesion, blob_mm: float) -> None:
    """Puts a lesion in place of what is there, with a texture of blobs of about `blob_mm`.

    The density depends linearly on the texture and is never cut off: else the amplitude of a fine
    texture would show in the mean, which every resolution sees.
    """
    reach = lesion.diameter_mm / 2 + SOFT_EDGE_MM / 2
    shape = np.array(scene.density.shape[::-1])
    centre = lesion.centre_mm - scene.origin_mm
    first = np.clip(np.ceil((centre - reach) / scene.spacing_mm).astype(int), 0, shape)
    last = np.clip(np.floor((centre + reach) / scene.spacing_mm).astype(int) + 1, first, shape)
    x, y, z = (
        np.arange(first[axis], last[axis]) * scene.spacing_mm[axis] - centre[axis]
        for axis in range(3)
    )
    distance = np.sqrt(x**2 + y[:, None] ** 2 + z[:, None, None] ** 2)
    ball = _fall((distance - lesion.diameter_mm / 2) / SOFT_EDGE_MM + 0.5)
    # The texture fades from the middle on: a sharper window would smear its frequencies.
    window = _fall(distance / reach)
    texture = _waves(rng, x, y, z, blob_mm)
    patch = lesion.density * ball + lesion.texture * window * texture
    view = scene.density[first[2] : last[2], first[1] : last[1], first[0] : last[0]]
    view *= (1 - ball).astype(np.float32)
    view += patch.astype(np.float32)


def _places(
    rng: np.random.Generator, chest: Chest, extent_mm: tuple[float, float, float]
) -> np.ndarray:
    """Centres [n, 3] deep enough in the lungs: layers of a lattice, each laid where most fit."""
    room = extent_mm[2] - 2 * END_MARGIN_MM
    num_layers = int(room // PITCH_MM) + 1
    lowest = END_MARGIN_MM + rng.uniform(0, room - (num_layers - 1) * PITCH_MM)
    deep = DIAMETER_RANGE_MM[1] / 2 + SOFT_EDGE_MM / 2
    steps = [np.arange(-1, extent // PITCH_MM + 1) * PITCH_MM for extent in extent_mm[:2]]
    lattice = np.stack(np.meshgrid(*steps), axis=-1).reshape(-1, 2)
    layers = []
    for layer in range(num_layers):
        trials = []
        for offset in rng.uniform(0, PITCH_MM, (40, 2)):
            height = np.full(len(lattice), lowest + layer * PITCH_MM)
            points = np.column_stack([lattice + offset, height])
            trials.append(points[chest.lung_depth(points) > deep])
        layers.append(max(trials, key=len))
    return np.concatenate(layers)


def _fall(t: np.ndarray) -> np.ndarray:
    """From 1 at t ≤ 0 to 0 at t ≥ 1, along a raised cosine."""
    return 0.5 + 0.5 * np.cos(np.pi * np.clip(t, 0, 1))


def _waves(
    rng: np.random.Generator, x: np.ndarray, y: np.ndarray, z: np.ndarray, blob_mm: float
) -> np.ndarray:
    """A texture of unit variance at the points of a grid: [z, y, x]."""
    low, high = np.array(WAVE_RANGE) / (2 * blob_mm)
    tried = rng.uniform(-high, high, (20 * NUM_WAVES, 2))
    fits = (np.abs(tried).max(axis=1) >= low) & (np.hypot(*tried.T) <= high)
    along_x, along_y = tried[fits][:NUM_WAVES].T * 2 * np.pi
    highest = min(HIGHEST_AXIAL_FREQUENCY, high)
    along_z = rng.uniform(-highest, highest, NUM_WAVES) * 2 * np.pi
    phase = rng.uniform(0, 2 * np.pi, NUM_WAVES)
    in_plane = np.exp(1j * y[:, None, None] * along_y) * np.exp(1j * x[:, None] * along_x)
    upwards = np.exp(1j * (z[:, None] * along_z + phase))
    # The real part of the product, in two real ones.
    flat = in_plane.reshape(-1, NUM_WAVES).T
    waves = upwards.real @ flat.real - upwards.imag @ flat.imag
    return waves.reshape(len(z), len(y), len(x)) * np.sqrt(2 / NUM_WAVES)
