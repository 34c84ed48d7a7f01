"""Everything a build needs to know of a source, found without decoding a voxel."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from mlp_med.cores import available_cores
from mlp_med.errors import SourceError
from mlp_med.imaging.crop import crop_size
from mlp_med.imaging.volume import is_finer_than_native
from tfds_builders.dsb2017.release import CLASSES, IMAGES, SPLITS, Release, find_release
from tfds_builders.dsb2017.scans import Scan, read_scan
from tfds_builders.phantom_marker import unfinished_phantom
from tfds_builders.problems import require_none
from tfds_builders.processes import map_unordered
from tfds_builders.source_report import SourceReport

FIELD_MM = 352.0
RESOLUTIONS_MM = (1.0, 2.0, 4.0)
PATIENTS_WORTH_A_WORKER = 20  # a process starts in 1.5 s, in which another reads some patients
# Measured on one core: 99 slices of 512×512 are decoded, and rendered at 1, 2 and 4 mm, in 2.9 s.
SECONDS_A_SLICE = 0.03


@dataclass
class Survey:
    """A source as found; fit for a dataset only if `problems` is empty.

    Attributes:
        release: tables and patients.
        scans: by patient; of those with a label, and of all where there are no labels.
        problems: what must be mended.
        warnings: what should be known.
    """

    release: Release
    scans: dict[str, Scan]
    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    @property
    def exams(self) -> pd.DataFrame:
        """`patient`, `label` and `split`; an example each."""
        return self.release.exams

    def require_sound(self) -> None:
        """Raises SourceError if there are problems, and tells them."""
        require_none(self.release.root, self.problems)

    def crop_bytes(self, resolution_mm: float) -> int:
        """Bytes of all crops at one resolution, int16."""
        return exam_bytes(resolution_mm) * len(self.exams)

    @property
    def build_core_seconds(self) -> float:
        """Of one core, for all resolutions, of what can be used."""
        patients = set(self.exams["patient"])
        used = (scan.num_slices for patient, scan in self.scans.items() if patient in patients)
        return SECONDS_A_SLICE * sum(used)

    def num_finer_than_native(self, resolution_mm: float) -> int:
        """Examples whose scan has an axis coarser than the resolution."""
        return sum(
            is_finer_than_native(self.scans[patient].spacing_mm, resolution_mm)
            for patient in self.exams["patient"]
            if patient in self.scans
        )

    def warnings_at(self, resolution_mm: float) -> list[str]:
        """What should be known of a dataset at one resolution."""
        number = self.num_finer_than_native(resolution_mm)
        if not number:
            return []
        return [
            f"{resolution_mm:g} mm is finer than the coarsest native axis of {number:,} of "
            f"{len(self.exams):,} examples: allowed and recorded, but these crops hold no detail "
            "of that size along that axis"
        ]


def exam_bytes(resolution_mm: float) -> int:
    """Bytes of one crop."""
    return 2 * crop_size(FIELD_MM, resolution_mm) ** 3


def survey_source(root: Path) -> Survey:
    """Reads the tables and every slice's header below `root`.

    Raises:
        SourceError: `root` is not of this layout. All else is in the survey's problems.
    """
    release = find_release(root)
    wanted = list(release.exams["patient"]) or list(release.folders)
    scans, spoilt = _read_scans({patient: release.folders[patient] for patient in wanted})
    survey = Survey(release, scans, warnings=list(release.warnings))
    survey.problems = unfinished_phantom(root) + release.problems + spoilt
    survey.problems += _same_series(release, scans)
    if not survey.problems:
        survey.problems += _splits_of_one_class(release)
    longer = sum(scan.height_mm > FIELD_MM for scan in scans.values())
    if longer:
        survey.warnings.append(
            f"{longer:,} of {len(scans):,} scans are longer than the field of {FIELD_MM:g} mm, "
            "which is centred on the lungs: what lies beyond it is left out"
        )
    return survey


def check(source: Path | str) -> SourceReport:
    """What the source holds and what a build would skip; decodes no voxel and writes nothing."""
    source = Path(source).expanduser().absolute()
    try:
        survey = survey_source(source)
    except SourceError as error:
        return SourceReport(dataset="dsb2017", source=source, problems=[str(error)])
    release, exams = survey.release, survey.exams
    labelled = len(exams) > 0
    return SourceReport(
        dataset="dsb2017",
        source=source,
        layout="layout of Kaggle's Data Science Bowl 2017, stage 1",
        phantom=release.phantom,
        digest=release.digest,
        files={
            f"{IMAGES} (patients)": len(release.folders),
            f"{IMAGES} (slices of usable scans)": sum(s.num_slices for s in survey.scans.values()),
        },
        candidates=release.records if labelled else {},
        examples=_examples_by_split(release) if labelled else {},
        skipped=release.skipped,
        native=_native_spacing(survey.scans),
        crop_bytes={f"{r:g}mm": survey.crop_bytes(r) for r in RESOLUTIONS_MM} if labelled else {},
        build_core_seconds=survey.build_core_seconds if labelled else 0.0,
        problems=survey.problems,
        warnings=[
            *survey.warnings,
            *(w for r in RESOLUTIONS_MM for w in survey.warnings_at(r)),
        ],
    )


def _read_scans(folders: Mapping[str, Path]) -> tuple[dict[str, Scan], list[str]]:
    """The usable scans by patient, and what is wrong with the others."""
    jobs = list(folders.items())
    num_workers = min(available_cores(), 1 + len(jobs) // PATIENTS_WORTH_A_WORKER)
    found = dict(map_unordered(_read_one, jobs, num_workers))
    scans = {patient: found[patient] for patient in folders}  # in order, however they came
    return (
        {patient: scan for patient, scan in scans.items() if isinstance(scan, Scan)},
        [scan for scan in scans.values() if isinstance(scan, str)],
    )


def _read_one(job: tuple[str, Path]) -> tuple[str, Scan | str]:
    return job[0], read_scan(job[1])


def _same_series(release: Release, scans: Mapping[str, Scan]) -> list[str]:
    patients = defaultdict(list)
    for patient, scan in scans.items():
        patients[scan.series].append(patient)
    return [
        f"{release.root / IMAGES}: the same series lies in the folders {', '.join(several)}: one "
        "scan must not count twice, or be in two splits; keep one"
        for several in patients.values()
        if len(several) > 1
    ]


def _examples_by_split(release: Release) -> dict[str, dict[str, int]]:
    exams = release.exams
    return {
        split: {
            name: int(((exams["split"] == split) & (exams["label"] == label)).sum())
            for label, name in enumerate(CLASSES)
        }
        for split in SPLITS
    }


def _splits_of_one_class(release: Release) -> list[str]:
    return [
        f"the {split} split has "
        + " and ".join(f"{number} {name}" for name, number in counts.items())
        + " examples; it needs both classes: give the source more scans"
        for split, counts in _examples_by_split(release).items()
        if min(counts.values()) == 0
    ]


def _native_spacing(scans: Mapping[str, Scan]) -> str:
    if not scans:
        return ""
    spacings = np.array([scan.spacing_mm for scan in scans.values()])
    axes = []
    for axis, name in enumerate(("in a row", "in a column", "of slices")):
        values = spacings[:, axis]
        axes.append(f"{name} {np.median(values):.3g} ({values.min():.3g}–{values.max():.3g})")
    return "median (range) in mm: " + ", ".join(axes)
