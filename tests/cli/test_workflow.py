import dataclasses
import json

import pytest

import experiments
from experiments import STUDIES
from experiments.sizes import SIZES
from mlp_med.cli import workflow
from mlp_med.phantoms.scan import PHANTOM_VERSION
from mlp_med.studies.planning import OpenedDataset
from mlp_med.studies.study import Study
from tests.studies.synthetic import dataset_info

RECORD = "resolution_matters-luna16-small.json"
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


@pytest.fixture
def _piloted(tmp_path, monkeypatch):
    """A committed pilot of the phantom with seed 3, and a source drawn with seed 3."""
    marker = {"name": "luna16", "version": 2, "seed": 3, "num_scans": 10, "num_bytes": 7}
    (tmp_path / "PHANTOM.json").write_text(json.dumps(marker))
    record = json.loads((experiments.PILOTS / RECORD).read_text())
    record["origin"]["drawing"] = "name=luna16, version=2, seed=3, num_scans=10"
    (tmp_path / RECORD).write_text(json.dumps(record))
    monkeypatch.setattr(experiments, "PILOTS", tmp_path)


def prepared_phantom(source, digest):
    size = SIZES["luna16"]["small"].on(phantom=True)
    info = dataclasses.replace(dataset_info("luna16"), source=str(source), source_digest=digest)
    experiment = STUDIES["resolution_matters"]
    return workflow.Prepared(
        name="resolution_matters",
        size_name="small",
        size=size,
        claim=experiment.claim(size, unit="mm", phantom=True),
        arms=experiment.arms(size, unit="mm", phantom=True),
        dataset=OpenedDataset(info, dict.fromkeys(size.resolutions, "abc")),
        precision="float32",
    )


@pytest.mark.usefixtures("_piloted")
def test_a_recorded_pilot_holds_for_its_phantom_whichever_processor_drew_it(tmp_path):
    for digest in ("as drawn with AVX2", "as drawn with AVX-512"):
        assert workflow.recorded_pilot(prepared_phantom(tmp_path, digest)) is not None


@pytest.mark.usefixtures("_piloted")
@pytest.mark.parametrize("change", [{"seed": 4}, {"variant": "coarse_answer"}, {"version": 3}])
def test_a_recorded_pilot_holds_for_no_other_phantom(tmp_path, change):
    marker = json.loads((tmp_path / "PHANTOM.json").read_text())
    (tmp_path / "PHANTOM.json").write_text(json.dumps({**marker, **change}))
    assert workflow.recorded_pilot(prepared_phantom(tmp_path, "any")) is None
    assert workflow.recorded_pilot(prepared_phantom(tmp_path / "real", "any")) is None


def test_the_committed_pilot_is_that_of_make_study():
    record = json.loads((experiments.PILOTS / RECORD).read_text())
    drawn_by = f"name=luna16, version={PHANTOM_VERSION}, seed=0, num_scans=100"
    assert record["origin"]["drawing"] == drawn_by
