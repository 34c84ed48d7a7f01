"""CAMELYON16's two tasks: which slides hold metastases (AUC), and where they are (FROC).

The FROC is read at ¼, ½, 1, 2, 4 and 8 false positives a slide, all slides counted, and its score
is the mean of the six sensitivities (Ehteshami Bejnordi et al. 2017, JAMA 318, 2199-2210). As in
the challenge's evaluation code, a mark hits the lesion that it lies in (`evidence.lesions`: 37.5 µm
of tolerance); a lesion that several marks hit counts once, with the highest score; marks on lesions
of isolated tumour cells are neither right nor wrong, and those lesions need not be found.
Departures from that code: sensitivity is interpolated between thresholds, as everywhere here, where
the code takes the nearest threshold; a mark off its slide is a false positive, where the code
passes over it on slides with metastases; intervals are percentiles over resampled slides.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from mlp_med.errors import EvidenceError
from mlp_med.evidence.froc import CONFIDENCE, Detections
from mlp_med.evidence.lesions import Lesions
from mlp_med.evidence.metrics import aucs, resampled_aucs
from mlp_med.evidence.resampling import patient_weights

CAMELYON16_RATES = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0)


@dataclass(frozen=True, eq=False)
class MatchedSlideMarks:
    """Detections, and how they came about.

    Attributes:
        detections: for `evidence.froc.froc` at `CAMELYON16_RATES`.
        num_marks: on the slides that were read.
        ignored_on_isolated: marks on isolated tumour cells.
        ignored_double: further marks on a lesion that another mark has hit.
        num_isolated: lesions of isolated tumour cells, which do not count.
        unknown_slides: marks on slides that were not to be read.
    """

    detections: Detections
    num_marks: int
    ignored_on_isolated: int
    ignored_double: int
    num_isolated: int
    unknown_slides: int


@dataclass(frozen=True)
class SlideAuc:
    """How well slides with metastases are told from those without.

    Attributes:
        auc: of all slides.
        low, high: 95 % percentile interval over resampled slides; NaN without a bootstrap.
        num_tumour, num_normal: slides.
        num_bootstrap: resamples.
    """

    auc: float
    low: float
    high: float
    num_tumour: int
    num_normal: int
    num_bootstrap: int


def match_slide_marks(
    marks: pd.DataFrame, lesions: Mapping[str, Lesions | None]
) -> MatchedSlideMarks:
    """Matches the marks of every slide with its lesions.

    Args:
        marks: columns slide, x_um, y_um (of the slide's upper left corner) and probability.
        lesions: by slide, for every slide that was read; None for one without metastases. Slides
            whose annotations are not exhaustive, as test_114's, do not belong here.

    Raises:
        EvidenceError: a mark whose place or probability is no finite number.
    """
    _require_finite(marks)
    known = marks[marks["slide"].isin(lesions.keys())]
    marks_of = dict(tuple(known.groupby("slide", sort=False)))
    lesion_scores, lesion_slides, false_scores, false_slides = [], [], [], []
    on_isolated = double = num_isolated = 0
    for number, (slide, of_slide) in enumerate(lesions.items()):
        rows = marks_of.get(slide, known.iloc[:0])
        scores = rows["probability"].to_numpy(np.float64)
        hit = np.zeros(len(rows), np.int64)
        isolated = np.zeros(1, bool)  # lesion 0 is none
        if of_slide is not None:
            hit = of_slide.at(rows["x_um"].to_numpy(), rows["y_um"].to_numpy())
            isolated = np.concatenate([isolated, of_slide.isolated])
        best = np.full(len(isolated), -np.inf)
        np.maximum.at(best, hit, scores)
        counts = np.flatnonzero(~isolated)[1:]
        lesion_scores.append(best[counts])
        lesion_slides.append(np.full(len(counts), number))
        false_scores.append(scores[hit == 0])
        false_slides.append(np.full(int((hit == 0).sum()), number))
        num_isolated += int(isolated.sum())
        on_isolated += int(isolated[hit].sum())
        double += int(((hit > 0) & ~isolated[hit]).sum() - np.isfinite(best[counts]).sum())
    empty = [np.empty(0)]
    return MatchedSlideMarks(
        detections=Detections(
            lesion_scores=np.concatenate(lesion_scores or empty),
            lesion_scans=np.concatenate(lesion_slides or empty).astype(np.int64),
            false_scores=np.concatenate(false_scores or empty),
            false_scans=np.concatenate(false_slides or empty).astype(np.int64),
            num_scans=len(lesions),
        ),
        num_marks=len(known),
        ignored_on_isolated=on_isolated,
        ignored_double=double,
        num_isolated=num_isolated,
        unknown_slides=len(marks) - len(known),
    )


def slide_auc(
    scores: Mapping[str, float],
    labels: Mapping[str, int],
    *,
    num_bootstrap: int = 1000,
    seed: int = 0,
) -> SlideAuc:
    """The AUC over slides, with an interval over resampled slides.

    Args:
        scores: by slide, on any scale; for a network of patches its highest patch is usual.
        labels: by slide, 1 with metastases; just the slides that are to be scored.
        num_bootstrap: resamples of slides; 0 for no interval.
        seed: of the resampling.

    Raises:
        EvidenceError: a slide without a finite score, or one class only.
    """
    missing = [name for name in labels if not np.isfinite(scores.get(name, np.nan))]
    if missing:
        raise EvidenceError(
            f"{len(missing)} of {len(labels)} slides have no finite score, the first is "
            f"{missing[0]}; every slide needs one"
        )
    is_tumour = np.array([bool(label) for label in labels.values()], bool)
    if is_tumour.all() or not is_tumour.any():
        raise EvidenceError(
            f"an AUC needs slides of both classes; got {int(is_tumour.sum())} with metastases and "
            f"{int((~is_tumour).sum())} without"
        )
    vector = np.array([[scores[name] for name in labels]], np.float64)
    low = high = np.nan
    if num_bootstrap:
        weights = patient_weights(is_tumour, np.arange(len(is_tumour)), num_bootstrap, seed)
        samples = resampled_aucs(is_tumour, vector, weights)[0]
        low, high = np.quantile(samples, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return SlideAuc(
        auc=float(aucs(is_tumour, vector)[0]),
        low=float(low),
        high=float(high),
        num_tumour=int(is_tumour.sum()),
        num_normal=int((~is_tumour).sum()),
        num_bootstrap=num_bootstrap,
    )


def highest_patch_scores(slides: Sequence[str], scores: np.ndarray) -> dict[str, float]:
    """A slide's score from those of its patches: the highest, as in Liu et al. 2017.

    Args:
        slides: [num_patches] of each patch.
        scores: [num_patches].
    """
    frame = pd.DataFrame({"slide": list(slides), "score": np.asarray(scores, np.float64)})
    return {
        str(name): float(value) for name, value in frame.groupby("slide")["score"].max().items()
    }


def _require_finite(marks: pd.DataFrame) -> None:
    columns = ["x_um", "y_um", "probability"]
    values = marks[columns].to_numpy(np.float64)
    wrong = np.argwhere(~np.isfinite(values))
    if len(wrong):
        row, column = wrong[0]
        raise EvidenceError(
            f"mark {row + 1} (slide {marks['slide'].iloc[row]}): {columns[column]} is "
            f"{values[row, column]}; expected a finite number"
        )
