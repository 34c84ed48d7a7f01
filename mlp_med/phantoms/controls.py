"""Scans of the control phantoms, in which it is known at which scale the answer lies.

Both variants show the same lesions in the same chests (see `lesions`). In one their mean density
tells the classes apart, which every resolution sees; in the other only the amplitude of a texture
that coarse voxels, anti-aliased, do not hold.
"""

from dataclasses import dataclass

import numpy as np

from mlp_med.phantoms.anatomy import Chest, build_chest
from mlp_med.phantoms.distribution import ScanGrid, draw_grid
from mlp_med.phantoms.lesions import Lesion, draw_lesions, paint_lesion
from mlp_med.phantoms.scan import NUM_PIXELS, grow_vessels, series_uid, stream
from mlp_med.phantoms.scanner import Kernel, empty_scene, expose
from mlp_med.phantoms.tubes import Tubes, paint_tubes

COARSE_ANSWER, FINE_ANSWER = "coarse_answer", "fine_answer"
CARRIER = {COARSE_ANSWER: "density", FINE_ANSWER: "texture"}
COVERAGE_MM = 108.0
# Above the domes of the diaphragm there is lung on every slice.
COVERAGE_START_MM = 70.0
# One thickness, so that slices do not blur one scan's texture more than another's; thin ones for
# blobs that thick slices would average away.
SLICE_MM, THIN_SLICE_MM = 2.0, 1.0
LEAVES_PER_TREE = 500
FINE_BLOB_MM = 2.5


@dataclass(frozen=True)
class ControlPlan:
    """All that is decided about a control scan before a voxel is drawn."""

    variant: str
    seed: int
    number: int
    blob_mm: float
    series_uid: str
    grid: ScanGrid
    kernel: Kernel
    chest: Chest
    vessels: Tubes
    findings: list[Lesion]


def plan_control_scan(
    variant: str, seed: int, number: int, blob_mm: float = FINE_BLOB_MM
) -> ControlPlan:
    """The plan of scan `number` of a control phantom: a pure function of its arguments.

    Args:
        variant: "coarse_answer" or "fine_answer".
        seed: of the phantom.
        number: of the scan.
        blob_mm: size of the structure in the lesions' texture.
    """
    drawn = draw_grid(stream(seed, number, "grid"), COVERAGE_MM)
    slice_mm = slice_of(blob_mm)
    grid = ScanGrid(drawn.pixel_mm, slice_mm, NUM_PIXELS, round(COVERAGE_MM / slice_mm) + 1)
    chest = build_chest(stream(seed, number, "chest"), grid.extent_mm, COVERAGE_START_MM)
    lesions = stream(seed, number, "lesions")
    noise_hu = float(stream(seed, number, "kernel").uniform(26, 32))
    return ControlPlan(
        variant=variant,
        seed=seed,
        number=number,
        blob_mm=blob_mm,
        series_uid=series_uid(seed, number, f"{variant} {blob_mm:g}"),
        grid=grid,
        # Of one sharpness, for the same reason as the slices'.
        kernel=Kernel("sharp", 0.42, noise_hu),
        chest=chest,
        vessels=grow_vessels(stream(seed, number, "vessels"), chest, grid, LEAVES_PER_TREE),
        findings=draw_lesions(lesions, chest, grid.extent_mm, CARRIER[variant]),
    )


def slice_of(blob_mm: float) -> float:
    """Thickness of the slices in which blobs of this size are still to be seen, mm."""
    return SLICE_MM if blob_mm >= SLICE_MM else THIN_SLICE_MM


def render_control_scan(plan: ControlPlan) -> np.ndarray:
    """The voxels of a planned scan: int16 HU [z, y, x]."""
    scene = empty_scene(plan.chest, plan.grid)
    paint_tubes(scene, plan.vessels)
    rng = stream(plan.seed, plan.number, "textures")
    for lesion in plan.findings:
        paint_lesion(rng, scene, lesion, plan.blob_mm)
    noise = stream(plan.seed, plan.number, "noise")
    return expose(noise, plan.chest, scene, plan.grid, plan.kernel)
