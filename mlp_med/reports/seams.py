"""What borders between tiles cost: the effect among lesions that are cut, and among the others."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mlp_med.errors import EvidenceError
from mlp_med.evidence.claim import Claim
from mlp_med.evidence.interaction import Interaction, interaction
from mlp_med.evidence.table import StratumEffect, effect_by_stratum
from mlp_med.reports.strata import effect_to_dict, interaction_to_dict
from mlp_med.reports.study_data import StudyData

COLUMN = "uncut_by_{split}_tiles"  # of the predictions: 1 where a lesion lies in one tile alone
EDGES = (0.0, 0.5, 1.0)


@dataclass(frozen=True)
class Seam:
    """The effect of whole images against tiles, by whether a border of the tiles cuts the lesions.

    Attributes:
        arms: the whole image's, and the tiles'.
        split: tiles along each axis.
        cut, uncut: the effect among positives all of whose lesions are cut, and among the others,
            each against all negatives.
        interaction: the first minus the second; None where it cannot be told.
    """

    arms: tuple[str, str]
    split: int
    cut: StratumEffect
    uncut: StratumEffect
    interaction: Interaction | None

    def to_dict(self) -> dict[str, Any]:
        """Of verdict.json."""
        found = self.interaction
        return {
            "arms": list(self.arms),
            "split": self.split,
            "cut": _stratum_to_dict(self.cut),
            "uncut": _stratum_to_dict(self.uncut),
            "interaction": interaction_to_dict(found) if found else None,
        }


def find_seams(claim: Claim, data: StudyData, *, seed: int) -> Sequence[Seam]:
    """Of every contrast of the claim between whole images and tiles whose cases tell of borders.

    Args:
        claim: its primary and secondary contrasts.
        data: the study's done cells.
        seed: of the resampling.
    """
    splits = {str(arm): int(cells["split"].iloc[0]) for arm, cells in data.cells.groupby("arm")}
    pairs = dict.fromkeys([claim.primary, *claim.secondary.values()])
    found = [
        _seam(pair, splits[pair[1]], data, seed)
        for pair in pairs
        if splits.get(pair[0]) == 1 and splits.get(pair[1], 1) > 1
    ]
    return [seam for seam in found if seam is not None]


def _seam(arms: tuple[str, str], split: int, data: StudyData, seed: int) -> Seam | None:
    if any(arm not in data.predictions for arm in arms):
        return None
    a, b = (data.predictions[arm] for arm in arms)
    column = COLUMN.format(split=split)
    if column not in a or column not in b:
        return None
    try:
        strata = effect_by_stratum(a, b, column, edges=EDGES, positives_only=True, seed=seed)
        found = interaction(a, b, strata, positives_only=True, seed=seed)
    except EvidenceError:  # too few cases to resample; the claims say so
        return None
    return Seam(arms, split, strata[0], strata[1], found)


def _stratum_to_dict(stratum: StratumEffect) -> dict[str, Any]:
    return {"num_cases": stratum.num_cases, **effect_to_dict(stratum)}
