"""What a directory in the layout of Kaggle's Data Science Bowl 2017 holds: patients and labels."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from mlp_med.errors import SourceError
from tfds_builders.hashing import digest_of, hash_fraction
from tfds_builders.letter_case import by_lower_case
from tfds_builders.phantom_marker import MARKER, is_phantom
from tfds_builders.tables import read_table

CLASSES = ("no cancer", "cancer")
SPLITS = ("train", "validation", "test")
IMAGES = "stage1"
# Table by what its patients are for; the solution was published when stage 1 had ended.
TABLES = {"stage1_labels.csv": "train", "stage1_solution.csv": "test"}
VALIDATION_SHARE = 0.2
SPLIT_SALT = "dsb2017 validation"
PATIENT = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*")
MAX_SHOWN = 3
DIGESTED_BYTES = 4096


@dataclass
class Release:
    """A directory as found, no DICOM file opened but the first of each patient.

    Attributes:
        root: the directory.
        folders: of the patients' slices, by patient.
        exams: `patient`, `label` (0 or 1) and `split` of every patient with a label and slices,
            sorted by patient.
        records: number of rows in each table.
        digest: of the source.
        phantom: whether the scans are synthetic.
        skipped: number left out, by reason.
        problems: what must be mended.
        warnings: what should be known.
    """

    root: Path
    folders: Mapping[str, Path]
    exams: pd.DataFrame
    records: dict[str, int]
    digest: str
    phantom: bool
    skipped: dict[str, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def find_release(root: Path) -> Release:
    """Reads the tables and lists the patients.

    Raises:
        SourceError: `root` is not of this layout. All else is among the release's problems.
    """
    folders = _patient_folders(root)
    problems: list[str] = []
    tables = [
        rows.assign(table=name)
        for name in TABLES
        if (rows := _read_labels(root / name, problems)) is not None
    ]
    records = pd.concat(tables) if tables else pd.DataFrame(columns=["patient", "label", "table"])
    problems += _contradictions(root, records)
    release = Release(
        root=root,
        folders=folders,
        exams=_exams(records[records["patient"].isin(folders.keys())]),
        records={name: int((records["table"] == name).sum()) for name in TABLES},
        digest=_digest(root, folders),
        phantom=is_phantom(root),
        problems=problems,
    )
    _count_left_out(release, records)
    return release


def digest_only(root: Path) -> str:
    """The digest of a source, without reading its tables.

    Raises:
        SourceError: `root` is not of this layout.
    """
    return _digest(root, _patient_folders(root))


def _patient_folders(root: Path) -> dict[str, Path]:
    images = root / IMAGES
    if not images.is_dir():
        raise SourceError(
            f"{root}: expected the folder {IMAGES} with a folder of DICOM slices a patient, beside "
            f"{' and '.join(TABLES)} (Kaggle's Data Science Bowl 2017); unpack the release there"
        )
    folders = {path.name: path for path in sorted(images.iterdir()) if path.is_dir()}
    if not folders:
        raise SourceError(f"{images}: expected a folder of DICOM slices a patient, found none")
    return folders


def _read_labels(path: Path, problems: list[str]) -> pd.DataFrame | None:
    """`patient` and `label` (0 or 1); None and a problem where the table is no such table."""
    if not path.is_file():
        problems.append(
            f"{path} is missing: the labels of the {TABLES[path.name]} patients are in it "
            "(columns id,cancer)"
        )
        return None
    try:
        rows = read_table(path, text=("id", "cancer"))
    except SourceError as error:
        problems.append(str(error))
        return None
    wrong = [
        (~rows["id"].map(lambda text: bool(PATIENT.fullmatch(text))).astype(bool), "id", "a name"),
        (~rows["cancer"].isin(["0", "1"]), "cancer", "0 or 1"),
    ]
    for rows_of, column, expected in wrong:
        if rows_of.any():
            problems.append(
                f"{path}: expected {expected} as {column}, not so for "
                f"{_shown(rows.loc[rows_of, column])}"
            )
    rows = rows[~wrong[0][0] & ~wrong[1][0]]
    return pd.DataFrame({"patient": rows["id"], "label": rows["cancer"].astype(int)})


def _contradictions(root: Path, records: pd.DataFrame) -> list[str]:
    problems = []
    for name in TABLES:
        own = records[records["table"] == name]
        repeated = own.loc[own["patient"].duplicated(), "patient"]
        if len(repeated):
            problems.append(f"{root / name}: expected each id once, not so for {_shown(repeated)}")
    first, second = (set(records.loc[records["table"] == name, "patient"]) for name in TABLES)
    both = sorted(first & second)
    if both:
        more = f" and {len(both) - MAX_SHOWN:,} more" if len(both) > MAX_SHOWN else ""
        problems.append(
            f"{root}: {' and '.join(TABLES)} both hold {', '.join(both[:MAX_SHOWN])}{more}: nobody "
            "may be in training and in the test; take them out of one of the two"
        )
    return problems


def _exams(records: pd.DataFrame) -> pd.DataFrame:
    """Every patient once, with a split."""
    exams = records.drop_duplicates("patient").sort_values("patient", ignore_index=True)
    splits = [
        split_of(patient, table)
        for patient, table in zip(exams["patient"], exams["table"], strict=True)
    ]
    return exams.assign(split=splits, label=exams["label"].astype(int)).drop(columns="table")


def split_of(patient: str, table: str) -> str:
    """The official split; of the labelled patients 20 %, by a hash of their id, validate."""
    if TABLES[table] != "train":
        return TABLES[table]
    return "validation" if hash_fraction(patient, SPLIT_SALT) < VALIDATION_SHARE else "train"


def _count_left_out(release: Release, records: pd.DataFrame) -> None:
    absent = sorted(set(records["patient"]) - set(release.folders))
    unlabelled = sorted(set(release.folders) - set(records["patient"]))
    folders = by_lower_case(release.folders.values())
    for patient in absent:
        for like in folders.get(patient.lower(), []):
            release.problems.append(
                f"{release.root}: the tables name {patient}, and {IMAGES} holds {like.name}: the "
                "same but for upper and lower case; rename one of them"
            )
    if absent:
        release.skipped[f"labels of patients without a folder in {IMAGES}"] = len(absent)
        release.warnings.append(f"{len(absent):,} patients of the tables have no scan: skipped")
    if unlabelled and len(records):
        release.skipped["patients without a label"] = len(unlabelled)
        release.warnings.append(
            f"{len(unlabelled):,} patients in {IMAGES} are in neither table: skipped"
        )


def _shown(wrong: pd.Series) -> str:
    shown = ", ".join(f"{value!r} (line {line})" for line, value in wrong.head(MAX_SHOWN).items())
    return shown + (f" and {len(wrong) - MAX_SHOWN:,} more" if len(wrong) > MAX_SHOWN else "")


def _digest(root: Path, folders: Mapping[str, Path]) -> str:
    """Digest of the tables, of every file's name and size, and of each first slice's header.

    Not of the voxels: two scans that differ in nothing but voxels may have the same digest.
    """
    parts: list[str | bytes] = []
    for name in (*TABLES, MARKER):
        if (root / name).is_file():
            parts += [name, (root / name).read_bytes()]
    for patient, folder in folders.items():
        files = sorted(path for path in folder.iterdir() if path.is_file())
        parts += [patient, *(f"{path.name} {path.stat().st_size}" for path in files)]
        if files:
            with files[0].open("rb") as file:
                parts.append(file.read(DIGESTED_BYTES))
    return digest_of(parts)
