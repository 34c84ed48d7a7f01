"""A budget of memory that the arms of a study share: a figure, and what was measured of it."""

from collections.abc import Mapping
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter, NullLocator

from mlp_med.reports import formatting
from mlp_med.reports.figures import CONTROL, GREY, NATIVE, STYLE

# Lines of equal memory: so many times what the budget leaves beside what even the least takes.
LINES = (1 / 4, 1 / 2, 1.0, 2.0, 4.0, 8.0)
# Of the whole peak: how nearly the memory plan foretells it.
PLAN_ERROR = 0.1


def draw_equal_memory(
    plan: Mapping[str, Any], arms: pd.DataFrame, *, unit: str, title: str, metric: str = "AUC"
) -> Figure:
    """The plane of resolution and batch: arms with their AUC, and lines of equal predicted memory.

    Args:
        plan: of the study's memory (`mlp_med.studies.memory_budget.predicted_memory`).
        arms: arm, resolution, global_batch_size, accumulation_steps, mean_auc, ci_low, ci_high.
        unit: of the resolutions.
        title: says what it is of.
        metric: what `mean_auc` is called.
    """
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(7.2, 4.2), layout="constrained")
        FigureCanvasAgg(figure)
        axis = figure.subplots()
        places = np.array(plan["map"], dtype=float)
        least, budget = places[:, 2].min(), float(plan["budget_bytes"])
        table = pd.DataFrame(places, columns=["resolution", "batch", "bytes"])
        grid = table.pivot(index="batch", columns="resolution", values="bytes")
        levels = [least + share * (budget - least) for share in LINES]
        lines = axis.contour(
            grid.columns,
            grid.index,
            np.log(grid.to_numpy() - least + 1),
            levels=np.log(np.array(levels) - least + 1),
            colors=[CONTROL if share == 1 else GREY for share in LINES],
            linewidths=[1.8 if share == 1 else 0.7 for share in LINES],
        )
        labels = dict(zip(lines.levels, map(formatting.memory, levels), strict=True))
        axis.clabel(lines, fmt=labels, fontsize=7)
        _draw_arms(axis, arms)
        axis.set_xscale("log")
        axis.set_yscale("log", base=2)
        axis.set_xticks(sorted(set(places[:, 0])))
        axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.xaxis.set_minor_locator(NullLocator())
        axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.yaxis.set_minor_formatter(NullFormatter())
        largest = max(arms["global_batch_size"], default=1)
        axis.set_ylim(0.8, 4 * largest)
        finest, coarsest = places[:, 0].min(), places[:, 0].max()
        axis.set_xlim(finest / 1.1, coarsest * (coarsest / finest) ** 0.35)  # room for numbers
        axis.set_xlabel(f"resolution, {formatting.UNITS.get(unit, unit)}")
        axis.set_ylabel(f"global batch; numbers are the test {metric}")
        figure.suptitle(title, x=0.01, ha="left", fontsize=10, fontweight="bold")
    return figure


def _draw_arms(axis: Any, arms: pd.DataFrame) -> None:
    """Filled where a batch is computed at once, hollow where it is accumulated."""
    for row in arms.to_dict("records"):
        at_once = row["accumulation_steps"] == 1
        axis.plot(
            row["resolution"],
            row["global_batch_size"],
            "o",
            color=NATIVE,
            markerfacecolor=NATIVE if at_once else "white",
            markersize=7,
        )
        interval = ""
        if np.isfinite(row["ci_low"]):
            interval = f" ({row['ci_low']:.3f}–{row['ci_high']:.3f})"
        axis.annotate(
            f"{row['mean_auc']:.3f}{interval}" + ("" if at_once else ", accumulated"),
            (row["resolution"], row["global_batch_size"]),
            (7, 4),
            textcoords="offset points",
            fontsize=7,
        )


def memory_rows(plan: Mapping[str, Any] | None, cells: pd.DataFrame) -> list[list[str]]:
    """Predicted and measured memory of the arms that share a budget, and whether it held.

    The plan knows the whole peak to 10 %; what is over the budget by no more than that is within.
    """
    if plan is None:
        return []
    rows = []
    for arm, group in cells.groupby("arm", sort=False):
        predicted = plan["arms"].get(arm)
        measured = float(group["peak_memory_above_base_bytes"].max())
        error = PLAN_ERROR * float(group["peak_memory_bytes"].max())
        over = measured > plan["budget_bytes"] + error
        rows.append(
            [
                str(arm),
                formatting.count(group["global_batch_size"].iloc[0]),
                formatting.count(
                    group["global_batch_size"].iloc[0] / group["accumulation_steps"].iloc[0]
                ),
                formatting.memory(predicted),
                formatting.memory(measured),
                "over the budget" if over else "within" if measured == measured else "",
            ]
        )
    return rows
