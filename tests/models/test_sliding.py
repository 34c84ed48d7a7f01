import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from mlp_med.errors import StreamingError
from mlp_med.models.residual import build_model
from mlp_med.models.sliding import exact_positions, make_slider, needed_overlap, place_windows
from mlp_med.models.stage_parts import parts_of


def map_of(spatial_dims, norm="none"):
    """A network up to the grid that it averages; of no weight is 0."""
    model = build_model(
        spatial_dims=spatial_dims, num_channels=1, widths=(3, 4), blocks_per_stage=1, norm=norm
    )
    generator = np.random.default_rng(2)
    for weight in model.weights:
        low = 0.5 if "variance" in weight.name else -0.4
        weight.assign(generator.uniform(low, low + 1, weight.shape))
    return keras.Model(model.inputs, model.get_layer("final_norm").input)


def images_of(*grid):
    return tf.random.stateless_normal((2, *grid, 1), seed=(3, 4))


def differences(stages, images, **windows):
    """Between windows and whole, relative to the map's largest value: [*grid of the map]."""
    whole = stages(images, training=False)
    ours = make_slider(stages, **windows)(images)
    assert ours.shape == whole.shape
    largest = float(tf.reduce_max(tf.abs(whole)))
    return np.abs(ours - whole).max(axis=(0, -1)) / largest


def test_the_overlap_that_is_needed_is_counted_from_the_layers():
    # At a quarter of the image's grid: two convolutions at a quarter, then two and the stem at a
    # half; each reaches a position of its own grid further.
    reach = 2 * 4 + 3 * 2
    assert needed_overlap(map_of(2)) == 2 * 16 >= 2 * reach


@settings(deadline=None, max_examples=6)
@given(blocks=st.tuples(st.integers(8, 30), st.integers(8, 30)), longer=st.integers(1, 20))
@pytest.mark.parametrize("norm", ["none", "batch"])
def test_wide_overlaps_give_the_whole_images_map(norm, blocks, longer):
    stages = map_of(2, norm)
    grid = [2 * block for block in blocks]
    overlap = needed_overlap(stages)
    windows = {"window_size": overlap + longer + 3, "overlap": overlap}
    assert exact_positions(stages, grid, **windows).all()
    assert differences(stages, images_of(*grid), **windows).max() < 1e-5


def test_in_3d_too():
    stages = map_of(3)
    overlap = needed_overlap(stages)
    windows = {"window_size": overlap + 8, "overlap": overlap}
    assert differences(stages, images_of(44, 16, 50), **windows).max() < 1e-5


@settings(deadline=None, max_examples=6)
@given(
    blocks=st.tuples(st.integers(12, 30), st.integers(12, 30)),
    window_size=st.integers(8, 40),
    data=st.data(),
)
def test_where_receptive_fields_allow_the_map_is_exact_and_only_there(blocks, window_size, data):
    stages = map_of(2)
    grid = [2 * block for block in blocks]
    overlap = data.draw(st.integers(0, window_size // 4 * 4 - 4))
    windows = {"window_size": window_size, "overlap": overlap}
    exact = exact_positions(stages, grid, **windows)
    found = differences(stages, images_of(*grid), **windows)
    assert found[exact].max(initial=0) < 1e-5
    # By chance a wrong value may come near the right one, but not often.
    assert np.mean(found[~exact] > 1e-5) > 0.8 or exact.all()


def test_a_window_as_large_as_the_image_is_the_image():
    stages = map_of(2)
    assert differences(stages, images_of(30, 18), window_size=400, overlap=0).max() == 0


@given(
    size=st.integers(4, 200).map(lambda half: 2 * half),
    window_size=st.integers(4, 90),
    data=st.data(),
)
def test_windows_cover_the_map_once_and_see_what_they_own(size, window_size, data):
    overlap = data.draw(st.integers(0, window_size // 4 * 4 - 4))
    (placed, _) = place_windows(PARTS, [size, size], window_size=window_size, overlap=overlap)
    owned = [position for window in placed for position in range(*window.owned)]
    assert owned == list(range(-(-size // 4)))
    assert placed[0].image.start == 0
    assert placed[-1].image.stop == size
    for window in placed:
        assert window.owned.size > 0
        assert window.first * 4 == window.image.start
        assert window.image.start <= 4 * window.owned.start
        assert 4 * window.owned.stop <= window.image.stop + 3
        assert window.image.size < window_size + 4


PARTS = parts_of(map_of(2))


@pytest.mark.parametrize(("window_size", "overlap"), [(16, 16), (3, 0), (16, -1)])
def test_windows_that_get_nowhere_are_refused(window_size, overlap):
    slide = make_slider(map_of(2), window_size=window_size, overlap=overlap)
    with pytest.raises(StreamingError, match=f"got {window_size} with an overlap of {overlap}"):
        slide(images_of(32, 32))
