"""The tables beside a verdict: one row an arm, effects by stratum, the slope per octave."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import sqrt
from typing import Any

import numpy as np
import pandas as pd
from pandas.api.types import is_numeric_dtype

from mlp_med.errors import EvidenceError
from mlp_med.evidence.contrast import ArmEstimate, Contrast, compare_arms, estimate_arm
from mlp_med.evidence.predictions import check_paired, scored_cases


@dataclass(frozen=True)
class ArmRow:
    """One arm in the study's table.

    Attributes:
        arm: its name.
        resolution: mm per voxel (µm per pixel) of the information in its crops.
        control: "none" or "information".
        estimate: AUC a seed, their mean, and the interval over patients and seeds.
        standard_error: sample standard error of the mean over seeds alone; None with one seed.
        num_seeds: n, the finished cells.
        seconds: mean over the cells; None where unknown.
        peak_memory_bytes: the largest of the cells; None where unknown.
    """

    arm: str
    resolution: float
    control: str
    estimate: ArmEstimate
    standard_error: float | None
    num_seeds: int
    seconds: float | None
    peak_memory_bytes: int | None

    def to_dict(self) -> dict[str, Any]:
        """The row of verdict.json."""
        return {
            "arm": self.arm,
            "resolution": self.resolution,
            "control": self.control,
            "mean": self.estimate.mean_auc,
            "standard_error": self.standard_error,
            "n": self.num_seeds,
            "seconds": self.seconds,
            "peak_memory_bytes": self.peak_memory_bytes,
        }


FEW_VALUES = 4  # of a column: so many are strata themselves, and are not binned


@dataclass(frozen=True)
class Stratum:
    """Some of the values of a column.

    Attributes:
        low, high: it holds low ≤ value < high, and `high` itself if it `ends` there; NaN where the
            column is of words.
        ends: see there.
        word: that all its cases have in a column of words, such as "mass"; else None.
    """

    low: float = np.nan
    high: float = np.nan
    ends: bool = False
    word: str | None = None

    def holds(self, values: pd.Series) -> pd.Series:
        """Which of the values it holds."""
        if self.word is not None:
            return values == self.word
        below = values <= self.high if self.ends else values < self.high
        return (values >= self.low) & below


@dataclass(frozen=True)
class StratumEffect:
    """The contrast among the cases of one stratum.

    Attributes:
        column: what the strata are of, such as native_spacing_mm.
        stratum: of its values.
        num_cases: of the column's cases in the stratum.
        contrast: None where the stratum holds too few patients or one class.
    """

    column: str
    stratum: Stratum
    num_cases: int
    contrast: Contrast | None


def with_effect(effects: Sequence[StratumEffect]) -> list[StratumEffect]:
    """Those of the strata that hold enough for one."""
    return [effect for effect in effects if effect.contrast is not None]


def are_several_words(effects: Sequence[StratumEffect]) -> bool:
    """Whether more than two strata have an effect, and none of them is first or last."""
    usable = with_effect(effects)
    return len(usable) > 2 and usable[0].stratum.word is not None


def arm_row(
    arm: str,
    resolution: float,
    control: str,
    predictions: pd.DataFrame,
    *,
    seconds: Sequence[float] = (),
    peak_memory_bytes: Sequence[int] = (),
    num_bootstrap: int = 2000,
    seed: int,
) -> ArmRow:
    """Summarises an arm from its finished cells.

    Args:
        arm: its name.
        resolution: mm per voxel (µm per pixel).
        control: "none" or "information".
        predictions: table of all its seeds.
        seconds: one a finished cell; non-finite ones are left out.
        peak_memory_bytes: likewise.
        num_bootstrap: resamples of the patients.
        seed: of the resampling.
    """
    estimate = estimate_arm(predictions, num_bootstrap=num_bootstrap, seed=seed)
    times = [value for value in seconds if np.isfinite(value)]
    peaks = [value for value in peak_memory_bytes if np.isfinite(value)]
    number = len(estimate.aucs)
    spread = float(np.std(estimate.aucs, ddof=1)) / sqrt(number) if number > 1 else None
    return ArmRow(
        arm=arm,
        resolution=resolution,
        control=control,
        estimate=estimate,
        standard_error=spread,
        num_seeds=number,
        seconds=float(np.mean(times)) if times else None,
        peak_memory_bytes=int(max(peaks)) if peaks else None,
    )


def effect_by_stratum(
    a: pd.DataFrame,
    b: pd.DataFrame,
    column: str,
    *,
    edges: Sequence[float] | None = None,
    num_quantiles: int = 3,
    positives_only: bool = False,
    num_bootstrap: int = 2000,
    seed: int,
) -> list[StratumEffect]:
    """The effect within bins of a column, each with its interval; descriptive, not corrected.

    Args:
        a: predictions table with that column: words, of which each is a stratum, or numbers, which
            are binned, or a stratum each where they are `FEW_VALUES`.
        b: that of the other arm.
        column: such as native_spacing_mm (a property of every case), or diameter_mm.
        edges: ascending bin edges; quantiles of the cases where None.
        num_quantiles: how many bins then; equal quantiles are merged.
        positives_only: the column describes positives only (a nodule's diameter): each stratum's
            positives are then set against all negatives.
        num_bootstrap: resamples of the patients.
        seed: of the resampling.

    Raises:
        EvidenceError: the column is missing, not finite or an empty word, or the arms do not fit
            together.
    """
    check_paired(scored_cases(a), scored_cases(b))
    if positives_only and a["label"].max() > 1:
        raise EvidenceError(f"{column!r} describes positive cases, of which two classes have one.")
    cases = _stratified_cases(a, b, column, positives_only)
    kept_always = a.loc[a["label"] == 0, "id"] if positives_only else a["id"].iloc[:0]

    def contrast(inside: pd.Series) -> Contrast | None:
        chosen = pd.concat([cases.loc[inside, "id"], kept_always])
        try:
            return compare_arms(
                a[a["id"].isin(chosen)],
                b[b["id"].isin(chosen)],
                num_bootstrap=num_bootstrap,
                seed=seed,
            )
        except EvidenceError:  # too few of a class here: the tables as a whole fit together
            return None

    effects = []
    for stratum in _strata(cases[column], edges, num_quantiles):
        inside = stratum.holds(cases[column])
        effects.append(StratumEffect(column, stratum, int(inside.sum()), contrast(inside)))
    return effects


def _strata(values: pd.Series, edges: Sequence[float] | None, num_quantiles: int) -> list[Stratum]:
    if not is_numeric_dtype(values):
        return [Stratum(word=str(word)) for word in sorted(values.unique())]
    distinct = np.unique(values.to_numpy(np.float64)).tolist()
    if edges is None and len(distinct) <= FEW_VALUES:
        return [Stratum(value, value, ends=True) for value in distinct]
    if edges is None:
        edges = np.quantile(values, np.linspace(0, 1, num_quantiles + 1)).tolist()
    bounds = np.unique(np.asarray(edges, np.float64)).tolist()
    return [Stratum(low, high, ends=high == bounds[-1]) for low, high in pairwise(bounds)]


def slope_per_octave(aucs: Mapping[float, Sequence[float]]) -> float | None:
    """Change of AUC for each doubling of the voxel, by least squares over all seeds; descriptive.

    Args:
        aucs: by resolution (mm per voxel), the AUC of each seed of the native arm.

    Returns:
        None with fewer than two resolutions.
    """
    octaves = np.concatenate([np.full(len(values), np.log2(r)) for r, values in aucs.items()])
    if len(np.unique(octaves)) < 2:
        return None
    values = np.concatenate([np.asarray(v, np.float64) for v in aucs.values()])
    return float(np.polyfit(octaves, values, 1)[0])


def _stratified_cases(
    a: pd.DataFrame, b: pd.DataFrame, column: str, positives_only: bool
) -> pd.DataFrame:
    for table in (a, b):
        if column not in table.columns:
            raise EvidenceError(
                f"The predictions have no column {column!r} to make strata of; present: "
                f"{', '.join(map(str, table.columns))}."
            )
    cases = a.drop_duplicates("id")
    if positives_only:
        cases = cases[cases["label"] == 1]
    described = cases[column]
    known = np.isfinite(described) if is_numeric_dtype(described) else described.fillna("") != ""
    if cases.empty or not known.all():
        raise EvidenceError(
            f"Column {column!r} must be finite, or a word, for every case that it describes."
        )
    return cases[["id", column]]
