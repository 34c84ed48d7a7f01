"""The memory model beside reality: predicted and measured peaks of training processes.

    python benchmarks/memory_model.py --out memory_model.json --figure memory_model.png

Each cell trains a few steps in a fresh process; its peak is VmHWM read inside it. Above the process
base means less what was resident before the model was built; the whole peak is predicted with that
base as it was read, which --preload makes the one of a study's cell. With --calibrate the cells of
CALIBRATION are measured instead, and the constants of `mlp_med.capacity.memory` are fitted to them;
the cells that are checked are others.
"""

import argparse
import json
import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mlp_med.capacity.memory import (
    ALLOCATOR_SLACK,
    PROCESS_BASE_BYTES,
    RUNNING_BYTES,
    UNROLLED_BYTES,
    activation_peak,
    graph_bytes,
    predict_memory,
)
from mlp_med.capacity.probe import Probe, probe
from mlp_med.capacity.this_machine import processor
from mlp_med.capacity.workload import Workload
from mlp_med.errors import CapacityError
from mlp_med.studies.work import PRELOAD

TOLERANCE = 0.10
NUM_STEPS = 3
PRECISIONS = {"f": "float32", "b": "mixed_bfloat16"}


class Row(NamedTuple):
    """A cell in short: edge of the grid, axes, examples in a micro-batch, micro-batches a step."""

    edge: int
    axes: int
    batch: int
    precision: str
    norm: str = "batch"
    micro_batches: int = 1
    recompute: bool = False
    model: str = "residual"


CALIBRATION = [
    Row(16, 3, 4, "f"),
    *(Row(64, 3, batch, "f") for batch in (8, 32)),
    *(Row(64, 3, batch, "b") for batch in (8, 32)),
    Row(64, 3, 16, "f", recompute=True),
    Row(256, 2, 16, "f"),
    *(Row(256, 2, batch, "f", "group") for batch in (8, 16)),
    Row(64, 3, 4, "b", "group"),
    Row(64, 3, 16, "f", "group"),
    # Other grids and networks: tensors of other sizes fill the allocator's regions otherwise.
    Row(64, 3, 24, "f", model="residual_small"),
    Row(32, 3, 96, "f", model="residual_small"),
    Row(96, 3, 4, "b"),
    Row(512, 2, 8, "f"),
    Row(512, 2, 4, "f", recompute=True),
    Row(256, 2, 40, "b"),
]
CHECKED = [
    *(Row(64, 3, batch, "f") for batch in (4, 12, 24)),
    *(Row(64, 3, batch, "b") for batch in (4, 12, 24, 48)),
    *(Row(64, 3, batch, "f", recompute=True) for batch in (12, 24)),
    *(Row(64, 3, batch, "b", recompute=True) for batch in (24, 64)),
    *(Row(256, 2, batch, "f") for batch in (12, 24)),
    *(Row(256, 2, batch, "b") for batch in (24, 64)),
    Row(512, 2, 6, "f", recompute=True),
    *(Row(96, 3, batch, "f") for batch in (2, 6)),
    Row(96, 3, 6, "b"),
    Row(96, 3, 6, "f", recompute=True),
    *(Row(64, 3, batch, "f", model="residual_small") for batch in (16, 32)),
    Row(64, 3, 32, "b", model="residual_small"),
    *(Row(32, 3, batch, "f") for batch in (32, 128)),
    Row(32, 3, 64, "b"),
    Row(128, 3, 1, "f"),
    Row(128, 3, 3, "b"),
    Row(128, 3, 3, "b", recompute=True),
    Row(512, 2, 6, "f"),
    Row(512, 2, 12, "b"),
    Row(64, 3, 8, "f", micro_batches=2),
    Row(64, 3, 12, "f", "none"),
    Row(64, 3, 8, "f", "group"),
    Row(64, 3, 12, "b", "group"),
    Row(256, 2, 24, "f", "group"),
]


def workload_of(row: Row) -> Workload:
    """The workload of a row: crops of HU in 3D, RGB patches in 2D."""
    return Workload(
        model=row.model,
        voxels=(row.edge,) * row.axes,
        num_channels=1 if row.axes == 3 else 3,
        batch_size=row.batch,
        precision=PRECISIONS[row.precision],  # type: ignore[arg-type]
        norm=row.norm,  # type: ignore[arg-type]
        accumulation_steps=row.micro_batches,
        recompute=row.recompute,
        native_bytes=2 if row.axes == 3 else 1,
    )


def measure(
    rows: Sequence[Row],
    keep: Callable[[list[dict[str, Any]]], None],
    preload: Sequence[str] = (),
) -> list[dict[str, Any]]:
    """Predicts and measures each row, prints it and hands all so far to `keep`.

    A process that dies is a result with its reason.
    """
    cells = []
    for row in rows:
        workload = workload_of(row)
        plan = predict_memory(workload)
        cell: dict[str, Any] = {
            "workload": workload.to_dict(),
            "predicted_above_base_bytes": plan.above_base,
            "lines": plan.lines,
        }
        try:
            found = probe(workload, num_steps=NUM_STEPS, preload=preload)
        except CapacityError as error:
            cell["failed"] = str(error)
            print(f"{_name(workload):62} died: {error}", flush=True)
        else:
            cell |= {**asdict(found), **_errors(plan.above_base, found)}
            print(
                f"{_name(workload):62} above base {plan.above_base / 1e6:7.0f} predicted "
                f"{found.above_base_bytes / 1e6:7.0f} measured MB {cell['error_above_base']:+6.1%}"
                f"   whole {cell['error_whole']:+6.1%}",
                flush=True,
            )
        cells.append(cell)
        keep(cells)
    return cells


def predict_again(cells: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Cells that were measured before, beside what the model says now."""
    again = []
    for cell in cells:
        plan = predict_memory(Workload.from_dict(cell["workload"]))
        new = {**cell, "predicted_above_base_bytes": plan.above_base, "lines": plan.lines}
        if "failed" not in cell:
            found = Probe(**{field.name: cell[field.name] for field in fields(Probe)})
            new |= _errors(plan.above_base, found)
            print(
                f"{_name(Workload.from_dict(cell['workload'])):62} {new['error_above_base']:+6.1%}"
            )
        again.append(new)
    return again


def _errors(above_base: int, found: Probe) -> dict[str, float]:
    """Predicted over measured, less one."""
    return {
        "error_above_base": above_base / found.above_base_bytes - 1,
        "error_whole": (above_base + found.base_bytes) / found.peak_bytes - 1,
    }


def _name(workload: Workload) -> str:
    micro = f"·{workload.accumulation_steps}" if workload.accumulation_steps > 1 else ""
    return (
        f"{workload.model} {workload.grid}×{workload.batch_size}{micro} {workload.precision} "
        f"{workload.norm}{', recomputing' if workload.recompute else ''}"
    )


def fit_constants(cells: Sequence[dict[str, Any]]) -> dict[str, float]:
    """What is constant, by least squares on relative errors; and the base's median.

    `slack_at_running` and `unrolled_at_running` are fitted with the running bytes left as they are.
    """
    rows, targets = [], []
    for cell in cells:
        workload = Workload.from_dict(cell["workload"])
        above = cell["peak_bytes"] - cell["base_bytes"]
        plan = predict_memory(workload)
        tensors = activation_peak(workload).num_bytes + plan.input_buffers
        unrolled = graph_bytes(workload) / UNROLLED_BYTES
        known = plan.above_base - plan.running - plan.allocator
        rows.append([1 / above, tensors / above, unrolled / above])
        targets.append((above - known) / above)
    factors, wanted = np.array(rows), np.array(targets)
    (running, slack, unrolled), *_ = np.linalg.lstsq(factors, wanted, rcond=None)
    left = wanted - RUNNING_BYTES * factors[:, 0]
    (slack_left, unrolled_left), *_ = np.linalg.lstsq(factors[:, 1:], left, rcond=None)
    base = statistics.median(cell["base_bytes"] - cell["crops_bytes"] for cell in cells)
    return {
        "running_bytes": float(running),
        "allocator_slack": float(slack),
        "unrolled_bytes": float(unrolled),
        "slack_at_running": float(slack_left),
        "unrolled_at_running": float(unrolled_left),
        "process_base_bytes": float(base),
    }


def draw(cells: Sequence[dict[str, Any]], path: Path) -> None:
    """Measured against predicted, whole and above the base, with the band of ±10 %."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    done = [cell for cell in cells if "failed" not in cell]
    figure, axes = plt.subplots(1, 2, figsize=(10, 5), layout="constrained")
    for axis, title, key in zip(
        axes, ("above the process base", "whole peak"), ("above_base", "whole"), strict=True
    ):
        for (precision, spatial_dims), marker, colour in (
            (("float32", 3), "o", "tab:blue"),
            (("mixed_bfloat16", 3), "s", "tab:orange"),
            (("float32", 2), "^", "tab:green"),
            (("mixed_bfloat16", 2), "v", "tab:red"),
        ):
            chosen = [
                cell
                for cell in done
                if cell["workload"]["precision"] == precision
                and len(cell["workload"]["voxels"]) == spatial_dims
            ]
            measured = [_measured(cell, key) / 1e6 for cell in chosen]
            predicted = [_measured(cell, key) * (1 + cell[f"error_{key}"]) / 1e6 for cell in chosen]
            label = f"{spatial_dims}D {precision.removeprefix('mixed_')}"
            axis.scatter(measured, predicted, marker=marker, color=colour, label=label, alpha=0.8)
        ends = np.array([min(axis.get_xlim()[0], axis.get_ylim()[0]), axis.get_xlim()[1]])
        ends = np.clip(ends, 50, None)
        axis.plot(ends, ends, color="0.3", linewidth=1)
        axis.fill_between(
            ends, ends * (1 - TOLERANCE), ends * (1 + TOLERANCE), color="0.85", zorder=0
        )
        axis.set(xlabel="measured, MB", ylabel="predicted, MB", title=title)
        axis.legend(title="band: ±10 %")
    figure.savefig(path, dpi=150)


def _measured(cell: dict[str, Any], key: str) -> float:
    return cell["peak_bytes"] - (cell["base_bytes"] if key == "above_base" else 0)


def summary(cells: Sequence[dict[str, Any]]) -> str:
    """How many cells are within the tolerance, and the worst."""
    done = [cell for cell in cells if "failed" not in cell]
    parts = []
    for key, title in (("above_base", "above the base"), ("whole", "whole")):
        errors = [abs(cell[f"error_{key}"]) for cell in done]
        within = sum(error <= TOLERANCE for error in errors)
        parts.append(
            f"{title}: {within} of {len(errors)} within {TOLERANCE:.0%}, median "
            f"{statistics.median(errors):.1%}, worst {max(errors):.1%}"
        )
    return "; ".join(parts)


def main() -> None:
    """Measures, prints, and writes JSON and the figure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--calibrate", action="store_true", help="fit the constants instead")
    parser.add_argument("--preload", action="store_true", help="import what a study's cell does")
    parser.add_argument("--only", type=int, help="the first so many cells")
    parser.add_argument("--measured", type=Path, help="predict again what this JSON measured")
    parser.add_argument("--out", type=Path, help="where to write the figures as JSON")
    parser.add_argument("--figure", type=Path, help="where to draw them")
    arguments = parser.parse_args()
    rows = (CALIBRATION if arguments.calibrate else CHECKED)[: arguments.only]
    context: dict[str, Any] = {
        "processor": processor(),
        "python": sys.version.split()[0],
        "running_bytes": RUNNING_BYTES,
        "allocator_slack": float(ALLOCATOR_SLACK),
        "process_base_bytes": PROCESS_BASE_BYTES,
    }

    def keep(cells: list[dict[str, Any]]) -> None:
        if arguments.out is not None:
            arguments.out.write_text(json.dumps({**context, "cells": cells}, indent=1) + "\n")
        if arguments.figure is not None:
            draw(cells, arguments.figure)

    if arguments.measured is not None:
        cells = predict_again(json.loads(arguments.measured.read_text())["cells"])
        keep(cells)
    else:
        cells = measure(rows, keep, PRELOAD if arguments.preload else ())
    print(summary(cells))
    if arguments.calibrate:
        context["fitted"] = fit_constants([cell for cell in cells if "failed" not in cell])
        print(f"fitted: {context['fitted']}")
        keep(cells)


if __name__ == "__main__":
    main()
