"""Csv files that we write, opened in spreadsheets by others: no cell of text is a formula there.

A spreadsheet calculates what begins with =, +, - or @, whoever wrote it, and may so run a command
or send a cell away. Such text gets an apostrophe before it, which spreadsheets take for "this is
text"; numbers stay numbers. OWASP, "CSV Injection".
"""

from pathlib import Path

import pandas as pd

FORMULA_BEGINS_WITH = ("=", "+", "-", "@", "\t", "\r", "\n")


def neutral(value: object) -> object:
    """Text that no spreadsheet calculates; whatever is no text stays as it is."""
    if isinstance(value, str) and value.startswith(FORMULA_BEGINS_WITH) and not _is_number(value):
        return f"'{value}"
    return value


def write_csv(table: pd.DataFrame, path: Path, *, float_format: str | None = None) -> None:
    """Writes a table without its index, its text and its column names neutral.

    Raises:
        OSError: the file cannot be written.
    """
    safe = table.rename(columns=neutral)
    for number, kind in enumerate(table.dtypes):
        if not pd.api.types.is_numeric_dtype(kind):
            safe.isetitem(number, list(map(neutral, table.iloc[:, number])))
    safe.to_csv(path, index=False, float_format=float_format)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return text.strip() == text
