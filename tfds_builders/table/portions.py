"""Whole images of one split in portions: what a worker renders and a crop file holds."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from mlp_med.imaging import formats
from tfds_builders.crop_files import remove_others, rendering_code_digest
from tfds_builders.hashing import digest_of
from tfds_builders.table import crops
from tfds_builders.table.crops import ImageCrops, RenderJob, crop_bytes
from tfds_builders.table.survey import Survey

BYTES_A_FILE = 32_000_000  # of crops at the finest resolution, held in memory by a worker


@dataclass(frozen=True, eq=False)
class Portion:
    """Examples of one split that share a crop file at each resolution: `file_name`."""

    split: str
    examples: pd.DataFrame
    file_name: str


def find_portions(survey: Survey, fill: float | None) -> list[Portion]:
    """Whole images of one split in portions; another code, file or choice, another file name."""
    design = survey.require_sound()
    code_digest = rendering_code_digest(crops.__file__)
    finest = design.resolutions[0]
    one = crop_bytes(
        design.field_mm, finest, design.spatial_dims, design.num_channels, design.dtype
    )
    most = max(1, BYTES_A_FILE // one)
    portions = []
    for split, examples in survey.examples.groupby("split"):
        numbers = examples.groupby("path", sort=False)["id"].transform("size")
        heads = ~examples["path"].duplicated()
        before = (numbers * heads).cumsum() - numbers  # crops of the images before this one
        for _, some in examples.groupby(before // most):
            parts = [code_digest, survey.digest, f"{vars(design)} {fill}", *some["id"]]
            for path in some["path"].unique():
                files = formats.image_files(Path(path))
                parts += [f"{file.stat().st_size} {file.stat().st_mtime_ns}" for file in files]
            portions.append(Portion(str(split), some, f"{digest_of(parts)}.npy"))
    return portions


def missing_jobs(
    survey: Survey, portions: list[Portion], folders: Mapping[float, Path], fill: float | None
) -> list[RenderJob]:
    """One job a portion that lacks a crop file; files under any other name are stale and go.

    Args:
        survey: of the source.
        portions: of `find_portions`.
        folders: of the crop files, by resolution in mm.
        fill: value outside an image; None for the format's own.
    """
    design = survey.require_sound()
    jobs = []
    for portion in portions:
        targets = {spacing: folder / portion.file_name for spacing, folder in folders.items()}
        missing = tuple((mm, path) for mm, path in targets.items() if not path.is_file())
        if missing:
            of_image, paths = pd.factorize(portion.examples["path"])  # one after the other
            ends = np.flatnonzero(np.diff(of_image)) + 1
            centres = np.split(survey.centres_mm(portion.examples), ends)
            images = tuple(
                ImageCrops(survey.headers[path], some)
                for path, some in zip(paths, centres, strict=True)
            )
            jobs.append(RenderJob(images, design.field_mm, design.dtype, fill, missing))
    for folder in folders.values():
        remove_others(folder, [folder / portion.file_name for portion in portions])
    return jobs
