"""What is still to be rendered for the configs of a dataset, and who does it."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from tfds_builders.beam_jobs import BeamRun, run_under_beam
from tfds_builders.processes import map_unordered

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done, and how much there is to do."""


@dataclass(frozen=True, eq=False)
class Rendering:
    """The jobs that write the crop files which are missing.

    Attributes:
        function: writes the crop files of a job, each whole or not at all; a module's own, so that
            another process finds it.
        jobs: what `function` is called with; one each for what is read once.
        counted: what progress counts, as in "scans".
        total: how many of them there are, those included whose crops are ready.
        counts: how many of them each job holds; one by default.
        jobs_worth_a_worker: how many jobs take as long as starting a process.
    """

    function: Callable[[Any], Any]
    jobs: Sequence[Any]
    counted: str
    total: int
    counts: Sequence[int] | None = None
    jobs_worth_a_worker: int | None = None

    def run(self, num_workers: int, progress: Progress, beam: BeamRun | None = None) -> None:
        """Renders in `num_workers` processes, or wherever the Beam runner has its workers.

        Raises:
            ImageError: a file of the source cannot be used.
            DatasetError: a worker process died, or the runner failed.
            OSError: a crop file cannot be written.
        """
        what = f"rendering {self.counted}"
        counts = [1] * len(self.jobs) if self.counts is None else self.counts
        done = self.total - sum(counts)
        progress(what, done, self.total)
        if not self.jobs:
            return
        if beam is not None:
            run_under_beam(self.function, self.jobs, beam)
            progress(what, self.total, self.total)
            return
        for count in self._in_processes(list(counts), num_workers):
            done += count
            progress(what, done, self.total)

    def _in_processes(self, counts: list[int], num_workers: int) -> Iterator[int]:
        if self.jobs_worth_a_worker is not None:
            num_workers = min(num_workers, 1 + len(self.jobs) // self.jobs_worth_a_worker)
        work = list(zip(self.jobs, counts, strict=True))
        return map_unordered(partial(_render, self.function), work, num_workers)


def _render(function: Callable[[Any], Any], work: tuple[Any, int]) -> int:
    job, count = work
    function(job)
    return count
