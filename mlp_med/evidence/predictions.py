"""Predictions tables: the product of every cell, and all that evidence is made from.

An arm's table stacks the cells of all its seeds, one row a case and seed. What does not fit
together is refused here, so that everything after may trust its arrays.

Of two classes a row holds one score, the probability of label 1; of more, one a class: score_0,
score_1 and so on.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from mlp_med.errors import EvidenceError
from mlp_med.score_columns import SCORE, found_score_columns

COLUMNS = ("id", "patient", "seed", "label", SCORE)


@dataclass(frozen=True)
class ScoredCases:
    """One arm's test predictions as arrays, cases sorted by id, seeds ascending.

    Attributes:
        ids: [num_cases] str.
        patients: [num_cases] int64, codes 0 … num_patients − 1.
        labels: [num_cases] bool; int64 where there are more than two classes.
        scores: [num_seeds, num_cases] float64 in [0, 1]; of more than two classes [num_seeds,
            num_cases, num_classes].
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
        table: columns id, patient ("" where unknown), seed, label (from 0), score (0–1, or
            score_0, score_1, … of more than two classes), and where the study was cross-validated,
            fold (an integer); others are ignored.
        name: the arm, for the error messages.

    Raises:
        EvidenceError: the table cannot be evidence; the message says why and what to do.
    """
    columns = found_score_columns(table.columns)
    _check_columns(table, name, columns)
    _check_values(table, name, columns)
    table = table.assign(id=table["id"].astype(str), patient=_patients(table))
    table = table if "fold" in table else table.assign(fold=0)
    _check_cases(table, name)
    by_class = [table.pivot(index="seed", columns="id", values=column) for column in columns]
    scores = by_class[0]
    if scores.isna().to_numpy().any():
        first_gap = scores.index[scores.isna().any(axis=1)][0]
        missing = scores.columns[scores.loc[first_gap].isna()]
        raise EvidenceError(
            f"{name}: seed {first_gap} lacks {len(missing)} of {scores.shape[1]} cases, such as "
            f"{missing[0]!r}. All seeds must score the same test cases: rerun that cell."
        )
    cases = table.drop_duplicates("id").set_index("id").loc[scores.columns]
    labels = _labels(cases, columns)
    _check_classes(labels, columns, name)
    known = bool((cases["patient"] != "").all())
    units = cases["patient"].to_numpy(str) if known else cases.index.to_numpy(str)
    names, codes = np.unique(units, return_inverse=True)
    return ScoredCases(
        ids=cases.index.to_numpy(str),
        patients=codes.astype(np.int64),
        labels=labels,
        scores=_joined([of_class.to_numpy(np.float64) for of_class in by_class]),
        seeds=scores.index.to_numpy(np.int64),
        num_patients=len(names),
        patients_known=known,
        folds=cases["fold"].to_numpy(np.int64),
    )


def class_arrays(table: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Labels [num_rows] and scores [num_rows], or [num_rows, num_classes], of one seed's table."""
    columns = found_score_columns(table.columns)
    return _labels(table, columns), _joined([table[column].to_numpy() for column in columns])


def _labels(cases: pd.DataFrame, columns: list[str]) -> np.ndarray:
    return cases["label"].to_numpy().astype(bool if len(columns) == 1 else np.int64)


def _joined(by_class: list[np.ndarray]) -> np.ndarray:
    """Scores by class along the last axis; of two classes the one score as it is."""
    return by_class[0] if len(by_class) == 1 else np.stack(by_class, axis=-1)


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


def _check_columns(table: pd.DataFrame, name: str, scores: list[str]) -> None:
    wanted = [*COLUMNS[:-1], *scores]
    missing = [column for column in wanted if column not in table.columns]
    if missing:
        raise EvidenceError(
            f"{name}: a predictions table needs the columns {', '.join(wanted)}; "
            f"{', '.join(missing)} missing, present: {', '.join(map(str, table.columns))}."
        )
    for column in ("seed", "label", *scores):
        kind = table[column].dtype.kind
        if kind not in "iufb" or (column == "seed" and kind not in "iu"):
            raise EvidenceError(
                f"{name}: column {column} must hold numbers (seed: integers), "
                f"but its type is {table[column].dtype}."
            )
    if table.empty:
        raise EvidenceError(f"{name}: the predictions table has no rows; rerun its cells.")


def _check_classes(labels: np.ndarray, columns: list[str], name: str) -> None:
    present = np.unique(labels)
    if len(present) < max(2, len(columns)):
        held = " or ".join(str(int(label)) for label in present)
        wanted = "both classes" if len(columns) == 1 else f"all {len(columns)} classes"
        raise EvidenceError(
            f"{name}: all {len(labels)} cases have label {held}; an AUC needs {wanted}. "
            "Check the test split of the dataset."
        )


def _check_values(table: pd.DataFrame, name: str, columns: list[str]) -> None:
    if table["id"].isna().any():
        raise EvidenceError(f"{name}: {int(table['id'].isna().sum())} rows have no id.")
    known = range(max(2, len(columns)))
    bad_label = ~table["label"].isin(known).to_numpy()
    apply = "sigmoid" if len(columns) == 1 else "softmax"
    problems = []
    for column in columns:
        score = table[column].to_numpy(np.float64)
        problems += [
            (~np.isfinite(score), column, "a finite number; the model's output may have diverged"),
            ((score < 0) | (score > 1), column, f"a probability in [0, 1]; apply the {apply}"),
        ]
    problems.append((bad_label, "label", " or ".join(map(str, known))))
    for bad, column, expected in problems:
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
