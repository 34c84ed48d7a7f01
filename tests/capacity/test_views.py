import pytest

from mlp_med.capacity.workload import Workload
from mlp_med.errors import CapacityError


def test_columns_that_views_share_are_refused_and_not_counted_once():
    one = Workload(model="residual_small", voxels=(64, 64), num_channels=1, batch_size=4)
    assert one.num_voxels == 64 * 64
    with pytest.raises(CapacityError, match="choose a network of one view"):
        Workload(model="residual_small_four_views", voxels=(64, 64), num_channels=4, batch_size=4)
