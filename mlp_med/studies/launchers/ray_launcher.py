"""Runs cells on the nodes of a Ray cluster: each under a supervisor, a Ray task with its resources.

The sweep decides which cell goes to which node, by the same rule as on one machine, so that a run
is opened in the ledger only when there is room for it. What Ray knows of a node is asked for at
each step: nodes may come and go.

A cell starts again by itself only where its node is lost. Ray tells that (`NodeDiedError`) from a
supervisor that was killed on a node that lives (`WorkerCrashedError`, or `OutOfMemoryError` where
Ray's memory monitor did it), which is a failure with a name, like the end of the cell itself.
"""

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from mlp_med.errors import StudyError
from mlp_med.studies.launchers.ray_cluster import machines, on_node
from mlp_med.studies.launchers.ray_supervisor import WorkByName, supervise
from mlp_med.studies.orders import TAKEN_OVER, Done, Event, Failed, Job, Order, Work
from mlp_med.studies.room import Machine, first_with_room

POLL_SECONDS = 0.5
# A cell that has lost so many nodes may be what kills them.
MOST_NODES_LOST = 3
# After a supervisor's death its node may be found dead too, a little later.
SECONDS_OF_DOUBT = 5.0
# Until Ray's directory tells of a death, a lost node looks as if it had room.
SECONDS_OF_DISTRUST = 60.0
SECONDS_WITHOUT_NODES = 120.0
SECONDS_TO_END = 10.0


@dataclass(frozen=True, eq=False)
class _Running:
    order: Order
    job: Job
    machine: Machine
    events: Any  # Ray's generator of references


class RayLauncher:
    """Launches on the cluster that this process has joined (`joined`)."""

    def __init__(self, preload: list[str], most_cells: int | None = None):
        self._preload, self._most_cells = preload, most_cells

    def __call__(
        self,
        jobs: Sequence[Job],
        work: Work,
        on_event: Callable[[Order, Event], None],
        *,
        is_lost: Callable[[Order], bool],
    ) -> None:
        """Runs every job; see `mlp_med.studies.launchers.Launch`.

        Raises:
            StudyError: the cluster had no node left for two minutes.
        """
        sweep = _RaySweep(list(jobs), work, on_event, is_lost, self._preload, self._most_cells)
        try:
            sweep.run()
        finally:
            sweep.end_all()


class _RaySweep:
    def __init__(
        self,
        waiting: list[Job],
        work: Work,
        on_event: Callable[[Order, Event], None],
        is_lost: Callable[[Order], bool],
        preload: list[str],
        most_cells: int | None,
    ):
        self._waiting, self._on_event, self._is_lost = waiting, on_event, is_lost
        self._work = WorkByName(work.__module__, work.__qualname__)
        self._preload, self._most_cells = preload, most_cells
        self._running: list[_Running] = []
        self._nodes_lost: dict[str, int] = {}
        self._lost_at: dict[str, float] = {}
        self._last_node_seen = time.monotonic()

    def run(self) -> None:
        while self._waiting or self._running:
            self._start_what_has_room([node for node in machines() if self._is_trusted(node)])
            self._listen()
            for lost in [each for each in self._running if self._is_lost(each.order)]:
                self._cancel([lost])
                self._running.remove(lost)
                self._on_event(lost.order, TAKEN_OVER)

    def end_all(self) -> None:
        self._cancel(self._running)

    def _start_what_has_room(self, nodes: list[Machine]) -> None:
        if any(node.cores for node in nodes):
            self._last_node_seen = time.monotonic()
        elif time.monotonic() - self._last_node_seen > SECONDS_WITHOUT_NODES:
            raise StudyError(
                f"the Ray cluster has had no node with CPUs for {SECONDS_WITHOUT_NODES:.0f} s; "
                "start nodes and give the command again: finished cells are kept"
            )
        for job in list(self._waiting):
            if self._most_cells is not None and len(self._running) >= self._most_cells:
                return
            taken = [(each.machine.key, each.job.needs) for each in self._running]
            machine = first_with_room(nodes, job.needs, taken)
            if machine is None:
                continue
            self._waiting.remove(job)
            if (order := job.open()) is not None:
                self._running.append(self._start(order, job, machine))

    def _start(self, order: Order, job: Job, machine: Machine) -> _Running:
        # A request that no node can ever meet would wait for ever: it is cut to what the node has.
        task = on_node(
            supervise,
            machine.key,
            num_returns="streaming",
            num_cpus=min(job.needs.threads, machine.cores),
            num_gpus=min(1, machine.num_gpus),
            memory=min(job.needs.memory_bytes, machine.memory_bytes),
            name=f"cell {order.cell.hash}",
        )
        threads = os.environ.get("OMP_NUM_THREADS")
        events = task.remote(order, job.needs, self._work, self._preload, threads, machine.name)
        return _Running(order, job, machine, events)

    def _listen(self) -> None:
        import ray

        if not self._running:
            time.sleep(POLL_SECONDS if self._waiting else 0)
            return
        by_events = {each.events: each for each in self._running}
        ready, _ = ray.wait(list(by_events), timeout=POLL_SECONDS, fetch_local=False)
        for events in ready:
            running = by_events[events]
            event = self._next_event(running)
            if isinstance(event, Done | Failed):
                self._running.remove(running)
            self._on_event(running.order, event)
            if isinstance(event, Failed) and event.kind == "lost_node":
                self._start_again(running)

    def _is_trusted(self, node: Machine) -> bool:
        lost_at = self._lost_at.get(node.key)
        return lost_at is None or time.monotonic() - lost_at > SECONDS_OF_DISTRUST

    def _start_again(self, running: _Running) -> None:
        self._lost_at[running.machine.key] = time.monotonic()
        cell = running.order.cell.hash
        self._nodes_lost[cell] = self._nodes_lost.get(cell, 0) + 1
        if self._nodes_lost[cell] < MOST_NODES_LOST:
            self._waiting.insert(0, running.job)

    def _next_event(self, running: _Running) -> Event:
        import ray
        import ray.exceptions as failures

        name = running.machine.name
        try:
            return ray.get(next(running.events))
        except failures.OutOfMemoryError as error:
            return Failed("out_of_memory", f"ended by Ray, since node {name} was full: {error}")
        except failures.WorkerCrashedError:
            if self._is_alive_still(running.machine):
                return Failed("killed", f"its supervisor on node {name} was ended by a signal")
            return Failed("lost_node", f"node {name} is gone")
        except failures.RayTaskError as error:  # a defect of ours: keep the traceback
            return Failed(type(error.cause).__name__, str(error))
        except StopIteration:
            return Failed("died", f"its supervisor on node {name} ended without a result")
        except (
            failures.NodeDiedError,
            failures.LocalRayletDiedError,
            failures.TaskUnschedulableError,
            failures.ObjectLostError,
        ):
            return Failed("lost_node", f"node {name} is gone")

    def _is_alive_still(self, machine: Machine) -> bool:
        deadline = time.monotonic() + SECONDS_OF_DOUBT
        while time.monotonic() < deadline:
            if machine.key not in {node.key for node in machines()}:
                return False
            time.sleep(POLL_SECONDS)
        return True

    def _cancel(self, running: Sequence[_Running]) -> None:
        """Ends supervisors, and with them their cells, and waits until they are gone."""
        import ray

        if not ray.is_initialized():
            return
        for each in running:
            ray.cancel(each.events, force=True)
        deadline = time.monotonic() + SECONDS_TO_END
        for each in running:
            while time.monotonic() < deadline and self._goes_on(each):
                pass

    def _goes_on(self, running: _Running) -> bool:
        import ray

        if not ray.wait([running.events], timeout=POLL_SECONDS)[0]:
            return True
        try:
            ray.get(next(running.events))
        except (ray.exceptions.RayError, StopIteration):
            return False
        return True
