"""The four case-description tables of CBIS-DDSM, as TCIA delivers them, joined into one."""

from collections.abc import Callable, Iterable
from pathlib import Path

import pandas as pd

from mlp_med.errors import SourceError
from tfds_builders.tables import read_column_names, read_table

KINDS = ("mass", "calcification")
MALIGNANT = "MALIGNANT"
PATHOLOGIES = (MALIGNANT, "BENIGN", "BENIGN_WITHOUT_CALLBACK")
SIDES, VIEWS = ("LEFT", "RIGHT"), ("CC", "MLO")
TRAIN, TEST = "train", "test"
# File name → kind of lesion, official split.
TABLES = {
    "mass_case_description_train_set.csv": ("mass", TRAIN),
    "mass_case_description_test_set.csv": ("mass", TEST),
    "calc_case_description_train_set.csv": ("calcification", TRAIN),
    "calc_case_description_test_set.csv": ("calcification", TEST),
}
# Column of the tables → name here; the density's column is spelled in either way.
COLUMNS = {
    "patient_id": "patient",
    "left or right breast": "side",
    "image view": "view",
    "abnormality id": "number",
    "abnormality type": "kind",
    "assessment": "assessment",
    "pathology": "pathology",
    "subtlety": "subtlety",
    "image file path": "image_path",
    "cropped image file path": "crop_path",
    "ROI mask file path": "mask_path",
}
DENSITY = ("breast_density", "breast density")
APPEARANCE = {
    "mass": ("mass shape", "mass margins"),
    "calcification": ("calc type", "calc distribution"),
}
# 0 is "incomplete" for an assessment, and stands in two rows of the release for a density.
GRADES = {"density": range(5), "assessment": range(6), "subtlety": range(6)}
IDENTITY = ["kind", "patient", "side", "view", "number"]
MAX_SHOWN = 3
PATHS = ("image_path", "crop_path", "mask_path")


def read_cases(root: Path, problems: list[str]) -> pd.DataFrame:
    """One row a lesion in a view, of all tables that can be read.

    Args:
        root: the folder of the tables.
        problems: what is wrong is added here.

    Returns:
        Columns: the names in `COLUMNS`, `density`, `appearance` (e.g. "IRREGULAR, SPICULATED"),
        `table`, `line`, `official` ("train" or "test") and `id`. Numbers are int; side, view and
        pathology in capitals; paths have no line end.
    """
    tables = []
    for name, (kind, official) in TABLES.items():
        if not (root / name).is_file():
            problems.append(f"{root / name}: is missing; put the release's four tables there")
            continue
        try:
            tables.append(_read(root / name, kind, official))
        except SourceError as error:
            problems.append(str(error))
    if not tables:
        return pd.DataFrame(
            columns=[*COLUMNS.values(), "density", "appearance", "table", "line", "official", "id"]
        )
    cases = pd.concat(tables, ignore_index=True)
    repeated = cases.duplicated(IDENTITY)
    problems += _tell(cases[repeated], "expected each abnormality of a view once", "id")
    return cases[~repeated].reset_index(drop=True)


def crossing_patients(cases: pd.DataFrame) -> set[str]:
    """Patients of both official splits, once the tables are pooled."""
    official = cases.groupby("patient")["official"].nunique()
    return set(official.index[official > 1])


def _read(path: Path, kind: str, official: str) -> pd.DataFrame:
    found = read_column_names(path)
    density = next((name for name in DENSITY if name in found), DENSITY[0])
    appearance = APPEARANCE[kind]
    table = read_table(path, text=(*COLUMNS, density, *appearance))
    table = table.rename(columns={**COLUMNS, density: "density"})
    for name in ("side", "view", "pathology"):
        table[name] = table[name].str.upper()
    words = [table[name].replace({"N/A": "", "nan": ""}) for name in appearance]
    table["appearance"] = [", ".join(filter(None, both)) for both in zip(*words, strict=True)]
    _require(path, table, "kind", "kind", lambda text: text.lower() == kind, f"{kind!r}")
    _require(path, table, "side", "left or right breast", SIDES.__contains__, "LEFT or RIGHT")
    pathologies = ", ".join(PATHOLOGIES)
    _require(path, table, "pathology", "pathology", PATHOLOGIES.__contains__, pathologies)
    for name in PATHS:
        _require(path, table, name, f"the {name}", _is_path, "FOLDER/STUDY/SERIES/FILE")
    _require(path, table, "patient", "patient_id", bool, "a name")
    for name in ("number", *GRADES):
        among = [str(grade) for grade in GRADES.get(name, range(1, 100))]
        _require(path, table, name, name, among.__contains__, f"{among[0]} to {among[-1]}")
        table[name] = table[name].astype(int)
    table = table.drop(columns=list(appearance))
    table["kind"], table["official"], table["table"] = kind, official, path.name
    table["line"] = table.index
    parts = table[["kind", "patient", "side", "view", "number"]].astype(str)
    table["id"] = ["_".join(row) for row in parts.itertuples(index=False)]
    return table


def _require(
    path: Path,
    table: pd.DataFrame,
    column: str,
    name: str,
    accept: Callable[[str], object],
    expected: str,
) -> None:
    wrong = table[[not accept(value) for value in table[column]]]
    if len(wrong):
        raise SourceError(
            f"{path}: expected {expected} for {name}, found {_shown(wrong[column].items())}"
        )


def _is_path(text: str) -> bool:
    parts = text.split("/")
    return len(parts) >= 2 and all(parts) and ".." not in parts


def _tell(wrong: pd.DataFrame, expected: str, column: str) -> list[str]:
    if wrong.empty:
        return []
    lines = zip(wrong["table"] + " line " + wrong["line"].astype(str), wrong[column], strict=True)
    return [f"{expected}, not so for {_shown(lines)}"]


def _shown(values: Iterable[tuple[object, object]]) -> str:
    values = list(values)
    shown = ", ".join(f"{value!r} (line {where})" for where, value in values[:MAX_SHOWN])
    more = len(values) - MAX_SHOWN
    return shown + (f" and {more:,} more" if more > 0 else "")
