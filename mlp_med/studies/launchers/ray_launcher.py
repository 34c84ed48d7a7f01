"""Runs cells on the nodes of a Ray cluster: each under a supervisor, a Ray task with its resources.

The sweep decides which cell goes to which node, by the same rule as on one machine, so that a run
is opened in the ledger only when there is room for it. What Ray knows of a node is asked for at
each step: nodes may come and go.

A cell that spans workers is placed by Ray (`ray_placement`), with a supervisor for each worker: the
chief's starts the group's own supervisor (`mlp_med.studies.worker_group`), and each of the others a
process that follows it (`mlp_med.studies.follower`). A lost worker is theirs to mend, by the rules
that hold without Ray too; only what befalls a supervisor or a node is told here.

A cell starts again by itself only where a node of it is lost (`ray_tasks`).
"""

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mlp_med.capacity.amounts import show_bytes
from mlp_med.errors import StudyError
from mlp_med.studies.cluster import cluster_of, tf_config
from mlp_med.studies.launchers.feasibility import possible
from mlp_med.studies.launchers.ray_cluster import machines, on_node
from mlp_med.studies.launchers.ray_placement import Place, Placement, can_hold
from mlp_med.studies.launchers.ray_supervisor import WorkByName, supervise
from mlp_med.studies.launchers.ray_tasks import POLL_SECONDS, Supervisor, end_all
from mlp_med.studies.mailbox import Mailbox, mailbox_of
from mlp_med.studies.orders import TAKEN_OVER, Done, Event, Failed, Job, Order, Work
from mlp_med.studies.room import Machine, first_with_room

# A cell that has lost so many nodes may be what kills them.
MOST_NODES_LOST = 3
# Until Ray's directory tells of a death, a lost node looks as if it had room.
SECONDS_OF_DISTRUST = 60.0
SECONDS_WITHOUT_NODES = 120.0
FOLLOWING = WorkByName("mlp_med.studies.follower", "follow_in_order")


@dataclass(frozen=True, eq=False)
class _Running:
    order: Order
    job: Job
    supervisors: tuple[Supervisor, ...]
    placement: Placement | None = None
    mailbox: Mailbox | None = None


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
            StudyError: for two minutes the cluster had no node, or none for the workers of a cell.
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
        self._threads = os.environ.get("OMP_NUM_THREADS")
        self._running: list[_Running] = []
        self._placing: tuple[Job, Placement] | None = None
        self._nodes_lost: dict[str, int] = {}
        self._lost_at: dict[str, float] = {}
        self._last_room_seen = time.monotonic()

    def run(self) -> None:
        while self._waiting or self._running:
            nodes = machines()
            self._leave_out_infeasible([node for node in nodes if node.cores])
            self._start_what_has_room([node for node in nodes if self._is_trusted(node)])
            self._listen()
            for lost in [each for each in self._running if self._is_lost(each.order)]:
                self._end(lost)
                self._on_event(lost.order, TAKEN_OVER)

    def end_all(self) -> None:
        end_all([each for running in self._running for each in running.supervisors])
        if self._placing is not None:
            self._placing[1].remove()
        for running in self._running:
            _clear(running)

    def _start_what_has_room(self, nodes: list[Machine]) -> None:
        with_cores = [node for node in nodes if node.cores]
        self._require_nodes(with_cores)
        for job in list(self._waiting):
            if self._most_cells is not None and len(self._running) >= self._most_cells:
                return
            if job.needs.num_workers > 1:
                self._place(job, with_cores)
                continue
            taken = [
                (each.machine.key, each.needs)
                for running in self._running
                for each in running.supervisors
            ]
            machine = first_with_room(nodes, job.needs, taken)
            if machine is None:
                continue
            self._waiting.remove(job)
            if (order := job.open()) is not None:
                self._running.append(self._start(order, job, machine))

    def _leave_out_infeasible(self, nodes: list[Machine]) -> None:
        """Of cells on one node; for the workers of a cell nodes may still come."""
        alone = [job for job in self._waiting if job.needs.num_workers == 1]
        left = possible(alone, nodes, self._on_event)
        self._waiting = [job for job in self._waiting if job not in alone or job in left]

    def _require_nodes(self, nodes: list[Machine]) -> None:
        """Nodes with CPUs; for a cell of several workers so many that they can hold them all."""
        missing = "" if nodes else "node with CPUs"
        if nodes and not self._running:  # what runs may end, whatever waits
            missing = self._room_missing(nodes)
        if not missing:
            self._last_room_seen = time.monotonic()
        elif time.monotonic() - self._last_room_seen > SECONDS_WITHOUT_NODES:
            raise StudyError(
                f"the Ray cluster has had no {missing} for {SECONDS_WITHOUT_NODES:.0f} s; "
                "start nodes and give the command again: finished cells are kept"
            )

    def _room_missing(self, nodes: list[Machine]) -> str:
        for needs in (job.needs for job in self._waiting if job.needs.num_workers > 1):
            if not can_hold(nodes, needs):
                one = needs.of_one_worker
                return (
                    f"room for {needs.num_workers} workers of a cell at once, each of "
                    f"{one.threads} threads and {show_bytes(one.memory_bytes)}"
                )
        return ""

    def _place(self, job: Job, nodes: list[Machine]) -> None:
        """Asks Ray for places of a cell's workers, one cell at a time, and starts it in them."""
        if self._placing is None and nodes and can_hold(nodes, job.needs):
            self._placing = job, Placement(job.needs, nodes)
        if self._placing is None or self._placing[0] is not job:
            return
        _, placement = self._placing
        try:
            places = placement.places()
        except LookupError:
            placement.remove()
            self._placing = None
            return
        if places is None:
            return
        self._waiting.remove(job)
        if (order := job.open()) is not None:
            self._running.append(self._start_in_places(order, job, placement, places))
        else:
            placement.remove()
        self._placing = None

    def _start_in_places(
        self, order: Order, job: Job, placement: Placement, places: Sequence[Place]
    ) -> _Running:
        assert order.checkpoint_dir  # beside it the workers leave word for each other
        needs = job.needs.of_one_worker
        addresses = [place.address for place in places]
        names = ", ".join(dict.fromkeys(place.machine.name for place in places))
        supervisors = []
        for number, place in enumerate(places):
            work = self._work if number == 0 else FOLLOWING
            work = replace(work, tf_config=tf_config(addresses, number))
            task = placement.task(
                supervise,
                number,
                num_returns="streaming",
                name=f"worker {number} of cell {order.cell.hash}",
            )
            events = task.remote(order, needs, work, self._preload, self._threads, names)
            supervisors.append(Supervisor(number, needs, place.machine, events))
        mailbox = mailbox_of(Path(order.checkpoint_dir).parent, cluster_of(addresses, 0))
        return _Running(order, job, tuple(supervisors), placement, mailbox)

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
        events = task.remote(
            order, job.needs, self._work, self._preload, self._threads, machine.name
        )
        return _Running(order, job, (Supervisor(0, job.needs, machine, events),))

    def _listen(self) -> None:
        import ray

        if not self._running:
            time.sleep(POLL_SECONDS if self._waiting else 0)
            return
        by_events = {
            each.events: (running, each)
            for running in self._running
            for each in running.supervisors
        }
        ready, _ = ray.wait(list(by_events), timeout=POLL_SECONDS, fetch_local=False)
        for events in ready:
            running, supervisor = by_events[events]
            if running not in self._running:  # another supervisor of it has just ended it
                continue
            event = supervisor.next_event()
            if event is None:
                continue
            if isinstance(event, Done | Failed):
                self._end(running, supervisor)
            self._on_event(running.order, event)
            if isinstance(event, Failed) and event.kind == "lost_node":
                self._lost_at[supervisor.machine.key] = time.monotonic()
                self._start_again(running)

    def _is_trusted(self, node: Machine) -> bool:
        lost_at = self._lost_at.get(node.key)
        return lost_at is None or time.monotonic() - lost_at > SECONDS_OF_DISTRUST

    def _start_again(self, running: _Running) -> None:
        cell = running.order.cell.hash
        self._nodes_lost[cell] = self._nodes_lost.get(cell, 0) + 1
        if self._nodes_lost[cell] < MOST_NODES_LOST:
            self._waiting.insert(0, running.job)

    def _end(self, running: _Running, ended: Supervisor | None = None) -> None:
        """Ends the supervisors of a cell, but for one that has ended by itself."""
        self._running.remove(running)
        end_all([each for each in running.supervisors if each is not ended])
        _clear(running)


def _clear(running: _Running) -> None:
    if running.placement is not None:
        running.placement.remove()
    if running.mailbox is not None:
        running.mailbox.remove()
