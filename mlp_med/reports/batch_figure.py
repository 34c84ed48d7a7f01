"""The figure of a study of batches: test AUC against the global batch, a line for each way."""

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from mlp_med.reports.figures import COLOURS, STYLE
from mlp_med.reports.fraction_figure import MARKERS

SIDEWAYS = 0.08  # octaves between two lines' points, so that their bars stand beside each other


def draw_auc_by_batch(arms: pd.DataFrame, *, critical_batch: float | None, title: str) -> Figure:
    """Test AUC against the global batch, with 95 % intervals.

    Args:
        arms: line (what else the arms differ in), batch, mean_auc, ci_low, ci_high (NaN without an
            interval).
        critical_batch: the gradient noise scale's; None where it was not measured.
        title: says what it is of.
    """
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(7.2, 5.2), layout="constrained")
        FigureCanvasAgg(figure)
        axis = figure.subplots()
        lines = arms.groupby("line", sort=False)
        for number, (line, rows) in enumerate(lines):
            rows = rows.sort_values("batch")
            shift = SIDEWAYS * (number - (lines.ngroups - 1) / 2)
            ends = [rows["mean_auc"] - rows["ci_low"], rows["ci_high"] - rows["mean_auc"]]
            axis.errorbar(
                np.log2(rows["batch"].to_numpy(float)) + shift,
                rows["mean_auc"],
                np.nan_to_num(np.vstack(ends)),
                capsize=3,
                color=COLOURS[number % len(COLOURS)],
                marker=MARKERS[number % len(MARKERS)],
                label=str(line),
            )
        if critical_batch is not None:
            axis.axvline(
                np.log2(critical_batch),
                color="#666666",
                linestyle=":",
                label="gradient noise scale",
            )
        batches = sorted(set(arms["batch"]))
        axis.set_xticks(np.log2(batches), [f"{batch:,}" for batch in batches])
        axis.xaxis.set_minor_locator(NullLocator())
        axis.set_xlabel("global batch")
        axis.set_ylabel("test AUC")
        figure.legend(loc="outside lower center", ncols=2, fontsize=8)
        figure.suptitle(title, x=0.01, ha="left", fontsize=10, fontweight="bold")
    return figure
