"""From LUNA16's candidates to fields whose nodules lie anywhere in them.

A field's centre is displaced from its candidate by an offset drawn from a hash of the candidate's
id: by the same rule for nodules and non-nodules, before the field's label is known. The label is
then the field's own, whatever its candidate was.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from mlp_med.imaging.lesion_tiles import tiles_with_lesion
from mlp_med.imaging.volume import contains
from tfds_builders.hashing import hash_fraction
from tfds_builders.luna16.candidates import CENTRE, example_id
from tfds_builders.luna16.scans import Scan
from tfds_builders.luna16.survey import EXTENT_MM

# A candidate stays 6 mm off the border of its field, so more than the shift of an augmentation.
LARGEST_OFFSET_MM = 14.0
MOST_LESIONS = 16  # that an example has room for


@dataclass
class Fields:
    """Fields, their lesions, and how many were left out for which reason.

    Attributes:
        examples: as those of `luna16.candidates.Selection`, with the field's centre, label, id and
            the largest diameter of a nodule whose centre lies in it.
        lesions_mm: by id, float32 [MOST_LESIONS, 4]: every nodule that has part in the field, as z,
            y, x from the field's centre and diameter; below them zeros.
        skipped: number left out, by reason.
    """

    examples: pd.DataFrame
    lesions_mm: Mapping[str, np.ndarray]
    skipped: Mapping[str, int]


def displaced_fields(
    candidates: pd.DataFrame, annotations: pd.DataFrame, scans: Mapping[str, Scan]
) -> Fields:
    """Displaces the candidates and labels the fields by the nodules in them.

    A field with the centre of a nodule has label 1, one that no nodule reaches has label 0, and one
    that a nodule only reaches into is left out: it is neither.

    Args:
        candidates: examples of `luna16.candidates.Selection`.
        annotations: columns series, x, y, z, diameter_mm.
        scans: by series.
    """
    nodules = dict(list(annotations.groupby("series")))
    outside = reached = crowded = 0
    rows, lesions = [], {}
    for candidate in candidates.itertuples():
        centre = np.array([candidate.x, candidate.y, candidate.z]) + offset_mm(candidate.id)
        if not contains(scans[candidate.series].header, centre):
            outside += 1
            continue
        here = lesions_of(centre, nodules.get(candidate.series))
        inside = (np.abs(here[:, :3]) <= EXTENT_MM / 2).all(axis=1)
        if len(here) > MOST_LESIONS:
            crowded += 1
        elif len(here) and not inside.any():
            reached += 1
        else:
            name = example_id(candidate.series, centre.tolist())
            lesions[name] = np.zeros((MOST_LESIONS, 4), np.float32)
            lesions[name][: len(here)] = here
            label, diameter = int(inside.any()), here[inside, 3].max(initial=0.0)
            rows.append((name, candidate.series, label, *centre.tolist(), diameter))
    columns = ["id", "series", "label", *CENTRE, "diameter_mm"]
    examples = pd.DataFrame(rows, columns=columns).sort_values("id", ignore_index=True)
    skipped = {
        "fields whose centre lies outside the scan": outside,
        "fields that a nodule only reaches into": reached,
        f"fields of more than {MOST_LESIONS} nodules": crowded,
    }
    return Fields(examples, lesions, skipped)


def offset_mm(candidate_id: str) -> np.ndarray:
    """How far a field's centre lies from its candidate: x, y, z, each uniform."""
    drawn = [hash_fraction(candidate_id, f"field offset {axis}") for axis in "xyz"]
    return LARGEST_OFFSET_MM * (2 * np.array(drawn) - 1)


def lesions_of(centre_mm: Sequence[float] | np.ndarray, nodules: pd.DataFrame | None) -> np.ndarray:
    """The nodules that have part in a field, float64 [n, 4]: z, y, x from its centre, diameter.

    Args:
        centre_mm: of the field, x, y, z.
        nodules: columns x, y, z, diameter_mm, of the field's scan; None for none.
    """
    if nodules is None:
        return np.zeros((0, 4))
    ordered = nodules.sort_values([*CENTRE, "diameter_mm"])
    offsets = (ordered[CENTRE].to_numpy() - np.asarray(centre_mm))[:, ::-1]
    found = np.column_stack([offsets, ordered["diameter_mm"].to_numpy()])
    # As stored: whether a nodule has part in the field must not hang on a later rounding.
    found = found.astype(np.float32).astype(np.float64)
    return found[tiles_with_lesion(found[:, None], 1, [EXTENT_MM] * 3)[:, 0]]
