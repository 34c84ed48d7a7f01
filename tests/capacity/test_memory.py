import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlp_med.capacity.memory import (
    RUNNING_BYTES,
    activation_peak,
    calibrated_running_bytes,
    network_of,
    predict_memory,
)
from mlp_med.capacity.workload import Workload
from mlp_med.errors import CapacityError, StudyError

NORMS = ("batch", "group", "none")
PRECISIONS = ("float32", "mixed_bfloat16")
workloads = st.builds(
    Workload,
    model=st.sampled_from(["residual", "residual_small", "residual_centre"]),
    voxels=st.integers(1, 40).map(lambda n: (2 * n,) * 3) | st.just((26, 20)),
    num_channels=st.integers(1, 3),
    batch_size=st.integers(1, 512),
    precision=st.sampled_from(PRECISIONS),
    norm=st.sampled_from(NORMS),
)


@settings(deadline=None, max_examples=15)
@given(workloads)
def test_twice_the_batch_is_twice_the_activations_and_no_more_parameters(workload):
    one = predict_memory(workload)
    two = predict_memory(workload.with_batch(2 * workload.batch_size))
    assert two.activations == 2 * one.activations
    assert two.backward == 2 * one.backward
    assert two.input_buffers == pytest.approx(2 * one.input_buffers, abs=2)
    assert two.running - RUNNING_BYTES == 2 * (one.running - RUNNING_BYTES)
    for line in ("parameters", "optimizer", "gradients", "process_base"):
        assert getattr(two, line) == getattr(one, line)


@settings(deadline=None, max_examples=15)
@given(workloads)
def test_the_lines_are_whole_numbers_that_add_up(workload):
    plan = predict_memory(workload, dataset_bytes=7)
    assert all(type(value) is int and value >= 0 for value in plan.lines.values())
    assert plan.peak == sum(plan.lines.values())
    assert plan.above_base == plan.peak - plan.process_base - 7


@pytest.mark.parametrize("norm", NORMS)
def test_narrow_numbers_halve_what_is_kept(make_workload, norm):
    wide = activation_peak(make_workload(norm=norm)).kept_bytes
    narrow = activation_peak(make_workload(norm=norm, precision="mixed_bfloat16")).kept_bytes
    # Group normalisation computes in float32 and keeps such a copy.
    assert (0.49 if norm != "group" else 0.8) < narrow / wide < (0.52 if norm != "group" else 0.9)


def test_group_normalisation_of_large_examples_keeps_no_float32_copy(make_workload):
    large = {"voxels": (96,) * 3, "precision": "mixed_bfloat16"}
    by_group = activation_peak(make_workload(norm="group", **large)).kept_bytes
    by_batch = activation_peak(make_workload(norm="batch", **large)).kept_bytes
    assert by_batch <= by_group < 1.2 * by_batch  # the small grids of the last stages


def test_examples_that_are_normalised_one_by_one_make_the_graph_larger(make_workload):
    one, two, at_once = (
        predict_memory(make_workload(norm="group", voxels=(edge,) * 3, batch_size=batch)).running
        for edge, batch in ((64, 1), (64, 2), (16, 8))
    )
    by_batch = predict_memory(make_workload(voxels=(64,) * 3)).running
    assert one - by_batch == two - one > 0
    assert at_once == by_batch


def test_three_batches_wait_and_a_fourth_while_a_step_begins_if_that_is_more(make_workload):
    large = make_workload()
    batch = 4 * large.num_voxels * large.batch_size
    assert predict_memory(large).input_buffers == 3 * batch
    # Many channels in, few inside.
    small = make_workload(voxels=(64, 64), num_channels=16, precision="mixed_bfloat16")
    batch = 4 * small.num_voxels * small.num_channels * small.batch_size
    plan = predict_memory(small)
    assert 3 * batch < plan.input_buffers
    # The step's batch, as it is cast and folded, and the crops of the next in int16.
    begins = batch * (1 + 1 / 2 + 1 / 2 + 1 / 2)
    assert plan.input_buffers + plan.activations + plan.backward == 3 * batch + begins


def test_a_wider_network_needs_more(make_workload):
    small, large = (
        predict_memory(make_workload(model=model)) for model in ("residual_small", "residual")
    )
    for line in ("parameters", "optimizer", "gradients", "activations"):
        assert getattr(large, line) > getattr(small, line)


def test_a_finer_grid_needs_more_by_the_voxels(make_workload):
    coarse = activation_peak(make_workload(voxels=(32,) * 3)).kept_bytes
    fine = activation_peak(make_workload(voxels=(64,) * 3)).kept_bytes
    assert fine == pytest.approx(8 * coarse, rel=0.01)


def test_parameters_are_the_models_own(make_workload):
    workload = make_workload()
    network = network_of(workload)
    plan = predict_memory(workload)
    assert plan.parameters == 4 * network.model.count_params()
    assert plan.optimizer == 2 * plan.gradients == 8 * network.trained
    twice = predict_memory(make_workload(accumulation_steps=2))
    assert twice.gradients == 2 * plan.gradients


def test_what_is_absurd_is_answered_with_the_number(make_workload):
    workload = make_workload(model="residual", voxels=(1024,) * 3, batch_size=512)
    plan = predict_memory(workload)
    assert plan.peak > 2**43  # 36 TB and more
    assert plan.activations == 512 * activation_peak(workload.with_batch(1)).kept_bytes


def test_a_grid_that_blocks_do_not_fill_costs_what_fills_it(make_workload):
    odd, even = (make_workload(voxels=(size, 32, 32)) for size in (33, 34))
    assert activation_peak(odd).kept_bytes == activation_peak(even).kept_bytes
    assert predict_memory(odd).peak <= predict_memory(even).peak
    assert predict_memory(odd).peak > predict_memory(make_workload(voxels=(32, 32, 32))).peak


def test_a_probe_sets_the_constant_line(make_workload):
    small = make_workload(voxels=(16,) * 3)
    running = calibrated_running_bytes(small, above_base_bytes=120_000_000)
    assert predict_memory(small, running_bytes=running).above_base == 120_000_000
    assert calibrated_running_bytes(small, above_base_bytes=1) == 0


def test_the_policy_of_the_process_is_left_alone(make_workload):
    import keras

    before = keras.config.dtype_policy().name
    predict_memory(make_workload(precision="mixed_bfloat16"))
    assert keras.config.dtype_policy().name == before


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"voxels": (0, 32, 32)}, CapacityError, "at least one example.*0×32×32"),
        ({"batch_size": 0}, CapacityError, "at least one example"),
        ({"accumulation_steps": 0}, CapacityError, "at least one example"),
        ({"model": "unet"}, StudyError, "expected a model out of"),
    ],
)
def test_a_workload_that_cannot_be_is_refused(make_workload, changes, error, message):
    with pytest.raises(error, match=message):
        make_workload(**changes)
