"""Predictions tables: the product of every cell, and all that evidence is made from.

An arm's table stacks the cells of all its seeds, one row a case and seed. What does not fit
together is refused here, so that everything after may trust its arrays.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from mlp_med.errors import EvidenceError

COLUMNS = ("id", "patient", "seed", "label", "score")


@dataclass(frozen=True)
class ScoredCases:
    """One arm's test predictions as arrays, cases sorted by id, seeds ascending.

    Attributes:
        ids: [num_cases] str.
        patients: [num_cases] int64, codes 0 … num_patients − 1.
        labels: [num_cases] bool.
        scores: [num_seeds, num_cases] float64 in [0, 1].
        seeds: [num_seeds] int64.
        num_patients: the clusters; where patients are unknown, each case is its own.
        patients_known: False where the dataset names no patients.
        folds: [num_cases] int64; pairs of cases count within a fold. All 0 without folds.
    """

    ids: np.ndarray
    patients: np.ndarray
    labels: np.ndarray
    scores: np.ndarray
    seeds: np.ndarray
    num_patients: int
    patients_known: bool
    folds: np.ndarray


def scored_cases(table: pd.DataFrame, name: str = "this arm") -> ScoredCases:
    """Checks an arm's predictions table and returns it as arrays.

    Args:
        table: columns id, patient ("" where unknown), seed, label (0/1), score (0–1), and where
            the study was cross-validated, fold (an integer); others are ignored.
        name: the arm, for the error messages.

    Raises:
        EvidenceError: the table cannot be evidence; the message says why and what to do.
    """
    _check_columns(table, name)
    _check_values(table, name)
    table = table.assign(id=table["id"].astype(str), patient=_patients(table))
    table = table if "fold" in table else table.assign(fold=0)
    _check_cases(table, name)
    scores = table.pivot(index="seed", columns="id", values="score")
    if scores.isna().to_numpy().any():
        first_gap = scores.index[scores.isna().any(axis=1)][0]
        missing = scores.columns[scores.loc[first_gap].isna()]
        raise EvidenceError(
            f"{name}: seed {first_gap} lacks {len(missing)} of {scores.shape[1]} cases, such as "
            f"{missing[0]!r}. All seeds must score the same test cases: rerun that cell."
        )
    cases = table.drop_duplicates("id").set_index("id").loc[scores.columns]
    labels = cases["label"].to_numpy().astype(bool)
    if labels.all() or not labels.any():
        raise EvidenceError(
            f"{name}: all {len(labels)} cases have label {int(labels[0])}; an AUC needs both "
            "classes. Check the test split of the dataset."
        )
    known = bool((cases["patient"] != "").all())
    units = cases["patient"].to_numpy(str) if known else cases.index.to_numpy(str)
    names, codes = np.unique(units, return_inverse=True)
    return ScoredCases(
        ids=cases.index.to_numpy(str),
        patients=codes.astype(np.int64),
        labels=labels,
        scores=scores.to_numpy(np.float64),
        seeds=scores.index.to_numpy(np.int64),
        num_patients=len(names),
        patients_known=known,
        folds=cases["fold"].to_numpy(np.int64),
    )


def check_paired(
    a: ScoredCases, b: ScoredCases, name_a: str = "arm a", name_b: str = "arm b"
) -> None:
    """Raises EvidenceError unless both arms scored the same cases of the same patients."""
    only_a, only_b = np.setdiff1d(a.ids, b.ids), np.setdiff1d(b.ids, a.ids)
    if len(only_a) or len(only_b):
        example = (only_a if len(only_a) else only_b)[0]
        raise EvidenceError(
            f"{name_a} and {name_b} must score the same test cases: {len(only_a)} are only in "
            f"{name_a} and {len(only_b)} only in {name_b}, such as {str(example)!r}. "
            "Build both from one source and rerun the arm that differs."
        )
    for what, left, right in (
        ("label", a.labels, b.labels),
        ("patient", a.patients, b.patients),
        ("patient", np.full(len(a.ids), a.patients_known), np.full(len(b.ids), b.patients_known)),
        ("fold", a.folds, b.folds),
    ):
        differs = left != right
        if differs.any():
            raise EvidenceError(
                f"{int(differs.sum())} cases, such as {str(a.ids[differs][0])!r}, have one {what} "
                f"in {name_a} and another in {name_b}. Build both from one source and rerun."
            )


def _check_columns(table: pd.DataFrame, name: str) -> None:
    missing = [column for column in COLUMNS if column not in table.columns]
    if missing:
        raise EvidenceError(
            f"{name}: a predictions table needs the columns {', '.join(COLUMNS)}; "
            f"{', '.join(missing)} missing, present: {', '.join(map(str, table.columns))}."
        )
    for column in ("seed", "label", "score"):
        kind = table[column].dtype.kind
        if kind not in "iufb" or (column == "seed" and kind not in "iu"):
            raise EvidenceError(
                f"{name}: column {column} must hold numbers (seed: integers), "
                f"but its type is {table[column].dtype}."
            )
    if table.empty:
        raise EvidenceError(f"{name}: the predictions table has no rows; rerun its cells.")


def _check_values(table: pd.DataFrame, name: str) -> None:
    if table["id"].isna().any():
        raise EvidenceError(f"{name}: {int(table['id'].isna().sum())} rows have no id.")
    score = table["score"].to_numpy(np.float64)
    bad_label = ~table["label"].isin([0, 1]).to_numpy()
    for bad, column, expected in (
        (~np.isfinite(score), "score", "a finite number; the model's output may have diverged"),
        ((score < 0) | (score > 1), "score", "a probability in [0, 1]; apply the sigmoid"),
        (bad_label, "label", "0 or 1"),
    ):
        if bad.any():
            row = table[bad].iloc[0]
            raise EvidenceError(
                f"{name}: case {str(row['id'])!r}, seed {row['seed']} has {column} "
                f"{row[column]}, and {int(bad.sum())} rows are so; expected {expected}."
            )


def _patients(table: pd.DataFrame) -> pd.Series:
    return table["patient"].astype(object).where(table["patient"].notna(), "").astype(str)


def _check_cases(table: pd.DataFrame, name: str) -> None:
    duplicated = table.duplicated(["id", "seed"])
    if duplicated.any():
        row = table[duplicated].iloc[0]
        raise EvidenceError(
            f"{name}: case {row['id']!r} occurs more than once for seed {row['seed']} "
            f"({int(duplicated.sum())} such rows). One cell a seed: is a cell read twice?"
        )
    for column in ("label", "patient", "fold"):
        pairs = table[["id", column]].drop_duplicates()
        twice = pairs["id"].duplicated()
        if twice.any():
            raise EvidenceError(
                f"{name}: case {pairs[twice]['id'].iloc[0]!r} has more than one {column} among "
                "its seeds; the seeds were not trained on one dataset."
            )
    unknown = table["patient"] == ""
    if unknown.any() and not unknown.all():
        raise EvidenceError(
            f"{name}: {int(unknown.sum())} of {len(table)} rows have no patient. Either all "
            "patients are known or none: cases of one patient must be resampled together."
        )
