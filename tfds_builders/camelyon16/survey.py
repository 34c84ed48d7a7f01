"""Everything a build needs to know of a source, found without reading a pixel."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from mlp_med.errors import SourceError
from mlp_med.imaging.crop import crop_size
from tfds_builders.camelyon16.layout import LABELS, SPLITS, Layout, find_layout
from tfds_builders.camelyon16.patches import FIELD_UM
from tfds_builders.camelyon16.slides import Slide, find_slides
from tfds_builders.hashing import digest_of
from tfds_builders.phantom_marker import MARKER, is_phantom, unfinished_phantom
from tfds_builders.problems import require_none
from tfds_builders.source_report import SourceReport

RESOLUTIONS_UM = (0.243, 0.486, 0.972, 1.944)
PATCHES_PER_SLIDE = 64
CLASSES = ("no tumour", "tumour")
# Scanners' pixels are 0.2431 or 0.2268 µm where their makers say 0.243 and 0.226.
NATIVE_TOLERANCE = 0.01
# Of one core, measured on phantoms: finding the tissue of a megapixel, and a patch at all four.
SECONDS_A_MEGAPIXEL, SECONDS_A_PATCH = 0.001, 0.03


@dataclass
class Survey:
    """A source as found; fit for a dataset only if `problems` is empty.

    Attributes:
        layout: where things lie.
        slides: those that are used, by id.
        digest: of the source.
        phantom: whether the slides are drawn.
        patches_per_slide: of each label, at most.
        skipped: number left out, by reason.
        problems: what must be mended.
        warnings: what should be known.
    """

    layout: Layout
    slides: list[Slide]
    digest: str
    phantom: bool
    patches_per_slide: int
    skipped: dict[str, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def require_sound(self) -> None:
        """Raises SourceError if there are problems, and tells them."""
        require_none(self.layout.root, self.problems)

    def most_patches(self, split: str) -> dict[str, int]:
        """How many patches of each class a split has at most, if its slides have tissue enough."""
        slides = [slide for slide in self.slides if slide.split == split]
        sources = (sum(slide.exhaustive for slide in slides), sum(slide.label for slide in slides))
        return {
            name: number * self.patches_per_slide
            for name, number in zip(CLASSES, sources, strict=True)
        }

    @property
    def num_patches(self) -> int:
        """At most."""
        return sum(sum(self.most_patches(split).values()) for split in SPLITS)

    def crop_bytes(self, resolution_um: float) -> int:
        """Bytes of all patches at one resolution, uint8 RGB, at most."""
        return 3 * crop_size(FIELD_UM, resolution_um) ** 2 * self.num_patches

    @property
    def build_core_seconds(self) -> float:
        """Of one core, for all resolutions, at most."""
        megapixels = sum(np.prod(slide.header.size) / 1e6 for slide in self.slides)
        return float(SECONDS_A_MEGAPIXEL * megapixels + SECONDS_A_PATCH * self.num_patches)

    def num_finer_than_native(self, resolution_um: float) -> int:
        """Slides whose pixels are coarser than the resolution."""
        limit = resolution_um * (1 + NATIVE_TOLERANCE)
        return sum(max(slide.header.pixel_um) > limit for slide in self.slides)

    def warnings_at(self, resolution_um: float) -> list[str]:
        """What should be known of a dataset at one resolution."""
        number = self.num_finer_than_native(resolution_um)
        if not number:
            return []
        return [
            f"{resolution_um:g} µm is finer than the pixels of {number:,} of {len(self.slides):,} "
            "slides: allowed and recorded, but their patches hold no detail of that size"
        ]


def survey_source(root: Path, patches_per_slide: int = PATCHES_PER_SLIDE) -> Survey:
    """Reads the slides' headers, the outlines and the test labels below `root`.

    Raises:
        SourceError: `root` holds no CAMELYON16. All else is in the survey's problems.
    """
    layout = find_layout(root)
    found = find_slides(layout)
    survey = Survey(
        layout=layout,
        slides=found.slides,
        digest=_digest(layout),
        phantom=is_phantom(root),
        patches_per_slide=patches_per_slide,
        skipped={reason: number for reason, number in found.skipped.items() if number},
        problems=unfinished_phantom(root) + found.problems,
        warnings=found.warnings,
    )
    if not survey.problems:
        survey.problems += _splits_of_one_class(survey)
    partly = [slide.id for slide in survey.slides if not slide.exhaustive]
    if partly:
        survey.warnings.append(
            f"{len(partly)} slides are not exhaustively annotated by the release's own notes: no "
            f"patch without tumour is taken from {', '.join(partly)}"
        )
    return survey


def digest_only(root: Path) -> str:
    """The digest of a source, without opening its slides.

    Raises:
        SourceError: `root` holds no CAMELYON16.
    """
    return _digest(find_layout(root))


def check(source: Path | str) -> SourceReport:
    """What the source holds and what a build would skip; reads no pixels and writes nothing."""
    source = Path(source).expanduser().absolute()
    try:
        survey = survey_source(source)
    except SourceError as error:
        return SourceReport(dataset="camelyon16", source=source, problems=[str(error)])
    return SourceReport(
        dataset="camelyon16",
        source=source,
        layout=f"CAMELYON16, arranged as its {survey.layout.arrangement}",
        phantom=survey.phantom,
        digest=survey.digest,
        files={"slides": len(survey.layout.slides), "annotations": len(survey.layout.annotations)},
        candidates={
            f"{split}: {name} slides": sum(
                slide.split == split and slide.label == label for slide in survey.slides
            )
            for split in SPLITS
            for label, name in enumerate(LABELS)
        },
        examples={f"{split}, at most": survey.most_patches(split) for split in SPLITS},
        skipped=survey.skipped,
        native=_native(survey),
        crop_bytes={f"{um:g}um": survey.crop_bytes(um) for um in RESOLUTIONS_UM},
        build_core_seconds=survey.build_core_seconds,
        problems=survey.problems,
        warnings=[
            *survey.warnings,
            *(warning for um in RESOLUTIONS_UM for warning in survey.warnings_at(um)),
            "the tissue of a slide is found when the dataset is built: sizes and times are upper "
            "limits",
        ],
    )


def _digest(layout: Layout) -> str:
    """Of the annotations, the test labels, and every slide's id and file size; not of pixels."""
    parts: list[str | bytes] = [layout.arrangement]
    if is_phantom(layout.root):
        parts.append((layout.root / MARKER).read_bytes())
    if layout.reference:
        parts.append(layout.reference.read_bytes())
    for slide_id, path in sorted(layout.annotations.items()):
        parts += [slide_id, path.read_bytes()]
    parts += [f"{name} {path.stat().st_size}" for name, path in sorted(layout.slides.items())]
    return digest_of(parts)


def _splits_of_one_class(survey: Survey) -> list[str]:
    problems = []
    for split in SPLITS:
        counts = survey.most_patches(split)
        lacking = [name for name, number in counts.items() if not number]
        if lacking:
            number = sum(slide.split == split for slide in survey.slides)
            problems.append(
                f"the {split} split has {number} slides, and none that patches of "
                f"{' and of '.join(map(repr, lacking))} could come from; give more slides "
                "(validation is every seventh training slide by its number)"
            )
    return problems


def _native(survey: Survey) -> str:
    """The pixel sizes, and how many slides have each."""
    if not survey.slides:
        return ""
    sizes = np.array([max(slide.header.pixel_um) for slide in survey.slides]).round(3)
    values, counts = np.unique(sizes, return_counts=True)
    shown = ", ".join(f"{value:g} ({count})" for value, count in zip(values, counts, strict=True))
    return f"µm a pixel (slides): {shown}"
