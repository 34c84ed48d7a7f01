"""The launcher of this machine: one fresh process a cell, as many at once as it has room for."""

import multiprocessing
from collections import Counter
from collections.abc import Callable, Iterable

from mlp_med.cores import memory_nodes
from mlp_med.studies.cell import Cell
from mlp_med.studies.cell_process import CellProcess, drain, listen, outcome_of, remove, start
from mlp_med.studies.launchers.feasibility import possible
from mlp_med.studies.orders import TAKEN_OVER, Event, Job, Order, Work
from mlp_med.studies.room import Machine, has_room


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
    waiting = possible(jobs, [machine], on_event)
    running: list[CellProcess] = []
    try:
        while True:
            while (job := _next(waiting, running, machine)) is not None:
                waiting.remove(job)
                if (order := job.open()) is not None:
                    cores = _place(order.cell, running) if pin else _all_cores()
                    running.append(start(context, order, job.needs, work, cores))
            if not running:
                return
            listen(running, on_event)
            for lost in [each for each in running if is_lost(each.order)]:
                lost.process.kill()
                lost.process.join()
                lost.outcome = TAKEN_OVER
            for ended in [each for each in running if each.process.exitcode is not None]:
                drain(ended, on_event)
                running.remove(ended)
                on_event(ended.order, outcome_of(ended))
                remove(ended)
    finally:
        for left in running:
            left.process.kill()
            left.process.join()
            remove(left)


def _next(waiting: list[Job], running: list[CellProcess], machine: Machine) -> Job | None:
    taken = [job.needs for job in running]
    return next((job for job in waiting if has_room(machine, job.needs, taken)), None)


def _place(cell: Cell, running: list[CellProcess]) -> frozenset[int]:
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
