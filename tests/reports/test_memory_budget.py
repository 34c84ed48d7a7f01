"""The part of a study's report that tells of a budget of memory which its arms share."""

import pandas as pd
import pytest

from mlp_med.reports.memory_budget import memory_rows
from mlp_med.reports.study_report import write_report
from tests.reports.conftest import CONTROLS

ARMS = ("1.25mm", "2.5mm", "5mm", "5mm upsampled to 1.25mm")
PLAN = {
    "budget_bytes": 500_000_000,
    "arms": dict.fromkeys(ARMS, 400_000_000),
    "map": [
        [resolution, 2**doubling, int(1e8 + 4e6 * 2**doubling / resolution**3)]
        for resolution in (1.25, 2.5, 5.0)
        for doubling in range(13)
    ],
}


def test_the_page_draws_the_arms_among_lines_of_equal_memory(make_study, tmp_path):
    paths = write_report(*make_study(memory=PLAN), tmp_path, controls=CONTROLS)
    assert {"equal_memory.png", "equal_memory.svg"} <= {path.name for path in paths.figures}
    # Arms of one resolution and several batches lie on no line.
    assert "auc_by_resolution.png" not in {path.name for path in paths.figures}
    page = paths.page.read_text()
    assert "Within one memory – phantom" in page
    assert "500 MB above the process" in page


def test_a_study_of_no_budget_has_no_such_section(report):
    assert "Within one memory" not in report.page.read_text()


@pytest.mark.parametrize(
    ("above_base", "whole", "said"),
    [
        (499e6, 900e6, "within"),
        (560e6, 900e6, "within"),  # the plan's error is 90 MB
        (600e6, 900e6, "over the budget"),
        (float("nan"), float("nan"), ""),
    ],
)
def test_an_arm_is_over_the_budget_by_more_than_the_plans_error(above_base, whole, said):
    cells = pd.DataFrame(
        {
            "arm": ["5mm", "5mm"],
            "global_batch_size": 32,
            "accumulation_steps": 16,
            "peak_memory_above_base_bytes": [above_base, above_base / 2],
            "peak_memory_bytes": [whole, whole / 2],
        }
    )
    ((arm, batch, at_once, predicted, _, within),) = memory_rows(PLAN, cells)
    assert (arm, batch, at_once, predicted, within) == ("5mm", "32", "2", "400 MB", said)
