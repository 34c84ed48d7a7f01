"""Figures of the computed studies: what fits where, and where a step stands under the roof."""

from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter

from mlp_med.reports.figures import COLOURS, GREY, STYLE
from mlp_med.reports.formatting import UNITS

# From nothing given up to nothing helps; light to dark, so that a grey print still reads.
REMEDIES = {
    "float32": "#e8f4ea",
    "bfloat16": "#9fd3b0",
    "accumulation": "#56b4e9",
    "recomputation": "#e69f00",
    "sharding": "#cc5f00",
    "infeasible": "#333333",
}
COLUMNS = 4


def draw_feasibility(outcomes: pd.DataFrame, *, title: str) -> Figure:
    """A map of resolution × batch for each platform; the number is the predicted peak in GB.

    Args:
        outcomes: of one task: platform, resolution, unit, batch, remedy, peak_bytes.
        title: says what it is of.
    """
    platforms = list(dict.fromkeys(outcomes["platform"]))
    num_rows = -(-len(platforms) // COLUMNS)
    with mpl.rc_context({**STYLE, "axes.grid": False}):
        figure = Figure(figsize=(9.0, 1.9 * num_rows + 0.9), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots(num_rows, COLUMNS, squeeze=False, sharex=True, sharey=True)
        for axis, platform in zip(axes.flat, platforms, strict=False):
            _map(axis, outcomes[outcomes["platform"] == platform])
            axis.set_title(platform, fontsize=8)
        for axis in axes[-1]:
            axis.set_xlabel("batch", fontsize=8)
        for axis in axes.flat[len(platforms) :]:
            axis.set_axis_off()
        unit = UNITS.get(outcomes["unit"].iloc[0], outcomes["unit"].iloc[0])
        figure.supylabel(f"resolution, {unit}", fontsize=8)
        patches = [
            Patch(facecolor=colour, edgecolor=GREY, label=name) for name, colour in REMEDIES.items()
        ]
        figure.legend(handles=patches, loc="outside lower center", ncols=len(patches), fontsize=8)
        figure.suptitle(title, x=0.01, ha="left", fontsize=10, fontweight="bold")
    return figure


def _map(axis: Axes, rows: pd.DataFrame) -> None:
    ranks = rows.assign(rank=rows["remedy"].map({name: i for i, name in enumerate(REMEDIES)}))
    table = ranks.pivot(index="resolution", columns="batch", values="rank")
    grid = table.to_numpy(int)
    peaks = ranks.pivot(index="resolution", columns="batch", values="peak_bytes").to_numpy(float)
    axis.imshow(
        grid,
        cmap=ListedColormap(list(REMEDIES.values())),
        vmin=-0.5,
        vmax=len(REMEDIES) - 0.5,
        aspect="auto",
    )
    for row, column in np.ndindex(grid.shape):
        dark = grid[row, column] >= len(REMEDIES) - 2
        axis.text(
            column,
            row,
            f"{peaks[row, column] / 1e9:.3g}",
            ha="center",
            va="center",
            fontsize=6,
            color="white" if dark else "black",
        )
    axis.set_xticks(range(len(table.columns)), [f"{batch}" for batch in table.columns], fontsize=7)
    axis.set_yticks(range(len(table.index)), [f"{each:g}" for each in table.index], fontsize=7)
    axis.tick_params(length=0)


def draw_roofline(
    roofs: pd.DataFrame, points: pd.DataFrame, measured: pd.DataFrame, *, title: str
) -> Figure:
    """Each platform's roof, the tasks by their intensity, and what was measured here.

    Args:
        roofs: platform, peak (operations a second), bandwidth (bytes a second).
        points: task, mode, intensity; where a vertical mark stands.
        measured: intensity, operations_per_second; empty where nothing was measured.
        title: says what it is of.
    """
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(8.0, 5.0), layout="constrained")
        FigureCanvasAgg(figure)
        axis = figure.subplots()
        intensity = np.logspace(0, 4, 200)
        for number, roof in enumerate(roofs.to_dict("records")):
            reached = np.minimum(roof["peak"], intensity * roof["bandwidth"])
            axis.plot(
                intensity,
                reached / 1e12,
                color=COLOURS[number % len(COLOURS)],
                linestyle=("-", "--", ":")[number // len(COLOURS) % 3],
                label=str(roof["platform"]),
            )
        _marks(axis, points)
        if len(measured):
            axis.plot(
                measured["intensity"],
                measured["operations_per_second"] / 1e12,
                "*",
                markersize=9,
                color="black",
                label="measured here",
            )
        axis.set_xscale("log")
        axis.set_yscale("log")
        for side in (axis.xaxis, axis.yaxis):
            side.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.set_xlabel("operations a byte")
        axis.set_ylabel("TFLOP/s at best")
        figure.legend(loc="outside right upper", fontsize=7)
        figure.suptitle(title, x=0.01, ha="left", fontsize=10, fontweight="bold")
    return figure


def _marks(axis: Axes, points: pd.DataFrame) -> None:
    """A band from the least to the greatest intensity of each task in training."""
    training = points[points["mode"] == "training"]
    for number, (task, rows) in enumerate(training.groupby("task", sort=False)):
        low, high = rows["intensity"].min(), rows["intensity"].max()
        axis.axvspan(low, high, ymin=0, ymax=0.03 + 0.03 * number, color=GREY, alpha=0.35)
        axis.annotate(
            str(task),
            (np.sqrt(low * high), 0.035 + 0.03 * number),
            xycoords=("data", "axes fraction"),
            ha="center",
            fontsize=6,
        )


def draw_memory_check(measured: pd.DataFrame, *, title: str) -> Figure:
    """Predicted beside measured peaks of the cells that were trained here.

    Args:
        measured: label, predicted_bytes, measured_bytes; done cells.
        title: says what it is of.
    """
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(7.2, 0.5 * len(measured) + 1.2), layout="constrained")
        FigureCanvasAgg(figure)
        axis = figure.subplots()
        places = np.arange(len(measured))
        for shift, column, colour in _bars():
            axis.barh(
                places + shift,
                measured[column] / 1e9,
                height=0.35,
                color=colour,
                label=column.removesuffix("_bytes"),
            )
        axis.set_yticks(places, list(measured["label"]))
        axis.invert_yaxis()
        axis.set_xlabel("peak memory, GB")
        axis.legend()
        figure.suptitle(title, x=0.01, ha="left", fontsize=10, fontweight="bold")
    return figure


def _bars() -> Sequence[tuple[float, str, str]]:
    return ((-0.18, "predicted_bytes", COLOURS[5]), (0.18, "measured_bytes", COLOURS[0]))
