import math

import pytest

from mlp_med.capacity.platforms import Platform, catalogue
from mlp_med.capacity.probe import Probe
from mlp_med.errors import CapacityError
from mlp_med.studies import computed
from mlp_med.studies.computed import feasibility, measured_here, rooflines, roofs
from mlp_med.studies.task import Task

CROPS = Task(
    name="crops",
    unit="mm",
    resolutions={1.25: (32,) * 3, 2.5: (16,) * 3},
    images=1,
    num_channels=1,
    native_bytes=2,
    model="residual_small",
)
EXAM = Task(
    name="exam",
    unit="mm",
    resolutions={0.4: (650, 500)},
    images=4,
    num_channels=1,
    native_bytes=2,
    model="residual_small",
)
PLATFORMS = [catalogue()[name] for name in ("p100", "h100", "et-soc-1")]
HERE = Platform(
    name="this-machine",
    title="this machine",
    kind="cpu",
    memory_bytes=16 * 10**9,
    bandwidth=2e10,
    peak_flops={"float32": 1e11},
    measured=True,
)


def test_every_combination_is_answered_once():
    found = feasibility([CROPS, EXAM], [1, 64], PLATFORMS, price_per_hour=2.0)
    assert len(found) == 3 * (2 + 1) * 2
    assert not found.duplicated(["platform", "task", "resolution", "batch"]).any()
    assert found["predicted"].all()
    fitting = found[found["remedy"] != "infeasible"]
    assert (fitting["peak_bytes"] <= fitting["memory_bytes"]).all()


def test_price_is_of_the_seconds_and_none_without_a_price():
    row = feasibility([CROPS], [4], PLATFORMS[:1], price_per_hour=36.0).iloc[0]
    assert row["price"] == pytest.approx(row["seconds"] / 100)
    assert math.isnan(
        feasibility([CROPS], [4], PLATFORMS[:1], price_per_hour=None).iloc[0]["price"]
    )


def test_the_views_of_an_exam_go_through_the_network_together():
    assert EXAM.workload(0.4, 2).batch_size == 8


def test_training_and_inference_stand_apart():
    found = rooflines([CROPS], 8, PLATFORMS)
    by_mode = found.groupby("mode")["operations"].sum()
    assert by_mode["training"] > 2 * by_mode["inference"]
    alive = found.groupby("mode")["activation_bytes"].max()
    assert alive["inference"] < alive["training"]
    assert set(found[found["platform"] == "h100"]["precision"]) == {"mixed_bfloat16"}
    unknown = found[found["platform"] == "et-soc-1"]
    assert unknown["seconds"].isna().all()
    assert set(unknown["bound"]) == {""}
    assert list(roofs(PLATFORMS)["platform"]) == ["p100", "h100"]


@pytest.fixture
def probed(monkeypatch):
    def probe(workload, **_):
        if workload.batch_size == 2:
            raise CapacityError("the probe died: killed")
        return Probe(900_000_000, 1000, 1_100_001_000, 0.5)

    monkeypatch.setattr(computed, "probe", probe)


def test_measured_cells_stand_beside_the_prediction(probed):
    cells = [("crops", 1.25, 8), ("crops", 1.25, 2), ("crops", 1.25, 10**6)]
    found = measured_here([CROPS], cells, HERE, threads=1)
    assert list(found["state"]) == ["done", "failed", "infeasible"]
    done, failed, infeasible = found.to_dict("records")
    assert done["measured_bytes"] == 1_100_000_000  # without the noise that stood for crops
    assert done["estimated_seconds"] > 0
    assert done["operations_per_second"] > 0
    assert "killed" in failed["message"]
    assert infeasible["predicted_bytes"] > HERE.memory_bytes


def test_without_this_machine_nothing_is_measured():
    assert len(measured_here([CROPS], [("crops", 1.25, 8)], None, threads=1)) == 0
