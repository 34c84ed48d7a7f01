import pytest

from mlp_med.capacity.arithmetic import LayerCost
from mlp_med.capacity.platforms import Platform
from mlp_med.capacity.roofline import estimate

MACHINE = Platform(
    name="m",
    title="m",
    kind="gpu",
    memory_bytes=10**9,
    bandwidth=100.0,
    peak_flops={"float32": 1000.0},
    link=10.0,
    power_w=50.0,
)
COMPUTE, MEMORY = LayerCost("dense", 4000, 100), LayerCost("thin", 100, 200)


def test_each_layer_stands_at_its_own_roof():
    found = estimate([COMPUTE, MEMORY], 0, MACHINE, "float32")
    assert (found.compute_seconds, found.memory_seconds) == (4.0, 2.0)
    assert found.seconds == 6.0
    assert found.bound == "compute"
    assert found.energy_joules == 300.0
    assert found.intensity == pytest.approx(4100 / 300)
    # More than the whole step at one roof could show.
    assert found.seconds > max(4100 / 1000, 300 / 100)


def test_the_pipeline_works_beside_the_step():
    assert estimate([COMPUTE], 39, MACHINE, "float32").seconds == 4.0
    waiting = estimate([COMPUTE], 100, MACHINE, "float32")
    assert (waiting.seconds, waiting.bound) == (10.0, "IO")


def test_what_waits_for_memory_is_called_so():
    assert estimate([MEMORY], 0, MACHINE, "float32").bound == "memory"


def test_no_figure_no_estimate():
    assert estimate([COMPUTE], 0, MACHINE, "mixed_bfloat16") is None
    unknown = Platform(name="u", title="u", kind="cpu", memory_bytes=1, peak_flops={"float32": 1.0})
    assert estimate([COMPUTE], 0, unknown, "float32") is None
