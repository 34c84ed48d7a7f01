"""Patches of lymph-node slides, with and without tumour in their centre, at several resolutions."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import tensorflow_datasets as tfds

from mlp_med.imaging.image import read_patch, render_image
from tfds_builders.crop_files import remove_others, rendering_code_digest
from tfds_builders.hashing import digest_of
from tfds_builders.local_source_builder import LocalSourceBuilder
from tfds_builders.metastasis_patches import crops
from tfds_builders.metastasis_patches.survey import (
    CLASSES,
    FACTORS,
    NATIVE_PIXELS,
    Survey,
    digest_only,
    survey_source,
)
from tfds_builders.preview import PreviewCase
from tfds_builders.rendering import Rendering
from tfds_builders.resolution_configs import resolution_configs
from tfds_builders.stored_examples import StoredExample

PATCHES_A_FILE = 500  # 14 MB at the finest resolution


@dataclass(frozen=True, eq=False)
class Portion:
    """Patches of one split that share a crop file at each resolution: `file_name`."""

    split: str
    patches: pd.DataFrame
    file_name: str


class Builder(LocalSourceBuilder):
    """Patches 93 µm wide; see README.md beside this file.

    Args:
        **kwargs: of `LocalSourceBuilder`, among them `source`.
    """

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar = {"1.0.0": "First release."}
    BUILDER_CONFIGS = resolution_configs(tuple(FACTORS), "um")
    DEFAULT_BUILDER_CONFIG_NAME = "0.97um"

    def _info(self) -> tfds.core.DatasetInfo:
        size = NATIVE_PIXELS // self.factor
        return self.dataset_info_from_configs(
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Tensor(
                        shape=(size, size, 3), dtype=np.uint8, encoding="bytes"
                    ),
                    "label": tfds.features.ClassLabel(names=list(CLASSES)),
                    "id": tfds.features.Text(),
                    "patient": tfds.features.Text(),
                }
            ),
            supervised_keys=("image", "label"),
            homepage="https://www.kaggle.com/c/histopathologic-cancer-detection",
            metadata=tfds.core.MetadataDict(),
        )

    @property
    def factor(self) -> int:
        """Native pixels a pixel of this config, along each axis."""
        return FACTORS[self.builder_config.resolution]

    def look_at_source(self) -> Survey:
        """Tables and headers; no pixels."""
        return survey_source(self.source)

    def source_digest(self) -> str:
        """Digest of the labels and of the names and sizes of the files; not of pixels."""
        return self._survey.digest if self._survey else digest_only(self.source)

    def rendering(self, builders: Sequence["Builder"]) -> Rendering:
        """Each patch is read once."""
        survey = self.survey()
        jobs = _missing_jobs(survey, _portions(survey), builders)
        return Rendering(
            function=crops.render_patches,
            jobs=jobs,
            counted="patches",
            total=len(survey.patches),
            counts=[len(job.paths) for job in jobs],
        )

    def extra_metadata(self) -> dict[str, Any]:
        """Whether the patches are synthetic."""
        return {"phantom": self.survey().phantom}

    def stored_examples(self, split: str) -> Iterator[StoredExample]:
        """The patches of a split, portion by portion."""
        for portion in _portions(self.survey()):
            if portion.split != split:
                continue
            file = self.crop_folder() / portion.file_name
            for index, row in enumerate(portion.patches.itertuples()):
                yield StoredExample(file, index, {"label": row.label, "id": row.id, "patient": ""})


def preview(
    source: Path | str, num_cases: int = 8, resolutions: Sequence[float] | None = None
) -> list[PreviewCase]:
    """Renders a few patches, both classes in turn, without building anything.

    Raises:
        SourceError: the source has problems.
        ImageError: a patch cannot be used.
    """
    survey = survey_source(Path(source).expanduser().absolute())
    survey.require_sound()
    rows = survey.patches.assign(turn=survey.patches.groupby("label").cumcount())
    rows = rows.sort_values(["turn", "label"], ascending=[True, False]).head(num_cases)
    cases = []
    for row in rows.itertuples():
        pixels = read_patch(survey.path(row.id), NATIVE_PIXELS)
        images = {
            f"{um:g}um": render_image(pixels, FACTORS[um]) for um in sorted(resolutions or FACTORS)
        }
        cases.append(PreviewCase(id=row.id, label=CLASSES[row.label], crops=images))
    return cases


def _portions(survey: Survey) -> list[Portion]:
    """The patches in portions of one split; another code or file gives another file name."""
    code_digest = rendering_code_digest(crops.__file__)
    portions = []
    for split, patches in survey.patches.groupby("split"):
        for start in range(0, len(patches), PATCHES_A_FILE):
            some = patches.iloc[start : start + PATCHES_A_FILE]
            states = [survey.path(patch_id).stat() for patch_id in some["id"]]
            parts = [
                f"{patch_id} {state.st_size} {state.st_mtime_ns}"
                for patch_id, state in zip(some["id"], states, strict=True)
            ]
            portions.append(Portion(str(split), some, f"{digest_of([code_digest, *parts])}.npy"))
    return portions


def _missing_jobs(
    survey: Survey, portions: list[Portion], builders: Sequence[Builder]
) -> list[crops.RenderJob]:
    """One job a portion that lacks a crop file; files under any other name are stale and go."""
    jobs = []
    for portion in portions:
        targets = [(b.factor, b.crop_folder() / portion.file_name) for b in builders]
        missing = tuple((factor, path) for factor, path in targets if not path.is_file())
        if missing:
            paths = tuple(survey.path(patch_id) for patch_id in portion.patches["id"])
            jobs.append(crops.RenderJob(paths, NATIVE_PIXELS, missing))
    for builder in builders:
        folder = builder.crop_folder()
        remove_others(folder, [folder / portion.file_name for portion in portions])
    return jobs
