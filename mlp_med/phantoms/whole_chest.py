"""A scan of both lungs, with a nodule among mimics or with mimics alone.

Everything is decided before the answer: chest, vessels, places and sizes, scanner. One of the
places, the first, holds a nodule where the answer is cancer and a mimic of the same volume where it
is not; all others hold mimics, the same ones in either case. So a scan with cancer and the one
without it that the same seed and number would give differ about that one place alone.
"""

import uuid
from dataclasses import dataclass
from hashlib import sha256

import numpy as np

from mlp_med.phantoms.anatomy import Chest, build_chest
from mlp_med.phantoms.distribution import ScanGrid
from mlp_med.phantoms.scan import grow_vessels, mimic_tubes, paint_nodule, stream
from mlp_med.phantoms.scanner import Kernel, draw_kernel, empty_scene, expose
from mlp_med.phantoms.sites import Site, draw_sites
from mlp_med.phantoms.tubes import Tubes, join_tubes, paint_tubes

# Raised whenever the same seed would draw other scans, so that two versions are never mixed.
VERSION = 1
# From below the base of the lungs to above their apices.
START_MM, COVERAGE_MM = -12.0, 275.0
SLICE_MM = 2.5
# Drawn with 512 pixels an edge; 2×2 of them make one of the scan.
DRAWN_PIXELS, BINNED = 512, 2
PIXEL_STEPS = (35, 41)  # of 10 mm / 512: fields of view of 350 to 410 mm
LEAVES_PER_TREE = 240
NUM_SITES = 8
DIAMETER_RANGE_MM = (10.0, 24.0)


@dataclass(frozen=True)
class ChestPlan:
    """All that is decided about a scan before a voxel is drawn; positions in scan millimetres."""

    seed: int
    number: int
    cancer: bool
    grid: ScanGrid
    kernel: Kernel
    chest: Chest
    vessels: Tubes
    sites: list[Site]

    @property
    def decisive(self) -> Site:
        """The place that tells the classes apart."""
        return self.sites[0]


def has_cancer(seed: int, number: int) -> bool:
    """One of every two scans, 2n and 2n + 1; a coin says which."""
    first = bool(stream(seed, number // 2, "dsb2017 label").uniform() < 0.5)
    return first == (number % 2 == 0)


def plan_chest(seed: int, number: int, cancer: bool | None = None) -> ChestPlan:
    """The plan of scan `number`, a pure function of its arguments.

    Args:
        seed: of the phantom.
        number: of the scan.
        cancer: `has_cancer` if None; stated, it changes nothing but the decisive place.
    """
    rng = stream(seed, number, "dsb2017 grid")
    pixel_mm = float(rng.integers(PIXEL_STEPS[0], PIXEL_STEPS[1] + 1)) * 10 / 512
    grid = ScanGrid(pixel_mm, SLICE_MM, DRAWN_PIXELS, round(COVERAGE_MM / SLICE_MM) + 1)
    chest = build_chest(stream(seed, number, "dsb2017 chest"), grid.extent_mm, START_MM)
    vessels = grow_vessels(stream(seed, number, "dsb2017 vessels"), chest, grid, LEAVES_PER_TREE)
    rng = stream(seed, number, "dsb2017 sites")
    return ChestPlan(
        seed=seed,
        number=number,
        cancer=has_cancer(seed, number) if cancer is None else cancer,
        grid=grid,
        kernel=draw_kernel(stream(seed, number, "dsb2017 kernel")),
        chest=chest,
        vessels=vessels,
        sites=draw_sites(rng, chest, vessels, grid.extent_mm, NUM_SITES, _diameters),
    )


def render_chest(plan: ChestPlan) -> np.ndarray:
    """The voxels: int16 HU [z, y, x], of `voxel_mm`, feet to head."""
    scene = empty_scene(plan.chest, plan.grid)
    tubes = [plan.vessels]
    for index, site in enumerate(plan.sites):
        # A stream for each place, so that what is drawn at one disturbs no other.
        rng = stream(plan.seed, plan.number, f"dsb2017 shape {index}")
        if plan.cancer and site is plan.decisive:
            tubes += paint_nodule(rng, scene, site)
        else:
            tubes += mimic_tubes(rng, site)
    paint_tubes(scene, join_tubes(tubes))
    noise = stream(plan.seed, plan.number, "dsb2017 noise")
    drawn = expose(noise, plan.chest, scene, plan.grid, plan.kernel)
    edge = DRAWN_PIXELS // BINNED
    blocks = drawn.reshape(len(drawn), edge, BINNED, edge, BINNED)
    return np.rint(blocks.mean(axis=(2, 4), dtype=np.float32)).astype(np.int16)


def voxel_mm(plan: ChestPlan) -> tuple[float, float, float]:
    """Spacing of the rendered voxels, (x, y, z)."""
    return plan.grid.pixel_mm * BINNED, plan.grid.pixel_mm * BINNED, plan.grid.slice_mm


def first_voxel_mm(plan: ChestPlan) -> np.ndarray:
    """Where the centre of the first rendered voxel lies, [3] in scan millimetres."""
    return np.array([(BINNED - 1) / 2 * plan.grid.pixel_mm] * 2 + [0.0])


def drawn_digest(seed: int, number: int, purpose: str = "") -> bytes:
    """32 bytes that name a scan, and say nothing of its answer."""
    text = f"mlp_med phantom dsb2017 {VERSION} {seed} {number} {purpose}".rstrip()
    return sha256(text.encode()).digest()


def drawn_uid(seed: int, number: int, purpose: str) -> str:
    """A UID under 2.25, the root that stands for UUIDs, so that no archive's root is used."""
    return f"2.25.{uuid.UUID(bytes=drawn_digest(seed, number, purpose)[:16], version=4).int}"


def _diameters(rng: np.random.Generator, num_diameters: int) -> np.ndarray:
    return rng.uniform(*DIAMETER_RANGE_MM, num_diameters)
