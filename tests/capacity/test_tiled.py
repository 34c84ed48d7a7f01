import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlp_med.capacity.arithmetic import training_costs
from mlp_med.capacity.inverse import fewest_tiles, finest_grid
from mlp_med.capacity.memory import activation_peak, calls_of, predict_memory
from mlp_med.capacity.network import tile_calls
from mlp_med.capacity.workload import Workload
from mlp_med.errors import CapacityError
from mlp_med.models.residual import build_model
from mlp_med.models.stage_parts import parts_of
from mlp_med.models.streaming import StreamedStages
from mlp_med.models.tiling import largest_tile, plan_tiles

IMAGE_SIZES_ROW = 3  # of `TilePlan.table`


def workload(**changes) -> Workload:
    fields = {"model": "residual_small", "voxels": (128, 96), "num_channels": 1, "norm": "none"}
    return Workload(**{**fields, "batch_size": 2, **changes})


def operations(of: Workload) -> int:
    return sum(each.operations for each in training_costs(of))


@pytest.mark.parametrize("split", [2, 4])
def test_tiles_keep_what_one_of_them_keeps_and_do_the_work_of_all(split):
    whole, tiles = workload(), workload(split=split)
    one = workload(voxels=tuple(edge // split for edge in whole.voxels))
    assert activation_peak(tiles) == activation_peak(one)
    assert operations(tiles) == split**2 * operations(one)
    plan = predict_memory(tiles)
    # Whole images wait, and while the first tile trains there is its own and the next one's crops.
    batch = whole.batch_size * whole.num_voxels
    assert predict_memory(whole).input_buffers == 3 * 4 * batch
    assert plan.input_buffers == 4 * 4 * batch + 2 * batch
    assert plan.gradients == 2 * predict_memory(one).gradients  # one tile's, and the sum


def test_a_smaller_streamed_tile_keeps_less_and_works_more():
    plans = [workload(stream_tile=tile) for tile in (0, 64, 32, 16)]
    peaks = [activation_peak(each).num_bytes for each in plans]
    assert peaks == sorted(peaks, reverse=True)
    assert peaks[1] < peaks[0]
    work = [operations(each) for each in plans]
    assert work == sorted(work)


@settings(deadline=None, max_examples=20)
@given(st.tuples(st.integers(16, 90), st.integers(16, 90)), st.integers(1, 70))
def test_the_largest_tile_is_that_of_the_whole_plan(size, tile_size):
    stages = _stages()
    even = [2 * edge for edge in size]  # blocks of the stem
    plan = plan_tiles(stages, even, tile_size)
    count, edges = largest_tile(stages, even, tile_size)
    assert count == len(plan.table)
    assert list(edges) == plan.table[:, IMAGE_SIZES_ROW, 1:-1].max(axis=0).tolist()


def _stages():
    model = build_model(spatial_dims=2, num_channels=1, widths=(4, 8), norm="none", stream_tile=16)
    return parts_of(model.get_layer("streamed").stages)


def test_streamed_stages_of_an_exam_are_walked_in_every_view():
    calls = calls_of(
        workload(model="residual_small_four_views", num_channels=4, stream_tile=32, voxels=(90, 70))
    )
    streamed = [call for call in calls if isinstance(call.layer, StreamedStages)]
    assert len(streamed) == 4
    count, layers = tile_calls(streamed[0])
    assert count == 9
    assert layers[0].inputs[0].shape[1] > 32  # a halo


@pytest.mark.parametrize(
    "wrong", [{"split": 5}, {"split": 0}, {"stream_tile": -1}, {"stream_tile": 16, "norm": "batch"}]
)
def test_tiles_that_no_cell_can_have_are_refused(wrong):
    with pytest.raises(CapacityError, match="got"):
        workload(**wrong)


def test_the_most_that_fits_keeps_the_split():
    tiles = workload(split=4)
    budget = predict_memory(tiles).peak
    found = finest_grid(tiles, budget, lambda each: predict_memory(each).peak)
    assert found is not None
    assert found.num_voxels >= tiles.num_voxels
    assert all(edge % 4 == 0 for edge in found.voxels)


def test_the_fewest_tiles_are_fewest_whatever_was_asked_for():
    tiles = workload(split=4)
    budget = predict_memory(tiles).peak
    whole = fewest_tiles(tiles, 100 * budget, lambda each: predict_memory(each).peak)
    assert whole is not None
    assert whole.num_tiles == 1
