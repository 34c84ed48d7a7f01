import pytest

from experiments import resolution_or_batch as study
from mlp_med.capacity.workload import Workload
from mlp_med.errors import StudyError
from mlp_med.pipelines.datasets import crop_grid, describe
from mlp_med.studies.memory_budget import largest_power_of_two, predicted_memory
from mlp_med.studies.planning import OpenedDataset, plan_study
from mlp_med.studies.study import DatasetInfo

SMALL = study.SIZES["luna16"]["small"].on(phantom=True)
# Of networks of at least 16 channels a cell is of bfloat16 where the processor has it.
PRECISION = {"residual_small_centre": "float32", "residual_centre": "mixed_bfloat16"}


@pytest.mark.parametrize(
    ("dataset", "size"), [(name, size) for name, sizes in study.SIZES.items() for size in sizes]
)
def test_each_resolution_has_the_largest_batch_that_the_memory_plan_fits(dataset, size, tmp_path):
    found, description = study.SIZES[dataset][size], describe(dataset, tmp_path)
    for resolution, batch in found.batches.items():
        one = Workload(
            model=found.model,
            voxels=crop_grid(description, resolution),
            num_channels=description.num_channels,
            batch_size=1,
            norm="group",
            precision=PRECISION[found.model],
            native_bytes=2 if dataset == "luna16" else 1,
        )
        assert largest_power_of_two(one, found.memory_bytes) == batch
    assert found.budget_examples % max(found.batches.values()) == 0


def test_the_claim_sets_detail_with_a_small_batch_against_a_large_batch_without():
    arms = {arm.name: arm for arm in study.arms(SMALL, "mm", phantom=True)}
    fine, coarse = (arms[name] for name in study.claim(SMALL, "mm", phantom=True).primary)
    assert (fine.resolution, fine.global_batch_size) == (1.25, 2)
    assert (coarse.resolution, coarse.global_batch_size) == (5.0, 128)
    assert fine.grid == fine.resolution  # nobody upsamples what must fit into a memory
    assert {arm.budget_examples for arm in arms.values()} == {19_200}
    way_out = arms["1.25mm, batch 128 of 64 × 2"]
    assert way_out.global_batch_size / way_out.accumulation_steps == fine.global_batch_size


def planned(arms):
    info = DatasetInfo(
        name="luna16",
        data_dir="",
        source="",
        source_digest="",
        phantom=True,
        unit="mm",
        num_cases={"train": 800, "validation": 10, "test": 10},
        num_positive={"train": 400, "validation": 5, "test": 5},
        num_patients=None,
    )
    opened = OpenedDataset(info, dict.fromkeys((1.25, 2.5, 5.0), "d"))
    claim = study.claim(SMALL, "mm", phantom=True)
    return plan_study(
        name=study.NAME,
        size="small",
        claim=claim,
        arms=arms,
        num_seeds=1,
        dataset=opened,
        precision="float32",
    )


def test_what_the_arms_take_is_predicted_and_all_are_within_the_budget(tmp_path):
    plan = planned(study.arms(SMALL, "mm", phantom=True))
    cells = {plan.arm_of(cell): cell for cell in plan.cells}
    memory = predicted_memory(cells, describe("luna16", tmp_path), SMALL.memory_bytes)
    assert set(memory["arms"]) == set(cells)
    assert max(memory["arms"].values()) <= SMALL.memory_bytes
    by_place = {(resolution, batch): taken for resolution, batch, taken in memory["map"]}
    assert by_place[1.25, 2] == memory["arms"]["1.25mm, batch 2"]
    assert by_place[1.25, 4] > SMALL.memory_bytes


def test_two_arms_of_the_same_cells_are_refused():
    arms = study.arms(SMALL, "mm", phantom=True)
    with pytest.raises(StudyError, match="'again' train the same cells"):
        planned([*arms, arms[0].__class__(**{**vars(arms[0]), "name": "again"})])
