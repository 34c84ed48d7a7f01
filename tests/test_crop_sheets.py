"""What a contact sheet shows of a whole volume."""

import numpy as np

from mlp_med.crop_sheets import _rows
from mlp_med.pipelines.datasets import DSB2017, LUNA16
from mlp_med.reports.contact_sheet import central_slice


def test_a_whole_volume_is_shown_from_below_and_from_the_front_with_the_head_up():
    volume = np.full((8, 8, 8, 1), -1000, np.int16)
    volume[7, 4, 4] = 10  # head
    volume[4, 7, 4] = 20  # back
    volume[4, 4, 7] = 30  # the patient's left
    axial, coronal = (
        central_slice(row.crops[4.0]) for row in _rows("case", {4.0: volume}, DSB2017)
    )
    assert (axial[7, 4], axial[4, 7]) == (20, 30)
    assert (coronal[0, 4], coronal[3, 7]) == (10, 30)


def test_a_crop_about_its_centre_is_shown_once():
    (row,) = _rows("case", {5.0: np.zeros((8, 8, 8, 1), np.int16)}, LUNA16)
    assert row.caption == "case"
