"""Screening exams of four mammograms at several resolutions."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import tensorflow_datasets as tfds

from mlp_med.imaging.crop import crop_size
from tfds_builders.breast_screening import crops
from tfds_builders.breast_screening.crops import FIELD_MM, RenderJob
from tfds_builders.breast_screening.exams import VIEWS
from tfds_builders.breast_screening.survey import (
    ASSESSMENT,
    RESOLUTIONS_MM,
    TASKS,
    Survey,
    digest_only,
    survey_source,
)
from tfds_builders.crop_files import remove_others, rendering_code_digest
from tfds_builders.hashing import digest_of
from tfds_builders.local_source_builder import LocalSourceBuilder
from tfds_builders.preview import PreviewCase
from tfds_builders.rendering import Rendering
from tfds_builders.resolution_configs import resolution_configs
from tfds_builders.stored_examples import StoredExample

EXAMS_WORTH_A_WORKER = 4


class Builder(LocalSourceBuilder):
    """Four views of 260 × 200 mm as channels; see README.md beside this file.

    Args:
        task: "assessment" (BI-RADS 1, 2, 3 and above) or "suspicion" (below 3 or not); what the
            dataset in the data directory was built for if left out, or "assessment".
        **kwargs: of `LocalSourceBuilder`, among them `source`.
    """

    VERSION = tfds.core.Version("2.0.0")
    RELEASE_NOTES: ClassVar = {
        "1.0.0": "Squares of 256 mm, two classes.",
        "2.0.0": "Fields of 260 × 200 mm; three classes, or two by the task.",
    }
    BUILDER_CONFIGS = resolution_configs(RESOLUTIONS_MM, "mm")
    DEFAULT_BUILDER_CONFIG_NAME = "0.8mm"
    DEFAULT_OPTIONS: ClassVar = {"task": ASSESSMENT}

    def __init__(self, *, task: str | None = None, **kwargs: Any):
        super().__init__(options={"task": task}, **kwargs)

    def _info(self) -> tfds.core.DatasetInfo:
        classes = TASKS[self.option_as_built("task")].values()
        grid = [crop_size(extent, self.builder_config.resolution) for extent in FIELD_MM]
        return self.dataset_info_from_configs(
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Tensor(
                        shape=(*grid, len(VIEWS)), dtype=np.uint16, encoding="bytes"
                    ),
                    "label": tfds.features.ClassLabel(names=list(classes)),
                    "id": tfds.features.Text(),
                    "patient": tfds.features.Text(),
                    "birads_left": tfds.features.Scalar(dtype=np.int64),
                    "birads_right": tfds.features.Scalar(dtype=np.int64),
                    "density": tfds.features.Scalar(dtype=np.int64),
                    "native_spacing_mm": tfds.features.Tensor(shape=(2,), dtype=np.float32),
                }
            ),
            supervised_keys=("image", "label"),
            homepage="https://physionet.org/content/vindr-mammo/",
            metadata=tfds.core.MetadataDict(),
        )

    def look_at_source(self) -> Survey:
        """Tables and headers; no pixels."""
        return survey_source(self.source, self.option_as_built("task"))

    def source_digest(self) -> str:
        """Digest of the table and of the names and sizes of the images; not of pixels."""
        return self._survey.digest if self._survey else digest_only(self.source)

    def rendering(self, builders: Sequence["Builder"]) -> Rendering:
        """Each image is read once."""
        survey = self.survey()
        return Rendering(
            function=crops.render_exam,
            jobs=_missing_jobs(survey, builders),
            counted="exams",
            total=len(survey.exams),
            jobs_worth_a_worker=EXAMS_WORTH_A_WORKER,
        )

    def extra_metadata(self) -> dict[str, Any]:
        """What everything later must know of the exams."""
        return {"phantom": self.survey().phantom, "description": self.survey().description()}

    def stored_examples(self, split: str) -> Iterator[StoredExample]:
        """The exams of a split, a file each."""
        survey = self.survey()
        names = _file_names(survey)
        for row in survey.exams[survey.exams["split"] == split].itertuples():
            spacing = np.max([header.spacing_mm for header in survey.headers[row.id]], axis=0)
            facts = {
                "label": row.label,
                "id": row.id,
                "patient": row.id,
                "birads_left": row.birads_left,
                "birads_right": row.birads_right,
                "density": row.density,
                "native_spacing_mm": spacing.astype(np.float32),
            }
            yield StoredExample(self.crop_folder() / names[row.id], (), facts)


def describe_source(source: Path | str, task: str | None = None) -> dict[str, Any]:
    """What a dataset built from this source for this task would say of itself.

    Raises:
        SourceError: the source has problems.
    """
    survey = survey_source(Path(source).expanduser().absolute(), task or ASSESSMENT)
    survey.require_sound()
    return survey.description()


def preview(
    source: Path | str,
    num_cases: int = 8,
    resolutions: Sequence[float] | None = None,
    task: str | None = None,
) -> list[PreviewCase]:
    """Renders a few exams, the classes in turn, without building anything.

    Raises:
        SourceError: the source has problems.
        ImageError: an image cannot be used.
    """
    survey = survey_source(Path(source).expanduser().absolute(), task or ASSESSMENT)
    survey.require_sound()
    spacings = sorted(resolutions or RESOLUTIONS_MM)
    rows = survey.exams.assign(turn=survey.exams.groupby("label").cumcount())
    rows = rows.sort_values(["turn", "label"], ascending=[True, False]).head(num_cases)
    return [
        PreviewCase(
            id=row.id,
            label=survey.classes[row.label],
            crops={
                f"{spacing:g}mm": image
                for spacing, image in zip(
                    spacings, crops.render_views(survey.headers[row.id], spacings), strict=True
                )
            },
        )
        for row in rows.itertuples()
    ]


def _file_names(survey: Survey) -> dict[str, str]:
    """The crop file of each exam; another code or image gives another name."""
    code_digest = rendering_code_digest(crops.__file__)
    names = {}
    for exam in survey.exams["id"]:
        states = [(header.path.name, header.path.stat()) for header in survey.headers[exam]]
        parts = [f"{name} {state.st_size} {state.st_mtime_ns}" for name, state in states]
        names[exam] = f"{digest_of([code_digest, exam, *parts])}.npy"
    return names


def _missing_jobs(survey: Survey, builders: Sequence[Builder]) -> list[RenderJob]:
    """One job an exam that lacks a crop file; files under any other name are stale and go."""
    names = _file_names(survey)
    jobs = []
    for exam, name in names.items():
        targets = [(b.builder_config.resolution, b.crop_folder() / name) for b in builders]
        missing = tuple((spacing, path) for spacing, path in targets if not path.is_file())
        if missing:
            jobs.append(RenderJob(survey.headers[exam], missing))
    for builder in builders:
        folder = builder.crop_folder()
        remove_others(folder, [folder / name for name in names.values()])
    return jobs
