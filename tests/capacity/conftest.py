import pytest

from mlp_med.capacity.workload import Workload


@pytest.fixture
def make_workload():
    def make(**changes) -> Workload:
        fields = {
            "model": "residual_small",
            "voxels": (32, 32, 32),
            "num_channels": 1,
            "batch_size": 4,
        }
        return Workload(**{**fields, **changes})

    return make
