"""Everything a build needs to know of a csv file and its images, found without reading a pixel."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mlp_med.errors import SourceError
from mlp_med.evidence.foreign_columns import NO_WORD
from mlp_med.imaging.formats import ImageHeader, image_files
from mlp_med.imaging.volume import is_finer_than_native
from tfds_builders.hashing import digest_of
from tfds_builders.phantom_marker import is_phantom, unfinished_phantom
from tfds_builders.problems import require_none
from tfds_builders.source_report import SourceReport
from tfds_builders.table.crops import crop_bytes
from tfds_builders.table.design import Design, choose_design
from tfds_builders.table.images import (
    centre_problems,
    image_centre,
    image_extents,
    read_headers,
)
from tfds_builders.table.rows import (
    CENTRE,
    CLASSES,
    count_classes,
    one_class_problems,
    read_rows,
)
from tfds_builders.tables import read_column_names

DIGESTED_BYTES = 4096  # of each file, where the headers are
# Of one core, measured on drawn CT and real patches: to open an image and to read its values, and
# to render and write a crop at one resolution.
SECONDS_AN_IMAGE, SECONDS_A_MILLION_VALUES = 0.006, 0.035
SECONDS_A_CROP, SECONDS_A_MEGABYTE = 0.003, 0.008


@dataclass
class Survey:
    """A csv file and its images as found; fit for a dataset only if `problems` is empty.

    Attributes:
        source: the csv file.
        examples: `Rows.table`, sorted by path and id, with a centre for every row.
        headers: by path.
        design: None where the problems leave none.
        digest: of the source.
        phantom: whether the images are synthetic.
        patients_known: whether the csv file names patients.
        problems: what must be mended.
        warnings: what should be known.
    """

    source: Path
    examples: pd.DataFrame
    headers: dict[str, ImageHeader]
    design: Design | None
    digest: str
    phantom: bool
    patients_known: bool
    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def require_sound(self) -> Design:
        """The design; raises SourceError if there are problems, and tells them."""
        require_none(self.source, self.problems)
        assert self.design is not None
        return self.design

    def centres_mm(self, rows: pd.DataFrame) -> np.ndarray:
        """Centres of some of the examples, float64 [k, dims]."""
        return rows[list(CENTRE[: self.require_sound().spatial_dims])].to_numpy()

    def crop_bytes(self, spacing_mm: float) -> int:
        """Bytes of all crops at one resolution."""
        design = self.design
        assert design is not None
        one = crop_bytes(
            design.field_mm, spacing_mm, design.spatial_dims, design.num_channels, design.dtype
        )
        return one * len(self.examples)

    @property
    def build_core_seconds(self) -> float:
        """Of one core, for all resolutions; 0 without a design."""
        if self.design is None:
            return 0.0
        values = sum(math.prod(header.size) for header in self.headers.values())
        values *= self.design.num_channels
        resolutions = self.design.resolutions
        megabytes = sum(map(self.crop_bytes, resolutions)) / 1e6
        return (
            SECONDS_AN_IMAGE * len(self.headers)
            + SECONDS_A_MILLION_VALUES * values / 1e6
            + SECONDS_A_CROP * len(self.examples) * len(resolutions)
            + SECONDS_A_MEGABYTE * megabytes
        )

    def num_finer_than_native(self, spacing_mm: float) -> int:
        """Examples whose image has an axis coarser than the resolution."""
        coarse = [
            p for p, h in self.headers.items() if is_finer_than_native(h.spacing_mm, spacing_mm)
        ]
        return int(self.examples["path"].isin(coarse).sum())


def survey_source(
    source: Path,
    *,
    field_mm: float | None = None,
    spacing_mm: float | None = None,
    resolutions: Sequence[float] | None = None,
    **others: Any,
) -> Survey:
    """Reads the csv file and the header of every image.

    Raises:
        SourceError: no csv file of this kind. All else is in the survey's problems.
    """
    del others  # they change values, not the choice of crops
    rows = read_rows(source)
    problems = unfinished_phantom(source.parent) + rows.problems
    headers = read_headers(rows.table, spacing_mm, problems)
    problems += centre_problems(rows.table, headers, rows.centre_axes)
    if not rows.problems:
        problems += one_class_problems(rows.table, "split" in read_column_names(source))
    design = None
    if not problems:
        design = choose_design(
            list(headers.values()),
            whole=rows.centre_axes == 0,
            field_mm=field_mm,
            resolutions=resolutions,
            has_diameter=rows.has_diameter,
            kinds=rows.kinds,
            problems=problems,
        )
    examples = rows.table.sort_values(["path", "id"])
    if design is not None and rows.centre_axes == 0:
        centres = {path: image_centre(header) for path, header in headers.items()}
        for axis in range(design.spatial_dims):
            examples[CENTRE[axis]] = [centres[path][axis] for path in examples["path"]]
    survey = Survey(
        source=source,
        examples=examples,
        headers=headers,
        design=design,
        digest=digest_only(source),
        phantom=is_phantom(source.parent),
        patients_known=rows.patients_known,
        problems=problems,
    )
    if design is not None:
        survey.warnings += _warnings(survey, design, field_mm)
    return survey


def digest_only(source: Path) -> str:
    """Digest of the csv file, and of the size and the first 4 KiB of every file of an image.

    That is every header and no more of the voxels: files that differ only in later bytes, and not
    in their size, have the same digest. It is made whenever a dataset is opened with its source.

    Raises:
        SourceError: no csv file of this kind.
    """
    paths = sorted(set(read_rows(source).table["path"]) - {""})
    parts: list[str | bytes] = [source.read_bytes()]
    if is_phantom(source.parent):
        parts.append("phantom")
    for path in paths:
        for file in image_files(Path(path)):
            with file.open("rb") as stream:
                parts += [str(file.stat().st_size), stream.read(DIGESTED_BYTES)]
    return digest_of(parts)


def check(source: Path | str, **options: Any) -> SourceReport:
    """What the csv file and its images hold; reads no pixels and writes nothing.

    Args:
        source: the csv file.
        **options: of the builder: field_mm, spacing_mm, resolutions.
    """
    source = Path(source).expanduser().absolute()
    try:
        survey = survey_source(source, **options)
    except SourceError as error:
        return SourceReport(dataset="table", source=source, problems=[str(error)])
    design, labels = survey.design, survey.examples["label"]
    crops = {f"{r:g}mm": survey.crop_bytes(r) for r in design.resolutions} if design else {}
    return SourceReport(
        dataset="table",
        source=source,
        layout=_layout(survey),
        phantom=survey.phantom,
        digest=survey.digest,
        files={"images": len(survey.headers)},
        candidates={name: int((labels == k).sum()) for k, name in enumerate(CLASSES)},
        examples=count_classes(survey.examples),
        native=_native_spacing(survey),
        crop_bytes=crops,
        build_core_seconds=survey.build_core_seconds,
        problems=survey.problems,
        warnings=survey.warnings,
    )


def _layout(survey: Survey) -> str:
    design = survey.design
    if design is None:
        return "a csv file of images"
    colours = "RGB" if design.num_channels == 3 else "grey"
    text = f"{design.spatial_dims}D {colours} images as {design.dtype}, "
    text += f"a field of {design.field_mm:g} mm"
    kinds = [kind for kind in design.kinds if kind != NO_WORD]
    return text + (f", of the kinds {', '.join(kinds)}" if kinds else "")


def _warnings(survey: Survey, design: Design, field_mm: float | None) -> list[str]:
    warnings = []
    if field_mm is not None and abs(field_mm - design.field_mm) > 1e-9:
        warnings.append(
            f"a field of {field_mm:g} mm is taken as {design.field_mm:g} mm, a whole number of "
            f"voxels at {design.resolutions[-1]:g} mm"
        )
    if not survey.patients_known:
        warnings.append(
            "patients are not given: images of one patient may lie in several splits, and every "
            "interval is too narrow"
        )
    beyond = _num_beyond_their_image(survey, design)
    if beyond:
        warnings.append(
            f"{beyond:,} of {len(survey.examples):,} crops reach beyond their image and are padded "
            "there (option fill); were one class padded more often, that would give it away"
        )
    if all(set(header.spacing_mm or ()) == {1.0} for header in survey.headers.values()):
        warnings.append("every image says exactly 1 mm along every axis: is that measured?")
    for resolution in design.resolutions:
        number = survey.num_finer_than_native(resolution)
        if number:
            warnings.append(
                f"{resolution:g} mm is finer than the coarsest native axis of {number:,} of "
                f"{len(survey.examples):,} examples: allowed, but these crops hold no detail of "
                "that size along that axis"
            )
    return warnings


def _num_beyond_their_image(survey: Survey, design: Design) -> int:
    """Crops of which more than a voxel lies outside."""
    of_image, paths = pd.factorize(survey.examples["path"])
    headers = [survey.headers[path] for path in paths]
    middles = np.array([image_centre(header) for header in headers])
    limits = np.array([image_extents(h) / 2 + min(h.spacing_mm or ()) for h in headers])
    reach = np.abs(survey.centres_mm(survey.examples) - middles[of_image]) + design.field_mm / 2
    return int((reach > limits[of_image]).any(axis=1).sum())


def _native_spacing(survey: Survey) -> str:
    if not survey.headers or len({h.spatial_dims for h in survey.headers.values()}) > 1:
        return ""
    spacings = np.array([header.spacing_mm for header in survey.headers.values()])
    axes = [
        f"{name} {np.median(values):.3g} ({values.min():.3g}–{values.max():.3g})"
        for name, values in zip("xyz", spacings.T, strict=False)
    ]
    return "median (range) in mm: " + ", ".join(axes)
