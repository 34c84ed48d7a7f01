"""Where `mlp-med study run` lets its cells run."""

from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mlp_med.errors import StudyError

if TYPE_CHECKING:
    from mlp_med.ledger.store import Ledger
    from mlp_med.studies.cell import Cell
    from mlp_med.studies.launchers import Launch
    from mlp_med.studies.room import Machine
    from mlp_med.studies.study import DatasetInfo, Study


class LauncherChoice(StrEnum):
    """The launchers by their names."""

    local = "local"
    ray = "ray"
    dry_run = "dry-run"


Launcher = Annotated[
    LauncherChoice,
    typer.Option(
        "--launcher",
        help="local: this machine. ray: every node of a Ray cluster (needs the extra ray). "
        "dry-run: only say what would run, where, and for how long.",
    ),
]
Address = Annotated[
    str | None,
    typer.Option(
        "--address",
        help="HOST:PORT of the Ray cluster's head; RAY_ADDRESS or this machine's if absent.",
    ),
]


def require_fitting(launcher: LauncherChoice, address: str | None) -> None:
    """Refuses an address that nobody would use."""
    if address is not None and launcher is LauncherChoice.local:
        raise StudyError(
            f"--address is that of a Ray cluster, got {address} with the launcher local; "
            "add --launcher ray"
        )


@contextmanager
def launching(
    launcher: LauncherChoice,
    address: str | None,
    workers: int | None,
    info: "DatasetInfo",
    ledger: "Ledger",
    num_workers: int = 1,
) -> Iterator["Launch | None"]:
    """Joins what the launcher needs and yields it; None for this machine.

    Args:
        launcher: its name.
        address: of a Ray cluster's head.
        workers: cells at once.
        info: of the dataset.
        ledger: of the study.
        num_workers: that train each cell together.

    Raises:
        StudyError: the cluster cannot be joined, or its nodes do not share what they must.
    """
    if launcher is not LauncherChoice.ray:
        yield None
        return
    from mlp_med.studies.launchers.ray_cluster import joined, require_usable_nodes
    from mlp_med.studies.launchers.ray_launcher import RayLauncher
    from mlp_med.studies.resume import checkpoints_root
    from mlp_med.studies.work import PRELOAD

    shared = checkpoints_root(ledger, info.data_dir) if num_workers > 1 else None
    with joined(address):
        require_usable_nodes(info, ledger, shared)
        yield RayLauncher(PRELOAD, workers)


def dry_run(
    study: "Study",
    tracking_uri: str,
    address: str | None,
    workers: int | None,
    *,
    retry_failed: bool,
) -> list[str]:
    """What would run where; the ledger is read if there is one, and no file is written."""
    from mlp_med.capacity.gpu_memory import taken_memory
    from mlp_med.ledger.store import existing_ledger
    from mlp_med.studies.cell_needs import survey
    from mlp_med.studies.forecast import cell_seconds
    from mlp_med.studies.launchers.dry_run import dry_run_lines

    ledger = existing_ledger(tracking_uri)
    pending = _pending(study, ledger, retry_failed)
    found = survey(pending, Path(study.dataset_info.data_dir)) if pending else None
    seconds, origin = cell_seconds(study, ledger)
    num_gpus = found.num_gpus if found else 0
    taken = taken_memory() if num_gpus and address is None else []
    return taken + dry_run_lines(
        study,
        pending,
        dict(zip(pending, found.needs, strict=True)) if found else {},
        seconds,
        _machines(address, workers, num_gpus),
        origin,
    )


def _machines(address: str | None, workers: int | None, num_gpus: int) -> "list[Machine]":
    from mlp_med.studies.cell_needs import this_machine

    if address is None:
        return [this_machine(num_gpus, workers)]
    from mlp_med.studies.launchers.ray_cluster import joined, machines

    with joined(address):
        return machines()


def _pending(study: "Study", ledger: "Ledger | None", retry_failed: bool) -> "list[Cell]":
    from mlp_med.ledger.read import find_studies, read_study
    from mlp_med.studies.run import pending_cells

    for run_id in find_studies(ledger, study.name) if ledger else []:
        assert ledger is not None
        record = read_study(ledger, run_id, plan=study.plan())
        if record.tags["study_hash"] == study.hash:
            return pending_cells(study, record, retry_failed)
    return list(study.cells)
