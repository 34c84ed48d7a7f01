"""Launchers: where and how the cells of a study run. Each starts the same cell process.

`local` runs them on this machine, `ray` on every machine of a Ray cluster; `dry-run` runs nothing
and says what would run, where, and for how long.
"""

from collections.abc import Callable, Sequence
from typing import Literal, Protocol

from mlp_med.studies.orders import Event, Job, Order, Work

LauncherName = Literal["local", "ray", "dry-run"]


class Launch(Protocol):
    """Runs every job as soon as there is room for it, and returns when all have ended.

    What is told of an order ends with exactly one Done or Failed; only after a Failed of kind
    "lost_node" is the job opened again. Whatever ends the call ends the cells.
    """

    def __call__(
        self,
        jobs: Sequence[Job],
        work: Work,
        on_event: Callable[[Order, Event], None],
        *,
        is_lost: Callable[[Order], bool],
    ) -> None:
        """Runs the jobs.

        Args:
            jobs: what is to run, the longest first.
            work: what a cell's process does; importable by name.
            on_event: called in this process with each order's events.
            is_lost: asked while an order runs; where true its process is ended.
        """
