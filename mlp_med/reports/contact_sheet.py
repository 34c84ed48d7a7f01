"""A contact sheet: the same crops at every resolution, one row a case, one column a resolution."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from mlp_med.reports.formatting import UNITS

LUNG_WINDOW_HU = (-1000.0, 400.0)
PANEL_INCHES = 1.7
HEAD_INCHES = 0.6
DOTS_PER_INCH = 150
BAR_COLOUR = "white"
OUTLINE = [withStroke(linewidth=2.5, foreground="black")]  # so that it is seen on any tissue
ROUND_NUMBERS = (1, 2, 5)


@dataclass(frozen=True, eq=False)
class ContactCase:
    """One row of the sheet.

    Attributes:
        caption: stands beside the row; its class, say, and its diameter.
        crops: by resolution. Volumes [z, y, x] or [z, y, x, 1] in HU, images uint8 [y, x, 3].
    """

    caption: str
    crops: Mapping[float, np.ndarray]


def draw_contact_sheet(
    cases: Sequence[ContactCase],
    *,
    unit: str,
    field_extent: float | tuple[float, float],
    title: str,
    phantom: bool = False,
    window: tuple[float, float] = LUNG_WINDOW_HU,
) -> Figure:
    """Draws the crops side by side, each as wide as its field, voxels as they are.

    Volumes show the axial slice behind their centre in `window`; images show their own colours.

    Args:
        cases: at least one; all with the same resolutions.
        unit: of the resolutions and of `field_extent`, "mm" or "um".
        field_extent: edge of what is shown of every crop, or its height and width.
        title: what is shown.
        phantom: whether the crops are synthetic, which the title then says.
        window: values in HU that are black and white.

    Returns:
        A figure that belongs to no window; `save_contact_sheet` writes it.

    Raises:
        ValueError: no case, cases that differ in their resolutions, or crops of another shape.
    """
    if not cases:
        raise ValueError("expected at least one case to draw")
    resolutions = sorted(cases[0].crops)
    for case in cases:
        if sorted(case.crops) != resolutions:
            raise ValueError(
                f"expected every case at {resolutions}, found {sorted(case.crops)} "
                f"for {case.caption!r}"
            )
    field = field_extent if isinstance(field_extent, tuple) else (field_extent, field_extent)
    figure, panels = _panels(len(cases), len(resolutions), field[0] / field[1])
    figure.suptitle(
        f"{title} – PHANTOM, synthetic scans" if phantom else title,
        fontsize=10,
        y=1 - 0.08 / figure.get_figheight(),
        verticalalignment="top",
    )
    for column, resolution in enumerate(resolutions):
        panels[0][column].set_title(f"{resolution:g} {UNITS[unit]}", fontsize=9)
    for case, row in zip(cases, panels, strict=True):
        for resolution, panel in zip(resolutions, row, strict=True):
            _draw_crop(panel, case.crops[resolution], field, window)
        row[0].set_ylabel(case.caption, fontsize=7)
        _draw_scale_bar(row[0], field, unit)
    return figure


def save_contact_sheet(figure: Figure, path: Path) -> None:
    """Writes the sheet as a PNG, whole or not at all."""
    unfinished = path.with_suffix(".unfinished")
    try:
        figure.savefig(unfinished, format="png", dpi=DOTS_PER_INCH)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def central_slice(crop: np.ndarray) -> np.ndarray:
    """What is shown of a crop: [y, x] of a volume, [y, x, 3] of an image.

    Raises:
        ValueError: neither a volume nor a colour image.
    """
    if crop.ndim == 3 and crop.shape[2] == 3 and crop.dtype == np.uint8:
        return crop
    if crop.ndim == 4 and crop.shape[3] == 1:
        crop = crop[..., 0]
    if crop.ndim == 3:
        return crop[crop.shape[0] // 2]
    raise ValueError(
        "expected a volume [z, y, x] or [z, y, x, 1] or an image uint8 [y, x, 3], "
        f"found {crop.dtype} {list(crop.shape)}"
    )


def bar_length(field_extent: float) -> float:
    """The longest of 1, 2, 5, 10, 20, … that fits into 30 % of the field."""
    limit = 0.3 * field_extent
    decade = 10.0 ** np.floor(np.log10(limit))
    return max(float(number * decade) for number in ROUND_NUMBERS if number * decade <= limit)


def _panels(
    num_rows: int, num_columns: int, height_by_width: float
) -> tuple[Figure, list[list[Axes]]]:
    width = PANEL_INCHES * num_columns + 0.4
    height = PANEL_INCHES * height_by_width * num_rows + HEAD_INCHES
    figure = Figure(figsize=(width, height))
    FigureCanvasAgg(figure)
    axes = figure.subplots(num_rows, num_columns, squeeze=False)
    figure.subplots_adjust(
        left=0.35 / width,
        right=1 - 0.05 / width,
        bottom=0.05 / height,
        top=1 - (HEAD_INCHES - 0.1) / height,
        wspace=0.03,
        hspace=0.03,
    )
    return figure, [list(row) for row in axes]


def _draw_crop(
    panel: Axes, crop: np.ndarray, field: tuple[float, float], window: tuple[float, float]
) -> None:
    shown = central_slice(crop)
    panel.imshow(
        shown,
        cmap="gray",
        vmin=window[0],
        vmax=window[1],
        interpolation="nearest",  # the voxels as the network sees them
        extent=(0, field[1], field[0], 0),
    )
    panel.set_xticks([])
    panel.set_yticks([])


def _draw_scale_bar(panel: Axes, field: tuple[float, float], unit: str) -> None:
    height, width = field
    length = bar_length(width)
    left, bottom = 0.06 * width, height - 0.07 * width
    panel.plot(
        [left, left + length],
        [bottom, bottom],
        color=BAR_COLOUR,
        linewidth=2,
        path_effects=[withStroke(linewidth=4, foreground="black")],
    )
    panel.text(
        left + length / 2,
        bottom - 0.03 * width,
        f"{length:g} {UNITS[unit]}",
        color=BAR_COLOUR,
        fontsize=7,
        horizontalalignment="center",
        verticalalignment="bottom",
        path_effects=OUTLINE,
    )
    panel.set_xlim(0, width)
    panel.set_ylim(height, 0)
