from pathlib import Path

import numpy as np
import pydicom
import pytest
import tensorflow_datasets as tfds

from mlp_med import crop_sheets
from mlp_med.errors import DatasetError, SourceError
from mlp_med.pipelines.arrays import load_split
from mlp_med.pipelines.batches import evaluation_batches
from mlp_med.pipelines.datasets import describe
from mlp_med.reports.contact_sheet import draw_contact_sheet
from mlp_med.studies.planning import open_dataset
from tests.tfds_builders.breast_screening.drawn_exams import (
    SPOT,
    TISSUE,
    Image,
    all_exams,
    exam,
    studies_of,
    write_exams,
    write_image,
    write_table,
)
from tfds_builders.breast_screening import build, check, preview
from tfds_builders.breast_screening.exams import (
    MISSING_VIEW,
    OTHER_VIEW,
    REPEATED_VIEW,
    TABLE,
    read_exams,
)
from tfds_builders.breast_screening.survey import NOT_ON_DISK

TRAIN, VALIDATION = studies_of("train", 4), studies_of("validation", 3)
WORST = {
    **dict(zip([*TRAIN, *VALIDATION], [1, 4, 5, 2, 3, 2, 1], strict=True)),
    "test000": 1,
    "test001": 4,
    "test002": 2,
    "test003": 1,
}


@pytest.fixture
def release(tmp_path: Path) -> Path:
    return write_exams(tmp_path / "release")


def problems_of(root: Path) -> list[str]:
    problems: list[str] = []
    read_exams(root, problems, {})
    return problems


def test_exams_are_the_same_at_each_resolution_with_the_releases_splits(release, tmp_path):
    found = {}
    for builder in build(release, tmp_path / "data", [0.4, 0.8], num_workers=1):
        grid = {0.4: (650, 500), 0.8: (325, 250)}[builder.builder_config.resolution]
        for split in builder.info.splits:
            for example in tfds.as_numpy(builder.as_dataset(split)):
                name = example["id"].decode()
                assert example["image"].shape == (*grid, 4)
                assert example["label"] == min(WORST[name], 3) - 1
                assert max(example["birads_left"], example["birads_right"]) == WORST[name]
                assert example["density"] == (4 if name == "test000" else 2)
                found.setdefault(name, set()).add(split)
    assert found == {
        **{name: {"train"} for name in TRAIN},
        **{name: {"validation"} for name in VALIDATION},
        **{f"test00{number}": {"test"} for number in range(4)},
    }
    of = describe("breast_screening", tmp_path / "data")
    assert of == describe("breast_screening", source=release)
    assert (of.num_channels, of.label_at_centre) == (4, False)
    assert of.class_names == ("BI-RADS 1", "BI-RADS 2", "BI-RADS 3-5")
    assert of.extents == (260.0, 200.0)
    assert of.intensity_window == (0.0, 4095.0)


def test_every_breast_hangs_from_the_left_at_its_own_height(release):
    """The spot is 30 mm from the chest wall and 20 mm above the middle of the breast."""
    for case in preview(release, 7, [0.8]):
        for view in np.moveaxis(case.crops["0.8mm"], -1, 0):
            rows, columns = np.nonzero(view > (SPOT + TISSUE) / 2)
            near = columns * 0.8 < 60  # and not the label
            y, x = (np.mean(of[near] + 0.5) * 0.8 for of in (rows, columns))
            assert x == pytest.approx(30, abs=0.5)
            assert y - 130 == pytest.approx(-20, abs=1.5)
            assert view[:, -40:].max() < 100  # air fills what is no film


def test_turned_over_grey_values_render_alike(release):
    plain = preview(release, 1, [0.8])[0]
    image = next(of for of in all_exams() if of.study == plain.id)
    path = release / image.path
    pixels = 4095 - _stored(path)
    write_image(release, image, PhotometricInterpretation="MONOCHROME1")
    data = _dicom(path)
    data.PixelData = pixels.astype("<u2").tobytes()
    data.save_as(path)
    again = preview(release, 1, [0.8])[0]
    np.testing.assert_array_equal(again.crops["0.8mm"], plain.crops["0.8mm"])


def _dicom(path: Path):
    return pydicom.dcmread(path)


def _stored(path: Path) -> np.ndarray:
    return _dicom(path).pixel_array


def test_missing_repeated_and_other_views_are_counted(release):
    again = Image(TRAIN[1], "L", "CC", 4, copy=1)
    images = [*all_exams()[:11], *all_exams()[12:]]  # TRAIN[2] without its last view
    images += [again, Image(TRAIN[0], "R", "ML"), *exam("study900")[:2]]
    write_image(release, again)
    write_table(release, images)
    report = check(release)
    assert report.problems == []
    assert report.skipped == {MISSING_VIEW: 2, REPEATED_VIEW: 1, OTHER_VIEW: 1}
    one = read_exams(release, [], {})
    write_table(release, images[::-1])
    assert read_exams(release, [], {}).equals(one)


def test_an_image_that_is_missing_or_no_plain_mammogram_takes_its_exam_out(release):
    images = {of.name: of for of in all_exams()}
    whole = check(release)
    (release / exam(TRAIN[0])[0].path).unlink()
    write_image(release, images[exam(TRAIN[1], left=4)[1].name], BreastImplantPresent="YES")
    write_image(release, images[exam(TRAIN[2], 2, 5)[2].name], ImagerPixelSpacing=None)
    report = check(release)
    assert report.skipped == {
        NOT_ON_DISK: 1,
        "exams with an implant": 1,
        "exams with an image that does not say how large a pixel is": 1,
    }
    assert any("train split has 0 exams of BI-RADS 1" in found for found in report.problems)
    num_exams = [
        sum(sum(split.values()) for split in of.examples.values()) for of in (whole, report)
    ]
    assert num_exams[0] - num_exams[1] == 3
    seconds = [of.build_core_seconds for of in (whole, report)]
    assert seconds[1] / seconds[0] == pytest.approx(num_exams[1] / num_exams[0])


def test_an_image_of_the_other_breast_takes_its_exam_out(release):
    first, second, *_ = exam(TRAIN[0])
    write_image(release, first, ImageLaterality=second.laterality)
    write_image(release, second, ImageLaterality=second.laterality)
    report = check(release)
    reason = f"exams with an image that says that it is of the other breast ({second.laterality})"
    assert report.skipped == {reason: 1}


def test_names_that_differ_in_upper_and_lower_case_only_are_taken_as_meant(release):
    before = check(release)
    images = release / "images"
    for folder in list(images.iterdir()):
        for path in list(folder.iterdir()):
            path.rename(path.with_name(path.name.upper()))
        folder.rename(images / folder.name.upper())
    after = check(release)
    assert (after.problems, after.skipped, after.examples) == ([], {}, before.examples)
    assert any("44 images differ from the table in upper and lower" in w for w in after.warnings)


def test_two_files_that_may_both_be_meant_are_a_problem(release):
    path = release / exam(TRAIN[0])[0].path
    for name in (path.name.upper(), path.stem.upper() + ".DCM"):
        path.with_name(name).write_bytes(path.read_bytes())
    assert check(release).problems == []
    path.unlink()
    (problem,) = check(release).problems
    assert path.name.upper() in problem
    assert "keep one" in problem


def test_a_file_that_is_cut_short_is_a_problem_and_nothing_is_written(release, tmp_path):
    path = release / exam(TRAIN[0])[0].path
    path.write_bytes(path.read_bytes()[:-100])
    (problem,) = check(release).problems
    assert "cut short" in problem
    with pytest.raises(SourceError, match="no dataset can be built"):
        build(release, tmp_path / "data", [0.8])
    assert not (tmp_path / "data").exists()


def test_an_exam_in_two_splits_and_a_breast_with_two_grades_are_told(release):
    images = all_exams()
    images[0] = Image(TRAIN[0], "L", "CC", split="test")
    images[4] = Image(TRAIN[1], "L", "CC", 2)
    write_table(release, images)
    told = problems_of(release)
    assert "each exam in one split" in told[0]
    assert "one BI-RADS for each breast" in told[1]
    write_table(release, [*all_exams(), all_exams()[0]])
    assert "expected each image once" in problems_of(release)[0]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("BI-RADS 4", "BI-RADS 0", "breast_birads out of"),
        ("DENSITY D", "DENSITY E", "breast_density out of"),
        ("training", "train", "split out of training, test"),
        ("test000,series", "../x,series", "a name for study_id"),
        ("view_position", "view", "missing: view_position"),
    ],
)
def test_a_table_that_is_wrong_is_told(release, old, new, message):
    text = (release / TABLE).read_text()
    assert old in text
    (release / TABLE).write_text(text.replace(old, new))
    (problem,) = problems_of(release)
    assert message in problem


def test_a_byte_order_mark_and_semicolons_read_alike(release):
    plain = read_exams(release, [], {})
    text = (release / TABLE).read_text().replace(",", ";")
    (release / TABLE).write_bytes(b"\xef\xbb\xbf" + text.encode())
    assert problems_of(release) == []
    assert read_exams(release, [], {}).equals(plain)


def test_a_sheet_shows_the_four_views_of_an_exam_and_their_common_scale(
    release, tmp_path, monkeypatch
):
    drawn = {}

    def draw(cases, **of):
        drawn.update(of, shape=cases[0].crops[0.8].shape)
        return draw_contact_sheet(cases, **of)

    monkeypatch.setattr(crop_sheets, "draw_contact_sheet", draw)
    out = tmp_path / "sheet.png"
    crop_sheets.draw_source("breast_screening", release, out, num_cases=1)
    assert out.stat().st_size > 10_000
    assert drawn["shape"] == (650, 500, 3)
    assert drawn["field_extent"] == (520.0, 400.0)


def test_what_is_no_such_release_is_refused(tmp_path):
    assert "VinDr-Mammo" in check(tmp_path).problems[0]


def test_the_binary_task_parts_the_same_exams_at_birads_3(release, tmp_path):
    (builder,) = build(release, tmp_path / "data", [0.8], num_workers=1, task="suspicion")
    labels = {
        example["id"].decode(): int(example["label"])
        for split in builder.info.splits
        for example in tfds.as_numpy(builder.as_dataset(split))
    }
    assert labels == {name: int(birads >= 3) for name, birads in WORST.items()}
    assert describe("breast_screening", tmp_path / "data").class_names == (
        "BI-RADS 1-2",
        "BI-RADS 3-5",
    )
    assert check(release, "suspicion").examples["test"] == {"BI-RADS 1-2": 3, "BI-RADS 3-5": 1}
    again = build(release, tmp_path / "data", [0.8])[0]  # whatever it was built for
    assert again.info.features["label"].num_classes == 2
    with pytest.raises(DatasetError, match="built with task = suspicion, not assessment"):
        build(release, tmp_path / "data", [0.4], task="assessment")


def test_a_release_without_one_of_the_classes_still_serves_the_other_task(release):
    """Every exam of BI-RADS 2 becomes one of 1."""
    text = (release / TABLE).read_text()
    (release / TABLE).write_text(text.replace("BI-RADS 2", "BI-RADS 1"))
    assert "0 exams of BI-RADS 2" in check(release).problems[0]
    assert check(release, "suspicion").problems == []


def test_a_task_that_there_is_not_is_refused(release):
    (problem,) = check(release, "pathology").problems
    assert "assessment, suspicion" in problem


def test_what_is_built_is_read_with_three_labels_and_its_field(release, tmp_path):
    build(release, tmp_path / "data", [0.4, 0.8], num_workers=1)
    opened = open_dataset("breast_screening", [0.4, 0.8], tmp_path / "data", release)
    assert (opened.info.metric, opened.info.num_classes) == ("macro_auc", 3)
    assert opened.info.task == "assessment"
    assert opened.info.num_positive == {"train": 1, "validation": 1, "test": 1}
    fine = load_split("breast_screening", tmp_path / "data", 0.4, "test")
    assert fine.labels.tolist() == [0, 2, 1, 0]
    of = describe("breast_screening", tmp_path / "data")
    (images, labels, _), *_ = evaluation_batches(
        load_split("breast_screening", tmp_path / "data", 0.8, "test"),
        4,
        resolution=0.8,
        grid=0.4,
        description=of,
    )
    assert images.shape == (4, 650, 500, 4)
    # The coarse exam on the fine grid shows the same breast in the same place.
    expected = np.clip(fine.images / of.intensity_window[1], 0, 1)
    assert np.abs(images.numpy() - expected).mean() < 0.01
    np.testing.assert_array_equal(labels, [0, 2, 1, 0])


def test_a_pixel_lies_where_it_lies_at_every_resolution(release):
    """Blocks of 8 × 8 of 0.1 mm are the pixels of 0.8 mm, up to what the low-pass lets through."""
    case = preview(release, 1, [0.1, 0.8])[0]
    fine, coarse = (case.crops[f"{mm}mm"].astype(float) for mm in ("0.1", "0.8"))
    assert fine.shape == (2600, 2000, 4)
    means = fine.reshape(325, 8, 250, 8, 4).mean((1, 3))
    assert np.corrcoef(means.ravel(), coarse.ravel())[0, 1] > 0.999
