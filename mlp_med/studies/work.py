"""What the process of a cell does, for those who start it and need no TensorFlow themselves."""

import multiprocessing
import signal
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from mlp_med.errors import StudyError
from mlp_med.ledger.delivery import tell
from mlp_med.ledger.spool import CellEnd, Spool
from mlp_med.ledger.store import open_ledger
from mlp_med.ledger.write import curve_points
from mlp_med.studies.orders import Order, SendProgress
from mlp_med.studies.resume import remove_checkpoints

# Imported by the fork server once, so that a cell need not: its worker and all that it imports.
PRELOAD = [
    "mlp_med.quiet_tensorflow",
    "mlp_med.studies.worker",
    "mlflow.store.tracking.sqlalchemy_store",
    "tensorflow_datasets",
    "tfds_builders",
]
Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def train_and_log(order: Order, send: SendProgress) -> None:
    """Trains the cell and tells the ledger its result, or keeps it until the ledger answers."""
    from mlp_med.studies import worker

    assert order.start is not None  # else there would be nothing to log
    result = worker.train(order, send)
    end = CellEnd(
        start=order.start,
        run_id=order.run_id,
        metrics=result.metrics,
        points=curve_points(order.run_id, result.curve),
        predictions=result.predictions,
        tags=result.tags,
    )
    tell(lambda: open_ledger(order.tracking_uri), Spool(order.data_dir), end)
    remove_checkpoints(order)  # the result is in the ledger, or on the disk


def train_and_save(order: Order, send: SendProgress, *, path: Path) -> None:
    """Trains the cell and writes its predictions to `path`; the ledger is left alone."""
    from mlp_med.studies import worker

    worker.train(order, send).predictions.to_parquet(path)


def in_process_of_its_own(
    function: Callable[Arguments, Result], *args: Arguments.args, **kwargs: Arguments.kwargs
) -> Result:
    """What the function returns or raises, called in a process like that of a cell.

    TensorFlow takes seconds to import, which the fork server has done, and once started keeps
    memory, on a GPU all of it, that belongs to the cells.

    Args:
        function: importable by name.
        *args: its arguments, which cross a process border, as what it returns or raises does.
        **kwargs: likewise.

    Raises:
        StudyError: the process was ended before the function returned.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOAD)
    # Ctrl-C ends it at once and without a traceback; it is the parent's to tell.
    ends_at_once: dict[str, Any] = {
        "initializer": signal.signal,
        "initargs": (signal.SIGINT, signal.SIG_DFL),
    }
    with ProcessPoolExecutor(1, mp_context=context, **ends_at_once) as process:
        try:
            return process.submit(function, *args, **kwargs).result()
        except BrokenProcessPool as error:
            raise StudyError(
                f"the process of {function.__name__} was ended before it was done, perhaps by the "
                "kernel, out of memory; free memory, or look for who ended it, and try again"
            ) from error
