"""The primary effect broken down by properties of the cases: computed, and as rows and a figure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd
from matplotlib.figure import Figure

from mlp_med.errors import EvidenceError
from mlp_med.evidence.interaction import Interaction, interaction
from mlp_med.evidence.table import StratumEffect, effect_by_stratum
from mlp_med.reports import formatting as f
from mlp_med.reports.figures import draw_forest

BOOTSTRAP_SEED = 0  # the same predictions give the same report, digit for digit
NAMES = {
    "native_spacing_mm": "coarsest native axis, mm",
    "diameter_mm": "lesion diameter, mm",
    "density": "breast density, BI-RADS 1 to 4",
}
NOT_TOLD: Mapping[str, Sequence[float]] = {"density": [0]}  # of cases of which nobody knows it


@dataclass(frozen=True)
class Strata:
    """An effect by the properties of cases.

    Attributes:
        effects: by what the strata are of.
        interactions: the effect in the first stratum minus that in the last, where it can be told.
        notes: what could not be computed, and why.
    """

    effects: Mapping[str, Sequence[StratumEffect]]
    interactions: Sequence[Interaction]
    notes: Sequence[str]


def break_down(a: pd.DataFrame, b: pd.DataFrame, columns: Mapping[str, bool]) -> Strata:
    """The effect, the AUC of arm a minus that of arm b, by each column that both have.

    Args:
        a: predictions table of one arm, all its seeds.
        b: that of the other.
        columns: names, and whether each describes positive cases only (a nodule has a diameter, a
            vessel crossing none).
    """
    effects: dict[str, Sequence[StratumEffect]] = {}
    interactions, notes = [], []
    for column, positives_only in columns.items():
        if column not in a or column not in b:
            continue
        unknown = NOT_TOLD.get(column, [])
        first, second = (table[~table[column].isin(unknown)] for table in (a, b))
        try:
            found = effect_by_stratum(
                first, second, column, positives_only=positives_only, seed=BOOTSTRAP_SEED
            )
        except EvidenceError as error:
            notes.append(f"No effect by {column}: {error}")
            continue
        if len(found) == 1 and not positives_only:  # of all cases: the primary effect once more
            continue
        effects[column] = found
        tested = interaction(
            first, second, found, positives_only=positives_only, seed=BOOTSTRAP_SEED
        )
        interactions += [] if tested is None else [tested]
    return Strata(effects, interactions, notes)


def stratum_rows(strata: Strata) -> list[list[str]]:
    """A row of the page's table for each stratum."""
    return [
        [
            NAMES.get(column, column),
            _range(effect, effects),
            f.count(effect.num_cases),
            f.difference(effect.contrast.effect if effect.contrast else None),
            f.interval(effect.contrast.ci_low, effect.contrast.ci_high, signed=True)
            if effect.contrast
            else "too few cases of a class",
        ]
        for column, effects in strata.effects.items()
        for effect in effects
    ]


def interaction_rows(strata: Strata) -> list[list[str]]:
    """A row of the page's table for each test for interaction."""
    return [
        [
            NAMES.get(found.column, found.column),
            " minus ".join(
                _range(strata.effects[found.column][end], strata.effects[found.column])
                for end in (0, -1)
            ),
            f.difference(found.difference),
            f.interval(found.ci_low, found.ci_high, signed=True),
            f.p_value(found.p_value),
        ]
        for found in strata.interactions
    ]


def draw_strata(strata: Strata, *, margin: float, where: str, metric: str) -> Figure | None:
    """The effects with their intervals; None where there is none.

    Args:
        strata: what to draw.
        margin: of the claim.
        where: dataset, for the title.
        metric: in words.
    """
    rows = pd.DataFrame(
        {
            "label": f"{NAMES.get(column, column)}: {_range(effect, effects)}",
            "effect": effect.contrast.effect,
            "ci_low": effect.contrast.ci_low,
            "ci_high": effect.contrast.ci_high,
            "primary": False,
        }
        for column, effects in strata.effects.items()
        for effect in effects
        if effect.contrast is not None
    )
    if not len(rows):
        return None
    rows = rows.astype({"effect": float, "ci_low": float, "ci_high": float})
    return draw_forest(
        rows, margin=margin, title=f"Primary effect by stratum, {where}", metric=metric
    )


def _range(effect: StratumEffect, effects: Sequence[StratumEffect]) -> str:
    """Which of the column's values a stratum holds: it is one of `effects`, in their order."""
    if effect.word is not None:
        return effect.word
    return f.value_range(effect.low, effect.high, ends=effect is effects[-1])
