"""Csv files as people have them: read whole, and refused with the line that is wrong."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mlp_med.errors import SourceError


def read_table(
    path: Path, *, text: Sequence[str] = (), numbers: Sequence[str] = ()
) -> pd.DataFrame:
    """Reads the named columns of a csv file; line ends may be LF or CRLF, other columns may exist.

    Values may be separated by semicolons, as many spreadsheets do, if the first line has no comma.

    Args:
        path: the file; its first line holds the column names.
        text: columns kept as str, without blanks around them.
        numbers: columns read as float64.

    Returns:
        One row a record; the index is the line in the file.

    Raises:
        SourceError: the file cannot be read, lacks a column, or has a record that is too short, or
            a number that is no finite number; the message names the file and the line.
    """
    wanted = [*text, *numbers]
    lines, records = _read_records(path, wanted)
    columns: dict[str, np.ndarray] = {}
    for position, name in enumerate(wanted):
        values = [record[position] for record in records]
        columns[name] = (
            np.array(values, dtype=object)
            if name in text
            else as_numbers(path, lines, name, values)
        )
    return pd.DataFrame(columns, index=pd.Index(lines, name="line", dtype=np.int64))


def read_column_names(path: Path) -> list[str]:
    """The column names in the first line of a csv file.

    Raises:
        SourceError: the file cannot be read.
    """
    return [name.strip() for name in next(_csv_reader(_read_text(path)), [])]


def read_list(path: Path) -> list[str]:
    """Reads a file of one value a line, without a header; blank lines count for nothing.

    Raises:
        SourceError: the file cannot be read.
    """
    return [line.strip() for line in _read_text(path).splitlines() if line.strip()]


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise SourceError(f"{path}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise SourceError(
            f"{path}: expected a text file in UTF-8, found byte {error.start} in another encoding; "
            "save the table as CSV UTF-8"
        ) from error


def _csv_reader(text: str) -> Any:
    lines = text.splitlines(keepends=True)
    by_semicolons = bool(lines) and ";" in lines[0] and "," not in lines[0]
    return csv.reader(lines, delimiter=";" if by_semicolons else ",")


def _read_records(path: Path, wanted: list[str]) -> tuple[list[int], list[list[str]]]:
    reader = _csv_reader(_read_text(path))
    lines, records = [], []
    try:
        header = [name.strip() for name in next(reader, [])]
        missing = [name for name in wanted if name not in header]
        if missing:
            raise SourceError(
                f"{path} line 1: expected the columns {', '.join(wanted)}; missing: "
                f"{', '.join(missing)}; found: {', '.join(header) or 'nothing'}; "
                "is this the right file?"
            )
        positions = [header.index(name) for name in wanted]
        for record in reader:
            if not any(map(str.strip, record)):
                continue
            if len(record) != len(header):
                raise SourceError(
                    f"{path} line {reader.line_num}: expected {len(header)} values, "
                    f"found {len(record)}"
                )
            lines.append(reader.line_num)
            records.append([record[position].strip() for position in positions])
    except csv.Error as error:
        raise SourceError(f"{path} line {reader.line_num}: no csv file ({error})") from error
    return lines, records


def as_numbers(path: Path, lines: Sequence[int], name: str, values: Sequence[str]) -> np.ndarray:
    """The values of a column as float64.

    Raises:
        SourceError: one is no finite number; the message names the first line of them.
    """
    numbers = np.empty(len(values), dtype=np.float64)
    for row, value in enumerate(values):
        try:
            numbers[row] = float(value)
        except ValueError:
            numbers[row] = np.nan
    wrong = np.flatnonzero(~np.isfinite(numbers))
    if len(wrong):
        first = wrong[0]
        more = f" (and {len(wrong) - 1} more such lines)" if len(wrong) > 1 else ""
        raise SourceError(
            f"{path} line {lines[first]}: expected a finite number for {name}, "
            f"found {values[first]!r}{more}"
        )
    return numbers
