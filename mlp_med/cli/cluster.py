"""`mlp-med study run` as one of several processes that train every cell together."""

import atexit
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mlp_med.cli.app import console
from mlp_med.errors import StudyError

if TYPE_CHECKING:
    from mlp_med.ledger.store import Ledger
    from mlp_med.studies.cluster import Cluster
    from mlp_med.studies.mailbox import Mailbox

CheckpointSeconds = Annotated[
    float,
    typer.Option(
        "--checkpoint-seconds", min=0, help="Between two checkpoints of a cell; 0 for none."
    ),
]
WorkersPerCell = Annotated[
    int | None,
    typer.Option("--workers-per-cell", min=1, help="Processes that train each cell together."),
]


def join(
    ledger: "Ledger", data_dir: Path, workers: int | None, workers_per_cell: int | None
) -> tuple[int | None, int]:
    """Takes this process's place in the cluster that the environment names, if it names one.

    The chief goes on; every other process trains its part of each cell until the chief has no more,
    and then ends.

    Args:
        ledger: of the study.
        data_dir: TFDS's data directory.
        workers: cells at once, as the user asked.
        workers_per_cell: as the user asked.

    Returns:
        Cells at once, None for as many as fit, and workers a cell.

    Raises:
        StudyError: the user asked for what this cluster cannot do.
        typer.Exit: this process was not the chief, and all is done.
    """
    cluster = _cluster(workers, workers_per_cell)
    if cluster is None:
        return workers, workers_per_cell or 1

    from mlp_med.studies.mailbox import mailbox_of
    from mlp_med.studies.resume import checkpoints_root  # loads TensorFlow

    mailbox = mailbox_of(checkpoints_root(ledger, data_dir), cluster)
    if cluster.index == 0:
        atexit.register(mailbox.close)
        return 1, cluster.size
    _follow(cluster, mailbox)
    raise typer.Exit


def _cluster(workers: int | None, workers_per_cell: int | None) -> "Cluster | None":
    from mlp_med.studies.cluster import cluster_from_environment

    cluster = cluster_from_environment() if workers_per_cell != 1 else None
    if cluster is None:
        return None
    if workers_per_cell not in (None, cluster.size):
        raise StudyError(
            f"expected --workers-per-cell {cluster.size}, as many as the environment names "
            f"(TF_CONFIG or Slurm's step), got {workers_per_cell}"
        )
    if workers not in (None, 1):
        raise StudyError(
            f"expected --workers 1, since a cluster trains one cell at a time, got {workers}"
        )
    return cluster


def _follow(cluster: "Cluster", mailbox: "Mailbox") -> None:
    from mlp_med.studies.follower import follow

    console.print(
        f"worker {cluster.index} of {cluster.size}, waiting for the chief's word in "
        f"{mailbox.directory}",
        markup=False,
    )
    try:
        follow(cluster, mailbox, lambda line: console.print(line, markup=False))
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
