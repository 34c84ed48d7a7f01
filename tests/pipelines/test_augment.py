import itertools

import numpy as np
import pytest

from mlp_med.pipelines.augment import draw_transforms, transform_crops
from mlp_med.pipelines.datasets import DESCRIPTIONS
from tests.pipelines.crops import RECTANGLE, block_mean, random_examples


def every_symmetry(spatial_dims):
    """All mirrorings with and without the exchange: [2 ** (dims + 1), 1 + dims] of bool."""
    return np.array(list(itertools.product([False, True], repeat=1 + spatial_dims)))


def transformed_one_by_one(crops, exchange, flips, shifts, voxels_per_shift):
    """The definition, spelled out with NumPy's own flips and pads."""
    results = []
    for crop, swap, mirrored, shift in zip(crops, exchange, flips, shifts, strict=True):
        spatial_dims = crop.ndim - 1
        if swap:
            crop = np.swapaxes(crop, spatial_dims - 2, spatial_dims - 1)
        crop = np.flip(crop, np.flatnonzero(mirrored))
        reach = int(np.abs(shift).max()) * voxels_per_shift
        padded = np.pad(crop, [(reach, reach)] * spatial_dims + [(0, 0)], mode="edge")
        window = tuple(
            slice(reach - s * voxels_per_shift, reach - s * voxels_per_shift + size)
            for s, size in zip(shift.tolist(), crop.shape, strict=False)
        )
        results.append(padded[window])
    return np.stack(results)


@pytest.mark.parametrize(("name", "resolution"), [("luna16", 2.5), ("metastasis_patches", 3.88)])
def test_equals_flips_turns_and_edge_padded_shifts(name, resolution):
    crops = random_examples(DESCRIPTIONS[name], resolution, 48).images
    draws = draw_transforms(
        seed=1, start=0, count=48, spatial_dims=DESCRIPTIONS[name].spatial_dims, max_shift=2
    )
    result = transform_crops(crops, draws.exchange, draws.flips, draws.shifts, voxels_per_shift=2)
    expected = transformed_one_by_one(crops, draws.exchange, draws.flips, draws.shifts, 2)
    np.testing.assert_array_equal(result, expected)
    assert result.dtype == crops.dtype


def test_axes_of_unequal_length_are_mirrored_and_moved_but_not_exchanged():
    crops = random_examples(RECTANGLE, 4.0, 24).images
    draws = draw_transforms(seed=1, start=0, count=24, spatial_dims=2, max_shift=2)
    result = transform_crops(crops, draws.exchange, draws.flips, draws.shifts, voxels_per_shift=2)
    never = np.zeros(24, bool)
    expected = transformed_one_by_one(crops, never, draws.flips, draws.shifts, 2)
    np.testing.assert_array_equal(result, expected)
    assert draws.exchange.any()


@pytest.mark.parametrize("description", [*DESCRIPTIONS.values(), RECTANGLE], ids=lambda d: d.name)
def test_every_symmetry_and_shift_commutes_with_down_sampling(description):
    spatial_dims = description.spatial_dims
    finest = description.resolutions[
        1
    ]  # the finest but one: the same proof in an eighth of the time
    factor = round(description.coarsest / finest)
    symmetries = every_symmetry(spatial_dims)
    shifts = np.random.default_rng(0).integers(-1, 2, size=(len(symmetries), spatial_dims))
    fine = random_examples(description, finest, len(symmetries)).images.astype(np.float64)

    def transform(crops, voxels_per_shift):
        return transform_crops(
            crops,
            symmetries[:, 0],
            symmetries[:, 1:],
            shifts,
            voxels_per_shift=voxels_per_shift,
        ).numpy()

    one_way = block_mean(transform(fine, factor), factor)
    other_way = transform(block_mean(fine, factor), 1)
    # What a shift uncovers repeats a fine edge here and a coarse one there: one voxel all round.
    inside = (slice(None), *[slice(1, -1)] * spatial_dims)
    np.testing.assert_allclose(one_way[inside], other_way[inside], rtol=1e-12)


def test_quarter_turns_are_among_the_symmetries_and_leave_the_slice_axis():
    crops = random_examples(DESCRIPTIONS["luna16"], 5.0, 1).images
    exchange, flips = np.array([True]), np.array([[False, True, False]])
    turned = transform_crops(crops, exchange, flips, np.zeros((1, 3)), voxels_per_shift=1)
    np.testing.assert_array_equal(turned[0], np.rot90(crops[0], axes=(1, 2)))
    symmetries = every_symmetry(3)
    crops = np.repeat(crops, len(symmetries), axis=0)
    shifts = np.zeros((len(crops), 3))
    all_of_them = transform_crops(
        crops, symmetries[:, 0], symmetries[:, 1:], shifts, voxels_per_shift=1
    ).numpy()
    assert len({crop.tobytes() for crop in all_of_them}) == 16
    slices = np.sort(crops[0].reshape(8, -1), axis=1)
    for crop in all_of_them:
        rows = np.sort(crop.reshape(8, -1), axis=1)
        assert (rows == slices).all() or (rows == slices[::-1]).all()


def test_a_draw_belongs_to_its_position():
    whole = draw_transforms(seed=5, start=0, count=60, spatial_dims=3)
    part = draw_transforms(seed=5, start=21, count=9, spatial_dims=3)
    np.testing.assert_array_equal(part.exchange, whole.exchange[21:30])
    np.testing.assert_array_equal(part.flips, whole.flips[21:30])
    np.testing.assert_array_equal(part.shifts, whole.shifts[21:30])


def test_draws_are_uniform_and_independent():
    count = 20_000
    draws = draw_transforms(seed=2, start=0, count=count, spatial_dims=3)
    bits = np.column_stack([draws.exchange, draws.flips]).astype(int)
    symmetry = bits @ [1, 2, 4, 8]
    shift = (draws.shifts + 1) @ [1, 3, 9]
    for values, num_values in ((symmetry, 16), (shift, 27)):
        counts = np.bincount(values, minlength=num_values)
        expected = count / num_values
        assert np.abs(counts - expected).max() < 5 * np.sqrt(expected)
    correlations = np.corrcoef(np.column_stack([bits, draws.shifts]), rowvar=False)
    assert np.abs(correlations - np.eye(7)).max() < 0.04
