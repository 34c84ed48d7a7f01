"""Against a geometric oracle: points drawn in each lesion, and the tile that each falls into."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlp_med.imaging.lesion_tiles import (
    count_lesions,
    holds_uncut_lesion,
    parts_in_tiles,
    tiles_with_lesion,
)

EXTENTS = {2: (30.0, 40.0), 3: (40.0, 40.0, 40.0)}
coordinates = st.floats(-25, 25, width=32)


@st.composite
def fields(draw):
    dims = draw(st.sampled_from([2, 3]))
    number = draw(st.integers(0, 3))
    balls = [
        [*(draw(coordinates) for _ in range(dims)), draw(st.floats(1, 20, width=32))]
        for _ in range(number)
    ]
    return np.array([*balls, *[[0.0] * (dims + 1)] * 2])  # as stored: zeros below the lesions


def tiles_of_points(ball, split, extents):
    """The tiles that hold points of a ball, by counting which border each point is beyond."""
    rng = np.random.default_rng(0)
    directions = rng.normal(size=(4000, len(extents)))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    radii = ball[-1] / 2 * rng.uniform(0, 1, (4000, 1)) ** (1 / len(extents))
    points = ball[:-1] + directions * radii
    points = points[(np.abs(points) < np.array(extents) / 2).all(axis=1)]
    places = ((points / np.array(extents) + 0.5) * split).astype(int)
    return {int(np.ravel_multi_index(place, [split] * len(extents))) for place in places}


@settings(deadline=None, max_examples=25)
@given(fields(), st.sampled_from([1, 2, 4]))
def test_a_tile_that_holds_a_point_of_a_lesion_holds_part_of_it(lesions, split):
    extents = EXTENTS[lesions.shape[1] - 1]
    parts = parts_in_tiles(lesions, split, extents)
    for ball, part in zip(lesions, parts, strict=True):
        if ball[-1] == 0:
            assert not part.any()
        else:
            assert tiles_of_points(ball, split, extents) <= set(np.flatnonzero(part))


@settings(deadline=None, max_examples=25)
@given(fields(), st.sampled_from([2, 4]))
def test_a_tile_without_a_part_is_as_far_off_as_the_radius(lesions, split):
    extents = np.array(EXTENTS[lesions.shape[1] - 1])
    places = np.stack(np.unravel_index(range(split ** len(extents)), [split] * len(extents)), 1)
    low = (places / split - 0.5) * extents
    for ball, part in zip(lesions, parts_in_tiles(lesions, split, tuple(extents)), strict=True):
        nearest = np.clip(ball[:-1], low, low + extents / split)
        distance = np.linalg.norm(nearest - ball[:-1], axis=1)
        assert (distance[~part] >= ball[-1] / 2 - 1e-6).all()
        assert (distance[part] <= ball[-1] / 2 + 1e-6).all()


@settings(deadline=None, max_examples=50)
@given(fields(), st.sampled_from([2, 4]))
def test_the_tiles_together_hold_a_lesion_where_the_field_does(lesions, split):
    extents = EXTENTS[lesions.shape[1] - 1]
    in_field = tiles_with_lesion(lesions, 1, extents)[0]
    assert tiles_with_lesion(lesions, split, extents).any() == in_field


@settings(deadline=None, max_examples=50)
@given(fields(), st.sampled_from([2, 4]))
def test_a_lesion_is_cut_where_a_border_between_tiles_passes_through_its_ball(lesions, split):
    extents = np.array(EXTENTS[lesions.shape[1] - 1])
    borders = [extent * (np.arange(1, split) / split - 0.5) for extent in extents]
    uncut = [
        ball
        for ball in lesions
        if ball[-1] > 0
        and (np.abs(ball[:-1]) <= extents / 2).all()
        and all(
            (np.abs(along - place) >= ball[-1] / 2).all()
            for place, along in zip(ball[:-1], borders, strict=True)
        )
    ]
    assert holds_uncut_lesion(lesions, split, tuple(extents)) == bool(uncut)


def test_one_in_a_corner_of_its_own_and_one_where_all_tiles_meet():
    extents = EXTENTS[3]
    lesions = np.array([[[10.0, 10, 10, 6]], [[0.0, 0, 0, 6]], [[10.0, 10, -2, 6]]])
    tiles = tiles_with_lesion(lesions, 2, extents)
    assert tiles.sum(axis=1).tolist() == [1, 8, 2]
    assert np.flatnonzero(tiles[0]).tolist() == [7]
    assert np.flatnonzero(tiles[2]).tolist() == [
        6,
        7,
    ]  # the last axis' neighbours follow each other
    assert holds_uncut_lesion(lesions, 2, extents).tolist() == [True, False, False]
    assert count_lesions(np.concatenate([lesions, np.zeros((3, 2, 4))], axis=1)) == 3


@pytest.mark.parametrize("split", [2, 4])
def test_a_sliver_of_a_lesion_centred_outside_is_no_uncut_lesion(split):
    sliver = np.array([[10.0, 10.0, 21.0, 4.0]])
    assert tiles_with_lesion(sliver, split, EXTENTS[3]).any()
    assert not holds_uncut_lesion(sliver, split, EXTENTS[3])
