"""Films of one breast: outline, thickness, tissue, chest muscle, vessels, a label, and a lesion."""

from dataclasses import dataclass

import numpy as np

from mlp_med.phantoms.breast_lesions import Lesion, add_speck, draw_lesion
from mlp_med.phantoms.parenchyma import PIXEL_MM, draw_parenchyma

LARGEST_VALUE = 65_535
# Half an ellipse on the chest wall.
DEPTH_MM, HEIGHT_MM = (62.0, 80.0), (118.0, 145.0)
MARGIN_MM = 6.0
ROUNDING_MM = 18.0  # over which the compressed breast thins towards the skin
# Values as shares of the largest: film without a breast, fat, one standard deviation of texture.
AIR, FAT, TEXTURE = 0.04, 0.36, 0.08
MUSCLE = 0.10
GLANDS = {1: 0.0, 2: 0.03, 3: 0.07, 4: 0.11}  # by BI-RADS density, in the middle of the breast
GRAIN = 0.006
NUM_SPECKS = 14  # single ones, anywhere in a breast
NUM_LINES = 24  # vessels and ligaments
LESION_FROM_SKIN_MM = 12.0


@dataclass(frozen=True)
class FilmPlan:
    """One view of a breast.

    Attributes:
        seed: of all that is drawn, numbers.
        view: "CC" or "MLO".
        right: chest wall at the right edge of the film and not at the left.
        density: BI-RADS density, 1 to 4.
        kind: of the lesion; "" for none.
        malignant: its shape.
        diameter_mm: its size, the same in both views.
    """

    seed: tuple[int, ...]
    view: str
    right: bool
    density: int
    kind: str
    malignant: bool
    diameter_mm: float


@dataclass(frozen=True, eq=False)
class Film:
    """uint16 pixels [rows, columns] and the lesion's mask, bool, of the same shape."""

    pixels: np.ndarray
    mask: np.ndarray


def render_film(plan: FilmPlan) -> Film:
    """Draws a film: a pure function of its plan."""
    rng = np.random.default_rng(plan.seed)
    depth, height = rng.uniform(*DEPTH_MM), rng.uniform(*HEIGHT_MM)
    extent = height + 2 * MARGIN_MM, depth + MARGIN_MM
    rows, columns = (round(length / PIXEL_MM) for length in extent)
    inside = _from_skin_mm((rows, columns), depth, height)
    light = TEXTURE * draw_parenchyma(rng, (rows, columns))
    light += FAT + GLANDS[plan.density] * np.exp(-(((inside - 30) / 22) ** 2))
    if plan.view == "MLO":
        _add_muscle(light, rng)
    extra = np.zeros_like(light)
    _add_lines(extra, rng)
    _add_specks(extra, rng, inside)
    mask = np.zeros(light.shape, bool)
    if plan.kind:
        lesion = draw_lesion(rng, plan.kind, plan.diameter_mm, malignant=plan.malignant)
        mask = _place(extra, rng, lesion, inside)
    light += TEXTURE * extra
    # The compressed breast is of even thickness but for its rim, round in section.
    rim = np.clip(1 - inside / ROUNDING_MM, 0, 1)
    light = AIR + light * np.sqrt(np.clip(1 - rim**2, 0, None)) * (inside > 0)
    light += GRAIN * rng.standard_normal(light.shape, dtype=np.float32)
    _stick_label(light)
    if plan.right:
        light, mask = light[:, ::-1], mask[:, ::-1]
    pixels = np.rint(np.clip(light, 0, 1) * LARGEST_VALUE).astype(np.uint16)
    return Film(np.ascontiguousarray(pixels), np.ascontiguousarray(mask))


def _from_skin_mm(shape: tuple[int, int], depth: float, height: float) -> np.ndarray:
    """About how far inside the skin each pixel lies, in mm; negative outside. Float32."""
    y = ((np.arange(shape[0]) + 0.5) * PIXEL_MM - MARGIN_MM - height / 2) / (height / 2)
    x = (np.arange(shape[1]) + 0.5) * PIXEL_MM / depth
    radius = np.sqrt(np.float32(y[:, None] ** 2) + np.float32(x**2))
    return (1 - radius) * np.float32(min(depth, height / 2))


def _add_muscle(light: np.ndarray, rng: np.random.Generator) -> None:
    """The pectoral muscle of an oblique view: a bright wedge in the corner at the chest wall."""
    down, along = rng.uniform(45, 70), rng.uniform(18, 28)
    y, x = ((np.arange(length) * PIXEL_MM).astype(np.float32) for length in light.shape)
    inside = 1 - (y[:, None] / down + x / along)
    light += MUSCLE * np.clip(inside / 0.05, 0, 1)


def _add_lines(extra: np.ndarray, rng: np.random.Generator) -> None:
    """Thin bright arcs all over the film, faint and straight as vessels and ligaments are."""
    rows, columns = extra.shape
    for _ in range(NUM_LINES):
        length, width = rng.uniform(8, 30), rng.uniform(0.2, 0.6)
        angle, bend = rng.uniform(0, 2 * np.pi), rng.uniform(-0.03, 0.03)
        steps = np.arange(0, length, PIXEL_MM / 2)
        heading = angle + bend * steps
        down = rng.uniform(0, rows) + np.cumsum(np.sin(heading)) / 2
        along = rng.uniform(0, columns) + np.cumsum(np.cos(heading)) / 2
        reach = int(np.ceil(width / PIXEL_MM))
        light = rng.uniform(0.3, 0.9)
        across = np.arange(-reach, reach + 1)
        profile = light * np.exp(-((across * PIXEL_MM / width * 2) ** 2))
        # Across the line, along its normal; a pixel keeps the brightest of what falls on it.
        r = np.rint(down[:, None] + across * np.cos(heading)[:, None]).astype(int)
        c = np.rint(along[:, None] - across * np.sin(heading)[:, None]).astype(int)
        good = (r >= 0) & (r < rows) & (c >= 0) & (c < columns)
        values = np.broadcast_to(profile, r.shape)[good]
        np.maximum.at(extra, (r[good], c[good]), values.astype(np.float32))


def _add_specks(extra: np.ndarray, rng: np.random.Generator, inside: np.ndarray) -> None:
    """Single specks, so that one alone is no sign of a cluster."""
    placed = 0
    while placed < NUM_SPECKS:
        row, column = (rng.uniform(0, length) for length in extra.shape)
        if inside[int(row), int(column)] > 3:
            add_speck(extra, rng, row, column)
            placed += 1


def _place(
    extra: np.ndarray, rng: np.random.Generator, lesion: Lesion, inside: np.ndarray
) -> np.ndarray:
    """Adds the lesion somewhere well inside the breast; its mask in the film."""
    rows, columns = extra.shape
    half = lesion.mask.shape[0] // 2
    deep = LESION_FROM_SKIN_MM + lesion.diameter_mm / 4
    while True:
        row, column = int(rng.integers(rows)), int(rng.integers(columns))
        if inside[row, column] > deep and column * PIXEL_MM > lesion.diameter_mm / 2 + 2:
            break
    mask = np.zeros(extra.shape, bool)
    down, along = _overlap(row - half, half, rows), _overlap(column - half, half, columns)
    film, part = zip(down, along, strict=True)
    extra[film] += lesion.light[part]
    mask[film] = lesion.mask[part]
    return mask


def _overlap(start: int, half: int, length: int) -> tuple[slice, slice]:
    """The part of an axis that a square covers, and that part of the square."""
    low, high = max(start, 0), min(start + 2 * half + 1, length)
    return slice(low, high), slice(low - start, high - start)


def _stick_label(light: np.ndarray) -> None:
    """The bright label of side and view, in the upper corner away from the chest wall."""
    down, along = (round(length / PIXEL_MM) for length in (5.0, 9.0))
    light[down // 2 : down // 2 + down, -along - down // 2 : -down // 2] = 0.95
