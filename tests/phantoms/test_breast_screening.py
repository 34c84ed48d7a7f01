import json
from pathlib import Path

import numpy as np
import pydicom
import pytest
from sklearn.metrics import roc_auc_score

from mlp_med.errors import SourceError
from mlp_med.phantoms.breast_screening import birads_of, plan_exam, write_breast_screening
from tfds_builders.breast_screening import check

NUM_EXAMS = 20


@pytest.fixture(scope="module")
def phantom(tmp_path_factory) -> Path:
    """Tests must leave it as it is."""
    out = tmp_path_factory.mktemp("phantom") / "exams"
    write_breast_screening(out, num_exams=NUM_EXAMS, seed=2, num_workers=2)
    return out


def test_the_builder_reads_all_of_it_and_it_is_called_a_phantom(phantom):
    report = check(phantom, "suspicion")
    assert report.phantom
    assert report.skipped == {}
    assert sum(report.candidates.values()) == NUM_EXAMS
    assert report.candidates["exams, test"] == 5
    kept = json.loads((phantom / "PHANTOM.json").read_text())
    assert kept["complete"] is True
    counted = [of["BI-RADS 3-5"] for of in report.examples.values()]
    assert sum(counted) == kept["num_suspicious"] > 0


def test_images_are_of_twelve_bits_and_every_other_exam_is_turned_over(phantom):
    kinds = set()
    for folder in (phantom / "images").iterdir():
        images = [pydicom.dcmread(path) for path in folder.iterdir()]
        assert len(images) == 4
        assert {(of.ImageLaterality, of.ViewPosition) for of in images} == {
            (side, view) for side in "LR" for view in ("CC", "MLO")
        }
        (kind,) = {of.PhotometricInterpretation for of in images}
        kinds.add(kind)
        for of in images:
            assert of.pixel_array.max() <= 4095
            air = np.median(of.pixel_array[-20:])
            assert (air > 3000) == (kind == "MONOCHROME1")
    assert kinds == {"MONOCHROME1", "MONOCHROME2"}


def test_the_grade_follows_the_lesion_alone():
    exams = [plan_exam(0, number) for number in range(400)]
    plans = [plan for exam in exams for plan in exam]
    for plan in plans:
        assert birads_of(plan) == (4 if plan.malignant else 2 if plan.kind else 1)
    worst = np.array([max(map(birads_of, exam)) for exam in exams])
    assert 0.3 < np.mean(worst >= 3) < 0.5
    density = [exam[0].density for exam in exams]
    assert abs(roc_auc_score(worst >= 3, density) - 0.5) < 0.08
    side = [plan.right for plan in plans if plan.malignant]
    assert 0.35 < np.mean(side) < 0.65


@pytest.mark.parametrize("bad", [{"num_exams": 19}, {"seed": -1}, {"num_workers": 0}])
def test_senseless_numbers_are_refused(tmp_path, bad):
    with pytest.raises(SourceError, match="needs num_exams"):
        write_breast_screening(tmp_path / "out", **{"num_exams": 20, "seed": 0, **bad})
    assert not (tmp_path / "out").exists()
