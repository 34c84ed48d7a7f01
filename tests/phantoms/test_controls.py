"""The two control phantoms: in which structure the answer lies, and that it lies nowhere else."""

import json
from hashlib import sha256

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score
from threadpoolctl import threadpool_limits

from mlp_med.errors import SourceError
from mlp_med.imaging.crop import render_crops
from mlp_med.imaging.volume import Volume
from mlp_med.phantoms.controls import COARSE_ANSWER, FINE_ANSWER, plan_control_scan
from mlp_med.phantoms.lesions import BEST_AUC, LESIONS_PER_SCAN, PITCH_MM
from mlp_med.phantoms.luna16 import write_luna16
from mlp_med.phantoms.scan import JITTER_MM
from mlp_med.phantoms.variants import NODULES, plan, render
from tfds_builders.luna16.survey import survey_source

SPACINGS_MM = (1.25, 5.0)
CONTROLS = (COARSE_ANSWER, FINE_ANSWER)
NUM_SCANS = 2
BLIND = (0.3, 0.7)  # more than 3 standard errors of a chance AUC over 112 lesions


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    """As in the writer's processes: many small products, which threads only slow down."""
    with threadpool_limits(1):
        yield


def measured(variant: str) -> tuple[np.ndarray, dict[float, np.ndarray], dict[float, np.ndarray]]:
    """Labels [n]; mean and standard deviation in the middle of the lesions [n] by spacing."""
    labels, means, deviations = [], {s: [] for s in SPACINGS_MM}, {s: [] for s in SPACINGS_MM}
    for number in range(NUM_SCANS):
        scan = plan_control_scan(variant, 1, number)
        spacing = (scan.grid.pixel_mm, scan.grid.pixel_mm, scan.grid.slice_mm)
        volume = Volume(render(scan), spacing, np.zeros(3), np.eye(3))
        for lesion in scan.findings:
            labels.append(lesion.is_nodule)
            crops = render_crops(volume, lesion.candidate_mm, 40.0, SPACINGS_MM)
            for spacing_mm, crop in zip(SPACINGS_MM, crops, strict=True):
                axis = (np.arange(len(crop)) - (len(crop) - 1) / 2) * spacing_mm
                distance = np.sqrt(axis[:, None, None] ** 2 + axis[:, None] ** 2 + axis**2)
                means[spacing_mm].append(crop[distance < 6].mean())
                deviations[spacing_mm].append(crop[distance < 6].std())
    as_arrays = ({s: np.array(v) for s, v in d.items()} for d in (means, deviations))
    return np.array(labels), *as_arrays


@pytest.fixture(scope="module")
def lesions():
    return {variant: measured(variant) for variant in CONTROLS}


def test_a_fine_answer_is_in_fine_voxels_and_not_in_coarse_ones(lesions):
    labels, means, deviations = lesions[FINE_ANSWER]
    assert 0.8 < roc_auc_score(labels, deviations[1.25]) < 0.95
    for blind in (deviations[5.0], means[5.0], means[1.25]):
        assert BLIND[0] < roc_auc_score(labels, blind) < BLIND[1]


def test_a_coarse_answer_is_as_good_in_coarse_voxels_as_in_fine_ones(lesions):
    labels, means, deviations = lesions[COARSE_ANSWER]
    fine, coarse = (roc_auc_score(labels, means[spacing]) for spacing in SPACINGS_MM)
    assert abs(fine - coarse) < 0.01
    assert abs(coarse - BEST_AUC) < 0.06
    assert BLIND[0] < roc_auc_score(labels, deviations[1.25]) < BLIND[1]


def test_the_best_auc_is_what_the_drawn_values_allow():
    for variant, carrier, other in (
        (COARSE_ANSWER, "density", "texture"),
        (FINE_ANSWER, "texture", "density"),
    ):
        findings = [
            f for number in range(12) for f in plan_control_scan(variant, 4, number).findings
        ]
        labels = [f.is_nodule for f in findings]
        assert np.mean(labels) == pytest.approx(0.5, abs=0.01)
        auc = roc_auc_score(labels, [getattr(f, carrier) for f in findings])
        assert auc == pytest.approx(BEST_AUC, abs=0.05)
        untold = (
            [getattr(f, other) for f in findings],
            [f.diameter_mm for f in findings],
            [f.centre_mm[1] for f in findings],
        )
        off = [float(np.linalg.norm(f.candidate_mm - f.centre_mm)) for f in findings]
        assert max(off) <= JITTER_MM
        for values in (*untold, off):
            assert roc_auc_score(labels, values) == pytest.approx(0.5, abs=0.1)


def test_both_controls_show_the_same_lesions_in_the_same_chests():
    coarse, fine = (plan_control_scan(variant, 2, 0) for variant in CONTROLS)
    assert coarse.series_uid != fine.series_uid != plan(NODULES, 2, 0).series_uid
    assert 40 <= len(coarse.findings) == len(fine.findings) <= LESIONS_PER_SCAN
    for one, other in zip(coarse.findings, fine.findings, strict=True):
        assert np.array_equal(one.centre_mm, other.centre_mm)
        assert np.array_equal(one.candidate_mm, other.candidate_mm)
        assert one.is_nodule == other.is_nodule


def test_a_field_holds_one_lesion_and_lies_within_the_scan():
    scan = plan_control_scan(FINE_ANSWER, 3, 1)
    centres = np.array([lesion.centre_mm for lesion in scan.findings])
    gaps = np.abs(centres[:, None] - centres).max(axis=2)
    gaps[np.diag_indices(len(gaps))] = np.inf
    assert gaps.min() > PITCH_MM - 1e-6
    assert np.all(scan.chest.lung_depth(centres) > 10)
    marks = np.array([lesion.candidate_mm for lesion in scan.findings])
    assert marks[:, 2].min() > 19
    assert marks[:, 2].max() < scan.grid.extent_mm[2] - 19


@pytest.mark.parametrize(("blob_mm", "slice_mm"), [(1.25, 1.0), (2.0, 2.0), (2.5, 2.0)])
def test_no_slice_is_thicker_than_a_blob(blob_mm, slice_mm):
    scan = plan_control_scan(FINE_ANSWER, 3, 1, blob_mm)
    assert scan.grid.slice_mm == slice_mm <= blob_mm
    assert scan.grid.extent_mm[2] == pytest.approx(108, abs=2)


def test_the_voxels_are_a_pure_function_of_the_seed():
    first, again, other = (
        sha256(render(plan(FINE_ANSWER, seed, 0)).tobytes()).hexdigest() for seed in (5, 5, 6)
    )
    assert first == again != other


def test_a_builder_takes_a_control_for_luna16(tmp_path):
    out = tmp_path / "out"
    summary = write_luna16(out, num_scans=4, seed=0, variant=COARSE_ANSWER, num_workers=2)
    assert summary["name"] == "luna16"
    assert summary["variant"] == COARSE_ANSWER
    assert abs(summary["num_nodules"] - summary["num_mimics"]) <= 4
    assert any("the answer lies in" in sentence for sentence in summary["departures"])
    survey = survey_source(out)
    assert survey.phantom
    assert survey.problems == []
    assert len(survey.examples) == summary["num_nodules"] + summary["num_mimics"]
    assert sum(survey.skipped.values()) == 0


def test_one_variant_is_not_taken_for_another(tmp_path):
    fine = {"num_scans": 1, "seed": 0, "variant": FINE_ANSWER}
    kept = write_luna16(tmp_path / "out", **fine, blob_mm=1.25, num_workers=1)
    assert (kept["variant"], kept["blob_mm"]) == (FINE_ANSWER, 1.25)
    assert json.loads((tmp_path / "out" / "PHANTOM.json").read_text()) == kept
    for variant in (NODULES, COARSE_ANSWER):
        with pytest.raises(SourceError, match="holds another phantom"):
            write_luna16(tmp_path / "out", num_scans=1, seed=0, variant=variant)
    with pytest.raises(SourceError, match="holds another phantom"):
        write_luna16(tmp_path / "out", **fine)
    with pytest.raises(
        SourceError, match="expected a variant out of nodules, nodules_alone, coarse_answer"
    ):
        write_luna16(tmp_path / "new", num_scans=1, seed=0, variant="coarse")
    with pytest.raises(SourceError, match=r"expected blobs of 1\.25 to 4 mm, got 0\.5 mm"):
        write_luna16(tmp_path / "new", **fine, blob_mm=0.5)
    assert not (tmp_path / "new").exists()


def test_the_nodules_are_those_of_this_version():
    """The plan to the bit and a block of voxels to rounding: BLAS differs between machines."""
    scan = plan(NODULES, 3, 1)
    assert scan.series_uid == "2.25.213653503378563220936704621242709720559"
    assert len(scan.findings) == 40
    centres = np.array([finding.centre_mm for finding in scan.findings])
    assert np.round(centres.sum(axis=0), 3).tolist() == [6869.709, 6472.376, 3347.678]
    block = render(scan)[40:44, 200:300, 100:200].astype(float)
    assert [round(block.mean(), 1), round(block.std(), 1)] == [-854.4, 107.0]
