from pathlib import Path

import numpy as np
import pytest
import tensorflow_datasets as tfds

import tfds_builders
from mlp_med.errors import DatasetError
from mlp_med.pipelines.arrays import load_split
from mlp_med.pipelines.datasets import describe
from tests.tfds_builders.cbis_ddsm_crops.drawn_release import (
    LESION,
    PIXEL_MM,
    Case,
    all_cases,
    draw_release,
    patients_of,
)
from tfds_builders.cbis_ddsm_crops import build, preview

# Without the calcification of the patient who is tested for a mass.
CASES = {case.id: case for case in all_cases() if case.id != "calcification_P_02003_LEFT_CC_1"}
SIZES = {0.1: 512, 0.2: 256, 0.4: 128, 0.8: 64}
FIELD_MM = 51.2


@pytest.fixture(scope="module")
def built(release: Path, tmp_path_factory) -> dict[float, dict[str, dict]]:
    """Every example by resolution and id, with its split."""
    data_dir = tmp_path_factory.mktemp("data")
    return {
        builder.builder_config.resolution: {
            example["id"].decode(): {**example, "split": split}
            for split in builder.info.splits
            for example in tfds.as_numpy(builder.as_dataset(split))
        }
        for builder in build(release, data_dir, num_workers=2)
    }


def test_the_same_examples_at_every_resolution_and_a_background_for_each_lesion(built):
    names = {*CASES, *(f"{name}_background" for name in CASES)}
    for resolution, size in SIZES.items():
        examples = built[resolution]
        assert examples.keys() == names
        for name, example in examples.items():
            assert example["image"].shape == (size, size, 1)
            assert example["image"].dtype == np.uint16
            assert example["label"] == (not name.endswith("_background"))
            for column in ("label", "split", "patient"):
                assert example[column] == built[0.1][name][column]
            np.testing.assert_array_equal(example["centre_mm"], built[0.1][name]["centre_mm"])


def test_splits_are_the_official_ones_by_patient_without_patients_of_both(built):
    splits = {}
    for example in built[0.8].values():
        splits.setdefault(example["patient"].decode(), set()).add(example["split"])
    assert splits.pop("P_02003") == {"test"}  # its mass; its calcification in training is gone
    assert splits.pop("P_02001") == splits.pop("P_02002") == {"test"}
    assert splits == {
        patient: {split}
        for split, number in (("train", 5), ("validation", 2))
        for patient in patients_of(split, number)
    }


def test_the_lesion_lies_in_the_middle_and_its_size_and_grades_are_kept(built):
    for name, case in CASES.items():
        example = built[0.1][name]
        np.testing.assert_allclose(example["centre_mm"], case.centre_mm, atol=0.03)
        assert example["diameter_mm"] == pytest.approx(case.diameter_mm, rel=0.01)
        kept = [example[column] for column in ("density", "assessment", "subtlety")]
        assert kept == [3, 4, 5]
        assert example["kind"] == ("mass", "calcification").index(case.kind)
        assert example["pathology"].decode() == case.pathology
        assert example["appearance"] == b"OVAL"
        for resolution, size in SIZES.items():
            image = built[resolution][name]["image"][..., 0].astype(float)
            axis = (np.arange(size) - (size - 1) / 2) * resolution
            x, y = np.meshgrid(axis, axis)
            inside = np.hypot(x, y) < case.diameter_mm / 2 - 2.5 * resolution
            if case.diameter_mm > 8 * resolution:
                assert image[inside].mean() == pytest.approx(LESION, rel=0.01)
            if case.patient != patients_of("train", 3)[2]:  # which has two in one field
                area = (image > 35_000).sum() * resolution**2
                assert area == pytest.approx(np.pi * (case.diameter_mm / 2) ** 2, rel=0.1)


def test_no_lesion_reaches_into_a_background_and_edges_look_as_far_away(built):
    for name, case in CASES.items():
        background = built[0.1][f"{name}_background"]
        assert background["lesion"].decode() == name
        assert background["diameter_mm"] == 0
        assert background["image"].max() < 30_000
        # The upper and the lower border of the film, as far as they can be seen.
        height, seen = 2900 * PIXEL_MM, FIELD_MM / np.sqrt(2)
        for_lesion, for_background = (
            min(y, height - y, seen) for y in (case.centre_mm[1], background["centre_mm"][1])
        )
        assert abs(for_lesion - for_background) < 6
        assert abs(case.centre_mm[0] - background["centre_mm"][0]) < 12


def test_a_lesion_of_the_other_kind_in_the_same_view_is_no_background(built):
    """Two films show one breast: the release has one for masses and one for calcifications."""
    patient = patients_of("train", 4)[3]
    for kind, other_y in (("mass", 40.0), ("calcification", 30.0)):
        centre = built[0.8][f"{kind}_{patient}_RIGHT_CC_1_background"]["centre_mm"]
        assert abs(centre[1] - other_y) > FIELD_MM / 2 + 4


def test_whether_malignant_is_the_other_task(release, tmp_path):
    (builder,) = build(release, tmp_path, [0.8], task="pathology")
    assert builder.info.features["label"].names == ["benign", "malignant"]
    found = load_split("cbis_ddsm_crops", tmp_path, 0.8, "all")
    malignant = {name: case.pathology == "MALIGNANT" for name, case in CASES.items()}
    assert dict(zip(found.ids.tolist(), found.labels.tolist(), strict=True)) == malignant
    assert describe("cbis_ddsm_crops", tmp_path).class_names == ("benign", "malignant")
    # A second resolution is built for the same task; another is refused.
    (finer,) = build(release, tmp_path, [0.4])
    assert finer.options == {"task": "pathology"}
    with pytest.raises(DatasetError, match="was built with task = pathology, not lesion"):
        build(release, tmp_path, [0.2], task="lesion")
    with pytest.raises(DatasetError, match="was built with task = pathology"):
        tfds_builders.open_config("cbis_ddsm_crops", 0.8, tmp_path, task="lesion")


def test_the_description_is_that_of_the_films(release, tmp_path):
    build(release, tmp_path, [0.8])
    of = describe("cbis_ddsm_crops", tmp_path)
    assert of == describe("cbis_ddsm_crops", source=release)
    assert of.class_names == ("background", "lesion")
    assert of.intensity_window == (0.0, 65_535.0)
    assert of.resolutions == tuple(SIZES)
    assert of.field_extent == FIELD_MM


def test_a_lesion_without_a_mask_or_a_like_place_is_left_out_and_counted(tmp_path, caplog):
    first = patients_of("train", 1)[0]
    rest = [case for case in all_cases() if case.patient != first]
    cases = [
        *rest,
        Case(first, diameter_mm=0.0, centre_mm=(-5.0, -5.0)),  # an empty mask
        Case(first, view="MLO", centre_mm=(10.0, 63.0), diameter_mm=90.0),  # it fills the film
    ]
    release = draw_release(tmp_path / "release", cases)
    (builder,) = build(release, tmp_path / "data", [0.8], num_workers=1)
    assert builder.info.metadata["num_lesions_left_out"] == 2
    assert "2 of 13 lesions are left out" in caplog.text
    ids = load_split("cbis_ddsm_crops", tmp_path / "data", 0.8, "all").ids
    assert not [name for name in ids if first in name]
    assert len(ids) == 22


def test_a_preview_shows_what_a_build_would_hold(release, built):
    shown = preview(release, 6, [0.4])
    assert [case.label for case in shown[:2]] == ["lesion: calcification", "background"]
    assert {case.label for case in shown} == {
        "lesion: mass",
        "lesion: calcification",
        "background",
    }
    for case in shown:
        np.testing.assert_array_equal(case.crops["0.4mm"], built[0.4][case.id]["image"])
