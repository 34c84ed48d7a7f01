"""The figure of the second axis: AUC against how much of the training set was used."""

from fractions import Fraction

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from mlp_med.reports.figures import COLOURS, STYLE

MARKERS = ("o", "s", "^", "D")
SIDEWAYS = 0.06  # octaves between two lines' points, so that their bars stand beside each other


def draw_auc_by_fraction(
    arms: pd.DataFrame, seeds: pd.DataFrame, *, num_cases: int, title: str, metric: str = "AUC"
) -> Figure:
    """Test AUC against the fraction of the training set: a line for each arm that has several.

    Args:
        arms: arm, line (what it differs in only by the fraction), training_fraction, mean_auc,
            ci_low, ci_high (NaN without an interval).
        seeds: arm, line, training_fraction, test_auc.
        num_cases: of the whole training set.
        title: says what it is of.
        metric: what `mean_auc` and `test_auc` are called.
    """
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(7.2, 3.6), layout="constrained")
        FigureCanvasAgg(figure)
        axis = figure.subplots()
        lines = arms.groupby("line", sort=False)
        for number, (line, rows) in enumerate(lines):
            colour, marker = COLOURS[number % len(COLOURS)], MARKERS[number % len(MARKERS)]
            shift = SIDEWAYS * (number - (lines.ngroups - 1) / 2)
            rows = rows.sort_values("training_fraction")
            places = np.log2(rows["training_fraction"].to_numpy(float)) + shift
            ends = [rows["mean_auc"] - rows["ci_low"], rows["ci_high"] - rows["mean_auc"]]
            axis.errorbar(
                places,
                rows["mean_auc"],
                np.nan_to_num(np.vstack(ends)),
                capsize=4,
                color=colour,
                marker=marker,
                label=str(line),
            )
            dots = seeds[seeds["line"] == line]
            beside = np.log2(dots["training_fraction"].to_numpy(float)) + shift + SIDEWAYS / 2
            axis.plot(beside, dots["test_auc"], "o", markersize=3, color=colour, alpha=0.45)
        fractions = sorted(set(arms["training_fraction"]))
        axis.set_xticks(np.log2(fractions), [_tick(each, num_cases) for each in fractions])
        axis.xaxis.set_minor_locator(NullLocator())
        axis.margins(x=0.12)
        axis.set_xlabel("fraction of the training set, in whole patients (about so many crops)")
        axis.set_ylabel(f"test {metric}")
        axis.legend(loc="best")
        figure.suptitle(title, x=0.01, ha="left", fontsize=10, fontweight="bold")
    return figure


def _tick(fraction: float, num_cases: int) -> str:
    return f"{Fraction(fraction).limit_denominator(64)}\n({fraction * num_cases:,.0f})"
