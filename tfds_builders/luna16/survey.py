"""Everything a build needs to know of a source, found without reading a voxel."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from mlp_med.errors import SourceError
from mlp_med.imaging.crop import crop_size
from mlp_med.imaging.volume import is_finer_than_native
from tfds_builders.hashing import digest_of
from tfds_builders.luna16.candidates import Selection, annotated_nodules, select_examples
from tfds_builders.luna16.layout import SPLITS, Layout, find_layout
from tfds_builders.luna16.release_tables import (
    read_annotations,
    read_candidates,
    read_excluded,
    read_series,
)
from tfds_builders.luna16.scans import Scan, find_scans, source_digest
from tfds_builders.phantom_marker import is_phantom, unfinished_phantom
from tfds_builders.problems import require_none
from tfds_builders.source_report import SourceReport

EXTENT_MM = 40.0
RESOLUTIONS_MM = (0.625, 1.25, 2.5, 5.0)
NEGATIVES_PER_POSITIVE = 3.0
CLASSES = ("non-nodule", "nodule")
# Of one core, measured on drawn scans: to read them, and a crop at all four resolutions.
SECONDS_A_MEGAVOXEL, SECONDS_A_CROP = 0.03, 0.016


@dataclass
class Survey:
    """A source as found: `examples` is fit for a dataset only if `problems` is empty.

    Attributes:
        layout: where things lie.
        scans: by series.
        digest: of the source.
        phantom: whether the scans are synthetic.
        candidates: number of candidates by class.
        examples: see `Selection`, and `split`; nodules only where there are no candidates.
        skipped: number left out, by reason.
        problems: what must be mended.
        warnings: what should be known.
    """

    layout: Layout
    scans: dict[str, Scan]
    digest: str
    phantom: bool
    candidates: dict[str, int]
    examples: pd.DataFrame
    skipped: dict[str, int]
    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def require_sound(self) -> None:
        """Raises SourceError if there are problems, and tells them."""
        require_none(self.layout.root, self.problems)

    def crop_bytes(self, resolution_mm: float) -> int:
        """Bytes of all crops at one resolution, int16."""
        return 2 * crop_size(EXTENT_MM, resolution_mm) ** 3 * len(self.examples)

    @property
    def build_core_seconds(self) -> float:
        """Of one core, for all resolutions."""
        used = self.examples["series"].unique()
        voxels = sum(math.prod(self.scans[series].header.size) for series in used)
        return SECONDS_A_MEGAVOXEL * voxels / 1e6 + SECONDS_A_CROP * len(self.examples)

    def num_finer_than_native(self, resolution_mm: float) -> int:
        """Examples whose scan has an axis coarser than the resolution."""
        finer = [
            series
            for series, scan in self.scans.items()
            if is_finer_than_native(scan.header.spacing_mm, resolution_mm)
        ]
        return int(self.examples["series"].isin(finer).sum())

    def warnings_at(self, resolution_mm: float) -> list[str]:
        """What should be known of a dataset at one resolution."""
        number = self.num_finer_than_native(resolution_mm)
        if not number:
            return []
        return [
            f"{resolution_mm:g} mm is finer than the coarsest native axis of {number:,} of "
            f"{len(self.examples):,} examples: allowed and recorded, but these crops hold no "
            "detail of that size along that axis"
        ]


def survey_source(root: Path, negatives_per_positive: float = NEGATIVES_PER_POSITIVE) -> Survey:
    """Reads the tables and headers below `root` and selects the examples.

    Raises:
        SourceError: `root` holds no known release. All else is in the survey's problems.
    """
    layout = find_layout(root)
    scans, problems = find_scans(layout)
    problems = unfinished_phantom(root) + problems
    candidates, selection = _select(layout, scans, negatives_per_positive, problems)
    examples = selection.examples
    splits = {series: scan.split for series, scan in scans.items()}
    survey = Survey(
        layout=layout,
        scans=scans,
        digest=source_digest(layout, scans),
        phantom=is_phantom(root),
        candidates=candidates,
        examples=examples.assign(split=examples["series"].map(splits)),
        skipped=selection.skipped,
        problems=problems,
    )
    if layout.candidates:
        survey.problems += splits_of_one_class(survey)
    survey.warnings += _warnings(survey)
    return survey


def digest_only(root: Path) -> str:
    """The digest of a source, without selecting its examples.

    Raises:
        SourceError: `root` holds no known release.
    """
    layout = find_layout(root)
    return source_digest(layout, find_scans(layout)[0])


def check(
    source: Path | str, negatives_per_positive: float = NEGATIVES_PER_POSITIVE
) -> SourceReport:
    """What the source holds and what a build would skip; reads no voxels and writes nothing."""
    survey_of = partial(survey_source, negatives_per_positive=negatives_per_positive)
    return report("luna16", source, survey_of)


def report(
    dataset: str,
    source: Path | str,
    survey_of: Callable[[Path], Survey],
    classes: Sequence[str] = CLASSES,
) -> SourceReport:
    """The report on a source of a dataset whose examples are `survey_of`'s."""
    source = Path(source).expanduser().absolute()
    try:
        survey = survey_of(source)
    except SourceError as error:
        return SourceReport(dataset=dataset, source=source, problems=[str(error)])
    sized = survey.layout.candidates != ()
    return SourceReport(
        dataset=dataset,
        source=source,
        layout=f"layout of {survey.layout.release}",
        phantom=survey.phantom,
        digest=survey.digest,
        files=_count(scan.subset for scan in survey.scans.values()),
        candidates=survey.candidates,
        examples=_examples_by_split(survey, classes) if sized else {},
        skipped={reason: number for reason, number in survey.skipped.items() if number},
        native=_native_spacing(survey),
        crop_bytes={f"{r:g}mm": survey.crop_bytes(r) for r in RESOLUTIONS_MM} if sized else {},
        build_core_seconds=survey.build_core_seconds if sized else 0.0,
        problems=survey.problems,
        warnings=survey.warnings + [w for r in RESOLUTIONS_MM for w in survey.warnings_at(r)],
    )


def render_key(scan: Scan, examples: pd.DataFrame, code_digest: str) -> str:
    """Names the crops of one scan: another code, header, file or choice of centres, another key."""
    data = scan.header.data_path.stat()
    return digest_of(
        [
            code_digest,
            scan.series,
            scan.header_text,
            f"{data.st_size} {data.st_mtime_ns}",
            *examples["id"],
        ]
    )


def _select(
    layout: Layout, scans: dict[str, Scan], negatives_per_positive: float, problems: list[str]
) -> tuple[dict[str, int], Selection]:
    """Collects into `problems` what stands in the way of a selection."""
    empty = Selection(pd.DataFrame(columns=["id", "series", "label", "x", "y", "z"]), {})

    def attempt(action: Callable, *arguments: object) -> object:
        try:
            return action(*arguments)
        except SourceError as error:
            problems.append(str(error))
            return None

    annotations = attempt(read_annotations, layout.annotations)
    candidates = attempt(read_candidates, layout.candidates)
    excluded = attempt(read_excluded, layout.excluded)
    series = attempt(read_series, layout.series)
    if not layout.annotations:
        problems.append("annotations.csv is missing: without it no nodule has a diameter")
    if not layout.candidates:
        problems.append(
            f"{layout.wanted_candidates} is missing: the centres of both classes come from it. "
            "Without it the annotated nodules can be looked at, and nothing can be trained"
        )
    if annotations is None or candidates is None or excluded is None:
        return {}, empty
    if not layout.candidates:
        nodules = attempt(annotated_nodules, annotations, scans)
        return {}, empty if nodules is None else Selection(nodules, {})
    counts = {name: int((candidates["class"] == c).sum()) for c, name in enumerate(CLASSES)}
    selection = attempt(
        select_examples, candidates, annotations, excluded, scans, series, negatives_per_positive
    )
    return counts, selection or empty


def _examples_by_split(survey: Survey, classes: Sequence[str]) -> dict[str, dict[str, int]]:
    examples = survey.examples
    return {
        split: {
            name: int(((examples["split"] == split) & (examples["label"] == label)).sum())
            for label, name in enumerate(classes)
        }
        for split in SPLITS
    }


def splits_of_one_class(survey: Survey, classes: Sequence[str] = CLASSES) -> list[str]:
    """What is wrong with splits that lack a class."""
    problems = []
    for split, counts in _examples_by_split(survey, classes).items():
        if min(counts.values()) == 0:
            subsets = [name for name, of in survey.layout.split_of.items() if of == split]
            problems.append(
                f"the {split} split has "
                + " and ".join(f"{number} {name}" for name, number in counts.items())
                + f" examples (from {', '.join(subsets) or 'no subset on disk'}); it needs both "
                "classes"
            )
    return problems


def _warnings(survey: Survey) -> list[str]:
    layout = survey.layout
    warnings = [
        f"{number:,} {reason}, skipped"
        for reason, number in survey.skipped.items()
        if number and ("outside" in reason or "no annotation" in reason or "not list" in reason)
    ]
    if layout.candidates and not layout.excluded:
        warnings.append(
            "annotations_excluded.csv is missing: findings that radiologists disagreed about will "
            "be among the non-nodules"
        )
    if layout.unlabelled:
        names = ", ".join(folder.name for folder in layout.unlabelled)
        warnings.append(f"the scans in {names} have no labels and are left out")
    return warnings


def _native_spacing(survey: Survey) -> str:
    if not survey.scans:
        return ""
    spacings = np.array([scan.header.spacing_mm for scan in survey.scans.values()])
    axes = []
    for axis, name in enumerate("xyz"):
        values = spacings[:, axis]
        axes.append(f"{name} {np.median(values):.3g} ({values.min():.3g}–{values.max():.3g})")
    return "median (range) in mm: " + ", ".join(axes)


def _count(names) -> dict[str, int]:
    counts: dict[str, int] = {}
    for name in names:
        counts[name] = counts.get(name, 0) + 1
    return counts
