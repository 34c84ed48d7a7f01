"""The columns of a predictions table that hold scores: one number a case, or one a class."""

import re
from collections.abc import Iterable

SCORE = "score"  # the probability of label 1, where there are two classes


def score_columns(num_classes: int) -> list[str]:
    """Names by label: score_0, score_1, score_2; of two classes the one column score."""
    return [SCORE] if num_classes == 2 else [f"{SCORE}_{k}" for k in range(num_classes)]


def found_score_columns(columns: Iterable[object]) -> list[str]:
    """Those of a table, by label; the one column score where there are no others, there or not."""
    numbers = [re.fullmatch(rf"{SCORE}_(\d+)", str(column)) for column in columns]
    highest = max((int(found[1]) for found in numbers if found), default=-1)
    return [SCORE] if highest < 2 else [f"{SCORE}_{k}" for k in range(highest + 1)]
