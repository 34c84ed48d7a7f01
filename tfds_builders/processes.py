"""Calls a function on many jobs in worker processes that never outlive their parent."""

import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import TypeVar

from mlp_med.errors import DatasetError

Job = TypeVar("Job")
Result = TypeVar("Result")


def map_unordered(
    function: Callable[[Job], Result], jobs: Sequence[Job], num_workers: int
) -> Iterator[Result]:
    """Yields results as they come; one worker means this process and none besides.

    An exception of a job, or of the caller (Ctrl-C among them), ends the workers at once; the death
    of this process, even by SIGKILL, ends them as well.

    Raises:
        DatasetError: a worker process died, e.g. for want of memory.
    """
    num_workers = min(num_workers, len(jobs))
    if num_workers <= 1:
        yield from map(function, jobs)
        return
    # Not forkserver: a process has one such server, and it should be the one that training starts,
    # with TensorFlow loaded.
    context = get_context("spawn")
    # Nobody writes: workers wait for the end of this pipe, which comes when we close or die.
    lifeline, ours = context.Pipe(duplex=False)
    pool = ProcessPoolExecutor(num_workers, context, _live_while, (lifeline,))
    try:
        for future in as_completed([pool.submit(function, job) for job in jobs]):
            yield future.result()
    except BaseException as error:
        ours.close()
        if not isinstance(error, BrokenProcessPool):
            raise
        raise DatasetError(
            f"one of {num_workers} worker processes died; with too little memory, use fewer "
            "workers; if an image killed its library, build with one worker, which ends at it. In "
            "a script of your own, build under `if __name__ == '__main__':`"
        ) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        ours.close()
        lifeline.close()


def _live_while(lifeline: Connection) -> None:
    """Makes this worker leave Ctrl-C to its parent, and end when the parent's end is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_exit_at_end, args=(lifeline,), daemon=True).start()


def _exit_at_end(lifeline: Connection) -> None:
    lifeline.poll(None)
    os._exit(1)
