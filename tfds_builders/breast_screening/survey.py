"""Everything a build needs to know of a release of exams, found without decoding a pixel."""

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mlp_med.errors import ImageError, SourceError
from mlp_med.imaging.crop import crop_size
from mlp_med.imaging.radiograph import RadiographHeader, read_radiograph_header
from tfds_builders.breast_screening.crops import FIELD_MM
from tfds_builders.breast_screening.exams import TABLE, VIEWS, read_exams
from tfds_builders.breast_screening.images import SUFFIXES, Images
from tfds_builders.hashing import digest_of, hash_fraction
from tfds_builders.phantom_marker import MARKER, is_phantom, unfinished_phantom
from tfds_builders.problems import require_none
from tfds_builders.source_report import SourceReport

RESOLUTIONS_MM = (0.1, 0.2, 0.4, 0.8)
SPLITS = ("train", "validation", "test")
# Of one core at all resolutions, measured on drawn exams and on a real film of 7 megapixels.
SECONDS_A_MEGAPIXEL, SECONDS_A_VIEW = 0.5, 0.25
ASSESSMENT, SUSPICION = "assessment", "suspicion"
# The worse breast's BI-RADS from which an exam is of each label, and what the label is called.
TASKS = {
    ASSESSMENT: {1: "BI-RADS 1", 2: "BI-RADS 2", 3: "BI-RADS 3-5"},
    SUSPICION: {1: "BI-RADS 1-2", 3: "BI-RADS 3-5"},
}
SPLIT_SALT = "breast_screening split"
VALIDATION_SHARE = 0.15
LARGEST_VALUE = 65_535
NOT_ON_DISK = "exams with an image that is not on disk"


@dataclass
class Survey:
    """A release as found; fit for a dataset only if `problems` is empty.

    Attributes:
        root: the source directory.
        task: "assessment" (three classes) or "suspicion" (two).
        exams: those that can be used: columns of `exams.read_exams`, `split` and `label`.
        headers: of the four views, by exam.
        num_exams: with four views in the table, by official split.
        digest: of the source.
        phantom: whether the images are synthetic.
        skipped: number left out, by reason.
        problems: what must be mended.
        warnings: what should be known.
    """

    root: Path
    task: str
    exams: pd.DataFrame
    headers: dict[str, tuple[RadiographHeader, ...]]
    num_exams: dict[str, int]
    digest: str
    phantom: bool
    skipped: dict[str, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def require_sound(self) -> None:
        """Raises SourceError if there are problems, and tells them."""
        require_none(self.root, self.problems)

    @property
    def classes(self) -> list[str]:
        """Names by label."""
        return list(TASKS[self.task].values())

    def crop_bytes(self, resolution_mm: float) -> int:
        """Bytes of all exams at one resolution, uint16."""
        pixels = math.prod(crop_size(extent, resolution_mm) for extent in FIELD_MM)
        return 2 * len(VIEWS) * pixels * len(self.exams)

    @property
    def build_core_seconds(self) -> float:
        """Of one core, for all resolutions."""
        views = [header for of_exam in self.headers.values() for header in of_exam]
        megapixels = sum(math.prod(header.size) / 1e6 for header in views)
        return SECONDS_A_MEGAPIXEL * megapixels + SECONDS_A_VIEW * len(views)

    def description(self) -> dict[str, Any]:
        """Arguments of `mlp_med.pipelines.datasets.DatasetDescription`, fit for JSON."""
        ranges = [header.value_range[1] for views in self.headers.values() for header in views]
        return {
            "name": "breast_screening",
            "unit": "mm",
            "resolutions": list(RESOLUTIONS_MM),
            "field_extent": list(FIELD_MM),
            "spatial_dims": 2,
            "num_channels": len(VIEWS),
            "intensity_window": [0.0, max(ranges, default=1.0)],
            "patients_known": True,
            "class_names": self.classes,
            "label_at_centre": False,
        }


def survey_source(root: Path, task: str = ASSESSMENT) -> Survey:
    """Reads the table and the header of every image of an exam.

    Raises:
        SourceError: no such task, or `root` is not of this layout. All else is in the survey's
            problems.
    """
    if task not in TASKS:
        raise SourceError(f"expected a task out of {', '.join(TASKS)}, found {task!r}")
    _require_layout(root)
    problems, skipped = unfinished_phantom(root), {}
    exams = read_exams(root, problems, skipped)
    headers: dict[str, tuple[RadiographHeader, ...]] = {}
    images = Images(root / "images", problems)
    for row in exams.to_dict("records"):
        views = _headers(images, row, problems, skipped)
        if views is not None:
            headers[row["id"]] = views
    used = exams[exams["id"].isin(headers)].reset_index(drop=True)
    survey = Survey(
        root=root,
        task=task,
        exams=used.assign(
            split=[split_of(i, o) for i, o in zip(used["id"], used["official"], strict=True)],
            label=np.searchsorted(list(TASKS[task]), used["birads"].astype(int), "right") - 1,
        ),
        headers=headers,
        num_exams=exams["official"].value_counts().to_dict(),
        digest=_digest(root),
        phantom=is_phantom(root),
        skipped=skipped,
        problems=problems,
    )
    if not problems:
        survey.problems += _splits_without_a_class(survey)
    survey.warnings += [*images.warnings(), *_warnings(survey)]
    return survey


def split_of(exam: str, official: str) -> str:
    """The release's own test split; validation is cut from training by a hash of the exam."""
    if official == "test":
        return "test"
    return "validation" if hash_fraction(exam, SPLIT_SALT) < VALIDATION_SHARE else "train"


def digest_only(root: Path) -> str:
    """The digest of a source, without reading a header.

    Raises:
        SourceError: `root` is not of this layout.
    """
    _require_layout(root)
    return _digest(root)


def check(source: Path | str, task: str = ASSESSMENT) -> SourceReport:
    """What the source holds and what a build would skip; decodes no pixel and writes nothing."""
    source = Path(source).expanduser().absolute()
    try:
        survey = survey_source(source, task)
    except SourceError as error:
        return SourceReport(dataset="breast_screening", source=source, problems=[str(error)])
    spacings = [header.spacing_mm[0] for views in survey.headers.values() for header in views]
    return SourceReport(
        dataset="breast_screening",
        source=source,
        layout="layout of VinDr-Mammo",
        phantom=survey.phantom,
        digest=survey.digest,
        files={"images in use": len(spacings)},
        candidates={f"exams, {name}": number for name, number in survey.num_exams.items()},
        examples={split: _counts(survey, split) for split in SPLITS},
        skipped=survey.skipped,
        native=f"{min(spacings):.3g}–{max(spacings):.3g} mm" if spacings else "",
        crop_bytes={f"{r:g}mm": survey.crop_bytes(r) for r in RESOLUTIONS_MM},
        build_core_seconds=survey.build_core_seconds,
        problems=survey.problems,
        warnings=survey.warnings,
    )


def _require_layout(root: Path) -> None:
    if not (root / TABLE).is_file() or not (root / "images").is_dir():
        raise SourceError(
            f"{root}: expected the table {TABLE} and images/<study_id>/<image_id>.dicom "
            "(VinDr-Mammo); unpack the release there"
        )


def _headers(
    images: Images, exam: dict[str, Any], problems: list[str], skipped: dict[str, int]
) -> tuple[RadiographHeader, ...] | None:
    """Those of the four views in the order of the channels; None where one cannot be used."""
    headers, reason = [], ""
    for laterality, view in VIEWS:
        name = exam[f"{laterality} {view}"]
        path = images.find(exam["id"], name)
        if path is None:
            reason = NOT_ON_DISK
            break
        try:
            headers.append(read_radiograph_header(path))
        except ImageError as error:
            problems.append(str(error))
            return None
        reason = reason or _unfit(headers[-1], laterality, view)
    if reason:
        skipped[reason] = skipped.get(reason, 0) + 1
        return None
    return tuple(headers)


def _unfit(header: RadiographHeader, laterality: str, view: str) -> str:
    """Why an image cannot be used although it can be read; "" if it can."""
    if header.spacing_mm is None:
        return "exams with an image that does not say how large a pixel is"
    if header.body_part not in ("", "BREAST"):
        return f"exams with an image of another body part ({header.body_part.lower()})"
    if header.implant:
        return "exams with an implant"
    if header.view and header.view != view:
        return f"exams with an image that says that it is another view ({header.view})"
    if header.laterality in ("L", "R") and header.laterality != laterality:
        return f"exams with an image that says that it is of the other breast ({header.laterality})"
    low, high = header.value_range
    if header.dtype == "float32" or low < 0 or high > LARGEST_VALUE:
        return "exams with an image whose values are not whole numbers of at most 16 bits"
    return ""


def _counts(survey: Survey, split: str) -> dict[str, int]:
    labels = survey.exams.loc[survey.exams["split"] == split, "label"]
    return {name: int((labels == label).sum()) for label, name in enumerate(survey.classes)}


def _splits_without_a_class(survey: Survey) -> list[str]:
    return [
        f"the {split} split has "
        + " and ".join(f"{n} exams of {name}" for name, n in counts.items())
        + "; it needs every class: give more of the release"
        for split, counts in ((split, _counts(survey, split)) for split in SPLITS)
        if min(counts.values()) == 0
    ]


def _warnings(survey: Survey) -> list[str]:
    warnings = [f"{number:,} {reason}" for reason, number in survey.skipped.items()]
    warnings.append(
        "BI-RADS is the opinion of readers, not pathology; an exam is taken to be one patient's, "
        "since the release names no patients"
    )
    ranges = {header.value_range[1] for views in survey.headers.values() for header in views}
    if len(ranges) > 1:
        warnings.append(
            "the images hold up to " + ", ".join(f"{v:,.0f}" for v in sorted(ranges)) + " by their "
            "bits; all are shown in the window of the largest"
        )
    return warnings


def _digest(root: Path) -> str:
    """Digest of the table and of the name and size of every image; not of pixels."""
    parts: list[str | bytes] = [(root / TABLE).read_bytes()]
    if is_phantom(root):
        parts.append((root / MARKER).read_bytes())
    files = sorted(path for path in (root / "images").rglob("*") if path.suffix.lower() in SUFFIXES)
    sizes = (f"{path.relative_to(root).as_posix()} {path.stat().st_size}" for path in files)
    return digest_of([*parts, *sizes])
