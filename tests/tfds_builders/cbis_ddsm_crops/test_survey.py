import shutil
from pathlib import Path

import numpy as np
import pytest

from mlp_med.errors import SourceError
from mlp_med.phantoms.dicom_radiograph import write_radiograph
from tests.tfds_builders.cbis_ddsm_crops.drawn_release import (
    Case,
    all_cases,
    patients_of,
    write_tables,
)
from tfds_builders.cbis_ddsm_crops import build, check
from tfds_builders.cbis_ddsm_crops.survey import NO_SCREENING_VIEW, survey_source

CASES = all_cases()


@pytest.fixture
def copy(release: Path, tmp_path: Path) -> Path:
    """A release that a test may spoil."""
    return Path(shutil.copytree(release, tmp_path / "release", copy_function=_link))


def _link(source: str, target: str) -> None:
    """Images are shared, and one that a test spoils is removed first; tables are written over."""
    if source.endswith(".csv"):
        shutil.copyfile(source, target)
    else:
        Path(target).hardlink_to(source)


def film_of(root: Path, case: Case) -> Path:
    return root / case.paths()[0]


def rewrite(path: Path, pixels: np.ndarray, **elements: object) -> None:
    path.unlink()
    write_radiograph(path, pixels, SOPInstanceUID="2.25.1", Modality="MG", **elements)


def test_what_is_there_is_counted_and_nothing_is_written(release):
    before = sorted(release.rglob("*"))
    report = check(release)
    assert report.problems == []
    assert sum(report.candidates.values()) == len(CASES)
    assert report.build_core_seconds > 0
    assert report.examples == {
        "train": {"background": 8, "lesion": 8},
        "validation": {"background": 2, "lesion": 2},
        "test": {"background": 3, "lesion": 3},
    }
    assert report.skipped == {"lesions of training patients who are also in a test table": 1}
    assert any("1 patients are in both" in warning for warning in report.warnings)
    assert report.crop_bytes["0.1mm"] == 2 * 512**2 * 26
    assert "0.0435" in report.native
    assert not report.phantom
    assert sorted(release.rglob("*")) == before
    malignant = check(release, task="pathology").examples
    assert malignant["test"] == {"benign": 1, "malignant": 2}


def test_mask_and_cropped_image_are_told_apart_whatever_their_names(release):
    """Calcifications have them the other way round, and one row's columns are exchanged."""
    survey = survey_source(release)
    for case in CASES:
        if case.id in set(survey.lesions["id"]):
            assert survey.films.mask_of[case.id] == release / case.paths()[1]
            assert survey.films.film_of[case.id] == release / case.paths()[0]


def test_files_may_be_named_and_nested_otherwise(copy):
    """As newer versions of the NBIA Data Retriever do."""
    below = copy / "manifest-1" / "CBIS-DDSM"
    below.mkdir(parents=True)
    for folder in [path for path in copy.iterdir() if path.is_dir() and path != below.parent]:
        for number, path in enumerate(sorted(folder.rglob("*.dcm"))):
            target = below / folder.name / "08-07-2016-DDSM-1" / "1.0-series" / f"1-{number}.DCM"
            target.parent.mkdir(parents=True, exist_ok=True)
            path.rename(target)
        shutil.rmtree(folder)
    report = check(copy)
    assert report.problems == []
    assert report.examples["train"]["lesion"] == 8


def test_folders_that_differ_in_case_only_are_taken_and_told(copy):
    for folder in [path for path in copy.iterdir() if path.is_dir()]:
        folder.rename(folder.with_name(folder.name.lower()))
    report = check(copy)
    assert report.problems == []
    assert report.examples["train"]["lesion"] == 8
    assert any("upper and lower case only" in warning for warning in report.warnings)


def test_two_folders_that_differ_in_case_only_are_refused(copy):
    folder = copy / CASES[0].folder
    folder.rename(folder.with_name(folder.name.lower()))
    (copy / CASES[0].folder.upper()).mkdir()
    (problem,) = check(copy).problems
    assert "keep one" in problem


def test_films_and_masks_that_are_missing_are_skipped_and_counted(copy):
    shutil.rmtree(copy / CASES[2].folder)
    (copy / CASES[0].paths()[1]).unlink()
    report = check(copy)
    assert report.problems == []
    assert report.skipped["lesions whose mammogram is not on disk"] == 1
    assert report.skipped["lesions without a mask of their mammogram's size"] == 1
    assert report.examples["train"]["lesion"] == 6


def test_a_release_without_images_is_a_problem(tmp_path):
    write_tables(tmp_path, CASES)
    (problem,) = check(tmp_path).problems
    assert "expected folders such as" in problem
    with pytest.raises(SourceError, match="no dataset can be built"):
        build(tmp_path, tmp_path / "data")
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("elements", "reason"),
    [
        ({"BodyPartExamined": "CHEST"}, "lesions on a radiograph of another body part (chest)"),
        ({"BreastImplantPresent": "YES"}, "lesions on a mammogram with an implant"),
        ({"ViewPosition": "ML"}, "lesions whose mammogram says that it is another view (ML)"),
        (
            {"RescaleIntercept": "-5", "RescaleSlope": "1"},
            "lesions on a mammogram whose values are not whole numbers of at most 16 bits",
        ),
    ],
)
def test_a_film_that_is_no_such_mammogram_is_skipped_with_the_reason(copy, elements, reason):
    rewrite(film_of(copy, CASES[2]), np.zeros((2900, 500), np.uint16), **elements)
    report = check(copy)
    assert report.problems == []
    assert report.skipped[reason] == 1
    assert report.examples["train"]["lesion"] == 7


def test_a_film_of_the_other_breast_is_skipped_and_counted(copy):
    side, other = ("L", "R") if CASES[2].side == "LEFT" else ("R", "L")
    film, pixels = film_of(copy, CASES[2]), np.zeros((2900, 500), np.uint16)
    reason = f"lesions whose mammogram says that it is of the other breast ({other})"
    for stated, skipped in ((side, 0), (other, 1), ("U", 0)):  # U: unpaired
        rewrite(film, pixels, ImageLaterality=stated)
        assert check(copy).skipped.get(reason, 0) == skipped


def test_an_implant_displaced_view_is_skipped_and_counted(release, copy):
    write_tables(copy, [*CASES, Case(CASES[0].patient, view="MLOID")])
    report = check(copy)
    assert report.skipped[NO_SCREENING_VIEW] == 1
    assert report.examples == check(release).examples


def test_a_damaged_film_is_a_problem_with_its_path(copy):
    path = film_of(copy, CASES[2])
    whole = path.read_bytes()
    path.unlink()
    path.write_bytes(whole[:-1000])
    (problem,) = check(copy).problems
    assert str(path) in problem
    assert "cut short" in problem


def test_a_split_without_a_class_is_told(copy):
    write_tables(copy, [case for case in CASES if case.patient not in patients_of("validation", 2)])
    (problem,) = check(copy).problems
    assert "the validation split has 0" in problem


def test_the_digest_follows_tables_and_files(release, copy):
    same = check(release).digest
    assert check(copy).digest == same
    rewrite(film_of(copy, CASES[2]), np.zeros((2900, 501), np.uint16))
    assert check(copy).digest != same
    with pytest.raises(SourceError, match="expected a directory"):
        survey_source(copy / "nowhere")
    with pytest.raises(SourceError, match="expected a task out of"):
        survey_source(copy, "shape")
