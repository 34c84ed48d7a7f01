import numpy as np
import pytest

from mlp_med.phantoms.anatomy import FIELD_SPACING_MM, MUSCLE_HU, Chest
from mlp_med.phantoms.distribution import ScanGrid
from mlp_med.phantoms.scanner import Kernel, empty_scene, expose
from mlp_med.phantoms.tubes import Tubes, paint_tubes

LUNG = -850.0
CENTRE = np.array([30.0, 31.3, 30.4])


def all_lung() -> Chest:
    shape = (17, 17, 17)
    deep = np.full(shape, 50, np.float32)
    return Chest(
        lung_mm=deep,
        airspace_mm=deep,
        body_mm=deep,
        bone_mm=-deep,
        soft_hu=np.full(shape, MUSCLE_HU, np.float32),
        air_hu=np.full(shape, LUNG, np.float32),
        hilum_mm=np.zeros((2, 3)),
    )


def scan_ball(diameter: float, slice_mm: float, noise_hu: float = 0.0) -> np.ndarray:
    grid = ScanGrid(0.7, slice_mm, 80, int(60 / slice_mm))
    scene = empty_scene(all_lung(), grid)
    at, radius = CENTRE[None], np.full(1, diameter / 2)
    paint_tubes(scene, Tubes(at, at, radius, radius, np.ones(1)))
    kernel = Kernel("smooth", 0.55, noise_hu)
    return expose(np.random.default_rng(0), all_lung(), scene, grid, kernel).astype(float)


@pytest.mark.parametrize("slice_mm", [1.0, 1.25, 2.0, 2.5])
def test_the_scanner_keeps_volume_and_centre(slice_mm):
    excess = (scan_ball(8.0, slice_mm) - LUNG) / (MUSCLE_HU - LUNG)
    assert excess.sum() * 0.49 * slice_mm == pytest.approx(4 / 3 * np.pi * 64, rel=0.03)
    z, y, x = np.indices(excess.shape)
    centre = [(excess * i).sum() / excess.sum() for i in (x, y, z)]
    np.testing.assert_allclose(np.multiply(centre, [0.7, 0.7, slice_mm]), CENTRE, atol=0.1)


def test_small_things_fade_in_thick_slices_and_large_ones_do_not():
    small = [scan_ball(3.3, slice_mm).max() for slice_mm in (1.0, 2.5)]
    large = [scan_ball(12.0, slice_mm).max() for slice_mm in (1.0, 2.5)]
    assert small[0] - small[1] > 100
    assert large[0] == pytest.approx(large[1], abs=3)
    assert large[0] == pytest.approx(MUSCLE_HU, abs=3)


def test_noise_has_the_kernels_deviation():
    quiet, noisy = scan_ball(8.0, 2.0), scan_ball(8.0, 2.0, noise_hu=30.0)
    inside = np.clip(50.0, -30, 90)
    expected = 30 * (0.75 + inside / 180)
    assert (noisy - quiet).std() == pytest.approx(expected, rel=0.03)


def test_the_scene_holds_the_whole_scan():
    grid = ScanGrid(0.7, 2.5, 80, 24)
    scene = empty_scene(all_lung(), grid)
    top = scene.origin_mm[2] + (len(scene.density) - 1) * scene.spacing_mm[2]
    assert scene.origin_mm[2] < -2
    assert top > 23 * 2.5 + 2
    assert scene.density.shape[1:] == (80, 80)
    assert 16 * FIELD_SPACING_MM > 60
