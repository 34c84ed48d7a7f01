"""Where the checkpoints of cells lie, and whose they are.

Each cell has a directory of its own, named by its hash, under `checkpoints/`: beside a local
ledger, or in the data directory where the ledger is a server. It is removed when the cell is done.
A cell goes on from a checkpoint of the same cell, code, versions, processor type and number of
replicas alone, so that what it ends with is what it would have been without the interruption.
"""

import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from mlp_med.ledger.store import Ledger
from mlp_med.studies.cell import Cell
from mlp_med.studies.orders import Order
from mlp_med.studies.provenance import code_digest, environment

if TYPE_CHECKING:
    import tensorflow as tf

    from mlp_med.training.checkpoints import Checkpoints

# What differs between two moments of one machine without changing a result.
_NO_MATTER = frozenset({"num_cores"})


def checkpoints_root(ledger: Ledger, data_dir: Path | str) -> Path:
    """The directory under which each cell has its own; it need not be there."""
    beside = Path(ledger.lock_path).parent if ledger.lock_path is not None else Path(data_dir)
    return beside.absolute() / "checkpoints"


def checkpoint_dir(ledger: Ledger, cell: Cell, data_dir: Path | str) -> str:
    """The directory of a cell's checkpoints; it need not be there."""
    return str(checkpoints_root(ledger, data_dir) / cell.hash)


def open_checkpoints(order: Order, strategy: "tf.distribute.Strategy") -> "Checkpoints":
    """The cell's checkpoints: none is read or written where the order wants none."""
    from mlp_med.training.checkpoints import Checkpoints
    from mlp_med.training.strategy import is_chief

    if not order.checkpoint_dir or order.checkpoint_seconds <= 0:
        return Checkpoints(None, {}, every_seconds=0.0)
    identity = {
        "cell": order.cell.hash,
        "code": code_digest(order.cell.dataset),
        "replicas": str(strategy.num_replicas_in_sync),
        **{name: text for name, text in environment().items() if name not in _NO_MATTER},
    }
    return Checkpoints(
        Path(order.checkpoint_dir) / "checkpoint",
        identity,
        every_seconds=order.checkpoint_seconds,
        writes=is_chief(strategy),
    )


def remove_checkpoints(order: Order) -> None:
    """Of a cell whose result is in the ledger."""
    if order.checkpoint_dir:
        shutil.rmtree(order.checkpoint_dir, ignore_errors=True)


def clear_ended(ledger: Ledger, ended: Iterable[Cell], data_dir: str) -> None:
    """Removes what cells left that have ended, and were killed before they could clear up."""
    for cell in ended:
        shutil.rmtree(checkpoint_dir(ledger, cell, data_dir), ignore_errors=True)
