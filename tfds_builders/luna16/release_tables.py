"""LUNA16's tables, read with their own column names into the ones used here."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from mlp_med.errors import SourceError
from tfds_builders.luna16.scans import SERIES
from tfds_builders.tables import read_list, read_table

NAMES = {"seriesuid": "series", "coordX": "x", "coordY": "y", "coordZ": "z"}


def read_candidates(paths: Sequence[Path]) -> pd.DataFrame:
    """Candidate centres (LPS, mm) with their class: columns series, x, y, z, class.

    Raises:
        SourceError: as `read_table`, a malformed series id, or a class other than 0 and 1.
    """
    return _read(paths, "class", lambda values: values.isin([0.0, 1.0]), "0 or 1")


def read_annotations(paths: Sequence[Path]) -> pd.DataFrame:
    """Nodules: columns series, x, y, z, diameter_mm; each once.

    Raises:
        SourceError: as `read_table`, a malformed series id, or a diameter that is not positive.
    """
    rows = _read(paths, "diameter_mm", lambda values: values > 0, "a positive diameter in mm")
    return rows.drop_duplicates(ignore_index=True)


def read_excluded(paths: Sequence[Path]) -> pd.DataFrame:
    """Findings that count for neither class: as annotations; a negative diameter is unknown.

    Raises:
        SourceError: as `read_table`, or a malformed series id.
    """
    return _read(paths, "diameter_mm", lambda values: values == values, "a diameter")


def read_series(paths: Sequence[Path]) -> set[str] | None:
    """The series ids of the release; None where it has no list of them.

    Raises:
        SourceError: a file cannot be read, or a malformed series id.
    """
    if not paths:
        return None
    series = [value for path in paths for value in read_list(path)]
    series = [value for value in series if value != "seriesuid"]  # some copies have a header
    for value in series:
        if not SERIES.fullmatch(value):
            raise SourceError(f"{paths[0].name}: {_expected_series(value)}")
    return set(series)


def _read(paths: Sequence[Path], column: str, accepts, expected: str) -> pd.DataFrame:
    tables = []
    for path in paths:
        rows = read_table(path, text=["seriesuid"], numbers=["coordX", "coordY", "coordZ", column])
        malformed = rows.index[~rows["seriesuid"].str.fullmatch(SERIES)]
        if len(malformed):
            value = rows["seriesuid"].loc[malformed[0]]
            raise SourceError(f"{path} line {malformed[0]}: {_expected_series(value)}")
        wrong = rows.index[~accepts(rows[column])]
        if len(wrong):
            raise SourceError(
                f"{path} line {wrong[0]}: expected {expected} for {column}, found "
                f"{rows[column].loc[wrong[0]]:g}"
            )
        tables.append(rows)
    if not tables:
        return pd.DataFrame(columns=[*NAMES.values(), column]).astype(
            {"x": float, "y": float, "z": float, column: float}
        )
    return pd.concat(tables, ignore_index=True).rename(columns=NAMES)


def _expected_series(value: str) -> str:
    return f"expected a series id of letters, digits, '.', '_' and '-', found {value!r}"
