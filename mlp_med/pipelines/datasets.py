"""What the rest of the package must know of a dataset to read, augment and feed it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from mlp_med.errors import DatasetError


@dataclass(frozen=True)
class DatasetDescription:
    """The constants of one dataset, the same at every resolution.

    Attributes:
        name: the name that tensorflow-datasets knows it by.
        unit: of every length here, "mm" or "um".
        resolutions: edge of a voxel (pixel) in `unit`, finest first; all of them divide the
            coarsest, so that a shift by one coarsest voxel is a whole number of voxels everywhere.
        field_extent: edge of the cubic (square) field of a crop, in `unit`; where the edges differ,
            one for each axis, in the order of the array's.
        spatial_dims: 3 for volumes [z, y, x, channel], 2 for images [y, x, channel].
        num_channels: of a voxel.
        intensity_window: the native values that become 0 and 1; what lies outside is clipped.
        patients_known: False where crops cannot be grouped by patient.
        class_names: by label; of two classes, label 1 is what the score is the probability of.
        label_at_centre: whether the label speaks of what lies at the crop's centre, and not of
            anything in its field.
    """

    name: str
    unit: str
    resolutions: tuple[float, ...]
    field_extent: float | tuple[float, ...]
    spatial_dims: int
    num_channels: int
    intensity_window: tuple[float, float]
    patients_known: bool
    class_names: tuple[str, ...]
    label_at_centre: bool

    @property
    def extents(self) -> tuple[float, ...]:
        """Edges of the field in `unit`, one for each axis: [z, y, x] or [y, x]."""
        if isinstance(self.field_extent, tuple):
            return self.field_extent
        return (self.field_extent,) * self.spatial_dims

    @property
    def num_classes(self) -> int:
        """Two or more."""
        return len(self.class_names)

    @property
    def finest(self) -> float:
        """The smallest edge of a voxel, in `unit`."""
        return min(self.resolutions)

    @property
    def coarsest(self) -> float:
        """The largest edge of a voxel, in `unit`."""
        return max(self.resolutions)


LUNA16 = DatasetDescription(
    name="luna16",
    unit="mm",
    resolutions=(0.625, 1.25, 2.5, 5.0),
    field_extent=40.0,
    spatial_dims=3,
    num_channels=1,
    # Hounsfield units: from air to above soft tissue, the window usual for nodules.
    intensity_window=(-1000.0, 400.0),
    patients_known=True,
    class_names=("non-nodule", "nodule"),
    label_at_centre=True,
)

# The same fields displaced, so that their nodules lie anywhere in them.
LUNA16_FIELDS = replace(
    LUNA16, name="luna16_fields", class_names=("no nodule", "nodule"), label_at_centre=False
)

DSB2017 = DatasetDescription(
    name="dsb2017",
    unit="mm",
    resolutions=(1.0, 2.0, 4.0),
    field_extent=352.0,
    spatial_dims=3,
    num_channels=1,
    intensity_window=(-1000.0, 400.0),
    patients_known=True,
    class_names=("no cancer", "cancer"),
    label_at_centre=False,
)

METASTASIS_PATCHES = DatasetDescription(
    name="metastasis_patches",
    unit="um",
    resolutions=(0.97, 1.94, 3.88, 7.76),
    field_extent=96 * 0.97,
    spatial_dims=2,
    num_channels=3,
    intensity_window=(0.0, 255.0),
    patients_known=False,
    class_names=("no tumour", "tumour"),
    label_at_centre=True,
)

CAMELYON16 = DatasetDescription(
    name="camelyon16",
    unit="um",
    resolutions=(0.243, 0.486, 0.972, 1.944),
    field_extent=62.208,
    spatial_dims=2,
    num_channels=3,
    intensity_window=(0.0, 255.0),
    patients_known=True,
    class_names=("no tumour", "tumour"),
    label_at_centre=True,
)

DESCRIPTIONS: Mapping[str, DatasetDescription] = MappingProxyType(
    {
        description.name: description
        for description in (LUNA16, LUNA16_FIELDS, DSB2017, METASTASIS_PATCHES, CAMELYON16)
    }
)


def describe(
    name: str, data_dir: Path | None = None, *, source: Path | None = None, **options: Any
) -> DatasetDescription:
    """The description of a dataset: a constant, or for a user's own scans what was built of them.

    Args:
        name: of the dataset.
        data_dir: where it is built; its metadata hold the description.
        source: asked where it is not built.
        **options: of the builder, with `source`.

    Raises:
        DatasetError: unknown dataset; or it is not built, and no source is given.
        SourceError: the source has problems.
    """
    if name in DESCRIPTIONS:
        return DESCRIPTIONS[name]
    import tfds_builders

    if name not in tfds_builders.DATASETS:
        known = ", ".join(tfds_builders.DATASETS)
        raise DatasetError(f"there is no dataset {name!r}; there are: {known}")
    try:
        if data_dir is None:
            raise DatasetError(f"{name} has no description of its own; say where it is built")
        kept = tfds_builders.built_description(name, data_dir)
    except DatasetError:
        if source is None:
            raise
        kept = tfds_builders.DATASETS[name].describe_source(source, **options)
    values: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in kept.items()
    }
    return DatasetDescription(**values)


def config_name(description: DatasetDescription, resolution: float) -> str:
    """Names the dataset's configuration at a resolution, e.g. "1.25mm".

    Raises:
        ValueError: the dataset does not have this resolution.
    """
    if resolution not in description.resolutions:
        known = ", ".join(f"{r:g}" for r in description.resolutions)
        raise ValueError(
            f"{description.name} has no resolution {resolution:g} {description.unit}; "
            f"choose one of {known} {description.unit}"
        )
    return f"{resolution:g}{description.unit}"


def crop_grid(description: DatasetDescription, spacing: float) -> tuple[int, ...]:
    """The number of voxels along each axis of a crop whose voxels have an edge of `spacing`.

    Raises:
        ValueError: the dataset does not have this resolution.
    """
    config_name(description, spacing)
    return tuple(round(extent / spacing) for extent in description.extents)


def octaves_to_coarsest(description: DatasetDescription, spacing: float) -> int:
    """How often a voxel's edge of `spacing` doubles until it is that of the coarsest resolution."""
    return round(math.log2(description.coarsest / spacing))
