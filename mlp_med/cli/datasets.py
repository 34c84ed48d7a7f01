"""What several verbs do with a dataset: find it by name, build it with a progress bar."""

import logging
import os
from pathlib import Path

from mlp_med.cli.app import console


def find_dataset(name: str):  # type: ignore[no-untyped-def]  # its type would import TFDS
    """The builders of that name; DatasetError where there are none."""
    from mlp_med.errors import DatasetError

    quiet_tensorflow()
    import tfds_builders

    if name not in tfds_builders.DATASETS:
        known = ", ".join(tfds_builders.DATASETS)
        raise DatasetError(f"there is no dataset {name!r}; there are: {known}")
    return tfds_builders.DATASETS[name]


def build_dataset(  # type: ignore[no-untyped-def]
    dataset: str,
    source: Path,
    data_dir: Path,
    resolutions: list[float] | None,
    workers: int | None = None,
):
    """Builds what is missing of a dataset and shows how far it is."""
    from mlp_med.studies.progress import counting

    with counting(console, "crops") as progress:
        return find_dataset(dataset).build(
            source,
            data_dir,
            resolutions=resolutions,
            num_workers=workers,
            progress=lambda what, done, total: progress(done, total),
        )


def quiet_tensorflow() -> None:
    """TensorFlow's start-up notices are not news to the user of a command."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    logging.getLogger("absl").setLevel(logging.ERROR)
