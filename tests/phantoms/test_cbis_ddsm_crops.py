import csv
import json
from hashlib import sha256
from pathlib import Path

import numpy as np
import pydicom
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from mlp_med.errors import SourceError
from mlp_med.phantoms.cbis_ddsm_crops import (
    _write_patient,
    plan_patient,
    write_cbis_ddsm_crops,
)
from tfds_builders.cbis_ddsm_crops import check
from tfds_builders.cbis_ddsm_crops.cbis_ddsm_crops_dataset_builder import _files, _views
from tfds_builders.cbis_ddsm_crops.crops import render_lesions
from tfds_builders.cbis_ddsm_crops.survey import survey_source

NUM_PATIENTS = 14
SPACING_MM = 0.8


@pytest.fixture(scope="module")
def phantom(tmp_path_factory) -> Path:
    """Tests must leave it as it is."""
    out = tmp_path_factory.mktemp("phantom") / "cbis"
    write_cbis_ddsm_crops(out, num_patients=NUM_PATIENTS, seed=5, num_workers=2)
    return out


@pytest.fixture(scope="module")
def crops(phantom):
    """Fields [n, 64, 64] as shares, lesion (1) or background (0) [n], patients [n]."""
    survey = survey_source(phantom)
    images, labels, patients = [], [], []
    for view in _views(survey):
        _, (found,) = render_lesions(_files(survey, view), (), True, [SPACING_MM])
        for lesion, background in found[..., 0]:
            if background.any():
                images += [lesion, background]
                labels += [1, 0]
                patients += [view.lesions["patient"].iloc[0]] * 2
    return np.stack(images) / 65_535, np.array(labels), np.array(patients)


def auc_over_patients(features, labels, patients) -> float:
    """Of a logistic regression, cross-validated by patient."""
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=3000))
    scores = cross_val_predict(
        model, features, labels, groups=patients, cv=GroupKFold(7), method="predict_proba"
    )
    return float(roc_auc_score(labels, scores[:, 1]))


def test_the_builder_reads_all_of_it_and_it_is_called_a_phantom(phantom):
    report = check(phantom)
    assert report.problems == []
    assert report.phantom
    assert sum(report.candidates.values()) == 4 * NUM_PATIENTS
    assert min(report.candidates.values()) > 0
    assert list(report.skipped) == ["lesions of training patients who are also in a test table"]
    assert "PHANTOM" in str(report)
    kept = json.loads((phantom / "PHANTOM.json").read_text())
    assert kept["complete"] is True
    assert kept["num_lesions"] == 4 * NUM_PATIENTS


def test_the_layout_has_the_releases_own_traps(phantom):
    """Line breaks in quoted fields, and names that do not tell mask from cropped image."""
    names = {"mass": set(), "calc": set()}
    for table in phantom.glob("*_case_description_*.csv"):
        with table.open(newline="") as file:
            for row in csv.DictReader(file):
                paths = [row["cropped image file path"], row["ROI mask file path"]]
                assert sum(path.endswith("\n") for path in paths) == 1
                crop, mask = (pydicom.dcmread(phantom / path.strip()) for path in paths)
                film = pydicom.dcmread(phantom / row["image file path"])
                exchanged = mask.pixel_array.shape != film.pixel_array.shape
                if exchanged:
                    crop, mask = mask, crop
                assert mask.pixel_array.shape == film.pixel_array.shape
                assert set(np.unique(mask.pixel_array)) == {0, 255}
                assert crop.pixel_array.size < film.pixel_array.size / 4
                assert film.PatientID == row["image file path"].split("/")[0]
                names[table.name[:4]].add((paths[1].strip()[-10:], exchanged))
    assert names["mass"] == {("000001.dcm", False), ("000001.dcm", True)}
    assert names["calc"] == {("000000.dcm", False), ("000000.dcm", True)}


def test_bytes_depend_neither_on_workers_nor_on_how_many_patients(phantom, tmp_path):
    few = tmp_path / "few"
    for number in (0, NUM_PATIENTS - 1):
        _write_patient(few, 5, number)
    paths = sorted(few.glob("*/*/*/*.dcm"))
    assert len(paths) == 3 * 4 * 2
    for path in paths:
        whole = (phantom / path.relative_to(few)).read_bytes()
        assert sha256(path.read_bytes()).digest() == sha256(whole).digest()


def test_neither_pathology_nor_kind_follows_size_density_or_view():
    plans = [plan for n in range(400) for _, plan in plan_patient(0, n)]
    malignant = np.array([plan.malignant for plan in plans])
    for values in (
        [plan.diameter_mm for plan in plans],
        [plan.density for plan in plans],
        [plan.right for plan in plans],
        [plan.kind == "mass" for plan in plans],
    ):
        assert abs(roc_auc_score(malignant, values) - 0.5) < 0.06
    assert {plan.view for plan in plans} == {"CC", "MLO"}


def test_the_surroundings_do_not_give_a_lesion_away(crops):
    """Where the field lies, how much of it is air, and how bright and uneven its rim is."""
    images, labels, patients = crops
    assert len(labels) > 80
    axis = np.abs(np.arange(64) - 31.5) * SPACING_MM
    reach = np.maximum(axis[:, None], axis)
    around = images[:, reach > 15]
    sides = [images[:, :14], images[:, -14:], images[:, :, :14], images[:, :, -14:]]
    features = [
        (around < 0.1).mean(axis=1),
        around.mean(axis=1),
        around.std(axis=1),
        around.max(axis=1),
        *(side.mean(axis=(1, 2)) for side in sides),
    ]
    for column in features:
        assert abs(roc_auc_score(labels, column) - 0.5) < 0.14
    assert auc_over_patients(np.stack(features, axis=1), labels, patients) < 0.65


def test_brightness_of_the_whole_field_does_not_give_a_lesion_away(crops):
    images, labels, patients = crops
    whole = images.reshape(len(images), -1)
    features = np.stack([whole.mean(axis=1), whole.std(axis=1), whole.max(axis=1)], axis=1)
    assert auc_over_patients(features, labels, patients) < 0.65


@pytest.mark.parametrize("bad", [{"num_patients": 9}, {"seed": -1}, {"num_workers": 0}])
def test_senseless_numbers_are_refused(tmp_path, bad):
    with pytest.raises(SourceError, match="needs num_patients"):
        write_cbis_ddsm_crops(tmp_path / "out", **{"num_patients": 10, "seed": 0, **bad})
    assert not (tmp_path / "out").exists()
