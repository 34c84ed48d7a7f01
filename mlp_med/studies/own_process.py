"""A function called in a process like that of a cell, by those who need no TensorFlow themselves.

TensorFlow takes seconds to import, which the fork server has done, and once started keeps memory,
on a GPU all of it, that belongs to the cells.
"""

import multiprocessing
import threading
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, ParamSpec, TypeVar

from mlp_med.errors import MlpMedError, StudyError
from mlp_med.studies.cell_process import end_with, ended_by
from mlp_med.studies.work import PRELOAD

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


@dataclass(frozen=True)
class _Returned:
    value: Any


@dataclass(frozen=True)
class _Failed:
    traceback: str


def in_process_of_its_own(
    function: Callable[Arguments, Result], *args: Arguments.args, **kwargs: Arguments.kwargs
) -> Result:
    """What the function returns or raises; its process ends with this one, and at Ctrl-C at once.

    Args:
        function: importable by name.
        *args: its arguments, which cross a process border, as what it returns does.
        **kwargs: likewise.

    Raises:
        MlpMedError: as the function does.
        StudyError: the process was ended before the function was.
        RuntimeError: the function raised something else, whose traceback it holds.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOAD)
    ours, theirs = context.Pipe()
    process = context.Process(target=_main, args=(theirs, function, args, kwargs))
    process.start()
    theirs.close()  # so that this end reads end-of-file once the process is gone
    try:
        outcome = ours.recv()
    except EOFError:
        process.join()
        raise StudyError(_how_it_ended(function.__name__, process.exitcode)) from None
    finally:
        process.kill()
        process.join()
        ours.close()
    if isinstance(outcome, _Returned):
        return outcome.value
    if isinstance(outcome, MlpMedError):
        raise outcome
    raise RuntimeError(f"in the process of {function.__name__}:\n{outcome.traceback}")


def _how_it_ended(name: str, code: int | None) -> str:
    how = f"exited with code {code}"
    if code is not None and code < 0:
        how = f"was ended by {', '.join(ended_by(code))}"
    return f"the process of {name} {how}, before it was done; mend that and try again"


# ---- in the function's process


def _main(
    connection: Connection,
    function: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
) -> None:
    threading.Thread(target=end_with, args=(connection,), daemon=True).start()
    try:
        connection.send(_Returned(function(*args, **kwargs)))
    except MlpMedError as error:
        connection.send(error)
    except Exception:  # perhaps of a class that cannot cross the border
        connection.send(_Failed(traceback.format_exc()))
