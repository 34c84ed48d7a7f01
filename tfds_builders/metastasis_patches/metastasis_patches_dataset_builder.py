"""Patches of lymph-node slides, with and without tumour in their centre, at several resolutions."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import tensorflow_datasets as tfds

from mlp_med.imaging.image import read_patch, render_image
from tfds_builders.crop_files import open_crops, remove_others, rendering_code_digest
from tfds_builders.hashing import digest_of
from tfds_builders.local_source_builder import (
    LocalSourceBuilder,
    logger,
    resolution_configs,
)
from tfds_builders.metastasis_patches import crops
from tfds_builders.metastasis_patches.survey import (
    CLASSES,
    FACTORS,
    NATIVE_PIXELS,
    SPLITS,
    Survey,
    digest_only,
    survey_source,
)
from tfds_builders.preview import PreviewCase
from tfds_builders.processes import map_unordered
from tfds_builders.scratch import require_free_space

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

    def __init__(self, **kwargs: Any):
        self._survey: Survey | None = None
        super().__init__(**kwargs)

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

    def survey(self) -> Survey:
        """The source, looked at once."""
        if self._survey is None:
            self._survey = survey_source(self.source)
        return self._survey

    def source_digest(self) -> str:
        """Digest of the labels and of the names and sizes of the files; not of pixels."""
        return self._survey.digest if self._survey else digest_only(self.source)

    def check_source(self) -> None:
        """Raises SourceError if there are problems; logs warnings."""
        survey = self.survey()
        survey.require_sound()
        for warning in survey.warnings:
            logger.warning("%s", warning)

    def prepare_crops(self, builders: Sequence["Builder"]) -> None:
        """Reads each patch once for all of `builders`, in `num_workers` processes."""
        survey = self.survey()
        for builder in builders:
            builder._survey = survey
        portions = _portions(survey)
        jobs = _missing_jobs(survey, portions, builders)
        sizes = [survey.crop_bytes(builder.builder_config.resolution) for builder in builders]
        # Crops, the datasets, and TFDS's own scratch for the largest of them.
        require_free_space(Path(self.data_dir_root), 2 * sum(sizes) + max(sizes))
        done = len(survey.patches) - sum(len(job.paths) for job in jobs)
        self.progress("rendering patches", done, len(survey.patches))
        for job in map_unordered(crops.render_patches, jobs, self.num_workers):
            done += len(job.paths)
            self.progress("rendering patches", done, len(survey.patches))

    def extra_metadata(self) -> dict[str, Any]:
        """Whether the patches are synthetic."""
        return {"phantom": self.survey().phantom}

    def _split_generators(self, dl_manager: Any) -> dict[str, Iterator]:
        del dl_manager  # nothing is downloaded
        portions = _portions(self.survey())
        return {
            split: self._generate_examples([part for part in portions if part.split == split])
            for split in SPLITS
        }

    def _generate_examples(self, portions: list[Portion]) -> Iterator[tuple[str, dict[str, Any]]]:
        for portion in portions:
            images = open_crops(self.crop_folder() / portion.file_name)
            for image, row in zip(images, portion.patches.itertuples(), strict=True):
                yield (
                    row.id,
                    {"image": np.array(image), "label": row.label, "id": row.id, "patient": ""},
                )


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
