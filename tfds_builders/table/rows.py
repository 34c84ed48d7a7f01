"""The csv file of a user: one row a crop, every mistake in it told with its line."""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from mlp_med.errors import SourceError
from mlp_med.evidence.foreign_columns import MOST_WORDS, NO_WORD
from tfds_builders.hashing import digest_of, hash_fraction
from tfds_builders.tables import as_numbers, read_column_names, read_table

REQUIRED = ("path", "patient", "label")
CENTRE = ("x_mm", "y_mm", "z_mm")
OPTIONAL = ("split", "id", "spacing_mm", "diameter_mm", "kind")
SPLITS = ("train", "validation", "test")
SPLIT_SALT = "table split"
CLASSES = ("negative", "positive")
ID_CHARACTERS = 16
MAX_SHOWN = 3


@dataclass
class Rows:
    """A csv file as read.

    Attributes:
        table: columns id, path (absolute), patient, label (0 or 1), split; x_mm, y_mm, z_mm (NaN
            where not given), spacing_mm (NaN where not stated), diameter_mm, kind; the index is the
            line.
        centre_axes: how many of x_mm, y_mm, z_mm are given; 0 for whole images.
        has_diameter: whether there is a column diameter_mm.
        kinds: the words of the column kind, sorted, `NO_WORD` where it describes positive cases
            alone among them; none without the column.
        patients_known: False where every cell of the column patient is empty.
        problems: what is wrong, each with its lines.
    """

    table: pd.DataFrame
    centre_axes: int
    has_diameter: bool
    kinds: tuple[str, ...]
    patients_known: bool
    problems: list[str]


def read_rows(path: Path) -> Rows:
    """Reads and checks the csv file; opens none of the images.

    Raises:
        SourceError: no csv file, or a column is missing. All else is in `problems`.
    """
    if path.is_dir():
        raise SourceError(f"{path}: expected a csv file of path,patient,label, found a directory")
    present = [name for name in (*CENTRE, *OPTIONAL) if name in read_column_names(path)]
    raw = read_table(path, text=(*REQUIRED, *present))
    problems: list[str] = []
    if raw.empty:
        raise SourceError(f"{path}: expected at least one row below {', '.join(REQUIRED)}")
    table = pd.DataFrame(index=raw.index)
    table["path"] = [
        os.path.normpath(path.parent / Path(text).expanduser()) if text else ""
        for text in raw["path"]
    ]
    _complain(problems, path, raw["path"], raw["path"] == "", "expected a path in each row")
    table["patient"] = raw["patient"]
    patients_known = bool((raw["patient"] != "").any())
    if patients_known:
        unknown = raw["patient"] == ""
        _complain(problems, path, raw["patient"], unknown, "expected a patient in each row or none")
    table["label"] = _labels(path, raw["label"], problems)
    centre_axes = _add_centres(path, raw, table, problems)
    for name in ("spacing_mm", "diameter_mm"):
        table[name] = _numbers(path, raw, name, problems)
    negative = table["diameter_mm"] < 0
    if negative.any():
        _complain(
            problems, path, raw["diameter_mm"], negative, "expected a diameter_mm of 0 or more"
        )
    table["diameter_mm"] = table["diameter_mm"].fillna(0.0)
    table["kind"] = _kinds(path, raw, table["label"], problems)
    _add_ids(path, raw, table, problems)
    _refuse_duplicates(path, table, problems)
    _one_patient_an_image(path, table, problems)
    table["split"] = _splits(path, raw, table, patients_known, problems)
    kinds = tuple(sorted(set(table["kind"]) - {""}))
    return Rows(table, centre_axes, "diameter_mm" in raw, kinds, patients_known, problems)


def count_classes(table: pd.DataFrame) -> dict[str, dict[str, int]]:
    """Number of examples by split and class."""
    return {
        split: {
            name: int(((table["split"] == split) & (table["label"] == label)).sum())
            for label, name in enumerate(CLASSES)
        }
        for split in SPLITS
    }


def one_class_problems(table: pd.DataFrame, stated: bool) -> list[str]:
    """What is wrong where a class is missing, overall or in a split.

    Args:
        table: `Rows.table`.
        stated: whether the csv file has a column split.
    """
    labels = set(table["label"])
    if len(labels) == 1:
        return [
            f"every row has label {labels.pop()}; a network learns nothing from one class: give "
            "rows of label 0 and of label 1"
        ]
    cure = (
        "move patients between the splits of the csv file"
        if stated
        else "give more patients, or choose the splits yourself in a column split"
    )
    return [
        f"the {split} split has "
        + " and ".join(f"{number} {name}" for name, number in counts.items())
        + f" examples; it needs both classes: {cure}"
        for split, counts in count_classes(table).items()
        if min(counts.values()) == 0
    ]


def split_of(patient: str) -> str:
    """The split of a patient, by a hash: 60 % train, 20 % validation, 20 % test."""
    fraction = hash_fraction(patient, SPLIT_SALT)
    return "train" if fraction < 0.6 else "validation" if fraction < 0.8 else "test"


def _labels(path: Path, labels: pd.Series, problems: list[str]) -> list[int]:
    values = labels.replace({"0.0": "0", "1.0": "1"})
    wrong = ~values.isin(["0", "1"])
    _complain(problems, path, labels, wrong, "expected a label of 0 or 1")
    return [int(value == "1") for value in values]


def _add_centres(path: Path, raw: pd.DataFrame, table: pd.DataFrame, problems: list[str]) -> int:
    """Adds x_mm, y_mm, z_mm; how many of them are given."""
    given = [name for name in CENTRE if name in raw and (raw[name] != "").any()]
    for name in CENTRE:
        table[name] = (
            _numbers(path, raw, name, problems, every_row=True) if name in given else np.nan
        )
    if given not in ([], ["x_mm", "y_mm"], list(CENTRE)):
        problems.append(
            f"{path} line 1: expected centres as x_mm,y_mm (2D) or x_mm,y_mm,z_mm (3D), or none of "
            f"them for whole images; found {', '.join(given)}"
        )
    return len(given)


def _numbers(
    path: Path, raw: pd.DataFrame, name: str, problems: list[str], every_row: bool = False
) -> pd.Series:
    """A column as float64, NaN where it is empty (unless `every_row`) or absent."""
    numbers = pd.Series(np.nan, raw.index)
    if name not in raw:
        return numbers
    filled = raw[name] if every_row else raw[name][raw[name] != ""]
    try:
        numbers[filled.index] = as_numbers(path, filled.index.tolist(), name, filled.tolist())
    except SourceError as error:
        problems.append(str(error))
    return numbers


def _kinds(path: Path, raw: pd.DataFrame, labels: pd.Series, problems: list[str]) -> pd.Series:
    """The column kind, which may describe positive cases alone; "" everywhere without it."""
    kinds = raw.get("kind", pd.Series("", raw.index))
    found = sorted(set(kinds) - {""})
    if not found:
        return kinds
    if (kinds[labels == 0] == "").all():
        kinds = kinds.where((labels != 0) | (kinds != ""), NO_WORD)
    _complain(problems, path, raw["kind"], raw["kind"] == NO_WORD, "expected another word")
    told = "expected a kind in each row, or in each of label 1 and none of label 0"
    _complain(problems, path, kinds, kinds == "", told)
    if len(found) > MOST_WORDS:
        problems.append(
            f"{path}: expected at most {MOST_WORDS} kinds, found {len(found)}, such as "
            f"{', '.join(found[:MAX_SHOWN])}: a report breaks the effect down by kind, such as the "
            "scanner; call a column that says something else otherwise"
        )
    return kinds


def _add_ids(path: Path, raw: pd.DataFrame, table: pd.DataFrame, problems: list[str]) -> None:
    if "id" in raw:
        table["id"] = raw["id"]
        _complain(problems, path, raw["id"], raw["id"] == "", "expected an id in each row")
        repeated = raw["id"].duplicated() & (raw["id"] != "")
        _complain(problems, path, raw["id"], repeated, "expected each id once")
        return
    centres = table[list(CENTRE)].round(4).fillna(0.0) + 0.0  # adding 0.0: no negative zero
    table["id"] = [
        digest_of([f"{image} {x:.4f} {y:.4f} {z:.4f}"])[:ID_CHARACTERS]
        for image, (x, y, z) in zip(raw["path"], centres.to_numpy().tolist(), strict=True)
    ]


def _refuse_duplicates(path: Path, table: pd.DataFrame, problems: list[str]) -> None:
    place = table[["path", *CENTRE]].round(4)
    again = place.duplicated() & (table["path"] != "")
    if not again.any():
        return
    line = again.idxmax()
    same = (place == place.loc[line]) | (place.isna() & place.loc[line].isna())
    first = same.all(axis=1).idxmax()
    both = " with another label" if table["label"][first] != table["label"][line] else ""
    problems.append(
        f"{path} line {line}: the same image and centre as in line {first}{both}, and so in "
        f"{int(again.sum())} rows; keep one of each"
    )


def _one_patient_an_image(path: Path, table: pd.DataFrame, problems: list[str]) -> None:
    for image, patients in table.groupby("path")["patient"]:
        if patients.nunique() > 1 and image:
            problems.append(
                f"{path} line {patients.index[-1]}: {image} belongs to the patients "
                f"{', '.join(sorted(set(patients))[:MAX_SHOWN])}; expected one"
            )
            return


def _splits(
    path: Path,
    raw: pd.DataFrame,
    table: pd.DataFrame,
    patients_known: bool,
    problems: list[str],
) -> list[str]:
    if "split" not in raw:
        # Without patients at least all crops of one image stay together.
        return [split_of(unit) for unit in table["patient" if patients_known else "path"]]
    wrong = ~raw["split"].isin(SPLITS)
    _complain(problems, path, raw["split"], wrong, f"expected a split of {', '.join(SPLITS)}")
    unit = "patient" if patients_known else "path"
    in_splits = raw["split"].groupby(table[unit]).nunique()
    torn = in_splits[in_splits > 1]
    if len(torn):
        name = torn.index[0]
        where = ", ".join(sorted(set(raw["split"][table[unit] == name])))
        problems.append(
            f"{path}: {unit} {name} is in several splits ({where}), and so are {len(torn)} in all; "
            f"a network would be tested on what it was trained on: keep each {unit} in one"
        )
    return raw["split"].tolist()


def _complain(
    problems: list[str], path: Path, values: pd.Series, wrong: pd.Series, expected: str
) -> None:
    if not wrong.any():
        return
    found = values[wrong]
    shown = ", ".join(f"{value!r} (line {line})" for line, value in found.head(MAX_SHOWN).items())
    more = len(found) - MAX_SHOWN
    problems.append(
        f"{path}: {expected}, not so for {shown}" + (f" and {more:,} more" if more > 0 else "")
    )
