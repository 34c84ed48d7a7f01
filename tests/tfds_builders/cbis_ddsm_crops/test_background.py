import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlp_med.imaging.breast import Thumbnail, breast_of, thumbnail
from tfds_builders.cbis_ddsm_crops.background import (
    EDGE_TOLERANCES_MM,
    FIELD_MM,
    REACH_MM,
    Places,
)

HALF = FIELD_MM / 2


def half_ellipse(height: int = 170, width: int = 90, noise: float = 300.0) -> Thumbnail:
    """A breast at the left border of its film, at 1 mm."""
    y, x = np.mgrid[:height, :width]
    inside = ((y - height / 2) / (height / 2 - 8)) ** 2 + (x / (width - 8)) ** 2 < 1
    rng = np.random.default_rng(0)
    pixels = np.where(inside, 20_000, 800) + rng.normal(0, noise, inside.shape)
    return Thumbnail(pixels.astype(np.float32), 1.0, 0.05)


def lesion_at(film: Thumbnail, y: float, x: float, radius: float = 5.0) -> np.ndarray:
    rows, columns = np.indices(film.pixels.shape)
    return np.hypot(rows - y, columns - x) <= radius


def place_for(film: Thumbnail, y: float, x: float, name: str = "some") -> np.ndarray | None:
    return Places(film, lesion_at(film, y, x)).like(film.centre_mm(int(y), int(x)), name)


def test_a_thumbnail_holds_means_and_its_places_are_those_of_the_film():
    pixels = np.arange(100 * 60, dtype=np.float64).reshape(100, 60)
    film = thumbnail(pixels, 0.05)
    assert film.step_mm == 1.0
    assert film.pixels.shape == (5, 3)
    assert film.pixels[1, 2] == pytest.approx(pixels[20:40, 40:60].mean())
    np.testing.assert_allclose(film.centre_mm(1, 2), [(39.5 + 10) * 0.05, (19.5 + 10) * 0.05])
    assert film.index(film.centre_mm(1, 2)).tolist() == [1, 2]
    assert film.index(np.array([0.0, 0.0])).tolist() == [0, 0]


def test_a_label_is_no_breast_and_a_dark_hole_is():
    film = half_ellipse()
    whole = breast_of(film)
    film.pixels[2:8, 75:88] = 60_000
    film.pixels[80:84, 30:34] = 700
    np.testing.assert_array_equal(breast_of(film), whole)


@settings(max_examples=40, deadline=None)
@given(y=st.integers(30, 140), x=st.integers(5, 60), name=st.text("abc", min_size=1, max_size=5))
def test_a_background_is_free_of_the_lesion_and_sees_as_much_of_the_edges(y, x, name):
    film = half_ellipse()
    breast = breast_of(film)
    if not breast[y, x]:
        return
    centre = place_for(film, y, x, name)
    if centre is None:
        return
    row, column = film.index(centre)
    assert breast[max(row - 1, 0) : row + 2, max(column - 1, 0) : column + 2].any()
    lesion = np.argwhere(lesion_at(film, y, x))
    middles = np.array([film.centre_mm(r, c) for r, c in lesion])
    assert np.abs(middles - centre).max(axis=1).min() > HALF
    width, height = np.array(film.pixels.shape[::-1]) * film.step_mm
    for_both = [
        min(px, py, width - px, height - py, REACH_MM) for px, py in (film.centre_mm(y, x), centre)
    ]
    assert abs(for_both[0] - for_both[1]) < EDGE_TOLERANCES_MM[-1] + 1


def test_the_choice_depends_on_the_film_and_the_lesion_alone():
    film = half_ellipse()
    one, again, other = (place_for(film, 60, 30, name) for name in ("a", "a", "b"))
    np.testing.assert_array_equal(one, again)
    assert not np.array_equal(one, other)


def test_two_lesions_of_a_film_get_two_places():
    film = half_ellipse()
    lesions = lesion_at(film, 60, 30) | lesion_at(film, 75, 40)
    places = Places(film, lesions)
    first = places.like(film.centre_mm(60, 30), "first")
    second = places.like(film.centre_mm(75, 40), "second")
    assert np.abs(first - second).max() > 14


def test_of_the_places_that_fit_one_with_like_surroundings_is_taken():
    """The upper half of the breast is dense; a lesion there is set against dense tissue."""
    film = half_ellipse(height=260, width=110)
    film.pixels[:130][breast_of(film)[:130]] += 15_000
    rows = [place_for(film, 60, x, str(n))[1] for n, x in enumerate(range(20, 60, 4))]
    assert np.mean(np.array(rows) < 135) > 0.9
    rows = [place_for(film, 200, x, str(n))[1] for n, x in enumerate(range(20, 60, 4))]
    assert np.mean(np.array(rows) > 125) > 0.9


def test_a_lesion_that_fills_the_breast_leaves_no_place():
    film = half_ellipse(height=80, width=60)
    assert place_for(film, 40, 20) is None
    dark = Thumbnail(np.zeros((90, 90), np.float32), 1.0, 0.05)
    assert place_for(dark, 40, 20) is None
