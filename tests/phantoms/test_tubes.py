import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlp_med.phantoms.nodules import unit_vectors
from mlp_med.phantoms.tubes import Scene, Tubes, paint_tubes, tubes_along


@settings(max_examples=25, deadline=None)
@given(radius=st.floats(0.2, 4), seed=st.integers(0, 1000))
def test_a_tube_of_any_radius_and_direction_keeps_its_cross_section(
    empty_box, volume_mm3, radius, seed
):
    """Thin ones too: else vessels below a voxel would be too bright."""
    scene = empty_box(40)
    direction = unit_vectors(np.random.default_rng(seed), 1)[0]
    lengths = []
    for length in (8.0, 20.0):  # the difference is free of the rounded ends
        scene.density[:] = 0
        points = np.stack([-direction, direction]) * length / 2
        paint_tubes(scene, tubes_along(points, np.full(2, radius)))
        lengths.append(volume_mm3(scene))
    assert (lengths[1] - lengths[0]) / 12 == pytest.approx(np.pi * radius**2, rel=0.06, abs=0.01)


def test_a_cone_has_the_volume_of_a_frustum(empty_box):
    scene = empty_box(40)
    points = np.array([[0.0, 0, -12], [0, 0, 12]])
    paint_tubes(scene, tubes_along(points, np.array([4.0, 2.0])))
    body = scene.density[25:-24]  # the ends, z beyond ±12 mm − 0.5, are left out
    heights = np.arange(-len(body) // 2, len(body) // 2) * 0.5
    section = body.sum(axis=(1, 2)) * 0.25
    inner = np.abs(heights) < 10
    np.testing.assert_allclose(section[inner], np.pi * (3 - heights[inner] / 12) ** 2, rtol=0.05)


def test_many_tubes_at_once_are_the_same_as_one_by_one(empty_box):
    rng = np.random.default_rng(0)
    start = rng.uniform(-14, 14, (60, 3))  # some leave the scene
    tubes = Tubes(
        start,
        start + rng.normal(0, 4, (60, 3)),
        rng.uniform(0.3, 2, 60),
        rng.uniform(0.3, 2, 60),
        rng.uniform(0.3, 1, 60),
    )
    together, single = empty_box(24), empty_box(24)
    paint_tubes(together, tubes)
    for n in range(60):
        one = Tubes(
            *(
                getattr(tubes, name)[n : n + 1]
                for name in ("start_mm", "end_mm", "start_radius_mm", "end_radius_mm", "density")
            )
        )
        paint_tubes(single, one)
    np.testing.assert_allclose(together.density, single.density, atol=1e-5)
    assert together.density.max() > 0.9


def test_drawing_over_does_not_add(empty_box):
    once, twice = empty_box(20), empty_box(20)
    tube = tubes_along(np.array([[-5.0, 0, 0], [5, 2, 1]]), np.array([1.0, 2.0]))
    paint_tubes(once, tube)
    paint_tubes(twice, tube)
    paint_tubes(twice, tube)
    np.testing.assert_array_equal(once.density, twice.density)


def test_tubes_outside_the_scene_are_left_out(empty_box):
    scene = empty_box(10)
    paint_tubes(scene, tubes_along(np.array([[90.0, 0, 0], [95, 0, 0]]), np.ones(2)))
    assert scene.density.max() == 0


def test_voxels_need_not_be_cubes(volume_mm3):
    scene = Scene(
        np.zeros((81, 61, 61), np.float32), np.array([-18.0, -18, -20]), np.array([0.6, 0.6, 0.5])
    )
    ball = Tubes(np.zeros((1, 3)), np.zeros((1, 3)), np.full(1, 5.0), np.full(1, 5.0), np.ones(1))
    paint_tubes(scene, ball)
    assert volume_mm3(scene) == pytest.approx(4 / 3 * np.pi * 125, rel=0.03)
