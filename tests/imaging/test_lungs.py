"""The middle of the lungs, in chests of a few boxes."""

import numpy as np
import pytest

from mlp_med.imaging.lungs import lung_centre
from mlp_med.imaging.volume import Volume

SPACING_MM = (2.0, 2.0, 5.0)  # x, y, z
SHAPE = (60, 120, 150)  # z, y, x: 300 × 240 × 300 mm
ORIGIN_MM = (-150.0, -300.0, 40.0)
LUNGS = np.s_[12:52, 40:90, 40:70], np.s_[12:52, 40:90, 85:115]
MIDDLE = np.array([(40 + 114) / 2, (40 + 89) / 2, (12 + 51) / 2])  # index, (x, y, z)


def chest() -> np.ndarray:
    hu = np.full(SHAPE, -1000, np.int16)
    hu[:, 20:110, 20:135] = 20
    for lung in LUNGS:
        hu[lung] = -850
    return hu


def volume(hu: np.ndarray) -> Volume:
    return Volume(hu, SPACING_MM, ORIGIN_MM, np.eye(3))


def expected() -> np.ndarray:
    return MIDDLE * SPACING_MM + ORIGIN_MM


def test_the_middle_of_both_lungs_is_found():
    assert lung_centre(volume(chest())) == pytest.approx(expected(), abs=6)


def test_trachea_bowel_and_the_air_about_the_body_do_not_count():
    hu = chest()
    hu[50:60, 60:68, 74:82] = -950  # up to the last slice
    hu[30:52, 60:66, 68:88] = -950  # it joins the lungs
    hu[2:9, 45:60, 100:120] = -900
    assert lung_centre(volume(hu)) == pytest.approx(expected(), abs=8)


def test_padding_and_noise_do_not_matter():
    hu = chest() + np.random.default_rng(0).normal(0, 60, SHAPE).astype(np.int16)
    hu[:, :15] = -3000
    assert lung_centre(volume(hu)) == pytest.approx(expected(), abs=6)


@pytest.mark.parametrize("axes", [(0, 1, 2), (2, 0, 1), (1, 2, 0)])
@pytest.mark.parametrize("sign", [1, -1])
def test_it_is_the_same_place_however_the_scan_is_stored(axes, sign):
    """`axes`: the physical axis along each native one."""
    hu = chest().transpose(2, 1, 0)  # [x, y, z]
    stored = hu.transpose(axes)
    origin = np.array(ORIGIN_MM)
    if sign < 0:
        stored = stored[::-1]
        origin[axes[0]] += (stored.shape[0] - 1) * SPACING_MM[axes[0]]
    direction = np.zeros((3, 3))
    for native, physical in enumerate(axes):
        direction[physical, native] = sign if native == 0 else 1
    spacing = tuple(SPACING_MM[axis] for axis in axes)
    found = lung_centre(Volume(stored.transpose(2, 1, 0), spacing, tuple(origin), direction))
    assert found == pytest.approx(expected(), abs=6)


@pytest.mark.parametrize("fill", [-1000, -850, 20])
def test_without_lungs_there_is_no_middle(fill):
    assert lung_centre(volume(np.full(SHAPE, fill, np.int16))) is None


def test_a_little_air_in_the_body_is_no_lung():
    hu = chest()
    for lung in LUNGS:
        hu[lung] = 20
    hu[20:30, 50:60, 50:60] = -900
    assert lung_centre(volume(hu)) is None
