"""Datasets in TFDS's own layout; importing this package makes `tfds.load` know them.

`DATASETS` says what can be checked, built and looked at; `open_config` opens what is built.
"""

import logging
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlp_med.errors import DatasetError
from tfds_builders import (
    breast_screening,
    camelyon16,
    cbis_ddsm_crops,
    dsb2017,
    luna16,
    luna16_fields,
    metastasis_patches,
    table,
)
from tfds_builders.built_configs import built_configs
from tfds_builders.local_source_builder import LocalSourceBuilder
from tfds_builders.preview import PreviewCase
from tfds_builders.source_report import SourceReport

# TFDS 4.9.10 warns of an attribute that only TFDS itself asks for, once a feature and a loading.
logging.getLogger("absl").addFilter(
    lambda record: (
        not re.search("FeatureConnector.dtype|Using custom data configuration", record.getMessage())
    )
)


@dataclass(frozen=True)
class Dataset:
    """What can be done with one dataset.

    Attributes:
        name: as `tfds.load` knows it.
        builder_class: its TFDS builder; one config a resolution.
        check: source → SourceReport; writes nothing and reads no voxels.
        build: (source, data_dir, resolutions=None, num_workers=None, progress=None, **options) →
            builders.
        preview: (source, num_cases, resolutions=None) → PreviewCase list; writes nothing.
        describe_source: (source, **options) → what a dataset that has no constant description
            would keep of itself; None for the others.
    """

    name: str
    builder_class: type[LocalSourceBuilder]
    check: Callable[..., SourceReport]
    build: Callable[..., list[LocalSourceBuilder]]
    preview: Callable[..., list[PreviewCase]]
    describe_source: Callable[..., dict[str, Any]] | None = None

    @property
    def unit(self) -> str:
        """Unit of the resolutions, "mm" or "um"."""
        configs = self.builder_class.BUILDER_CONFIGS
        return configs[0].unit if configs else "mm"

    @property
    def resolutions(self) -> tuple[float, ...]:
        """The resolutions, finest first; none where each source has its own."""
        return tuple(config.resolution for config in self.builder_class.BUILDER_CONFIGS)


def _dataset(module: object) -> Dataset:
    return Dataset(
        name=module.Builder.name,
        builder_class=module.Builder,
        check=module.check,
        build=module.build,
        preview=module.preview,
        describe_source=getattr(module, "describe_source", None),
    )


DATASETS: dict[str, Dataset] = {
    dataset.name: dataset
    for dataset in map(
        _dataset,
        (
            luna16,
            luna16_fields,
            dsb2017,
            cbis_ddsm_crops,
            breast_screening,
            metastasis_patches,
            camelyon16,
            table,
        ),
    )
}

WANTED_SOURCE = {"table": "FILE.csv"}


def built_description(name: str, data_dir: Path | str) -> dict[str, Any]:
    """What a dataset that has no description of its own keeps of itself in its metadata.

    Raises:
        DatasetError: no resolution of it is built.
    """
    data_dir = Path(data_dir).expanduser().absolute()
    version = DATASETS[name].builder_class.VERSION
    for metadata in built_configs(data_dir, name, version).values():
        return dict(metadata["description"])
    raise DatasetError(
        f"{name} is not built in {data_dir}; build it: mlp-med data build {name} "
        f"--source {WANTED_SOURCE.get(name, 'DIRECTORY')} --data-dir {data_dir}"
    )


def open_config(
    name: str,
    resolution: float,
    data_dir: Path | str,
    source: Path | str | None = None,
    **options: Any,
) -> LocalSourceBuilder:
    """Opens a built dataset at one resolution.

    Args:
        name: of the dataset.
        resolution: in the dataset's unit.
        data_dir: TFDS's data directory.
        source: where it should have come from; not asked if None.
        **options: that it should have been built with.

    Raises:
        DatasetError: no such dataset or resolution, not built, or built from another source or with
            other options.
    """
    if name not in DATASETS:
        raise DatasetError(f"there is no dataset {name}; there are {', '.join(DATASETS)}")
    builder_class = DATASETS[name].builder_class
    config = builder_class.config_at(resolution)
    data_dir = Path(data_dir).expanduser().absolute()
    builder = builder_class(config=config, data_dir=data_dir, source=source, **options)
    if not builder.is_built():
        raise DatasetError(
            f"{name}/{config.name} is not built in {data_dir}; build it: mlp-med data build "
            f"{name} --source {WANTED_SOURCE.get(name, 'DIRECTORY')} --data-dir {data_dir}"
        )
    return builder


__all__: Sequence[str] = [
    "DATASETS",
    "Dataset",
    "LocalSourceBuilder",
    "PreviewCase",
    "SourceReport",
    "built_description",
    "open_config",
]
