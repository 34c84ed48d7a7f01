"""Runs the jobs of a build under Apache Beam, by whatever runner.

Only jobs go through the runner, and they are small. Crops and records go by way of the data
directory, which every worker must see under the same path, as it must see the source.
"""

import builtins
import json
import logging
import pickle
import shutil
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from mlp_med import errors
from mlp_med.errors import DatasetError


@dataclass(frozen=True, eq=False)
class BeamRun:
    """Who runs the jobs.

    Attributes:
        runner: name of a Beam runner, as in "DirectRunner", or the runner itself.
        options: Beam's `PipelineOptions`; None for its defaults.
        folder: seen by every worker; where a job that fails leaves its error for a while.
    """

    runner: Any
    options: Any
    folder: Path


def require_beam() -> ModuleType:
    """The module `apache_beam`.

    Raises:
        DatasetError: it is not installed.
    """
    # Beam warns of each part of Google's cloud that is missing, and sets up logging to say so.
    logging.disable(logging.WARNING)
    try:
        import apache_beam
    except ImportError as error:
        raise DatasetError(
            "a Beam runner needs Apache Beam, which is not installed here; it comes with the extra "
            "'beam': pip install 'mlp-med[beam]', or make install-test in a checkout"
        ) from error
    finally:
        logging.disable(logging.NOTSET)
    return apache_beam


def run_under_beam(function: Callable[[Any], Any], jobs: Sequence[Any], beam: BeamRun) -> None:
    """Calls `function` on every job, in any order, wherever the runner has its workers.

    A runner may call it more than once on a job. What it returns is dropped.

    Args:
        function: of a module, so that a worker can import it.
        jobs: what it is called with; each must fit into a message, so it holds no pixels.
        beam: who runs them.

    Raises:
        Exception: the first that a job raised, as it was raised.
        DatasetError: Beam is not installed, or its runner failed.
    """
    apache_beam = require_beam()
    work = [pickle.dumps((function, job)) for job in jobs]
    with _errors_of_jobs(beam) as notes:
        options = _with_our_defaults(beam.options)
        with apache_beam.Pipeline(runner=beam.runner, options=options) as pipeline:
            _ = (
                pipeline
                | "Jobs" >> apache_beam.Create(work)
                | "Spread" >> apache_beam.Reshuffle()
                | "Run" >> apache_beam.Map(_run_one, notes=str(notes))
            )


def _run_one(work: bytes, notes: str) -> None:
    try:
        function, job = pickle.loads(work)
        function(job)
    except Exception as error:
        # A runner keeps of an error what it likes, often its text alone.
        with suppress(OSError):  # the error goes on in any case
            note = Path(notes) / uuid.uuid4().hex
            unfinished = note.with_suffix(".unfinished")
            unfinished.write_text(json.dumps(_noted(error)), "utf-8")
            unfinished.replace(note)
        raise


def _noted(error: Exception) -> dict[str, Any]:
    """Plain values: what lies in a folder that others may write to is never unpickled."""
    number = error.errno if isinstance(error, OSError) else None
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    filename = None if getattr(error, "filename", None) is None else str(error.filename)
    return {"kind": type(error).__name__, "text": text, "errno": number, "filename": filename}


def _as_raised(note: dict[str, Any]) -> Exception:
    """An error of the kind that was noted, where that is one of ours or of Python's own."""
    if note["errno"] is not None:
        return OSError(note["errno"], note["text"], note["filename"])
    kind = getattr(errors, note["kind"], None) or getattr(builtins, note["kind"], None)
    if isinstance(kind, type) and issubclass(kind, Exception):
        with suppress(TypeError):  # some want more than a text
            return kind(note["text"])
    return RuntimeError(f"{note['kind']}: {note['text']}")


@contextmanager
def _errors_of_jobs(beam: BeamRun) -> Iterator[Path]:
    """A folder for the errors of jobs; where the runner fails, the first of them is raised."""
    notes = beam.folder / f"errors-{uuid.uuid4().hex}"
    notes.mkdir(parents=True)
    try:
        yield notes
    except Exception as failure:
        noted = [path for path in notes.iterdir() if not path.suffix]
        if noted:
            first = min(noted, key=lambda path: path.stat().st_mtime_ns)
            raise _as_raised(json.loads(first.read_text("utf-8"))) from failure
        told = (str(failure).strip() or repr(failure)).splitlines()
        raise DatasetError(
            f"the Beam runner {beam.runner} failed: {told[-1][:500]}; see that it runs, and that "
            "its workers have this package and see the source and the data directory under the "
            "same paths"
        ) from failure
    finally:
        shutil.rmtree(notes, ignore_errors=True)
        for folder in (beam.folder, beam.folder.parent):
            with suppress(OSError):  # crops wait there
                folder.rmdir()


def _with_our_defaults(options: Any) -> Any:
    from apache_beam.options.pipeline_options import PipelineOptions, TypeOptions, WorkerOptions

    options = PipelineOptions([]) if options is None else options
    # Else DirectRunner tries to download the runner Prism, which knows none of its own options.
    # It passes Prism over where a pipeline may have such triggers; ours has no trigger at all.
    options.view_as(TypeOptions).allow_unsafe_triggers = True
    # A worker else tells of each channel that it opens.
    worker = options.view_as(WorkerOptions)
    if worker.default_sdk_harness_log_level is None:
        worker.default_sdk_harness_log_level = "ERROR"
    return options
