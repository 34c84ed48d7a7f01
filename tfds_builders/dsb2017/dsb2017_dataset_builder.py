"""Data Science Bowl 2017 as whole-lung volumes at several resolutions."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import tensorflow_datasets as tfds

from mlp_med.imaging import dicom_series
from mlp_med.imaging.crop import crop_size
from mlp_med.imaging.hounsfield import render_hounsfield
from tfds_builders.crop_files import open_crops, remove_others, rendering_code_digest
from tfds_builders.dsb2017 import crops, scans
from tfds_builders.dsb2017.crops import RenderJob, centre_file, read_chest, render_exam
from tfds_builders.dsb2017.release import CLASSES, Release, digest_only, find_release
from tfds_builders.dsb2017.survey import (
    FIELD_MM,
    RESOLUTIONS_MM,
    Survey,
    survey_source,
)
from tfds_builders.hashing import digest_of
from tfds_builders.local_source_builder import LocalSourceBuilder
from tfds_builders.preview import PreviewCase
from tfds_builders.rendering import Rendering
from tfds_builders.resolution_configs import resolution_configs
from tfds_builders.stored_examples import StoredExample

SCANS_WORTH_A_WORKER = 2  # a process starts in 1.5 s, and a scan takes several


class Builder(LocalSourceBuilder):
    """Whole lungs in cubes of 352 mm; see README.md beside this file.

    Args:
        **kwargs: of `LocalSourceBuilder`, among them `source`.
    """

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar = {"1.0.0": "First release."}
    BUILDER_CONFIGS = resolution_configs(RESOLUTIONS_MM, "mm")
    DEFAULT_BUILDER_CONFIG_NAME = "2mm"

    def _info(self) -> tfds.core.DatasetInfo:
        size = crop_size(FIELD_MM, self.builder_config.resolution)
        return self.dataset_info_from_configs(
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Tensor(
                        shape=(size, size, size, 1), dtype=np.int16, encoding="bytes"
                    ),
                    "label": tfds.features.ClassLabel(names=list(CLASSES)),
                    "id": tfds.features.Text(),
                    "patient": tfds.features.Text(),
                    "centre_mm": tfds.features.Tensor(shape=(3,), dtype=np.float32),
                    "native_spacing_mm": tfds.features.Tensor(shape=(3,), dtype=np.float32),
                }
            ),
            supervised_keys=("image", "label"),
            homepage="https://www.kaggle.com/c/data-science-bowl-2017",
            metadata=tfds.core.MetadataDict(),
        )

    def look_at_source(self) -> Survey:
        """Tables and headers; no pixels."""
        return survey_source(self.source)

    def source_digest(self) -> str:
        """Digest of tables, file names and sizes; not of voxels."""
        return self._survey.release.digest if self._survey else digest_only(self.source)

    def rendering(self, builders: Sequence["Builder"]) -> Rendering:
        """Each scan is read once."""
        survey = self.survey()
        return Rendering(
            function=render_exam,
            jobs=_missing_jobs(survey, builders),
            counted="scans",
            total=len(survey.exams),
            jobs_worth_a_worker=SCANS_WORTH_A_WORKER,
        )

    def extra_metadata(self) -> dict[str, Any]:
        """Whether the scans are synthetic, and how many are coarser than this resolution."""
        survey = self.survey()
        return {
            "phantom": survey.release.phantom,
            "field_mm": FIELD_MM,
            "num_finer_than_native": survey.num_finer_than_native(self.builder_config.resolution),
        }

    def stored_examples(self, split: str) -> Iterator[StoredExample]:
        """The patients of a split, a file each."""
        survey = self.survey()
        code_digest = _code_digest()
        for row in survey.exams[survey.exams["split"] == split].itertuples():
            file = self.crop_folder() / _file_name(survey.release, row.patient, code_digest)
            spacing = survey.scans[row.patient].spacing_mm
            facts = {
                "label": row.label,
                "id": row.patient,
                "patient": row.patient,
                "centre_mm": np.array(open_crops(centre_file(file)), dtype=np.float32),
                "native_spacing_mm": np.array(spacing, dtype=np.float32),
            }
            yield StoredExample(file, (), facts)


def preview(
    source: Path | str, num_cases: int = 8, resolutions: Sequence[float] | None = None
) -> list[PreviewCase]:
    """Renders a few cases, both classes in turn, without building anything.

    Works where the tables are missing as well, with patients whose label is unknown.

    Raises:
        SourceError: no known release.
        ImageError: a scan cannot be used.
    """
    release = find_release(Path(source).expanduser().absolute())
    names = dict(enumerate(CLASSES))
    rows = release.exams
    if rows.empty:
        names = {-1: "label unknown"}
        rows = pd.DataFrame({"patient": list(release.folders), "label": -1})
    rows = rows.assign(turn=rows.groupby("label").cumcount())
    rows = rows.sort_values(["turn", "label"], ascending=[True, False]).head(num_cases)
    cases = []
    for row in rows.itertuples():
        volume, centre = read_chest(release.folders[row.patient])
        images = {
            f"{mm:g}mm": render_hounsfield(volume, centre[np.newaxis], FIELD_MM, mm)[0, ..., None]
            for mm in sorted(resolutions or RESOLUTIONS_MM)
        }
        cases.append(PreviewCase(id=row.patient, label=names[row.label], crops=images))
    return cases


def _code_digest() -> str:
    return rendering_code_digest(crops.__file__, scans.__file__)


def _missing_jobs(survey: Survey, builders: Sequence[Builder]) -> list[RenderJob]:
    """One job a scan that lacks a crop file; files under any other name are stale and go."""
    code_digest = _code_digest()
    wanted: set[Path] = set()
    jobs = []
    for patient in survey.exams["patient"]:
        name = _file_name(survey.release, patient, code_digest)
        targets = [(b.builder_config.resolution, b.crop_folder() / name) for b in builders]
        wanted.update(file for _, path in targets for file in (path, centre_file(path)))
        missing = tuple((spacing, path) for spacing, path in targets if not path.is_file())
        if missing:
            jobs.append(RenderJob(survey.release.folders[patient], FIELD_MM, missing))
    for builder in builders:
        remove_others(builder.crop_folder(), wanted)
    return jobs


def _file_name(release: Release, patient: str, code_digest: str) -> str:
    """Another code or another state of the slices' files, another name."""
    files = [path.stat() for path in dicom_series.dicom_files(release.folders[patient])]
    states = (f"{state.st_size} {state.st_mtime_ns}" for state in files)
    return f"{digest_of([code_digest, patient, f'{FIELD_MM:g}', *states])}.npy"
