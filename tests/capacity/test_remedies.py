import pytest

from mlp_med.capacity.budget import Place
from mlp_med.capacity.platforms import catalogue
from mlp_med.capacity.remedies import INFEASIBLE, first_that_fits
from mlp_med.capacity.workload import Workload

LUNG = Workload(model="residual", voxels=(256,) * 3, num_channels=1, batch_size=16)
ORDER = ["float32", "bfloat16", "accumulation", "recomputation", "sharding", INFEASIBLE]


def on(platform: str, budget: int, workload: Workload = LUNG):
    return first_that_fits(workload, Place(platform=catalogue()[platform]), budget)


@pytest.mark.parametrize(
    ("budget", "remedy"),
    [
        (40 * 10**9, "float32"),
        (15 * 10**9, "bfloat16"),
        (8 * 10**9, "accumulation"),
        (1_450_000_000, "recomputation"),
        (1_200_000_000, "sharding"),
        (700_000_000, INFEASIBLE),
    ],
)
def test_each_remedy_has_its_turn(budget, remedy):
    found = on("h100", budget)
    assert found.remedy == remedy
    assert (found.peak_bytes <= budget) == (remedy != INFEASIBLE)


def test_less_memory_never_needs_less_given_up():
    remedies = [on("h100", budget).remedy for budget in range(7 * 10**8, 4 * 10**10, 10**9)]
    ranks = [ORDER.index(remedy) for remedy in remedies]
    assert ranks == sorted(ranks, reverse=True)


def test_a_machine_without_bfloat16_is_not_offered_it():
    found = on("p100", 8 * 10**9)
    assert found.workload.precision == "float32"
    assert found.remedy == "accumulation"


def test_the_whole_batch_is_still_taken():
    found = on("h100", 4 * 10**9)
    assert found.workload.batch_size * found.workload.accumulation_steps == 16


def test_remedies_have_their_price():
    plain, recomputed = on("h100", 10**12), on("h100", 1_450_000_000)
    assert plain.seconds > 0
    assert plain.energy_joules == pytest.approx(700 * plain.seconds)
    assert plain.price(3600.0) == pytest.approx(plain.seconds)
    sharded = on("h100", 1_200_000_000)
    assert sharded.num_devices > 1
    assert sharded.price(3600.0) == pytest.approx(sharded.seconds * sharded.num_devices)
    assert recomputed.workload.recompute
    assert on("h100", 700_000_000).price(1.0) is None


def test_without_a_published_figure_memory_is_answered_alone():
    found = on("et-soc-1", 32 * 10**9)
    assert found.seconds is None
    assert found.remedy in ORDER
