"""Studies that are computed from the capacity model, with a few cells measured here beside it."""

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, cast

import pandas as pd

from mlp_med.capacity.arithmetic import inference_costs, input_bytes, training_costs
from mlp_med.capacity.budget import Place
from mlp_med.capacity.memory import activation_peak, scoring_peak_bytes
from mlp_med.capacity.platforms import Platform
from mlp_med.capacity.probe import probe
from mlp_med.capacity.remedies import first_that_fits
from mlp_med.capacity.roofline import Estimate, estimate
from mlp_med.capacity.workload import Workload
from mlp_med.errors import CapacityError
from mlp_med.ledger.store import Ledger
from mlp_med.ledger.study_run import finish_study, start_study
from mlp_med.ledger.tables import log_tables
from mlp_med.studies.provenance import environment, git_commit
from mlp_med.studies.task import Task
from mlp_med.studies.work import PRELOAD

# No cell is measured here that is predicted to take more: other work may be beside it.
MOST_MEASURED_BYTES = 2_500_000_000


def feasibility(
    tasks: Sequence[Task],
    batches: Sequence[int],
    platforms: Sequence[Platform],
    *,
    price_per_hour: float | None,
) -> pd.DataFrame:
    """One row a platform, task, resolution and batch: what must be given up, and its price.

    Columns: platform, task, resolution, unit, grid, batch, remedy, precision, micro_batch, devices,
    peak_bytes and memory_bytes (whole numbers), predicted, and an optimiser step's seconds,
    energy_joules and price (NaN where not known).
    """
    rows = []
    for platform in platforms:
        place = Place(platform=platform)
        for task, resolution, batch in _grid(tasks, batches):
            found = first_that_fits(task.workload(resolution, batch), place, platform.memory_bytes)
            price = None if price_per_hour is None else found.price(price_per_hour)
            rows.append(
                {
                    "platform": platform.name,
                    "title": platform.title,
                    "task": task.name,
                    "resolution": resolution,
                    "unit": task.unit,
                    "grid": task.workload(resolution, 1).grid,
                    "batch": batch,
                    "remedy": found.remedy,
                    "precision": found.workload.precision,
                    "micro_batch": found.workload.batch_size,
                    "devices": found.num_devices,
                    "peak_bytes": found.peak_bytes,
                    "memory_bytes": platform.memory_bytes,
                    "predicted": not platform.measured,
                    "seconds": found.seconds,
                    "energy_joules": found.energy_joules,
                    "price": price,
                }
            )
    numeric = ["seconds", "energy_joules", "price"]
    return pd.DataFrame(rows).astype(dict.fromkeys(numeric, float))


def rooflines(
    tasks: Sequence[Task], batch_size: int, platforms: Sequence[Platform]
) -> pd.DataFrame:
    """One row a platform, task, resolution and mode, training or inference.

    Columns: platform, task, resolution, unit, mode, precision (bfloat16 where the platform has it),
    operations and bytes of a batch, intensity, activation_bytes (most alive at once), seconds,
    energy_joules and bound; the last three are missing where a figure of the platform is.
    """
    rows = []
    for platform in platforms:
        precision = "mixed_bfloat16" if "mixed_bfloat16" in platform.peak_flops else "float32"
        for task, resolution, batch in _grid(tasks, [batch_size]):
            workload = dataclasses.replace(
                task.workload(resolution, batch), precision=cast(Any, precision)
            )
            for mode, costs, alive in (
                ("training", training_costs(workload), activation_peak(workload).num_bytes),
                ("inference", inference_costs(workload), scoring_peak_bytes(workload)),
            ):
                found = estimate(costs, input_bytes(workload), platform, precision)
                operations = sum(cost.operations for cost in costs)
                num_bytes = sum(cost.num_bytes for cost in costs)
                rows.append(
                    {
                        "platform": platform.name,
                        "title": platform.title,
                        "task": task.name,
                        "resolution": resolution,
                        "unit": task.unit,
                        "mode": mode,
                        "batch": batch,
                        "precision": precision,
                        "predicted": not platform.measured,
                        "operations": float(operations),
                        "bytes": float(num_bytes),
                        "intensity": operations / num_bytes,
                        "activation_bytes": float(alive),
                        **_estimated(found),
                    }
                )
    return pd.DataFrame(rows)


def roofs(platforms: Sequence[Platform]) -> pd.DataFrame:
    """Peak and bandwidth of each platform that has both: platform, peak, bandwidth."""
    rows = [
        {
            "platform": platform.name,
            "peak": max(platform.peak_flops.values()),
            "bandwidth": platform.bandwidth,
        }
        for platform in platforms
        if platform.peak_flops and platform.bandwidth
    ]
    return pd.DataFrame(rows, columns=["platform", "peak", "bandwidth"])


def measured_here(
    tasks: Sequence[Task],
    cells: Sequence[tuple[str, float, int]],
    here: Platform | None,
    threads: int,
) -> pd.DataFrame:
    """Trains a few of the cells for some steps on this machine and sets them beside the model.

    A cell that is predicted to take more than MOST_MEASURED_BYTES or than there is, is infeasible
    here and not started; one that dies anyway is failed, with both numbers.

    Args:
        tasks: among which the cells are.
        cells: name of the task, resolution, batch.
        here: this machine, measured; without it there are no cells.
        threads: of a cell.

    Returns:
        Columns: task, resolution, unit, batch, precision, predicted_bytes, state, message; of done
        cells also measured_bytes, an optimiser step's measured_seconds and estimated_seconds,
        its intensity and operations_per_second.
    """
    if here is None:
        return pd.DataFrame(columns=["task", "state"])
    by_name = {task.name: task for task in tasks}
    precision = "mixed_bfloat16" if "mixed_bfloat16" in here.peak_flops else "float32"
    place, rows = Place(platform=here), []
    for name, resolution, batch in cells:
        workload = dataclasses.replace(
            by_name[name].workload(resolution, batch), precision=cast(Any, precision)
        )
        predicted = place.needed(workload)
        row: dict[str, Any] = {
            "task": name,
            "resolution": resolution,
            "unit": by_name[name].unit,
            "batch": batch,
            "precision": precision,
            "predicted_bytes": predicted,
            "state": "infeasible",
            "message": "",
        }
        if predicted <= min(MOST_MEASURED_BYTES, here.memory_bytes):
            row |= _measured(workload, here, threads)
        rows.append(row)
    return pd.DataFrame(rows)


def _measured(workload: Workload, here: Platform, threads: int) -> dict[str, Any]:
    try:
        found = probe(workload, threads=threads, preload=PRELOAD)
    except CapacityError as error:
        return {"state": "failed", "message": str(error)}
    costs = training_costs(workload)
    expected = estimate(costs, input_bytes(workload), here, workload.precision)
    operations = sum(cost.operations for cost in costs)
    return {
        "state": "done",
        "measured_bytes": float(found.peak_bytes - found.crops_bytes),
        "measured_seconds": found.step_seconds,
        "estimated_seconds": expected.seconds if expected else float("nan"),
        "intensity": operations / sum(cost.num_bytes for cost in costs),
        "operations_per_second": operations / found.step_seconds,
    }


def keep_study(
    ledger: Ledger,
    name: str,
    question: str,
    design: Mapping[str, Any],
    tables: Mapping[str, pd.DataFrame],
) -> str:
    """Puts a computed study into the ledger; the same design again takes the place of the former.

    Args:
        ledger: an open ledger.
        name: the experiment file's.
        question: what it answers.
        design: plain values for JSON: what was asked.
        tables: the answers.

    Returns:
        The run id of the study.
    """
    plan = {"name": name, "question": question, "size": "computed", "cells": [], **design}
    digest = hashlib.sha256(json.dumps(plan, sort_keys=True).encode()).hexdigest()[:16]
    tags = {"commit": git_commit(), "size": "computed", **environment()}
    run_id = start_study(ledger, name, digest, plan, tags)
    log_tables(ledger, run_id, tables)
    finish_study(ledger, run_id)
    return run_id


def _grid(tasks: Sequence[Task], batches: Sequence[int]) -> list[tuple[Task, float, int]]:
    return [
        (task, resolution, batch)
        for task in tasks
        for resolution in task.resolutions
        for batch in batches
    ]


def _estimated(found: Estimate | None) -> dict[str, Any]:
    if found is None:
        return {"seconds": float("nan"), "energy_joules": float("nan"), "bound": ""}
    energy = float("nan") if found.energy_joules is None else found.energy_joules
    return {"seconds": found.seconds, "energy_joules": energy, "bound": found.bound}
