import pytest

from mlp_med.capacity.arithmetic import training_costs
from mlp_med.capacity.memory import activation_peak, calls_of, network_of, predict_memory
from mlp_med.capacity.workload import Workload
from mlp_med.errors import CapacityError


def exam(**changes) -> Workload:
    fields = {"model": "residual_small_four_views", "voxels": (64, 64), "num_channels": 4}
    return Workload(**{**fields, "batch_size": 2, **changes})


def one_view(**changes) -> Workload:
    return exam(**{"model": "residual_small", "num_channels": 1, **changes})


@pytest.mark.parametrize("recompute", [False, True])
def test_four_views_do_and_keep_four_times_what_one_does(recompute):
    four, one = exam(recompute=recompute), one_view(recompute=recompute)
    joined = 2 * 4 * 4 * 32  # of four columns' features, once more side by side
    kept = [activation_peak(workload).kept_bytes for workload in (four, one)]
    # A view that was cut out is folded by the stem, whose output is what is kept.
    assert kept[0] == pytest.approx(4 * kept[1], abs=2 * joined)
    operations = [
        sum(each.operations for each in training_costs(workload)) for workload in (four, one)
    ]
    assert operations[0] == pytest.approx(4 * operations[1], rel=0.01)


def test_columns_are_shared_by_the_breasts_so_there_are_two_networks_of_parameters():
    four, one = network_of(exam()), network_of(one_view())
    logit = 4 * 32 + 1
    assert four.parameters == 2 * (one.parameters - 33) + logit


def test_every_layer_of_every_view_is_walked_once():
    names = [call.output_name for call in calls_of(exam())]
    assert len(names) == len(set(names))
    of_views = [[name for name in names if name.startswith(f"view{view}_")] for view in range(4)]
    assert len({len(found) for found in of_views}) == 1
    assert names[-2:] == ["four_views", "logit"]


def test_channels_that_views_cannot_share_are_refused():
    with pytest.raises(CapacityError, match="choose a network of one view"):
        exam(num_channels=3)


def test_a_whole_exam_of_2600_by_2000_is_planned():
    plan = predict_memory(exam(model="residual_four_views", voxels=(2600, 2000), batch_size=1))
    assert 2.5e9 < plan.activations < 3e9
