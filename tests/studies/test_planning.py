from dataclasses import replace

import pytest

from experiments.resolution_matters import arms, claim
from experiments.sizes import SIZES
from mlp_med.errors import StudyError
from mlp_med.pipelines.folds import OWN_SPLITS
from mlp_med.studies.planning import OpenedDataset, plan_study
from tests.studies.synthetic import dataset_info

SIZE = SIZES["luna16"]["full"]
INFO = dataset_info(folds=tuple(range(10)))


def plan(info=INFO, num_seeds=5, cross_validated=SIZE.cross_validated):
    return plan_study(
        name="resolution_matters",
        size="full",
        claim=claim(SIZE, "mm", phantom=True),
        arms=arms(SIZE, "mm", phantom=True),
        num_seeds=num_seeds,
        dataset=OpenedDataset(info, dict.fromkeys(SIZE.resolutions, "abc")),
        precision="float32",
        cross_validated=cross_validated,
    )


def test_the_full_size_tests_every_fold_of_every_seed_in_every_arm():
    study = plan()
    names = [arm.name for arm in arms(SIZE, "mm", phantom=True)]
    found = {(study.arm_of(cell), cell.seed, cell.fold) for cell in study.cells}
    assert found == {(a, s, f) for a in names for s in range(5) for f in range(10)}
    assert len(study.cells) == len(found)
    assert study.cross_validated
    assert study.dataset_info.num_scored(cross_validated=True) == (1000, 250, 100)


@pytest.mark.parametrize(
    "study", [plan(replace(INFO, folds=())), plan(cross_validated=False)], ids=["none", "unasked"]
)
def test_without_folds_the_datasets_own_splits_serve(study):
    assert {cell.fold for cell in study.cells} == {OWN_SPLITS}
    assert not study.cross_validated
    assert study.dataset_info.num_scored(cross_validated=False) == (200, 50, 20)


def test_seeds_can_be_added_to_a_cross_validated_study():
    assert plan(num_seeds=6).hash == plan().hash
    assert plan(cross_validated=False).hash != plan().hash


def test_unknown_patients_stay_unknown():
    unknown = replace(INFO, num_patients=None)
    assert unknown.num_scored(cross_validated=True) == (1000, 250, None)


def test_a_batch_larger_than_the_training_set_is_refused():
    opened = OpenedDataset(INFO, dict.fromkeys(SIZE.resolutions, "abc"))
    arm = arms(SIZE, "mm", phantom=True)[0]
    fits = replace(arm, global_batch_size=700, budget_examples=1400)
    assert opened.cell(fits, 0, "float32").global_batch_size == 700
    with pytest.raises(StudyError, match=r"at most the 700 crops .* got 701"):
        opened.cell(replace(fits, global_batch_size=701, budget_examples=1402), 0, "float32")
    with pytest.raises(StudyError, match="at most the 350 crops"):
        opened.cell(replace(fits, training_fraction=0.5), 0, "float32")


def test_every_claim_of_a_study_is_part_of_what_it_is():
    first = claim(SIZE, "mm", phantom=True)
    one, other = (replace(first, name="other", margin=margin) for margin in (0.01, 0.02))
    studies = [replace(plan(), claims=claims) for claims in ((), (first, one), (first, other))]
    assert len({study.hash for study in studies}) == 3
    assert [each["name"] for each in studies[1].plan()["claims"]] == ["", "other"]
    assert studies[0].plan()["claims"] == []
