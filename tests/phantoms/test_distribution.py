from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import ks_2samp

from mlp_med.phantoms.distribution import SLICE_SPACING_COUNTS, draw_diameters, draw_grid

ANNOTATIONS = Path(__file__).parents[3] / "shared/real/luna16/annotations.csv"


def test_diameters_are_drawn_from_luna16s_own_distribution():
    if not ANNOTATIONS.exists():
        pytest.skip(f"LUNA16's annotations are not at {ANNOTATIONS}")
    real = pd.read_csv(ANNOTATIONS)["diameter_mm"]
    drawn = draw_diameters(np.random.default_rng(0), 20_000)
    assert ks_2samp(drawn, real).statistic < 0.03
    assert drawn.mean() == pytest.approx(real.mean(), rel=0.03)
    assert drawn.min() >= 3.2
    assert drawn.max() <= 32.3


def test_grids_have_realistic_spacings():
    grids = [draw_grid(np.random.default_rng(n), 160.0) for n in range(400)]
    assert all(0.59 <= grid.pixel_mm <= 0.81 for grid in grids)
    assert len({grid.pixel_mm for grid in grids}) > 8
    for spacing, count in SLICE_SPACING_COUNTS.items():
        share = np.mean([grid.slice_mm == spacing for grid in grids])
        assert share == pytest.approx(count / sum(SLICE_SPACING_COUNTS.values()), abs=0.07)
    assert all(grid.num_slices * grid.slice_mm == pytest.approx(160, abs=1.3) for grid in grids)
