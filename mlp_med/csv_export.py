"""Csv files that we write, opened in spreadsheets by others: no cell of text is a formula there.

A spreadsheet calculates what begins with =, +, - or @, whoever wrote it, and may so run a command
or send a cell away. Such text gets an apostrophe before it, which spreadsheets take for "this is
text"; numbers stay numbers. OWASP, "CSV Injection".
"""

from pathlib import Path

import pandas as pd

FORMULA_BEGINS_WITH = ("=", "+", "-", "@")
# Csv writers do not quote all of these, and a spreadsheet begins a new row at them.
LINE_BREAKS = dict.fromkeys(map(ord, "\r\n\v\f\x1c\x1d\x1e\x85\u2028\u2029"), " ")


def neutral(value: object) -> object:
    """Text in one line that no spreadsheet calculates; whatever is no text stays as it is."""
    if not isinstance(value, str) or _is_number(value):
        return value
    text = value.translate(LINE_BREAKS)
    # Some programs drop blanks and tabs before they look.
    return f"'{text}" if text.lstrip().startswith(FORMULA_BEGINS_WITH) else text


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
