"""Texture, outline and lesions of the drawn mammograms, as numbers."""

from itertools import pairwise

import numpy as np
import pytest
from scipy import ndimage

from mlp_med.phantoms.breast_lesions import (
    CALCIFICATION,
    CLUSTER_MM,
    KINDS,
    MASS,
    MASS_MM,
    draw_diameter,
    draw_lesion,
)
from mlp_med.phantoms.mammogram import FilmPlan, render_film
from mlp_med.phantoms.parenchyma import EXPONENT, PIXEL_MM, draw_parenchyma


def plan(**changes) -> FilmPlan:
    of = {"seed": (3, 1), "view": "CC", "right": False, "density": 2, "kind": MASS}
    return FilmPlan(**{**of, "malignant": True, "diameter_mm": 11.0, **changes})


def test_the_texture_has_one_power_law_over_three_octaves_on_either_side_of_the_handover():
    """Radial mean of the power spectrum of windowed squares, as mammograms are measured."""
    size, powers = 1024, []
    window = np.outer(np.hanning(size), np.hanning(size))
    for seed in range(3):
        texture = draw_parenchyma(np.random.default_rng(seed), (size, size))
        powers.append(np.abs(np.fft.fft2((texture - texture.mean()) * window)) ** 2)
    f = np.hypot(*np.meshgrid(*[np.fft.fftfreq(size, PIXEL_MM)] * 2))
    edges = np.geomspace(0.1, 6, 14)
    middles = np.sqrt(edges[1:] * edges[:-1])
    power = np.mean(powers, axis=0)
    radial = [power[(f >= a) & (f < b)].mean() for a, b in pairwise(edges)]
    slope, offset = np.polyfit(np.log(middles), np.log(radial), 1)
    assert slope == pytest.approx(-EXPONENT, abs=0.15)
    assert np.abs(np.log(radial) - slope * np.log(middles) - offset).max() < 0.4


def test_every_film_has_the_same_expected_variance():
    found = [draw_parenchyma(np.random.default_rng(n), (3000, 1600)).var() for n in range(4)]
    assert np.mean(found) == pytest.approx(1, abs=0.4)
    other = draw_parenchyma(np.random.default_rng(9), (900, 500))
    assert other.shape == (900, 500)


def test_a_film_is_dark_around_a_breast_and_its_lesion_lies_within():
    film = render_film(plan())
    assert film.pixels.dtype == np.uint16
    assert film.pixels.shape == film.mask.shape
    shares = film.pixels / 65_535
    assert np.median(shares[-60:, :]) == pytest.approx(0.04, abs=0.01)
    assert np.median(shares[film.mask]) > 0.2
    assert np.median(shares[len(shares) // 2, :500]) > 0.2  # at the chest wall
    area_mm2 = film.mask.sum() * PIXEL_MM**2
    assert 2 * np.sqrt(area_mm2 / np.pi) == pytest.approx(11, rel=0.06)


def test_the_other_breast_has_its_chest_wall_at_the_other_edge():
    left, right = render_film(plan()), render_film(plan(right=True))
    np.testing.assert_array_equal(left.pixels, right.pixels[:, ::-1])
    np.testing.assert_array_equal(left.mask, right.mask[:, ::-1])


def test_an_oblique_view_shows_the_chest_muscle():
    corners = [
        render_film(plan(view=view)).pixels[450:800, 40:200].mean() for view in ("CC", "MLO")
    ]
    assert corners[1] - corners[0] > 0.04 * 65_535


@pytest.mark.parametrize(("kind", "of"), [(MASS, MASS_MM), (CALCIFICATION, CLUSTER_MM)])
def test_sizes_are_those_stated(kind, of):
    rng = np.random.default_rng(0)
    sizes = [draw_diameter(rng, kind) for _ in range(2000)]
    assert np.median(sizes) == pytest.approx(of["median"], rel=0.05)
    assert of["least"] <= min(sizes)
    assert max(sizes) <= of["most"]


@pytest.mark.parametrize("kind", KINDS)
def test_malignant_and_benign_add_the_same_light_and_have_the_same_size(kind):
    light, area = {}, {}
    for malignant in (False, True):
        lesions = [
            draw_lesion(np.random.default_rng(n), kind, 10.0, malignant=malignant)
            for n in range(24)
        ]
        light[malignant] = np.mean([lesion.light.sum() for lesion in lesions])
        area[malignant] = np.mean([lesion.mask.sum() for lesion in lesions])
    assert light[True] == pytest.approx(light[False], rel=0.2 if kind == CALCIFICATION else 0.02)
    assert area[True] == pytest.approx(area[False], rel=0.03)


def test_only_malignant_masses_reach_beyond_their_outline():
    def beyond(malignant: bool) -> float:
        lesion = draw_lesion(np.random.default_rng(5), MASS, 12.0, malignant=malignant)
        axis = np.arange(len(lesion.light)) - (len(lesion.light) - 1) / 2
        far = np.hypot(axis[:, None], axis) > 1.3 * 6 / PIXEL_MM
        return float(lesion.light[far].max())

    assert beyond(True) > 0.3
    assert beyond(False) < 0.01


def test_a_cluster_holds_several_specks_of_half_a_millimetre_at_most():
    lesion = draw_lesion(np.random.default_rng(1), CALCIFICATION, 12.0, malignant=False)
    labels, number = ndimage.label(lesion.light > 0.5 * lesion.light.max())
    assert 5 <= number <= 20
    sizes = np.bincount(labels.ravel())[1:] * PIXEL_MM**2
    assert np.median(2 * np.sqrt(sizes / np.pi)) < 0.5
    assert lesion.mask[lesion.light > 0].mean() > 0.95
