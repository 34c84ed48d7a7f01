"""The drawn chest, as deep as a scan can reach."""

import numpy as np
import pytest

from mlp_med.phantoms.anatomy import FIELD_SPACING_MM, LUNG_HEIGHT_MM, build_chest


@pytest.mark.parametrize("seed", range(6))
def test_lungs_lie_in_the_body_and_end_at_their_apex(seed):
    start_mm, above_mm = -12.0, 60.0
    extent_mm = (400.0, 400.0, LUNG_HEIGHT_MM + above_mm)
    chest = build_chest(np.random.default_rng(seed), extent_mm, start_mm)
    lung = chest.lung_mm > 0
    assert not (lung & (chest.body_mm < 0)).any()
    # A column of the few millimetres that surfaces are bent by may be left above the apices.
    top = lung[int((LUNG_HEIGHT_MM + 30 - start_mm) / FIELD_SPACING_MM) :]
    assert top.mean() < 0.001
