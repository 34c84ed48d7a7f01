"""Cells that no machine can hold end before they start, and the others go on."""

from collections.abc import Callable, Iterable, Sequence

from mlp_med.studies.orders import INFEASIBLE, Event, Failed, Job, Order
from mlp_med.studies.room import Machine, why_infeasible


def possible(
    jobs: Iterable[Job], machines: Sequence[Machine], on_event: Callable[[Order, Event], None]
) -> list[Job]:
    """The jobs that a machine can hold, in their order; of the others it is told why not.

    Args:
        jobs: each of a cell that runs on one machine.
        machines: all that there are.
        on_event: called with the Failed of each cell that is infeasible.
    """
    left = []
    for job in jobs:
        why = why_infeasible(machines, job.needs)
        if not why:
            left.append(job)
        elif (order := job.open()) is not None:
            on_event(order, Failed(INFEASIBLE, why))
    return left
