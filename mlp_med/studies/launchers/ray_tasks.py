"""Supervisors as Ray tasks: what is heard of them, and how they are ended.

Ray tells a lost node (`NodeDiedError`) from a supervisor that was killed on a node that lives
(`WorkerCrashedError`, or `OutOfMemoryError` where Ray's memory monitor did it), which is a failure
with a name, like the end of the cell itself.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from mlp_med.studies.launchers.ray_cluster import machines
from mlp_med.studies.orders import Done, Event, Failed
from mlp_med.studies.room import Machine, Needs

POLL_SECONDS = 0.5
# After a supervisor's death its node may be found dead too, a little later.
SECONDS_OF_DOUBT = 5.0
SECONDS_TO_END = 10.0


@dataclass(frozen=True, eq=False)
class Supervisor:
    """A Ray task.

    Attributes:
        worker: which one of the cell's it supervises; 0 is the chief, or the only one.
        needs: of that worker.
        machine: where it is.
        events: Ray's generator of references.
    """

    worker: int
    needs: Needs
    machine: Machine
    events: Any

    def next_event(self) -> Event | None:
        """What is told of the cell next; None where a worker that is not the chief goes on."""
        event = self._next_event()
        if self.worker == 0:
            return event
        name = f"worker {self.worker}"
        if isinstance(event, Failed):
            return replace(event, message=f"{name}: {event.message}")
        return Failed("died", f"{name} ended before the chief") if isinstance(event, Done) else None

    def _next_event(self) -> Event:
        import ray
        import ray.exceptions as failures

        name = self.machine.name
        try:
            return ray.get(next(self.events))
        except failures.OutOfMemoryError as error:
            return Failed("out_of_memory", f"ended by Ray, since node {name} was full: {error}")
        except failures.WorkerCrashedError:
            if self._node_lives():
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

    def _node_lives(self) -> bool:
        deadline = time.monotonic() + SECONDS_OF_DOUBT
        while time.monotonic() < deadline:
            if self.machine.key not in {node.key for node in machines()}:
                return False
            time.sleep(POLL_SECONDS)
        return True

    def goes_on(self) -> bool:
        """Waits a moment for it to end."""
        import ray

        if not ray.wait([self.events], timeout=POLL_SECONDS)[0]:
            return True
        try:
            ray.get(next(self.events))
        except (ray.exceptions.RayError, StopIteration):
            return False
        return True


def end_all(supervisors: Sequence[Supervisor]) -> None:
    """Ends supervisors by SIGKILL, and with them their cells, and waits until they are gone."""
    import ray

    if not ray.is_initialized():
        return
    for each in supervisors:
        ray.cancel(each.events, force=True)
    deadline = time.monotonic() + SECONDS_TO_END
    for each in supervisors:
        while time.monotonic() < deadline and each.goes_on():
            pass
