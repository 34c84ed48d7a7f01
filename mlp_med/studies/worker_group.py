"""Trains a cell that spans workers: its process becomes the supervisor of a group of them.

A worker whose peer never comes, or is gone, can wait for ever inside TensorFlow, where it hears no
SIGTERM. So the supervisor runs no TensorFlow. It gives the group a deadline to meet, ends workers
by SIGKILL, and when one is lost ends them all and starts a new group, which goes on from the last
checkpoint. The chief, worker 0, writes the checkpoints and the result.

All workers run on this machine, unless the environment names a cluster: then the chief runs here
and each other worker where `mlp_med.studies.follower` waits for it.
"""

import functools
import multiprocessing
import os
import signal
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import wait
from pathlib import Path

from mlp_med.errors import StudyError, TrainingError
from mlp_med.orphans import die_with_parent
from mlp_med.studies import cell_process
from mlp_med.studies.cluster import Cluster, cluster_from_environment, free_ports, tf_config
from mlp_med.studies.mailbox import Mailbox, mailbox_of
from mlp_med.studies.orders import Done, Event, Failed, Order, SendProgress, Work
from mlp_med.studies.provenance import code_digest
from mlp_med.studies.room import Needs
from mlp_med.studies.work import PRELOAD, train_and_log

# How TensorFlow reports a peer that is gone. What else it raises would come again.
SIGNS_OF_A_LOST_PEER = frozenset(
    {
        "AbortedError",
        "CancelledError",
        "DeadlineExceededError",
        "FailedPreconditionError",
        "InternalError",
        "UnavailableError",
        "UnknownError",
        "died",
        "killed",
    }
)


@dataclass(frozen=True)
class Patience:
    """How long a group is waited for, and how often it is started again.

    Attributes:
        start_seconds: for all workers to meet, from their start.
        max_restarts: of the whole group, in one run of the cell.
    """

    start_seconds: float = 300.0
    max_restarts: int = 3


def train_in_workers_and_log(order: Order, send: SendProgress) -> None:
    """Trains a cell with as many workers as it names; the chief, or this process, logs it."""
    in_workers(train_and_log)(order, send)


def in_workers(work: Work, patience: Patience = Patience()) -> Work:
    """The work of a cell's process that leaves the cell to as many workers as the cell names.

    Args:
        work: what the chief does, or this process itself where the cell names but one worker.
        patience: with a group.
    """
    return functools.partial(_work, work=work, patience=patience)


def _work(order: Order, send: SendProgress, *, work: Work, patience: Patience) -> None:
    if order.cell.num_workers == 1:
        os.environ.pop("TF_CONFIG", None)  # one is enough, whatever machines there are
        work(order, send)
        return
    cluster = _cluster_of(order)
    losses: list[str] = []
    while len(losses) <= patience.max_restarts:
        group = _start_group(_anew(order, len(losses)), work, cluster)
        try:
            ended = _follow(group, send, patience.start_seconds)
        finally:
            group.end()
        if isinstance(ended, Done):
            return
        if ended.kind not in SIGNS_OF_A_LOST_PEER:
            raise TrainingError(ended.kind, ended.message)
        losses.append(ended.message.strip().splitlines()[-1])
    raise TrainingError(
        "lost_workers",
        f"lost a worker {len(losses)} times, at last {losses[-1]}; see what ends it, then start "
        "the study again: it goes on from the last checkpoint",
    )


def _anew(order: Order, restarts: int) -> Order:
    """What a lost group spent is not the cell's: the time of a new one counts from its start."""
    return replace(order, restarts=restarts, launched_at=time.time()) if restarts else order


def _cluster_of(order: Order) -> Cluster | None:
    """Where the order's workers are; None for this machine, and for orders without a directory."""
    cluster = cluster_from_environment() if order.checkpoint_dir else None
    if cluster is not None and cluster.size != order.cell.num_workers:
        raise StudyError(
            f"expected as many workers as the cell has, {order.cell.num_workers}, got a cluster of "
            f"{cluster.size}: {', '.join(cluster.addresses)}"
        )
    return cluster


@dataclass
class _Group:
    """The workers of one attempt.

    Attributes:
        size: how many there are.
        jobs: those of this machine, the chief first; their numbers are their places.
        mailbox: of the others, where there are any.
    """

    size: int
    jobs: list[cell_process.CellProcess]
    mailbox: Mailbox | None

    def ends(self) -> list[tuple[int, Done | Failed]]:
        """How workers ended, by their numbers."""
        ended = [number for number, job in enumerate(self.jobs) if job.process.exitcode is not None]
        here = [(number, cell_process.outcome_of(self.jobs[number])) for number in ended]
        return here + (list(self.mailbox.answers(self.size)) if self.mailbox else [])

    def end(self) -> None:
        """Ends those of this machine, and tells the others to end theirs."""
        end_processes(self.jobs)
        if self.mailbox is not None:
            self.mailbox.rest()


def _start_group(order: Order, work: Work, cluster: Cluster | None) -> _Group:
    size = order.cell.num_workers
    if cluster is None:
        addresses = [f"127.0.0.1:{port}" for port in free_ports(size)]
        jobs = [start_worker(order, work, addresses, index) for index in range(size)]
        return _Group(size, jobs, None)
    mailbox = mailbox_of(Path(order.checkpoint_dir).parent, cluster)
    mailbox.post(order, code_digest(order.cell.dataset))
    return _Group(size, [start_worker(order, work, cluster.addresses, 0)], mailbox)


def start_worker(
    order: Order, work: Work, addresses: Sequence[str], index: int
) -> cell_process.CellProcess:
    """Starts worker `index` of those at `addresses` in a process of its own."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOAD)
    as_worker = functools.partial(_as_worker, work=work, addresses=list(addresses), index=index)
    cores = frozenset(os.sched_getaffinity(0))
    needs = Needs(order.cell.intra_op_threads)  # the group's place was found for it as a whole
    return cell_process.start(context, order, needs, as_worker, cores)


def _follow(group: _Group, send: SendProgress, start_seconds: float) -> Done | Failed:
    """Waits for the chief's result, or for the first worker that ends otherwise."""
    deadline = time.monotonic() + start_seconds
    have_met = False
    chief = group.jobs[0]

    def heard(order: Order, event: Event) -> None:
        nonlocal have_met
        have_met = True
        send(event)  # type: ignore[arg-type]  # only Progress comes this way

    while True:
        wait_for_word(group.jobs)
        ends = group.ends()  # before the last words are heard, or they might be missed
        cell_process.drain(chief, heard)
        for job in group.jobs[1:]:
            cell_process.drain(job, lambda order, event: None)
        if isinstance(chief.outcome, Done):
            return chief.outcome
        if ends:
            return _first_cause(group.ends())
        if not have_met and time.monotonic() > deadline:
            raise TrainingError(
                "lost_workers",
                f"expected {group.size} workers to meet within {start_seconds:g} s of their "
                "start, but at least one never came; see that each runs and reaches the others",
            )
        if group.mailbox is not None:
            group.mailbox.count()


def wait_for_word(jobs: Sequence[cell_process.CellProcess]) -> None:
    """Waits until one of them says something or ends, or for a moment."""
    sources = [job.connection for job in jobs] + [job.process.sentinel for job in jobs]
    wait(sources, timeout=cell_process.POLL_SECONDS)


def _first_cause(ends: Sequence[tuple[int, Done | Failed]]) -> Failed:
    """Why a group ended: a death before all else, since the others' errors follow from it."""
    failed = [(index, end) for index, end in ends if isinstance(end, Failed)]
    if not failed:
        return Failed("died", f"worker {ends[0][0]} ended before the chief")
    index, end = min(failed, key=lambda pair: pair[1].kind not in ("killed", "died"))
    return replace(end, message=f"worker {index}: {end.message}")


def end_processes(jobs: Iterable[cell_process.CellProcess]) -> None:
    """By SIGKILL, which is heard everywhere."""
    for job in jobs:
        job.process.kill()
    for job in jobs:
        job.process.join()
        cell_process.remove(job)


# ---- in a worker's process


def _as_worker(
    order: Order, send: SendProgress, *, work: Work, addresses: Sequence[str], index: int
) -> None:
    die_with_parent()  # a thread of Python's may never get its turn beside a call that waits
    os.environ["TF_CONFIG"] = tf_config(addresses, index)
    if index == 0:
        work(order, send)
        return
    from mlp_med.studies.worker import train  # TensorFlow: the supervisor shall not begin so

    train(order, send)
    while True:  # until the supervisor has the chief's result: the chief must not miss its peers
        signal.pause()
