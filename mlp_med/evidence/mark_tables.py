"""Reads the tables of detectors: marks and findings as LUNA16 has them, marks on slides."""

import io
from pathlib import Path

import numpy as np
import pandas as pd

from mlp_med.errors import EvidenceError
from mlp_med.evidence.marks import CENTRE

MARK_COLUMNS = ["seriesuid", *CENTRE, "probability"]
FINDING_COLUMNS = ["seriesuid", *CENTRE, "diameter_mm"]
SLIDE_MARK_COLUMNS = ["slide", "x_um", "y_um", "probability"]


def read_marks(path: Path) -> pd.DataFrame:
    """A submission: seriesuid, coordX, coordY, coordZ (mm, LPS) and probability, any finite score.

    Raises:
        EvidenceError: the file cannot be read, lacks a column, or a row holds no number.
    """
    return _read_table(path, MARK_COLUMNS)


def read_findings(path: Path) -> pd.DataFrame:
    """Annotations or excluded findings: seriesuid, coordX, coordY, coordZ and diameter_mm.

    Raises:
        EvidenceError: as for `read_marks`.
    """
    return _read_table(path, FINDING_COLUMNS)


def read_series(path: Path) -> list[str]:
    """The scans that were read, one id a line; LUNA16's own file has no header, others may.

    Raises:
        EvidenceError: the file cannot be read, is empty, or names a scan twice.
    """
    lines = [line.strip().strip('"').rstrip(",;") for line in _read_text(path).splitlines()]
    series = [line for line in lines if line and line.lower() != "seriesuid"]
    if not series:
        raise EvidenceError(f"{path} names no scan; expected one seriesuid a line")
    repeated = pd.Series(series)[pd.Series(series).duplicated()]
    if len(repeated):
        raise EvidenceError(
            f"{path}: {repeated.iloc[0]} is there more than once, and {len(repeated)} lines repeat "
            "one before them; a scan that counts twice would halve its false positives"
        )
    return series


def read_slide_marks(path: Path) -> pd.DataFrame:
    """Marks on slides: slide, x_um, y_um (from its upper left corner), probability.

    Raises:
        EvidenceError: as for `read_marks`.
    """
    return _read_table(path, SLIDE_MARK_COLUMNS)


def read_slide_scores(path: Path) -> dict[str, float]:
    """One probability a slide, by its name: columns slide and probability.

    Raises:
        EvidenceError: as for `read_marks`; or a slide is there twice.
    """
    table = _read_table(path, ["slide", "probability"])
    repeated = table["slide"][table["slide"].duplicated()]
    if len(repeated):
        raise EvidenceError(f"{path}: {repeated.iloc[0]} is there more than once; keep one score")
    return dict(zip(table["slide"], table["probability"].tolist(), strict=True))


def _read_table(path: Path, columns: list[str]) -> pd.DataFrame:
    text = io.StringIO(_read_text(path))
    try:
        table = pd.read_csv(text, dtype=str, keep_default_na=False, skipinitialspace=True)
    except ValueError as error:  # pandas' parser errors are ValueErrors
        reason = str(error).strip().splitlines()[0]
        raise EvidenceError(f"{path} is no csv table: {reason}") from error
    missing = [column for column in columns if column not in table.columns]
    if missing:
        found = ", ".join(map(str, table.columns))
        raise EvidenceError(
            f"{path}: expected the columns {', '.join(columns)}, separated by commas; found {found}"
        )
    numbers = {
        column: pd.to_numeric(table[column], errors="coerce").to_numpy(np.float64)
        for column in columns[1:]
    }
    for column, values in numbers.items():
        wrong = np.flatnonzero(~np.isfinite(values))
        if len(wrong):
            raise EvidenceError(
                f"{path}, line {wrong[0] + 2}: {column} is {table[column].iloc[wrong[0]]!r}, and "
                f"{len(wrong)} rows are so; expected a finite number"
            )
    return pd.DataFrame({columns[0]: table[columns[0]].str.strip(), **numbers})


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise EvidenceError(f"cannot read {path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise EvidenceError(f"{path} is no text in UTF-8: {error}") from error
