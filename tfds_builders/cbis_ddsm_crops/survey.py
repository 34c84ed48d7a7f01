"""Everything a build needs to know of a release, found without decoding a pixel."""

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from mlp_med.errors import SourceError
from mlp_med.imaging.crop import crop_size
from mlp_med.imaging.radiograph import RadiographHeader
from tfds_builders.cbis_ddsm_crops.background import FIELD_MM
from tfds_builders.cbis_ddsm_crops.case_tables import (
    MALIGNANT,
    TABLES,
    TEST,
    TRAIN,
    VIEWS,
    crossing_patients,
    read_cases,
)
from tfds_builders.cbis_ddsm_crops.crops import PIXEL_MM
from tfds_builders.cbis_ddsm_crops.films import Films, find_films, list_files
from tfds_builders.hashing import digest_of, hash_fraction
from tfds_builders.phantom_marker import MARKER, is_phantom, unfinished_phantom
from tfds_builders.problems import require_none
from tfds_builders.source_report import SourceReport

RESOLUTIONS_MM = (0.1, 0.2, 0.4, 0.8)
SPLITS = ("train", "validation", "test")
LESION, PATHOLOGY = "lesion", "pathology"
# What label 0 and label 1 are.
TASKS = {LESION: ("background", "lesion"), PATHOLOGY: ("benign", "malignant")}
# Of one core, measured on drawn films: a megapixel of film and its masks, at all resolutions.
SECONDS_A_MEGAPIXEL = 0.11
SPLIT_SALT = "cbis_ddsm_crops split"
VALIDATION_SHARE = 0.15
CROSSING = "lesions of training patients who are also in a test table"
NO_SCREENING_VIEW = "lesions on a view other than CC and MLO (implant displaced, or another)"


@dataclass
class Survey:
    """A release as found; fit for a dataset only if `problems` is empty.

    Attributes:
        root: the source directory.
        task: "lesion" or "pathology".
        lesions: those that can be used, sorted by id: the columns of `case_tables.read_cases`,
            `split` and `label` (of the lesion itself).
        others: lesions that are no examples, and no background either.
        films: the files of both.
        num_cases: rows of the tables, by kind and official split.
        digest: of the source.
        phantom: whether the films are synthetic.
        skipped: number left out, by reason.
        problems: what must be mended.
        warnings: what should be known.
    """

    root: Path
    task: str
    lesions: pd.DataFrame
    others: pd.DataFrame
    films: Films
    num_cases: dict[str, int]
    digest: str
    phantom: bool
    skipped: dict[str, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def require_sound(self) -> None:
        """Raises SourceError if there are problems, and tells them."""
        require_none(self.root, self.problems)

    @property
    def crops_per_lesion(self) -> int:
        """2 where each is set against a background."""
        return 2 if self.task == LESION else 1

    def crop_bytes(self, resolution_mm: float) -> int:
        """Bytes of all crops at one resolution, uint16."""
        pixels = crop_size(FIELD_MM, resolution_mm) ** 2
        return 2 * pixels * self.crops_per_lesion * len(self.lesions)

    @property
    def build_core_seconds(self) -> float:
        """Of one core, for all resolutions."""
        films = {self.films.film_of[lesion] for lesion in self.lesions["id"]}
        megapixels = sum(math.prod(self.films.headers[film].size) / 1e6 for film in films)
        return SECONDS_A_MEGAPIXEL * megapixels

    def film(self, lesion: str) -> RadiographHeader:
        """The mammogram that shows a lesion."""
        return self.films.headers[self.films.film_of[lesion]]

    def mask(self, lesion: str) -> RadiographHeader:
        """The mask of a lesion."""
        return self.films.headers[self.films.mask_of[lesion]]

    def largest_value(self) -> float:
        """Of a pixel of the mammograms, by their bits."""
        return max((self.film(lesion).value_range[1] for lesion in self.lesions["id"]), default=1.0)

    def description(self) -> dict[str, Any]:
        """Arguments of `mlp_med.pipelines.datasets.DatasetDescription`, fit for JSON."""
        return {
            "name": "cbis_ddsm_crops",
            "unit": "mm",
            "resolutions": list(RESOLUTIONS_MM),
            "field_extent": FIELD_MM,
            "spatial_dims": 2,
            "num_channels": 1,
            "intensity_window": [0.0, self.largest_value()],
            "patients_known": True,
            "class_names": list(TASKS[self.task]),
            "label_at_centre": True,
        }


def survey_source(root: Path, task: str = LESION) -> Survey:
    """Reads the tables and all headers below `root`.

    Raises:
        SourceError: no such task, or `root` is no directory. All else is in the survey's problems.
    """
    if task not in TASKS:
        raise SourceError(f"expected a task out of {', '.join(TASKS)}, found {task!r}")
    _require_folder(root)
    problems = unfinished_phantom(root)
    cases = read_cases(root, problems)
    per_table = cases["table"].value_counts()
    num_cases = {
        f"{kind}, {official}": int(per_table.get(name, 0))
        for name, (kind, official) in TABLES.items()
    }
    screening = cases[cases["view"].isin(VIEWS)]
    films = find_films(root, screening)
    shown = screening[screening["id"].isin(films.film_of)].sort_values("id", ignore_index=True)
    shown = shown.assign(
        split=[split_of(p, o) for p, o in zip(shown["patient"], shown["official"], strict=True)],
        label=1 if task == LESION else (shown["pathology"] == MALIGNANT).astype(int),
    )
    crossing = shown["patient"].isin(crossing_patients(cases)) & (shown["official"] == TRAIN)
    skipped = {CROSSING: int(crossing.sum()), NO_SCREENING_VIEW: len(cases) - len(screening)}
    survey = Survey(
        root=root,
        task=task,
        lesions=shown[~crossing].reset_index(drop=True),
        others=shown[crossing].reset_index(drop=True),
        films=films,
        num_cases=num_cases,
        digest=_digest(root, cases),
        phantom=is_phantom(root),
        skipped={reason: n for reason, n in {**skipped, **films.skipped}.items() if n},
        problems=problems + films.problems,
    )
    if not survey.problems:
        survey.problems += _splits_of_one_class(survey)
    survey.warnings += films.warnings + _warnings(survey, cases)
    return survey


def split_of(patient: str, official: str) -> str:
    """The split of a patient: the official test split; validation is cut from training by hash."""
    if official == TEST:
        return "test"
    return "validation" if hash_fraction(patient, SPLIT_SALT) < VALIDATION_SHARE else "train"


def digest_only(root: Path) -> str:
    """The digest of a source, without reading a header.

    Raises:
        SourceError: `root` is no directory.
    """
    _require_folder(root)
    return _digest(root, read_cases(root, []))


def check(source: Path | str, task: str | None = None) -> SourceReport:
    """What the source holds and what a build would skip; decodes no pixel and writes nothing."""
    source = Path(source).expanduser().absolute()
    try:
        survey = survey_source(source, task or LESION)
    except SourceError as error:
        return SourceReport(dataset="cbis_ddsm_crops", source=source, problems=[str(error)])
    used = survey.lesions["id"]
    return SourceReport(
        dataset="cbis_ddsm_crops",
        source=source,
        layout=f"layout of TCIA's CBIS-DDSM; task {survey.task}: {' vs '.join(TASKS[survey.task])}",
        phantom=survey.phantom,
        digest=survey.digest,
        files={
            "mammograms in use": len({survey.films.film_of[lesion] for lesion in used}),
            "masks in use": len(used),
        },
        candidates=survey.num_cases,
        examples={split: _counts(survey, split) for split in SPLITS},
        skipped=survey.skipped,
        native=f"taken as {PIXEL_MM:g} mm: neither tables nor files tell the film scanner",
        crop_bytes={f"{r:g}mm": survey.crop_bytes(r) for r in RESOLUTIONS_MM},
        build_core_seconds=survey.build_core_seconds,
        problems=survey.problems,
        warnings=survey.warnings,
    )


def _require_folder(root: Path) -> None:
    if not root.is_dir():
        raise SourceError(
            f"{root}: expected a directory with {', '.join(TABLES)} and the images of CBIS-DDSM"
        )


def _counts(survey: Survey, split: str) -> dict[str, int]:
    lesions = survey.lesions[survey.lesions["split"] == split]
    names = TASKS[survey.task]
    if survey.task == LESION:
        return dict.fromkeys(names, len(lesions))
    return {name: int((lesions["label"] == label).sum()) for label, name in enumerate(names)}


def _splits_of_one_class(survey: Survey) -> list[str]:
    return [
        f"the {split} split has " + " and ".join(f"{n} {name}" for name, n in counts.items()) + "; "
        "it needs both classes: give more of the release"
        for split, counts in ((split, _counts(survey, split)) for split in SPLITS)
        if min(counts.values()) == 0
    ]


def _warnings(survey: Survey, cases: pd.DataFrame) -> list[str]:
    warnings = [f"{number:,} {reason}: skipped" for reason, number in survey.skipped.items()]
    crossing = crossing_patients(cases)
    if crossing:
        warnings.append(
            f"{len(crossing):,} patients are in both training and test tables (the official splits "
            "are one for masses and one for calcifications): they are tested, and not trained on"
        )
    if survey.task == LESION and len(survey.lesions):
        warnings.append(
            "the numbers of examples are the most there can be: a lesion in whose breast no field "
            "without one is like its own is left out by the build, and counted"
        )
    if len({survey.film(lesion).value_range[1] for lesion in survey.lesions["id"]}) > 1:
        warnings.append(
            "the mammograms have different numbers of bits: their values do not compare"
        )
    lossy = sum(survey.film(lesion).lossy for lesion in survey.lesions["id"])
    if lossy:
        warnings.append(f"the mammograms of {lossy:,} lesions went through lossy compression once")
    return warnings


def _digest(root: Path, cases: pd.DataFrame) -> str:
    """Digest of tables and of the name and size of every DICOM file; not of pixels."""
    tables = [root / name for name in TABLES if (root / name).is_file()]
    parts: list[str | bytes] = [path.read_bytes() for path in tables]
    if is_phantom(root):
        parts.append((root / MARKER).read_bytes())
    return digest_of([*parts, *(f"{name} {size}" for name, size in list_files(root, cases))])
