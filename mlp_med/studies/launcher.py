"""Runs cells on this machine: one fresh process a cell, as many at once as it has room for.

The processes are forked from a server that has imported TensorFlow, Keras and MLflow but run
nothing (`forkserver`), so that a cell starts in a fraction of a second with clean memory figures.
"""

import contextlib
import multiprocessing
import os
import shutil
import signal
import tempfile
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

from mlp_med.cores import memory_nodes
from mlp_med.errors import MlpMedError
from mlp_med.ledger.spool import CellStart
from mlp_med.studies.cell import Cell
from mlp_med.studies.room import Machine, Needs, has_room
from mlp_med.training.memory import peak_memory_bytes

POLL_SECONDS = 0.5


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


TAKEN_OVER = Failed(
    "interrupted", "another sweep has taken the cell over, since this one was silent for too long"
)
Event = Started | Progress | Done | Failed
Work = Callable[[Order, Callable[[Progress], None]], None]


@dataclass
class _Running:
    order: Order
    needs: Needs
    process: ForkServerProcess
    connection: Connection
    temporary_dir: Path
    cores: frozenset[int]
    outcome: Done | Failed | None = None
    peak_memory_bytes: int | None = field(default=None)


def launch_local(
    jobs: Iterable[Job],
    work: Work,
    on_event: Callable[[Order, Event], None],
    *,
    machine: Machine,
    preload: list[str],
    is_lost: Callable[[Order], bool] = lambda order: False,
    pin: bool = True,
) -> None:
    """Runs every job in a process of its own, the first that there is room for before the others.

    Args:
        jobs: what is to run.
        work: what the process does; importable by name. It returns when the results are kept.
        on_event: called in this process with each order's events; exactly one Done or Failed.
        machine: the room that there is.
        preload: modules that the fork server imports beforehand.
        is_lost: asked while an order runs; where true its process is ended.
        pin: keeps a process on cores next to one memory. Not for a caller that is one of several
            on this machine, which cannot know where the others' processes are.

    Raises:
        KeyboardInterrupt: after every process has been ended; their orders get no last event.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(preload)
    waiting = list(jobs)
    running: list[_Running] = []
    try:
        while True:
            while (job := _next(waiting, running, machine)) is not None:
                waiting.remove(job)
                if (order := job.open()) is not None:
                    cores = _place(order.cell, running) if pin else _all_cores()
                    running.append(_start(context, order, job.needs, work, cores))
            if not running:
                return
            _listen(running, on_event)
            for lost in [each for each in running if is_lost(each.order)]:
                lost.process.kill()
                lost.process.join()
                lost.outcome = TAKEN_OVER
            for ended in [each for each in running if each.process.exitcode is not None]:
                _drain(ended, on_event)
                running.remove(ended)
                on_event(ended.order, _outcome(ended))
                _remove(ended)
    finally:
        for left in running:
            left.process.kill()
            left.process.join()
            _remove(left)


def _next(waiting: list[Job], running: list[_Running], machine: Machine) -> Job | None:
    taken = [job.needs for job in running]
    return next((job for job in waiting if has_room(machine, job.needs, taken)), None)


def _place(cell: Cell, running: list[_Running]) -> frozenset[int]:
    """The cores next to one memory, those with the fewest cells: far memory is slow.

    All of them where a cell needs more threads than a node has cores.
    """
    nodes = memory_nodes()
    if cell.intra_op_threads > max(map(len, nodes)):
        return _all_cores()
    cells_on = Counter(job.cores for job in running)
    large_enough = [node for node in nodes if len(node) >= cell.intra_op_threads]
    return min(large_enough, key=lambda node: cells_on[node] / len(node))


def _all_cores() -> frozenset[int]:
    return frozenset[int]().union(*memory_nodes())


def _start(context: Any, order: Order, needs: Needs, work: Work, cores: frozenset[int]) -> _Running:
    temporary_dir = Path(tempfile.mkdtemp(prefix="mlp_med-cell-"))
    ours, theirs = context.Pipe()
    process = context.Process(target=_main, args=(work, order, theirs, str(temporary_dir), cores))
    process.start()
    theirs.close()  # so that this end reads end-of-file once the process is gone
    return _Running(order, needs, process, ours, temporary_dir, cores)


def _listen(running: list[_Running], on_event: Callable[[Order, Event], None]) -> None:
    sources = [job.connection for job in running] + [job.process.sentinel for job in running]
    wait(sources, timeout=POLL_SECONDS)
    for job in running:
        job.peak_memory_bytes = _peak_memory(job.process.pid) or job.peak_memory_bytes
        _drain(job, on_event)


def _drain(job: _Running, on_event: Callable[[Order, Event], None]) -> None:
    with contextlib.suppress(EOFError, OSError):
        while job.connection.poll():
            message = job.connection.recv()
            if isinstance(message, Progress):
                on_event(job.order, message)
            else:
                job.outcome = message


def _outcome(job: _Running) -> Done | Failed:
    if isinstance(job.outcome, Done):
        return job.outcome
    if isinstance(job.outcome, Failed):
        return Failed(job.outcome.kind, job.outcome.message, job.peak_memory_bytes)
    code = job.process.exitcode
    peak = f"; its peak memory was {(job.peak_memory_bytes or 0) / 1e6:.0f} MB"
    if code is not None and code < 0:
        name = signal.Signals(-code).name
        why = " by a person or by the kernel, out of memory" if -code == signal.SIGKILL else ""
        return Failed("killed", f"ended by {name}{why}{peak}", job.peak_memory_bytes)
    return Failed("died", f"exited with code {code} and no result{peak}", job.peak_memory_bytes)


def _remove(job: _Running) -> None:
    job.connection.close()
    shutil.rmtree(job.temporary_dir, ignore_errors=True)


def _peak_memory(pid: int | None) -> int | None:
    """None where the process is gone, or is a zombie, which has no such line."""
    with contextlib.suppress(OSError, ValueError):
        return peak_memory_bytes(Path(f"/proc/{pid}/status"))
    return None


# ---- in the cell's process


def _main(
    work: Work,
    order: Order,
    connection: Connection,
    temporary_dir: str,
    cores: frozenset[int],
) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to act on
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, cores)
    os.environ["TMPDIR"] = temporary_dir
    tempfile.tempdir = None
    threading.Thread(target=_die_with_parent, args=(connection,), daemon=True).start()
    report = _Reporter(connection)
    with report.failures():
        work(order, report.send)
        report.send(Done())


def _die_with_parent(connection: Connection) -> None:
    """The parent never writes: this read ends only when the parent is gone, even by SIGKILL."""
    with contextlib.suppress(EOFError, OSError):
        connection.recv()
    os._exit(1)


class _Reporter:
    """Sends events to the parent, Progress at most twice a second."""

    def __init__(self, connection: Connection):
        self._connection = connection
        self._last_sent = 0.0

    def send(self, event: Event) -> None:
        now = time.monotonic()
        if isinstance(event, Progress) and now - self._last_sent < POLL_SECONDS:
            return
        self._last_sent = now
        self._connection.send(event)

    @contextlib.contextmanager
    def failures(self) -> Iterator[None]:
        """Turns whatever is raised into a Failed event: the parent tells the ledger."""
        try:
            yield
        except MemoryError as error:
            self.send(Failed("out_of_memory", str(error) or "the process ran out of memory"))
        except MlpMedError as error:
            self.send(Failed(getattr(error, "kind", type(error).__name__), str(error)))
        except Exception as error:  # a defect of ours: keep the traceback for its report
            self.send(Failed(type(error).__name__, traceback.format_exc()))
