"""CAMELYON16's slides as patches with and without metastasis, at several resolutions."""

from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import tensorflow_datasets as tfds

from mlp_med.errors import SourceError
from mlp_med.evidence import lesions
from mlp_med.imaging.crop import crop_size
from tfds_builders.camelyon16 import annotations, crops, patches, tissue
from tfds_builders.camelyon16.crops import RenderJob, listing, read_listing, render_slide
from tfds_builders.camelyon16.layout import LABELS
from tfds_builders.camelyon16.patches import FIELD_UM
from tfds_builders.camelyon16.slides import Slide
from tfds_builders.camelyon16.survey import (
    CLASSES,
    PATCHES_PER_SLIDE,
    RESOLUTIONS_UM,
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


class Builder(LocalSourceBuilder):
    """Patches 62 µm wide; see README.md beside this file.

    Args:
        patches_per_slide: of each label from each slide, at most; 64 by default.
        **kwargs: of `LocalSourceBuilder`, among them `source`.
    """

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar = {"1.0.0": "First release."}
    BUILDER_CONFIGS = resolution_configs(RESOLUTIONS_UM, "um")
    DEFAULT_BUILDER_CONFIG_NAME = "0.972um"
    DEFAULT_OPTIONS: ClassVar = {"patches_per_slide": PATCHES_PER_SLIDE}

    def __init__(self, *, patches_per_slide: int | None = None, **kwargs: Any):
        super().__init__(options={"patches_per_slide": patches_per_slide}, **kwargs)

    def _info(self) -> tfds.core.DatasetInfo:
        size = crop_size(FIELD_UM, self.builder_config.resolution)
        return self.dataset_info_from_configs(
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Tensor(
                        shape=(size, size, 3), dtype=np.uint8, encoding="bytes"
                    ),
                    "label": tfds.features.ClassLabel(names=list(CLASSES)),
                    "id": tfds.features.Text(),
                    "patient": tfds.features.Text(),
                    "slide_label": tfds.features.ClassLabel(names=list(LABELS)),
                    "exhaustive": tfds.features.Scalar(dtype=np.bool_),
                    "centre_um": tfds.features.Tensor(shape=(2,), dtype=np.float32),
                    "diameter_mm": tfds.features.Scalar(dtype=np.float32),
                    "native_spacing_mm": tfds.features.Tensor(shape=(2,), dtype=np.float32),
                }
            ),
            supervised_keys=("image", "label"),
            homepage="https://camelyon16.grand-challenge.org/",
            metadata=tfds.core.MetadataDict(),
        )

    def look_at_source(self) -> Survey:
        """Tables and headers; no pixels."""
        return survey_source(self.source, self.options["patches_per_slide"])

    def source_digest(self) -> str:
        """Digest of annotations, test labels and the slides' ids and file sizes; not of pixels."""
        return self._survey.digest if self._survey else digest_only(self.source)

    def rendering(self, builders: Sequence["Builder"]) -> Rendering:
        """Each slide is opened once."""
        survey = self.survey()
        jobs = _missing_jobs(survey, builders)
        return Rendering(render_slide, jobs, counted="slides", total=len(survey.slides))

    def prepare_crops(self, builders: Sequence["Builder"]) -> None:
        """Renders what is missing; raises SourceError where the slides lack tissue of a class."""
        super().prepare_crops(builders)
        builders[0]._require_both_classes()  # self may be built, and its crops gone

    def _require_both_classes(self) -> None:
        """Only now is it known where there is tissue."""
        counts: Counter = Counter()
        for slide in self.survey().slides:
            counts.update((slide.split, p.label) for p in read_listing(self._crop_file(slide)))
        for split in self.SPLITS:
            for label, name in enumerate(CLASSES):
                if not counts[split, label]:
                    raise SourceError(
                        f"{self.source}: the slides of the {split} split hold no tissue of class "
                        f"{name!r}; give more slides"
                    )

    def extra_metadata(self) -> dict[str, Any]:
        """Whether the slides are drawn, and how many are coarser than this resolution."""
        survey = self.survey()
        return {
            "phantom": survey.phantom,
            "extent_um": FIELD_UM,
            "num_slides_coarser_than_this": survey.num_finer_than_native(
                self.builder_config.resolution
            ),
            "partly_annotated": sorted(s.id for s in survey.slides if not s.exhaustive),
        }

    def stored_examples(self, split: str) -> Iterator[StoredExample]:
        """The patches of a split, slide by slide."""
        for slide in self.survey().slides:
            if slide.split != split:
                continue
            file = self._crop_file(slide)
            for index, patch in enumerate(read_listing(file)):
                facts = {
                    "label": patch.label,
                    "id": patch.id,
                    "patient": slide.id,
                    "slide_label": slide.label,
                    "exhaustive": slide.exhaustive,
                    "centre_um": np.array([patch.x_um, patch.y_um], dtype=np.float32),
                    "diameter_mm": np.float32(patch.diameter_mm),
                    "native_spacing_mm": np.float32(slide.header.pixel_um) / 1000,
                }
                yield StoredExample(file, index, facts)

    def _crop_file(self, slide: Slide) -> Path:
        return self.crop_folder() / _file_name(slide, self.options["patches_per_slide"])


def preview(
    source: Path | str, num_cases: int = 8, resolutions: Sequence[float] | None = None
) -> list[PreviewCase]:
    """Renders a few patches, both classes in turn, each of another slide where there are enough.

    Raises:
        SourceError: the source has problems.
        ImageError: a slide cannot be used.
    """
    survey = survey_source(Path(source).expanduser().absolute())
    survey.require_sound()
    wanted = sorted(resolutions or RESOLUTIONS_UM)
    cases: list[PreviewCase] = []
    by_label = [[s for s in survey.slides if s.label], [s for s in survey.slides if s.exhaustive]]
    for number in range(num_cases):
        label = (number + 1) % 2
        slides = by_label[1 - label]
        slide = slides[number // 2 % len(slides)]
        turn = number // 2 // len(slides)
        found = [p for p in crops.choose(slide, survey.patches_per_slide) if p.label == label]
        if turn >= len(found):
            continue
        images = crops.render_patches(slide, [found[turn]], wanted)
        names = [f"{um:g}um" for um in wanted]
        rendered = {name: image[0] for name, image in zip(names, images, strict=True)}
        cases.append(PreviewCase(id=found[turn].id, label=CLASSES[label], crops=rendered))
    return cases


def _missing_jobs(survey: Survey, builders: Sequence[Builder]) -> list[RenderJob]:
    """One job a slide that lacks a crop file; files under any other name are stale and go."""
    jobs = []
    wanted: set[Path] = set()
    for slide in survey.slides:
        targets = [(b.builder_config.resolution, b._crop_file(slide)) for b in builders]
        for _, path in targets:
            wanted |= {path, listing(path)}
        missing = tuple((um, path) for um, path in targets if not listing(path).is_file())
        if missing:
            jobs.append(RenderJob(slide, survey.patches_per_slide, missing))
    for builder in builders:
        remove_others(builder.crop_folder(), wanted)
    return jobs


def _file_name(slide: Slide, patches_per_slide: int) -> str:
    """Another code, slide, outline or number of patches gives another name."""
    state = slide.header.path.stat()
    parts = [
        _code_digest(),
        f"{slide.id} {state.st_size} {state.st_mtime_ns} {slide.header}",
        f"{slide.exhaustive} {patches_per_slide}",
    ]
    outlines = [f"{o.kind} {o.points.tobytes().hex()}" for o in slide.outlines]
    return f"{digest_of([*parts, *outlines])}.npy"


@cache
def _code_digest() -> str:
    modules = (annotations, crops, lesions, patches, tissue)
    return rendering_code_digest(*(str(module.__file__) for module in modules))
