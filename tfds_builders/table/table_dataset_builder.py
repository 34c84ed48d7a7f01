"""Images that a csv file names as crops at several resolutions."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import tensorflow_datasets as tfds

from mlp_med.errors import DatasetError
from mlp_med.imaging.crop import crop_size
from mlp_med.imaging.formats import read_image
from tfds_builders.built_configs import built_configs
from tfds_builders.local_source_builder import LocalSourceBuilder
from tfds_builders.preview import PreviewCase
from tfds_builders.rendering import Rendering
from tfds_builders.resolution_configs import ResolutionConfig, resolution_configs
from tfds_builders.stored_examples import StoredExample
from tfds_builders.table.crops import one_thread, render, render_images
from tfds_builders.table.design import Design
from tfds_builders.table.portions import find_portions, missing_jobs
from tfds_builders.table.rows import CLASSES
from tfds_builders.table.survey import Survey, digest_only, survey_source
from tfds_builders.table.window import choose_window

JOBS_WORTH_A_WORKER = 2


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
        **kwargs: Any,
    ):
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
            homepage="https://simpleitk.org/",
            metadata=tfds.core.MetadataDict(),
        )

    def _design(self) -> Design | None:
        """As a sibling was built, or from the source; None where there is neither."""
        built = built_configs(Path(self.data_dir_root), self.name, self.version)
        for metadata in built.values():
            kept = dict(metadata["design"])
            tuples = {name: tuple(kept.get(name, ())) for name in ("resolutions", "kinds")}
            return Design(**{**kept, **tuples})
        return None if self._source is None else self.survey().require_sound()

    def look_at_source(self) -> Survey:
        """The csv file and headers, with the options of a built sibling where there is one."""
        options = dict(self.options)
        for metadata in built_configs(Path(self.data_dir_root), self.name, self.version).values():
            options = {**metadata["options"], **options}
        options["resolutions"] = options.pop("ladder", None)
        return survey_source(self.source, **options)

    def source_digest(self) -> str:
        """Digest of the csv file and of size and first 4 KiB of every file; not of all voxels."""
        return self._survey.digest if self._survey else digest_only(self.source)

    def check_source(self) -> None:
        """Logs warnings; raises SourceError if there are problems."""
        super().check_source()
        design = self.survey().require_sound()
        if self.builder_config.resolution not in design.resolutions:
            raise DatasetError(
                f"{self.name} of {self.source} has no resolution {self.builder_config.name}; it "
                f"has {', '.join(f'{r:g}mm' for r in design.resolutions)}"
            )

    def prepare_crops(self, builders: Sequence["Builder"]) -> None:
        """Renders what is missing; finds the window that all resolutions share."""
        window = self._intensity_window()
        for builder in builders:
            builder._window = window
        super().prepare_crops(builders)

    def rendering(self, builders: Sequence["Builder"]) -> Rendering:
        """Each image is read once."""
        survey, fill = self.survey(), self.options.get("fill")
        folders = {b.builder_config.resolution: b.crop_folder() for b in builders}
        jobs = missing_jobs(survey, find_portions(survey, fill), folders, fill)
        return Rendering(
            function=render_images,
            jobs=jobs,
            counted="crops",
            total=len(survey.examples),
            counts=[job.num_crops for job in jobs],
            jobs_worth_a_worker=JOBS_WORTH_A_WORKER,
        )

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
            "design": {
                **vars(design),
                "resolutions": list(design.resolutions),
                "kinds": list(design.kinds),
            },
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

    def stored_examples(self, split: str) -> Iterator[StoredExample]:
        """The crops of a split, portion by portion."""
        survey = self.survey()
        for portion in find_portions(survey, self.options.get("fill")):
            if portion.split != split:
                continue
            file = self.crop_folder() / portion.file_name
            centres = survey.centres_mm(portion.examples)
            rows = portion.examples.itertuples()
            for index, (row, centre) in enumerate(zip(rows, centres, strict=True)):
                spacing = survey.headers[row.path].spacing_mm
                facts = {
                    "label": row.label,
                    "id": row.id,
                    "patient": row.patient,
                    "centre_mm": centre.astype(np.float32),
                    "native_spacing_mm": np.array(spacing, np.float32),
                }
                if survey.require_sound().has_diameter:
                    facts["diameter_mm"] = np.float32(row.diameter_mm)
                if "kind" in self.info.features:  # of the design that its siblings were built with
                    facts["kind"] = row.kind
                yield StoredExample(file, index, facts)


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
    with one_thread():
        for row, centre in zip(rows.itertuples(), survey.centres_mm(rows), strict=True):
            image = read_image(survey.headers[row.path])
            images = {}
            for spacing in design.resolutions:
                (images[f"{spacing:g}mm"],) = render(
                    image, centre[None], design.field_mm, spacing, design.dtype, options.get("fill")
                )
            cases.append(PreviewCase(id=row.id, label=CLASSES[row.label], crops=images))
    return cases


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
    if design.kinds:
        features["kind"] = tfds.features.ClassLabel(names=list(design.kinds))
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
