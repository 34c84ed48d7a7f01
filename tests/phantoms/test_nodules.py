import numpy as np
import pytest

from mlp_med.phantoms.nodules import SHAPES, draw_blob, paint_blob, spicules


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("diameter", [4.0, 8.0, 20.0])
def test_a_body_has_the_volume_of_a_ball_of_its_diameter(empty_box, volume_mm3, shape, diameter):
    for seed in range(4):
        scene = empty_box(2.5 * diameter, 0.25 if diameter < 10 else 0.5)
        blob = draw_blob(np.random.default_rng(seed), shape, np.zeros(3), diameter)
        paint_blob(scene, blob, 1.0)
        # The soft edge adds r·(w²/4): 3 % at 4 mm.
        assert volume_mm3(scene) == pytest.approx(np.pi / 6 * diameter**3, rel=0.06)
        weights = scene.density / scene.density.sum()
        axis = np.arange(len(weights)) * scene.spacing_mm[0] + scene.origin_mm[0]
        middle = [weights.sum(axis=others) @ axis for others in ((0, 1), (0, 2), (1, 2))]
        assert np.linalg.norm(middle) < 0.2 * diameter


def test_lobulated_bodies_are_less_round_than_round_ones():
    spread = {}
    for shape in ("round", "lobulated"):
        blobs = [
            draw_blob(np.random.default_rng(seed), shape, np.zeros(3), 10.0) for seed in range(8)
        ]
        spread[shape] = np.mean([blob.lobes[:, 3].max() for blob in blobs])
    assert spread["lobulated"] > 2 * spread["round"]


def test_spicules_start_inside_and_end_outside_the_body():
    rng = np.random.default_rng(3)
    blob = draw_blob(rng, "spiculated", np.array([5.0, 0, 0]), 10.0)
    strands = spicules(rng, blob)
    distance = np.linalg.norm(strands.end_mm - blob.centre_mm, axis=1)
    assert distance.max() > 6
    assert np.linalg.norm(strands.start_mm - blob.centre_mm, axis=1).min() < 5
    assert np.all(strands.end_radius_mm < strands.start_radius_mm)
