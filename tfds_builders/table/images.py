"""The images that a csv file names: headers read and compared, units and centres checked."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from mlp_med.errors import ImageError
from mlp_med.imaging.formats import ImageHeader, read_image_header
from tfds_builders.table.rows import CENTRE, MAX_SHOWN

FINEST_SPACING_MM, COARSEST_SPACING_MM = 1e-4, 20.0
LARGEST_FIELD_MM = 2000.0
SAME_SPACING_WITHIN = 0.01
Guess = tuple[str, Callable[[np.ndarray, ImageHeader], np.ndarray]]


def read_headers(
    table: pd.DataFrame, spacing_mm: float | None, problems: list[str]
) -> dict[str, ImageHeader]:
    """The header of every image that can be used, by its path; all have a spacing.

    Args:
        table: `Rows.table`.
        spacing_mm: stated by the user for images whose format knows no mm.
        problems: what is wrong is added here.
    """
    headers: dict[str, ImageHeader] = {}
    absent: list[str] = []
    unreadable: list[str] = []
    without_mm: list[str] = []
    for path, stated in _stated_spacings(table, spacing_mm, problems).items():
        if not Path(path).exists():
            absent.append(path)
            continue
        try:
            header = read_image_header(path)
        except ImageError as error:
            unreadable.append(str(error))
            continue
        if header.spacing_mm is None and np.isnan(stated):
            without_mm.append(path)
            continue
        problems += _spacing_problems(header, stated)
        headers[path] = header if header.spacing_mm else header.with_spacing(stated)
    if absent:
        problems.append(
            f"{len(absent)} images of the csv file are missing, the first {absent[0]}; a relative "
            "path starts at the csv file's own folder"
        )
    problems += unreadable
    if without_mm:
        problems.append(
            f"{len(without_mm)} images do not say how large a pixel is, the first {without_mm[0]}: "
            "PNG, TIFF, JPEG and BMP know no mm. State it: the option spacing_mm (e.g. 0.00097 for "
            "0.97 µm), or a column spacing_mm"
        )
    problems += _mixtures(headers)
    return headers


def centre_problems(
    table: pd.DataFrame, headers: dict[str, ImageHeader], centre_axes: int
) -> list[str]:
    """What is wrong with the centres; with a guess at the mistake where one explains them."""
    if centre_axes == 0 or len({header.spatial_dims for header in headers.values()}) != 1:
        return []  # no centres, or no image, or a mixture, which is told elsewhere
    dims = next(iter(headers.values())).spatial_dims
    if centre_axes != dims and not (centre_axes == 3 and dims == 2):
        return [
            f"the images are {dims}D, and the centres have {centre_axes} coordinates; give "
            f"{', '.join(CENTRE[:dims])}"
        ]
    unplaced = [path for path, header in headers.items() if not header.placed]
    if unplaced:
        return [
            f"{unplaced[0]}: a single slice that lies across the x,y plane; leave the centres out "
            "and use whole images"
        ]
    rows = table[table["path"].isin(headers.keys())]
    centres = rows[list(CENTRE[:dims])].to_numpy()
    of_row = [headers[path] for path in rows["path"]]
    outside = np.array(
        [
            np.isfinite(centre).all() and not _inside(centre, header)
            for centre, header in zip(centres, of_row, strict=True)
        ],
        dtype=bool,
    )
    if not outside.any():
        return []
    first = int(outside.argmax())
    lines = ", ".join(str(line) for line in rows.index[outside][:MAX_SHOWN])
    return [
        f"{int(outside.sum())} of {len(rows)} centres lie outside their image (lines {lines}"
        f"{' …' if outside.sum() > MAX_SHOWN else ''}), the first at "
        f"{', '.join(f'{v:g}' for v in centres[first])} mm in {of_row[first].path}, which spans "
        f"{_span(of_row[first])}; expected mm in LPS, as SimpleITK gives them."
        + _guess(centres[outside], [of_row[i] for i in np.flatnonzero(outside)])
    ]


def image_centre(header: ImageHeader) -> np.ndarray:
    """The physical centre of an image, float64 [dims]."""
    middle = (np.array(header.size) - 1) / 2
    return header.direction @ (middle * header.spacing_mm) + header.origin_mm


def image_extents(header: ImageHeader) -> np.ndarray:
    """Edges of an image in mm along the physical axes (native ones if oblique), float64 [dims]."""
    extents = np.array(header.size) * header.spacing_mm
    order = np.abs(header.direction).argmax(axis=1)
    return extents[order] if len(set(order.tolist())) == len(order) else extents


def _stated_spacings(
    table: pd.DataFrame, spacing_mm: float | None, problems: list[str]
) -> dict[str, float]:
    """The spacing that the csv file or the option states, by path; NaN for none."""
    stated: dict[str, float] = {}
    for path, values in table[table["path"] != ""].groupby("path")["spacing_mm"]:
        known = set(values.dropna())
        if len(known) > 1:
            problems.append(
                f"{path}: the csv file states the spacings {sorted(known)} mm; keep one"
            )
        default = np.nan if spacing_mm is None else float(spacing_mm)
        stated[str(path)] = known.pop() if known else default
    return stated


def _spacing_problems(header: ImageHeader, stated: float) -> list[str]:
    own = header.spacing_mm
    if own is not None and not np.isnan(stated):
        if abs(stated / own[0] - 1) > SAME_SPACING_WITHIN:
            return [
                f"{header.path}: says {own[0]:g} mm a pixel itself, and {stated:g} mm are stated; "
                "a stated spacing is for formats that know no mm: leave it out, or mend the file"
            ]
        return []
    spacing = own if own is not None else (stated,) * header.spatial_dims
    shown = " × ".join(f"{value:g}" for value in spacing)
    if max(spacing) > COARSEST_SPACING_MM:
        return [
            f"{header.path}: {shown} mm a pixel cannot be: no scan is coarser than "
            f"{COARSEST_SPACING_MM:g} mm. Were micrometres taken for mm? {max(spacing):g} µm are "
            f"{max(spacing) / 1000:g} mm"
        ]
    if min(spacing) < FINEST_SPACING_MM:
        return [
            f"{header.path}: {shown} mm a pixel cannot be: no scan is finer than 0.1 µm. Were "
            f"metres taken for mm? {min(spacing):g} m are {min(spacing) * 1000:g} mm"
        ]
    extent = max(np.array(header.size) * spacing)
    if extent > LARGEST_FIELD_MM:
        return [
            f"{header.path}: {extent:g} mm across cannot be: no scan is wider than 2 m. Were "
            f"micrometres taken for mm? Then state {max(spacing) / 1000:g} mm a pixel"
        ]
    return []


def _mixtures(headers: dict[str, ImageHeader]) -> list[str]:
    problems = []
    for what, of in (
        ("spatial dimensions", lambda header: f"{header.spatial_dims}D"),
        ("channels", lambda header: "RGB" if header.num_channels == 3 else "grey values"),
    ):
        kinds = {path: of(header) for path, header in headers.items()}
        counts = Counter(kinds.values())
        if len(counts) > 1:
            examples = {kind: path for path, kind in reversed(kinds.items())}
            problems.append(
                f"expected images alike in {what}, found "
                + " and ".join(f"{n} of {kind} ({examples[kind]})" for kind, n in counts.items())
                + "; make two csv files"
            )
    return problems


def _inside(centre: np.ndarray, header: ImageHeader) -> bool:
    index = np.linalg.solve(header.direction, centre - header.origin_mm) / header.spacing_mm
    return bool((index >= -0.5).all() and (index <= np.array(header.size) - 0.5).all())


def _span(header: ImageHeader) -> str:
    corner = header.direction @ ((np.array(header.size) - 1) * header.spacing_mm)
    pairs = zip(header.origin_mm, corner + header.origin_mm, strict=True)
    ranges = (sorted((float(a), float(b))) for a, b in pairs)
    return ", ".join(f"{low:g} … {high:g}" for low, high in ranges) + " mm"


def _from_index(index: np.ndarray, header: ImageHeader) -> np.ndarray:
    return header.direction @ (index * header.spacing_mm) + header.origin_mm


GUESSES: tuple[Guess, ...] = (
    ("voxel indices", _from_index),
    ("voxel indices in the order of numpy (z, y, x)", lambda c, h: _from_index(c[::-1], h)),
    (
        "RAS coordinates (negate x and y)",
        lambda c, h: c * np.array([-1.0, -1.0, 1.0])[: len(c)],
    ),
    ("coordinates in the order z, y, x", lambda c, h: c[::-1]),
    ("micrometres (divide by 1000)", lambda c, h: c / 1000),
    ("centimetres (multiply by 10)", lambda c, h: c * 10),
    ("metres (multiply by 1000)", lambda c, h: c * 1000),
)


def _guess(centres: np.ndarray, headers: list[ImageHeader]) -> str:
    for name, convert in GUESSES:
        # Near an origin inside the image, a thousandth of anything lies inside.
        if "micro" in name and np.abs(centres).max() < LARGEST_FIELD_MM:
            continue
        if all(_inside(convert(c, h), h) for c, h in zip(centres, headers, strict=True)):
            return f" As {name} they would lie inside"
    return " No change of units or axes explains them: do rows and images belong together?"
