"""Images that a csv file names as crops at several resolutions."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import tensorflow_datasets as tfds

from mlp_med.errors import DatasetError, SourceError
from mlp_med.imaging import formats
from mlp_med.imaging.crop import crop_size
from mlp_med.imaging.formats import read_image
from tfds_builders.crop_files import open_crops, remove_others, rendering_code_digest
from tfds_builders.hashing import digest_of
from tfds_builders.local_source_builder import (
    LocalSourceBuilder,
    ResolutionConfig,
    built_configs,
    logger,
    resolution_configs,
)
from tfds_builders.preview import PreviewCase
from tfds_builders.processes import map_unordered
from tfds_builders.scratch import require_free_space
from tfds_builders.table import crops
from tfds_builders.table.crops import ImageCrops, RenderJob, crop_bytes, render, render_images
from tfds_builders.table.design import Design
from tfds_builders.table.rows import CLASSES, SPLITS
from tfds_builders.table.survey import Survey, digest_only, survey_source

BYTES_A_FILE = 32_000_000  # of crops at the finest resolution, held in memory by a worker
WINDOW_EXAMPLES = 64
WINDOW_PERCENTILES = (0.5, 99.5)
JOBS_WORTH_A_WORKER = 2


@dataclass(frozen=True, eq=False)
class Portion:
    """Examples of one split that share a crop file at each resolution: `file_name`."""

    split: str
    examples: pd.DataFrame
    file_name: str


class Builder(LocalSourceBuilder):
    """Crops of the user's own images; see README.md beside this file.

    The source is a csv file. Options left out are what the dataset in the data directory was built
    with; where there is none, they come from the images.

    Args:
        field_mm: edge of the field; the whole images' common edge, or 40 mm around a centre.
        spacing_mm: of a pixel, for formats that know no mm (PNG, TIFF, JPEG, BMP).
        ladder: the resolutions that this dataset can have, in mm.
        intensity_window: native values that a network sees as 0 and 1.
        fill: value outside an image.
        survey: of the source with these options, where the caller has it.
        **kwargs: of `LocalSourceBuilder`, among them `source`.
    """

    name = "table"
    VERSION = tfds.core.Version("1.1.0")
    RELEASE_NOTES: ClassVar = {
        "1.1.0": "The metadata tell whether the csv file states centres.",
        "1.0.0": "First release.",
    }
    BUILDER_CONFIGS: ClassVar = []  # each csv file has its own resolutions

    def __init__(
        self,
        *,
        config: ResolutionConfig | str | None = None,
        field_mm: float | None = None,
        spacing_mm: float | None = None,
        ladder: Sequence[float] | None = None,
        intensity_window: Sequence[float] | None = None,
        fill: float | None = None,
        survey: Survey | None = None,
        **kwargs: Any,
    ):
        self._survey = survey
        self._window: tuple[float, float] | None = None
        options = {
            "field_mm": field_mm,
            "spacing_mm": spacing_mm,
            "ladder": None if ladder is None else sorted(map(float, ladder)),
            "intensity_window": None if intensity_window is None else list(intensity_window),
            "fill": fill,
        }
        super().__init__(config=_as_config(config), options=options, **kwargs)

    @classmethod
    def config_at(cls, resolution: float) -> ResolutionConfig:
        """The config at `resolution`; whether a dataset has it shows when it is opened."""
        return resolution_configs([resolution], "mm")[0]

    @classmethod
    def plan_build(
        cls,
        source: Path,
        data_dir: Path,
        resolutions: Sequence[float] | None,
        options: dict[str, Any],
    ) -> tuple[Sequence[float], dict[str, Any]]:
        """All resolutions by default; the first build in a data directory says which there are."""
        built = built_configs(data_dir, cls.name, cls.VERSION)
        if built:
            ladder = next(iter(built.values()))["description"]["resolutions"]
            unknown = sorted(set(resolutions or ()) - set(ladder))
            if unknown:
                raise DatasetError(
                    f"{cls.name} in {data_dir} was built for {', '.join(f'{r:g}' for r in ladder)} "
                    f"mm, not {unknown[0]:g} mm; choose another data directory, or remove "
                    f"{data_dir / cls.name}"
                )
            return resolutions or ladder, options
        survey = survey_source(source, resolutions=resolutions, **options)
        ladder = survey.require_sound().resolutions
        return resolutions or ladder, {**options, "ladder": ladder, "survey": survey}

    def _info(self) -> tfds.core.DatasetInfo:
        design = self._design()
        return self.dataset_info_from_configs(
            features=None if design is None else _features(design, self.builder_config.resolution),
            supervised_keys=("image", "label"),
            homepage="https://pypi.org/project/SimpleITK/",
            metadata=tfds.core.MetadataDict(),
        )

    def _design(self) -> Design | None:
        """As a sibling was built, or from the source; None where there is neither."""
        built = built_configs(Path(self.data_dir_root), self.name, self.version)
        for metadata in built.values():
            kept = dict(metadata["design"])
            return Design(**{**kept, "resolutions": tuple(kept["resolutions"])})
        return None if self._source is None else self.survey().require_sound()

    def survey(self) -> Survey:
        """The source, looked at once, with the options of a built sibling where there is one."""
        if self._survey is None:
            options = dict(self.options)
            built = built_configs(Path(self.data_dir_root), self.name, self.version)
            for metadata in built.values():
                options = {**metadata["options"], **options}
            options["resolutions"] = options.pop("ladder", None)
            self._survey = survey_source(self.source, **options)
        return self._survey

    def source_digest(self) -> str:
        """Digest of the csv file and of size and first 4 KiB of every file; not of all voxels."""
        return self._survey.digest if self._survey else digest_only(self.source)

    def check_source(self) -> None:
        """Raises SourceError if there are problems."""
        design = self.survey().require_sound()
        if self.builder_config.resolution not in design.resolutions:
            raise DatasetError(
                f"{self.name} of {self.source} has no resolution {self.builder_config.name}; it "
                f"has {', '.join(f'{r:g}mm' for r in design.resolutions)}"
            )

    def prepare_crops(self, builders: Sequence["Builder"]) -> None:
        """Reads each image once for all of `builders`, in `num_workers` processes."""
        survey = self.survey()
        for warning in survey.warnings:
            logger.warning("%s", warning)
        window = self._intensity_window()
        for builder in builders:
            builder._survey, builder._window = survey, window
        portions = _portions(survey, self.options.get("fill"))
        jobs = _missing_jobs(survey, portions, builders, self.options.get("fill"))
        sizes = [survey.bytes_at(builder.builder_config.resolution) for builder in builders]
        # Crops, the datasets, and TFDS's own scratch for the largest of them.
        require_free_space(Path(self.data_dir_root), 2 * sum(sizes) + max(sizes))
        total = len(survey.examples)
        done = total - sum(job.num_crops for job in jobs)
        self.progress("rendering crops", done, total)
        num_workers = min(self.num_workers, 1 + len(jobs) // JOBS_WORTH_A_WORKER)
        for job in map_unordered(render_images, jobs, num_workers):
            done += job.num_crops
            self.progress("rendering crops", done, total)

    def extra_metadata(self) -> dict[str, Any]:
        """What everything later must know of the crops, since no code says it."""
        survey, design = self.survey(), self.survey().require_sound()
        found = {
            "field_mm": design.field_mm,
            "ladder": list(design.resolutions),
            "intensity_window": list(self._intensity_window()),
        }
        return {
            "options": {**found, **self.options},
            "phantom": survey.phantom,
            "num_finer_than_native": survey.num_finer_than_native(self.builder_config.resolution),
            "design": {**vars(design), "resolutions": list(design.resolutions)},
            "description": _description(survey, design, self._intensity_window()),
        }

    def _intensity_window(self) -> tuple[float, float]:
        """Stated, as of a built sibling, or found; the same at every resolution."""
        if self._window is None:
            stated = self.options.get("intensity_window")
            for built in built_configs(Path(self.data_dir_root), self.name, self.version).values():
                stated = stated or built["description"]["intensity_window"]
            self._window = choose_window(self.survey(), stated)
        return self._window

    def _split_generators(self, dl_manager: Any) -> dict[str, Iterator]:
        del dl_manager  # nothing is downloaded
        portions = _portions(self.survey(), self.options.get("fill"))
        return {
            split: self._generate_examples([part for part in portions if part.split == split])
            for split in SPLITS
        }

    def _generate_examples(self, portions: list[Portion]) -> Iterator[tuple[str, dict[str, Any]]]:
        survey = self.survey()
        for portion in portions:
            images = open_crops(self.crop_folder() / portion.file_name)
            centres = survey.centres_mm(portion.examples)
            for image, centre, row in zip(
                images, centres, portion.examples.itertuples(), strict=True
            ):
                example = {
                    "image": np.array(image),
                    "label": row.label,
                    "id": row.id,
                    "patient": row.patient,
                    "centre_mm": centre.astype(np.float32),
                    "native_spacing_mm": np.array(survey.headers[row.path].spacing_mm, np.float32),
                }
                if survey.require_sound().has_diameter:
                    example["diameter_mm"] = np.float32(row.diameter_mm)
                yield row.id, example


def describe_source(source: Path | str, **options: Any) -> dict[str, Any]:
    """What a dataset built from this source with these options would say of itself.

    Raises:
        SourceError: the source has problems.
        ImageError: an image that the intensity window is found from cannot be read.
    """
    window = options.pop("intensity_window", None)
    survey = survey_source(Path(source).expanduser().absolute(), **options)
    return _description(survey, survey.require_sound(), choose_window(survey, window))


def preview(
    source: Path | str,
    num_cases: int = 8,
    resolutions: Sequence[float] | None = None,
    **options: Any,
) -> list[PreviewCase]:
    """Renders a few crops, both classes in turn, without building anything.

    Raises:
        SourceError: the source has problems.
        ImageError: an image cannot be used.
    """
    source = Path(source).expanduser().absolute()
    survey = survey_source(source, resolutions=resolutions, **options)
    design = survey.require_sound()
    rows = survey.examples.assign(turn=survey.examples.groupby("label").cumcount())
    rows = rows.sort_values(["turn", "label"], ascending=[True, False]).head(num_cases)
    cases = []
    for row, centre in zip(rows.itertuples(), survey.centres_mm(rows), strict=True):
        image = read_image(survey.headers[row.path])
        images = {}
        for spacing in design.resolutions:
            (images[f"{spacing:g}mm"],) = render(
                image, centre[None], design.field_mm, spacing, design.dtype, options.get("fill")
            )
        cases.append(PreviewCase(id=row.id, label=CLASSES[row.label], crops=images))
    return cases


def choose_window(survey: Survey, stated: Sequence[float] | None) -> tuple[float, float]:
    """The native values that become 0 and 1.

    Stated; 0 and 255 for 8-bit images; else the 0.5th and 99.5th percentile over some training
    crops (those whose ids come first by hash) at the finest resolution.

    Raises:
        SourceError: the stated ones are no interval, or the crops hold one value only.
    """
    design = survey.require_sound()
    if stated is not None:
        low, high = (float(value) for value in stated)
        if not (math.isfinite(low) and math.isfinite(high) and low < high):
            raise SourceError(
                f"expected an intensity window of low < high, found {low:g}, {high:g}"
            )
        return low, high
    if design.dtype == formats.BYTE:
        return 0.0, 255.0
    training = survey.examples[survey.examples["split"] == "train"]
    order = np.argsort([digest_of([name]) for name in training["id"]])[:WINDOW_EXAMPLES]
    values = []
    for path, rows in training.iloc[order].groupby("path"):
        image = read_image(survey.headers[str(path)])
        values += [
            crop.ravel()
            for crop in render(
                image,
                survey.centres_mm(rows),
                design.field_mm,
                design.resolutions[0],
                design.dtype,
                None,
            )
        ]
    low, high = (
        float(f"{p:.4g}") for p in np.percentile(np.concatenate(values), WINDOW_PERCENTILES)
    )
    if low >= high:
        raise SourceError(
            f"{survey.source}: the training crops hold hardly any value but {low:g}; are their "
            "centres where they should be? If so, state intensity_window"
        )
    return low, high


def _description(survey: Survey, design: Design, window: tuple[float, float]) -> dict[str, Any]:
    """The arguments of `mlp_med.pipelines.datasets.DatasetDescription`, fit for JSON."""
    return {
        "name": Builder.name,
        "unit": "mm",
        "resolutions": list(design.resolutions),
        "field_extent": design.field_mm,
        "spatial_dims": design.spatial_dims,
        "num_channels": design.num_channels,
        "intensity_window": list(window),
        "patients_known": survey.patients_known,
        "class_names": list(CLASSES),
        "label_at_centre": design.has_centres,
    }


def _features(design: Design, resolution: float) -> tfds.features.FeaturesDict:
    dims = design.spatial_dims
    size = crop_size(design.field_mm, resolution)
    features: dict[str, Any] = {
        "image": tfds.features.Tensor(
            shape=(*[size] * dims, design.num_channels),
            dtype=np.dtype(design.dtype).type,
            encoding="bytes",
        ),
        "label": tfds.features.ClassLabel(names=list(CLASSES)),
        "id": tfds.features.Text(),
        "patient": tfds.features.Text(),
        "centre_mm": tfds.features.Tensor(shape=(dims,), dtype=np.float32),
        "native_spacing_mm": tfds.features.Tensor(shape=(dims,), dtype=np.float32),
    }
    if design.has_diameter:
        features["diameter_mm"] = tfds.features.Scalar(dtype=np.float32)
    return tfds.features.FeaturesDict(features)


def _as_config(config: ResolutionConfig | str | None) -> ResolutionConfig:
    if isinstance(config, ResolutionConfig):
        return config
    try:
        return Builder.config_at(float(str(config).removesuffix("mm")))
    except ValueError:
        raise DatasetError(
            f'expected a resolution, as in tfds.load("table/1.25mm"), found {config!r}'
        ) from None


def _portions(survey: Survey, fill: float | None) -> list[Portion]:
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


def _missing_jobs(
    survey: Survey, portions: list[Portion], builders: Sequence[Builder], fill: float | None
) -> list[RenderJob]:
    """One job a portion that lacks a crop file; files under any other name are stale and go."""
    design = survey.require_sound()
    jobs = []
    for portion in portions:
        targets = [
            (b.builder_config.resolution, b.crop_folder() / portion.file_name) for b in builders
        ]
        missing = tuple((spacing, path) for spacing, path in targets if not path.is_file())
        if missing:
            images = tuple(
                ImageCrops(survey.headers[str(path)], survey.centres_mm(rows))
                for path, rows in portion.examples.groupby("path", sort=False)
            )
            jobs.append(RenderJob(images, design.field_mm, design.dtype, fill, missing))
    for builder in builders:
        folder = builder.crop_folder()
        remove_others(folder, [folder / portion.file_name for portion in portions])
    return jobs
