"""What several verbs do with a dataset: find it by name, build it with a progress bar."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mlp_med.cli.app import console
from mlp_med.errors import DatasetError

WITH_TASKS = ("cbis_ddsm_crops", "breast_screening")
OF_CANDIDATES = ("luna16", "luna16_fields")


def find_dataset(name: str):  # type: ignore[no-untyped-def]  # its type would import TFDS
    """The builders of that name; DatasetError where there are none."""
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
    **options: Any,
):
    """Builds what is missing of a dataset and shows how far it is."""
    from mlp_med.studies.progress import counting

    with counting(console, "crops") as progress:
        return find_dataset(dataset).build(
            source,
            data_dir,
            resolutions=resolutions,
            num_workers=workers,
            **options,
            progress=lambda what, done, total: progress(done, total),
        )


def table_options(
    dataset: str,
    field_mm: float | None,
    spacing_mm: float | None,
    resolutions: list[float] | None = None,
) -> dict[str, Any]:
    """What a user states of scans of their own; refused for a dataset whose field is known."""
    given = {"field_mm": field_mm, "spacing_mm": spacing_mm, "resolutions": resolutions or None}
    options = {name: value for name, value in given.items() if value is not None}
    if options and dataset != "table":
        named = " and ".join("--" + name.replace("_", "-").removesuffix("s") for name in options)
        raise DatasetError(f"{named} is for the dataset table; {dataset} has a field of its own")
    return options


def task_option(dataset: str, task: str | None) -> dict[str, Any]:
    """Which classes a dataset with several tasks has; refused for the others."""
    if task is None:
        return {}
    _require_one_of(WITH_TASKS, dataset, "--task", "has one task")
    return {"task": task}


def negatives_option(dataset: str, negatives_per_positive: float | None) -> dict[str, Any]:
    """How many non-nodules are kept; refused for a dataset that has no candidates."""
    if negatives_per_positive is None:
        return {}
    _require_one_of(OF_CANDIDATES, dataset, "--negatives", "has no candidates to choose from")
    return {"negatives_per_positive": negatives_per_positive}


def _require_one_of(datasets: Sequence[str], dataset: str, option: str, why_not: str) -> None:
    if dataset not in datasets:
        known = " and ".join(datasets)
        raise DatasetError(f"{option} is for the datasets {known}; {dataset} {why_not}")


def beam_options(
    workers: int | None, runner: str | None, settings: list[str] | None
) -> dict[str, Any]:
    """Who builds instead of processes of ours; refused together with their number."""
    if runner is None and not settings:
        return {}
    if runner is None:
        raise DatasetError(
            "--beam-option is for a Beam runner; name it: --beam-runner DirectRunner"
        )
    if workers is not None:
        raise DatasetError(
            "--workers counts processes of mlp-med; a Beam runner has its own, as in "
            "--beam-option direct_num_workers=2"
        )
    return {"beam_runner": runner, "beam_options": settings or []}
