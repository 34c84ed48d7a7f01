"""Everything a build needs to know of a source, found without reading a pixel."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from mlp_med.errors import SourceError
from tfds_builders.hashing import digest_of, hash_fraction
from tfds_builders.phantom_marker import MARKER, is_phantom, unfinished_phantom
from tfds_builders.problems import require_none
from tfds_builders.source_report import SourceReport
from tfds_builders.tables import read_table

NATIVE_UM = 0.97
NATIVE_PIXELS = 96
FACTORS = {0.97: 1, 1.94: 2, 3.88: 4, 7.76: 8}  # native pixels an output pixel, by µm
CLASSES = ("no tumour", "tumour")
SPLITS = ("train", "validation", "test")
SECONDS_A_PATCH = 0.006  # of one core, measured on real patches, at all resolutions
SPLIT_SALT = "metastasis_patches split"
ID = re.compile(r"[A-Za-z0-9_-]+")
MAX_LINES_SHOWN = 3


@dataclass
class Survey:
    """A source as found; fit for a dataset only if `problems` is empty.

    Attributes:
        root: the source directory.
        patches: `id`, `label` (0 or 1) and `split`, sorted by id; the index is the line.
        digest: of the source.
        phantom: whether the patches are synthetic.
        skipped: number left out, by reason.
        problems: what must be mended.
        warnings: what should be known.
    """

    root: Path
    patches: pd.DataFrame
    digest: str
    phantom: bool
    skipped: dict[str, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def require_sound(self) -> None:
        """Raises SourceError if there are problems, and tells them."""
        require_none(self.root, self.problems)

    def path(self, patch_id: str) -> Path:
        """The file of a patch."""
        return self.root / "train" / f"{patch_id}.tif"

    def crop_bytes(self, resolution_um: float) -> int:
        """Bytes of all crops at one resolution, uint8 RGB."""
        return 3 * (NATIVE_PIXELS // FACTORS[resolution_um]) ** 2 * len(self.patches)


def survey_source(root: Path) -> Survey:
    """Reads the table of labels and lists the patches.

    Raises:
        SourceError: `root` is not of this layout. All else is in the survey's problems.
    """
    sizes = _list_patches(root)
    table = root / "train_labels.csv"
    problems = unfinished_phantom(root)
    try:
        labels = read_table(table, text=("id", "label"))
    except SourceError as error:
        problems.append(str(error))
        labels = pd.DataFrame({"id": [], "label": []}, dtype=str)
    problems += _wrong_records(table, labels, sizes)
    sound = labels[labels["label"].isin(["0", "1"])].sort_values("id")
    patches = sound.assign(
        label=sound["label"].astype(int), split=[split_of(patch_id) for patch_id in sound["id"]]
    )
    if not problems:
        problems += _splits_of_one_class(patches)
    survey = Survey(root, patches, _digest(root, sizes), is_phantom(root), problems=problems)
    unlabelled = len(sizes.keys() - set(labels["id"]))
    if unlabelled:
        survey.skipped["patches without a label"] = unlabelled
        survey.warnings.append(f"{unlabelled:,} patches in {root / 'train'} have no label: skipped")
    survey.warnings.append(
        "slides and patients are not given: patches of one slide may lie in several splits, and "
        "every interval is too narrow"
    )
    return survey


def split_of(patch_id: str) -> str:
    """The split of a patch, by a hash of its id: 70 % train, 10 % validation, 20 % test."""
    fraction = hash_fraction(patch_id, SPLIT_SALT)
    return "train" if fraction < 0.7 else "validation" if fraction < 0.8 else "test"


def digest_only(root: Path) -> str:
    """The digest of a source, without reading its labels.

    Raises:
        SourceError: `root` is not of this layout.
    """
    return _digest(root, _list_patches(root))


def check(source: Path | str) -> SourceReport:
    """What the source holds and what a build would skip; reads no pixels and writes nothing."""
    source = Path(source).expanduser().absolute()
    try:
        survey = survey_source(source)
    except SourceError as error:
        return SourceReport(dataset="metastasis_patches", source=source, problems=[str(error)])
    patches = survey.patches
    return SourceReport(
        dataset="metastasis_patches",
        source=source,
        layout="layout of Kaggle's Histopathologic Cancer Detection",
        phantom=survey.phantom,
        digest=survey.digest,
        files={"train": len(_list_patches(source))},
        candidates=_count_classes(patches),
        examples={split: _count_classes(patches[patches["split"] == split]) for split in SPLITS},
        skipped=survey.skipped,
        native=f"{NATIVE_UM:g} µm by the release; the files do not say",
        crop_bytes={f"{um:g}um": survey.crop_bytes(um) for um in FACTORS},
        build_core_seconds=SECONDS_A_PATCH * len(patches),
        problems=survey.problems,
        warnings=survey.warnings,
    )


def _list_patches(root: Path) -> dict[str, int]:
    """Bytes of each file by its id."""
    folder = root / "train"
    if not folder.is_dir() or not (root / "train_labels.csv").is_file():
        raise SourceError(
            f"{root}: expected the folder train with <id>.tif and the table train_labels.csv "
            "(Kaggle's Histopathologic Cancer Detection); unpack the release there"
        )
    with os.scandir(folder) as entries:  # of 220,000 files: no Path for each
        return {
            entry.name.removesuffix(".tif"): entry.stat().st_size
            for entry in entries
            if entry.name.endswith(".tif")
        }


def _digest(root: Path, sizes: Mapping[str, int]) -> str:
    """Digest of the labels and of the name and size of every patch; not of pixels."""
    parts: list[str | bytes] = [(root / "train_labels.csv").read_bytes()]
    if is_phantom(root):
        parts.append((root / MARKER).read_bytes())
    return digest_of([*parts, *(f"{name} {sizes[name]}" for name in sorted(sizes))])


def _wrong_records(table: Path, labels: pd.DataFrame, sizes: Mapping[str, int]) -> list[str]:
    bad_id = ~labels["id"].map(lambda text: bool(ID.fullmatch(text))).astype(bool)
    bad_label = ~labels["label"].isin(["0", "1"])
    duplicate = labels["id"].duplicated()
    missing = ~bad_id & ~labels["id"].isin(sizes.keys())
    found = [
        (bad_id, "expected an id of letters, digits, '_' and '-'", "id"),
        (bad_label, "expected a label of 0 or 1", "label"),
        (duplicate, "expected each id once", "id"),
        (missing, f"expected <id>.tif in {table.parent / 'train'} for each id", "id"),
    ]
    return [
        _tell(table, labels.loc[wrong, column], expected)
        for wrong, expected, column in found
        if wrong.any()
    ]


def _tell(table: Path, wrong: pd.Series, expected: str) -> str:
    shown = ", ".join(
        f"{value!r} (line {line})" for line, value in wrong.head(MAX_LINES_SHOWN).items()
    )
    more = len(wrong) - MAX_LINES_SHOWN
    return f"{table}: {expected}, not so for {shown}" + (f" and {more:,} more" if more > 0 else "")


def _splits_of_one_class(patches: pd.DataFrame) -> list[str]:
    problems = []
    for split in SPLITS:
        counts = _count_classes(patches[patches["split"] == split])
        if min(counts.values()) == 0:
            shown = " and ".join(f"{number} {name}" for name, number in counts.items())
            problems.append(
                f"the {split} split has {shown} patches; it needs both classes: give more patches"
            )
    return problems


def _count_classes(patches: pd.DataFrame) -> dict[str, int]:
    return {name: int((patches["label"] == label).sum()) for label, name in enumerate(CLASSES)}
