"""Two arms' predictions put onto the same cases, or a refusal that counts how they differ."""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from mlp_med.errors import EvidenceError
from mlp_med.evidence.foreign import ForeignPredictions


@dataclass(frozen=True)
class PairedPredictions:
    """Two arms on the same cases.

    Attributes:
        a: as read.
        b: as read.
        table_a: its rows on the cases that are compared.
        table_b: likewise.
        num_cases: how many those are.
        dropped: cases of a and of b that are not compared.
        by: columns of both tables that results are to be broken down by, from either file.
    """

    a: ForeignPredictions
    b: ForeignPredictions
    table_a: pd.DataFrame
    table_b: pd.DataFrame
    num_cases: int
    dropped: tuple[int, int]
    by: tuple[str, ...] = ()


def pair_predictions(
    a: ForeignPredictions,
    b: ForeignPredictions,
    *,
    common_cases: bool = False,
    by: Sequence[str] = (),
) -> PairedPredictions:
    """Puts two arms onto the same cases.

    Args:
        a: one arm.
        b: the other.
        common_cases: where their cases differ, compare those that every seed of both scored.
        by: columns to break results down by, that either file has.

    Raises:
        EvidenceError: the cases, labels, patients or columns `by` differ, one of these is in
            neither file, or the predictions are identical.
    """
    _refuse_identical(a, b)
    whole_a, whole_b = _cases_of_every_seed(a.table), _cases_of_every_seed(b.table)
    if common_cases:
        common = whole_a & whole_b
        if not common:
            raise EvidenceError(_differing_cases(a, b) + "; no case is common to both")
        tables = [arm.table[arm.table["id"].isin(common)] for arm in (a, b)]
    else:
        if set(a.table["id"]) != set(b.table["id"]):
            raise EvidenceError(
                _differing_cases(a, b) + "; score the same test set with both, or give "
                "--common-cases to compare only the cases that both scored"
            )
        for arm, whole in ((a, whole_a), (b, whole_b)):
            if gaps := sorted(set(arm.table["id"]) - whole):
                raise EvidenceError(
                    f"{arm.path}: {len(gaps)} cases, such as {gaps[0]!r}, were not scored by every "
                    "seed; score them, or give --common-cases to compare without them"
                )
        tables = [a.table, b.table]
    _check_same(tables[0], tables[1], a, b)
    for column in by:
        _share(column, tables, a, b)
    num_cases = tables[0]["id"].nunique()
    dropped = (a.table["id"].nunique() - num_cases, b.table["id"].nunique() - num_cases)
    return PairedPredictions(a, b, tables[0], tables[1], num_cases, dropped, tuple(by))


def _share(
    column: str, tables: list[pd.DataFrame], a: ForeignPredictions, b: ForeignPredictions
) -> None:
    """Puts a property of the cases into both tables, from the one that has it."""
    having = [number for number, arm in enumerate((a, b)) if column in arm.by]
    if not having:
        others = dict.fromkeys((*a.ignored_columns, *a.by, *b.ignored_columns, *b.by))
        raise EvidenceError(
            f"neither {a.path} nor {b.path} has a column {column} to break results down by; "
            f"besides those of predictions there are: {', '.join(others) or 'none'}"
        )
    if len(having) == 2:
        return
    of_cases = tables[having[0]][["id", column]].drop_duplicates("id")
    other = 1 - having[0]
    tables[other] = tables[other].merge(of_cases, on="id")


def _refuse_identical(a: ForeignPredictions, b: ForeignPredictions) -> None:
    order = ["seed", "id"]
    left = a.table.sort_values(order, ignore_index=True)[[*order, "score"]]
    right = b.table.sort_values(order, ignore_index=True)[[*order, "score"]]
    if a.sha256 == b.sha256 or left.equals(right):
        raise EvidenceError(
            f"{a.path} and {b.path} hold the same predictions, score for score: there is nothing "
            "to compare; was one file given, or saved, twice?"
        )


def _cases_of_every_seed(table: pd.DataFrame) -> set[str]:
    counts = table["id"].value_counts()
    return set(counts.index[counts == table["seed"].nunique()])


def _differing_cases(a: ForeignPredictions, b: ForeignPredictions) -> str:
    ids_a, ids_b = set(a.table["id"]), set(b.table["id"])
    only = [
        f"{len(more)} only in {arm.path}" + (f", such as {min(more)!r}" if more else "")
        for arm, more in ((a, ids_a - ids_b), (b, ids_b - ids_a))
    ]
    return (
        f"the files score different cases: {len(ids_a & ids_b)} are in both, {only[0]}, and "
        f"{only[1]}"
    )


def _check_same(
    table_a: pd.DataFrame, table_b: pd.DataFrame, a: ForeignPredictions, b: ForeignPredictions
) -> None:
    compared = ["label", "patient", *(column for column in a.by if column in b.by)]
    columns = ["id", *compared]
    cases = table_a[columns].drop_duplicates().merge(table_b[columns].drop_duplicates(), on="id")
    for column in compared:
        left, right = cases[f"{column}_x"], cases[f"{column}_y"]
        differs = (left != right) & ~(left.isna() & right.isna())
        if differs.any():
            row = cases[differs].iloc[0]
            advice = {
                "label": "is 1 the same class in both?",
                "patient": "name the patients alike in both files, or leave all empty in both",
            }.get(column, "it is the case's, whoever scores it; leave it out of one file")
            raise EvidenceError(
                f"{int(differs.sum())} of {len(cases)} cases have another {column} in {b.path} "
                f"than in {a.path}, such as {row['id']!r}: {row[column + '_x']!r} and "
                f"{row[column + '_y']!r}; {advice}"
            )
