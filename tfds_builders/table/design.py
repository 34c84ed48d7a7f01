"""Which field and which resolutions the crops of a csv file get, and how their values are kept."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mlp_med.imaging.formats import BYTE, FLOAT, SHORT, ImageHeader
from tfds_builders.table.images import LARGEST_FIELD_MM, image_extents

FIELD_AROUND_A_CENTRE_MM = 40.0
NUM_OCTAVES = 4
FEWEST_VOXELS = 6  # along an edge of the coarsest crop
MOST_VOXELS = {2: 1024, 3: 160}  # along an edge of the finest crop, unless the user asks for more
SPACING_DIGITS = 3


@dataclass(frozen=True)
class Design:
    """What all crops have in common.

    Attributes:
        spatial_dims: 2 or 3.
        num_channels: 1 or 3.
        dtype: "uint8", "int16" or "float32".
        field_mm: edge of the field.
        resolutions: mm a voxel, finest first; all divide the coarsest, which divides the field.
        has_diameter: whether the examples have a diameter_mm.
        has_centres: whether crops lie about stated centres, and are not whole images.
        kinds: of cases, sorted; none where the examples have no kind.
    """

    spatial_dims: int
    num_channels: int
    dtype: str
    field_mm: float
    resolutions: tuple[float, ...]
    has_diameter: bool
    has_centres: bool
    kinds: tuple[str, ...] = ()


def choose_design(
    headers: Sequence[ImageHeader],
    *,
    whole: bool,
    field_mm: float | None,
    resolutions: Sequence[float] | None,
    has_diameter: bool,
    kinds: tuple[str, ...],
    problems: list[str],
) -> Design | None:
    """Takes what the user stated and finds the rest; None, and why in `problems`, if it cannot.

    Args:
        headers: of all images; of one kind.
        whole: whether there are no centres.
        field_mm: stated edge of the field; the images' common one, or 40 mm around a centre.
        resolutions: stated; else octaves from the native spacing (median of the images' finest).
        has_diameter: passed on, as `kinds`.
        kinds: see `Design`.
        problems: what is wrong is added here.
    """
    dims = headers[0].spatial_dims
    extents = np.array([image_extents(header) for header in headers])
    native = float(np.median([min(header.spacing_mm or ()) for header in headers]))
    if field_mm is None:
        wanted = _default_field(extents, native, whole, problems)
    else:
        wanted = float(field_mm)
    if wanted is None or not _plausible(wanted, extents, field_mm is None, problems):
        return None
    if resolutions:
        ladder = tuple(sorted(float(value) for value in resolutions))
        problem = _ladder_problem(ladder)
    else:
        ladder, problem = _octaves(wanted, native, dims)
    if problem:
        problems.append(problem)
        return None
    coarsest = ladder[-1]
    # A whole image is cropped rather than padded by the part of a voxel that is left over.
    number = wanted / coarsest
    number = math.floor(number + 1e-6) if whole and field_mm is None else round(number)
    field = _tidy(max(1, number) * coarsest)
    if resolutions and field_mm is not None and abs(field - wanted) > 1e-6:
        problems.append(
            f"a field of {wanted:g} mm is no whole number of voxels at {coarsest:g} mm; the "
            f"nearest is field_mm={field:g}"
        )
        return None
    return Design(
        spatial_dims=dims,
        num_channels=headers[0].num_channels,
        dtype=_common_dtype(headers),
        field_mm=field,
        resolutions=ladder,
        has_diameter=has_diameter,
        has_centres=not whole,
        kinds=kinds,
    )


def _default_field(
    extents: np.ndarray, native: float, whole: bool, problems: list[str]
) -> float | None:
    if not whole:
        return FIELD_AROUND_A_CENTRE_MM
    low, high = float(extents.min()), float(extents.max())
    if high - low > native:
        problems.append(
            f"whole images need one square (cubic) field, and the images' edges are {low:g} to "
            f"{high:g} mm long; state field_mm, around the images' centres: {low:g} cuts larger "
            f"ones, {high:g} pads smaller ones"
        )
        return None
    return low


def _plausible(field: float, extents: np.ndarray, by_default: bool, problems: list[str]) -> bool:
    if not 0 < field <= LARGEST_FIELD_MM:
        problems.append(
            f"a field of {field:g} mm cannot be: expected more than 0 and at most 2 m; were "
            f"micrometres taken for mm? {field:g} µm are {field / 1000:g} mm"
        )
        return False
    largest = float(extents.max())
    if field > 2 * largest:
        problems.append(
            f"a field of {field:g} mm{' (the default)' if by_default else ''} is more than twice "
            f"as wide as the largest image ({largest:g} mm): are the images' spacings in m or cm "
            "instead of mm? If they are right, state a smaller field_mm"
        )
        return False
    return True


def _octaves(field: float, native: float, dims: int) -> tuple[tuple[float, ...], str]:
    finest = _round_up(native)
    while field / finest > MOST_VOXELS[dims]:
        finest = _tidy(2 * finest)
    ladder = [
        _tidy(finest * 2**octave)
        for octave in range(NUM_OCTAVES)
        if field / (finest * 2**octave) >= FEWEST_VOXELS
    ]
    if len(ladder) >= 2:
        return tuple(ladder), ""
    return (), (
        f"a field of {field:g} mm holds {field / finest:.1f} voxels of the native {native:g} mm; "
        f"two resolutions need {2 * FEWEST_VOXELS}: state a larger field_mm, or resolutions"
    )


def _ladder_problem(ladder: tuple[float, ...]) -> str:
    if min(ladder) <= 0 or any(value != float(f"{value:.6g}") for value in ladder):
        return f"expected positive resolutions of at most 6 digits, found {list(ladder)}"
    if len(set(ladder)) < len(ladder):
        return f"expected each resolution once, found {list(ladder)}"
    coarsest = ladder[-1]
    wrong = [v for v in ladder if abs(coarsest / v - round(coarsest / v)) > 1e-6]
    if wrong:
        return (
            f"the resolution {wrong[0]:g} mm does not divide the coarsest, {coarsest:g} mm; e.g. "
            + ", ".join(f"{coarsest / 2**k:g}" for k in range(len(ladder) - 1, -1, -1))
        )
    return ""


def _common_dtype(headers: Sequence[ImageHeader]) -> str:
    kinds = {header.dtype for header in headers}
    if FLOAT in kinds:
        return FLOAT
    return BYTE if kinds == {BYTE} else SHORT


def _round_up(spacing: float) -> float:
    step = 10.0 ** (math.floor(math.log10(spacing)) - SPACING_DIGITS + 1)
    return _tidy(math.ceil(spacing / step - 1e-6) * step)


def _tidy(value: float) -> float:
    return float(f"{value:.6g}")
