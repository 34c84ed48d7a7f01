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
from tfds_builders.dsb2017.release import CLASSES, SPLITS, Release, digest_only, find_release
from tfds_builders.dsb2017.survey import (
    FIELD_MM,
    RESOLUTIONS_MM,
    Survey,
    exam_bytes,
    survey_source,
)
from tfds_builders.hashing import digest_of
from tfds_builders.local_source_builder import (
    LocalSourceBuilder,
    logger,
    resolution_configs,
)
from tfds_builders.preview import PreviewCase
from tfds_builders.processes import map_unordered
from tfds_builders.scratch import require_free_space

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

    def __init__(self, **kwargs: Any):
        self._survey: Survey | None = None
        super().__init__(**kwargs)

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

    def survey(self) -> Survey:
        """The source, looked at once."""
        if self._survey is None:
            self._survey = survey_source(self.source)
        return self._survey

    def source_digest(self) -> str:
        """Digest of tables, file names and sizes; not of voxels."""
        return self._survey.release.digest if self._survey else digest_only(self.source)

    def check_source(self) -> None:
        """Raises SourceError if there are problems."""
        self.survey().require_sound()

    def prepare_crops(self, builders: Sequence["Builder"]) -> None:
        """Reads each scan once for all of `builders`, in `num_workers` processes."""
        survey = self.survey()
        warnings = list(survey.warnings)
        for builder in builders:
            builder._survey = survey
            warnings += survey.warnings_at(builder.builder_config.resolution)
        for warning in warnings:
            logger.warning("%s", warning)
        jobs = _missing_jobs(survey, builders)
        require_free_space(Path(self.data_dir_root), _needed_bytes(survey, builders, jobs))
        done = len(survey.exams) - len(jobs)
        self.progress("rendering scans", done, len(survey.exams))
        num_workers = min(self.num_workers, 1 + len(jobs) // SCANS_WORTH_A_WORKER)
        for _ in map_unordered(render_exam, jobs, num_workers):
            done += 1
            self.progress("rendering scans", done, len(survey.exams))

    def extra_metadata(self) -> dict[str, Any]:
        """Whether the scans are synthetic, and how many are coarser than this resolution."""
        survey = self.survey()
        return {
            "phantom": survey.release.phantom,
            "field_mm": FIELD_MM,
            "num_finer_than_native": survey.num_finer_than_native(self.builder_config.resolution),
        }

    def _split_generators(self, dl_manager: Any) -> dict[str, Iterator]:
        del dl_manager  # nothing is downloaded
        return {split: self._generate_examples(split) for split in SPLITS}

    def _generate_examples(self, split: str) -> Iterator[tuple[str, dict[str, Any]]]:
        survey = self.survey()
        code_digest = _code_digest()
        exams = survey.exams[survey.exams["split"] == split]
        for row in exams.itertuples():
            path = self.crop_folder() / _file_name(survey.release, row.patient, code_digest)
            scan = survey.scans[row.patient]
            yield (
                row.patient,
                {
                    "image": np.array(open_crops(path))[..., np.newaxis],
                    "label": row.label,
                    "id": row.patient,
                    "patient": row.patient,
                    "centre_mm": np.array(open_crops(centre_file(path)), dtype=np.float32),
                    "native_spacing_mm": np.array(scan.spacing_mm, dtype=np.float32),
                },
            )


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


def _needed_bytes(survey: Survey, builders: Sequence[Builder], jobs: list[RenderJob]) -> int:
    """Crops still to render, the datasets, and TFDS's own scratch for the largest of them."""
    sizes = [survey.crop_bytes(builder.builder_config.resolution) for builder in builders]
    to_render = sum(exam_bytes(spacing) for job in jobs for spacing, _ in job.targets)
    return to_render + sum(sizes) + max(sizes)


def _file_name(release: Release, patient: str, code_digest: str) -> str:
    """Another code or another state of the slices' files, another name."""
    files = [path.stat() for path in dicom_series.dicom_files(release.folders[patient])]
    states = (f"{state.st_size} {state.st_mtime_ns}" for state in files)
    return f"{digest_of([code_digest, patient, f'{FIELD_MM:g}', *states])}.npy"
