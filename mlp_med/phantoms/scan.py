"""One scan of the phantom, from a seed and a number to findings and voxels."""

import uuid
from dataclasses import dataclass
from hashlib import sha256

import numpy as np

from mlp_med.phantoms.anatomy import Chest, build_chest
from mlp_med.phantoms.distribution import ScanGrid, draw_grid
from mlp_med.phantoms.mimics import draw_mimic, passing_vessels
from mlp_med.phantoms.nodules import SHAPES, draw_blob, paint_blob, spicules
from mlp_med.phantoms.scanner import Kernel, draw_kernel, empty_scene, expose
from mlp_med.phantoms.sites import Site, draw_sites
from mlp_med.phantoms.tubes import Scene, Tubes, join_tubes, paint_tubes
from mlp_med.phantoms.vessels import grow_tree

# Raised whenever the same seed would draw other scans, so that two versions are never mixed.
PHANTOM_VERSION = 2
COVERAGE_MM = 160.0
NUM_PIXELS = 512
SITES_PER_SCAN = 40
# About half, so that few scans hold enough of both classes to learn from.
NODULES_PER_SCAN = (18, 22)
LEAVES_PER_TREE = 150
JITTER_MM = 1.5
FLIPPED_SHARE = 0.1


@dataclass(frozen=True)
class Finding:
    """What stands in the tables: positions [3] in scan millimetres."""

    site: Site
    is_nodule: bool
    candidate_mm: np.ndarray

    @property
    def centre_mm(self) -> np.ndarray:
        """Where it lies: the site's centre."""
        return self.site.centre_mm

    @property
    def diameter_mm(self) -> float:
        """The site's diameter."""
        return self.site.diameter_mm


@dataclass(frozen=True)
class ScanPlan:
    """All that is decided about a scan before a voxel is drawn.

    Without mimics a mark that is no nodule lies on ordinary lung.
    """

    seed: int
    number: int
    series_uid: str
    grid: ScanGrid
    kernel: Kernel
    chest: Chest
    vessels: Tubes
    findings: list[Finding]
    has_mimics: bool = True


def plan_scan(
    seed: int, number: int, num_pixels: int = NUM_PIXELS, *, variant: str = "", mimics: bool = True
) -> ScanPlan:
    """The plan of scan `number`: a pure function of its arguments."""
    grid = draw_grid(stream(seed, number, "grid"), COVERAGE_MM, num_pixels)
    chest = build_chest(stream(seed, number, "chest"), grid.extent_mm)
    vessels = grow_vessels(stream(seed, number, "vessels"), chest, grid)
    rng = stream(seed, number, "findings")
    sites = draw_sites(rng, chest, vessels, grid.extent_mm, SITES_PER_SCAN)
    num_nodules = min(len(sites), int(rng.integers(NODULES_PER_SCAN[0], NODULES_PER_SCAN[1] + 1)))
    findings = [
        # The sites come in random order, so the first ones are as good as any.
        Finding(site, index < num_nodules, site.centre_mm + _jitter(rng))
        for index, site in enumerate(sites)
    ]
    findings = [findings[index] for index in rng.permutation(len(findings))]
    kernel = draw_kernel(stream(seed, number, "kernel"))
    uid = series_uid(seed, number, variant)
    return ScanPlan(seed, number, uid, grid, kernel, chest, vessels, findings, mimics)


def render_scan(plan: ScanPlan) -> np.ndarray:
    """The voxels of a planned scan: int16 HU [z, y, x]."""
    scene = empty_scene(plan.chest, plan.grid)
    tubes = [plan.vessels]
    rng = stream(plan.seed, plan.number, "shapes")
    for finding in plan.findings:
        if finding.is_nodule:
            tubes += paint_nodule(rng, scene, finding.site)
        elif plan.has_mimics:
            tubes += mimic_tubes(rng, finding.site)
    paint_tubes(scene, join_tubes(tubes))
    noise = stream(plan.seed, plan.number, "noise")
    return expose(noise, plan.chest, scene, plan.grid, plan.kernel)


def world_placement(seed: int, number: int) -> tuple[tuple[float, float, float], bool]:
    """Where the scan's origin lies in the world (LPS mm), and whether it is stored flipped."""
    rng = stream(seed, number, "world")
    x, y, z = rng.normal([-175, -170, -260], [8, 12, 60]).round(4).tolist()
    return (x, y, z), bool(rng.uniform() < FLIPPED_SHARE)


def series_uid(seed: int, number: int, variant: str = "") -> str:
    """A UID under 2.25, the root that stands for UUIDs, so that no archive's root is used."""
    text = f"mlp_med phantom luna16 {PHANTOM_VERSION} {seed} {number} {variant}".rstrip()
    digest = sha256(text.encode()).digest()
    return f"2.25.{uuid.UUID(bytes=digest[:16], version=4).int}"


def stream(seed: int, number: int, purpose: str) -> np.random.Generator:
    """A random stream of its own for each purpose, so that none disturbs another."""
    key = int.from_bytes(sha256(purpose.encode()).digest()[:4], "little")
    return np.random.default_rng([PHANTOM_VERSION, seed, number, key])


def grow_vessels(
    rng: np.random.Generator, chest: Chest, grid: ScanGrid, leaves_per_tree: int = LEAVES_PER_TREE
) -> Tubes:
    """An artery and a vein for each lung."""
    points = rng.uniform(0, grid.extent_mm, (30 * leaves_per_tree, 3))
    points = points[chest.lung_depth(points) > 1.5]
    middle = chest.hilum_mm[:, 0].mean()
    trees = []
    for hilum in chest.hilum_mm:
        side = points[(points[:, 0] > middle) == (hilum[0] > middle)]
        for which, height in enumerate((6.0, -8.0)):
            leaves = side[which * leaves_per_tree : (which + 1) * leaves_per_tree]
            trees.append(grow_tree(rng, hilum + np.array([0, 0, height]), leaves))
    return join_tubes(trees)


def _jitter(rng: np.random.Generator) -> np.ndarray:
    """How far a detector's mark lies off the centre: uniform in a ball, alike for both classes."""
    direction = rng.normal(size=3)
    return direction / np.linalg.norm(direction) * JITTER_MM * rng.uniform() ** (1 / 3)


def paint_nodule(rng: np.random.Generator, scene: Scene, site: Site) -> list[Tubes]:
    """Draws a nodule's body and returns its strands and vessels."""
    shape = str(rng.choice(list(SHAPES), p=list(SHAPES.values())))
    blob = draw_blob(rng, shape, site.centre_mm, site.diameter_mm)
    if site.haze is None:
        paint_blob(scene, blob, site.density)
    else:  # part-solid: a solid core in ground glass
        paint_blob(scene, blob, site.haze)
        aside = site.centre_mm + rng.uniform(-0.1, 0.1, 3) * site.diameter_mm
        core = draw_blob(rng, "lobulated", aside, site.diameter_mm * rng.uniform(0.4, 0.65))
        paint_blob(scene, core, site.density)
    tubes = [] if site.inward is not None else [passing_vessels(rng, site)]
    if shape == "spiculated":
        tubes.append(spicules(rng, blob).with_density(site.haze or site.density))
    return tubes


def mimic_tubes(rng: np.random.Generator, site: Site) -> list[Tubes]:
    """The tubes of a mimic, which are all there is to it."""
    tubes, _ = draw_mimic(rng, site)
    if site.haze is None:
        return [tubes.with_density(site.density)]
    core = rng.uniform(0.4, 0.65)
    return [tubes.with_density(site.haze), tubes.with_density(site.density, core)]
