"""Predictions of any framework, from Parquet or csv files, made into predictions tables.

What can be read in one way only is read so (ids as numbers, labels as booleans or as text); what
cannot is refused with what was found and what to do. Nothing about a case is guessed.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.special import expit

from mlp_med.errors import EvidenceError
from mlp_med.evidence import foreign_columns as columns
from mlp_med.evidence.predictions import COLUMNS
from mlp_med.parquet_files import UNREADABLE, read_parquet
from mlp_med.score_columns import found_score_columns

# What others call these columns, letters and digits only: named in the message, never assumed.
SYNONYMS = {
    "id": "case caseid imageid image name filename file path sample sampleid index uid studyid",
    "patient": "patientid pid subject subjectid participant participantid patientuid slideid",
    "seed": "fold run runid trial repeat repetition model modelid randomseed",
    "label": "ytrue y target groundtruth gt class truth labels targets",
    "score": "prob probability proba yprob yscore ypred pred prediction predictions output "
    "logit logits scores probs p1 prob1 probability1",
}
CSV_SUFFIXES = (".csv", ".csv.gz")
ONLY_SEED = 0  # where the table has no column seed


@dataclass(frozen=True)
class ForeignPredictions:
    """The predictions of one arm as read from a file.

    Attributes:
        name: of the arm.
        path: of the file.
        sha256: of the file.
        table: columns id, patient ("" where unknown), seed, label, score and `by`; one row a case
            and seed.
        by: columns of the file that results can be broken down by.
        has_seeds: False where the file has no column seed; all rows are then of one seed.
        ignored_columns: of the file.
        merged_scores: how many distinct logits the sigmoid made equal to another.
    """

    name: str
    path: Path
    sha256: str
    table: pd.DataFrame
    has_seeds: bool
    ignored_columns: tuple[str, ...]
    merged_scores: int
    by: tuple[str, ...] = ()


def read_predictions(
    path: Path, name: str, *, logits: bool = False, by: Sequence[str] = ()
) -> ForeignPredictions:
    """Reads a table of predictions.

    Args:
        path: a Parquet file, or a csv whose name ends in .csv or .csv.gz.
        name: the arm, for the messages.
        logits: the scores are logits; the sigmoid is applied.
        by: columns that results are to be broken down by, those that the file has
            (`foreign_columns.stratum`).

    Raises:
        EvidenceError: the file cannot be read, or its rows cannot be evidence.
    """
    table, digest = _read_file(path)
    has_seeds = "seed" in table.columns
    _check_columns(table, path)
    here = tuple(column for column in by if column in table.columns)
    _check_strata(table, here, path)
    if table.empty:
        raise EvidenceError(f"{path}: the table has no rows; was it saved before the predictions?")
    ids = columns.as_text(table["id"])
    if (ids == "").any():
        raise EvidenceError(
            f"{path}: {int((ids == '').sum())} rows have no id; every case needs one, the same in "
            "both files"
        )
    scores = columns.numbers(table["score"], ids, path, "score")
    merged = 0
    if logits:
        distinct = len(np.unique(scores))
        scores = expit(scores)
        merged = distinct - len(np.unique(scores))
    columns.check_range(scores, ids, path)
    seeds = (
        columns.seeds(table["seed"], ids, path)
        if has_seeds
        else np.full(len(table), ONLY_SEED, np.int64)
    )
    normal = pd.DataFrame(
        {
            "id": ids.to_numpy(),
            "patient": columns.patients(table["patient"], path).to_numpy(),
            "seed": seeds,
            "label": columns.labels(table["label"], ids, path),
            "score": scores,
        }
    )
    _check_repeats(normal, has_seeds, path)
    for column in here:
        normal[column] = columns.stratum(
            table[column], normal["label"].to_numpy(), ids, path, column
        )
        _check_of_case(normal, column, path)
    ignored = tuple(str(column) for column in table.columns if column not in (*COLUMNS, *here))
    return ForeignPredictions(name, path, digest, normal, has_seeds, ignored, merged, here)


def _read_file(path: Path) -> tuple[pd.DataFrame, str]:
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if path.stat().st_size == 0:
            raise EvidenceError(f"{path} is empty (0 bytes); save the predictions again")
        if path.name.lower().endswith(CSV_SUFFIXES):
            # All as text: "007" stays an id, and an empty cell stays visible.
            return pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig"), digest
        table = read_parquet(path)
    except OSError as error:
        raise EvidenceError(f"cannot read {path}: {error.strerror or error}") from error
    except UNREADABLE as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise EvidenceError(
            f"{path} is neither Parquet nor, by its name, a csv that can be read ({reason}); write "
            f"it with DataFrame.to_parquet, or name it with {' or '.join(CSV_SUFFIXES)}"
        ) from error
    named = [name for name in table.index.names if name in COLUMNS and name not in table.columns]
    return (table.reset_index(level=named) if named else table), digest


def _check_columns(table: pd.DataFrame, path: Path) -> None:
    missing = [c for c in COLUMNS if c not in table.columns and c != "seed"]
    twice = [c for c in COLUMNS if list(table.columns).count(c) > 1]
    if twice:
        raise EvidenceError(f"{path}: there is more than one column {twice[0]}")
    if not missing:
        return
    present = [str(column) for column in table.columns]
    lines = [
        f"{path}: expected the columns {', '.join(COLUMNS)}; {', '.join(missing)} missing, "
        f"present: {', '.join(present) or 'none'}"
    ]
    for column in COLUMNS:
        near = [] if column in present else [c for c in present if _is_synonym(c, column)]
        if near:
            lines.append(f"rename {near[0]} to {column} if it is that")
        elif column == "patient" and column in missing:
            lines.append("if nobody knows the patients, add an empty column patient")
    if len(present) == 1:
        lines.append("if this is a csv, separate its columns by commas")
    raise EvidenceError("; ".join(lines))


def _check_strata(table: pd.DataFrame, by: Sequence[str], path: Path) -> None:
    for column in by:
        if column in (*COLUMNS, "fold") or column in found_score_columns([column]):
            raise EvidenceError(
                f"results cannot be broken down by {column}, which is no property of a case; name "
                "another column, or this one otherwise"
            )
        if list(table.columns).count(column) > 1:
            raise EvidenceError(f"{path}: there is more than one column {column}")


def _is_synonym(column: str, wanted: str) -> bool:
    letters = "".join(filter(str.isalnum, column.lower()))
    return letters == wanted or letters in SYNONYMS[wanted].split()


def _check_repeats(table: pd.DataFrame, has_seeds: bool, path: Path) -> None:
    repeated = table.duplicated(["id", "seed"])
    if repeated.any():
        row = table[repeated].iloc[0]
        seed = f" for seed {row['seed']}" if has_seeds else ""
        advice = (
            "one row a case and seed"
            if has_seeds
            else "if these are several seeds, say which in a column seed; else one row a case"
        )
        raise EvidenceError(
            f"{path}: case {row['id']!r} occurs more than once{seed}, and {int(repeated.sum())} "
            f"rows repeat one before them; expected {advice}"
        )
    for column in ("label", "patient"):
        _check_of_case(table, column, path)


def _check_of_case(table: pd.DataFrame, column: str, path: Path) -> None:
    pairs = table[["id", column]].drop_duplicates()
    twice = pairs["id"].duplicated()
    if twice.any():
        raise EvidenceError(
            f"{path}: case {pairs.loc[twice, 'id'].iloc[0]!r} has more than one {column} among "
            f"its seeds, and {int(twice.sum())} cases are so; a {column} belongs to the case"
        )
