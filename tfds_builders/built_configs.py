"""What is built of a dataset, found without opening it."""

from pathlib import Path
from typing import Any

from mlp_med.errors import DatasetError
from mlp_med.json_records import read_json_object

METADATA = "metadata.json"  # as `tfds.core.MetadataDict` calls it
EXPECTED = {"source": str, "source_digest": str, "examples_digest": str, "options": dict}


def built_metadata(
    data_dir: Path, dataset: str, config: str, version: Any
) -> dict[str, Any] | None:
    """The metadata of a built config, or None where it is not built.

    Raises:
        DatasetError: the metadata are damaged.
    """
    folder = data_dir / dataset / config / str(version)
    if not (folder / "dataset_info.json").is_file():
        return None
    mend = f"remove {folder} and build it again"
    metadata = read_json_object(folder / METADATA, DatasetError, mend)
    wrong = [name for name, kind in EXPECTED.items() if not isinstance(metadata.get(name), kind)]
    if wrong:
        raise DatasetError(
            f"{folder / METADATA}: expected what a build writes as {', '.join(wrong)}; {mend}"
        )
    return metadata


def built_configs(data_dir: Path, dataset: str, version: Any) -> dict[str, dict[str, Any]]:
    """The metadata of every config of a dataset that is built, by its name."""
    found = (
        (folder.name, built_metadata(data_dir, dataset, folder.name, version))
        for folder in sorted((data_dir / dataset).glob("*"))
    )
    return {name: metadata for name, metadata in found if metadata is not None}
