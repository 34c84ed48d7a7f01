"""The figures of a study's report: pure functions of data frames.

Colours are Okabe and Ito's, which the colour-blind tell apart; a control differs in marker and
dashes too, so that a grey print still reads.
"""

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator

from mlp_med.reports.formatting import UNITS

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
NATIVE, CONTROL = COLOURS[0], COLOURS[1]
GREY = "#666666"
DOTS_PER_INCH = 150
STYLE: dict[Any, Any] = {
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "text.parse_math": False,  # a dataset may have a dollar in its name
    "svg.hashsalt": "mlp_med",  # the same figure is the same file
}


def draw_auc_by_resolution(
    arms: pd.DataFrame, seeds: pd.DataFrame, *, unit: str, title: str, metric: str = "AUC"
) -> Figure:
    """Test AUC against resolution: means with intervals, every seed a dot, the control beside.

    Args:
        arms: arm, resolution, control, mean_auc, ci_low, ci_high (NaN without an interval).
        seeds: arm, resolution, control, seed, test_auc.
        unit: of the resolution, "mm" or "um".
        title: says what it is of.
        metric: what `mean_auc` and `test_auc` are called.
    """
    with _styled():
        figure, axes = _panels(1, height=3.6)
        axis = axes[0]
        for control, rows in arms.groupby("control", sort=False):
            is_native = control == "none"
            look = _arm_look(is_native)
            octave = _octaves(rows["resolution"], shifted=not is_native)
            low, high = rows["mean_auc"] - rows["ci_low"], rows["ci_high"] - rows["mean_auc"]
            # A line joins the native arms only: between the controls there is nothing to follow.
            line = "-" if is_native else ""
            bars = np.nan_to_num(np.vstack([low, high]))
            axis.errorbar(
                octave,
                rows["mean_auc"],
                bars,
                capsize=4,
                linestyle=line,
                label=_arm_label(is_native),
                **look,
            )
            dots = seeds[seeds["control"] == control]
            positions = _octaves(dots["resolution"], shifted=not is_native) + _spread(dots)
            colour = str(look["color"])
            axis.plot(positions, dots["test_auc"], "o", markersize=3, color=colour, alpha=0.45)
        _resolution_axis(axis, arms["resolution"], unit)
        axis.set_ylabel(f"test {metric}")
        axis.legend(loc="best")
        figure.suptitle(title, x=0.01, ha="left", fontsize=10, fontweight="bold")
    return figure


def draw_auc_by_arm(arms: pd.DataFrame, seeds: pd.DataFrame, *, title: str) -> Figure:
    """Test AUC of arms that no axis orders: a row an arm, its mean, interval and every seed.

    Args:
        arms: arm, mean_auc, ci_low, ci_high (NaN without an interval).
        seeds: arm, seed, test_auc.
        title: says what it is of.
    """
    with _styled():
        figure, axes = _panels(1, height=1.2 + 0.5 * len(arms))
        axis = axes[0]
        places = np.arange(len(arms))[::-1]
        for number, (place, row) in enumerate(zip(places, arms.to_dict("records"), strict=True)):
            mean = float(row["mean_auc"])
            ends = np.nan_to_num([[mean - row["ci_low"]], [row["ci_high"] - mean]])
            look: dict[str, Any] = {"color": COLOURS[number % len(COLOURS)], "linewidth": 2}
            axis.errorbar([mean], [place], xerr=ends, fmt="o", capsize=4, **look)
            dots = seeds[seeds["arm"] == row["arm"]]
            heights = place - 0.2 + 4 * _spread(dots)
            axis.plot(dots["test_auc"], heights, "o", markersize=3, color=look["color"], alpha=0.45)
        axis.set_yticks(places, arms["arm"])
        axis.set_ylim(-0.7, len(arms) - 0.5)
        axis.grid(axis="y", visible=False)
        axis.set_xlabel("test AUC, with 95 % interval; every small dot is a seed")
        figure.suptitle(title, x=0.01, ha="left", fontsize=10, fontweight="bold")
    return figure


def draw_forest(rows: pd.DataFrame, *, margin: float, title: str, metric: str = "AUC") -> Figure:
    """Effects with their intervals, one below the other, against zero and the margin.

    Args:
        rows: label, effect, ci_low, ci_high, primary (bool; drawn strong). NaN without an interval.
        margin: of the claim; drawn as a dashed line.
        title: says what the effects are of.
        metric: what they are differences of.
    """
    rows = rows.astype({"effect": float, "ci_low": float, "ci_high": float})
    with _styled():
        figure, axes = _panels(1, height=1.2 + 0.36 * len(rows))
        axis = axes[0]
        places = np.arange(len(rows))[::-1]
        for place, row in zip(places, rows.to_dict("records"), strict=True):
            effect, is_primary = float(row["effect"]), bool(row["primary"])
            ends = np.nan_to_num([[effect - row["ci_low"]], [row["ci_high"] - effect]])
            axis.errorbar(
                [effect],
                [place],
                xerr=ends,
                fmt="o",
                color=NATIVE if is_primary else GREY,
                linewidth=2.2 if is_primary else 1.4,
                capsize=3,
            )
        axis.axvline(0, color="black", linewidth=0.8)
        axis.axvline(margin, color=CONTROL, linewidth=1, linestyle="--")
        axis.annotate(
            f" margin {margin:g}", (margin, 1), xycoords=("data", "axes fraction"), color=CONTROL
        )
        axis.set_yticks(places, rows["label"])
        axis.set_ylim(-0.6, len(rows) - 0.4)
        axis.grid(axis="y", visible=False)
        axis.set_xlabel(f"difference of test {metric}, with 95 % interval")
        figure.suptitle(title, x=0.01, ha="left", fontsize=10, fontweight="bold")
    return figure


def draw_curves(
    curves: pd.DataFrame, arms: Sequence[str], *, title: str, metric: str = "AUC"
) -> Figure:
    """Validation AUC against examples seen and against seconds: a thin line a cell, a thick mean.

    Args:
        curves: arm, seed, fold, examples_seen, validation_auc, seconds_elapsed (NaN where not
            recorded).
        arms: in the order of their colours.
        title: says what it is of.
        metric: what `validation_auc` is called.
    """
    with _styled():
        figure, axes = _panels(2, height=3.8, share_y=True)
        for number, arm in enumerate(arms):
            colour = COLOURS[number % len(COLOURS)]
            line = "--" if "upsampled" in arm else "-"
            rows = curves[curves["arm"] == arm].sort_values("examples_seen")
            for axis, x in zip(axes, ("examples_seen", "seconds_elapsed"), strict=True):
                thin: dict[str, Any] = {"color": colour, "alpha": 0.3, "linewidth": 0.7}
                for _, cell in rows.groupby(["seed", "fold"]):
                    axis.plot(cell[x], cell["validation_auc"], line, **thin)
                mean = rows.groupby("examples_seen", as_index=False)[
                    ["examples_seen", "seconds_elapsed", "validation_auc"]
                ].mean()
                axis.plot(
                    mean[x], mean["validation_auc"], line, color=colour, linewidth=2, label=arm
                )
        axes[0].set(xlabel="training examples seen", ylabel=f"validation {metric}")
        axes[0].xaxis.set_major_formatter(FuncFormatter(_thousands))
        axes[0].xaxis.set_major_locator(MaxNLocator(4))
        axes[1].set(xlabel="seconds of training")
        figure.legend(*axes[1].get_legend_handles_labels(), loc="outside lower center", ncols=4)
        figure.suptitle(title, x=0.01, ha="left", fontsize=10, fontweight="bold")
    return figure


def draw_cost(cells: pd.DataFrame, *, unit: str, title: str) -> Figure:
    """Seconds and peak memory of every cell against resolution; the control beside.

    Args:
        cells: resolution, control, seconds_total, peak_memory_bytes.
        unit: of the resolution, "mm" or "um".
        title: says what it is of.
        metric: what `mean_auc` and `test_auc` are called.
    """
    with _styled():
        figure, axes = _panels(2, height=3.4)
        panels = (("seconds_total", 1.0, "seconds a cell"), ("peak_memory_bytes", 1e9, "peak GB"))
        for axis, (column, scale, label) in zip(axes, panels, strict=True):
            for control, rows in cells.groupby("control", sort=False):
                is_native = control == "none"
                look = _arm_look(is_native)
                means = rows.groupby("resolution")[column].mean() / scale
                octaves = _octaves(means.index.to_series(), shifted=not is_native)
                axis.plot(
                    octaves, means, "-" if is_native else "", label=_arm_label(is_native), **look
                )
                dots = _octaves(rows["resolution"], shifted=not is_native)
                colour = str(look["color"])
                axis.plot(dots, rows[column] / scale, "o", markersize=3, color=colour, alpha=0.45)
            axis.set_ylim(bottom=0)
            axis.set_ylabel(label)
            _resolution_axis(axis, cells["resolution"], unit)
        figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
        figure.suptitle(title, x=0.01, ha="left", fontsize=10, fontweight="bold")
    return figure


def to_svg(figure: Figure) -> bytes:
    """The figure as an SVG file; the same figure gives the same bytes."""
    return _written(figure, "svg", {"Date": None, "Creator": None})


def to_png(figure: Figure) -> bytes:
    """The figure as a PNG."""
    return _written(figure, "png", {"Software": None})


def _written(figure: Figure, kind: str, metadata: dict[str, Any]) -> bytes:
    buffer = io.BytesIO()
    with _styled():
        engine = figure.get_layout_engine()
        if engine is not None:  # else every file would draw the figure twice, to lay it out again
            engine.execute(figure)
            figure.set_layout_engine(None)
        figure.savefig(buffer, format=kind, dpi=DOTS_PER_INCH, metadata=metadata)
    return buffer.getvalue()


@contextmanager
def _styled() -> Iterator[None]:
    with mpl.rc_context(STYLE):
        yield


def _panels(number: int, *, height: float, share_y: bool = False) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(7.2, height), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, number, squeeze=False, sharey=share_y)
    return figure, list(axes[0])


def _arm_look(is_native: bool) -> dict[str, Any]:
    if is_native:
        return {"color": NATIVE, "marker": "o", "markersize": 6}
    return {"color": CONTROL, "marker": "s", "markersize": 6, "markerfacecolor": "white"}


def _arm_label(is_native: bool) -> str:
    return "as rendered" if is_native else "coarse crop upsampled (control)"


def _octaves(resolutions: pd.Series, *, shifted: bool) -> np.ndarray:
    """Positions on the axis; a control stands a little beside the native arm it competes with."""
    return np.log2(resolutions.to_numpy(float)) + (0.12 if shifted else 0.0)


def _spread(seeds: pd.DataFrame) -> np.ndarray:
    """Small sideways steps by seed, so that equal AUCs do not hide one another."""
    ranks = seeds["seed"].rank(method="dense").to_numpy(float)
    return 0.012 * (ranks - (ranks.max() + 1) / 2) - 0.06 if len(ranks) else ranks


def _resolution_axis(axis: Axes, resolutions: pd.Series, unit: str) -> None:
    values = sorted(set(resolutions))
    axis.set_xticks(np.log2(values), [f"{value:g}" for value in values])
    axis.xaxis.set_minor_locator(NullLocator())
    axis.margins(x=0.12)
    axis.set_xlabel(f"resolution, {UNITS.get(unit, unit)} (finer to the left)")


def _thousands(value: float, _position: int) -> str:
    return f"{value:,.0f}"
