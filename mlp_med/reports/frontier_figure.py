"""The figure of the trade: what an arm's AUC takes of memory and of time."""

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

from mlp_med.evidence.choice import frontier
from mlp_med.reports.figures import CONTROL, GREY, NATIVE, STYLE

COSTS = (
    ("peak_memory_bytes", 1e9, "peak memory of a training run, GB"),
    ("seconds", 60.0, "one training run, minutes"),
)


def draw_frontier(arms: pd.DataFrame, *, title: str) -> Figure:
    """Test AUC of every arm against its memory and its time; a line joins those worth having.

    An arm is worth having where no other has a higher mean AUC for no more memory (or time).

    Args:
        arms: arm, control, mean_auc, ci_low, ci_high (NaN without an interval), seconds,
            peak_memory_bytes.
        title: says what it is of.
    """
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(7.2, 3.6), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots(1, 2, sharey=True)
        for axis, (column, scale, label) in zip(axes, COSTS, strict=True):
            known = arms.dropna(subset=column)
            _draw_panel(axis, known, known[column].to_numpy(float) / scale)
            axis.set_xlabel(label)
        axes[0].set_ylabel("test AUC")
        figure.suptitle(title, x=0.01, ha="left", fontsize=10, fontweight="bold")
    return figure


def _draw_panel(axis: Axes, arms: pd.DataFrame, costs: np.ndarray) -> None:
    if arms.empty:
        return
    aucs = arms["mean_auc"].to_numpy(float)
    front = frontier(list(costs), list(aucs))
    axis.step(costs[front], aucs[front], where="post", color=GREY, linewidth=1, zorder=1)
    ends = np.vstack([aucs - arms["ci_low"], arms["ci_high"] - aucs])
    for cost, auc, end, arm, control in zip(
        costs, aucs, np.nan_to_num(ends).T, arms["arm"], arms["control"], strict=True
    ):
        colour = NATIVE if control == "none" else CONTROL
        axis.errorbar(cost, auc, end[:, None], fmt="o", color=colour, capsize=3, zorder=2)
        beside = (4, -9 if control == "none" else 5)
        axis.annotate(str(arm), (cost, auc), beside, textcoords="offset points", fontsize=7)
    axis.set_xscale("log")
    low, high = costs.min(), costs.max()
    axis.set_xlim(low / 1.3, high * (high / low) ** 0.7 * 1.3)  # room for names at the right
    axis.set_xticks(_ticks(low, high))
    axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.xaxis.set_minor_formatter(NullFormatter())


def _ticks(low: float, high: float) -> list[float]:
    """Round numbers between two costs, and at least one on either side of them."""
    decades = np.arange(np.floor(np.log10(low)), np.ceil(np.log10(high)) + 1)
    every = [float(f"{step * 10.0**decade:g}") for decade in decades for step in (1, 2, 5)]
    inside = [tick for tick in every if low / 1.3 <= tick <= high * 1.3]
    return inside or every
