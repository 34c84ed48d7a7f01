"""A DICOM file is full of its patient; nothing of that is in dataset, ledger, report or message."""

import shutil
from dataclasses import asdict
from datetime import date
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.datadict import tag_for_keyword

from mlp_med.crop_sheets import draw_source
from mlp_med.errors import MlpMedError
from mlp_med.imaging.dicom_slice import read_slice_header
from mlp_med.imaging.radiograph import read_radiograph_header
from mlp_med.ledger import write
from mlp_med.ledger.read import read_study
from mlp_med.ledger.store import open_ledger
from mlp_med.phantoms.dicom_radiograph import write_radiograph
from mlp_med.pipelines.arrays import load_split
from mlp_med.reports.study_report import write_report
from mlp_med.studies.planning import open_dataset
from tests.fuzzing.mutations import mutant
from tests.reports.conftest import CLAIM, CONTROLS
from tests.reports.synthetic import ARMS, finish, plan_of, predictions_of
from tests.security.searching import files_with
from tfds_builders import table

PERSON = {
    "PatientName": "Gertrud^Zuckermandl",
    "PatientID": "MRN4711081",
    "PatientBirthDate": "19371224",
    "PatientAddress": "Sonnenblumenweg 17",
    "PatientTelephoneNumbers": "06221991772",
    "OtherPatientIDs": "OTHERID99331",
    "PatientComments": "prefersmornings",
    "AccessionNumber": "ACC20993311",
    "InstitutionName": "Krankenhaus Himmelspforten",
    "InstitutionAddress": "Himmelspforten Allee",
    "ReferringPhysicianName": "Quacksalber^Theodor",
    "PerformingPhysicianName": "Feldscher^Ottilie",
    "OperatorsName": "Knipser^Balduin",
    "StudyDate": "20230917",
    "StudyDescription": "suspectedtumourofGertrud",
    "StationName": "ROOM7MAMMO",
    "DeviceSerialNumber": "SERIAL55120",
    "ImageComments": "screenedforinsurance",
}
PRIVATE = "privateZuckermandlnote"
SPLITS = ("train",) * 2 + ("validation",) * 2 + ("test",) * 12  # of the patients
SECRETS = [part.encode() for value in (*PERSON.values(), PRIVATE) for part in value.split("^")]


def write_person(path: Path, seed: int) -> Path:
    pixels = np.random.default_rng(seed).integers(0, 4096, (16, 16)).astype(np.uint16)
    write_radiograph(
        path,
        pixels,
        SOPInstanceUID=f"2.25.{seed + 1}",
        StudyInstanceUID="2.25.77001",
        SeriesInstanceUID="2.25.77002",
        Modality="MG",
        PixelSpacing=[0.1, 0.1],
        **PERSON,
    )
    data = pydicom.dcmread(path)
    data.private_block(0x0011, "MAKER", create=True).add_new(0x01, "LO", PRIVATE)
    data.save_as(path)
    return path


@pytest.fixture(scope="module")
def traces(tmp_path_factory) -> Path:
    """A folder of all that is made of such files: dataset, ledger, report, sheet of crops."""
    root, made = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("made")
    lines = ["path,patient,label,split"]
    for number in range(2 * len(SPLITS)):
        write_person(root / f"{number}.dcm", number)
        lines.append(f"{number}.dcm,P{number // 2},{number % 2},{SPLITS[number // 2]}")
    source = root / "scans.csv"
    source.write_text("\n".join(lines))
    assert files_with(root, SECRETS[:1])  # the search finds what is there
    builders = table.build(source, made / "data", num_workers=1)
    resolution = builders[0].builder_config.resolution
    draw_source("table", source, made / "crops.png", num_cases=2)
    dataset = open_dataset("table", [resolution], made / "data", source)
    cases = load_split("table", made / "data", resolution, "test")
    ledger = open_ledger(f"sqlite:///{made}/ledger/mlflow.db")
    plan = plan_of(asdict(CLAIM), num_seeds=2) | {"dataset": asdict(dataset.info)}
    about = {"dataset": "table", "size": plan["size"], "phantom": "false"}
    study = write.start_study(ledger, plan["name"], "study0", plan, about)
    given = write.DatasetInput("table", dataset.digests[resolution], str(source))
    for cell in plan["cells"]:
        arm, seed = cell["arm"], cell["params"]["seed"]
        run = write.start_cell(ledger, study, cell["params"], cell["hash"], arm, about, given)
        scored = predictions_of(arm, seed, num_patients=12, cases_each=2)
        scored = scored.assign(id=cases.ids, patient=cases.patients, label=cases.labels)
        finish(ledger, run, arm, seed, scored)
    write.log_crops(ledger, study, (made / "crops.png").read_bytes())
    write.finish_study(ledger, study)
    write_report(ledger, read_study(ledger, study), made / "report", controls=CONTROLS)
    assert len(ARMS) * 2 == len(plan["cells"])
    shutil.rmtree(root)
    return made


@pytest.mark.parametrize("what", ["data", "ledger", "report", "crops.png"])
def test_nothing_of_the_person_is_left(traces, what):
    place = traces / what
    assert place.exists()
    assert files_with(place, SECRETS) == []


def test_what_is_left_is_the_pseudonym_that_the_user_gave(traces):
    """So the README asks for one: the patient column and the paths are kept as they are."""
    assert files_with(traces / "data", [b"P15"])
    assert files_with(traces / "ledger", [b"P15"])
    assert files_with(traces / "ledger", [b"scans.csv"])


def test_no_refusal_quotes_the_person(tmp_path):
    """300 spoilt files: a reader that is led astray may run into a neighbouring element."""
    path = write_person(tmp_path / "a.dcm", 0)
    sound = path.read_bytes()
    said = []
    for number in range(300):
        path.write_bytes(mutant(sound, f"person {number}", text=False))
        for read in (read_radiograph_header, read_slice_header):
            try:
                read(path)
            except MlpMedError as error:
                said.append(str(error))
    assert len(said) > 100
    assert [text for text in said for secret in SECRETS if secret.decode() in text] == []


def test_the_person_is_one_of_elements_that_exist():
    assert all(tag_for_keyword(keyword) for keyword in PERSON)
    assert date.fromisoformat(PERSON["PatientBirthDate"])
