"""Which mark of a detector hits which nodule, as LUNA16's official evaluation decides it.

A mark hits a nodule whose centre is nearer than its radius; a diameter below zero stands for one
that nobody measured and is read as 10 mm. A mark may hit two nodules and then counts for both. A
mark on an excluded finding is neither right nor wrong. Of a scan with more than 100 marks only
those count that score above the 101st.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from mlp_med.evidence.froc import Detections

MOST_MARKS = 100  # a scan
UNMEASURED_DIAMETER_MM = 10.0
CENTRE = ["coordX", "coordY", "coordZ"]


@dataclass(frozen=True, eq=False)
class MatchedMarks:
    """Detections, and how they came about.

    Attributes:
        detections: for the FROC.
        num_marks: that were counted, after the limit a scan.
        ignored_on_excluded: marks on an excluded finding and on no nodule.
        ignored_double: further marks on a nodule that another mark has hit.
        over_limit: marks that the limit a scan left out.
        unknown_scans: marks of scans that were not to be read.
        lesions: one row a nodule, with its highest score as "score".
    """

    detections: Detections
    num_marks: int
    ignored_on_excluded: int
    ignored_double: int
    over_limit: int
    unknown_scans: int
    lesions: pd.DataFrame


def match_marks(
    marks: pd.DataFrame,
    annotations: pd.DataFrame,
    excluded: pd.DataFrame,
    series: list[str],
    most_marks: int = MOST_MARKS,
) -> MatchedMarks:
    """Matches the marks of every scan.

    Args:
        marks: columns seriesuid, coordX, coordY, coordZ (mm) and probability.
        annotations: columns seriesuid, coordX, coordY, coordZ and diameter_mm.
        excluded: findings that are no nodule of the challenge, the same columns.
        series: the scans that were read; rows of any other are left out.
        most_marks: marks of a scan that count; 0 for all.
    """
    number = {name: index for index, name in enumerate(series)}
    known = marks[marks["seriesuid"].isin(number)]
    marks_of, nodules_of, excluded_of = (
        dict(tuple(table.groupby("seriesuid", sort=False)))
        for table in (known, annotations, excluded)
    )
    lesion_scores, false_scores, false_scans, parts = [], [], [], []
    num_marks = on_excluded = double = 0
    for name, index in number.items():
        scan_marks = _most_suspicious(marks_of.get(name, known.iloc[:0]), most_marks)
        nodules = nodules_of.get(name, annotations.iloc[:0])
        scores = scan_marks["probability"].to_numpy(np.float64)
        hits = _hits(nodules, scan_marks)
        best = np.where(hits, scores, -np.inf).max(axis=1, initial=-np.inf)
        right = hits.any(axis=0)
        irrelevant = _hits(excluded_of.get(name, excluded.iloc[:0]), scan_marks).any(axis=0)
        wrong = scores[~right & ~irrelevant]
        num_marks += len(scores)
        on_excluded += int((irrelevant & ~right).sum())
        double += int(np.maximum(hits.sum(axis=1) - 1, 0).sum())
        lesion_scores.append(best)
        false_scores.append(wrong)
        false_scans.append(np.full(len(wrong), index))
        parts.append(nodules.assign(score=best, scan=index))
    lesions = pd.concat(parts, ignore_index=True)
    return MatchedMarks(
        detections=Detections(
            lesion_scores=np.concatenate(lesion_scores),
            lesion_scans=lesions["scan"].to_numpy(np.int64),
            false_scores=np.concatenate(false_scores),
            false_scans=np.concatenate(false_scans),
            num_scans=len(series),
        ),
        num_marks=num_marks,
        ignored_on_excluded=on_excluded,
        ignored_double=double,
        over_limit=len(known) - num_marks,
        unknown_scans=len(marks) - len(known),
        lesions=lesions,
    )


def _most_suspicious(marks: pd.DataFrame, most: int) -> pd.DataFrame:
    """The marks above the score of the first that is too many; equal scores go together."""
    if not most or len(marks) <= most:
        return marks
    scores = marks["probability"].to_numpy(np.float64)
    return marks[scores > np.sort(scores)[::-1][most]]


def _hits(findings: pd.DataFrame, marks: pd.DataFrame) -> np.ndarray:
    """[num_findings, num_marks] bool."""
    centres, places = (table[CENTRE].to_numpy(np.float64) for table in (findings, marks))
    diameters = findings["diameter_mm"].to_numpy(np.float64)
    radii = np.where(diameters < 0, UNMEASURED_DIAMETER_MM, diameters) / 2
    distances = ((centres[:, None] - places[None]) ** 2).sum(axis=2)
    return distances < radii[:, None] ** 2
