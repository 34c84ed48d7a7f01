"""Contact sheets of a source and of a built dataset: what the studies' networks see."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import tfds_builders
from mlp_med.pipelines.arrays import load_split
from mlp_med.pipelines.datasets import DatasetDescription, describe
from mlp_med.reports.contact_sheet import ContactCase, draw_contact_sheet, save_contact_sheet

FOUR_VIEWS = 4  # channels


def draw_source(dataset: str, source: Path, out: Path, *, num_cases: int, **options: Any) -> None:
    """Draws crops of a source at every resolution, rendered in memory; nothing is built.

    Args:
        dataset: name of the dataset.
        source: directory of the release.
        out: PNG file to write.
        num_cases: rows.
        **options: of the builder, for a dataset that has any.

    Raises:
        SourceError: the source has problems.
    """
    description = describe(dataset, source=source, **options)
    options.pop("intensity_window", None)
    cases = tfds_builders.DATASETS[dataset].preview(source, num_cases, **options)
    resolutions = {f"{r:g}{description.unit}": r for r in description.resolutions}
    rows = [
        row
        for case in cases
        for row in _rows(
            case.label,
            {resolutions[name]: crop for name, crop in case.crops.items()},
            description,
        )
    ]
    phantom = tfds_builders.DATASETS[dataset].check(source, **options).phantom
    _save(description, rows, f"{dataset}: {source.name}", phantom, out)


def draw_built(
    dataset: str, data_dir: Path, resolutions: Sequence[float], out: Path, *, num_per_class: int = 3
) -> None:
    """Draws test crops of a built dataset, as many of each class, at the resolutions asked for.

    Args:
        dataset: name of the dataset.
        data_dir: TFDS's data directory.
        resolutions: columns.
        out: PNG file to write.
        num_per_class: rows of each class; the first ones by id.

    Raises:
        DatasetError: a resolution is not built.
    """
    splits = {r: load_split(dataset, data_dir, r, "test") for r in sorted(set(resolutions))}
    first = next(iter(splits.values()))
    description = describe(dataset, data_dir)
    names = description.class_names
    classes = reversed(range(description.num_classes))
    chosen = np.concatenate([np.flatnonzero(first.labels == k)[:num_per_class] for k in classes])
    rows = []
    for index in chosen:
        diameter = first.strata.get("diameter_mm", np.zeros(len(first)))[index]
        caption = names[first.labels[index]] + (f", {diameter:.1f} mm" if diameter else "")
        rows += _rows(caption, {r: split.images[index] for r, split in splits.items()}, description)
    _save(description, rows, f"{dataset}: crops of the test split", first.phantom, out)


def _is_exam(description: DatasetDescription) -> bool:
    return description.num_channels == FOUR_VIEWS


def _side_by_side(exam: np.ndarray) -> np.ndarray:
    """[rows, columns, 4] → [2 rows, 2 columns, 1]."""
    rows = [np.concatenate([exam[..., k], exam[..., k + 1]], axis=1) for k in (0, 2)]
    return np.concatenate(rows, axis=0)[..., np.newaxis]


def _save(
    description: DatasetDescription,
    rows: list[ContactCase],
    title: str,
    phantom: bool,
    out: Path,
) -> None:
    views = 2 if _is_exam(description) else 1
    height, width = (views * extent for extent in description.extents[-2:])
    figure = draw_contact_sheet(
        [ContactCase(row.caption, _shown(row.crops, description)) for row in rows],
        unit=description.unit,
        field_extent=(height, width),
        title=title,
        phantom=phantom,
        window=description.intensity_window,
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    save_contact_sheet(figure, out)


def _rows(
    caption: str, crops: Mapping[float, np.ndarray], description: DatasetDescription
) -> list[ContactCase]:
    """The rows of one case: of a whole volume, no single spot of it, a coronal slice as well.

    Its axes become [y, z from the head down, x], so that what a sheet shows as a volume's axial
    slice is the coronal one, head up.
    """
    if description.spatial_dims == 2 or description.label_at_centre:
        return [ContactCase(caption, crops)]
    coronal = {r: crop[::-1].swapaxes(0, 1) for r, crop in crops.items()}
    return [ContactCase(f"{caption}, axial", crops), ContactCase(f"{caption}, coronal", coronal)]


def _shown(
    crops: Mapping[float, np.ndarray], description: DatasetDescription
) -> Mapping[float, np.ndarray]:
    """Crops as the sheet draws them: grey 2D images as uint8 [y, x, 3] in their window.

    The four views of an exam lie side by side, two by two.
    """
    if _is_exam(description):
        crops = {resolution: _side_by_side(crop) for resolution, crop in crops.items()}
    if description.spatial_dims == 3 or description.num_channels == 3:
        return crops
    low, high = description.intensity_window
    return {
        resolution: np.repeat(
            np.clip((crop - low) / (high - low) * 255, 0, 255).astype(np.uint8), 3, axis=-1
        )
        for resolution, crop in crops.items()
    }
