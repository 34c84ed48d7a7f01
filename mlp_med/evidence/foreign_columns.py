"""Columns of other people's predictions tables, read as what they must mean, or refused.

Every refusal names the file, how many rows are concerned, one of them, and what to do.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from mlp_med.errors import EvidenceError

NOT_THERE = frozenset({"", "nan", "NaN", "NA", "N/A", "None", "null", "<NA>"})
MOST_WORDS = 12  # of a column that results are broken down by
NO_WORD = "(none)"  # of a case that such a column does not describe, where a word must stand
LABELS = {"0": 0, "1": 1, "0.0": 0, "1.0": 1, "False": 0, "True": 1, "false": 0, "true": 1}


def as_text(column: pd.Series) -> pd.Series:
    """Text of a column; "" where there is nothing, and 7.0 is 7 (a gap makes integers floats)."""
    text = pd.Series([_text(value) for value in column], column.index, object)
    return text.where(column.notna() & ~text.isin(NOT_THERE), "")


def patients(column: pd.Series, path: Path) -> pd.Series:
    """Names of patients; all "" where nobody knows them."""
    names = as_text(column)
    unknown = int((names == "").sum())
    if 0 < unknown < len(names):
        raise EvidenceError(
            f"{path}: {unknown} of {len(names)} rows have no patient; cases of one patient "
            "must be resampled together, so either name all patients or leave all empty "
            "(the verdict is then exploratory)"
        )
    if not unknown and names.nunique() == 1:
        raise EvidenceError(
            f"{path}: all rows have the patient {names.iloc[0]!r}; leave the column empty if "
            "the patients are unknown"
        )
    return names


def numbers(column: pd.Series, ids: pd.Series, path: Path, name: str) -> np.ndarray:
    """Finite float64 numbers, from numbers or from text."""
    is_plain = isinstance(column.dtype, np.dtype) and column.dtype.kind in "iuf"
    values = column if is_plain else pd.to_numeric(as_text(column), "coerce")
    found = values.to_numpy(np.float64)
    bad = ~np.isfinite(found)
    if bad.any():
        place = int(np.flatnonzero(bad)[0])
        raise EvidenceError(
            f"{path}: {int(bad.sum())} of {len(bad)} rows have a {name} that is not a finite "
            f"number, such as {str(column.iloc[place])!r} of case {ids.iloc[place]!r}; "
            "one number a row is expected, and a model that gives NaN has diverged"
        )
    return found


def check_range(scores: np.ndarray, ids: pd.Series, path: Path) -> None:
    """Refuses scores that are no probabilities."""
    outside = (scores < 0) | (scores > 1)
    if outside.any():
        place = int(np.flatnonzero(outside)[0])
        raise EvidenceError(
            f"{path}: {int(outside.sum())} of {len(scores)} scores are outside [0, 1], such as "
            f"{scores[place]:g} of case {ids.iloc[place]!r}; give --logits if the scores are "
            "logits, otherwise save the probability of label 1"
        )


def seeds(column: pd.Series, ids: pd.Series, path: Path) -> np.ndarray:
    """Whole numbers, int64."""
    found = numbers(column, ids, path, "seed")
    if (found != np.round(found)).any():
        example = found[found != np.round(found)][0]
        raise EvidenceError(f"{path}: a seed is a whole number, {example:g} is not one")
    return found.astype(np.int64)


def labels(column: pd.Series, ids: pd.Series, path: Path) -> np.ndarray:
    """0 and 1, int8, from numbers, booleans or text; both are there."""
    text = as_text(column)
    known = text.map(LABELS)
    if known.isna().any():
        place = int(np.flatnonzero(known.isna())[0])
        found = ", ".join(sorted(set(text))[:5])
        raise EvidenceError(
            f"{path}: {int(known.isna().sum())} of {len(known)} labels are neither 0 nor 1, such "
            f"as {str(column.iloc[place])!r} of case {ids.iloc[place]!r} (found: {found}); write 1 "
            "for what the score is the probability of, else 0"
        )
    values = known.to_numpy(np.int8)
    if len(set(values)) < 2:
        raise EvidenceError(
            f"{path}: all {len(values)} rows have label {values[0]}; an AUC needs both classes"
        )
    return values


def stratum(
    column: pd.Series, label: np.ndarray, ids: pd.Series, path: Path, name: str
) -> np.ndarray:
    """What results are broken down by: float64, NaN where there is nothing, or words, "" likewise.

    It describes every case, or those of label 1 alone, as a lesion's size does: of the others there
    is then nothing, or 0.
    """
    text = as_text(column)
    missing = (text == "").to_numpy()
    if missing[label == 1].any() or (missing.any() and not missing[label == 0].all()):
        raise EvidenceError(
            f"{path}: {int(missing.sum())} of {len(text)} rows have no {name}, such as case "
            f"{ids.iloc[int(np.flatnonzero(missing)[0])]!r}; give it for every case, or for all "
            "cases of label 1 and none of label 0, if it is of lesions"
        )
    values = pd.to_numeric(text.where(~missing), "coerce").to_numpy(np.float64, copy=True)
    if np.isfinite(values[~missing]).all():
        if (values[label == 0] == 0).all() and (values[label == 1] > 0).all():
            values[label == 0] = np.nan
        return values
    words = [set(text[(label == k) & ~missing]) for k in (0, 1)]
    if not missing.any() and not words[0] & words[1]:
        raise EvidenceError(
            f"{path}: no word of column {name} has cases of both labels, so that none has an AUC; "
            "if it is of lesions, leave it empty for label 0"
        )
    if (number := text[~missing].nunique()) > MOST_WORDS:
        raise EvidenceError(
            f"{path}: column {name} has {number} words, such as {text[~missing].iloc[0]!r}; "
            f"results are broken down by numbers or by at most {MOST_WORDS} words"
        )
    return text.to_numpy()


def _text(value: object) -> str:
    if isinstance(value, bytes):
        return value.decode(errors="replace").strip()
    if isinstance(value, float) and value.is_integer():  # NumPy's float64 is a float
        return str(int(value))
    return str(value).strip()
