"""Where a copy of CAMELYON16 keeps its slides and their annotations.

Two arrangements are read: the release's own (GigaScience's archive), and that of the public bucket,
which has all slides in `images` and all annotations in `annotations`.
"""

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mlp_med.errors import SourceError
from tfds_builders.tables import read_list

SPLITS = ("train", "validation", "test")
LABELS = ("normal", "tumour")
SUFFIXES = (".tif", ".tiff", ".svs", ".ndpi", ".mrxs")
ID = re.compile(r"(normal|tumor|test)_(\d{1,3})", re.IGNORECASE)
VALIDATION_EVERY = 7
RELEASE, BUCKET = "release", "bucket"
SLIDE_FOLDERS = {
    RELEASE: ("training/normal", "training/tumor", "testing/images"),
    BUCKET: ("images",),
}
ANNOTATION_FOLDERS = {
    RELEASE: ("training/lesion_annotations", "testing/lesion_annotations"),
    BUCKET: ("annotations",),
}
REFERENCES = ("testing/reference.csv", "evaluation/reference.csv", "reference.csv")
REFERENCE_LABELS = {"normal": 0, "tumor": 1}


@dataclass
class Layout:
    """The files of a source, by slide id (lower case, three digits).

    Attributes:
        root: the source directory.
        arrangement: RELEASE or BUCKET.
        slides: the files of pixels.
        annotations: the XML files.
        reference: the table of the test slides' labels, or None.
        unnamed: files in the slides' folders whose names are no slide's of the release.
        problems: ids that two files claim.
    """

    root: Path
    arrangement: str
    slides: dict[str, Path] = field(default_factory=dict)
    annotations: dict[str, Path] = field(default_factory=dict)
    reference: Path | None = None
    unnamed: list[Path] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def find_layout(root: Path) -> Layout:
    """Recognises the arrangement in `root` and lists its files.

    Raises:
        SourceError: no such directory, or neither arrangement in it, or both.
    """
    if not root.is_dir():
        raise SourceError(f"{root}: expected a directory that holds CAMELYON16")
    found = [
        name
        for name, folders in SLIDE_FOLDERS.items()
        if any((root / folder).is_dir() for folder in folders)
    ]
    if len(found) != 1:
        raise SourceError(
            f"{root}: expected the folders training/normal, training/tumor and testing/images of "
            f"the CAMELYON16 release, or images and annotations as in its bucket; found "
            f"{'both' if found else 'neither'}"
        )
    layout = Layout(root, found[0])
    layout.slides = _by_id(layout, SLIDE_FOLDERS[layout.arrangement], SUFFIXES)
    layout.annotations = _by_id(layout, ANNOTATION_FOLDERS[layout.arrangement], (".xml",))
    layout.reference = next((root / p for p in REFERENCES if (root / p).is_file()), None)
    return layout


def split_of(slide_id: str) -> str:
    """The official test slides; of the others every seventh by its number is for validation.

    So a slide's split depends on its id alone, and both classes and both hospitals, which the
    release numbers in blocks, have their share in validation.
    """
    kind, number = slide_id.split("_")
    if kind == "test":
        return "test"
    return "validation" if int(number) % VALIDATION_EVERY == 0 else "train"


def read_reference(path: Path) -> dict[str, int]:
    """The test slides' labels by slide id; the table may have a header, and further columns.

    Raises:
        SourceError: the table cannot be read, or says something else than Normal or Tumor, or says
            two things of one slide.
    """
    labels: dict[str, int] = {}
    for number, (record, line) in enumerate((next(csv.reader([x])), x) for x in read_list(path)):
        named = ID.fullmatch(record[0].strip().removesuffix(".tif"))
        if named is None and number == 0:
            continue  # a header
        value = REFERENCE_LABELS.get(record[1].strip().lower()) if len(record) > 1 else None
        if named is None or value is None:
            raise SourceError(
                f"{path}: expected a slide's name and Normal or Tumor, separated by a comma, "
                f"found {line!r}"
            )
        if labels.setdefault(_slide_id(named), value) != value:
            raise SourceError(f"{path}: {line!r} says another thing of that slide than before")
    return labels


def _by_id(layout: Layout, folders: Sequence[str], suffixes: Sequence[str]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for folder in folders:
        for path in sorted((layout.root / folder).glob("*")):
            if path.suffix.lower() not in suffixes:
                continue
            named = ID.fullmatch(path.stem)
            if named is None:
                layout.unnamed.append(path)
                continue
            first = found.setdefault(_slide_id(named), path)
            if first != path:
                layout.problems.append(
                    f"{path}: {first} is the same slide by its name; keep one of the two"
                )
    return found


def _slide_id(named: re.Match[str]) -> str:
    return f"{named[1].lower()}_{int(named[2]):03d}"
