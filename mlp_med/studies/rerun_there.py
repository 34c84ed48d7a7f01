"""Trains one cell with the code of another commit; run by `reproduction`, in its environment.

`mlp_med` in here is that commit's, so only what commits have had for long is asked of it, and each
thing is looked for before it is used: the fields of a cell and of an order, and a function that
trains. It says what it found in a JSON file, and what stands in the way of the cell where one
does. Usage: python -P rerun_there.py JOB.json RESULT.json
"""

import contextlib
import importlib
import json
import os
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any


class CannotRunError(Exception):
    """The commit cannot train this cell; says why."""


def main() -> None:
    """Reads a job, trains its cell, and writes what came of it."""
    threading.Thread(target=_die_with_parent, daemon=True).start()
    job = json.loads(Path(sys.argv[1]).read_text())
    result = Path(sys.argv[2])
    try:
        found = {"state": "done", **_about(job)}
        _train(job)
    except CannotRunError as error:
        found = {"state": "cannot run", "reason": str(error)}
    except Exception as error:
        kind = getattr(error, "kind", type(error).__name__)
        found = {**_about(job), "state": "failed", "reason": f"{kind}: {error}"}
    result.write_text(json.dumps(found))


def _die_with_parent() -> None:
    """The parent never writes: this read ends only when it is gone, even by SIGKILL."""
    sys.stdin.buffer.read()
    os._exit(1)


def _train(job: Mapping[str, Any]) -> None:
    worker = _module("mlp_med.studies.worker")
    order = _order(_cell(job["params"], job["later_params"]), job["data_dir"])
    path = Path(job["predictions"])
    if hasattr(worker, "train_and_save"):
        worker.train_and_save(order, lambda event: None, path=path)
    elif hasattr(worker, "train"):
        worker.train(order, lambda event: None).predictions.to_parquet(path)
    else:
        raise CannotRunError("this commit has no function that trains a cell without a ledger")


def _cell(params: Mapping[str, Any], later_params: Mapping[str, Any]) -> Any:
    """The cell as that commit knows it.

    A field that it does not have is left out where the cell does without it: `later_params` has
    what cells did before they had the field.
    """
    cell = _module("mlp_med.studies.cell").Cell
    known = {field.name for field in fields(cell)}
    absent = object()
    unknown = {
        name: value
        for name, value in params.items()
        if name not in known and later_params.get(name, absent) != value
    }
    if unknown:
        named = ", ".join(f"{name}={value!r}" for name, value in sorted(unknown.items()))
        raise CannotRunError(f"the cell has {named}, which this commit does not know")
    later_there = getattr(_module("mlp_med.ledger.read"), "LATER_PARAMS", {})
    given = {**later_there, **params}
    if missing := known - set(given):
        raise CannotRunError(
            f"the cell lacks {', '.join(sorted(missing))}, which this commit needs"
        )
    return cell.from_params({name: given[name] for name in known})


def _order_class() -> Any:
    """Where this commit keeps it."""
    try:
        return _module("mlp_med.studies.orders").Order
    except CannotRunError:
        return _module("mlp_med.studies.launcher").Order


def _order(cell: Any, data_dir: str) -> Any:
    order = _order_class()
    values = {
        "cell": cell,
        "run_id": "rerun",
        "tracking_uri": "",
        "data_dir": data_dir,
        "launched_at": time.time(),
    }
    known = {field.name: field for field in fields(order)}
    needed = {
        name
        for name, field in known.items()
        if field.default is MISSING and field.default_factory is MISSING
    }
    if unknown := needed - set(values):
        raise CannotRunError(f"orders need {', '.join(sorted(unknown))} at this commit")
    return order(**{name: value for name, value in values.items() if name in known})


def _about(job: Mapping[str, Any]) -> dict[str, Any]:
    """What the rerun depends on, as far as the commit can tell."""
    dataset, resolution = job["params"]["dataset"], job["params"]["resolution"]
    about: dict[str, Any] = {}
    try:
        provenance = importlib.import_module("mlp_med.studies.provenance")
        about["environment"] = provenance.environment()
        about["code_digest"] = provenance.code_digest(dataset)
    except (ImportError, AttributeError, TypeError):
        about.setdefault("environment", {})
    try:
        builders = importlib.import_module("tfds_builders")
        builder = builders.open_config(dataset, float(resolution), Path(job["data_dir"]))
        about["data_digest"] = str(builder.info.metadata["examples_digest"])
    except Exception:  # the training says what is wrong with the data
        about["data_digest"] = ""
    return about


def _module(name: str) -> Any:
    with contextlib.suppress(ImportError):
        importlib.import_module("mlp_med.quiet_tensorflow")
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise CannotRunError(f"this commit has no {error.name}") from error


if __name__ == "__main__":
    main()
