"""What is built of a dataset, found without opening it."""

from pathlib import Path
from typing import Any

import tensorflow_datasets as tfds


def built_metadata(
    data_dir: Path, dataset: str, config: str, version: Any
) -> dict[str, Any] | None:
    """The metadata of a built config, or None where it is not built."""
    folder = data_dir / dataset / config / str(version)
    if not (folder / "dataset_info.json").is_file():
        return None
    metadata = tfds.core.MetadataDict()
    metadata.load_metadata(folder)
    return metadata


def built_configs(data_dir: Path, dataset: str, version: Any) -> dict[str, dict[str, Any]]:
    """The metadata of every config of a dataset that is built, by its name."""
    found = (
        (folder.name, built_metadata(data_dir, dataset, folder.name, version))
        for folder in sorted((data_dir / dataset).glob("*"))
    )
    return {name: metadata for name, metadata in found if metadata is not None}
