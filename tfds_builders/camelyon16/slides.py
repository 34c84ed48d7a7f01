"""The slides of a source with their labels and outlines: headers and XML read, no pixel touched."""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from mlp_med.errors import ImageError, SourceError
from mlp_med.imaging.slide import SlideHeader, read_header, require_openslide
from tfds_builders.camelyon16.annotations import (
    TUMOUR,
    UNKNOWN,
    Annotations,
    Outline,
    read_annotations,
)
from tfds_builders.camelyon16.known_faults import EXCLUDED, PARTLY_ANNOTATED
from tfds_builders.camelyon16.layout import LABELS, Layout, read_reference, split_of


@dataclass(frozen=True, eq=False)
class Slide:
    """A slide that is fit for patches.

    Attributes:
        id: as "tumor_001"; counts as its patient.
        split: "train", "validation" or "test".
        label: of the whole slide: 1 if it has metastases.
        header: of its file.
        outlines: of its metastases, and what was cut out of them.
        exhaustive: whether all its tumour is outlined.
    """

    id: str
    split: str
    label: int
    header: SlideHeader
    outlines: tuple[Outline, ...]
    exhaustive: bool


@dataclass
class Findings:
    """The slides of a source, and what is wrong with or to be known of the others."""

    slides: list[Slide] = field(default_factory=list)
    skipped: Counter = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def find_slides(layout: Layout) -> Findings:
    """Looks at every slide and every file of annotations; collects problems, raises none."""
    found = Findings(problems=list(layout.problems))
    try:
        require_openslide()
    except ImageError as error:
        found.problems.append(str(error))
        return found
    test_labels = _test_labels(layout, found)
    for slide_id, path in sorted(layout.slides.items()):
        if slide_id in EXCLUDED:
            found.skipped["slides with a known fault"] += 1
            found.warnings.append(f"{slide_id} {EXCLUDED[slide_id]}: left out")
        elif slide_id.startswith("test_") and slide_id not in test_labels:
            found.skipped["test slides without a label"] += 1
        else:
            try:
                label = test_labels.get(slide_id, int(slide_id.startswith("tumor_")))
                found.slides.append(_slide(slide_id, path, label, layout, found))
            except (ImageError, SourceError) as error:
                found.problems.append(str(error))
    without_slide = layout.annotations.keys() - layout.slides.keys()
    found.skipped["annotations without their slide"] += len(without_slide)
    found.skipped["files that are no slide of CAMELYON16 by their names"] += len(layout.unnamed)
    return found


def _test_labels(layout: Layout, found: Findings) -> dict[str, int]:
    num_test = sum(slide_id.startswith("test_") for slide_id in layout.slides)
    if layout.reference is None:
        if num_test:
            found.problems.append(
                f"{layout.root}: reference.csv is missing (expected in testing): the labels of the "
                f"{num_test} test slides are in it"
            )
        return {}
    try:
        labels = read_reference(layout.reference)
    except SourceError as error:
        found.problems.append(str(error))
        return {}
    return {slide_id: label for slide_id, label in labels.items() if slide_id.startswith("test_")}


def _slide(slide_id: str, path: Path, label: int, layout: Layout, found: Findings) -> Slide:
    """Raises ImageError or SourceError where the slide cannot be used."""
    header = read_header(path)
    if header.num_levels == 1:
        found.warnings.append(
            f"{path}: has one level; finding its tissue means reading all of it, which is slow"
        )
    annotation_path = layout.annotations.get(slide_id)
    annotations = read_annotations(annotation_path) if annotation_path else Annotations()
    tumour = annotations.of(TUMOUR)
    if annotation_path:
        _within_slide(annotation_path, annotations, header)
        found.warnings += _remarks(annotation_path, annotations)
    if label and not tumour:
        where = annotation_path or f"{slide_id}.xml"
        raise SourceError(
            f"{where}: expected at least one outline of tumour in group _0, _1 or Tumor for "
            f"{path.name}, which has metastases; found "
            + ("none in it" if annotation_path else "no such file")
        )
    if tumour and not label:
        raise SourceError(
            f"{annotation_path}: outlines tumour in {path.name}, which is {LABELS[0]} "
            "by its name or by reference.csv; one of them is wrong"
        )
    return Slide(
        id=slide_id,
        split=split_of(slide_id),
        label=label,
        header=header,
        outlines=tuple(annotations.outlines),
        exhaustive=slide_id not in PARTLY_ANNOTATED,
    )


def _within_slide(path: Path, annotations: Annotations, header: SlideHeader) -> None:
    for outline in annotations.outlines:
        low, high = outline.points.min(axis=0), outline.points.max(axis=0)
        if (high < 0).any() or (low > np.array(header.size)).any():
            raise SourceError(
                f"{path} line {outline.line}: an outline lies wholly outside {header.path.name}, "
                f"which has {header.size[0]}×{header.size[1]} pixels; expected pixels of level 0 "
                "of this very slide"
            )


def _remarks(path: Path, annotations: Annotations) -> list[str]:
    remarks = []
    if annotations.empty:
        lines = ", ".join(map(str, annotations.empty[:5]))
        remarks.append(
            f"{path}: {len(annotations.empty)} annotations enclose nothing (line {lines}): ignored"
        )
    groups = sorted({outline.group for outline in annotations.of(UNKNOWN)})
    if groups:
        remarks.append(
            f"{path}: the groups {', '.join(map(repr, groups))} are none of _0, _1, _2, Tumor and "
            "Exclusion: no patch is taken where they lie"
        )
    return remarks
