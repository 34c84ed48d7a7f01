"""The figure of the calibration record: how often verdicts err when the effect is the margin."""

from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from mlp_med.reports.figures import COLOURS, CONTROL, GREY, NATIVE, STYLE

NOMINAL_ERROR, NOMINAL_COVERAGE = 0.025, 0.95
ERRORS = (("false_supported", NATIVE, "o"), ("false_refuted", CONTROL, "s"))
POWER_COLOUR = COLOURS[2]
PANELS = ("false verdicts at the margin", "coverage", "power, 2 × margin")
SIZE_COLUMNS = ["num_patients", "max_cases_per_patient", "auc"]


def draw_calibration(table: pd.DataFrame, *, title: str) -> Figure:
    """Both error rates, the coverage and the power of every simulated setting, a row each.

    Args:
        table: of the record (`mlp_med.evidence.calibration.calibrate`), one row a setting.
        title: says what it is of.
    """
    rows = table.sort_values(
        [*SIZE_COLUMNS, "num_seeds", "seed_sd_a", "seed_sd_b"],
        ascending=[False, True, True, True, True, True],
        kind="stable",
    )
    places, groups = _places(rows)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(7.2, 1.6 + 0.135 * (places.max() + 1)), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots(1, 3, sharey=True, width_ratios=(2.2, 1, 1))
        for shift, (rate, colour, marker) in zip((-0.17, 0.17), ERRORS, strict=True):
            _dots(axes[0], rows, rate, places + shift, colour, marker)
        _dots(axes[1], rows, "coverage", places, GREY, "D")
        _dots(axes[2], rows, "power", places, POWER_COLOUR, "^")
        axes[0].axvline(NOMINAL_ERROR, color="black", linewidth=1, linestyle="--")
        axes[1].axvline(NOMINAL_COVERAGE, color="black", linewidth=1, linestyle="--")
        axes[0].set_xlim(left=0)
        axes[2].set_xlim(left=0)
        for axis, name in zip(axes, PANELS, strict=True):
            axis.set_title(name, fontsize=8)
        _label(axes, rows, places, groups)
        figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
        figure.suptitle(title, x=0.01, ha="left", fontsize=10, fontweight="bold")
    return figure


def _places(rows: pd.DataFrame) -> tuple[np.ndarray, list[tuple[float, str]]]:
    """A line a setting from the top, a heading above each kind of test split."""
    places, groups, line = [], [], 0.0
    previous: tuple[Any, ...] | None = None
    for row in rows.to_dict("records"):
        kind = tuple(row[column] for column in SIZE_COLUMNS)
        if kind != previous:
            line += 0.4 if previous is not None else 0.0
            groups.append((line, _split_label(*kind)))
            line += 1.2
            previous = kind
        places.append(line)
        line += 1
    return np.array(places), groups


def _split_label(num_patients: int, most_cases: int, auc: float) -> str:
    crops = "1 crop each" if most_cases == 1 else f"1–{most_cases} crops each"
    return f"{num_patients} patients, {crops}, AUC {auc:g}"


def _dots(
    axis: Axes, rows: pd.DataFrame, rate: str, places: np.ndarray, colour: str, marker: str
) -> None:
    value = rows[rate].to_numpy(float)
    ends = np.vstack([value - rows[f"{rate}_low"], rows[f"{rate}_high"] - value])
    axis.errorbar(
        value,
        places,
        xerr=np.maximum(0, ends),
        fmt=marker,
        color=colour,
        markersize=2.6,
        linewidth=0.8,
        label=rate.replace("_", " "),
    )


def _label(
    axes: Sequence[Axes],
    rows: pd.DataFrame,
    places: np.ndarray,
    groups: Sequence[tuple[float, str]],
) -> None:
    labels = [
        f"{row['num_seeds']} seeds, SD {row['seed_sd_a']:g}"
        + ("" if row["seed_sd_a"] == row["seed_sd_b"] else f" against {row['seed_sd_b']:g}")
        for row in rows.to_dict("records")
    ]
    axes[0].set_yticks(places, labels, fontsize=6)
    axes[0].set_ylim(places.max() + 0.8, -0.8)
    for line, label in groups:
        axes[0].annotate(
            label,
            (0.01, line),
            xycoords=("axes fraction", "data"),
            va="center",
            fontsize=7,
            fontweight="bold",
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.5},
        )
    for axis in axes:
        axis.tick_params(axis="y", length=0)
        axis.grid(axis="y", visible=False)
        axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:g} %"))
