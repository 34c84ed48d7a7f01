import io

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from mlp_med.reports.figures import (
    draw_auc_by_resolution,
    draw_cost,
    draw_curves,
    draw_forest,
    to_png,
    to_svg,
)
from mlp_med.reports.frontier_figure import draw_frontier

ARMS = pd.DataFrame(
    {
        "arm": ["1.25mm", "5mm", "5mm upsampled to 1.25mm"],
        "resolution": [1.25, 5.0, 5.0],
        "control": ["none", "none", "information"],
        "mean_auc": [0.9, 0.8, 0.81],
        "ci_low": [0.88, 0.75, 0.79],
        "ci_high": [0.93, 0.82, 0.84],
    }
)
SEEDS = pd.DataFrame(
    {
        "arm": np.repeat(ARMS["arm"], 3),
        "resolution": np.repeat(ARMS["resolution"], 3),
        "control": np.repeat(ARMS["control"], 3),
        "seed": [0, 1, 2] * 3,
        "test_auc": [0.89, 0.9, 0.91, 0.79, 0.8, 0.81, 0.8, 0.81, 0.82],
    }
)


def points(axis):
    """(x, y) of every marker that is drawn, the lines' and the error bars'."""
    return np.concatenate([np.column_stack(line.get_data()) for line in axis.lines])


def test_every_seed_is_a_dot_and_every_mean_has_its_interval():
    figure = draw_auc_by_resolution(ARMS, SEEDS, unit="mm", title="a title")
    (axis,) = figure.axes
    drawn = points(axis)[:, 1]
    for auc in SEEDS["test_auc"]:
        assert np.isclose(drawn, auc).any()
    segments = np.concatenate([c.get_segments() for c in axis.collections])
    ends = {tuple(np.round(segment[:, 1], 6)) for segment in segments}
    assert ends == {(0.88, 0.93), (0.75, 0.82), (0.79, 0.84)}
    assert [label.get_text() for label in axis.get_xticklabels()] == ["1.25", "5"]


def test_the_control_stands_beside_its_resolution_and_not_on_it():
    figure = draw_auc_by_resolution(ARMS, SEEDS, unit="mm", title="a title")
    drawn = points(figure.axes[0])
    control = drawn[np.isclose(drawn[:, 1], 0.81) & (drawn[:, 0] > np.log2(5))]
    assert len(control) == 2  # the mean and the seed with the same AUC
    assert (np.log2(5) + 0.02 < control[:, 0]).all()
    assert (control[:, 0] < np.log2(5) + 0.3).all()


def test_an_arm_without_an_interval_is_still_drawn():
    arms = ARMS.assign(ci_low=np.nan, ci_high=np.nan)
    figure = draw_auc_by_resolution(arms, SEEDS, unit="mm", title="a title")
    assert np.isfinite(figure.axes[0].get_ylim()).all()
    assert to_png(figure)


def test_a_forest_shows_effects_zero_and_the_margin():
    rows = pd.DataFrame(
        {
            "label": ["information", "grid"],
            "effect": [0.05, -0.01],
            "ci_low": [0.02, np.nan],
            "ci_high": [0.08, np.nan],
            "primary": [True, False],
        }
    )
    axis = draw_forest(rows, margin=0.01, title="a title").axes[0]
    drawn = points(axis)[:, 0]
    for value in (0.05, -0.01, 0.0, 0.01):
        assert np.isclose(drawn, value).any()
    labels = {label.get_position()[1]: label.get_text() for label in axis.get_yticklabels()}
    assert labels == {1: "information", 0: "grid"}


def test_curves_have_a_line_a_seed_and_a_mean():
    curves = pd.DataFrame(
        {
            "arm": "1.25mm",
            "seed": [0, 0, 1, 1],
            "fold": -1,
            "examples_seen": [100, 200, 100, 200],
            "validation_auc": [0.6, 0.8, 0.7, 0.9],
            "seconds_elapsed": [1.0, 2.0, 3.0, 4.0],
        }
    )
    by_examples, by_seconds = draw_curves(curves, ["1.25mm"], title="a title").axes
    assert [len(axis.lines) for axis in (by_examples, by_seconds)] == [3, 3]
    np.testing.assert_allclose(by_examples.lines[-1].get_ydata(), [0.65, 0.85])
    np.testing.assert_allclose(by_seconds.lines[-1].get_xdata(), [2.0, 3.0])


def test_cost_starts_at_zero_and_averages_cells():
    cells = SEEDS.assign(seconds_total=[10, 20, 30, 1, 2, 3, 11, 21, 31], peak_memory_bytes=2e9)
    seconds, memory = draw_cost(cells, unit="um", title="a title").axes
    assert seconds.get_ylim()[0] == memory.get_ylim()[0] == 0
    np.testing.assert_allclose(seconds.lines[0].get_ydata(), [20, 2])
    np.testing.assert_allclose(memory.lines[0].get_ydata(), [2, 2])
    assert "µm" in seconds.get_xlabel()


def test_a_figure_is_the_same_bytes_every_time():
    files = [
        (to_svg(figure), to_png(figure))
        for figure in (draw_auc_by_resolution(ARMS, SEEDS, unit="mm", title="t") for _ in range(2))
    ]
    assert files[0] == files[1]


@pytest.mark.parametrize("title", ["$\\frac{$", "<script>&", "a" * 300])
def test_any_title_can_be_drawn(title):
    figure = draw_auc_by_resolution(ARMS, SEEDS, unit="mm", title=title)
    assert b"<script" not in to_svg(figure)
    with Image.open(io.BytesIO(to_png(figure))) as picture:
        assert picture.format == "PNG"


def test_the_frontier_joins_what_no_arm_beats_for_less():
    # The upsampled arm takes the most memory and is beaten; of time it takes the least.
    costs = ARMS.assign(peak_memory_bytes=[2e9, 1e9, 3e9], seconds=[600.0, 120.0, 60.0])
    memory, seconds = draw_frontier(costs, title="a title").axes
    assert list(memory.lines[0].get_xdata()) == [1.0, 2.0]
    assert list(seconds.lines[0].get_xdata()) == [1.0, 10.0]
    assert list(seconds.lines[0].get_ydata()) == [0.81, 0.9]


def test_an_arm_of_unknown_cost_is_not_on_the_frontier():
    costs = ARMS.assign(peak_memory_bytes=[2e9, np.nan, 3e9], seconds=np.nan)
    figure = draw_frontier(costs, title="a title")
    assert list(figure.axes[0].lines[0].get_xdata()) == [2.0]
    assert to_png(figure)
