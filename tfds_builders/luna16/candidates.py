"""From the tables of a release to the examples of the dataset: which centres, and why not others.

Both classes take their centres from the candidates: were nodules centred on their annotations and
other structures on a detector's marks, the centring alone would tell the classes apart. For the
same reason the one candidate that stands for a nodule is chosen by a hash, not as the one nearest
to the annotation. Nothing here depends on the order of rows.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from mlp_med.errors import SourceError
from mlp_med.imaging.volume import VolumeHeader
from tfds_builders.hashing import digest_of
from tfds_builders.luna16.scans import Scan

CENTRE = ["x", "y", "z"]
ID_CHARACTERS = 16  # of the 32 of a digest
# The official evaluation reads an excluded finding without a diameter as one of 10 mm.
DEFAULT_EXCLUDED_DIAMETER_MM = 10.0
# Candidates are written to hundredths of a mm, which may put them just outside a nodule's radius.
ROUNDING_MM = 0.05
# Beyond this share of centres outside their scans, the coordinates are no world coordinates.
MAX_OUTSIDE_SHARE = 0.05


@dataclass
class Selection:
    """The examples, and how many candidates were left out for which reason.

    `examples` has the columns id, series, label (1 = nodule), x, y, z (mm, LPS), diameter_mm (of
    the nearest annotation; 0 for label 0), ordered by id.
    """

    examples: pd.DataFrame
    skipped: dict[str, int]


def example_id(series: str, centre_mm: Sequence[float]) -> str:
    """An id that depends on the series and the centre (to 0.1 µm) only."""
    return _digest(series, *centre_mm)[:ID_CHARACTERS]


def select_examples(
    candidates: pd.DataFrame,
    annotations: pd.DataFrame,
    excluded: pd.DataFrame,
    scans: dict[str, Scan],
    known_series: set[str] | None,
    negatives_per_positive: float,
) -> Selection:
    """Chooses one candidate a nodule, and non-nodules by a threshold on the hash of their ids.

    Args:
        candidates: columns series, x, y, z, class; others follow this table's columns as well.
        annotations: columns series, x, y, z, diameter_mm.
        excluded: columns series, x, y, z, diameter_mm; -1 is unknown.
        scans: those on disk.
        known_series: the release's own list, where there is one.
        negatives_per_positive: how many non-nodules a nodule, over the whole dataset.

    Raises:
        SourceError: one centre in both classes, or so many centres outside their scans that the
            coordinates must be wrong.
    """
    skipped: dict[str, int] = {}
    rows = _in_release(candidates, scans, known_series, skipped)
    rows = _without_duplicates(rows, skipped)
    rows = _inside_their_scans(rows, scans, skipped)
    rows = _match_nodules(rows, annotations, skipped)
    rows = _off_excluded_findings(rows, excluded, skipped)
    rows = _identified(rows)
    positives = _one_a_nodule(rows[rows["label"] == 1], skipped)
    negatives = _sample(rows[rows["label"] == 0], negatives_per_positive * len(positives), skipped)
    columns = ["id", "series", "label", *CENTRE, "diameter_mm"]
    examples = pd.concat([positives, negatives])[columns].sort_values("id", ignore_index=True)
    return Selection(examples, skipped)


def annotated_nodules(annotations: pd.DataFrame, scans: dict[str, Scan]) -> pd.DataFrame:
    """Nodules centred on their annotations: to look at where there are no candidates, only that."""
    rows = _inside_their_scans(_in_release(annotations, scans, None, {}), scans, {})
    return _identified(rows.assign(label=1)).sort_values("id", ignore_index=True)


def _digest(series: str, x: float, y: float, z: float) -> str:
    # Rounding and adding 0.0 makes a negative zero a zero.
    x, y, z = round(x, 4) + 0.0, round(y, 4) + 0.0, round(z, 4) + 0.0
    return digest_of([f"{series} {x:.4f} {y:.4f} {z:.4f}"])


def _identified(rows: pd.DataFrame) -> pd.DataFrame:
    """Adds `id`, and `rank`: the other half of the same hash, by which rows are chosen."""
    values = zip(rows["series"].tolist(), *rows[CENTRE].to_numpy().T.tolist(), strict=True)
    digests = [_digest(*value) for value in values]
    return rows.assign(
        id=[digest[:ID_CHARACTERS] for digest in digests],
        rank=[digest[ID_CHARACTERS:] for digest in digests],
    )


def _in_release(
    rows: pd.DataFrame,
    scans: dict[str, Scan],
    known_series: set[str] | None,
    skipped: dict[str, int],
) -> pd.DataFrame:
    known = rows["series"].isin(known_series) if known_series else pd.Series(True, rows.index)
    present = rows["series"].isin(set(scans))
    skipped["candidates of a series that seriesuids.csv does not list"] = int((~known).sum())
    skipped["candidates of a series without a file"] = int((known & ~present).sum())
    return rows[known & present].reset_index(drop=True)


def _without_duplicates(rows: pd.DataFrame, skipped: dict[str, int]) -> pd.DataFrame:
    place = rows[["series"]].join(rows[CENTRE].round(4) + 0.0)
    once = rows[~place.assign(label=rows["class"]).duplicated()]
    skipped["duplicate candidates"] = len(rows) - len(once)
    contradicted = place.loc[once.index].duplicated()
    if contradicted.any():
        row = once.loc[contradicted.idxmax()]
        raise SourceError(
            f"the candidates give the centre {row['x']:g}, {row['y']:g}, {row['z']:g} of series "
            f"{row['series']} both classes; keep one"
        )
    return once.rename(columns={"class": "label"}).astype({"label": int})


def _inside_their_scans(
    rows: pd.DataFrame, scans: dict[str, Scan], skipped: dict[str, int]
) -> pd.DataFrame:
    inside = np.zeros(len(rows), dtype=bool)
    for series, positions, centres in _each_series(rows):
        inside[positions] = _contains(scans[series].header, centres)
    num_outside = int((~inside).sum())
    skipped["candidates whose centre lies outside the scan"] = num_outside
    if num_outside > MAX_OUTSIDE_SHARE * len(rows):
        first = rows[~inside].iloc[0]
        raise SourceError(
            f"{num_outside} of {len(rows)} centres lie outside their scans, the first at "
            f"{first['x']:g}, {first['y']:g}, {first['z']:g} in series {first['series']}; expected "
            "world coordinates in mm (LPS), as in the .mhd files"
        )
    return rows[inside]


def _contains(header: VolumeHeader, centres_mm: np.ndarray) -> np.ndarray:
    """Which of the centres [n, 3] lie within a voxel of the scan; as `imaging.volume.contains`."""
    offsets = (centres_mm - header.origin_mm).T
    index = np.linalg.solve(header.direction, offsets).T / header.spacing_mm
    return ((index >= -0.5) & (index <= np.array(header.size) - 0.5)).all(axis=1)


def _each_series(rows: pd.DataFrame) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Each series with the positions of its rows and their centres [n, 3]."""
    centres = rows[CENTRE].to_numpy()
    for series, positions in rows.groupby("series").indices.items():
        yield series, positions, centres[positions]


def _findings(table: pd.DataFrame) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """By series: centres [n, 3] and diameters [n] in mm; the order of rows does not count."""
    ordered = table.sort_values([*CENTRE, "diameter_mm"])
    diameters = ordered["diameter_mm"].to_numpy()
    return {
        series: (centres, diameters[positions])
        for series, positions, centres in _each_series(ordered)
    }


def _distances(centres: np.ndarray, findings: np.ndarray) -> np.ndarray:
    """Distance in mm of every centre to every finding, [centres, findings]."""
    return np.linalg.norm(centres[:, None, :] - findings[None, :, :], axis=2)


def _match_nodules(
    rows: pd.DataFrame, annotations: pd.DataFrame, skipped: dict[str, int]
) -> pd.DataFrame:
    """Adds `nodule` (a key; "" for none) and `diameter_mm`; drops labels the annotations deny."""
    nodules = _findings(annotations)
    nodule = np.full(len(rows), "", dtype=object)
    diameter = np.zeros(len(rows))
    for series, positions, centres in _each_series(rows):
        if series not in nodules:
            continue
        found, diameters = nodules[series]
        distances = _distances(centres, found)
        distances[distances > diameters / 2 + ROUNDING_MM] = np.inf
        nearest = distances.argmin(axis=1)
        hit = np.isfinite(distances.min(axis=1))
        diameter[positions[hit]] = diameters[nearest[hit]]
        nodule[positions[hit]] = [f"{series} {number}" for number in nearest[hit]]
    is_positive, hits = (rows["label"] == 1).to_numpy(), nodule != ""
    skipped["nodule candidates that hit no annotation"] = int((is_positive & ~hits).sum())
    skipped["non-nodule candidates that lie on a nodule"] = int((~is_positive & hits).sum())
    return rows.assign(nodule=nodule, diameter_mm=diameter)[is_positive == hits]


def _off_excluded_findings(
    rows: pd.DataFrame, excluded: pd.DataFrame, skipped: dict[str, int]
) -> pd.DataFrame:
    findings = _findings(excluded)
    on_excluded = np.zeros(len(rows), dtype=bool)
    for series, positions, centres in _each_series(rows):
        if series not in findings:
            continue
        found, diameters = findings[series]
        radii = np.where(diameters < 0, DEFAULT_EXCLUDED_DIAMETER_MM, diameters) / 2
        on_excluded[positions] = (_distances(centres, found) <= radii + ROUNDING_MM).any(axis=1)
    on_excluded &= (rows["label"] == 0).to_numpy()
    skipped["non-nodule candidates on an excluded finding"] = int(on_excluded.sum())
    return rows[~on_excluded]


def _one_a_nodule(positives: pd.DataFrame, skipped: dict[str, int]) -> pd.DataFrame:
    chosen = positives.sort_values("rank").drop_duplicates("nodule")
    skipped["further candidates of a nodule"] = len(positives) - len(chosen)
    return chosen


def _sample(negatives: pd.DataFrame, number: float, skipped: dict[str, int]) -> pd.DataFrame:
    """Keeps the `number` lowest hashes: a threshold on the hash, set once for the whole dataset."""
    chosen = negatives.sort_values("rank").head(round(number))
    skipped["non-nodule candidates not sampled"] = len(negatives) - len(chosen)
    return chosen
