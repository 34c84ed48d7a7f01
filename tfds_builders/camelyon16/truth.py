"""What the test slides hold: which have metastases and where, for the challenge's own metrics."""

from dataclasses import dataclass
from pathlib import Path

from mlp_med.evidence.lesions import Lesions, find_lesions
from tfds_builders.camelyon16.annotations import tumour_masks
from tfds_builders.camelyon16.layout import find_layout
from tfds_builders.camelyon16.patches import MASK_UM
from tfds_builders.camelyon16.slides import Slide, find_slides
from tfds_builders.phantom_marker import is_phantom
from tfds_builders.problems import require_none


@dataclass(frozen=True, eq=False)
class TestTruth:
    """The test slides of a source.

    Attributes:
        labels: of every test slide: 1 with metastases.
        lesions: of those whose annotations are exhaustive; None without metastases.
        partly_annotated: the others, which can be classified but not searched.
        phantom: whether the slides are drawn.
    """

    __test__ = False  # no test case, by its name

    labels: dict[str, int]
    lesions: dict[str, Lesions | None]
    partly_annotated: list[str]
    phantom: bool


def read_test_truth(root: Path) -> TestTruth:
    """Reads labels, headers and outlines of the test slides; no pixel, and no training slide.

    Raises:
        SourceError: `root` holds no CAMELYON16, or what it says of the test slides has problems.
    """
    layout = find_layout(root)
    for files in (layout.slides, layout.annotations):
        for name in [name for name in files if not name.startswith("test_")]:
            del files[name]
    found = find_slides(layout)
    require_none(root, found.problems)
    searched = [slide for slide in found.slides if slide.exhaustive]
    return TestTruth(
        labels={slide.id: slide.label for slide in found.slides},
        lesions={slide.id: _lesions(slide) if slide.label else None for slide in searched},
        partly_annotated=[slide.id for slide in found.slides if not slide.exhaustive],
        phantom=is_phantom(root),
    )


def _lesions(slide: Slide) -> Lesions:
    width, height = (max(round(extent / MASK_UM), 1) for extent in slide.header.extent_um)
    tumour, _ = tumour_masks(list(slide.outlines), slide.header.pixel_um, (height, width), MASK_UM)
    return find_lesions(tumour, MASK_UM)
