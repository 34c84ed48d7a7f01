"""LUNA16 as crops of nodules and non-nodules at several resolutions."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import tensorflow_datasets as tfds

from mlp_med.imaging.crop import crop_size
from mlp_med.imaging.hounsfield import render_hounsfield
from mlp_med.imaging.volume import read_volume
from tfds_builders.crop_files import remove_others, rendering_code_digest
from tfds_builders.local_source_builder import LocalSourceBuilder
from tfds_builders.luna16 import crops
from tfds_builders.luna16.crops import RenderJob, render_scan
from tfds_builders.luna16.scans import Scan
from tfds_builders.luna16.survey import (
    CLASSES,
    EXTENT_MM,
    NEGATIVES_PER_POSITIVE,
    RESOLUTIONS_MM,
    Survey,
    digest_only,
    render_key,
    survey_source,
)
from tfds_builders.preview import PreviewCase
from tfds_builders.rendering import Rendering
from tfds_builders.resolution_configs import resolution_configs
from tfds_builders.stored_examples import StoredExample

SCANS_WORTH_A_WORKER = 10  # a process starts in 1.5 s, in which another renders about 20 scans


class Builder(LocalSourceBuilder):
    """Nodules and non-nodules in 40 mm cubes; see README.md beside this file.

    Args:
        negatives_per_positive: non-nodules a nodule, over all splits; 3 by default.
        **kwargs: of `LocalSourceBuilder`, among them `source`.
    """

    VERSION = tfds.core.Version("1.1.0")
    RELEASE_NOTES: ClassVar = {
        "1.1.0": "Each example tells its fold.",
        "1.0.0": "First release.",
    }
    BUILDER_CONFIGS = resolution_configs(RESOLUTIONS_MM, "mm")
    DEFAULT_BUILDER_CONFIG_NAME = "1.25mm"
    DEFAULT_OPTIONS: ClassVar = {"negatives_per_positive": NEGATIVES_PER_POSITIVE}

    def __init__(self, *, negatives_per_positive: float | None = None, **kwargs: Any):
        super().__init__(options={"negatives_per_positive": negatives_per_positive}, **kwargs)

    def features(self) -> dict[str, Any]:
        """Of an example, by name."""
        size = crop_size(EXTENT_MM, self.builder_config.resolution)
        return {
            "image": tfds.features.Tensor(
                shape=(size, size, size, 1), dtype=np.int16, encoding="bytes"
            ),
            "label": tfds.features.ClassLabel(names=list(CLASSES)),
            "id": tfds.features.Text(),
            "patient": tfds.features.Text(),
            "centre_mm": tfds.features.Tensor(shape=(3,), dtype=np.float32),
            "diameter_mm": tfds.features.Scalar(dtype=np.float32),
            "native_spacing_mm": tfds.features.Tensor(shape=(3,), dtype=np.float32),
            "fold": tfds.features.Scalar(dtype=np.int64),
        }

    def _info(self) -> tfds.core.DatasetInfo:
        return self.dataset_info_from_configs(
            features=tfds.features.FeaturesDict(self.features()),
            supervised_keys=("image", "label"),
            homepage="https://luna16.grand-challenge.org/",
            metadata=tfds.core.MetadataDict(),
        )

    def look_at_source(self) -> Survey:
        """Tables and headers; no pixels."""
        return survey_source(self.source, self.options["negatives_per_positive"])

    def source_digest(self) -> str:
        """Digest of tables, headers and file sizes; not of voxels."""
        return self._survey.digest if self._survey else digest_only(self.source)

    def rendering(self, builders: Sequence["Builder"]) -> Rendering:
        """Each scan is read once."""
        survey = self.survey()
        return Rendering(
            function=render_scan,
            jobs=_missing_jobs(survey, builders),
            counted="scans",
            total=survey.examples["series"].nunique(),
            jobs_worth_a_worker=SCANS_WORTH_A_WORKER,
        )

    def extra_metadata(self) -> dict[str, Any]:
        """Whether the scans are synthetic, and how many are coarser than this resolution."""
        survey = self.survey()
        return {
            "phantom": survey.phantom,
            "release": survey.layout.release,
            "extent_mm": EXTENT_MM,
            "num_finer_than_native": survey.num_finer_than_native(self.builder_config.resolution),
        }

    def stored_examples(self, split: str) -> Iterator[StoredExample]:
        """The candidates of a split, scan by scan."""
        survey = self.survey()
        code_digest = rendering_code_digest(crops.__file__)
        examples = survey.examples[survey.examples["split"] == split]
        for series, rows in examples.groupby("series"):
            scan = survey.scans[series]
            file = self.crop_folder() / _file_name(scan, rows, code_digest)
            for index, row in enumerate(rows.itertuples()):
                facts = {
                    "label": row.label,
                    "id": row.id,
                    "patient": series,
                    "centre_mm": np.array([row.x, row.y, row.z], dtype=np.float32),
                    "diameter_mm": np.float32(row.diameter_mm),
                    "native_spacing_mm": np.array(scan.header.spacing_mm, dtype=np.float32),
                    "fold": scan.fold,
                }
                yield StoredExample(file, index, facts)


def preview(
    source: Path | str, num_cases: int = 8, resolutions: Sequence[float] | None = None
) -> list[PreviewCase]:
    """Renders a few cases, both classes in turn, without building anything.

    Works where candidates are missing as well, with nodules alone.

    Raises:
        SourceError: no known release, or no case in it.
        ImageError: a scan cannot be used.
    """
    return preview_of(survey_source(Path(source).expanduser().absolute()), num_cases, resolutions)


def preview_of(
    survey: Survey,
    num_cases: int,
    resolutions: Sequence[float] | None,
    classes: Sequence[str] = CLASSES,
) -> list[PreviewCase]:
    """Renders a few cases of a survey; see `preview`."""
    if survey.examples.empty:
        survey.require_sound()
    rows = survey.examples.assign(turn=survey.examples.groupby("label").cumcount())
    rows = rows.sort_values(["turn", "label"], ascending=[True, False]).head(num_cases)
    cases = []
    for row in rows.itertuples():
        volume = read_volume(survey.scans[row.series].path)
        centre = np.array([[row.x, row.y, row.z]])
        images = {
            f"{spacing:g}mm": render_hounsfield(volume, centre, EXTENT_MM, spacing)[0, ..., None]
            for spacing in sorted(resolutions or RESOLUTIONS_MM)
        }
        cases.append(PreviewCase(id=row.id, label=classes[row.label], crops=images))
    return cases


def _missing_jobs(survey: Survey, builders: Sequence[Builder]) -> list[RenderJob]:
    """One job a scan that lacks a crop file; files under any other name are stale and go."""
    code_digest = rendering_code_digest(crops.__file__)
    wanted: set[Path] = set()
    jobs = []
    for series, rows in survey.examples.groupby("series"):
        name = _file_name(survey.scans[series], rows, code_digest)
        targets = [(b.builder_config.resolution, b.crop_folder() / name) for b in builders]
        wanted.update(path for _, path in targets)
        missing = tuple((spacing, path) for spacing, path in targets if not path.is_file())
        if missing:
            centres = rows[["x", "y", "z"]].to_numpy()
            jobs.append(RenderJob(survey.scans[series].path, centres, EXTENT_MM, missing))
    for builder in builders:
        remove_others(builder.crop_folder(), wanted)
    return jobs


def _file_name(scan: Scan, rows: pd.DataFrame, code_digest: str) -> str:
    return f"{render_key(scan, rows, code_digest)}.npy"
