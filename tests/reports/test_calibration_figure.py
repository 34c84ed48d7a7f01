import pandas as pd
import pytest

from mlp_med.evidence.calibration import Setting, calibrate
from mlp_med.reports.calibration_figure import draw_calibration
from mlp_med.reports.figures import to_png, to_svg

CHOSEN = [
    Setting(3, (0.02, 0.02), 0.8, 40, 1),
    Setting(3, (0.05, 0.005), 0.8, 40, 1),
    Setting(3, (0.0, 0.0), 0.8, 30, 3),
]


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    return calibrate(4, chosen=CHOSEN, num_bootstrap=20)


def test_every_setting_has_a_line_and_every_split_a_heading(table):
    figure = draw_calibration(table, title="title")
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert labels == ["3 seeds, SD 0.02", "3 seeds, SD 0.05 against 0.005", "3 seeds, SD 0"]
    headings = [text.get_text() for text in figure.axes[0].texts]
    assert headings == [
        "40 patients, 1 crop each, AUC 0.8",
        "30 patients, 1–3 crops each, AUC 0.8",
    ]
    supported = figure.axes[0].containers[0].lines[0].get_xdata()
    assert list(supported) == table["false_supported"].tolist()
    assert to_png(figure).startswith(b"\x89PNG")
    again = [to_svg(draw_calibration(table, title="title")) for _ in range(2)]
    assert again[0] == again[1]
