"""Lesions of mammograms, against background or malignant against benign, at four resolutions."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import tensorflow_datasets as tfds

from mlp_med.imaging.crop import crop_size
from mlp_med.imaging.radiograph import RadiographHeader
from tfds_builders.cbis_ddsm_crops import background, crops
from tfds_builders.cbis_ddsm_crops.background import FIELD_MM
from tfds_builders.cbis_ddsm_crops.case_tables import KINDS, SIDES, VIEWS
from tfds_builders.cbis_ddsm_crops.crops import PIXEL_MM, LesionFiles, RenderJob, facts_path
from tfds_builders.cbis_ddsm_crops.survey import (
    LESION,
    RESOLUTIONS_MM,
    TASKS,
    Survey,
    digest_only,
    survey_source,
)
from tfds_builders.crop_files import open_crops, remove_others, rendering_code_digest
from tfds_builders.hashing import digest_of
from tfds_builders.local_source_builder import LocalSourceBuilder, logger
from tfds_builders.preview import PreviewCase
from tfds_builders.rendering import Rendering
from tfds_builders.resolution_configs import resolution_configs
from tfds_builders.stored_examples import StoredExample

VIEWS_WORTH_A_WORKER = 4
BREAST_VIEW = ["patient", "side", "view"]


@dataclass(frozen=True, eq=False)
class View:
    """The lesions of one view of one breast, which share a crop file: `file_name`.

    Of `others` only the places count: no background may hold them.
    """

    lesions: pd.DataFrame
    others: pd.DataFrame
    file_name: str


class Builder(LocalSourceBuilder):
    """51.2 mm squares of mammograms; see README.md beside this file.

    Args:
        task: "lesion" (against background) or "pathology" (malignant against benign); what the
            dataset in the data directory was built for if left out, or "lesion".
        **kwargs: of `LocalSourceBuilder`, among them `source`.
    """

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar = {"1.0.0": "First release."}
    BUILDER_CONFIGS = resolution_configs(RESOLUTIONS_MM, "mm")
    DEFAULT_BUILDER_CONFIG_NAME = "0.2mm"
    DEFAULT_OPTIONS: ClassVar = {"task": LESION}

    def __init__(self, *, task: str | None = None, **kwargs: Any):
        super().__init__(options={"task": task}, **kwargs)

    def _info(self) -> tfds.core.DatasetInfo:
        size = crop_size(FIELD_MM, self.builder_config.resolution)
        classes = TASKS[self.option_as_built("task")]
        return self.dataset_info_from_configs(
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Tensor(
                        shape=(size, size, 1), dtype=np.uint16, encoding="bytes"
                    ),
                    "label": tfds.features.ClassLabel(names=list(classes)),
                    "id": tfds.features.Text(),
                    "patient": tfds.features.Text(),
                    "lesion": tfds.features.Text(),
                    "centre_mm": tfds.features.Tensor(shape=(2,), dtype=np.float32),
                    "diameter_mm": tfds.features.Scalar(dtype=np.float32),
                    "kind": tfds.features.ClassLabel(names=list(KINDS)),
                    "side": tfds.features.ClassLabel(names=list(SIDES)),
                    "view": tfds.features.ClassLabel(names=list(VIEWS)),
                    "density": tfds.features.Scalar(dtype=np.int64),
                    "assessment": tfds.features.Scalar(dtype=np.int64),
                    "subtlety": tfds.features.Scalar(dtype=np.int64),
                    "pathology": tfds.features.Text(),
                    "appearance": tfds.features.Text(),
                }
            ),
            supervised_keys=("image", "label"),
            homepage="https://www.cancerimagingarchive.net/collection/cbis-ddsm/",
            metadata=tfds.core.MetadataDict(),
        )

    def look_at_source(self) -> Survey:
        """Tables and headers; no pixels."""
        return survey_source(self.source, self.option_as_built("task"))

    def source_digest(self) -> str:
        """Digest of the tables and of the names and sizes of the files; not of pixels."""
        return self._survey.digest if self._survey else digest_only(self.source)

    def rendering(self, builders: Sequence["Builder"]) -> Rendering:
        """Each film is read once."""
        survey = self.survey()
        jobs = _missing_jobs(survey, _views(survey), builders)
        return Rendering(
            function=crops.render_view,
            jobs=jobs,
            counted="lesions",
            total=len(survey.lesions),
            counts=[len(job.lesions) for job in jobs],
            jobs_worth_a_worker=VIEWS_WORTH_A_WORKER,
        )

    def prepare_crops(self, builders: Sequence["Builder"]) -> None:
        """Renders what is missing; logs how many lesions are left out."""
        super().prepare_crops(builders)
        left_out = _left_out(builders[0], _views(self.survey()))
        if left_out:
            logger.warning(
                "%s of %s lesions are left out: an empty mask, or no field without a lesion in "
                "that breast is like theirs",
                f"{left_out:,}",
                f"{len(self.survey().lesions):,}",
            )

    def extra_metadata(self) -> dict[str, Any]:
        """What everything later must know of the crops, since the task decides it."""
        survey = self.survey()
        return {
            "phantom": survey.phantom,
            "description": survey.description(),
            "assumed_pixel_mm": PIXEL_MM,
            "num_lesions_left_out": _left_out(self, _views(survey)),
        }

    def stored_examples(self, split: str) -> Iterator[StoredExample]:
        """The crops of a split, view by view."""
        per_lesion = self.survey().crops_per_lesion
        for view in _views(self.survey()):
            if view.lesions["split"].iloc[0] != split:
                continue
            file = self.crop_folder() / view.file_name
            found = open_crops(facts_path(file))
            for index, (row, known) in enumerate(
                zip(view.lesions.itertuples(), found, strict=True)
            ):
                if not _complete(known, per_lesion):
                    continue
                lesion = _example(row, known)
                yield StoredExample(file, (index, 0), {**lesion, "label": row.label})
                if per_lesion == 2:
                    # No lesion here, so nothing of one but which it is set against.
                    without = {"diameter_mm": np.float32(0), "label": 0}
                    where = {"centre_mm": np.array(known[3:], np.float32)}
                    name = {"id": f"{row.id}_background"}
                    yield StoredExample(file, (index, 1), {**lesion, **without, **where, **name})


def describe_source(source: Path | str, task: str | None = None) -> dict[str, Any]:
    """What a dataset built from this source for this task would say of itself.

    Raises:
        SourceError: the source has problems.
    """
    survey = survey_source(Path(source).expanduser().absolute(), task or LESION)
    survey.require_sound()
    return survey.description()


def preview(
    source: Path | str,
    num_cases: int = 8,
    resolutions: Sequence[float] | None = None,
    task: str | None = None,
) -> list[PreviewCase]:
    """Renders a few cases, both classes in turn, without building anything.

    Raises:
        SourceError: the source has problems.
        ImageError: a film cannot be used.
    """
    survey = survey_source(Path(source).expanduser().absolute(), task or LESION)
    survey.require_sound()
    names = TASKS[survey.task]
    spacings = sorted(resolutions or RESOLUTIONS_MM)
    turns = survey.lesions.assign(turn=survey.lesions.groupby(["label", "kind"]).cumcount())
    wanted = turns.sort_values(["turn", "kind", "label"])["id"]
    views = {name: view for view in _views(survey) for name in view.lesions["id"]}
    cases: list[PreviewCase] = []
    for name in wanted:
        if len(cases) >= num_cases:
            break
        files = _files(survey, views[name])
        index = [lesion.id for lesion in files].index(name)
        others = _other_masks(survey, views[name])
        facts, images = crops.render_lesions(files, others, survey.task == LESION, spacings)
        if not _complete(facts[index], survey.crops_per_lesion):
            continue
        row = survey.lesions.set_index("id").loc[name]
        for kind in range(survey.crops_per_lesion):
            caption = f"{names[row.label]}: {row.kind}" if kind == 0 else names[0]
            shown = {f"{r:g}mm": of[index, kind] for r, of in zip(spacings, images, strict=True)}
            cases.append(PreviewCase(f"{name}_background" if kind else name, caption, shown))
    return cases[:num_cases]


def _example(row: Any, facts: np.ndarray) -> dict[str, Any]:
    """What an example tells of its lesion."""
    kept = ("id", "patient", "kind", "side", "view", "density", "assessment", "subtlety")
    return {
        **{name: getattr(row, name) for name in (*kept, "pathology", "appearance")},
        "lesion": row.id,
        "centre_mm": np.array(facts[:2], np.float32),
        "diameter_mm": np.float32(facts[2]),
    }


def _complete(facts: np.ndarray, crops_per_lesion: int) -> bool:
    """Whether a lesion was found in its mask, and a background for it where one is wanted."""
    return bool(np.isfinite(facts if crops_per_lesion == 2 else facts[:3]).all())


def _left_out(builder: Builder, views: list[View]) -> int:
    per_lesion = builder.survey().crops_per_lesion
    paths = [facts_path(builder.crop_folder() / view.file_name) for view in views]
    return sum(not _complete(known, per_lesion) for path in paths for known in open_crops(path))


def _views(survey: Survey) -> list[View]:
    """The lesions by view of a breast; another code or file gives another file name."""
    code_digest = rendering_code_digest(crops.__file__, background.__file__)
    views = []
    others = dict(list(survey.others.groupby(BREAST_VIEW)))
    for breast_view, lesions in survey.lesions.groupby(BREAST_VIEW):
        beside = others.get(breast_view, survey.others.iloc[:0])
        names = [*lesions["id"], *beside["id"]]
        files = [survey.film(name).path for name in lesions["id"]]
        files += [survey.mask(name).path for name in names]
        states = [(path.name, path.stat()) for path in files]
        parts = [f"{name} {state.st_size} {state.st_mtime_ns}" for name, state in states]
        digest = digest_of([code_digest, survey.task, *names, *parts])
        views.append(View(lesions, beside, f"{digest}.npy"))
    return views


def _files(survey: Survey, view: View) -> tuple[LesionFiles, ...]:
    return tuple(
        LesionFiles(name, survey.film(name), survey.mask(name)) for name in view.lesions["id"]
    )


def _other_masks(survey: Survey, view: View) -> tuple[RadiographHeader, ...]:
    return tuple(survey.mask(name) for name in view.others["id"])


def _missing_jobs(
    survey: Survey, views: list[View], builders: Sequence[Builder]
) -> list[RenderJob]:
    """One job a view that lacks a crop file; files under any other name are stale and go."""
    jobs = []
    for view in views:
        targets = [
            (b.builder_config.resolution, b.crop_folder() / view.file_name) for b in builders
        ]
        missing = tuple((spacing, path) for spacing, path in targets if not path.is_file())
        if missing:
            files, others = _files(survey, view), _other_masks(survey, view)
            jobs.append(RenderJob(files, others, survey.task == LESION, missing))
    for builder in builders:
        paths = [builder.crop_folder() / view.file_name for view in views]
        remove_others(builder.crop_folder(), [*paths, *map(facts_path, paths)])
    return jobs
