"""The process of a cell: started fresh, listened to, and told apart by how it ends.

Processes are forked from a server that has imported TensorFlow, Keras and MLflow but run nothing
(`forkserver`), so that a cell starts in a fraction of a second with clean memory figures.
"""

import contextlib
import os
import shutil
import signal
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

from mlp_med.errors import MlpMedError
from mlp_med.studies.orders import Done, Event, Failed, Order, Progress, Work
from mlp_med.studies.room import Needs
from mlp_med.training.memory import peak_memory_bytes_of

POLL_SECONDS = 0.5


# What TensorFlow raises where a tensor finds no room, on a GPU above all; known by its name, since
# a process that runs cells need not have imported TensorFlow.
OUT_OF_MEMORY_OF_TENSORFLOW = "ResourceExhaustedError"


@dataclass
class CellProcess:
    """A cell's process, as its parent knows it.

    Attributes:
        order: what it was told.
        needs: what it takes.
        process: of the operating system.
        connection: to it; the parent only reads.
        temporary_dir: its TMPDIR.
        cores: that it may run on.
        outcome: its last word; None before.
        peak_memory_bytes: the highest that was seen of it; None if none.
    """

    order: Order
    needs: Needs
    process: ForkServerProcess
    connection: Connection
    temporary_dir: Path
    cores: frozenset[int]
    outcome: Done | Failed | None = None
    peak_memory_bytes: int | None = field(default=None)


def start(
    context: Any, order: Order, needs: Needs, work: Work, cores: frozenset[int]
) -> CellProcess:
    """Starts the process of an order on these cores, with a TMPDIR of its own.

    Args:
        context: the fork server's.
        order: what the process is told.
        needs: what it takes, for whoever counts.
        work: what it does; importable by name.
        cores: that it may run on.
    """
    temporary_dir = Path(tempfile.mkdtemp(prefix="mlp_med-cell-"))
    ours, theirs = context.Pipe()
    process = context.Process(target=_main, args=(work, order, theirs, str(temporary_dir), cores))
    process.start()
    theirs.close()  # so that this end reads end-of-file once the process is gone
    return CellProcess(order, needs, process, ours, temporary_dir, cores)


def listen(running: list[CellProcess], on_event: Callable[[Order, Event], None]) -> None:
    """Waits a moment for any of these to speak or to end, and passes on what was said."""
    sources = [job.connection for job in running] + [job.process.sentinel for job in running]
    wait(sources, timeout=POLL_SECONDS)
    for job in running:
        job.peak_memory_bytes = peak_memory_bytes_of(job.process.pid) or job.peak_memory_bytes
        drain(job, on_event)


def drain(job: CellProcess, on_event: Callable[[Order, Event], None]) -> None:
    """Passes on what a process has said, and keeps its last word."""
    with contextlib.suppress(EOFError, OSError):
        while job.connection.poll():
            message = job.connection.recv()
            if isinstance(message, Progress):
                on_event(job.order, message)
            else:
                job.outcome = message


def outcome_of(job: CellProcess) -> Done | Failed:
    """How a process that is gone has ended."""
    if isinstance(job.outcome, Done):
        return job.outcome
    peak = f"; its peak memory was {(job.peak_memory_bytes or 0) / 1e6:.0f} MB"
    if job.needs.memory_bytes:
        peak += f", {job.needs.memory_bytes / 1e6:.0f} MB were predicted"
    if isinstance(job.outcome, Failed):
        told = job.outcome.message + (peak if job.outcome.kind == "out_of_memory" else "")
        return Failed(job.outcome.kind, told, job.peak_memory_bytes)
    code = job.process.exitcode
    if code is not None and code < 0:
        told = " ".join(ended_by(code))
        return Failed("killed", f"ended by {told}{peak}", job.peak_memory_bytes)
    return Failed("died", f"exited with code {code} and no result{peak}", job.peak_memory_bytes)


def ended_by(code: int) -> list[str]:
    """The signal of a negative exit code, and where that can be told, who may have sent it."""
    number = signal.Signals(-code)
    who = "by a person or by the kernel, out of memory"
    return [number.name, who] if number == signal.SIGKILL else [number.name]


def remove(job: CellProcess) -> None:
    """Gives back what a process that is gone has left."""
    job.connection.close()
    shutil.rmtree(job.temporary_dir, ignore_errors=True)


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
    threading.Thread(target=end_with, args=(connection,), daemon=True).start()
    report = _Reporter(connection)
    with report.failures():
        work(order, report.send)
        report.send(Done())


def end_with(connection: Connection) -> None:
    """Ends this process with its parent, which never writes: to read ends only once it is gone."""
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
        except Exception as error:
            if type(error).__name__ == OUT_OF_MEMORY_OF_TENSORFLOW:
                self.send(Failed("out_of_memory", str(error).strip()))
                return
            # A defect of ours: keep the traceback for its report.
            self.send(Failed(type(error).__name__, traceback.format_exc()))
