"""What a cell's process is told, and what is heard of it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from mlp_med.ledger.spool import CellStart
from mlp_med.studies.cell import Cell
from mlp_med.studies.room import Needs


@dataclass(frozen=True)
class Order:
    """All that a cell's process is told. Plain values: they cross a process border.

    Attributes:
        cell: what to train.
        run_id: the ledger's run that is waiting for the result.
        tracking_uri: of the ledger.
        data_dir: TFDS's data directory.
        launched_at: seconds since the epoch, to measure the start-up by.
        checkpoint_dir: of this cell's checkpoints alone; removed when its result is kept.
        checkpoint_seconds: the least time between two of them; 0 for none.
        restarts: how often the cell's workers were started anew before.
        start: what the ledger was told, or could not be told, of the cell; None where nothing of
            it will be logged.
    """

    cell: Cell
    run_id: str
    tracking_uri: str
    data_dir: str
    launched_at: float
    checkpoint_dir: str = ""
    checkpoint_seconds: float = 0.0
    restarts: int = 0
    start: CellStart | None = None


@dataclass(frozen=True)
class Job:
    """A cell that waits for a place.

    Attributes:
        needs: what the cell takes of a machine.
        open: called when there is a place, so that a run is opened only then; None where the cell
            needs no process any more, as when another sweep holds it.
    """

    needs: Needs
    open: Callable[[], Order | None]


@dataclass(frozen=True)
class Started:
    """The cell's process begins on another machine, which these tags of the run describe."""

    tags: Mapping[str, str]


@dataclass(frozen=True)
class Progress:
    """The cell has seen so many training examples."""

    examples_seen: int


@dataclass(frozen=True)
class Done:
    """The cell's results are in the ledger, or kept on disk for a ledger that did not answer."""


@dataclass(frozen=True)
class Failed:
    """The cell ended without results.

    Attributes:
        kind: the typed failure, e.g. "non_finite_loss" or "killed".
        message: for a person.
        peak_memory_bytes: the highest VmHWM that the parent saw of the process; None if none.
    """

    kind: str
    message: str
    peak_memory_bytes: int | None = None


# The kind of failure of a cell that was not started since no machine can hold it.
INFEASIBLE = "infeasible"
TAKEN_OVER = Failed(
    "interrupted", "another sweep has taken the cell over, since this one was silent for too long"
)
Event = Started | Progress | Done | Failed
SendProgress = Callable[[Progress], None]
Work = Callable[[Order, SendProgress], None]
