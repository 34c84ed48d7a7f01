import pytest

from mlp_med.capacity.arithmetic import (
    inference_costs,
    input_bytes,
    training_costs,
)


def operations(costs):
    return sum(cost.operations for cost in costs)


def num_bytes(costs):
    return sum(cost.num_bytes for cost in costs)


def test_a_convolutions_operations_are_counted_by_hand(make_workload):
    costs = {cost.name: cost for cost in inference_costs(make_workload(batch_size=1))}
    # 16³ outputs of 8 channels, each of 27 taps over the 8 channels of a folded block
    assert costs["stem"].operations == 2 * 16**3 * 8 * 27 * 8
    moved = 4 * (16**3 * 8 + 16**3 * 8 + 27 * 8 * 8)
    assert costs["stem"].num_bytes == moved


def test_training_is_three_times_inference_but_for_the_data(make_workload):
    forward = {cost.name: cost.operations for cost in inference_costs(make_workload())}
    training = {cost.name: cost.operations for cost in training_costs(make_workload())}
    # A gradient by the weights and one by the inputs; nobody asks for one by the data.
    assert training["stage0_block0_conv1"] == 3 * forward["stage0_block0_conv1"]
    assert training["stem"] == 2 * forward["stem"]


def test_twice_the_batch_is_twice_the_operations_and_less_than_twice_the_bytes(make_workload):
    one, two = (training_costs(make_workload(batch_size=batch)) for batch in (4, 8))
    assert operations(two) == 2 * operations(one)
    assert num_bytes(one) < num_bytes(two) < 2 * num_bytes(one)  # the weights pass once


def test_micro_batches_do_the_same_work(make_workload):
    whole = training_costs(make_workload(batch_size=8))
    parts = training_costs(make_workload(batch_size=2, accumulation_steps=4))
    assert operations(parts) == operations(whole)
    assert num_bytes(parts) > num_bytes(whole)


def test_narrow_numbers_halve_the_bytes_of_activations(make_workload):
    wide, narrow = (
        num_bytes(inference_costs(make_workload(precision=precision, batch_size=64)))
        for precision in ("float32", "mixed_bfloat16")
    )
    assert narrow / wide == pytest.approx(0.5, abs=0.03)


def test_recomputation_costs_a_pass_over_norms_and_poolings(make_workload):
    plain, again = (training_costs(make_workload(recompute=flag)) for flag in (False, True))
    assert 1 < operations(again) / operations(plain) < 1.1
    assert 1 < num_bytes(again) / num_bytes(plain) < 1.3
    # Predicting is the same.
    assert operations(inference_costs(make_workload(recompute=True))) == operations(
        inference_costs(make_workload())
    )


def test_crops_come_in_their_own_format(make_workload):
    workload = make_workload(batch_size=2, accumulation_steps=3)
    assert input_bytes(workload) == 6 * 32**3 * 2
