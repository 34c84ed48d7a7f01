"""The primary effect broken down by properties of the cases: computed, and as rows and a figure."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from math import sqrt
from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from scipy.special import stdtrit

from mlp_med.errors import EvidenceError
from mlp_med.evidence.contrast import Contrast
from mlp_med.evidence.heterogeneity import (
    FEWEST_PATIENTS,
    Heterogeneity,
    heterogeneity,
    is_large,
)
from mlp_med.evidence.interaction import Interaction, interaction
from mlp_med.evidence.table import (
    Stratum,
    StratumEffect,
    are_several_words,
    effect_by_stratum,
    with_effect,
)
from mlp_med.evidence.variance import CONFIDENCE
from mlp_med.reports import formatting as f
from mlp_med.reports.figures import draw_forest

BOOTSTRAP_SEED = 0  # the same predictions give the same report, digit for digit


@dataclass(frozen=True)
class Property:
    """What is known of the cases, and can break an effect down.

    Attributes:
        label: in words.
        positives_only: it describes positive cases only (a nodule has a diameter, a vessel crossing
            none).
        unknown: the value of cases that it does not describe, or of which nobody knows it.
    """

    label: str
    positives_only: bool = False
    unknown: float | str | None = None


@dataclass(frozen=True)
class Strata:
    """An effect by the properties of cases.

    Attributes:
        properties: by column of the predictions, those that there are effects of.
        effects: by column.
        interactions: the effect in one stratum minus that in another, where it can be told.
        heterogeneities: whether it differs among more than two words, where it can be told.
        notes: what could not be computed, and why.
    """

    properties: Mapping[str, Property]
    effects: Mapping[str, Sequence[StratumEffect]]
    interactions: Sequence[Interaction]
    heterogeneities: Sequence[Heterogeneity]
    notes: Sequence[str]

    @property
    def tested(self) -> set[str]:
        """Columns by which the effect was tested to differ."""
        tests: list[Interaction | Heterogeneity] = [*self.interactions, *self.heterogeneities]
        return {found.column for found in tests}

    @property
    def of_positives(self) -> list[str]:
        """Labels of the properties that describe positive cases only."""
        return [found.label for found in self.properties.values() if found.positives_only]

    def to_dict(self) -> dict[str, Any]:
        """Of verdict.json."""
        return {
            "strata": [
                {
                    "column": column,
                    **_values(effect.stratum),
                    "n_cases": effect.num_cases,
                    **effect_to_dict(effect),
                }
                for column, effects in self.effects.items()
                for effect in effects
            ],
            "interactions": [interaction_to_dict(found) for found in self.interactions],
            "heterogeneities": [
                {**asdict(found), "strata": [_values(stratum) for stratum in found.strata]}
                for found in self.heterogeneities
            ],
        }


def effect_to_dict(effect: StratumEffect) -> dict[str, float | None]:
    """Of verdict.json: the effect and its interval, None where there is none."""
    contrast = effect.contrast
    return {
        "effect": contrast.effect if contrast else None,
        "ci_low": contrast.ci_low if contrast else None,
        "ci_high": contrast.ci_high if contrast else None,
    }


def interaction_to_dict(found: Interaction) -> dict[str, Any]:
    """Of verdict.json."""
    return {**asdict(found), "first": _values(found.first), "last": _values(found.last)}


def break_down(a: pd.DataFrame, b: pd.DataFrame, properties: Mapping[str, Property]) -> Strata:
    """The effect, the AUC of arm a minus that of arm b, by each column that both have.

    Args:
        a: predictions table of one arm, all its seeds.
        b: that of the other.
        properties: by column.
    """
    used: dict[str, Property] = {}
    effects: dict[str, Sequence[StratumEffect]] = {}
    interactions: list[Interaction] = []
    heterogeneities: list[Heterogeneity] = []
    notes = []
    for column, of in properties.items():
        if column not in a or column not in b:
            continue
        of = _as_found(a, column, of)
        first, second = (_known(table, column, of) for table in (a, b))
        if first.empty:  # of no case it is known
            continue
        if left_out := a["id"].nunique() - first["id"].nunique():
            notes.append(
                f"Of {left_out} cases the {of.label} is not known; they are in no stratum of it."
            )
        of_cases: dict[str, Any] = {"positives_only": of.positives_only, "seed": BOOTSTRAP_SEED}
        try:
            found = effect_by_stratum(first, second, column, **of_cases)
        except EvidenceError as error:
            notes.append(f"No effect by {of.label}: {error}")
            continue
        if len(found) == 1:  # the primary effect once more
            continue
        effects[column] = found
        used[column] = of
        if not are_several_words(found):
            between = interaction(first, second, found, **of_cases)
            interactions += [] if between is None else [between]
            continue
        if (among := heterogeneity(first, second, found, **of_cases)) is not None:
            heterogeneities.append(among)
            notes += _left_out_of_test(found, of)
    return Strata(used, effects, interactions, heterogeneities, notes)


def _left_out_of_test(effects: Sequence[StratumEffect], of: Property) -> list[str]:
    words = [str(e.stratum.word) for e in with_effect(effects) if not is_large(e)]
    if not words:
        return []
    return [
        f"Whether the effect differs by {of.label} was tested without {', '.join(words)}: fewer "
        f"than {FEWEST_PATIENTS} patients of a class."
    ]


def _as_found(table: pd.DataFrame, column: str, of: Property) -> Property:
    """The property, of positives only where just all cases of label 0 lack it, as a lesion's."""
    unknown = table[column] == of.unknown
    lacking = set(table.loc[unknown, "label"]), set(table.loc[~unknown, "label"])
    return replace(of, positives_only=True) if lacking == ({0}, {1}) else of


def _known(table: pd.DataFrame, column: str, of: Property) -> pd.DataFrame:
    known = table[column] != of.unknown
    return table[known | (table["label"] == 0)] if of.positives_only else table[known]


def stratum_rows(strata: Strata) -> list[list[str]]:
    """A row of the page's table for each stratum."""
    return [
        [
            strata.properties[column].label,
            _range(effect.stratum),
            f.count(effect.num_cases),
            f.difference(effect.contrast.effect if effect.contrast else None),
            _interval(effect.contrast),
        ]
        for column, effects in strata.effects.items()
        for effect in effects
    ]


def interaction_rows(strata: Strata) -> list[list[str]]:
    """A row of the page's table for each test for interaction."""
    return [
        [
            strata.properties[found.column].label,
            f"{_range(found.first)} minus {_range(found.last)}",
            f.difference(found.difference),
            f.interval(found.ci_low, found.ci_high, signed=True),
            f.p_value(found.p_value),
        ]
        for found in strata.interactions
    ] + [
        [
            strata.properties[found.column].label,
            _among(found),
            f.difference(None),
            f.interval(None, None),
            f.p_value(found.p_value),
        ]
        for found in strata.heterogeneities
    ]


def _among(found: Heterogeneity) -> str:
    above, below = map(f.degrees_of_freedom, found.degrees_of_freedom)
    names = ", ".join(map(_range, found.strata))
    return f"among {names}: F {found.statistic:.2f} on {above} and {below} degrees of freedom"


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
            "label": f"{strata.properties[column].label}: {_range(effect.stratum)}",
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
    return draw_forest(
        rows, margin=margin, title=f"Primary effect by stratum, {where}", metric=metric
    )


def patients_only(contrast: Contrast) -> tuple[float, float] | None:
    """The 95 % interval over patients, the models held fixed; None where seeds allow a better."""
    if contrast.standard_error is not None or not contrast.case_variance:
        return None
    quantile = float(stdtrit(contrast.patient_degrees_of_freedom, (1 + CONFIDENCE) / 2))
    reach = quantile * sqrt(contrast.case_variance)
    return contrast.effect - reach, contrast.effect + reach


def _interval(contrast: Contrast | None) -> str:
    if contrast is None:
        return "too few cases of a class"
    if held_fixed := patients_only(contrast):
        return f"{f.interval(*held_fixed, signed=True)}, patients alone"
    return f.interval(contrast.ci_low, contrast.ci_high, signed=True)


def _values(stratum: Stratum) -> dict[str, Any]:
    if stratum.word is not None:
        return {"word": stratum.word}
    return {"low": stratum.low, "high": stratum.high}


def _range(stratum: Stratum) -> str:
    if stratum.word is not None:
        return stratum.word
    return f.value_range(stratum.low, stratum.high, ends=stratum.ends)
