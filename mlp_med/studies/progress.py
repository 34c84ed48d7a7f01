"""One progress bar over a whole study, with the time left; plain lines without a terminal."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from mlp_med.pipelines.folds import OWN_SPLITS
from mlp_med.studies.cell import Cell
from mlp_med.studies.orders import INFEASIBLE, Done, Event, Failed
from mlp_med.studies.orders import Progress as Seen


@contextmanager
def counting(console: Console, what: str) -> Iterator[Callable[[int, int], None]]:
    """Shows how many of `what` are done; yields a function of (done, total)."""
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
        transient=True,
    )
    with bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def work_of(cell: Cell, spatial_dims: int) -> float:
    """What a cell costs, up to a constant of the machine: examples × voxels of its grid."""
    return cell.budget_examples / cell.grid**spatial_dims


class StudyProgress:
    """Shows how far a study is. A context manager; `planned` first, then `event` for each event."""

    def __init__(self, console: Console, arm_names: Mapping[str, str], spatial_dims: int):
        self._console = console
        self._arm_names = arm_names
        self._spatial_dims = spatial_dims
        self._fractions: dict[str, float] = {}
        self._cells: dict[str, Cell] = {}
        self._num_failed = 0
        # Work, not cells, moves the bar: a fine cell takes fifty times as long as a coarse one.
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f}% of the work"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=console,
            speed_estimate_period=600,
            refresh_per_second=2,
        )
        self._task = self._bar.add_task("cells", total=None)

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._bar.stop()

    def planned(self, pending: list[Cell]) -> None:
        """Says what is about to run."""
        self._cells = {cell.hash: cell for cell in pending}
        num_done = len(self._arm_names) - len(pending)
        before = f", {num_done} done before" if num_done else ""
        self._console.print(f"{len(pending)} cells to run{before}")
        total = sum(work_of(cell, self._spatial_dims) for cell in pending)
        self._bar.update(self._task, total=total or 1.0)

    def waiting(self, held: list[Cell]) -> None:
        """Says what keeps a sweep that has nothing left to run."""
        self._console.print(f"waiting for {len(held)} cells that other sweeps of the study run")

    def event(self, cell: Cell, event: Event) -> None:
        """Moves the bar, and prints a line for a cell that ended."""
        if isinstance(event, Seen):
            self._fractions[cell.hash] = event.examples_seen / cell.budget_examples
        elif isinstance(event, Failed) and event.kind == "lost_node":
            self._fractions[cell.hash] = 0.0
            line = f"lost {self._label(cell)}: {event.message}; it starts again"
            self._console.print(line, style="yellow", markup=False)
        elif isinstance(event, Done | Failed):
            self._fractions[cell.hash] = 1.0
            self._print_end(cell, event)
        completed = sum(
            fraction * work_of(self._cells[name], self._spatial_dims)
            for name, fraction in self._fractions.items()
        )
        self._bar.update(self._task, completed=completed, description=self._counts())

    def _label(self, cell: Cell) -> str:
        fold = "" if cell.fold == OWN_SPLITS else f", fold {cell.fold}"
        return f"{self._arm_names[cell.hash]}, seed {cell.seed}{fold}"

    def _ended(self) -> int:
        return sum(fraction == 1.0 for fraction in self._fractions.values())

    def _counts(self) -> str:
        failed = f", {self._num_failed} failed" if self._num_failed else ""
        return f"{self._ended()}/{len(self._cells)} cells{failed}"

    def _print_end(self, cell: Cell, event: Done | Failed) -> None:
        label = self._label(cell)
        if isinstance(event, Failed):
            reason = event.message.strip().splitlines()[-1]
            if event.kind == INFEASIBLE:  # nothing has gone wrong
                line = f"infeasible {label}: {reason}"
            else:
                self._num_failed += 1
                line = f"failed {label}: {event.kind}: {reason}"
            self._console.print(line, style="red", markup=False)
        elif not self._console.is_terminal:
            self._console.print(f"done {label} ({self._ended()}/{len(self._cells)})")
