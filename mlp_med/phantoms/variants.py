"""What a phantom in LUNA16's layout shows: nodules, or lesions whose answer has a known scale."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from mlp_med.errors import SourceError
from mlp_med.phantoms import controls, lesions
from mlp_med.phantoms.controls import (
    COARSE_ANSWER,
    FINE_ANSWER,
    FINE_BLOB_MM,
    ControlPlan,
    plan_control_scan,
    render_control_scan,
)
from mlp_med.phantoms.distribution import ScanGrid
from mlp_med.phantoms.scan import (
    COVERAGE_MM,
    JITTER_MM,
    NODULES_PER_SCAN,
    ScanPlan,
    plan_scan,
    render_scan,
)

NODULES = "nodules"
NODULES_ALONE = "nodules_alone"  # without mimics: to be found among ordinary vessels
VARIANTS = (NODULES, NODULES_ALONE, COARSE_ANSWER, FINE_ANSWER)
# From 0.625 mm voxels, whose finest waves are 1.25 mm long, to lesions that hold several blobs.
BLOB_RANGE_MM = (1.25, 4.0)

MARKS = f"marks lie up to {JITTER_MM:g} mm off the centre, alike for both classes"
NOT_DRAWN = [
    "no contrast agent, calcification, emphysema, motion or metal; slices are as thick as apart",
    "no mark falls on an excluded finding: there is no annotations_excluded.csv",
]
NODULES_DEPARTURES = [
    f"a scan covers {COVERAGE_MM:g} mm of the chest, a real one 250 to 350 mm",
    f"a scan holds {NODULES_PER_SCAN[0]} to {NODULES_PER_SCAN[1]} nodules, a LUNA16 scan 1.3 on "
    "average",
    "fewer small vessels than a real lung has",
    MARKS,
    *NOT_DRAWN,
]
MIMICS = (
    "every candidate is a nodule or a hard mimic of one, one mark each; LUNA16 has hundreds a scan"
)
NO_MIMICS = (
    "a candidate is a nodule or a place in the lung where nothing but what every lung has was "
    "drawn, one mark each; LUNA16 has hundreds a scan, and among them look-alikes of nodules"
)
SMALLEST_MM, LARGEST_MM = lesions.DIAMETER_RANGE_MM


class Finding(Protocol):
    """What the tables say of a finding; positions [3] in scan millimetres."""

    @property
    def centre_mm(self) -> np.ndarray: ...  # noqa: D102
    @property
    def diameter_mm(self) -> float: ...  # noqa: D102
    @property
    def is_nodule(self) -> bool: ...  # noqa: D102
    @property
    def candidate_mm(self) -> np.ndarray: ...  # noqa: D102


class Plan(Protocol):
    """What the writer must know of a planned scan."""

    @property
    def series_uid(self) -> str: ...  # noqa: D102
    @property
    def grid(self) -> ScanGrid: ...  # noqa: D102
    @property
    def findings(self) -> Sequence[Finding]: ...  # noqa: D102


def require_variant(variant: str, blob_mm: float) -> None:
    """Raises SourceError if there is no such variant, or not with blobs of this size."""
    if variant not in VARIANTS:
        raise SourceError(f"expected a variant out of {', '.join(VARIANTS)}, got {variant!r}")
    low, high = BLOB_RANGE_MM
    if not low <= blob_mm <= high:
        raise SourceError(f"expected blobs of {low:g} to {high:g} mm, got {blob_mm:g} mm")
    if variant != FINE_ANSWER and blob_mm != FINE_BLOB_MM:
        raise SourceError(f"only the variant {FINE_ANSWER} can have blobs of another size")


def plan(variant: str, seed: int, number: int, blob_mm: float = FINE_BLOB_MM) -> Plan:
    """The plan of scan `number`: a pure function of its arguments."""
    if variant == NODULES:
        return plan_scan(seed, number)
    if variant == NODULES_ALONE:
        return plan_scan(seed, number, variant=variant, mimics=False)
    return plan_control_scan(variant, seed, number, blob_mm)


def render(plan: Plan) -> np.ndarray:
    """The voxels of a planned scan: int16 HU [z, y, x]."""
    if isinstance(plan, ControlPlan):
        return render_control_scan(plan)
    assert isinstance(plan, ScanPlan)
    return render_scan(plan)


def identity(variant: str, blob_mm: float) -> dict[str, object]:
    """What PHANTOM.json says of the variant; nothing of the nodules, which were there first."""
    if variant == NODULES:
        return {}
    return {"variant": variant, **({"blob_mm": blob_mm} if variant == FINE_ANSWER else {})}


def largest_scan_bytes(variant: str) -> int:
    """Of the voxels of one scan: the thinnest slices make the largest."""
    thinnest = controls.THIN_SLICE_MM if variant == FINE_ANSWER else controls.SLICE_MM
    is_control = variant in (COARSE_ANSWER, FINE_ANSWER)
    num_slices = COVERAGE_MM if not is_control else controls.COVERAGE_MM / thinnest + 1
    return int(2 * controls.NUM_PIXELS**2 * num_slices)


def departures(variant: str, blob_mm: float) -> list[str]:
    """In what a phantom differs from real scans, a sentence each."""
    if variant in (NODULES, NODULES_ALONE):
        which = MIMICS if variant == NODULES else NO_MIMICS
        return [*NODULES_DEPARTURES[:2], which, *NODULES_DEPARTURES[2:]]
    if variant == COARSE_ANSWER:
        answer = "the answer lies in their mean density alone; texture tells nothing"
    else:
        answer = (
            f"the answer lies in the amplitude of a texture of blobs of about {blob_mm:g} mm "
            "alone; mean density tells nothing, and anti-aliased voxels twice as large as a blob "
            "hold none of the texture"
        )
    return [
        f"a scan covers {controls.COVERAGE_MM:g} mm of the chest, a real one 250 to 350 mm",
        f"every candidate is a soft ball of {SMALLEST_MM:g} to {LARGEST_MM:g} mm in the lungs, "
        "half of each scan's called nodules",
        answer,
        f"the classes overlap: no observer's AUC exceeds {lesions.BEST_AUC:g}, at any resolution",
        f"one sharp kernel, slices of {controls.slice_of(blob_mm):g} mm",
        MARKS,
        *NOT_DRAWN,
    ]
