import pytest

from experiments import STUDIES
from experiments.sizes import SIZES
from mlp_med.cli import workflow
from mlp_med.studies.planning import OpenedDataset
from mlp_med.studies.study import Study
from tests.studies.synthetic import dataset_info

SIZE = SIZES["metastasis_patches"]["small"]
OPENED = OpenedDataset(
    dataset_info("metastasis_patches", phantom=False, unit="um", num_patients=None),
    dict.fromkeys(SIZE.resolutions, "abc"),
)


class StartedError(Exception):
    """Instead of training."""


def first_pilot_study(name: str) -> Study:
    """The study that the pilot of the study `name` would train first."""
    found: list[Study] = []

    def run(study):
        found.append(study)
        raise StartedError

    experiment = STUDIES[name]
    described = {"unit": "um", "phantom": False}
    prepared = workflow.Prepared(
        name=name,
        size_name="small",
        size=SIZE,
        claim=experiment.claim(SIZE, **described),
        arms=experiment.arms(SIZE, **described),
        dataset=OPENED,
        precision="float32",
    )
    with pytest.raises(StartedError):
        workflow.run_pilot_cells(prepared, run)
    return found[0]


def test_a_pilot_that_another_study_takes_over_is_not_trained_twice():
    own, taken_over = first_pilot_study("resolution_matters"), first_pilot_study("more_data")
    assert taken_over.name == own.name == "resolution_matters_pilot"
    assert taken_over.hash == own.hash
    assert [cell.hash for cell in taken_over.cells] == [cell.hash for cell in own.cells]
